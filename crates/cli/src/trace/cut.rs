//! `bifolio trace cut`.

use bifolio_folio::PAGE_SIZE;
use bifolio_trace::{Event, Kind, LIMIT_LEAST, Place, Residency, Trace, TraceFile};

use crate::trace::TraceCommandError;
use crate::trace::args::CutArgs;

/// Writes the part of a trace that was asked for. It begins with where all pages were then.
///
/// # Errors
///
/// If there is no such part, or it cannot be written.
pub fn cut(trace: &Trace, args: &CutArgs) -> Result<(), TraceCommandError> {
    let to = args.to.unwrap_or(u64::MAX);
    let (mut residency, mut kept, mut last) = (Residency::new(), Vec::new(), 0);
    for event in trace.events() {
        last = last.max(event.time_ns);
        if event.time_ns < args.from {
            residency.apply(&event.kind);
        } else if event.time_ns < to {
            kept.push(event);
        }
    }
    if kept.is_empty() {
        return Err(TraceCommandError::EmptyCut { seconds: last as f64 / 1e9 });
    }
    let before = residency.folios().map(|folio| already_there(args.from, folio));
    write(trace, args, before.chain(kept.iter().copied()))
        .map_err(|source| TraceCommandError::Write { path: args.output.clone(), source })
}

/// What tells that a folio was there before.
fn already_there(time_ns: u64, (first, order, place): (u64, u8, Place)) -> Event {
    let address = first * PAGE_SIZE;
    let kind = match place {
        Place::Ram => Kind::Populated { address, order },
        Place::Device { node, pfn } => Kind::Reshaped { address, order, node, pfn },
    };
    Event { time_ns, thread: 0, kind }
}

fn write(trace: &Trace, args: &CutArgs, events: impl Iterator<Item = Event>) -> std::io::Result<()> {
    let limit = trace.bytes().saturating_mul(2).max(LIMIT_LEAST);
    let mut notes = trace.notes().to_vec();
    let to = args.to.map_or("end".to_owned(), |to| to.to_string());
    notes.push(("cut_ns".to_owned(), format!("{}..{to}", args.from)));
    let mut file = TraceFile::create(&args.output, limit, &notes)?;
    for event in events {
        file.push(&event)?;
    }
    file.finish(&[]).map(drop)
}
