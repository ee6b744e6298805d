//! Each rule that can break while the engine runs, broken once: by a device or a pool that lies, or by steps that no
//! transaction would ask for. Needs no userfaultfd: the view is plain memory.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Barrier, OnceLock, Weak};

use bifolio_folio::{FreeRange, MemoryKind, Order, PageMap, Pfn, Pool};
use bifolio_pool::{BuddyPool, DevicePool, Home, Usage};
use bifolio_rules::Rule;
use bifolio_svm::{
    Budget, Failure, Finished, Granularity, Moved, Outcome, PageSet, Run, Span, Step, Transaction,
};
use bifolio_sys::{HUGE_PAGE, Mapping, PAGE, Protection, SharedBytes};

use crate::blocks::BlockCell;
use crate::cpu::{CpuView, Place, Refused};
use crate::device::builtin::{Builtin, Memory};
use crate::device::{Capabilities, Copy, Device, DeviceError, FaultHandler, Point, TableUpdate};
use crate::engine::drive::Drive;
use crate::engine::{Engine, Parts, Side};
use crate::statistics::{Counter, Statistics};

use super::ledger::Use;

const DEVICE_PAGES: u64 = 1024;

/// Memory that is always in view: nobody else looks at it.
struct PlainView(Mapping);

impl CpuView for PlainView {
    type Staged = ();

    fn take_out(&self, _: Place, _: &PageSet) -> Result<(), Refused> {
        Ok(())
    }

    fn reserve(&self, _: Place) -> Result<(), Refused> {
        Ok(())
    }

    fn bytes<'v>(&'v self, place: Place, (): &(), run: Run) -> SharedBytes<'v> {
        let offset = place.base - self.0.span().start() + usize::from(run.first) * PAGE;
        self.0.bytes(offset, usize::from(run.pages) * PAGE).expect("inside of the view")
    }

    fn restore(&self, _: Place, _: &PageSet, _: Option<()>) {}

    fn install(&self, _: Place, (): (), _: Option<u16>) -> Result<(), (Refused, ())> {
        Ok(())
    }

    fn install_zero(&self, place: Place, staged: ()) -> Result<(), (Refused, ())> {
        self.bytes(place, &staged, place.span.run()).fill_zero();
        Ok(())
    }

    fn release(&self, _: Place, (): ()) {}

    fn discard(&self, _: usize, _: Run, _: &PageSet) -> Result<(), Refused> {
        Ok(())
    }

    fn map_coherent(&self, _: Place, _: Pfn) -> Result<(), Refused> {
        Ok(())
    }

    fn unmap_coherent(&self, _: Place) -> Result<(), Refused> {
        Ok(())
    }

    fn wake(&self, _: usize) {}

    fn poison(&self, _: usize) {}
}

/// How the device or the pool breaks its promise.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Lie {
    Nothing,
    /// A byte arrives wrong on the device.
    CopyToDevice,
    /// A byte arrives wrong in system memory.
    CopyToRam,
    /// Memory that should be zeros is not.
    Clear,
    /// Somebody writes what was taken out of view.
    WriteMeanwhile,
    /// Bytes on the device change although nothing maps them.
    Rot,
    /// The same memory is handed out again.
    HandOutAgain,
    /// Memory beyond the device is handed out.
    HandOutBeyond,
    /// Free memory is refused.
    Refuse,
    /// The object goes with the first folio.
    ForgetObject,
    /// Objects are released by the put.
    ReleaseInPut,
    /// No lie: who asks what the objects add up to is met, and met again before he gets an answer.
    MeetInUsage,
}

struct Lies {
    told: AtomicU8,
    meeting: Barrier,
}

impl Default for Lies {
    fn default() -> Lies {
        Lies { told: AtomicU8::new(Lie::Nothing as u8), meeting: Barrier::new(2) }
    }
}

impl Lies {
    fn tells(&self, lie: Lie) -> bool {
        self.told.load(Ordering::Relaxed) == lie as u8
    }

    fn begin(&self, lie: Lie) {
        self.told.store(lie as u8, Ordering::Relaxed);
    }
}

struct LyingDevice {
    inner: Builtin,
    lies: Arc<Lies>,
}

impl LyingDevice {
    fn spoil(bytes: SharedBytes<'_>) {
        let byte: u8 = bytes.read(5).expect("a page has it");
        bytes.write(5, byte ^ 1).expect("a page has it");
    }
}

impl Device for LyingDevice {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn attach(&self, handler: Weak<dyn FaultHandler>) {
        self.inner.attach(handler);
    }

    fn copy(&self, batch: &[Copy<'_>]) -> Result<Point, DeviceError> {
        let device = |page| self.inner.inspect(page, 1).expect("inside of the device");
        for copy in batch {
            if let (Copy::ToRam { from, .. }, true) = (copy, self.lies.tells(Lie::Rot)) {
                Self::spoil(device(*from));
            }
        }
        let point = self.inner.copy(batch);
        for copy in batch {
            match *copy {
                Copy::ToDevice { to, .. } if self.lies.tells(Lie::CopyToDevice) => Self::spoil(device(to)),
                Copy::Clear { to, .. } if self.lies.tells(Lie::Clear) => Self::spoil(device(to)),
                Copy::ToRam { to, .. } if self.lies.tells(Lie::CopyToRam) => Self::spoil(to),
                Copy::ToDevice { from, .. } if self.lies.tells(Lie::WriteMeanwhile) => Self::spoil(from),
                _ => {}
            }
        }
        point
    }

    fn update(&self, batch: &[TableUpdate]) -> Result<Point, DeviceError> {
        self.inner.update(batch)
    }

    fn wait(&self, point: Point) -> Result<(), DeviceError> {
        self.inner.wait(point)
    }

    fn test_and_clear_accessed(&self, address: usize, order: Order) -> bool {
        self.inner.test_and_clear_accessed(address, order)
    }

    fn touched_pages(&self, address: usize, order: Order) -> u64 {
        self.inner.touched_pages(address, order)
    }

    fn inspect(&self, first: Pfn, pages: u64) -> Option<SharedBytes<'_>> {
        // Who rots in silence must not be looked at.
        if self.lies.tells(Lie::Rot) { None } else { self.inner.inspect(first, pages) }
    }
}

#[derive(Debug)]
struct LyingPool {
    inner: BuddyPool,
    lies: Arc<Lies>,
    /// The pool as the engine has it.
    outer: Arc<OnceLock<Weak<dyn DevicePool>>>,
}

impl std::fmt::Debug for Lies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Lies")
    }
}

impl DevicePool for LyingPool {
    fn allocate(&self, order: Order, home: Home) -> Option<(FreeRange, u32)> {
        if self.lies.tells(Lie::Refuse) {
            return None;
        }
        let (range, data) = self.inner.allocate(order, home)?;
        let head = match () {
            () if self.lies.tells(Lie::HandOutAgain) => Pfn::ZERO,
            () if self.lies.tells(Lie::HandOutBeyond) => Pfn::new(DEVICE_PAGES),
            () => range.head(),
        };
        Some((FreeRange::claim(head, order), data))
    }

    fn home(&self, page: Pfn, data: u32) -> Option<Home> {
        if self.lies.tells(Lie::ForgetObject) { None } else { self.inner.home(page, data) }
    }

    fn has(&self, order: Order, home: Home) -> bool {
        self.inner.has(order, home)
    }

    fn free_pages(&self) -> u64 {
        self.inner.free_pages()
    }

    fn usage(&self) -> Usage {
        if self.lies.tells(Lie::MeetInUsage) {
            self.lies.meeting.wait();
            self.lies.meeting.wait();
        }
        self.inner.usage()
    }

    fn release(&self) -> u64 {
        self.inner.release()
    }
}

impl Pool for LyingPool {
    fn folio_free(&self, range: FreeRange, data: u32) {
        self.inner.folio_free(range, data);
        if self.lies.tells(Lie::ReleaseInPut) {
            let outer = self.outer.get().and_then(Weak::upgrade).expect("the engine is there");
            outer.release();
        }
    }

    fn folio_split(&self, head: Pfn, from: Order, to: Order, data: u32) {
        self.inner.folio_split(head, from, to, data);
    }

    fn folio_collapse(&self, head: Pfn, from: Order, to: Order, data: u32) {
        self.inner.folio_collapse(head, from, to, data);
    }
}

/// A checked engine of two blocks, all live and empty.
struct Rig {
    engine: Engine<PlainView>,
    lies: Arc<Lies>,
    base: usize,
}

impl Rig {
    fn new() -> Rig {
        let lies = Arc::new(Lies::default());
        let place = bifolio_sys::Place::Aligned(HUGE_PAGE);
        let view = Mapping::anonymous(2 * HUGE_PAGE, Protection::ReadWrite, place).expect("memory");
        let addresses = view.span().start()..view.span().end();
        let memory = Memory::new(DEVICE_PAGES).expect("device memory");
        let inner = Builtin::new(memory, NonZeroUsize::MIN, addresses.clone());
        let outer = Arc::new(OnceLock::new());
        let buddy = BuddyPool::new(DEVICE_PAGES).expect("a pool");
        let pool = LyingPool { inner: buddy, lies: Arc::clone(&lies), outer: Arc::clone(&outer) };
        let pool = Arc::new(pool) as Arc<dyn DevicePool>;
        let engine = Engine::new(Parts {
            view: PlainView(view),
            device: Arc::new(LyingDevice { inner, lies: Arc::clone(&lies) }),
            pagemap: PageMap::new(MemoryKind::Private, Pfn::ZERO, DEVICE_PAGES, pool).expect("a pagemap"),
            budget: Budget::new(4096, 16),
            policy: Box::new(Granularity { largest: order(4), smallest: Order::ZERO, populate: order(4) }),
            statistics: Statistics::new().expect("a page"),
            checked: true,
        });
        outer.set(Arc::downgrade(engine.pagemap().pool())).expect("set once");
        engine.blocks().add_region(addresses.clone()).expect("two blocks");
        engine.map(addresses.clone());
        Rig { engine, lies, base: addresses.start }
    }

    /// Brings the first 16 pages to a side, where they hold something.
    fn to(&self, side: Side) -> Result<(), Failure> {
        self.engine.prefetch(self.base..self.base + 16 * PAGE, side)
    }

    /// Touches the first pages, and brings them to the device as a folio of order 4.
    fn written_on_device(&self) {
        self.engine.cpu_fault(self.base).expect("zeros");
        let bytes = self.engine.view().0.bytes(0, 16 * PAGE).expect("the first pages");
        (0..16 * PAGE).step_by(64).for_each(|at| bytes.write(at, at as u64).expect("inside"));
        self.to(Side::Device).expect("room");
    }

    /// Performs one step of no transaction, and whatever it leads to.
    fn step(&self, step: Step) -> Outcome {
        self.steps(|drive, cell| drive.perform(step, cell))
    }

    /// Performs steps on the first block.
    fn steps<R>(&self, steps: impl FnOnce(&mut Drive<'_, PlainView>, &mut BlockCell) -> R) -> R {
        let found = self.engine.blocks().find(self.base).expect("the first block");
        let mut cell = found.lock();
        steps(&mut Drive::new(&self.engine, found, 0), &mut cell)
    }

    /// Ends a transaction of these steps.
    fn ends(&self, steps: &[Step], result: Result<Finished, Failure>) {
        let found = self.engine.blocks().find(self.base).expect("the first block");
        let mut cell = found.lock();
        let mut drive = Drive::new(&self.engine, found, 0);
        for step in steps {
            let _: Outcome = drive.perform(*step, &mut cell);
        }
        drive.end(&result, &cell);
    }

    fn pool(&self) -> &Arc<dyn DevicePool> {
        self.engine.pagemap().pool()
    }

    fn checker(&self) -> &super::Checker {
        self.engine.checker().expect("it is checked")
    }

    fn broken(&self) -> Vec<Rule> {
        let mut rules: Vec<Rule> = self.checker().violations().iter().map(|broken| broken.rule).collect();
        rules.sort_unstable();
        rules.dedup();
        rules
    }

    #[track_caller]
    fn breaks(&self, number: u8) {
        let broken = self.broken();
        assert!(broken.contains(&Rule::known(number)), "I{number} is not among {broken:?}");
    }
}

fn order(k: u8) -> Order {
    Order::new(k).expect("orders in tests are small")
}

fn span(page: u16, k: u8) -> Span {
    Span::around(page, order(k))
}

const DONE: Result<Finished, Failure> =
    Ok(Finished { moved: Moved::Unmapped(Run { first: 0, pages: 1 }), fallbacks: 0, splits: 0 });

#[test]
fn honest_machine_breaks_nothing_and_is_judged_by_every_rule() {
    let rig = Rig::new();
    rig.written_on_device();
    rig.engine.device_fault(rig.base).expect("it is there");
    rig.engine.unmap(rig.base + 3 * PAGE..rig.base + 4 * PAGE).expect("a split folio");
    rig.to(Side::Ram).expect_err("a page is gone");
    assert_eq!(rig.engine.audit(), []);
    let snapshot = rig.engine.statistics().snapshot();
    let never: Vec<Rule> = Rule::all().filter(|rule| snapshot.judged(*rule) == 0).collect();
    assert_eq!(never, []);
}

#[test]
fn audit_compares_sums_while_no_block_can_change() {
    let rig = Rig::new();
    rig.written_on_device();
    rig.lies.begin(Lie::MeetInUsage);
    std::thread::scope(|scope| {
        let audit = scope.spawn(|| rig.engine.audit());
        rig.lies.meeting.wait();
        // A handler that was late: its toucher has been awake since another one showed the page.
        let late = scope.spawn(|| rig.to(Side::Ram));
        let held = rig.engine.blocks().made().filter(|found| found.try_lock().is_none()).count();
        rig.lies.begin(Lie::Nothing);
        rig.lies.meeting.wait();
        assert_eq!(held, 2, "blocks that the audit holds");
        assert_eq!(audit.join().expect("no panic"), []);
        late.join().expect("no panic").expect("room");
    });
    assert_eq!(rig.engine.audit(), []);
}

#[test]
fn memory_handed_out_twice_breaks_i1() {
    let rig = Rig::new();
    rig.written_on_device();
    rig.lies.begin(Lie::HandOutAgain);
    let _: Outcome = rig.step(Step::FormFolio { span: span(64, 4) });
    rig.breaks(1);
}

#[test]
fn order_that_is_lost_breaks_i4() {
    let rig = Rig::new();
    rig.written_on_device();
    // What Nouveau would have heard of v3: the head alone.
    rig.pool().folio_free(FreeRange::claim(Pfn::ZERO, Order::ZERO), 0);
    rig.breaks(4);
}

#[test]
fn copy_to_memory_that_was_given_back_breaks_i5() {
    let rig = Rig::new();
    let clear = Copy::Clear { to: Pfn::new(7), pages: 1 };
    rig.engine.device.copy(&[clear]).expect("inside of the device");
    rig.breaks(5);
}

#[test]
fn neighbour_that_forming_wiped_out_breaks_i6_and_the_count_of_pages_i8() {
    let rig = Rig::new();
    // A folio lives at page 16 as far as anybody was told, but its word is gone.
    let mut ledger = rig.checker().ledger();
    ledger.hand_out(Pfn::new(16), order(4), 99, Use::HandedOut);
    ledger.born(Pfn::new(16));
    drop(ledger);
    assert!(
        matches!(rig.step(Step::FormFolio { span: span(0, 4) }), Outcome::Formed(folio) if folio.pfn == Pfn::ZERO)
    );
    rig.breaks(6);
    rig.breaks(8);
}

#[test]
fn object_that_goes_before_its_last_folio_breaks_i7() {
    let rig = Rig::new();
    rig.written_on_device();
    rig.engine.unmap(rig.base..rig.base + PAGE).expect("a split folio");
    assert_eq!(rig.broken(), []);
    rig.lies.begin(Lie::ForgetObject);
    rig.engine.unmap(rig.base + PAGE..rig.base + 2 * PAGE).expect("a split folio");
    rig.breaks(7);
}

#[test]
fn refusal_without_reason_breaks_i9() {
    let rig = Rig::new();
    rig.lies.begin(Lie::Refuse);
    assert_eq!(rig.step(Step::FormFolio { span: span(0, 4) }), Outcome::NoMemory);
    rig.breaks(9);
}

#[test]
fn split_of_free_pages_breaks_i10() {
    let rig = Rig::new();
    // The object exists, but the pages are not its.
    rig.written_on_device();
    rig.pool().folio_split(Pfn::new(32), order(4), order(3), 0);
    rig.breaks(10);
}

#[test]
fn folio_freed_while_the_device_maps_it_breaks_i11() {
    let rig = Rig::new();
    rig.written_on_device();
    let map = TableUpdate::Map { address: rig.base, to: Pfn::ZERO, order: order(4) };
    rig.engine.device.update(&[map]).expect("inside of the table");
    // The block does not know of the mapping.
    rig.to(Side::Ram).expect("room");
    rig.breaks(11);
}

#[test]
fn pages_left_out_of_view_break_i12_and_i18() {
    let rig = Rig::new();
    rig.ends(&[Step::ReserveRam { span: span(0, 0) }], DONE);
    rig.breaks(12);
    rig.breaks(18);
}

#[test]
fn slots_counted_for_pages_break_i13() {
    let rig = Rig::new();
    let span = span(0, 4);
    rig.ends(&[Step::ReserveRam { span }, Step::ReleaseRam { span, pages: 1 }], DONE);
    rig.breaks(13);
}

#[test]
fn span_of_another_order_than_its_folio_breaks_i14() {
    let rig = Rig::new();
    rig.written_on_device();
    let small = span(0, 0);
    rig.steps(|drive, cell| {
        drive.perform(Step::ReserveRam { span: small }, cell);
        drive.perform(Step::CopyToRam { span: small, from: Pfn::ZERO }, cell)
    });
    rig.breaks(14);
}

#[test]
fn release_within_a_put_breaks_i15() {
    let rig = Rig::new();
    rig.written_on_device();
    rig.lies.begin(Lie::ReleaseInPut);
    rig.to(Side::Ram).expect("room");
    rig.breaks(15);
}

#[test]
fn step_on_a_folio_that_was_released_breaks_i17() {
    let rig = Rig::new();
    let _: Outcome = rig.step(Step::ClearDevice { run: Run { first: 0, pages: 1 }, to: Pfn::new(8) });
    rig.breaks(17);
}

#[test]
fn giving_up_at_a_large_order_breaks_i19() {
    let rig = Rig::new();
    rig.lies.begin(Lie::Refuse);
    rig.ends(&[Step::FormFolio { span: span(0, 4) }], Err(Failure::NoDeviceMemory));
    rig.breaks(19);
}

#[test]
fn unmapping_more_than_was_mapped_breaks_i20() {
    let rig = Rig::new();
    rig.written_on_device();
    let (address, to) = (rig.base, Pfn::ZERO);
    rig.engine.device.update(&[TableUpdate::Map { address, to, order: order(4) }]).expect("inside");
    rig.engine.device.update(&[TableUpdate::Unmap { address, order: order(9) }]).expect("inside");
    rig.breaks(20);
}

#[test]
fn memory_beyond_the_device_breaks_i21_and_mapped_i25() {
    let rig = Rig::new();
    rig.lies.begin(Lie::HandOutBeyond);
    let _: Outcome = rig.step(Step::FormFolio { span: span(0, 4) });
    rig.breaks(21);
    let map = TableUpdate::Map { address: rig.base, to: Pfn::new(DEVICE_PAGES), order: order(4) };
    // Whether the device refuses does not matter: it was asked to.
    let _: Result<Point, DeviceError> = rig.engine.device.update(&[map]);
    rig.breaks(25);
}

#[test]
fn folio_shown_before_it_was_filled_breaks_i22() {
    let rig = Rig::new();
    rig.steps(|drive, cell| {
        drive.perform(Step::FormFolio { span: span(0, 4) }, cell);
        drive.perform(Step::MapDevice { span: span(0, 4), to: Pfn::ZERO }, cell)
    });
    rig.breaks(22);
}

#[test]
fn failure_that_moved_pages_all_the_same_breaks_i23() {
    let rig = Rig::new();
    let found = rig.engine.blocks().find(rig.base).expect("the first block");
    let mut cell = found.lock();
    let mut drive = Drive::new(&rig.engine, found, 0);
    let mut transaction = Transaction::cpu_fault(&cell.block, 0, rig.engine.policy.as_ref());
    let mut outcome = Outcome::Start;
    loop {
        match transaction.step(&mut cell.block, outcome) {
            Step::Finish(result) => break assert!(result.is_ok()),
            step => outcome = drive.perform(step, &mut cell),
        }
    }
    drive.end(&Err(Failure::Busy), &cell);
    rig.breaks(23);
}

#[test]
fn waiting_for_a_second_block_breaks_i24() {
    let rig = Rig::new();
    let found = rig.engine.blocks().find(rig.base).expect("the first block");
    let cell = found.lock();
    let drive = Drive::new(&rig.engine, found, 0);
    drop(rig.engine.blocks().find(rig.base + HUGE_PAGE).expect("the second block").lock());
    drive.end(&DONE, &cell);
    rig.breaks(24);
}

#[test]
fn victim_that_is_not_looked_at_again_breaks_i26() {
    let rig = Rig::new();
    rig.written_on_device();
    let stranger = Pfn::new(512);
    let _: Outcome = rig.step(Step::MapDevice { span: span(0, 4), to: stranger });
    rig.breaks(26);
}

/// Runs a round trip under a lie about bytes.
fn round_trip(lie: Lie) -> Rig {
    let rig = Rig::new();
    rig.lies.begin(lie);
    rig.written_on_device();
    rig.to(Side::Ram).expect("room");
    rig
}

#[test]
fn byte_that_changes_on_its_way_breaks_i27() {
    assert_eq!(round_trip(Lie::Nothing).broken(), []);
    round_trip(Lie::CopyToDevice).breaks(27);
    round_trip(Lie::CopyToRam).breaks(27);
}

#[test]
fn write_while_out_of_view_breaks_i27() {
    round_trip(Lie::WriteMeanwhile).breaks(27);
}

#[test]
fn byte_that_changes_on_the_device_breaks_i27_even_if_nobody_can_look() {
    round_trip(Lie::Rot).breaks(27);
}

#[test]
fn empty_page_that_is_not_zero_on_the_device_breaks_i27() {
    let rig = Rig::new();
    rig.lies.begin(Lie::Clear);
    rig.to(Side::Device).expect("room");
    rig.breaks(27);
}

#[test]
fn only_the_first_violations_are_kept_and_all_are_counted() {
    let rig = Rig::new();
    let many = super::KEPT + 10;
    (0..many).for_each(|_| rig.checker().victim(Pfn::ZERO, None));
    assert_eq!(rig.checker().violations().len(), super::KEPT);
    let counted = rig.engine.statistics().snapshot().get(Counter::Violations);
    assert_eq!(counted, many as u64);
}
