//! Several built-in devices on one space: each has memory, a page table and an order of use of its own, and what both want
//! goes from one to the other through system memory.

mod kernel;

use std::num::NonZeroUsize;

use bifolio_builtin::{Builtin, Kernel, Unit};
use bifolio_engine::device::DeviceFault;
use bifolio_folio::{MemoryKind, Order};
use bifolio_host::{Counter, Residence, SetupError, Side, Space, SpaceConfig};
use bifolio_migrate::NodeId;
use bifolio_policy::FixedOrders;
use bifolio_sys::{AddressRange, Mapping, PAGE, Placement, ProgramMemory, Protection};

const BYTES: usize = 4 << 20;
const FIRST: NodeId = NodeId(0);
const SECOND: NodeId = NodeId(1);

/// Adds 1 to the first word of every page, on every unit.
struct CountOnEachUnit(AddressRange);

impl Kernel for CountOnEachUnit {
    fn run(&self, memory: &mut Unit<'_>, _unit: usize, _units: usize) -> Result<(), DeviceFault> {
        for at in (self.0.start()..self.0.end()).step_by(PAGE) {
            memory.fetch_add(at, 1)?;
        }
        Ok(())
    }
}

/// Adds 1 to every word; units of all devices take pages in turn.
struct IncrementInTurn(AddressRange);

impl Kernel for IncrementInTurn {
    fn run(&self, memory: &mut Unit<'_>, unit: usize, units: usize) -> Result<(), DeviceFault> {
        for page in (self.0.start()..self.0.end()).step_by(PAGE).skip(unit).step_by(units) {
            for at in (page..page + PAGE).step_by(8) {
                let value = memory.load(at)?;
                memory.store(at, value + 1)?;
            }
        }
        Ok(())
    }
}

/// A checked space of two devices with `vram` bytes each, and an allocation whose words hold their offsets.
fn space(kind: MemoryKind, vram: usize, ram: Option<usize>) -> (Space, AddressRange) {
    let smallest = if kind == MemoryKind::Coherent { Order::K64 } else { Order::ZERO };
    let config = SpaceConfig {
        kind,
        devices: NonZeroUsize::new(2).expect("two"),
        ram,
        policy: Some(Box::new(FixedOrders { largest: Order::K64, smallest, populate: Order::K64 })),
        checked: true,
        ..SpaceConfig::new(2 * BYTES, vram)
    };
    let space = Space::new(config).expect("memory for two devices");
    let address = space.allocate(BYTES).expect("the space is large enough");
    let span = AddressRange::new(address, BYTES).expect("whole pages");
    for offset in (0..BYTES).step_by(8) {
        space.window(span).store_u64(offset, offset as u64).expect("inside");
    }
    (space, span)
}

fn all_is_well(space: &Space) {
    assert_eq!(space.audit(), []);
    assert_eq!(space.statistics().get(Counter::Violations), 0);
}

fn live_pages(space: &Space) -> [u64; 2] {
    [0, 1].map(|node| space.engine().nodes()[node].pagemap().live_pages())
}

#[test]
fn pages_that_units_of_two_devices_want_lose_no_write() {
    if !kernel::grants("pages_that_units_of_two_devices_want_lose_no_write", kernel::SHARED) {
        return;
    }
    for kind in [MemoryKind::Private, MemoryKind::Coherent] {
        let (space, span) = space(kind, BYTES / 4, None);
        space.launch(&CountOnEachUnit(span)).expect("every fault is answered");
        for offset in (0..BYTES).step_by(PAGE) {
            // Two devices with two units each.
            assert_eq!(space.window(span).load_u64(offset), Ok(offset as u64 + 4), "{kind:?} {offset:#x}");
        }
        all_is_well(&space);
        space.close().expect("no folio is held");
        assert_eq!(live_pages(&space), [0, 0]);
    }
}

#[test]
fn each_device_evicts_on_its_own() {
    if !kernel::grants("each_device_evicts_on_its_own", kernel::SHARED) {
        return;
    }
    let (space, span) = space(MemoryKind::Private, BYTES / 8, Some(4 * BYTES));
    space.launch(&IncrementInTurn(span)).expect("every fault is answered");
    for offset in (0..BYTES).step_by(8) {
        assert_eq!(space.window(span).load_u64(offset), Ok(offset as u64 + 1), "word at {offset:#x}");
    }
    assert!(space.statistics().get(Counter::Evictions) > 0);
    all_is_well(&space);
}

#[test]
fn prefetch_moves_pages_from_one_device_to_the_other() {
    if !kernel::grants("prefetch_moves_pages_from_one_device_to_the_other", kernel::SHARED) {
        return;
    }
    let (space, span) = space(MemoryKind::Private, 2 * BYTES, None);
    let pages = (BYTES / PAGE) as u64;
    for (node, live) in [(FIRST, [pages, 0]), (SECOND, [0, pages]), (FIRST, [pages, 0])] {
        space.prefetch(span, Side::Device(node)).expect("there is room");
        assert_eq!(live_pages(&space), live);
        let residence = space.engine().residence(span.start() + 5 * PAGE);
        assert!(matches!(residence, Residence::Device { node: there, .. } if there == node), "{residence:?}");
    }
    for offset in (0..BYTES).step_by(8) {
        assert_eq!(space.window(span).load_u64(offset), Ok(offset as u64), "word at {offset:#x}");
    }
    all_is_well(&space);
}

#[test]
fn device_that_is_taken_away_leaves_the_other_its_folios() {
    if !kernel::grants("device_that_is_taken_away_leaves_the_other_its_folios", kernel::SHARED) {
        return;
    }
    let (space, span) = space(MemoryKind::Private, 2 * BYTES, None);
    let half = span.part(0, BYTES / 2).expect("inside");
    let rest = span.part(BYTES / 2, BYTES / 2).expect("inside");
    space.prefetch(half, Side::Device(FIRST)).expect("there is room");
    space.prefetch(rest, Side::Device(SECOND)).expect("there is room");
    let patience = std::time::Duration::from_secs(1);
    space.engine().detach_node(FIRST, patience).expect("no folio is held");
    assert_eq!(live_pages(&space), [0, (BYTES / 2 / PAGE) as u64]);
    assert!(space.prefetch(half, Side::Device(FIRST)).is_err(), "nothing is formed on it any more");
    space.prefetch(half, Side::Device(SECOND)).expect("the other goes on");
    for offset in (0..BYTES).step_by(8) {
        assert_eq!(space.window(span).load_u64(offset), Ok(offset as u64), "word at {offset:#x}");
    }
    all_is_well(&space);
}

#[test]
fn coherent_memory_is_for_built_in_devices() {
    let coherent = || SpaceConfig { kind: MemoryKind::Coherent, ..SpaceConfig::new(BYTES, BYTES) };
    let own = Space::<Builtin>::with_device(coherent(), |_| unreachable!("refused before"));
    assert!(matches!(own, Err(SetupError::Kind)));
    assert!(matches!(Space::without_devices(coherent()), Err(SetupError::Kind)));
}

#[test]
fn memory_of_the_program_joins_private_spaces_only() {
    if !kernel::grants("memory_of_the_program_joins_private_spaces_only", kernel::SHARED) {
        return;
    }
    let memory = Mapping::anonymous(BYTES, Protection::ReadWrite, Placement::Anywhere).expect("memory");
    let program = Some(ProgramMemory::of(memory));
    let config = SpaceConfig { kind: MemoryKind::Coherent, program, ..SpaceConfig::new(BYTES, BYTES) };
    assert!(matches!(Space::new(config), Err(SetupError::Adopts)));
}
