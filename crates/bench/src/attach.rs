//! What a device of one's own pays: accesses through a port, its faults, and invalidations of what it keeps.
//!
//! An access takes no lock. A port says by two stores that it is within one, and a change of the page table waits for it; so the
//! price is those stores, the look at the number of the last change, and the look in the port's own TLB.

use std::hint::{black_box, spin_loop};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use bifolio_engine::device::{Device, DeviceRequest, TableUpdate};
use bifolio_folio::{Order, Pfn};
use bifolio_host::fault_loop::Readers;
use bifolio_host::{Side, Space, SpaceConfig};
use bifolio_hosted::{CachingPort, Hosted, Memory, Port};
use bifolio_migrate::Rights;
use bifolio_policy::FixedOrders;
use bifolio_sys::{
    AddressRange, Barrier, HUGE_PAGE, Mapping, Memfd, PAGE, Placement, Protection, SharedBytes, advise,
};

use crate::fault::byte_len;
use crate::floor::CopyFloor;
use crate::progress::{Watch, prepare, repeat};
use crate::row::{BenchError, Effort, Row};
use crate::samples::{Samples, middle};

/// What an access may cost over a plain load, in nanoseconds.
const OVER_A_LOAD: f64 = 2.0;
/// The same by a call of C.
const OVER_A_LOAD_C: f64 = 10.0;
/// What a translation may cost over a plain load, in nanoseconds.
const OVER_A_LOAD_TRANSLATE: f64 = 40.0;
/// Most that a fault may cost, in floors.
const FAULT: f64 = 1.15;
/// Most that an invalidation may cost, in barriers and round trips between two threads.
const INVALIDATION: f64 = 2.0;
/// Bytes that are read, over and over: less than a TLB reaches.
const READ: usize = 64 * PAGE;

/// Measures all rows.
///
/// # Errors
/// If there is no userfaultfd or no memory.
pub fn rows(effort: Effort, watch: &mut Watch<'_>) -> Result<Vec<Row>, BenchError> {
    let (rounds, trips) = match effort {
        Effort::Quick => (8, 4),
        Effort::Full => (200, 40),
    };
    let mut rows = accesses(rounds, watch)?;
    for (name, order, folios) in [
        ("attach.fault.4k", Order::ZERO, 256),
        ("attach.fault.64k", Order::K64, 64),
        ("attach.fault.2m", Order::PMD, 16),
    ] {
        rows.push(faults(name, order, folios, trips, watch)?);
    }
    rows.push(invalidations(trips, watch)?);
    Ok(rows)
}

#[expect(clippy::needless_pass_by_value, reason = "errors come by value")]
fn failed(why: impl ToString) -> BenchError {
    BenchError::Failed(why.to_string())
}

/// Reads the same words by a plain load, by a port, by C, and translates them.
fn accesses(rounds: usize, watch: &mut Watch<'_>) -> Result<Vec<Row>, BenchError> {
    let name = "attach.read";
    prepare(name, rounds, watch);
    let plain = Mapping::anonymous(READ, Protection::ReadWrite, Placement::Anywhere)?;
    plain.all().fill_zero();
    let (device, base) = mapped_device()?;
    let mut port = device.open_port(0);
    let c = bifolio::measure::Reader::open(READ as u64).map_err(|error| failed(error.text))?;
    let [mut load, mut rust, mut by_c, mut translate] = [const { Vec::new() }; 4];
    repeat(name, rounds, watch, |_| {
        load.push(each_word(|at| plain.all().read::<u64>(at).ok())?);
        rust.push(each_word(|at| port.try_load::<u64>(base + at).ok())?);
        by_c.push(each_word(|at| c.load(at as u64))?);
        translate.push(each_word(|at| translated(&mut port, base + at))?);
        Ok::<(), BenchError>(())
    })?;
    let floor = middle(load);
    let over = |name, figures, limit| Row::limited(name, "ns", middle(figures), floor, floor + limit);
    Ok(vec![
        over("attach.read.rust", rust, OVER_A_LOAD),
        over("attach.read.c", by_c, OVER_A_LOAD_C),
        over("attach.translate", translate, OVER_A_LOAD_TRANSLATE),
    ])
}

#[inline]
fn translated(port: &mut Port, address: usize) -> Option<u64> {
    port.translate(address, Rights::READ).ok().map(|found| found.pfn.get())
}

/// A device, without an engine, that has memory at some addresses; and the first of them.
fn mapped_device() -> Result<(Arc<Hosted>, usize), BenchError> {
    let pages = (READ / PAGE) as u64;
    let base = HUGE_PAGE;
    let memory = Memory::new(Pfn::ZERO, pages).map_err(failed)?;
    let device = Arc::new(Hosted::new(memory, base..base + HUGE_PAGE));
    let order = Order::largest_fitting(pages).expect("a few pages");
    map(&device, base, order)?;
    Ok((device, base))
}

fn map(device: &Hosted, address: usize, order: Order) -> Result<(), BenchError> {
    let rights = Rights::READ | Rights::WRITE;
    let entry = TableUpdate::Map { address, to: Pfn::ZERO, order, rights };
    device.update(&[entry]).map(drop).map_err(failed)
}

/// Nanoseconds of reading one word, of all words.
fn each_word(mut read: impl FnMut(usize) -> Option<u64>) -> Result<f64, BenchError> {
    let start = Instant::now();
    let mut sum = 0;
    for at in (0..READ).step_by(8) {
        let value = read(black_box(at)).ok_or_else(|| failed("a page is missing"))?;
        sum ^= value;
    }
    black_box(sum);
    Ok(start.elapsed().as_secs_f64() * 1e9 / (READ / 8) as f64)
}

/// Memory that the CPU sees, to take out of its view and copy.
struct ViewFloor {
    view: Mapping,
    copy: CopyFloor,
    bytes: usize,
}

impl ViewFloor {
    fn new(folios: usize, bytes: usize) -> Result<ViewFloor, BenchError> {
        let len = (folios * bytes).next_multiple_of(HUGE_PAGE);
        let memfd = Memfd::create("bifolio-floor", len)?;
        let view = Mapping::shared(&memfd, 0, len, Protection::ReadWrite, Placement::Aligned(HUGE_PAGE))?;
        view.all().fill_zero();
        Ok(ViewFloor { view, copy: CopyFloor::new((64 << 20).max(bytes * 4))?, bytes })
    }

    fn folio(&self, number: usize) -> SharedBytes<'_> {
        self.view.bytes(number * self.bytes, self.bytes).expect("inside of the view")
    }

    /// Takes a folio out of view and copies as many bytes, as a fault of a device has to.
    fn take(&self, number: usize) -> Result<(), BenchError> {
        advise::dontneed(self.folio(number))?;
        self.copy.copy(self.bytes);
        Ok(())
    }
}

/// Has the CPU see every page of a folio; one of 2 MiB as one page.
fn show(folio: SharedBytes<'_>) {
    if folio.len() == HUGE_PAGE {
        let _: advise::Collapse = advise::collapse(folio);
    }
    for at in (0..folio.len()).step_by(PAGE) {
        let _: u8 = folio.read(at).expect("inside of the folio");
    }
}

/// Faults of a port on folios that the CPU sees, against taking them out of its view and a copy.
fn faults(
    name: &'static str,
    order: Order,
    folios: usize,
    rounds: usize,
    watch: &mut Watch<'_>,
) -> Result<Row, BenchError> {
    prepare(name, rounds, watch);
    let bytes = byte_len(order);
    let (space, span) = hosted_space(order, folios)?;
    let mut port = space.device().open_port(0);
    let floor = ViewFloor::new(folios, bytes)?;
    let (mut ours, mut bare) = (Samples::default(), Samples::default());
    repeat(name, rounds, watch, |_| {
        space.prefetch(span, Side::Ram).map_err(failed)?;
        for folio in 0..folios {
            show(space.window(span.part(folio * bytes, bytes).expect("a folio of it")));
            show(floor.folio(folio));
        }
        for folio in 0..folios {
            let request = DeviceRequest::new(span.start() + folio * bytes, Rights::READ);
            ours.time(|| port.resolve(&request)).map_err(failed)?;
            bare.time(|| floor.take(folio))?;
        }
        Ok::<(), BenchError>(())
    })?;
    Ok(Row::time(name, ours.median_us(), bare.median_us(), FAULT))
}

/// A space of a hosted device with memory for all of it, and its addresses, all written once.
fn hosted_space(order: Order, folios: usize) -> Result<(Space<Hosted>, AddressRange), BenchError> {
    let bytes = (folios * byte_len(order)).next_multiple_of(HUGE_PAGE);
    let mut config = SpaceConfig::new(bytes, bytes);
    config.policy = Some(Box::new(FixedOrders { largest: order, smallest: order, populate: order }));
    config.readers = Some(Readers::Separate);
    let space = Space::with_device(config, |slot| {
        let memory = Memory::new(slot.first, slot.pages).expect("memory for the bench");
        Arc::new(Hosted::new(memory, slot.addresses))
    })?;
    let address = space.allocate(bytes).map_err(failed)?;
    let span = AddressRange::new(address, bytes).expect("whole folios");
    space.window(span).fill_zero();
    // The first trip makes huge pages, which later ones find.
    space.prefetch(span, Side::DEVICE).map_err(failed)?;
    space.prefetch(span, Side::Ram).map_err(failed)?;
    Ok((space, span))
}

/// Unmaps a page that another thread keeps a translation of and acknowledges, against the barrier that every unmapping needs
/// and a word that goes there and back.
fn invalidations(rounds: usize, watch: &mut Watch<'_>) -> Result<Row, BenchError> {
    const TRIPS: usize = 64;
    let name = "attach.invalidate";
    prepare(name, rounds, watch);
    let (device, base) = mapped_device()?;
    let mut port = device.open_caching_port(0);
    let (word, done, barrier) = (AtomicU64::new(0), AtomicBool::new(false), Barrier::new());
    let (mut ours, mut bare) = (Samples::default(), Samples::default());
    std::thread::scope(|scope| {
        scope.spawn(|| answer_all(&mut port, base, &word, &done));
        let result = repeat(name, rounds, watch, |_| {
            for _ in 0..TRIPS {
                ask(&word, KEEP);
                let entry = TableUpdate::Unmap { address: base, order: Order::ZERO };
                ours.time(|| device.update(&[entry])).map_err(failed)?;
                map(&device, base, Order::ZERO)?;
                bare.time(|| {
                    barrier.heavy();
                    ask(&word, PING);
                });
            }
            Ok::<(), BenchError>(())
        });
        done.store(true, Ordering::Release);
        result
    })?;
    Ok(Row::time(name, ours.median_us(), bare.median_us(), INVALIDATION))
}

/// What the other thread is asked: to answer, or to keep a translation first.
const PING: u64 = 1;
const KEEP: u64 = 2;

/// Asks the other thread, and waits for its answer.
fn ask(word: &AtomicU64, what: u64) {
    word.store(what, Ordering::Release);
    while word.load(Ordering::Acquire) != 0 {
        spin_loop();
    }
}

/// The other thread: a model that polls for what it is asked, and for invalidations.
fn answer_all(port: &mut CachingPort, address: usize, word: &AtomicU64, done: &AtomicBool) {
    while !done.load(Ordering::Acquire) {
        match word.load(Ordering::Acquire) {
            0 => {
                if let Some(next) = port.next_invalidation() {
                    port.acknowledge(next.sequence);
                }
            }
            asked => {
                if asked == KEEP {
                    port.translate(address, Rights::READ).expect("it was mapped");
                }
                word.store(0, Ordering::Release);
            }
        }
    }
}
