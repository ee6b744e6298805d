//! An audit compares sums while no block can change.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Barrier};
use std::time::Duration;

use bifolio_engine::{Event, EventKind, Observer, Side};
use bifolio_folio::MemoryKind;
use bifolio_rules::{AuditEvent, Counter};

use super::machine::{Machine, Setup};

/// Meets an audit before it compares the last sum, and meets it again before it goes on.
struct Meeting {
    wanted: AtomicBool,
    barrier: Barrier,
    /// Threads that were about to wait for a block.
    waits: AtomicU64,
}

impl Observer for Meeting {
    fn observe(&self, event: &Event<'_>) {
        match event.kind {
            EventKind::Waiting { .. } => {
                self.waits.fetch_add(1, Ordering::SeqCst);
            }
            EventKind::Audit(AuditEvent::Counted { counter: Counter::LivePages, .. })
                if self.wanted.swap(false, Ordering::SeqCst) =>
            {
                self.barrier.wait();
                self.barrier.wait();
            }
            _ => {}
        }
    }
}

#[test]
fn audit_compares_sums_while_no_block_can_change() {
    let (wanted, waits) = (AtomicBool::new(false), AtomicU64::new(0));
    let meeting = Arc::new(Meeting { wanted, barrier: Barrier::new(2), waits });
    let setup = Setup::new(MemoryKind::Private, 64);
    let machine = Machine::observed(&setup, vec![Arc::clone(&meeting) as Arc<dyn Observer>]);
    machine.write(0, 1);
    machine.engine.prefetch(machine.addresses(0..1), Side::DEVICE).expect("room");

    meeting.wanted.store(true, Ordering::SeqCst);
    let moved = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let audit = scope.spawn(|| machine.engine.audit());
        meeting.barrier.wait();
        let before = meeting.waits.load(Ordering::SeqCst);
        // A handler that is late: its toucher has been awake since another one mapped the page.
        let late = scope.spawn(|| {
            let result = machine.engine.prefetch(machine.addresses(0..1), Side::Ram);
            moved.store(true, Ordering::SeqCst);
            result
        });
        while meeting.waits.load(Ordering::SeqCst) == before {
            std::thread::yield_now();
        }
        // Long enough to move a page, if that were possible now.
        std::thread::sleep(Duration::from_millis(20));
        assert!(!moved.load(Ordering::SeqCst), "the audit holds every block");
        meeting.barrier.wait();
        assert_eq!(audit.join().expect("no panic"), []);
        late.join().expect("no panic").expect("room");
    });
    assert_eq!(machine.engine.audit(), []);
}
