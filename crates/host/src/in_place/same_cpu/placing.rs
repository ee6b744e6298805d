//! A thread has another affinity for as long as it wakes.
//!
//! ```text
//!   the thread waits for its page    begin: its affinity becomes the service's processor
//!   its page comes, which wakes it   it is queued behind the service
//!   it is about to run               let_go: its affinity is its own again
//! ```
//!
//! So it does not run with another affinity than its own, unless the kernel prefers it to the service just there. What the thread
//! does then waits by [`Placed`](crate::in_place::control::Placed), since all of its system calls come to the library.

use bifolio_sys::process;
use bifolio_sys::threads::{self, CpuMask};

use crate::in_place::control::Control;

/// See the module.
#[derive(Debug)]
pub(super) struct Placing {
    control: &'static Control,
    /// Where the service may run; `None` if that is not known.
    own: Option<CpuMask>,
    /// The processor that the service stays on.
    bound: Option<usize>,
}

/// A thread whose affinity is the service's processor until it is let go.
#[derive(Debug)]
pub(in crate::in_place) struct PlacedThread {
    thread: u32,
    own: CpuMask,
}

impl Placing {
    pub(super) fn new(control: &'static Control) -> Placing {
        Placing { control, own: threads::affinity(0).ok(), bound: None }
    }

    /// Binds the service to a processor, and a thread that waits for a page as well.
    pub(super) fn begin(&mut self, thread: u32) -> Option<PlacedThread> {
        if !self.control.placed().begin(thread) {
            return None;
        }
        let placed = self.place(thread);
        if placed.is_none() {
            self.control.placed().end();
        }
        placed
    }

    fn place(&mut self, thread: u32) -> Option<PlacedThread> {
        let own = threads::affinity(thread).ok()?;
        let allowed = self.own.as_ref()?;
        let here = self.bound.unwrap_or_else(process::current_cpu);
        let cpu = if own.contains(here) { here } else { own.first_common(allowed)? };
        let only = CpuMask::of(cpu)?;
        if self.bound != Some(cpu) {
            self.bound = Some(cpu);
            threads::set_affinity(0, &only).ok()?;
        }
        if own == only {
            return None;
        }
        threads::set_affinity(thread, &only).ok()?;
        Some(PlacedThread { thread, own })
    }

    /// Gives a thread its own affinity back.
    pub(super) fn let_go(&mut self, placed: &PlacedThread) {
        // It fails for a thread that is gone.
        let _ = threads::set_affinity(placed.thread, &placed.own);
        self.control.placed().end();
    }

    /// Lets the service run where it may.
    pub(super) fn end(&mut self) {
        if self.bound.take().is_some()
            && let Some(own) = &self.own
        {
            let _ = threads::set_affinity(0, own);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thread_has_its_own_affinity_again_afterwards() {
        static CONTROL: Control = Control::new();
        let mut placing = Placing::new(&CONTROL);
        let (tell, told) = std::sync::mpsc::channel();
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let waiter = std::thread::spawn(move || {
            tell.send(process::thread_id()).expect("it is read");
            let _ = stopped.recv();
        });
        let thread = told.recv().expect("it is told");
        let before = threads::affinity(thread).expect("it is there");
        let placed = placing.begin(thread);
        assert!(placed.is_some() || before.count() == 1);
        if let Some(placed) = &placed {
            assert!(CONTROL.placed().is_placed());
            let cpu = placing.bound.expect("the service is bound as well");
            let only = CpuMask::of(cpu).expect("few processors");
            assert_eq!(threads::affinity(thread).expect("it is there"), only);
            placing.let_go(placed);
        }
        assert!(!CONTROL.placed().is_placed());
        assert_eq!(threads::affinity(thread).expect("it is there"), before);
        CONTROL.placed().program_places();
        assert!(placing.begin(thread).is_none(), "the program does");
        placing.end();
        assert_eq!(placing.bound, None);
        drop(stop);
        waiter.join().expect("it has ended");
    }
}
