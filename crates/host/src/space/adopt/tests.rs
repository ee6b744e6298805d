use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bifolio_engine::device::DeviceFault;
use bifolio_migrate::{Failure, NodeId};
use bifolio_sys::{Mapping, MapsFile, PAGE, Placement, ProgramMemory, Protection, SharedBytes};

use super::*;
use crate::views::injected;
use crate::{Counter, Kernel, Side, SpaceConfig, Unit};

const MIB: usize = 1 << 20;
const BYTES: usize = 5 * MIB;

/// A checked space with 1 MiB of device memory, that may adopt a mapping of a few pages more than `BYTES` whose words in
/// `BYTES` in the middle have their number; every third page is zeros.
fn space() -> Option<(Space, AddressRange)> {
    let len = BYTES + 64 * PAGE;
    let mapping = Mapping::anonymous(len, Protection::ReadWrite, Placement::Anywhere).expect("memory");
    let span = mapping.span().part(7 * PAGE, BYTES).expect("inside");
    write(mapping.at(span).expect("inside"));
    let config = SpaceConfig {
        checked: true,
        program: Some(ProgramMemory::of(mapping)),
        ..SpaceConfig::new(16 * MIB, MIB)
    };
    match Space::new(config) {
        Err(crate::SetupError::Uffd(_)) => None,
        space => Some((space.expect("a space"), span)),
    }
}

fn write(bytes: SharedBytes<'_>) {
    for page in (0..bytes.len() / PAGE).filter(|page| page % 3 != 0) {
        bytes.store_u64(page * PAGE + 8, page as u64).expect("inside");
    }
}

fn expected(page: usize) -> u64 {
    if page.is_multiple_of(3) { 0 } else { page as u64 }
}

fn check(space: &Space, span: AddressRange, more: u64) {
    for page in 0..span.pages() {
        let found = space.window(span).load_u64(page * PAGE + 8);
        assert_eq!(found, Ok(expected(page) + more), "page {page}");
    }
    assert_eq!(space.audit(), []);
}

fn is_private(span: AddressRange) -> bool {
    let mut maps = MapsFile::open_own().expect("/proc");
    let entries = maps.read().expect("readable");
    entries.filter(|entry| entry.range.overlaps(span)).all(|entry| entry.is_private_data())
}

/// Adds 1 to a word of every page.
struct Increment(AddressRange);

impl Kernel for Increment {
    fn run(&self, memory: &mut Unit<'_>, unit: usize, units: usize) -> Result<(), DeviceFault> {
        for at in (self.0.start()..self.0.end()).step_by(PAGE).skip(unit).step_by(units) {
            let value = memory.load(at + 8)?;
            memory.store(at + 8, value + 1)?;
        }
        Ok(())
    }
}

#[test]
fn memory_of_the_program_is_used_by_a_device_and_given_back() {
    let Some((space, span)) = space() else { return };
    assert!(matches!(space.release(span), Err(AdoptError::Unknown(_))));
    space.adopt(span).expect("private memory");
    assert!(!is_private(span));
    check(&space, span, 0);
    space.launch(&Increment(span)).expect("every page is there");
    assert!(space.statistics().get(Counter::Evictions) > 0, "the device has less memory");
    check(&space, span, 1);
    space.launch(&Increment(span)).expect("every page is there");
    space.release(span).expect("nothing holds it");
    assert!(is_private(span));
    check(&space, span, 2);
    let gone = space.launch(&Increment(span));
    assert!(matches!(gone, Err(DeviceFault::NotMapped { .. })), "{gone:?}");
    assert_eq!(space.statistics().get(Counter::Violations), 0);
    space.adopt(span).expect("once more");
    space.release(span).expect("once more");
    space.close().expect("nothing is held");
}

#[test]
fn each_failing_step_leaves_everything_as_it_was() {
    let Some((space, span)) = space() else { return };
    let mut steps = Vec::new();
    let mut failed = |result: Result<(), AdoptError>| match result {
        Err(AdoptError::Kernel { step, .. }) => {
            steps.push(step);
            true
        }
        result => {
            result.expect("no step fails");
            false
        }
    };
    for left in 0.. {
        injected::after(Some(left));
        if !failed(space.adopt(span)) {
            break;
        }
        assert!(is_private(span), "after a failure at step {left}");
        check(&space, span, 0);
    }
    space.launch(&Increment(span)).expect("it is in the space");
    for left in 0.. {
        injected::after(Some(left));
        if !failed(space.release(span)) {
            break;
        }
        check(&space, span, 1 + u64::from(left));
        space.launch(&Increment(span)).expect("it is in the space still");
    }
    injected::after(None);
    assert!(is_private(span));
    check(&space, span, 4);
    assert_eq!(steps.len(), 10 + 3, "{steps:?}");
    assert_eq!(space.allocate(14 * MIB).map(|address| space.free(address)), Ok(Ok(())), "no address is lost");
}

#[test]
fn pinned_memory_stays_until_it_is_unpinned() {
    let Some((space, span)) = space() else { return };
    space.adopt(span).expect("private memory");
    let page = span.part(MIB, PAGE).expect("inside");
    let pinned = space.pin(page).expect("a page");
    let refused = space.release(span);
    assert!(matches!(refused, Err(AdoptError::InUse(Failure::Pinned))), "{refused:?}");
    check(&space, span, 0);
    drop(pinned);
    space.launch(&Increment(span)).expect("every page is there");
    space.release(span).expect("unpinned");
    check(&space, span, 1);
}

#[test]
fn no_write_of_another_thread_is_lost() {
    let Some((space, span)) = space() else { return };
    let (space, ended) = (Arc::new(space), AtomicBool::new(false));
    let counted: u64 = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..2_usize)
            .map(|writer| {
                let (space, ended) = (Arc::clone(&space), &ended);
                scope.spawn(move || {
                    let mut count = 0;
                    while !ended.load(Ordering::Relaxed) {
                        let page = usize::try_from(count).expect("small") * 37 % span.pages();
                        let at = page * PAGE + 64 + writer * 8;
                        space.window(span).fetch_add_u64(at, 1).expect("inside");
                        count += 1;
                    }
                    count
                })
            })
            .collect();
        for _ in 0..10 {
            space.adopt(span).expect("private memory");
            space.prefetch(span.part(0, MIB / 2).expect("inside"), Side::Device(NodeId(0))).expect("room");
            space.release(span).expect("nothing holds it");
        }
        ended.store(true, Ordering::Relaxed);
        writers.into_iter().map(|writer| writer.join().expect("it counts")).sum()
    });
    let words = (0..span.pages()).flat_map(|page| [page * PAGE + 64, page * PAGE + 72]);
    let found: u64 = words.map(|at| space.window(span).load_u64(at).expect("inside")).sum();
    assert_eq!(found, counted);
    check(&space, span, 0);
}

#[test]
fn what_cannot_join_is_refused() {
    let Some((space, span)) = space() else { return };
    let part = |at: usize, pages: usize| AddressRange::new(span.start() + at, pages * PAGE).expect("pages");
    let own = AddressRange::new(space.allocate(PAGE).expect("room"), PAGE).expect("a page");
    assert!(matches!(space.adopt(own), Err(AdoptError::Overlaps(_))));
    let stack = AddressRange::new(std::ptr::from_ref(&own).addr() & !(PAGE - 1), PAGE).expect("a page");
    assert!(matches!(space.adopt(stack), Err(AdoptError::Kind(_))), "not what the right is for");
    let whole = AddressRange::new(span.start(), 64 * MIB).expect("pages");
    assert!(matches!(space.adopt(whole), Err(AdoptError::Kind(_) | AdoptError::NoRoom(_))));
    space.adopt(part(0, 4)).expect("private memory");
    assert!(matches!(space.adopt(part(3 * PAGE, 2)), Err(AdoptError::Overlaps(_))));
    space.adopt(part(4 * PAGE, 4)).expect("in the same block it may touch");
    space.launch(&Increment(part(0, 8))).expect("folios over the border are whole");
    space.release(part(0, 4)).expect("as it was adopted");
    assert!(matches!(space.release(part(4 * PAGE, 2)), Err(AdoptError::Unknown(_))));
    check_pages(&space, span, 8);
    let without = Space::new(SpaceConfig::new(4 * MIB, MIB)).expect("a space");
    assert!(matches!(without.adopt(span), Err(AdoptError::NoRight)));
}

fn check_pages(space: &Space, span: AddressRange, pages: usize) {
    for page in 0..pages {
        assert_eq!(space.window(span).load_u64(page * PAGE + 8), Ok(expected(page) + 1), "page {page}");
    }
}
