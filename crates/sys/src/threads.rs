//! The threads of a process, and the signals that they block.
//!
//! The C library's functions for folders allocate from the program's own heap, so the kernel is asked directly.

use std::mem::MaybeUninit;
use std::time::Duration;

use rustix::fs::{CWD, Mode, OFlags, RawDir, openat};
use rustix::io::Errno;
use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::{SysError, raw};

/// Room for the names of some threads at a time.
const NAMES: usize = 4096;

/// Returns the numbers of the threads of a process.
///
/// # Errors
///
/// `ENOENT` if the process is gone, `EMFILE` without a free descriptor.
pub fn of_process(pid: u32) -> Result<Vec<u32>, SysError> {
    let error = SysError::of("open /proc/PID/task");
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = openat(CWD, format!("/proc/{pid}/task"), flags, Mode::empty()).map_err(error)?;
    let mut room = [MaybeUninit::uninit(); NAMES];
    let mut names = RawDir::new(folder, &mut room);
    let mut threads = Vec::new();
    while let Some(entry) = names.next() {
        match entry {
            Ok(entry) => {
                let name = entry.file_name().to_str().ok();
                threads.extend(name.and_then(|name| name.parse::<u32>().ok()));
            }
            Err(Errno::INTR) => {}
            Err(errno) => return Err(SysError { call: "getdents64", errno }),
        }
    }
    Ok(threads)
}

/// Returns the signals that a thread of a process blocks, as bits from signal 1 on; `None` if it has ended.
#[must_use]
pub fn blocked_signals(pid: u32, thread: u32) -> Option<u64> {
    let status = std::fs::read(format!("/proc/{pid}/task/{thread}/status")).ok()?;
    let mask = status.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"SigBlk:\t"))?;
    u64::from_str_radix(std::str::from_utf8(mask).ok()?, 16).ok()
}

/// Sends SIGSYS to a thread of a process.
///
/// # Errors
///
/// `ESRCH` if it has ended, `EPERM` if it is another user's.
pub fn send_sigsys(pid: u32, thread: u32) -> Result<(), SysError> {
    raw::signal_thread(pid, thread, linux_raw_sys::general::SIGSYS).map_err(SysError::of("tgkill"))
}

/// Returns the address of the instruction at which a thread of a process sleeps; `None` if it does not sleep, or the kernel does not
/// tell this process.
#[must_use]
pub fn program_counter(pid: u32, thread: u32) -> Option<u64> {
    // In `proc_pid_syscall(5)`: the last number of the line; a thread that runs has a word instead.
    let text = std::fs::read_to_string(format!("/proc/{pid}/task/{thread}/syscall")).ok()?;
    let last = text.split_whitespace().last()?;
    u64::from_str_radix(last.strip_prefix("0x")?, 16).ok()
}

/// What a thread does, as the kernel tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Activity {
    /// It runs or could, in the program or in a system call.
    Running,
    /// It sleeps in a system call: the number, and the arguments.
    InCall(usize, [usize; 6]),
    /// It sleeps without a call, has ended, or the kernel does not tell this process.
    Other,
}

/// Returns what a thread of a process does.
#[must_use]
pub fn activity(pid: u32, thread: u32) -> Activity {
    let text = std::fs::read_to_string(format!("/proc/{pid}/task/{thread}/syscall")).unwrap_or_default();
    parse_activity(&text)
}

/// Parses `proc_pid_syscall(5)`: a word, or the number, six arguments and two pointers.
fn parse_activity(text: &str) -> Activity {
    let mut words = text.split_whitespace();
    let first = words.next();
    if first == Some("running") {
        return Activity::Running;
    }
    let Some(number) = first.and_then(|word| word.parse().ok()) else { return Activity::Other };
    let mut arguments = [0; 6];
    for argument in &mut arguments {
        let word = words.next().and_then(|word| word.strip_prefix("0x"));
        let Some(value) = word.and_then(|word| usize::from_str_radix(word, 16).ok()) else {
            return Activity::Other;
        };
        *argument = value;
    }
    Activity::InCall(number, arguments)
}

/// The processors that a thread may run on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CpuMask(CpuSet);

impl CpuMask {
    /// One processor alone; `None` if its number is above what the kernel interface here holds (1024).
    #[must_use]
    pub fn of(cpu: usize) -> Option<CpuMask> {
        let mut set = CpuSet::new();
        (cpu < CpuSet::MAX_CPU).then(|| set.set(cpu))?;
        Some(CpuMask(set))
    }

    /// Whether a thread may run there.
    #[must_use]
    pub fn contains(&self, cpu: usize) -> bool {
        cpu < CpuSet::MAX_CPU && self.0.is_set(cpu)
    }

    /// The first processor of both.
    #[must_use]
    pub fn first_common(&self, other: &CpuMask) -> Option<usize> {
        (0..CpuSet::MAX_CPU).find(|cpu| self.0.is_set(*cpu) && other.0.is_set(*cpu))
    }

    /// Processors.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.0.count()
    }
}

/// Returns where a thread may run; the calling one for 0.
///
/// # Errors
///
/// `ESRCH` for a thread that is not there, `EINVAL` on machines with more processors than the kernel interface here holds.
pub fn affinity(thread: u32) -> Result<CpuMask, SysError> {
    sched_getaffinity(pid_of(thread)).map(CpuMask).map_err(SysError::of("sched_getaffinity"))
}

/// Says where a thread may run; the calling one for 0.
///
/// # Errors
///
/// `ESRCH` for a thread that is not there, `EPERM` for one of another user, `EINVAL` without an allowed processor.
pub fn set_affinity(thread: u32, mask: &CpuMask) -> Result<(), SysError> {
    sched_setaffinity(pid_of(thread), &mask.0).map_err(SysError::of("sched_setaffinity"))
}

/// What the kernel's table says of a thread: the fields of `proc_pid_stat(5)` that are used here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Stat {
    state: u8,
    /// The processor it ran on last.
    cpu: usize,
}

fn stat(thread: u32) -> Option<Stat> {
    parse_stat(&std::fs::read_to_string(format!("/proc/{thread}/stat")).ok()?)
}

fn parse_stat(text: &str) -> Option<Stat> {
    // The name before may hold anything. Counted from the state, the processor is the 37th field.
    let mut fields = text.rsplit_once(')')?.1.split_whitespace();
    let state = *fields.next()?.as_bytes().first()?;
    Some(Stat { state, cpu: fields.nth(35)?.parse().ok()? })
}

/// Returns the processor that a thread ran on last; `None` if it is gone.
#[must_use]
pub fn last_cpu(thread: u32) -> Option<usize> {
    stat(thread).map(|stat| stat.cpu)
}

/// Tells whether a thread runs, or could if a processor were free.
#[must_use]
pub fn is_runnable(thread: u32) -> bool {
    stat(thread).is_some_and(|stat| stat.state == b'R')
}

fn pid_of(thread: u32) -> Option<Pid> {
    i32::try_from(thread).ok().and_then(Pid::from_raw)
}

/// Returns the processor time that all threads of a process have had; `None` if it is gone.
#[must_use]
pub fn time_used(pid: u32) -> Option<Duration> {
    // The number of a process's clock, in `clock_getcpuclockid(3)`.
    let [seconds, nanoseconds] = raw::clock((!i32::try_from(pid).ok()? << 3) | 2).ok()?;
    Some(Duration::from_secs(seconds) + Duration::from_nanos(nanoseconds))
}

#[cfg(test)]
mod tests {
    #[test]
    fn processor_of_a_thread_is_read_behind_any_name() {
        let rest = "S 1 ".to_owned() + &"0 ".repeat(34) + "5 0 0";
        assert_eq!(parse_stat(&format!("7 (a) R 3) {rest}")), Some(Stat { state: b'S', cpu: 5 }));
        assert_eq!(parse_stat("7 (a) S 1"), None);
        let own = crate::process::thread_id();
        assert!(is_runnable(own));
        assert!(affinity(own).expect("it is there").contains(last_cpu(own).expect("it is there")));
        assert!(!is_runnable(u32::MAX));
    }

    #[test]
    fn calls_of_sleeping_threads_are_read() {
        let sleeping = "0 0x3 0x7f00 0x1000 0x0 0x0 0xff 0x7ffc 0x7f01\n";
        assert_eq!(parse_activity(sleeping), Activity::InCall(0, [3, 0x7f00, 0x1000, 0, 0, 0xff]));
        assert_eq!(parse_activity("running\n"), Activity::Running);
        assert_eq!(parse_activity("-1 0x7ffc 0x7f01\n"), Activity::Other);
        assert_eq!(parse_activity(""), Activity::Other);
    }

    #[test]
    fn time_used_grows_with_work() {
        let begin = time_used(process::pid()).expect("this process");
        while time_used(process::pid()).expect("this process") < begin + Duration::from_millis(2) {}
        assert_eq!(time_used(u32::MAX), None);
    }

    use super::*;
    use crate::process;
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

    #[test]
    fn threads_are_listed_with_the_signals_they_block() {
        let (begun, seen) = (Barrier::new(2), Barrier::new(2));
        std::thread::scope(|scope| {
            let other = scope.spawn(|| {
                process::block_all_signals_in_this_thread().expect("64 signals");
                begun.wait();
                seen.wait();
                process::thread_id()
            });
            begun.wait();
            let threads = of_process(process::pid()).expect("proc is mounted");
            let blocked: Vec<_> = threads
                .iter()
                .filter_map(|thread| Some((*thread, blocked_signals(process::pid(), *thread)?)))
                .collect();
            seen.wait();
            let other = other.join().expect("no panic");
            let of =
                |number: u32| blocked.iter().find(|(thread, _)| *thread == number).map(|(_, mask)| *mask);
            assert!(of(other).is_some_and(|mask| mask & 1 << 14 != 0), "SIGTERM is blocked: {blocked:?}");
            assert!(of(process::thread_id()).is_some_and(|mask| mask & 1 << 14 == 0), "{blocked:?}");
        });
    }

    #[test]
    fn sleeping_thread_has_a_program_counter() {
        let (begun, seen) = (Barrier::new(2), Barrier::new(2));
        std::thread::scope(|scope| {
            let (begun, seen) = (&begun, &seen);
            let (tell, told) = std::sync::mpsc::channel();
            scope.spawn(move || {
                tell.send(process::thread_id()).expect("it is received");
                begun.wait();
                seen.wait();
            });
            let other = told.recv().expect("it was sent");
            begun.wait();
            let sleeps = || program_counter(process::pid(), other).is_some_and(|pc| pc != 0);
            let found = (0..1000).any(|_| {
                std::thread::sleep(std::time::Duration::from_millis(1));
                sleeps()
            });
            assert!(found || program_counter(process::pid(), other).is_none(), "zero is no place");
            seen.wait();
        });
    }

    #[test]
    fn running_thread_has_no_program_counter() {
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let (tell, told) = std::sync::mpsc::channel();
            let over = &over;
            scope.spawn(move || {
                tell.send(process::thread_id()).expect("it is received");
                while !over.load(Relaxed) {
                    std::hint::spin_loop();
                }
            });
            let other = told.recv().expect("it was sent");
            // It may be on its way back from telling.
            let runs = || program_counter(process::pid(), other).is_none();
            let found = (0..1000).any(|_| {
                std::thread::sleep(std::time::Duration::from_millis(1));
                runs()
            });
            over.store(true, Relaxed);
            assert!(found, "it only spins");
        });
    }

    #[test]
    fn process_that_is_gone_has_no_threads() {
        assert_eq!(of_process(u32::MAX >> 1).expect_err("no such process").errno, Errno::NOENT);
    }
}
