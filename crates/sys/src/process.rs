//! Facts about this process, and settings of a thread that lives inside of another program.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use linux_raw_sys::general::{SCHED_BATCH, SCHED_IDLE, SCHED_NORMAL};
use rustix::io::{Errno, fcntl_dupfd_cloexec};
use rustix::thread::CpuSet;

use crate::threads::{self, CpuMask};
use crate::{PAGE, SysError, raw};

/// Signals that the C library uses between its own threads: 32 (cancel) and 33 (change of user for all threads).
/// A thread that blocks 33 hangs `setuid` of the whole process.
const LIBRARY_SIGNALS: u64 = 1 << 31 | 1 << 32;

/// Where descriptors go that the program should not run into: shells and daemons close or reuse low numbers.
const HIGH_DESCRIPTORS: [i32; 4] = [900, 400, 200, 100];

/// Threads of these share the processor fairly.
const FAIR_POLICIES: [u32; 2] = [SCHED_NORMAL, SCHED_BATCH];

/// The machine's pages are not 4 KiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this machine's pages have {found} bytes, Bifolio needs 4096")]
pub struct WrongPageSize {
    /// Bytes of a page here.
    pub found: usize,
}

/// Checks that base pages are 4 KiB.
///
/// # Errors
///
/// Fails on kernels with other pages (some AArch64 ones have 16 or 64 KiB).
pub fn require_4k_pages() -> Result<(), WrongPageSize> {
    require_4k(rustix::param::page_size())
}

fn require_4k(page_bytes: usize) -> Result<(), WrongPageSize> {
    match page_bytes {
        PAGE => Ok(()),
        found => Err(WrongPageSize { found }),
    }
}

/// Returns this process's number.
#[must_use]
pub fn pid() -> u32 {
    std::process::id()
}

/// Returns this thread's number, as fault messages with the thread feature carry it.
#[must_use]
pub fn thread_id() -> u32 {
    rustix::thread::gettid().as_raw_nonzero().get().cast_unsigned()
}

/// Returns the effective user number; 0 is root.
#[must_use]
pub fn effective_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Blocks every signal in this thread, so that the program's handlers never run on it. Threads it starts inherit this.
///
/// Left open are the two signals the C library sends its own threads. A fault of this thread itself still ends
/// the process.
///
/// # Errors
///
/// Fails only on kernels that know no 64 signals.
pub fn block_all_signals_in_this_thread() -> Result<(), SysError> {
    raw::block_signals(!LIBRARY_SIGNALS).map(drop).map_err(SysError::of("rt_sigprocmask"))
}

/// Ends this process at once: no destructor, no handler, nothing of the C library runs.
pub fn exit_now(code: i32) -> ! {
    raw::exit_group(code)
}

/// Makes this process, a fresh sibling, keep nothing of what it was copied from: its descriptors, its folder, its name.
///
/// # Errors
///
/// `ENOSYS` on kernels before 5.9.
///
/// # Safety
///
/// Nothing in this process uses a descriptor that is open now.
pub unsafe fn detach_sibling(name: &str) -> Result<(), SysError> {
    // SAFETY: passed on to the caller.
    unsafe { raw::close_all() }.map_err(SysError::of("close_range"))?;
    // A folder that keeps a file system busy, and a name that misleads, are no reason to give up.
    let _: Result<(), Errno> = rustix::process::chdir("/");
    let _: Option<Result<(), Errno>> = CString::new(name).ok().map(|name| rustix::thread::set_name(&name));
    Ok(())
}

/// How the kernel schedules a thread.
#[derive(Clone, Copy, Debug)]
pub struct Schedule(raw::SchedAttr);

impl Schedule {
    /// That of a thread; of the calling one for 0.
    ///
    /// # Errors
    ///
    /// `ESRCH` for a thread that is not there; where a filter of system calls refuses.
    pub fn get(thread: u32) -> Result<Schedule, SysError> {
        raw::sched_getattr(thread).map(Schedule).map_err(SysError::of("sched_getattr"))
    }

    /// Schedules a thread so; the calling one for 0.
    ///
    /// # Errors
    ///
    /// `ESRCH` for a thread that is not there, `EPERM` without the right to it: CAP_SYS_NICE, or `RLIMIT_NICE` for a
    /// [preference](Schedule::preferred) and to [end](Schedule::normal) the idle policy.
    pub fn set(&self, thread: u32) -> Result<(), SysError> {
        raw::sched_setattr(thread, &self.0).map_err(SysError::of("sched_setattr"))
    }

    /// Tells whether this is the policy of most threads, which share the processors fairly.
    #[must_use]
    pub fn is_normal(&self) -> bool {
        self.0.policy == SCHED_NORMAL
    }

    /// The same with the policy of most threads.
    #[must_use]
    pub fn normal(mut self) -> Schedule {
        self.0.policy = SCHED_NORMAL;
        self
    }

    /// The same with the policy for what has time: every other thread of the processor runs first.
    #[must_use]
    pub fn idle(mut self) -> Schedule {
        self.0.policy = SCHED_IDLE;
        self
    }

    /// The same with a nice value that is one better.
    #[must_use]
    pub fn preferred(mut self) -> Schedule {
        self.0.nice -= 1;
        self
    }

    /// The same with turns of 0.1 ms to 100 ms: with shorter ones than others have, a thread runs sooner after it has woken, and no
    /// longer in all. Without effect before Linux 6.12, and on threads with real-time priorities.
    #[must_use]
    pub fn with_time_slice(mut self, slice: Duration) -> Schedule {
        if FAIR_POLICIES.contains(&self.0.policy) {
            self.0.runtime = u64::try_from(slice.as_nanos()).unwrap_or(u64::MAX);
        }
        self
    }
}

/// Tells whether there is a process of that number.
#[must_use]
pub fn exists(pid: u32) -> bool {
    use rustix::process::{Pid, test_kill_process};
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    pid.is_some_and(|pid| test_kill_process(pid) != Err(Errno::SRCH))
}

/// Ends a process at once.
pub fn kill_now(pid: u32) {
    // One that has gone already is as good as ended.
    let _: Result<(), SysError> = send_signal(pid, rustix::process::Signal::KILL.as_raw());
}

/// Keeps this process from leaving a core dump.
pub fn no_core_dump() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let maximum = getrlimit(Resource::Core).maximum;
    // Where it is refused there is a core dump too many, no more.
    let _: Result<(), Errno> = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum });
}

/// The most address space that this process may have; `None` without a limit.
#[must_use]
pub fn address_space_limit() -> Option<u64> {
    rustix::process::getrlimit(rustix::process::Resource::As).current
}

/// Reaps a child that has ended, of whatever number: the number, and how it ended.
#[must_use]
pub fn reap_any() -> Option<(u32, ExitStatus)> {
    use rustix::process::{WaitOptions, wait};
    let (pid, status) = wait(WaitOptions::NOHANG).ok().flatten()?;
    Some((pid.as_raw_nonzero().get().unsigned_abs(), ExitStatus::from_raw(status.as_raw())))
}

/// Reaps child `pid` if it has ended, and tells whether it has. A process that is no child of this one counts as ended.
#[must_use]
pub fn reap(pid: u32) -> bool {
    use rustix::process::{Pid, WaitOptions, waitpid};
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return true };
    !matches!(waitpid(Some(pid), WaitOptions::NOHANG), Ok(None) | Err(Errno::INTR))
}

/// Lets this process end when the thread that started it ends.
pub fn end_with_parent() {
    use rustix::process::{Signal, set_parent_process_death_signal};
    // Where it is refused, the process goes on alone.
    let _: Result<(), Errno> = set_parent_process_death_signal(Some(Signal::KILL));
}

/// A descriptor that becomes readable when process `pid` has ended.
///
/// # Errors
///
/// `ESRCH` if there is no such process.
pub fn watch_end(pid: u32) -> Result<OwnedFd, SysError> {
    use rustix::process::{Pid, PidfdFlags, pidfd_open};
    let gone = || SysError::of("pidfd_open")(Errno::SRCH);
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or_else(gone)?;
    pidfd_open(pid, PidfdFlags::empty()).map_err(SysError::of("pidfd_open"))
}

/// A copy of descriptor `number` of process `pid`: what it refers to stays open when that process ends.
///
/// # Errors
///
/// `ESRCH` if there is no such process, `EBADF` for no descriptor, `EPERM` for a process that may not be traced.
pub fn copy_descriptor(pid: u32, number: i32) -> Result<OwnedFd, SysError> {
    use rustix::process::{PidfdGetfdFlags, pidfd_getfd};
    let process = watch_end(pid)?;
    pidfd_getfd(process, number, PidfdGetfdFlags::empty()).map_err(SysError::of("pidfd_getfd"))
}

/// Waits until one of some descriptors is readable, or has ended, or the time is over, if there is a limit. Tells which are.
///
/// # Errors
///
/// `EINVAL` for a userfaultfd whose reads block, or before its handshake.
pub fn wait_readable<const N: usize>(
    descriptors: [BorrowedFd<'_>; N],
    limit: Option<Duration>,
) -> Result<[bool; N], SysError> {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let mut polled = descriptors.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
    let limit = limit.and_then(|limit| Timespec::try_from(limit).ok());
    match poll(&mut polled, limit.as_ref()) {
        Ok(_) | Err(Errno::INTR) => Ok(polled.map(|fd| !fd.revents().is_empty())),
        Err(errno) => Err(SysError { call: "poll", errno }),
    }
}

/// Tells whether two processes have the same memory.
///
/// # Errors
///
/// `ESRCH` if one is gone, `EPERM` if one may not be looked into, `ENOSYS` on kernels without `kcmp`.
pub fn share_memory(one: u32, other: u32) -> Result<bool, SysError> {
    raw::same_memory(one, other).map_err(SysError::of("kcmp"))
}

/// Sends a signal to another process.
///
/// # Errors
///
/// Refuses numbers that are no process or no signal, a process that is gone, and one of another user.
pub fn send_signal(pid: u32, signal: i32) -> Result<(), SysError> {
    use rustix::process::{Pid, Signal, kill_process};
    let invalid = || SysError::of("kill")(Errno::INVAL);
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or_else(invalid)?;
    let signal = Signal::from_named_raw(signal).ok_or_else(invalid)?;
    kill_process(pid, signal).map_err(SysError::of("kill"))
}

/// Moves a descriptor to a number of at least 900 if the limits allow, else as high as they do; closed on exec. On
/// failure it keeps its number.
#[must_use]
pub fn high_fd(fd: OwnedFd) -> OwnedFd {
    HIGH_DESCRIPTORS.into_iter().find_map(|least| fcntl_dupfd_cloexec(fd.as_fd(), least).ok()).unwrap_or(fd)
}

/// The processor that this thread runs on just now.
#[must_use]
pub fn current_cpu() -> usize {
    rustix::thread::sched_getcpu()
}

/// Binds this thread to one processor.
///
/// # Errors
///
/// `EINVAL` for a processor that is not there or not allowed.
pub fn pin_this_thread(cpu: usize) -> Result<(), SysError> {
    let only = CpuMask::of(cpu).ok_or(SysError { call: "sched_setaffinity", errno: Errno::INVAL })?;
    threads::set_affinity(0, &only)
}

/// Lists the processors this thread may run on.
///
/// # Errors
///
/// Fails on machines with more processors than the kernel interface here holds (1024).
pub fn allowed_cpus() -> Result<Vec<usize>, SysError> {
    let set = rustix::thread::sched_getaffinity(None).map_err(SysError::of("sched_getaffinity"))?;
    Ok((0..CpuSet::MAX_CPU).filter(|&cpu| set.is_set(cpu)).collect())
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn time_slice_is_that_of_the_thread_which_sets_it() {
        let slice = || Schedule::get(0).expect("granted").0.runtime;
        let before = slice();
        let thread = std::thread::spawn(move || {
            let schedule = Schedule::get(0).expect("granted").with_time_slice(Duration::from_micros(100));
            schedule.set(0).expect("granted");
            slice()
        });
        // Kernels before 6.12 know no slices.
        assert!([0, 100_000].contains(&thread.join().expect("no panic")));
        assert_eq!(slice(), before);
    }

    #[test]
    fn policy_of_another_thread_can_be_exchanged() {
        let (tell, told) = std::sync::mpsc::channel();
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let waiter = std::thread::spawn(move || {
            tell.send(thread_id()).expect("it is read");
            let _ = stopped.recv();
        });
        let thread = told.recv().expect("it is told");
        let before = Schedule::get(thread).expect("it is there");
        assert!(before.is_normal() && before.normal().is_normal());
        before.idle().set(thread).expect("everybody may yield");
        assert!(!Schedule::get(thread).expect("it is there").is_normal());
        match before.set(thread) {
            Ok(()) => assert!(Schedule::get(thread).expect("it is there").is_normal()),
            Err(error) => {
                assert_eq!(error.errno, Errno::PERM);
                assert!(before.preferred().set(0).is_err(), "who may be preferred may stop to yield");
            }
        }
        drop(stop);
        waiter.join().expect("it has ended");
    }

    #[test]
    fn descriptor_moves_high() {
        let fd = OwnedFd::from(std::fs::File::open("/dev/null").expect("exists"));
        assert!(high_fd(fd).as_raw_fd() >= 100);
    }

    #[test]
    fn other_pages_than_4k_are_refused_by_their_size() {
        assert_eq!(require_4k_pages(), Ok(()), "this machine has run the other tests");
        let refused = require_4k(16 << 10).expect_err("16 KiB");
        assert_eq!(refused.to_string(), "this machine's pages have 16384 bytes, Bifolio needs 4096");
    }

    #[test]
    fn absent_processor_is_refused() {
        assert!(pin_this_thread(usize::MAX).is_err());
        assert!(pin_this_thread(CpuSet::MAX_CPU - 1).is_err());
    }

    #[test]
    fn blocked_signals_show_in_the_thread_status() {
        let status = std::thread::spawn(|| {
            block_all_signals_in_this_thread().expect("64 signals");
            std::fs::read_to_string("/proc/thread-self/status").expect("proc is mounted")
        });
        let status = status.join().expect("no panic");
        // All but 9 and 19, which cannot be blocked, and the library's 32 and 33.
        assert!(status.contains("SigBlk:\tfffffffe7ffbfeff"), "{status}");
    }

    #[test]
    fn pinned_thread_stays_on_its_processor() {
        let cpus = std::thread::spawn(|| {
            let first = allowed_cpus().expect("few processors")[0];
            pin_this_thread(first).expect("allowed");
            (first, allowed_cpus().expect("few processors"))
        });
        let (first, after) = cpus.join().expect("no panic");
        assert_eq!(after, [first]);
    }
}
