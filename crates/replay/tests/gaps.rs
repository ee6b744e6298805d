//! A trace with gaps is replayed, and not taken for one in which every access is to be found.

use std::path::Path;

use bifolio_policy::PolicyName;
use bifolio_replay::{Link, ReplayError, Requests, Source, fewest, miss_curve, replay};
use bifolio_trace::{Event, Kind, LIMIT_DEFAULT, Trace, TraceFile};

/// Writes accesses of 64 pages in turn, and how many events were lost.
fn write(path: &Path, lost: u64) -> Trace {
    let mut file = TraceFile::create(path, LIMIT_DEFAULT, &[]).expect("a file");
    for at in 0..1000 {
        let kind = Kind::Access { address: (at % 64) << 12, unit: 1, write: false };
        file.push(&Event { time_ns: at, thread: 1, kind }).expect("room");
        if at % 100 == 0 {
            file.flush().expect("room");
        }
    }
    file.set_lost(lost);
    file.finish(&[]).expect("room");
    Trace::open(path).expect("a trace")
}

fn assert_refused(requests: &Requests) {
    assert_eq!(requests.source, Source::SomeAccesses);
    assert!(matches!(fewest(requests, 32), Err(ReplayError::Gaps)));
    assert!(matches!(miss_curve(requests), Err(ReplayError::Gaps)));
    let link = Link { bytes_per_second: 16 << 30, latency_ns: 2000, access_ns: 0 };
    let policy: PolicyName = "fixed+lru".parse().expect("a policy");
    assert!(replay(requests, policy, 32, link).is_ok_and(|outcome| outcome.faults > 0));
}

#[test]
fn whole_trace_has_an_optimum_and_one_with_lost_events_has_none() {
    let folder = tempfile::tempdir().expect("a folder");
    let whole = Requests::of(&write(&folder.path().join("whole"), 0));
    assert_eq!(whole.source, Source::Accesses);
    assert!(fewest(&whole, 32).is_ok() && miss_curve(&whole).is_ok());
    assert_refused(&Requests::of(&write(&folder.path().join("lossy"), 1)));
}

#[test]
fn trace_with_a_damaged_block_has_no_optimum() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("damaged");
    write(&path, 0);
    let mut bytes = std::fs::read(&path).expect("it was written");
    let middle = bytes.len() / 2;
    bytes[middle..middle + 64].fill(0xa5);
    std::fs::write(&path, bytes).expect("room");
    let trace = Trace::open(&path).expect("the header is whole");
    assert!(trace.missing_within() > 0 && trace.lost() == 0);
    assert_refused(&Requests::of(&trace));
}
