//! What a trace says of the machine and of the command that it was recorded from, as notes.

use std::fs;

/// The kernel, the architecture, and how many processors of which model: notes for [`Options`](crate::Options).
#[must_use]
pub fn machine_notes() -> Vec<(&'static str, String)> {
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
    vec![
        ("kernel", format!("Linux {}", kernel.trim())),
        ("architecture", std::env::consts::ARCH.to_owned()),
        ("processors", processors.to_string()),
        ("processor", processor()),
    ]
}

/// The name of the first processor, if the kernel tells it.
fn processor() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("model name"));
    name.and_then(|rest| rest.split_once(':'))
        .map_or_else(|| "unknown".to_owned(), |(_, name)| name.trim().to_owned())
}

/// The words that this process was started with, its name first.
#[must_use]
pub fn command_words() -> Vec<String> {
    let bytes = fs::read("/proc/self/cmdline").unwrap_or_default();
    let words = bytes.split(|byte| *byte == 0).filter(|word| !word.is_empty());
    words.map(|word| String::from_utf8_lossy(word).into_owned()).collect()
}
