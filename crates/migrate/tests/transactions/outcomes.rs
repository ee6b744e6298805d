//! Outcomes that a step cannot have are refused at once, those that it can have never.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bifolio_folio::{MemoryKind, Order, Pfn};
use bifolio_migrate::{Block, Folio, FolioId, Formed, NodeId, Outcome, PageRun, Rights, Step, Transaction};

use crate::failures::every_kind_of_transaction;
use crate::world::World;
use crate::{NODE, OTHER, cpu_fault, device_fault, orders, run, written};

/// Every outcome; the folio is one that `step` may have formed, if it forms one.
fn every_outcome(step: &Step) -> Vec<Outcome> {
    let (node, order) = match step {
        Step::FormFolio { node, run } => (*node, run.order()),
        _ => (NODE, Order::ZERO),
    };
    let folio = Folio { node, pfn: Pfn::ZERO, order, id: FolioId(99) };
    let formed = Formed { folio, kind: MemoryKind::Private, cleared: false };
    vec![
        Outcome::Start,
        Outcome::Done,
        Outcome::Formed(formed),
        Outcome::Split { upper: FolioId(99) },
        Outcome::NoMemory,
        Outcome::Detached,
        Outcome::Busy,
        Outcome::Failed,
    ]
}

/// Whether the machine takes the outcome, without a change to either.
fn takes(transaction: &Transaction, block: &Block, outcome: Outcome) -> bool {
    let (mut transaction, mut block) = (transaction.clone(), block.clone());
    catch_unwind(AssertUnwindSafe(|| transaction.step(&mut block, outcome))).is_ok()
}

fn answers_are_judged(world: &mut World, transaction: Transaction) {
    world.look = Some(|transaction, block, step| {
        for outcome in every_outcome(step) {
            let allowed = step.allows(&outcome);
            assert_eq!(takes(transaction, block, outcome), allowed, "{outcome:?} of {step:?}");
        }
    });
    // Whether it succeeds is of no interest here.
    let _: Result<_, _> = world.run(transaction);
    world.look = None;
}

#[test]
fn each_machine_takes_the_outcomes_that_its_step_allows_and_no_other() {
    let in_ram = |kind| written(&[(kind, 600)], 600);
    let sent = |kind| {
        let mut world = in_ram(kind);
        world.run(device_fault(0, 9)).expect("the device is empty");
        world.run(Transaction::split(run(8, 5), Order::ZERO)).expect("no other reference");
        world
    };
    for kind in [MemoryKind::Private, MemoryKind::Coherent] {
        for fresh in [&in_ram as &dyn Fn(MemoryKind) -> World, &sent] {
            for at in 0..every_kind_of_transaction(&fresh(kind)).len() {
                // None fails, then each of the first few steps.
                for fail_in in [None, Some(0), Some(1), Some(2), Some(3), Some(5), Some(8)] {
                    let mut world = fresh(kind);
                    world.fail_in = fail_in;
                    let transaction = every_kind_of_transaction(&world).remove(at);
                    answers_are_judged(&mut world, transaction);
                }
            }
        }
    }
}

#[test]
fn machines_of_first_touch_and_of_two_devices_refuse_them_too() {
    let mut world = World::new(&[(MemoryKind::Coherent, 512), (MemoryKind::Private, 512)], 512);
    world.map(PageRun::BLOCK);
    let touch = cpu_fault(&world, 3, 4);
    answers_are_judged(&mut world, touch);
    answers_are_judged(&mut world, device_fault(100, 4));
    answers_are_judged(&mut world, Transaction::device_fault(OTHER, 100, orders(3), Rights::all()));
}

#[test]
fn folio_of_another_order_or_node_is_not_the_one_asked_for() {
    let mut world = World::new(&[(MemoryKind::Private, 512)], 512);
    world.map(PageRun::BLOCK);
    let mut fault = device_fault(0, 4);
    let asked = fault.step(&mut world.block, Outcome::Start);
    let Some(Outcome::Formed(formed)) = every_outcome(&asked).into_iter().nth(2) else {
        unreachable!("listed")
    };
    let other_order = Folio { order: Order::ZERO, ..formed.folio };
    let other_node = Folio { node: NodeId(7), ..formed.folio };
    for folio in [other_order, other_node] {
        let outcome = Outcome::Formed(Formed { folio, ..formed });
        assert!(!asked.allows(&outcome) && !takes(&fault, &world.block, outcome), "{folio:?}");
    }
}
