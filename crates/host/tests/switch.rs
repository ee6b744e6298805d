//! A space whose policy is exchanged while a device works.

mod kernel;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use bifolio_host::{
    AddressRange, Counter, DeviceFault, Kernel, PAGE, PolicyName, Space, SpaceConfig, Switch, Unit,
};

const MIB: usize = 1 << 20;
/// Passes of the device over all pages, at least.
const PASSES: u64 = 4;

/// Adds 1 to the first word of every page.
struct Increment(AddressRange);

impl Kernel for Increment {
    fn run(&self, memory: &mut Unit<'_>, unit: usize, units: usize) -> Result<(), DeviceFault> {
        for address in (self.0.start()..self.0.end()).step_by(PAGE).skip(unit).step_by(units) {
            let value = memory.load(address)?;
            memory.store(address, value + 1)?;
        }
        Ok(())
    }
}

#[test]
fn no_byte_is_lost_while_policies_change() {
    if !kernel::grants("no_byte_is_lost_while_policies_change", kernel::SHARED) {
        return;
    }
    let switch = Switch::new(PolicyName::default());
    let config = SpaceConfig::new(8 * MIB, MIB).with_switch(switch.clone());
    let space = Space::new(SpaceConfig { checked: true, ..config }).expect("a space");
    let span = AddressRange::new(space.allocate(4 * MIB).expect("room"), 4 * MIB).expect("pages");
    let (mut passes, all_tried) = (0, AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            for name in PolicyName::all() {
                switch.set(name);
                thread::sleep(Duration::from_millis(5));
            }
            all_tried.store(true, Ordering::Release);
        });
        while passes < PASSES || !all_tried.load(Ordering::Acquire) {
            space.launch(&Increment(span)).expect("it is allocated");
            passes += 1;
        }
    });
    for page in 0..span.pages() {
        assert_eq!(space.window(span).load_u64(page * PAGE), Ok(passes), "page {page}");
    }
    assert!(space.statistics().get(Counter::Evictions) > 0, "a quarter fits");
    assert_eq!(space.audit(), []);
}
