//! Spaces: what a handle of one stands for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bifolio_host::device::Device;
use bifolio_host::fault_loop::Readers;
use bifolio_host::{AddressRange, Advice, NodeId, Observer, PAGE, Side, Space, SpaceConfig};

use crate::abi::{
    BF_E_RANGE, BF_SPACE_CHECKED, BF_SPACE_NO_THREADS, BF_SPACE_TOUCHER, BF_SPACE_VIRTUAL_TIME,
    bf_space_config,
};
use crate::blocks::SmallBlocks;
use crate::device::DeviceState;
use crate::edge::program_memory;
use crate::handle::{Kind, Table, lock};
use crate::loss::LossObserver;
use crate::post::Poster;
use crate::status::{Error, of_failure};
use crate::trace::Recorded;

pub static SPACES: Table<SpaceState> = Table::new(Kind::Space);

/// A space, and what C has of it.
pub struct SpaceState {
    /// Dropped first: its thread uses the rest.
    pub poster: Option<Poster>,
    pub space: Space<dyn Device>,
    pub flags: u32,
    /// What happens there, while `bf_trace` says so.
    pub recorded: Arc<Recorded>,
    /// Model time, in picoseconds.
    pub now_ps: AtomicU64,
    /// Devices by the number of their node.
    pub devices: Arc<Mutex<BTreeMap<u8, Arc<DeviceState>>>>,
    /// Ids of open ports.
    pub ports: Mutex<BTreeSet<u64>>,
    blocks: Mutex<SmallBlocks>,
    /// Pins by their addresses.
    pins: Mutex<BTreeMap<(usize, usize), u32>>,
}

pub const FLAGS: u32 = BF_SPACE_NO_THREADS | BF_SPACE_CHECKED | BF_SPACE_VIRTUAL_TIME | BF_SPACE_TOUCHER;

impl SpaceState {
    pub fn open(config: &bf_space_config) -> Result<SpaceState, Error> {
        if config.flags & !FLAGS != 0 {
            return Err(Error::argument(format!("unknown flags {:#x} of a space", config.flags & !FLAGS)));
        }
        let own_threads = config.flags & BF_SPACE_NO_THREADS == 0;
        let readers = match config.flags & (BF_SPACE_NO_THREADS | BF_SPACE_TOUCHER) {
            0 => Readers::Separate,
            BF_SPACE_NO_THREADS => Readers::Caller,
            BF_SPACE_TOUCHER => Readers::Toucher,
            _ => return Err(Error::argument("a space of BF_SPACE_TOUCHER has threads: not with NO_THREADS")),
        };
        let devices = Arc::new(Mutex::new(BTreeMap::new()));
        let losses: Arc<dyn Observer> = Arc::new(LossObserver(Arc::clone(&devices)));
        let recorded = Arc::new(Recorded::default());
        let bytes = |bytes: u64| usize::try_from(bytes).expect("64 bits");
        let space = Space::without_devices(SpaceConfig {
            ram: (config.ram_limit > 0).then(|| bytes(config.ram_limit)),
            checked: config.flags & BF_SPACE_CHECKED != 0,
            readers: Some(readers),
            observers: vec![losses, Arc::clone(&recorded) as Arc<dyn Observer>],
            program: (readers != Readers::Toucher).then(program_memory),
            ..SpaceConfig::new(bytes(config.bytes), PAGE)
        })?;
        let virtual_time = config.flags & BF_SPACE_VIRTUAL_TIME != 0;
        let poster = (own_threads && !virtual_time).then(Poster::start).transpose()?;
        Ok(SpaceState {
            poster,
            space,
            flags: config.flags,
            recorded,
            now_ps: AtomicU64::new(0),
            devices,
            ports: Mutex::default(),
            blocks: Mutex::default(),
            pins: Mutex::default(),
        })
    }

    pub fn has(&self, flag: u32) -> bool {
        self.flags & flag != 0
    }

    pub fn now_ps(&self) -> u64 {
        self.now_ps.load(Ordering::Relaxed)
    }

    pub fn allocate(&self, bytes: usize, align: usize) -> Result<usize, Error> {
        lock(&self.blocks).allocate(&self.space, bytes, align)
    }

    pub fn free(&self, address: usize) -> Result<(), Error> {
        lock(&self.blocks).free(&self.space, address)
    }

    /// Whole pages that hold `bytes` at an address.
    pub fn pages_around(&self, address: usize, bytes: usize) -> Result<AddressRange, Error> {
        let start = address & !(PAGE - 1);
        let end = address.checked_add(bytes.max(1)).and_then(|end| end.checked_next_multiple_of(PAGE));
        let range = end.and_then(|end| AddressRange::new(start, end - start).ok());
        range.ok_or_else(|| Error::new(BF_E_RANGE, format!("no {bytes} bytes of memory at {address:#x}")))
    }

    pub fn prefetch(&self, range: AddressRange, to: Option<NodeId>) -> Result<(), Error> {
        let side = to.map_or(Side::Ram, Side::Device);
        self.space.prefetch(range, side).map_err(|why| of_failure(why, &place(range)))
    }

    pub fn advise(&self, range: AddressRange, advice: Advice) -> Result<(), Error> {
        self.space.advise(range, advice).map_err(|why| of_failure(why, &place(range)))
    }

    pub fn pin(&self, range: AddressRange) -> Result<(), Error> {
        let pinned = self.space.pin(range).map_err(|why| of_failure(why, &place(range)))?;
        *lock(&self.pins).entry((range.start(), range.end())).or_default() += 1;
        pinned.keep();
        Ok(())
    }

    pub fn unpin(&self, range: AddressRange) -> Result<(), Error> {
        let key = (range.start(), range.end());
        let mut pins = lock(&self.pins);
        let Some(count) = pins.get_mut(&key) else {
            return Err(Error::new(BF_E_RANGE, format!("{} was not pinned as a whole", place(range))));
        };
        *count -= 1;
        if *count == 0 {
            pins.remove(&key);
        }
        self.space.engine().unpin(range.start()..range.end());
        Ok(())
    }

    /// How often the page that holds an address is pinned.
    pub fn pins_of(&self, address: usize) -> u32 {
        let pins = lock(&self.pins);
        pins.iter()
            .filter(|((start, end), _)| (*start..*end).contains(&address))
            .map(|(_, count)| count)
            .sum()
    }

    /// Ends the recording, if there is one. The trace says then how much memory devices had.
    pub fn end_trace(&self) -> Result<(), Error> {
        let engine = self.space.engine();
        let pages = |node: u8| engine.node(NodeId(node)).capabilities().pages;
        let devices: Vec<u64> = lock(&self.devices).keys().map(|node| pages(*node)).collect();
        let memory = devices.iter().max().map_or(0, |pages| pages * PAGE as u64);
        self.recorded.end(vec![("device_memory", memory.to_string()), ("devices", devices.len().to_string())])
    }

    pub fn detach_all(&self, patience: Duration) -> Result<(), Error> {
        Ok(self.space.engine().detach(patience)?)
    }
}

fn place(range: AddressRange) -> String {
    format!("{:#x} to {:#x}", range.start(), range.end())
}
