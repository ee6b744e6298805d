//! Taking the device away: all bytes come home, folios that are held elsewhere are named, and nothing goes there any more.

mod kernel;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bifolio_builtin::{Kernel, Unit};
use bifolio_engine::detach::{DetachError, Held, StillHeld};
use bifolio_engine::device::DeviceFault;
use bifolio_folio::{MemoryKind, Order, Pfn};
use bifolio_host::{Counter, Side, Space, SpaceConfig};
use bifolio_sys::{AddressRange, PAGE};

const BYTES: usize = 8 << 20;
const WORDS: usize = BYTES / 8;
/// Long enough for a holder that is about to let go, short enough for a test in which none does.
const SHORT: Duration = Duration::from_millis(20);

/// A space whose memory was written by the CPU and then sent to the device, with the span of it.
fn on_device(kind: MemoryKind, ram: Option<usize>) -> (Space, AddressRange) {
    let config = SpaceConfig { kind, ram, checked: true, ..SpaceConfig::new(2 * BYTES, 2 * BYTES) };
    let space = Space::new(config).expect("a space");
    let span = AddressRange::new(space.allocate(BYTES).expect("room"), BYTES).expect("pages");
    let window = space.window(span);
    (0..WORDS).for_each(|word| window.store_u64(word * 8, word as u64 + 1).expect("inside"));
    space.prefetch(span, Side::DEVICE).expect("room on the device");
    assert!(space.engine().nodes()[0].pagemap().live_pages() > 0);
    (space, span)
}

fn all_bytes_are_there(space: &Space, span: AddressRange) {
    let window = space.window(span);
    (0..WORDS).for_each(|word| assert_eq!(window.load_u64(word * 8), Ok(word as u64 + 1), "word {word}"));
    assert_eq!(space.audit(), []);
}

/// Adds 1 to a word of every page, page by page, and counts what was added.
struct Increments<'c> {
    address: usize,
    done: &'c AtomicU64,
}

impl Kernel for Increments<'_> {
    fn run(&self, memory: &mut Unit<'_>, unit: usize, units: usize) -> Result<(), DeviceFault> {
        for page in (unit..BYTES / PAGE).step_by(units).cycle() {
            memory.fetch_add(self.address + page * PAGE, 1)?;
            self.done.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }
}

#[test]
fn closing_brings_every_byte_home() {
    if !kernel::grants("closing_brings_every_byte_home", kernel::SHARED) {
        return;
    }
    for kind in [MemoryKind::Private, MemoryKind::Coherent] {
        let (space, span) = on_device(kind, None);
        let moved = space.engine().nodes()[0].pagemap().live_pages() * PAGE as u64;
        let before = space.statistics().get(Counter::BytesToRam);
        space.close().expect("no folio is held elsewhere");
        // System memory has still what the device did not write. What the CPU may have written there is not known.
        let copied = if kind == MemoryKind::Private { 0 } else { moved };
        assert_eq!(space.statistics().get(Counter::BytesToRam) - before, copied, "of {kind:?} memory");
        assert!(space.engine().nodes()[0].pagemap().is_drained());
        assert_eq!(space.engine().nodes()[0].pagemap().pool().free_pages(), (2 * BYTES / PAGE) as u64);
        all_bytes_are_there(&space, span);
        space.close().expect("closing again changes nothing");
        space.free(span.start()).expect("memory can be freed afterwards");
    }
}

#[test]
fn closing_exceeds_the_limit_of_system_memory_rather_than_lose_bytes() {
    if !kernel::grants("closing_exceeds_the_limit_of_system_memory_rather_than_lose_bytes", kernel::SHARED) {
        return;
    }
    let limit = 2 << 20;
    let (space, span) = on_device(MemoryKind::Private, Some(limit));
    let fresh = space.allocate(PAGE).expect("room");
    space.close().expect("no folio is held elsewhere");
    all_bytes_are_there(&space, span);
    let fresh = space.window(AddressRange::new(fresh, PAGE).expect("a page"));
    assert_eq!(fresh.load_u64(0), Ok(0), "first touches go on as well");
    let beyond = space.statistics().get(Counter::BeyondRam);
    assert!(beyond >= ((BYTES - limit) / PAGE) as u64, "{beyond} pages beyond the limit");
}

#[test]
fn who_holds_a_folio_is_named_and_closing_goes_on_afterwards() {
    if !kernel::grants("who_holds_a_folio_is_named_and_closing_goes_on_afterwards", kernel::SHARED) {
        return;
    }
    for kind in [MemoryKind::Private, MemoryKind::Coherent] {
        let (space, span) = on_device(kind, None);
        let engine = space.engine();
        let folio = engine.nodes()[0].pagemap().try_get(Pfn::ZERO).expect("all of the device is in use");
        let (first, order, pages) = (folio.head(), folio.order(), folio.pages());
        let held = Held { first, order, references: 1 };
        let refused = engine.detach(SHORT);
        assert_eq!(refused, Err(DetachError::StillHeld(StillHeld { pages, folios: vec![held] })));
        let window = space.window(span);
        assert_eq!(window.load_u64(PAGE), Ok((PAGE / 8) as u64 + 1), "the bytes are home all the same");
        let done = AtomicU64::new(0);
        let fault = space.launch(&Increments { address: span.start(), done: &done });
        assert!(matches!(fault, Err(DeviceFault::Detached { .. })), "{fault:?}");
        assert_eq!(done.into_inner(), 0);
        drop(folio);
        space.close().expect("the holder let go");
        all_bytes_are_there(&space, span);
    }
}

#[test]
fn holder_that_lets_go_in_time_is_waited_for() {
    if !kernel::grants("holder_that_lets_go_in_time_is_waited_for", kernel::SHARED) {
        return;
    }
    let (space, span) = on_device(MemoryKind::Private, None);
    std::thread::scope(|scope| {
        let folio =
            space.engine().nodes()[0].pagemap().try_get(Pfn::ZERO).expect("all of the device is in use");
        scope.spawn(move || {
            std::thread::sleep(SHORT);
            drop(folio);
        });
        space.engine().detach(Duration::from_secs(30)).expect("the holder lets go");
    });
    all_bytes_are_there(&space, span);
}

#[test]
fn error_names_some_folios_and_counts_the_rest() {
    let held = |page| Held { first: Pfn::new(page), order: Order::ZERO, references: 2 };
    let error = StillHeld { pages: 6, folios: (0..6).map(held).collect() };
    let text = "6 device pages are still held by others: folio of order 0 at page 0x0 (2 references), \
                folio of order 0 at page 0x1 (2 references), folio of order 0 at page 0x2 (2 references), \
                folio of order 0 at page 0x3 (2 references) and 2 more";
    assert_eq!(error.to_string(), text);
}

#[test]
fn no_write_is_lost_by_a_close_in_the_middle_of_a_job() {
    if !kernel::grants("no_write_is_lost_by_a_close_in_the_middle_of_a_job", kernel::SHARED) {
        return;
    }
    for kind in [MemoryKind::Private, MemoryKind::Coherent] {
        let config = SpaceConfig { kind, checked: true, ..SpaceConfig::new(2 * BYTES, BYTES / 2) };
        let space = Space::new(config).expect("a space");
        let span = AddressRange::new(space.allocate(BYTES).expect("room"), BYTES).expect("pages");
        let (by_cpu, by_device) = (AtomicU64::new(0), AtomicU64::new(0));
        std::thread::scope(|scope| {
            let job = Increments { address: span.start(), done: &by_device };
            let space = &space;
            let job = scope.spawn(move || space.launch(&job));
            scope.spawn(|| {
                let enough = || by_cpu.load(Ordering::Relaxed) >= 20_000;
                // Until some time after the close.
                for page in (0..BYTES / PAGE).cycle() {
                    if page == 0 && enough() && space.engine().nodes()[0].pagemap().is_drained() {
                        break;
                    }
                    space.window(span).fetch_add_u64(page * PAGE + 8, 1).expect("inside");
                    by_cpu.fetch_add(1, Ordering::Relaxed);
                }
            });
            while by_device.load(Ordering::Relaxed) < 5000 {
                std::thread::yield_now();
            }
            space.close().expect("only this engine holds folios");
            let ended = job.join().expect("no panic");
            assert!(matches!(ended, Err(DeviceFault::Detached { .. })), "{ended:?}");
        });
        let sum = |word: usize| -> u64 {
            let window = space.window(span);
            (0..BYTES / PAGE).map(|page| window.load_u64(page * PAGE + word * 8).expect("inside")).sum()
        };
        assert_eq!((sum(0), sum(1)), (by_device.into_inner(), by_cpu.into_inner()), "lost or doubled writes");
        assert_eq!(space.audit(), []);
        assert_eq!(space.statistics().get(Counter::Violations), 0);
    }
}
