//! A device of one's own: memory, a page table and page faults, and a program that shares a list of real pointers with it.
#![allow(clippy::print_stdout, missing_docs, reason = "an example shows what it did")]
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock};

use bifolio_host::device::*;
use bifolio_host::{AddressRange, Counter, DeviceSlot, PAGE, Rights, Space, SpaceConfig};

/// Memory in bytes, and for each mapped virtual page where it begins there and what may be done.
pub struct Walker {
    slot: DeviceSlot,
    memory: Mutex<Vec<u8>>,
    table: Mutex<BTreeMap<usize, (usize, Rights)>>,
    handler: OnceLock<Arc<dyn FaultHandler>>,
}

type Answer<T> = Result<T, DeviceFault>;

impl Walker {
    pub fn new(slot: DeviceSlot) -> Arc<Walker> {
        let memory = Mutex::new(vec![0; slot.bytes()]);
        Arc::new(Walker { slot, memory, table: Mutex::default(), handler: OnceLock::new() })
    }

    /// Uses the 8 bytes at a virtual address. The table stays locked meanwhile, so that an unmapping waits.
    pub fn use_word<T>(&self, address: usize, wanted: Rights, work: impl Fn(&mut [u8]) -> T) -> Answer<T> {
        loop {
            let table = self.table.lock().expect("no panic");
            match table.get(&(address & !(PAGE - 1))) {
                Some((offset, rights)) if rights.contains(wanted) => {
                    let at = offset + address % PAGE;
                    return Ok(work(&mut self.memory.lock().expect("no panic")[at..at + 8]));
                }
                _ => drop(table), // the engine calls `copy` and `update` before it answers
            }
            self.handler.get().expect("attached").device_fault(&DeviceRequest::new(address, wanted))?;
        }
    }

    pub fn load(&self, address: usize) -> Answer<u64> {
        self.use_word(address, Rights::READ, |word| u64::from_ne_bytes(word.try_into().expect("8 bytes")))
    }
}

impl Device for Walker {
    fn capabilities(&self) -> Capabilities {
        Capabilities::new(self.slot.pages)
    }

    fn attach(&self, handler: Arc<dyn FaultHandler>) {
        assert!(self.handler.set(handler).is_ok(), "attached once");
    }

    fn copy(&self, batch: &[Copy<'_>]) -> Result<Point, DeviceError> {
        let mut memory = self.memory.lock().expect("no panic");
        for copy in batch {
            let mine = &mut memory[self.slot.range_of(copy)];
            match *copy {
                Copy::ToDevice { from, .. } => from.read_into(mine).expect("as long"),
                Copy::ToRam { to, .. } => to.write_from(mine).expect("as long"),
                Copy::Clear { .. } => mine.fill(0),
                _ => return Err(DeviceError::Unsupported),
            }
        }
        Ok(Point(0)) // it is done already, so there is nothing to wait for
    }

    fn update(&self, batch: &[TableUpdate]) -> Result<Point, DeviceError> {
        let mut table = self.table.lock().expect("no panic");
        for (address, entry) in batch.iter().flat_map(TableUpdate::each_page) {
            match entry {
                Some((page, rights)) => table.insert(address, (self.slot.offset_of(page), rights)),
                None => table.remove(&address),
            };
        }
        Ok(Point(0))
    }
}

/// Builds a list in shared memory, each node on a page of its own, and has the device add up its numbers.
pub fn walk(nodes: usize, vram: usize) -> Result<String, Box<dyn std::error::Error>> {
    let space = Space::with_device(SpaceConfig::new(nodes * PAGE, vram), Walker::new)?;
    let span = AddressRange::new(space.allocate(nodes * PAGE)?, nodes * PAGE)?;
    let (window, device) = (space.window(span), space.device());
    for node in 0..nodes {
        let next = span.start() + (node + 1) * PAGE; // a pointer, as the program knows it
        window.store_u64(node * PAGE, next as u64)?;
        window.store_u64(node * PAGE + 8, node as u64)?;
    }
    let (mut at, mut sum) = (span.start(), 0);
    while at != span.end() {
        (sum, at) = (sum + device.load(at + 8)?, usize::try_from(device.load(at)?)?);
    }
    Ok(format!("sum {sum}, {} folios evicted on the way", space.statistics().get(Counter::Evictions)))
}

fn main() {
    println!("{}", walk(1024, 1 << 20).expect("faults can be caught: see `bifolio doctor`"));
}
