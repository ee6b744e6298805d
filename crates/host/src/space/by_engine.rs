//! How a space answers what the kernel tells: faults by the engine, moved memory by following it.

use std::sync::Arc;

use bifolio_engine::Engine;
use bifolio_engine::sleep::Seen;
use bifolio_engine::view::CpuView;
use bifolio_migrate::Failure;
use bifolio_sys::Uffd;
use bifolio_sys::touch::Touched;

use super::moved::Mover;
use crate::fault_loop::{Answer, Fault, Moved};
use crate::views::shared::SharedView;

pub(super) struct ByEngine {
    engine: Arc<Engine<SharedView>>,
    mover: Mover,
}

impl ByEngine {
    pub(super) fn new(engine: Arc<Engine<SharedView>>, uffd: Arc<Uffd>) -> ByEngine {
        ByEngine { mover: Mover::new(Arc::clone(&engine), uffd), engine }
    }
}

impl Answer for ByEngine {
    fn was_read(&self, fault: &Fault) -> bool {
        let known = fault.sleeper.map_or(Seen::Known, |sleeper| self.engine.thread_sleeps(sleeper));
        if known == Seen::Unsure {
            // It faults again if it still needs the page.
            self.engine.view().wake(fault.address);
        }
        known == Seen::Known
    }

    fn were_read(&self, messages: usize) {
        self.engine.tell_messages_read(messages);
    }

    fn answer(&self, fault: Fault) {
        let view = self.engine.view();
        if !view.manages(fault.address) && self.mover.shows(fault.address) {
            view.wake(fault.address);
            return;
        }
        // A failure is told to observers, and the toucher gets SIGBUS.
        let _: Result<_, Failure> = self.engine.cpu_fault(fault.address);
    }

    fn answer_own(&self, fault: Fault) -> Touched {
        if !self.was_read(&fault) {
            return Touched::Again;
        }
        match self.engine.cpu_fault(fault.address) {
            // Not left to the kernel, which may raise the same signal for it as for a page that is not there.
            Err(_) if self.engine.is_poisoned(fault.address) => Touched::Lost,
            _ => Touched::Again,
        }
    }

    fn shows_moved(&self, address: usize) -> bool {
        self.mover.shows_now(address)
    }

    fn moved(&self, moved: Moved) {
        self.mover.follow(&moved);
    }
}
