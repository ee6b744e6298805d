//! Tells a recorder what happens in many faults, so that the instructions of recording can be counted, and prints how many
//! faults it told.
//!
//! usage: `count_recorder CASE`; without a case, it lists them. `scripts/count-instructions.sh` runs it under callgrind, which
//! counts only what is done inside `measured`: what the thread does that faults, not the writer. Live there are two events
//! more, the ends of transactions: they need a block to look at, and are left out here.

use std::process::ExitCode;

use bifolio_engine::device::{DeviceRequest, Served, UsedPages};
use bifolio_engine::{Event, EventKind, Observer};
use bifolio_folio::{Order, PageRun, PageSet};
use bifolio_migrate::{AlignedRun, Finished, Moved, NodeId, Rights};
use bifolio_trace::{Options, Recorder};

/// The events of so many find room in the queue, so that the writer need not keep up.
const FAULTS: usize = 10_000;
const NODE: NodeId = NodeId(0);

/// Tells what happens in a fault of an address.
type Fault = fn(&dyn Observer, usize);

const CASES: [(&str, Fault); 2] = [("record.device_fault", device_fault), ("record.cpu_fault", cpu_fault)];

fn tell(observer: &dyn Observer, kind: EventKind<'_>) {
    observer.observe(&Event { sequence: 0, transaction: None, kind });
}

fn copied(to_device: bool) -> EventKind<'static> {
    EventKind::Copied { node: NODE, to_device, pages: 8, bytes: 32_768, time_ns: 3000 }
}

/// A fault of a device that evicts a folio.
fn device_fault(observer: &dyn Observer, address: usize) {
    let mut pages = PageSet::EMPTY;
    pages.insert(PageRun::new(0, 8).expect("not empty"));
    let used = UsedPages { accessed: pages, written: PageSet::EMPTY };
    tell(observer, EventKind::Used { node: NODE, address, used: &used });
    tell(observer, copied(false));
    tell(observer, EventKind::Evicted { node: NODE, address });
    tell(observer, copied(true));
    let request = DeviceRequest::new(address, Rights::READ);
    let result = Ok(Served::default());
    tell(observer, EventKind::DeviceFault { node: NODE, request: &request, result: &result, wait_ns: 9000 });
}

/// A fault of the CPU that brings a folio home.
fn cpu_fault(observer: &dyn Observer, address: usize) {
    tell(observer, copied(false));
    let result =
        Ok(Finished { moved: Moved::ToRam(AlignedRun::around(0, Order::ZERO)), fallbacks: 0, splits: 0 });
    tell(observer, EventKind::CpuFault { address, result: &result, wait_ns: 9000 });
}

/// What is counted. Its name is what the script tells callgrind, so it must stay a function of its own.
#[inline(never)]
fn measured(observer: &dyn Observer, fault: Fault) -> usize {
    (0..FAULTS).for_each(|number| fault(observer, 0x7000_0000 + number * 32_768));
    std::hint::black_box(FAULTS)
}

#[expect(clippy::print_stdout, reason = "a program's output")]
fn main() -> ExitCode {
    let Some(name) = std::env::args().nth(1) else {
        CASES.iter().for_each(|(name, _)| println!("{name}"));
        return ExitCode::SUCCESS;
    };
    let Some((_, fault)) = CASES.iter().find(|(case, _)| *case == name) else { return ExitCode::from(2) };
    let file = std::env::temp_dir().join(format!("count_recorder.{}", std::process::id()));
    let recorder = Recorder::create(&file, &Options::new([("command", "count_recorder")])).expect("a file");
    let faults = measured(recorder.observer().as_ref(), *fault);
    let written = recorder.finish::<&str, &str>([]).expect("there is room");
    std::fs::remove_file(&file).expect("it was made");
    assert_eq!(written.lost, 0, "recording an event that is lost costs less");
    println!("{faults}");
    ExitCode::SUCCESS
}
