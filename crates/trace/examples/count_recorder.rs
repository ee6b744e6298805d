//! Counts what recording costs: tells a recorder the events of many device faults that each evict a folio.
//!
//! `valgrind --tool=callgrind --toggle-collect='*measured*' PROGRAM` counts the instructions of the thread that faults; alone,
//! the program prints nanoseconds for each fault. Live there are two events more, the ends of the transactions: they need
//! a block to look at, and are left out here.

use std::time::Instant;

use bifolio_engine::device::{DeviceRequest, Served, UsedPages};
use bifolio_engine::{Event, EventKind, Observer};
use bifolio_folio::{PageRun, PageSet};
use bifolio_migrate::{NodeId, Rights};
use bifolio_trace::{Options, Recorder};

/// As many as the queue takes, so that no event is lost and the writer need not keep up.
const FAULTS: usize = 10_000;
const NODE: NodeId = NodeId(0);

fn tell(observer: &dyn Observer, kind: EventKind<'_>) {
    observer.observe(&Event { sequence: 0, transaction: None, kind });
}

/// What happens in a fault that evicts a folio.
fn fault(observer: &dyn Observer, used: &UsedPages, address: usize) {
    tell(observer, EventKind::Used { node: NODE, address, used });
    tell(
        observer,
        EventKind::Copied { node: NODE, to_device: false, pages: 8, bytes: 32_768, time_ns: 3000 },
    );
    tell(observer, EventKind::Evicted { node: NODE, address });
    tell(observer, EventKind::Copied { node: NODE, to_device: true, pages: 8, bytes: 32_768, time_ns: 2000 });
    let request = DeviceRequest::new(address, Rights::READ);
    let result = Ok(Served::default());
    tell(observer, EventKind::DeviceFault { node: NODE, request: &request, result: &result, wait_ns: 9000 });
}

/// What is counted. A function of its own, so that callgrind finds it.
#[inline(never)]
fn measured(observer: &dyn Observer, used: &UsedPages) {
    (0..FAULTS).for_each(|number| fault(observer, used, 0x7000_0000 + number * 32_768));
}

#[expect(clippy::print_stdout, reason = "an example that reports figures")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let file = std::env::temp_dir().join(format!("count_recorder.{}", std::process::id()));
    let recorder = Recorder::create(&file, &Options::new([("command", "count_recorder")]))?;
    let mut pages = PageSet::EMPTY;
    pages.insert(PageRun::new(0, 8).expect("not empty"));
    let used = UsedPages { accessed: pages, written: PageSet::EMPTY };
    let observer = recorder.observer();
    let started = Instant::now();
    measured(observer.as_ref(), &used);
    let took = started.elapsed();
    let written = recorder.finish::<&str, &str>([])?;
    std::fs::remove_file(&file)?;
    println!(
        "{} ns a fault of 5 events; {} events written, {} lost",
        took.as_nanos() / FAULTS as u128,
        written.events,
        written.lost
    );
    Ok(())
}
