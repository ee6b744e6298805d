//! Each rule that can break while the engine runs, broken once: by a device or a pool that lies, or by steps that no
//! transaction would ask for. Needs no userfaultfd: the view is plain memory.

mod lying;
mod memory_device;
mod rig;

use bifolio_folio::{FreeRange, Order, Pfn};
use bifolio_migrate::{
    AlignedRun, DevicePage, Failure, Finished, Moved, NodeId, Outcome, PageRun, Rights, Step, Transaction,
};
use bifolio_rules::Rule;
use bifolio_sys::{HUGE_PAGE, PAGE};

use self::lying::Lie;
use self::rig::{DEVICE_PAGES, Rig};
use super::ledger::Use;
use crate::device::{Copy, DeviceError, DeviceRequest, Point, TableUpdate};
use crate::engine::Side;
use crate::event::Cause;
use crate::executor::StepExecutor;
use crate::run::Request;
use crate::statistics::Counter;

fn order(k: u8) -> Order {
    Order::new(k).expect("orders in tests are small")
}

fn span(page: u16, k: u8) -> AlignedRun {
    AlignedRun::around(page, order(k))
}

fn at(pfn: Pfn) -> DevicePage {
    DevicePage { node: NodeId(0), pfn }
}

const DONE: Result<Finished, Failure> =
    Ok(Finished { moved: Moved::Unmapped(PageRun::single(0)), fallbacks: 0, splits: 0 });

#[test]
fn honest_machine_breaks_nothing_and_is_judged_by_every_rule() {
    let rig = Rig::new();
    rig.written_on_device();
    rig.engine.device_fault(NodeId(0), &DeviceRequest::new(rig.base, Rights::READ)).expect("it is there");
    rig.engine.unmap(rig.base + 3 * PAGE..rig.base + 4 * PAGE).expect("a split folio");
    rig.to(Side::Ram).expect_err("a page is gone");
    assert_eq!(rig.engine.audit(), []);
    let snapshot = rig.statistics.snapshot();
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
    let _: Outcome = rig.step(Step::FormFolio { node: NodeId(0), run: span(64, 4) });
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
    rig.engine.nodes()[0].device().copy(&[clear]).expect("inside of the device");
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
        matches!(rig.step(Step::FormFolio { node: NodeId(0), run: span(0, 4) }), Outcome::Formed(formed) if formed.folio.pfn == Pfn::ZERO)
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
    assert_eq!(rig.step(Step::FormFolio { node: NodeId(0), run: span(0, 4) }), Outcome::NoMemory);
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
    let map = TableUpdate::Map { address: rig.base, to: Pfn::ZERO, order: order(4), rights: Rights::all() };
    rig.engine.nodes()[0].device().update(&[map]).expect("inside of the table");
    // The block does not know of the mapping.
    rig.to(Side::Ram).expect("room");
    rig.breaks(11);
}

#[test]
fn pages_left_out_of_view_break_i12_and_i18() {
    let rig = Rig::new();
    rig.ends(&[Step::ReserveRam { run: span(0, 0) }], DONE);
    rig.breaks(12);
    rig.breaks(18);
}

#[test]
fn slots_counted_for_pages_break_i13() {
    let rig = Rig::new();
    let span = span(0, 4);
    rig.ends(&[Step::ReserveRam { run: span }, Step::ReleaseRam { run: span, pages: 1 }], DONE);
    rig.breaks(13);
}

#[test]
fn span_of_another_order_than_its_folio_breaks_i14() {
    let rig = Rig::new();
    rig.written_on_device();
    let small = span(0, 0);
    rig.steps(|drive, cell| {
        drive.perform(Step::ReserveRam { run: small }, cell);
        drive.perform(Step::CopyToRam { run: small, from: at(Pfn::ZERO) }, cell)
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
    let _: Outcome = rig.step(Step::ClearDevice { run: PageRun::single(0), to: at(Pfn::new(8)) });
    rig.breaks(17);
}

#[test]
fn giving_up_at_a_large_order_breaks_i19() {
    let rig = Rig::new();
    rig.lies.begin(Lie::Refuse);
    rig.ends(&[Step::FormFolio { node: NodeId(0), run: span(0, 4) }], Err(Failure::NoDeviceMemory));
    rig.breaks(19);
}

#[test]
fn unmapping_more_than_was_mapped_breaks_i20() {
    let rig = Rig::new();
    rig.written_on_device();
    let (address, to) = (rig.base, Pfn::ZERO);
    rig.engine.nodes()[0]
        .device()
        .update(&[TableUpdate::Map { address, to, order: order(4), rights: Rights::all() }])
        .expect("inside");
    rig.engine.nodes()[0]
        .device()
        .update(&[TableUpdate::Unmap { address, order: order(9) }])
        .expect("inside");
    rig.breaks(20);
}

#[test]
fn memory_beyond_the_device_breaks_i21_and_mapped_i25() {
    let rig = Rig::new();
    rig.lies.begin(Lie::HandOutBeyond);
    let _: Outcome = rig.step(Step::FormFolio { node: NodeId(0), run: span(0, 4) });
    rig.breaks(21);
    let map = TableUpdate::Map {
        address: rig.base,
        to: Pfn::new(DEVICE_PAGES),
        order: order(4),
        rights: Rights::all(),
    };
    // Whether the device refuses does not matter: it was asked to.
    let _: Result<Point, DeviceError> = rig.engine.nodes()[0].device().update(&[map]);
    rig.breaks(25);
}

#[test]
fn folio_shown_before_it_was_filled_breaks_i22() {
    let rig = Rig::new();
    rig.steps(|drive, cell| {
        drive.perform(Step::FormFolio { node: NodeId(0), run: span(0, 4) }, cell);
        drive.perform(Step::MapDevice { run: span(0, 4), to: at(Pfn::ZERO), rights: Rights::all() }, cell)
    });
    rig.breaks(22);
}

#[test]
fn failure_that_moved_pages_all_the_same_breaks_i23() {
    let rig = Rig::new();
    let found = rig.engine.blocks().find(rig.base).expect("the first block");
    let mut cell = found.lock();
    let mut drive = StepExecutor::begin(&rig.engine, found, Request::new(Cause::Prefetch));
    let mut transaction = Transaction::cpu_fault(&cell.block, 0, rig.engine.cpu_orders(rig.base));
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
    let drive = StepExecutor::begin(&rig.engine, found, Request::new(Cause::Prefetch));
    drop(rig.engine.blocks().find(rig.base + HUGE_PAGE).expect("the second block").lock());
    drive.end(&DONE, &cell);
    rig.breaks(24);
}

#[test]
fn victim_that_is_not_looked_at_again_breaks_i26() {
    let rig = Rig::new();
    rig.written_on_device();
    let stranger = Pfn::new(512);
    let _: Outcome = rig.step(Step::MapDevice { run: span(0, 4), to: at(stranger), rights: Rights::all() });
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
    rig.to(Side::DEVICE).expect("room");
    rig.breaks(27);
}

#[test]
fn only_the_first_violations_are_kept_and_all_are_counted() {
    let rig = Rig::new();
    let many = super::KEPT + 10;
    (0..many).for_each(|_| rig.checker().victim(Pfn::ZERO, None));
    assert_eq!(rig.checker().violations().len(), super::KEPT);
    let counted = rig.statistics.snapshot().get(Counter::Violations);
    assert_eq!(counted, many as u64);
}
