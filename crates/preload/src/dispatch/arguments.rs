//! Which memory a system call uses, by its number and arguments.
//!
//! Most calls take pointers, and lengths right after them. So every argument that looks like an address stands for some bytes
//! there, or for as many as the next argument says. Calls whose structures lead further, or whose lengths are elsewhere, are
//! listed. Too much costs a little time; too little is found out by EFAULT, and the call is made again with more.

use std::ops::Range;

use crate::dispatch::trap::Call;

/// Bytes that an argument without a length stands for: no fixed structure of the kernel is larger, save a few.
const USUAL: usize = 512;
/// The same, once a call has failed with EFAULT: names of files, and rare structures.
const AGAIN: usize = 16 << 10;
/// What is below is no address, what is above neither.
const ADDRESSES: Range<usize> = 1 << 16..1 << 47;
/// What is more is no length.
const LENGTH_MOST: usize = 1 << 38;

/// How a structure leads to more memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Leads {
    /// An array of `iovec`: its address and the number of elements.
    Vectors { at: usize, count: usize },
    /// An array of `msghdr`, of elements of so many bytes.
    Messages { at: usize, count: usize, size: usize },
    /// An array of strings, ended by null.
    Strings { at: usize },
}

/// What a call uses.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Uses {
    ranges: [(usize, usize); 8],
    count: usize,
    pub(crate) leads: [Option<Leads>; 2],
}

impl Uses {
    fn new() -> Uses {
        Uses { ranges: [(0, 0); 8], count: 0, leads: [None; 2] }
    }

    fn add(mut self, at: usize, len: usize) -> Uses {
        if ADDRESSES.contains(&at) && len > 0 && self.count < self.ranges.len() {
            self.ranges[self.count] = (at, len.min(ADDRESSES.end - at));
            self.count += 1;
        }
        self
    }

    fn lead(mut self, leads: Leads) -> Uses {
        let free = self.leads.iter_mut().find(|slot| slot.is_none());
        if let Some(slot) = free {
            *slot = Some(leads);
        }
        self
    }

    /// The ranges that the arguments name themselves.
    pub(crate) fn ranges(&self) -> impl Iterator<Item = Range<usize>> {
        self.ranges[..self.count].iter().map(|(at, len)| *at..*at + *len)
    }
}

/// What a call uses; `again` if it has failed with EFAULT before.
pub(crate) fn uses(call: Call, again: bool) -> Uses {
    let [a, b, c, d, e, f] = call.arguments;
    let usual = if again { AGAIN } else { USUAL };
    let none = Uses::new();
    match call.number as i64 {
        // Calls about memory name ranges without using what is there.
        libc::SYS_mmap
        | libc::SYS_munmap
        | libc::SYS_mprotect
        | libc::SYS_mremap
        | libc::SYS_brk
        | libc::SYS_msync
        | libc::SYS_mlock
        | libc::SYS_mlock2
        | libc::SYS_munlock
        | libc::SYS_pkey_mprotect
        | libc::SYS_remap_file_pages
        | libc::SYS_shmat
        | libc::SYS_shmdt
        | libc::SYS_exit
        | libc::SYS_exit_group => none,
        libc::SYS_mincore => none.add(c, b.div_ceil(4096)),
        libc::SYS_madvise if populates(c) => none.add(a, b),
        libc::SYS_madvise => none,
        // A buffer may be so long that its length could be an address.
        libc::SYS_read | libc::SYS_write | libc::SYS_pread64 | libc::SYS_pwrite64 => none.add(b, c),
        libc::SYS_msgsnd | libc::SYS_msgrcv => none.add(b, c.saturating_add(8)),
        libc::SYS_getrandom => none.add(a, b),
        libc::SYS_sendto => none.add(b, c).add(e, usual),
        libc::SYS_recvfrom => none.add(b, c).add(e, usual).add(f, usual),
        libc::SYS_readv
        | libc::SYS_writev
        | libc::SYS_preadv
        | libc::SYS_pwritev
        | libc::SYS_preadv2
        | libc::SYS_pwritev2
        | libc::SYS_vmsplice
        | libc::SYS_process_madvise => vectors(none, b, c),
        libc::SYS_process_vm_readv | libc::SYS_process_vm_writev => vectors(vectors(none, b, c), d, e),
        libc::SYS_sendmsg | libc::SYS_recvmsg => messages(none, b, 1, 56),
        libc::SYS_sendmmsg | libc::SYS_recvmmsg => messages(none, b, c, 64).add(e, usual),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_poll => none.add(a, b.saturating_mul(8)),
        libc::SYS_ppoll => none.add(a, b.saturating_mul(8)).add(c, usual).add(d, usual),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_epoll_wait => none.add(b, c.saturating_mul(12)),
        libc::SYS_epoll_pwait | libc::SYS_epoll_pwait2 => {
            none.add(b, c.saturating_mul(12)).add(d, usual).add(e, usual)
        }
        libc::SYS_sendfile => none.add(c, usual),
        libc::SYS_splice | libc::SYS_copy_file_range => none.add(b, usual).add(d, usual),
        libc::SYS_execve => strings(strings(none.add(a, usual), b), c),
        libc::SYS_execveat => strings(strings(none.add(b, usual), c), d),
        libc::SYS_getgroups | libc::SYS_setgroups => none.add(b, a.saturating_mul(4)),
        libc::SYS_semop | libc::SYS_semtimedop => none.add(b, c.saturating_mul(6)).add(d, usual),
        libc::SYS_io_submit => none.add(c, b.saturating_mul(8)),
        libc::SYS_io_getevents => none.add(d, c.saturating_mul(32)).add(e, usual),
        libc::SYS_futex => none.add(a, usual).add(d, usual).add(e, usual),
        number => general(none, &call.arguments[..count(number)], usual),
    }
}

/// How many arguments a call has: what else is in registers is not looked at. Six where it is not known.
fn count(number: i64) -> usize {
    match number {
        libc::SYS_getpid
        | libc::SYS_getppid
        | libc::SYS_gettid
        | libc::SYS_getuid
        | libc::SYS_geteuid
        | libc::SYS_getgid
        | libc::SYS_getegid
        | libc::SYS_sched_yield
        | libc::SYS_setsid
        | libc::SYS_sync => 0,
        libc::SYS_close | libc::SYS_dup | libc::SYS_fsync | libc::SYS_fdatasync | libc::SYS_uname => 1,
        libc::SYS_fstat
        | libc::SYS_getcwd
        | libc::SYS_gettimeofday
        | libc::SYS_clock_gettime
        | libc::SYS_clock_getres
        | libc::SYS_nanosleep
        | libc::SYS_getrusage
        | libc::SYS_kill
        | libc::SYS_ftruncate
        | libc::SYS_pipe2
        | libc::SYS_timerfd_gettime
        | libc::SYS_eventfd2 => 2,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_stat | libc::SYS_lstat | libc::SYS_access | libc::SYS_rename | libc::SYS_time => 2,
        libc::SYS_read
        | libc::SYS_write
        | libc::SYS_lseek
        | libc::SYS_ioctl
        | libc::SYS_fcntl
        | libc::SYS_getdents64
        | libc::SYS_getrandom
        | libc::SYS_connect
        | libc::SYS_bind
        | libc::SYS_accept
        | libc::SYS_socket
        | libc::SYS_tgkill
        | libc::SYS_sched_getaffinity => 3,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_open | libc::SYS_readlink | libc::SYS_unlink | libc::SYS_mkdir => 3,
        libc::SYS_pread64
        | libc::SYS_pwrite64
        | libc::SYS_openat
        | libc::SYS_newfstatat
        | libc::SYS_clock_nanosleep
        | libc::SYS_epoll_ctl
        | libc::SYS_accept4
        | libc::SYS_wait4
        | libc::SYS_prlimit64
        | libc::SYS_readlinkat => 4,
        libc::SYS_getsockopt | libc::SYS_setsockopt | libc::SYS_statx | libc::SYS_prctl => 5,
        _ => 6,
    }
}

/// Tells whether an advice lets the kernel touch pages.
pub(crate) fn populates(advice: usize) -> bool {
    const POPULATE_READ: usize = 22;
    const POPULATE_WRITE: usize = 23;
    matches!(advice, POPULATE_READ | POPULATE_WRITE)
}

fn general(none: Uses, arguments: &[usize], usual: usize) -> Uses {
    let is_length = |value: usize| value > 0 && value < LENGTH_MOST && !looks_like_address(value);
    let mut uses = none;
    for (index, at) in arguments.iter().copied().enumerate().filter(|(_, at)| looks_like_address(*at)) {
        let next = arguments.get(index + 1).copied().filter(|next| is_length(*next));
        uses = uses.add(at, next.unwrap_or(0).max(usual));
    }
    uses
}

/// Mappings of 64-bit programs are far above any length; what is below is the program itself, without address randomisation.
fn looks_like_address(value: usize) -> bool {
    ADDRESSES.contains(&value) && (value >= LENGTH_MOST || value >= 0x40_0000)
}

fn vectors(uses: Uses, at: usize, count: usize) -> Uses {
    uses.add(at, count.saturating_mul(16)).lead(Leads::Vectors { at, count })
}

fn messages(uses: Uses, at: usize, count: usize, size: usize) -> Uses {
    uses.add(at, count.saturating_mul(size)).lead(Leads::Messages { at, count, size })
}

fn strings(uses: Uses, at: usize) -> Uses {
    uses.add(at, USUAL).lead(Leads::Strings { at })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAP: usize = 0x7f00_0000_0000;

    fn ranges(number: i64, arguments: [usize; 6]) -> Vec<(usize, usize)> {
        let call = Call { number: usize::try_from(number).expect("small"), arguments };
        uses(call, false).ranges().map(|range| (range.start, range.len())).collect()
    }

    #[test]
    fn buffer_is_as_long_as_the_next_argument_says() {
        assert_eq!(ranges(libc::SYS_read, [3, HEAP, 1 << 20, 0, 0, 0]), [(HEAP, 1 << 20)]);
        assert_eq!(ranges(libc::SYS_read, [3, HEAP, 4 << 20, 0, 0, 0]), [(HEAP, 4 << 20)]);
        assert_eq!(ranges(libc::SYS_getdents64, [3, HEAP, 1, 0, 0, 0]), [(HEAP, USUAL)]);
        let recvfrom = [3, HEAP, 64, 0, HEAP + 4096, HEAP + 8192];
        let expected = [(HEAP, 64), (HEAP + 4096, USUAL), (HEAP + 8192, USUAL)];
        assert_eq!(ranges(libc::SYS_recvfrom, recvfrom), expected);
    }

    #[test]
    fn registers_behind_the_last_argument_name_nothing() {
        let left = HEAP + 8192;
        assert_eq!(ranges(libc::SYS_getpid, [left; 6]), []);
        assert_eq!(ranges(libc::SYS_read, [3, HEAP, 4096, left, left, left]), [(HEAP, 4096)]);
        assert_eq!(ranges(libc::SYS_openat, [3, HEAP, 0, left, left, left]).len(), 2);
    }

    #[test]
    fn calls_about_memory_use_none() {
        assert_eq!(ranges(libc::SYS_munmap, [HEAP, 1 << 30, 0, 0, 0, 0]), []);
        assert_eq!(ranges(libc::SYS_madvise, [HEAP, 1 << 30, 4, 0, 0, 0]), []);
        assert_eq!(ranges(libc::SYS_madvise, [HEAP, 4096, 23, 0, 0, 0]), [(HEAP, 4096)]);
    }

    #[test]
    fn arrays_are_as_long_as_their_elements() {
        assert_eq!(ranges(libc::SYS_epoll_pwait, [3, HEAP, 1000, 5, 0, 0]), [(HEAP, 12_000)]);
        assert_eq!(ranges(libc::SYS_ppoll, [HEAP, 3, 1000, 0, 0, 0]), [(HEAP, 24)]);
        let call = Call {
            number: usize::try_from(libc::SYS_writev).expect("small"),
            arguments: [1, HEAP, 3, 0, 0, 0],
        };
        assert_eq!(uses(call, false).leads[0], Some(Leads::Vectors { at: HEAP, count: 3 }));
    }
}
