//! What the engine tells, as events of a trace.

use bifolio_engine::device::{DeviceFault, DeviceRequest, Served as EngineServed};
use bifolio_engine::event::{Cause, EventKind, StepContext};
use bifolio_folio::{PAGE_SIZE, PageSet};
use bifolio_migrate::{Failure, Finished, Moved, PageRun, Rights};

use crate::event::{Answer, Kind, Served, Trigger};

/// Hands what an event of the engine is in a trace to `record`: nothing, one event, or a few.
pub fn kinds_of(kind: &EventKind<'_>, mut record: impl FnMut(Kind)) {
    match *kind {
        EventKind::End { cause, result: Ok(finished), context } => {
            ended(cause, finished, context, record);
        }
        EventKind::Used { node, address, used } => {
            each_run(&used.accessed, &used.written, |run, written| {
                let address = page(address) + u64::from(run.first()) * PAGE_SIZE;
                record(Kind::Used { address, pages: run.pages().into(), node: node.0, written });
            });
        }
        ref other => single(other).into_iter().for_each(record),
    }
}

/// Those that are one event, or none.
fn single(kind: &EventKind<'_>) -> Option<Kind> {
    Some(match *kind {
        EventKind::Mapped { address, bytes } => {
            Kind::Mapped { address: page(address), pages: pages_of(bytes) }
        }
        EventKind::Filled { address, bytes } => {
            Kind::Filled { address: page(address), pages: pages_of(bytes) }
        }
        EventKind::CpuFault { address, result, wait_ns } => {
            let (answer, order) = cpu_answer(result);
            Kind::CpuFault { address: page(address), answer, order, wait_ns }
        }
        EventKind::DeviceFault { node, request, result, wait_ns } => {
            device_fault(node.0, request, result, wait_ns)
        }
        EventKind::Copied { node, to_device, bytes, time_ns, .. } => {
            Kind::Copied { node: node.0, to_device, bytes, time_ns }
        }
        EventKind::Evicted { node, address } => Kind::Evicted { address: page(address), node: node.0 },
        EventKind::Reclaimed { address, pages } => {
            Kind::Reclaimed { address: page(address), pages: pages.into() }
        }
        EventKind::MappedRemotely { node, address, order, uses } => {
            Kind::Remote { address: page(address), order: order.get(), node: node.0, uses }
        }
        EventKind::MessagesRead { messages } if messages > 1 => {
            Kind::Batch { messages: u32::try_from(messages).unwrap_or(u32::MAX) }
        }
        EventKind::Busy => Kind::Busy,
        EventKind::BeyondLimit { pages } => Kind::BeyondLimit { pages },
        EventKind::Poisoned { address, .. } => Kind::Poisoned { address: page(address) },
        EventKind::BufferEvicted { node } => Kind::BufferEvicted { node: node.0 },
        EventKind::BufferReturned { node } => Kind::BufferReturned { node: node.0 },
        EventKind::BufferCopied { node, bytes, time_ns } => {
            Kind::BufferCopied { node: node.0, bytes, time_ns }
        }
        EventKind::Killed { node } => Kind::Killed { node: node.0 },
        _ => return None,
    })
}

/// What a transaction did. Where it only found that nothing was to do, the fault tells.
fn ended(cause: Cause, finished: &Finished, context: &dyn StepContext, mut record: impl FnMut(Kind)) {
    let trigger = trigger(cause);
    let at = |first: u16| context.base() as u64 + u64::from(first) * PAGE_SIZE;
    match finished.moved {
        Moved::ToDevice(run) => {
            if let Some(piece) = context.block().piece_of(run.first()) {
                let (address, order) = (at(run.first()), run.order().get());
                let (node, pfn) = (piece.node.0, piece.pfn.get());
                record(Kind::ToDevice { trigger, address, order, node, pfn });
            }
        }
        Moved::ToRam(run) => {
            record(Kind::ToRam { trigger, address: at(run.first()), order: run.order().get() });
        }
        Moved::Populated(run) => {
            record(Kind::Populated { address: at(run.first()), order: run.order().get() });
        }
        Moved::Unmapped(run) => {
            record(Kind::Unmapped { address: at(run.first()), pages: run.pages().into() });
        }
        Moved::Split(run) | Moved::Collapsed(run) => {
            for piece in context.block().pieces_in(run) {
                let (address, order) = (at(piece.run.first()), piece.run.order().get());
                record(Kind::Reshaped { address, order, node: piece.node.0, pfn: piece.pfn.get() });
            }
        }
        Moved::AlreadyThere(_) | Moved::Protected(_) => {}
    }
}

fn cpu_answer(result: &Result<Finished, Failure>) -> (Answer, u8) {
    match result.as_ref().map(|finished| finished.moved) {
        Ok(Moved::Populated(run)) => (Answer::Populated, run.order().get()),
        Ok(Moved::AlreadyThere(run)) => (Answer::AlreadyThere, run.order().get()),
        Ok(Moved::ToRam(run) | Moved::ToDevice(run)) => (Answer::Moved, run.order().get()),
        Ok(_) => (Answer::AlreadyThere, 0),
        Err(_) => (Answer::Failed, 0),
    }
}

fn device_fault(
    node: u8,
    request: &DeviceRequest,
    result: &Result<EngineServed, DeviceFault>,
    wait_ns: u64,
) -> Kind {
    let (answer, served) = match result {
        Ok(served) => {
            let answer = if served.was_there { Answer::AlreadyThere } else { Answer::Moved };
            let EngineServed { order, moved_in: bytes_in, moved_out: bytes_out, evicted, .. } = *served;
            (answer, Served { order: order.get(), bytes_in, bytes_out, evicted })
        }
        Err(_) => (Answer::Failed, Served::default()),
    };
    let (unit, write) = (request.unit, request.access.contains(Rights::WRITE));
    Kind::DeviceFault { address: page(request.address), node, unit, write, answer, served, wait_ns }
}

/// Calls `record` with each run of pages that were all written, or all only read.
fn each_run(accessed: &PageSet, written: &PageSet, mut record: impl FnMut(PageRun, bool)) {
    for run in accessed.runs(PageRun::BLOCK) {
        let mut first = run.first();
        while let Some((part, is_written)) = written.run_at(first, run.end()) {
            record(part, is_written);
            first = part.end();
        }
    }
}

fn trigger(cause: Cause) -> Trigger {
    match cause {
        Cause::CpuFault => Trigger::CpuFault,
        Cause::DeviceFault => Trigger::DeviceFault,
        Cause::Prefetch => Trigger::Prefetch,
        Cause::Unmap => Trigger::Unmap,
        Cause::Reshape => Trigger::Reshape,
        Cause::Pin => Trigger::Pin,
        Cause::Eviction => Trigger::Eviction,
        Cause::Reclaim => Trigger::Reclaim,
        Cause::Detach => Trigger::Detach,
        Cause::Ahead => Trigger::Ahead,
        _ => Trigger::Other,
    }
}

fn page(address: usize) -> u64 {
    address as u64 & !(PAGE_SIZE - 1)
}

fn pages_of(bytes: usize) -> u32 {
    u32::try_from(bytes as u64 / PAGE_SIZE).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batch_is_told_if_it_holds_more_than_one_message() {
        let told = |messages| {
            let mut kinds = Vec::new();
            kinds_of(&EventKind::MessagesRead { messages }, |kind| kinds.push(kind));
            kinds
        };
        assert_eq!(told(1), []);
        assert_eq!(told(3), [Kind::Batch { messages: 3 }]);
    }

    #[test]
    fn used_pages_are_told_by_runs_of_one_kind() {
        let run = |first, pages| PageRun::new(first, pages).expect("not empty");
        let (mut accessed, mut written) = (PageSet::EMPTY, PageSet::EMPTY);
        [run(2, 6), run(100, 1)].into_iter().for_each(|run| accessed.insert(run));
        written.insert(run(4, 2));
        let mut runs = Vec::new();
        each_run(&accessed, &written, |run, written| runs.push((run.first(), run.pages(), written)));
        assert_eq!(runs, [(2, 2, false), (4, 2, true), (6, 2, false), (100, 1, false)]);
    }
}
