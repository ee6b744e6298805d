//! Transactions in a simulated world: each outcome, every injected failure, and random sequences.

mod failures;
mod memory;
mod moves;
mod outcomes;
mod peers;
mod protections;
#[expect(clippy::cast_possible_truncation, reason = "simulated memories are small")]
mod world;

use bifolio_folio::{MemoryKind, Order};
use bifolio_migrate::{CpuFaultOrders, NodeId, OrderRange, PageRun, Rights, Transaction};

use self::world::World;

fn order(k: u8) -> Order {
    Order::new(k).expect("orders in tests are small")
}

/// The run of `pages` pages from page `first` on.
fn run(first: u16, pages: u16) -> PageRun {
    PageRun::new(first, pages).expect("runs in tests lie in the block")
}

const NODE: NodeId = NodeId(0);
const OTHER: NodeId = NodeId(1);

fn orders(largest: u8) -> OrderRange {
    OrderRange { largest: order(largest), smallest: Order::ZERO }
}

fn cpu_fault(world: &World, page: u16, largest: u8) -> Transaction {
    let orders = CpuFaultOrders { to_ram: order(largest), populate: order(largest) };
    Transaction::cpu_fault(&world.block, page, orders)
}

fn device_fault(page: u16, largest: u8) -> Transaction {
    Transaction::device_fault(NODE, page, orders(largest), Rights::all())
}

/// A world whose whole block was written by the CPU.
fn written(devices: &[(MemoryKind, u64)], ram_pages: u64) -> World {
    let mut world = World::new(devices, ram_pages);
    world.map(PageRun::BLOCK);
    for page in 0..512 {
        if !world.cpu_write(page, 1) {
            let fault = cpu_fault(&world, page, 9);
            world.run(fault).expect("there is system memory");
        }
        assert!(world.cpu_write(page, 100 + u64::from(page)));
    }
    world.check();
    world
}
