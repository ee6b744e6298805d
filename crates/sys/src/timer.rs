//! A timer that can be waited for beside other descriptors.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};

use crate::SysError;

/// A limit for waits that follow each other closely. A wait that has a limit of its own programs the machine's timer as it begins and
/// ends, which costs as much as a wake-up in a virtual machine; this does so when it is set, and when the time is over.
#[derive(Debug)]
pub struct Timer {
    descriptor: OwnedFd,
    /// When it is readable.
    set_to: Option<Instant>,
}

impl Timer {
    /// One that is not set.
    ///
    /// # Errors
    ///
    /// `EMFILE` without a free descriptor.
    pub fn new() -> Result<Timer, SysError> {
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let descriptor =
            timerfd_create(TimerfdClockId::Monotonic, flags).map_err(SysError::of("timerfd_create"))?;
        Ok(Timer { descriptor, set_to: None })
    }

    /// Makes it readable at a time, at the latest: it may be so before, since it was set to an earlier one.
    ///
    /// # Errors
    ///
    /// None that is known.
    pub fn set(&mut self, now: Instant, at: Instant) -> Result<(), SysError> {
        if self.set_to.is_some_and(|set| now < set && set <= at) {
            return Ok(());
        }
        let limit = at.saturating_duration_since(now).max(Duration::from_nanos(1));
        let value = Timespec::try_from(limit).unwrap_or(Timespec { tv_sec: i64::MAX, tv_nsec: 0 });
        let once = Itimerspec { it_interval: Timespec::default(), it_value: value };
        timerfd_settime(&self.descriptor, TimerfdTimerFlags::empty(), &once)
            .map_err(SysError::of("timerfd_settime"))?;
        self.set_to = Some(at);
        Ok(())
    }
}

impl AsFd for Timer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::wait_readable;

    #[test]
    fn it_is_readable_when_the_time_is_over_and_not_before() {
        let mut timer = Timer::new().expect("descriptors are free");
        let now = Instant::now();
        let (soon, late) = (now + Duration::from_millis(20), now + Duration::from_secs(60));
        timer.set(now, soon).expect("a time");
        timer.set(now, late).expect("a time");
        assert_eq!(wait_readable([timer.as_fd()], Some(Duration::ZERO)), Ok([false]));
        assert_eq!(wait_readable([timer.as_fd()], Some(Duration::from_secs(10))), Ok([true]));
        assert!(Instant::now() >= soon);
        timer.set(Instant::now(), late).expect("a time");
        assert_eq!(wait_readable([timer.as_fd()], Some(Duration::ZERO)), Ok([false]), "it is set again");
        timer.set(Instant::now(), now).expect("a time that is over");
        assert_eq!(wait_readable([timer.as_fd()], None), Ok([true]));
    }
}
