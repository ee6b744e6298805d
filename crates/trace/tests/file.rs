//! The file of a trace: what was written is read back, whole or damaged, limited or not.

use std::path::Path;

use bifolio_trace::{Answer, Event, Kind, LIMIT_DEFAULT, LIMIT_LEAST, Served, Trace, TraceError, TraceFile};
use proptest::prelude::*;

fn event(number: u64) -> Event {
    let address = (0x7000_0000 + number.wrapping_mul(0x9e37_79b9) % 4096) << 12;
    let kind = match number % 4 {
        0 => Kind::CpuFault { address, answer: Answer::Moved, order: 4, wait_ns: number % 9000 },
        1 => Kind::DeviceFault {
            address,
            node: 1,
            unit: 3,
            write: true,
            answer: Answer::AlreadyThere,
            served: Served { order: 9, bytes_in: number, bytes_out: 7, evicted: 2 },
            wait_ns: 12_345,
        },
        2 => Kind::Busy,
        _ => Kind::Used { address, pages: 7, node: 0, written: false },
    };
    Event { time_ns: number * 1000, thread: 2, kind }
}

fn write(path: &Path, limit: u64, events: impl IntoIterator<Item = Event>) -> bifolio_trace::Written {
    let notes = [("command".to_owned(), "a test".to_owned())];
    let mut file = TraceFile::create(path, limit, &notes).expect("a file");
    events.into_iter().for_each(|event| file.push(&event).expect("there is room"));
    file.finish(&[("end".to_owned(), "here".to_owned())]).expect("there is room")
}

#[test]
fn events_come_back_in_order_with_their_notes() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("trace");
    let written = write(&path, LIMIT_DEFAULT, (0..100_000).map(event));
    let trace = Trace::open(&path).expect("a trace");
    assert!(trace.events().eq((0..100_000).map(event)));
    assert_eq!((trace.note("command"), trace.note("end")), (Some("a test"), Some("here")));
    assert_eq!((trace.len(), trace.lost(), trace.missing_blocks(), trace.damaged()), (100_000, 0, 0, 0));
    assert_eq!((written.events, written.bytes), (100_000, trace.bytes()));
    assert!(trace.bytes() < 16 * 100_000, "{} bytes", trace.bytes());
}

#[test]
fn file_at_its_limit_keeps_the_newest_events_and_the_first_notes() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("trace");
    let written = write(&path, LIMIT_LEAST, (0..1_000_000).map(event));
    let trace = Trace::open(&path).expect("a trace");
    let kept: Vec<Event> = trace.events().collect();
    assert!(written.bytes <= LIMIT_LEAST && written.bytes > LIMIT_LEAST / 2, "{} bytes", written.bytes);
    assert_eq!(written.events - written.replaced, kept.len() as u64);
    assert!(kept.iter().copied().eq((written.replaced..1_000_000).map(event)));
    assert!(trace.missing_blocks() > 0);
    assert_eq!((trace.note("command"), trace.note("end")), (Some("a test"), Some("here")));
}

#[test]
fn any_beginning_of_a_file_is_a_beginning_of_the_trace() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("trace");
    write(&path, LIMIT_DEFAULT, (0..60_000).map(event));
    let bytes = std::fs::read(&path).expect("it is there");
    let mut longest = 0;
    for part in 1..=50 {
        std::fs::write(&path, &bytes[..bytes.len() * part / 50]).expect("there is room");
        let events: Vec<Event> = Trace::open(&path).expect("the header is whole").events().collect();
        assert!(events.len() >= longest && events.iter().copied().eq((0..events.len() as u64).map(event)));
        longest = events.len();
    }
    assert_eq!(longest, 60_000);
}

#[test]
fn other_files_and_other_versions_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("trace");
    std::fs::write(&path, "a text that is as long as the header of a trace, and a bit longer").expect("room");
    assert!(matches!(Trace::open(&path), Err(TraceError::NotATrace { .. })));
    write(&path, LIMIT_DEFAULT, []);
    let mut bytes = std::fs::read(&path).expect("it is there");
    bytes[8] = 2;
    std::fs::write(&path, bytes).expect("there is room");
    assert!(matches!(Trace::open(&path), Err(TraceError::Version { found: 2, .. })));
    assert!(matches!(Trace::open(&folder.path().join("none")), Err(TraceError::Io { .. })));
    assert!(TraceFile::create(&path, LIMIT_LEAST - 1, &[]).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn damage_takes_events_away_and_adds_none(at in 64_usize..20_000, bit in 0_u8..8) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("trace");
        let mut file = TraceFile::create(&path, LIMIT_DEFAULT, &[]).expect("a file");
        for number in 0..1000 {
            file.push(&event(number)).expect("there is room");
            // Small blocks, so that some stay whole.
            if number % 100 == 99 { file.flush().expect("there is room"); }
        }
        file.finish(&[]).expect("there is room");
        let mut bytes = std::fs::read(&path).expect("it is there");
        let at = 64 + (at - 64) % (bytes.len() - 64);
        bytes[at] ^= 1 << bit;
        std::fs::write(&path, bytes).expect("there is room");
        let events: Vec<Event> = Trace::open(&path).expect("the header is whole").events().collect();
        prop_assert!(events.len() >= 900 && events.len().is_multiple_of(100));
        prop_assert!(events.iter().all(|found| *found == event(found.time_ns / 1000)));
    }
}
