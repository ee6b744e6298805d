//! Each rule that can break while an engine runs, broken once: by a device or a pool that goes wrong, or by steps that no
//! engine would run.

mod faults;
mod harness;
mod script;

use bifolio_engine::device::{Copy, DeviceError, DeviceRequest, Point, TableUpdate};
use bifolio_engine::event::{Event, EventKind, Observer};
use bifolio_engine::query::Residence;
use bifolio_engine::{Counter, Side};
use bifolio_folio::{AlignedRun, FreeRange, Order, PageRun, Pfn};
use bifolio_migrate::{
    Block, CpuFaultOrders, DevicePage, Failure, Finished, Moved, NodeId, Outcome, Rights, Step, Transaction,
};
use bifolio_pool::{Contents, Rmap};
use bifolio_rules::{FolioEvent, NewFolio, PoolEvent, Purpose, Rule, RuleSet, Words};
use bifolio_sim::faulty::{Call, FaultKind};
use bifolio_sys::{HUGE_PAGE, PAGE};

use self::harness::{DEVICE_PAGES, Harness};
use self::script::Script;
use crate::KEPT;

const NODE: NodeId = NodeId(0);

const DONE: Result<Finished, Failure> =
    Ok(Finished { moved: Moved::Unmapped(PageRun::BLOCK), fallbacks: 0, splits: 0 });

fn order(k: u8) -> Order {
    Order::new(k).expect("orders in tests are small")
}

fn run(page: u16, k: u8) -> AlignedRun {
    AlignedRun::around(page, order(k))
}

fn page(number: u64) -> DevicePage {
    DevicePage { node: NODE, pfn: Pfn::new(number) }
}

/// A block whose pages are live and empty.
fn block() -> Block {
    let mut block = Block::new();
    block.map(PageRun::BLOCK);
    block
}

fn map(address: usize, to: u64, k: u8) -> TableUpdate {
    TableUpdate::Map { address, to: Pfn::new(to), order: order(k), rights: Rights::all() }
}

#[test]
fn honest_machine_breaks_nothing_and_is_judged_by_every_rule() {
    let harness = Harness::new();
    harness.write_and_move_out();
    let request = DeviceRequest::new(harness.base, Rights::READ);
    harness.engine.device_fault(NODE, &request).expect("it is there");
    harness.engine.unmap(harness.base + 3 * PAGE..harness.base + 4 * PAGE).expect("a split folio");
    harness.bring(Side::Ram).expect_err("a page is gone");
    assert_eq!(harness.engine.audit(), []);
    assert_eq!(harness.checker.violations(), []);
    let snapshot = harness.statistics.snapshot();
    let never: Vec<Rule> = Rule::all().filter(|rule| snapshot.judged(*rule) == 0).collect();
    assert_eq!(never, []);
}

#[test]
fn memory_handed_out_twice_breaks_i1() {
    let harness = Harness::new();
    harness.write_and_move_out();
    harness.inject(&[(Call::Allocate, FaultKind::HandOut(Pfn::ZERO)), (Call::GiveBack, FaultKind::Skip)]);
    harness.ask_for_folio();
    harness.breaks(1);
}

#[test]
fn order_that_is_lost_breaks_i4() {
    let harness = Harness::new();
    harness.write_and_move_out();
    harness.inject(&[(Call::FolioFree, FaultKind::Skip)]);
    // What Nouveau would have heard of v3: the head alone.
    harness.node().pool().folio_free(FreeRange::claim(Pfn::ZERO, Order::ZERO), 0);
    harness.breaks(4);
}

#[test]
fn copy_to_memory_that_was_given_back_breaks_i5() {
    let harness = Harness::new();
    harness.node().device().copy(&[Copy::Clear { to: Pfn::new(7), pages: 1 }]).expect("inside");
    harness.breaks(5);
}

#[test]
fn neighbour_that_forming_wiped_out_breaks_i6_and_the_count_of_pages_i8() {
    let harness = Harness::new();
    // A folio lives at page 16 as far as was told, but its word is gone.
    let (head, order, data) = (16, 4, 99);
    let purpose = Purpose::Folio;
    let allocated = PoolEvent::Allocated { head, order, wanted: order, data, purpose, cleared: false };
    harness.checker.tell(&bifolio_rules::Event::Pool { node: 0, event: allocated });
    let place = Some((head, order));
    let words = Words { first: place, last: place, data };
    let pagemap = Some(0);
    let new = NewFolio { head, order, data, pagemap, words, locked: true, references: 1 };
    harness.checker.tell(&bifolio_rules::Event::Folio { node: 0, event: FolioEvent::Formed(new) });
    assert_eq!(harness.broken(), RuleSet::NONE);
    harness.ask_for_folio();
    harness.breaks(6);
    harness.breaks(8);
}

#[test]
fn object_that_goes_before_its_last_folio_breaks_i7() {
    let harness = Harness::new();
    harness.write_and_move_out();
    harness.engine.unmap(harness.base..harness.base + PAGE).expect("a split folio");
    assert_eq!(harness.broken(), RuleSet::NONE);
    harness.inject(&[(Call::RmapOf, FaultKind::Refuse)]);
    harness.engine.unmap(harness.base + PAGE..harness.base + 2 * PAGE).expect("a split folio");
    harness.breaks(7);
}

#[test]
fn refusal_without_reason_breaks_i9() {
    let harness = Harness::new();
    harness.inject(&[(Call::Allocate, FaultKind::Refuse)]);
    harness.ask_for_folio();
    harness.breaks(9);
}

#[test]
fn split_of_free_pages_breaks_i10() {
    let harness = Harness::new();
    harness.inject(&[(Call::FolioSplit, FaultKind::Skip)]);
    harness.node().pool().folio_split(Pfn::new(32), order(4), order(3), 0);
    harness.breaks(10);
}

#[test]
fn folio_freed_while_the_device_maps_it_breaks_i11() {
    let harness = Harness::new();
    harness.write_and_move_out();
    harness.node().device().update(&[map(harness.base, 0, 4)]).expect("inside of the table");
    // The block does not know of the mapping.
    harness.bring(Side::Ram).expect("room");
    harness.breaks(11);
}

#[test]
fn pages_left_out_of_view_break_i12_and_i18() {
    let harness = Harness::new();
    let script = Script::begin(&harness, block());
    script.staged.set(true);
    script.end(DONE);
    harness.breaks(12);
    harness.breaks(18);
}

#[test]
fn slots_counted_for_pages_break_i13() {
    let harness = Harness::new();
    let (script, run) = (Script::begin(&harness, block()), run(0, 4));
    script.step(Step::ReserveRam { run }, Outcome::Done);
    script.step(Step::ReleaseRam { run, pages: 1 }, Outcome::Done);
    script.end(DONE);
    harness.breaks(13);
}

#[test]
fn run_of_another_order_than_its_folio_breaks_i14() {
    let harness = Harness::new();
    harness.write_and_move_out();
    let script = Script::begin(&harness, block());
    script.step(Step::CopyToRam { run: run(0, 0), from: page(0) }, Outcome::Failed);
    harness.breaks(14);
}

#[test]
fn release_within_a_put_breaks_i15() {
    let harness = Harness::new();
    harness.write_and_move_out();
    harness.faults.release_in_put(std::sync::Arc::downgrade(harness.node().pool()));
    harness.bring(Side::Ram).expect("room");
    harness.breaks(15);
}

#[test]
fn step_on_a_folio_that_was_released_breaks_i17() {
    let harness = Harness::new();
    let script = Script::begin(&harness, block());
    script.step(Step::ClearDevice { run: run(0, 0).into(), to: page(8) }, Outcome::Failed);
    harness.breaks(17);
}

#[test]
fn giving_up_at_a_large_order_breaks_i19() {
    let harness = Harness::new();
    let script = Script::begin(&harness, block());
    script.step(Step::FormFolio { node: NODE, run: run(0, 4) }, Outcome::NoMemory);
    script.end(Err(Failure::NoDeviceMemory));
    harness.breaks(19);
}

#[test]
fn unmapping_more_than_was_mapped_breaks_i20() {
    let harness = Harness::new();
    harness.write_and_move_out();
    let (device, address) = (harness.node().device(), harness.base);
    device.update(&[map(address, 0, 4)]).expect("inside of the table");
    device.update(&[TableUpdate::Unmap { address, order: order(9) }]).expect("inside of the table");
    harness.breaks(20);
}

#[test]
fn memory_beyond_the_device_breaks_i21() {
    let harness = Harness::new();
    let beyond = FaultKind::HandOut(Pfn::new(DEVICE_PAGES));
    harness.inject(&[(Call::Allocate, beyond), (Call::GiveBack, FaultKind::Skip)]);
    harness.ask_for_folio();
    harness.breaks(21);
}

#[test]
fn mapping_of_memory_beyond_the_device_breaks_i25() {
    let harness = Harness::new();
    // Whether the device refuses does not matter: it was asked to.
    let _: Result<Point, DeviceError> = harness.node().device().update(&[map(harness.base, DEVICE_PAGES, 4)]);
    harness.breaks(25);
}

#[test]
fn folio_shown_before_it_was_filled_breaks_i22() {
    let harness = Harness::new();
    let rmap = Rmap { block: 0, page: 0 };
    let memory = harness.node().pool().allocate(order(4), rmap, Contents::Any).expect("room");
    harness.node().device().update(&[map(harness.base, memory.range.head().get(), 4)]).expect("inside");
    harness.breaks(22);
}

#[test]
fn memory_that_is_said_to_be_clear_and_is_not_breaks_i22() {
    let harness = Harness::new();
    harness.write_and_move_out();
    harness.bring(Side::Ram).expect("room");
    assert_eq!(harness.broken(), RuleSet::NONE);
    // Skipped is what would have made it clear.
    harness.inject(&[(Call::Allocate, FaultKind::Skip)]);
    harness.ask_for_folio();
    harness.breaks(22);
}

#[test]
fn failure_that_moved_pages_all_the_same_breaks_i23() {
    let harness = Harness::new();
    let mut script = Script::begin(&harness, block());
    let orders = CpuFaultOrders { to_ram: order(4), populate: order(4) };
    let mut transaction = Transaction::cpu_fault(&script.block, 0, orders);
    let mut outcome = Outcome::Start;
    loop {
        match transaction.step(&mut script.block, outcome) {
            Step::Finish(result) => break assert!(result.is_ok()),
            _ => outcome = Outcome::Done,
        }
    }
    script.end(Err(Failure::Busy));
    harness.breaks(23);
}

#[test]
fn waiting_for_a_second_block_breaks_i24() {
    let harness = Harness::new();
    let script = Script::begin(&harness, block());
    script.wait_for(harness.base + HUGE_PAGE);
    harness.breaks(24);
}

#[test]
fn device_that_maps_memory_of_another_node_breaks_i25() {
    let harness = Harness::of_nodes(2);
    harness.write_and_move_out();
    let [near, far] = [0, 1].map(|number| &harness.engine.nodes()[number]);
    let own = far.pagemap().first().get();
    let memory = far.pool().allocate(order(4), Rmap { block: 0, page: 0 }, Contents::Any).expect("room");
    assert_eq!(memory.range.head().get(), own);
    assert_eq!(harness.broken(), RuleSet::NONE);
    let _: Result<Point, DeviceError> = near.device().update(&[map(harness.base, own, 4)]);
    harness.breaks(25);
}

#[test]
fn nodes_that_move_folios_break_nothing() {
    let harness = Harness::of_nodes(2);
    harness.write_and_move_out();
    harness.bring(Side::Device(NodeId(1))).expect("room");
    harness.bring(Side::DEVICE).expect("room");
    harness.bring(Side::Ram).expect("room");
    assert_eq!(harness.engine.audit(), []);
    assert_eq!(harness.checker.violations(), []);
}

#[test]
fn victim_that_is_not_looked_at_again_breaks_i26() {
    let harness = Harness::new();
    let script = Script::begin(&harness, block());
    let map = Step::MapDevice { run: run(0, 4), to: page(512), rights: Rights::all() };
    script.step(map, Outcome::Failed);
    harness.breaks(26);
}

#[test]
fn copy_from_a_folio_that_is_held_after_its_bytes_went_home_breaks_i28() {
    let harness = Harness::new();
    harness.write_and_move_out();
    let head = |harness: &Harness| {
        let extents = harness.engine.snapshot(harness.base..harness.base + PAGE).expect("inside");
        match extents[0].residence {
            Residence::Device { folio, .. } => folio,
            other => panic!("it is {other:?}"),
        }
    };
    let retired = head(&harness);
    let held = harness.node().pagemap().try_get(retired).expect("it lives");
    harness.bring(Side::Ram).expect("room");
    let judged = || harness.statistics.snapshot().judged(Rule::known(28));
    let before = judged();
    // The engine takes another folio, and its bytes from that one.
    harness.bring(Side::DEVICE).expect("room");
    assert_ne!(head(&harness), retired, "the retired folio is still held");
    harness.bring(Side::Ram).expect("room");
    assert!(judged() > before);
    assert_eq!(harness.checker.violations(), []);
    let script = Script::begin(&harness, block());
    script.step(Step::CopyToRam { run: run(0, 4), from: page(retired.get()) }, Outcome::Done);
    harness.breaks(28);
    drop(held);
}

/// Runs a round trip while calls go wrong.
fn round_trip(wrong: &[(Call, FaultKind)]) -> Harness {
    let harness = Harness::new();
    harness.inject(wrong);
    harness.write_and_move_out();
    harness.bring(Side::Ram).expect("room");
    harness
}

#[test]
fn byte_that_changes_on_its_way_breaks_i27() {
    assert_eq!(round_trip(&[]).broken(), RuleSet::NONE);
    round_trip(&[(Call::CopyToDevice, FaultKind::Spoil)]).breaks(27);
    round_trip(&[(Call::CopyToRam, FaultKind::Spoil)]).breaks(27);
}

#[test]
fn write_while_out_of_view_breaks_i27() {
    round_trip(&[(Call::CopyToDevice, FaultKind::SpoilSource)]).breaks(27);
}

#[test]
fn byte_that_changes_on_the_device_breaks_i27_even_if_it_cannot_be_looked_at() {
    round_trip(&[(Call::CopyToRam, FaultKind::SpoilSource), (Call::Inspect, FaultKind::Refuse)]).breaks(27);
}

#[test]
fn empty_page_that_is_not_zero_on_the_device_breaks_i27() {
    let harness = Harness::new();
    harness.inject(&[(Call::Clear, FaultKind::Spoil)]);
    harness.bring(Side::DEVICE).expect("room");
    harness.breaks(27);
}

#[test]
fn only_the_first_violations_are_kept_and_all_are_counted() {
    let harness = Harness::new();
    let many = KEPT + 10;
    let kind = EventKind::Victim { node: NODE, wanted: Pfn::ZERO, found: None };
    (0..many).for_each(|_| harness.checker.observe(&Event { sequence: 0, transaction: None, kind }));
    assert_eq!(harness.checker.violations().len(), KEPT);
    assert_eq!(harness.statistics.snapshot().get(Counter::Violations), many as u64);
}
