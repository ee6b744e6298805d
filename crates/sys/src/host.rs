//! Settings of the kernel and the machine that decide how well Bifolio works. Read, never changed.

use std::fs::read_to_string;

/// Where transparent huge pages are set.
const THP: &str = "/sys/kernel/mm/transparent_hugepage";

/// What the machine is set to. A setting this kernel does not have, or does not show, is `None`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Release of the kernel, as `uname -r` prints it.
    pub kernel_release: String,
    /// Bytes of a base page.
    pub page_bytes: usize,
    /// Bytes of memory.
    pub ram_bytes: u64,
    /// Processors this process may use.
    pub cpus: usize,
    /// 2 MiB pages for anonymous memory: `always`, `madvise` or `never`.
    pub thp_enabled: Option<String>,
    /// How hard a fault tries for one: `always`, `defer`, `defer+madvise`, `madvise` or `never`.
    pub thp_defrag: Option<String>,
    /// 2 MiB pages for shared memory: `always`, `within_size`, `advise`, `never`, `deny` or `force`.
    pub thp_shmem: Option<String>,
    /// 64 KiB pages for anonymous memory: `always`, `inherit`, `madvise` or `never`.
    pub mthp_64k_enabled: Option<String>,
    /// 64 KiB pages for shared memory: `always`, `inherit`, `within_size`, `advise` or `never`.
    pub mthp_64k_shmem: Option<String>,
    /// `vm.max_map_count`: ranges one process may have.
    pub max_map_count: Option<u64>,
    /// `vm.unprivileged_userfaultfd`: whether the system call gives full mode to every process.
    pub unprivileged_userfaultfd: Option<bool>,
    /// `vm.overcommit_memory`: 0 by estimate, 1 always, 2 never.
    pub overcommit_memory: Option<u8>,
}

impl Host {
    /// Reads the settings.
    #[must_use]
    pub fn read() -> Self {
        let ram = rustix::system::sysinfo();
        Self {
            kernel_release: rustix::system::uname().release().to_string_lossy().into_owned(),
            page_bytes: rustix::param::page_size(),
            ram_bytes: ram.totalram.saturating_mul(u64::from(ram.mem_unit.max(1))),
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            thp_enabled: choice(&format!("{THP}/enabled")),
            thp_defrag: choice(&format!("{THP}/defrag")),
            thp_shmem: choice(&format!("{THP}/shmem_enabled")),
            mthp_64k_enabled: choice(&format!("{THP}/hugepages-64kB/enabled")),
            mthp_64k_shmem: choice(&format!("{THP}/hugepages-64kB/shmem_enabled")),
            max_map_count: number("/proc/sys/vm/max_map_count"),
            unprivileged_userfaultfd: number("/proc/sys/vm/unprivileged_userfaultfd").map(|flag| flag != 0),
            overcommit_memory: number("/proc/sys/vm/overcommit_memory").and_then(|mode| mode.try_into().ok()),
        }
    }
}

/// Reads a file of choices and returns the chosen one.
fn choice(path: &str) -> Option<String> {
    chosen(&read_to_string(path).ok()?).map(str::to_owned)
}

/// Finds the word in brackets: `always [madvise] never`.
fn chosen(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once('[')?;
    rest.split_once(']').map(|(word, _)| word)
}

fn number(path: &str) -> Option<u64> {
    read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chosen_word_is_the_bracketed_one() {
        assert_eq!(chosen("always defer defer+madvise [madvise] never\n"), Some("madvise"));
        assert_eq!(chosen("none here"), None);
        assert_eq!(chosen("[open"), None);
    }

    #[test]
    fn machine_has_memory_and_a_release() {
        let host = Host::read();
        assert!(host.ram_bytes > 1 << 20 && host.cpus > 0);
        assert!(host.kernel_release.starts_with(|first: char| first.is_ascii_digit()));
    }
}
