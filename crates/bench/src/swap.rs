//! A memory cgroup whose programs swap to compressed memory (zram): what the kernel does where memory is short.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The group. It goes with the last program in it.
pub(crate) struct SwapGroup {
    folder: PathBuf,
}

/// Where groups are made, and the file that limits memory there: of version 1 and of version 2.
const GROUPS: [(&str, &str); 2] =
    [("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")];

impl SwapGroup {
    /// Makes a group of so many bytes; `None` where nothing swaps to zram alone, or no group can be made.
    pub(crate) fn new(bytes: usize) -> Option<SwapGroup> {
        let swaps = fs::read_to_string("/proc/swaps").ok()?;
        let devices: Vec<&str> = swaps.lines().skip(1).collect();
        if devices.is_empty() || !devices.iter().all(|device| device.starts_with("/dev/zram")) {
            return None;
        }
        GROUPS.iter().find_map(|(root, limit)| SwapGroup::within(Path::new(root), limit, bytes))
    }

    fn within(root: &Path, limit: &str, bytes: usize) -> Option<SwapGroup> {
        let folder = root.join(format!("bifolio-bench-{}", std::process::id()));
        fs::create_dir(&folder).ok()?;
        let group = SwapGroup { folder };
        // Only a controller of memory has the file.
        let file = group.folder.join(limit);
        (file.exists() && fs::write(file, bytes.to_string()).is_ok()).then_some(group)
    }

    /// A command that runs `program` in the group; its arguments are to be added.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", "echo $$ > \"$0\" && exec \"$@\""]);
        command.arg(self.folder.join("cgroup.procs")).arg(program);
        command
    }
}

impl Drop for SwapGroup {
    fn drop(&mut self) {
        let _: Result<(), _> = fs::remove_dir(&self.folder);
    }
}
