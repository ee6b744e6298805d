//! A program and a device add to the same words: `cargo run --release -p bifolio-host --example increment`
#![expect(clippy::print_stdout, reason = "an example that shows a result")]

use bifolio_host::{AddressRange, Counter, DeviceFault, Kernel, PAGE, Space, SpaceConfig, Unit};

/// Adds 1 to the first word of every page; each unit of the device takes its share of the pages.
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

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // 16 MiB of addresses that both sides know, and 1 MiB of device memory.
    let space = Space::new(SpaceConfig::new(16 << 20, 1 << 20))?;
    let data = AddressRange::new(space.allocate(4 << 20)?, 4 << 20)?;
    space.window(data).store_u64(0, 41)?;
    space.launch(&Increment(data))?; // its faults bring pages to the device, and evict others
    println!("the program reads {}", space.window(data).load_u64(0)?); // a fault brings the page back
    println!("{} folios were evicted", space.statistics().get(Counter::Evictions));
    Ok(())
}
