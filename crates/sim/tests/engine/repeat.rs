//! The same requests on the same machine have the same events, one by one and at the same times.

use std::sync::{Arc, Mutex};

use bifolio_engine::clock::Clock;
use bifolio_engine::{Event, EventKind, Observer, Side};
use bifolio_folio::{MemoryKind, Order};
use bifolio_migrate::NodeId;

use crate::machine::{Machine, PAGES, Setup};

/// Writes down what happens, without addresses, which differ from one machine to the next.
#[derive(Default)]
struct Log(Mutex<Vec<String>>);

impl Observer for Log {
    fn observe(&self, event: &Event<'_>) {
        let text = match event.kind {
            EventKind::Done { step, outcome, .. } => format!("{step:?}: {outcome:?}"),
            EventKind::End { result, .. } => format!("{result:?}"),
            kind => format!("{:?}", std::mem::discriminant(&kind)),
        };
        let line = format!("{} {:?} {text}", event.sequence, event.transaction);
        self.0.lock().expect("one thread").push(line);
    }
}

/// Numbers that look random and are always the same.
fn numbers(seed: u64) -> impl Iterator<Item = usize> {
    let mut state = seed;
    std::iter::repeat_with(move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).expect("31 bits")
    })
}

/// What happens when two small devices and the CPU use one block, with a failure now and then; and how long it takes.
fn log_of_a_walk(seed: u64) -> (Vec<String>, u64) {
    let setup = Setup {
        devices: vec![(MemoryKind::Private, 96), (MemoryKind::Coherent, 64)],
        ram_pages: 400,
        largest: Order::K64,
        copy_ns: 7,
        ..Setup::new(MemoryKind::Private, 0)
    };
    let log = Arc::new(Log::default());
    let machine = Machine::observed(&setup, vec![Arc::clone(&log) as Arc<dyn Observer>]);
    let mut numbers = numbers(seed);
    for request in 0..200 {
        let mut number = |below: usize| numbers.next().expect("it never ends") % below;
        let (what, page, node) = (number(7), number(PAGES), NodeId(u8::from(number(2) == 1)));
        machine.failures.fail_after(number(60) as u64);
        match what {
            0 => drop(machine.engine.prefetch(machine.addresses(page..PAGES), Side::Device(node))),
            1 => drop(machine.engine.prefetch(machine.addresses(page..PAGES), Side::Ram)),
            2 => drop(machine.engine.split(machine.addresses(page..page + 1), Order::ZERO)),
            3 => drop(machine.device_write(node, page, request)),
            _ => {
                machine.failures.stop();
                machine.write(page, request);
            }
        }
    }
    machine.check_counts();
    let lines = std::mem::take(&mut *log.0.lock().expect("one thread"));
    (lines, machine.clock.now_ns())
}

#[test]
fn same_requests_have_the_same_events_at_the_same_times() {
    for seed in 1..4 {
        let (log, time_ns) = log_of_a_walk(seed);
        assert!(log.len() > 2000, "{} events", log.len());
        assert_eq!(log_of_a_walk(seed), (log, time_ns), "seed {seed}");
    }
}
