//! How much memory of which kind a job gets, and whether it can work with that.

use std::num::NonZeroUsize;

use bifolio_demo::graph::Graph;
use bifolio_demo::{layout, personal};
use bifolio_folio::{MemoryKind, Order, PAGE_SIZE, Reset};
use bifolio_host::{PoolName, SpaceConfig};
use bifolio_policy::PolicyName;
use bifolio_sys::host::Host;

use crate::args::{JobArgs, Memory};
use crate::figures::bytes;

/// The memory of a job; all sizes in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// What the graph takes in shared memory.
    pub data: u64,
    /// Device memory.
    pub vram: u64,
    /// System memory that the data may use at once.
    pub ram: Option<u64>,
    /// Buffer objects beside the data.
    pub buffers: u64,
    /// Whether the CPU maps device memory.
    pub kind: MemoryKind,
    /// What hands out device memory.
    pub pool: PoolName,
    /// What moves, how much of it, and what leaves.
    pub policy: PolicyName,
    /// When the words of folios that ended are made clean.
    pub reset: Reset,
    /// Devices.
    pub devices: NonZeroUsize,
    /// Threads of each device.
    pub units: NonZeroUsize,
    /// Whether every transaction is followed by a check.
    pub checked: bool,
}

/// Why the job cannot work with the memory it was given.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// Not every unit could have a folio of its own.
    #[error(
        "--vram of {} is too little: each of {units} units needs a folio of {}; \
         give at least {}, or fewer --units", bytes(*.vram), bytes(*.folio), bytes(*.least)
    )]
    Vram {
        /// What was asked.
        vram: u64,
        /// Threads of the device.
        units: usize,
        /// Smallest folio.
        folio: u64,
        /// What would do.
        least: u64,
    },
    /// Not every handler and unit could have a page.
    #[error("--ram of {} is too little: give at least {}, or leave it out", bytes(*.ram), bytes(*.least))]
    Ram {
        /// What was asked.
        ram: u64,
        /// What would do.
        least: u64,
    },
    /// The data fits nowhere.
    #[error(
        "--ram of {} and --vram of {} are too little together: data and buffer objects of {} need {} more, \
         so that folios can move; give {} of --ram, or leave it out",
        bytes(*.ram), bytes(*.vram), bytes(*.kept), bytes(*.moving), bytes(*.least)
    )]
    Both {
        /// System memory asked for.
        ram: u64,
        /// Device memory asked for.
        vram: u64,
        /// What the graph and the buffer objects take.
        kept: u64,
        /// What folios on their way take.
        moving: u64,
        /// System memory that would do.
        least: u64,
    },
    /// More than there is.
    #[error("{name} of {} is more than the {} of memory that this machine has", bytes(*.asked), bytes(*.limit))]
    Machine {
        /// The argument.
        name: &'static str,
        /// What was asked.
        asked: u64,
        /// What there is.
        limit: u64,
    },
}

/// Each handler and each unit may need a page at the same time.
const RAM_LEAST: u64 = 64 << 10;
/// What must be free beside the data so that pages can go back and forth, whatever their folios' order.
const ROOM_TO_MOVE: u64 = 64 << 10;
/// The part of either memory that folios on their way may take: four folios, of which there is room for sixteen.
const ON_THE_WAY: u64 = 4;
/// Address space for the alignment of allocations.
const SPACE_SLACK: u64 = 32 << 20;

impl Plan {
    /// Works out the sizes for a graph, with so many nodes whose neighbourhoods are ranked.
    ///
    /// # Errors
    ///
    /// If the job cannot work with them.
    pub fn resolve(args: &JobArgs, graph: &Graph, sources: usize) -> Result<Self, PlanError> {
        let data = (layout::bytes_needed(graph) + personal::bytes_needed(graph, sources)) as u64;
        let plan = Self {
            data,
            vram: whole_pages(args.vram.of(data)),
            ram: args.ram.map(|ram| whole_pages(ram.of(data))),
            buffers: args.buffers.map_or(0, |buffers| whole_pages(buffers.of(data))),
            kind: args.memory.map_or(args.pool.memory(), Memory::kind),
            pool: args.pool,
            policy: args.policy,
            reset: args.reset,
            devices: args.devices,
            units: args.units,
            checked: args.checked,
        };
        plan.check(Host::read().ram_bytes)?;
        Ok(plan)
    }

    fn check(&self, machine: u64) -> Result<(), PlanError> {
        self.check_machine("--vram", self.vram.saturating_mul(self.devices.get() as u64), machine)?;
        self.check_vram()?;
        self.check_machine("--buffers", self.buffers, machine)?;
        self.ram.map_or(Ok(()), |ram| self.check_ram(ram, machine))
    }

    fn check_machine(&self, name: &'static str, asked: u64, limit: u64) -> Result<(), PlanError> {
        if asked > limit { Err(PlanError::Machine { name, asked, limit }) } else { Ok(()) }
    }

    fn check_vram(&self) -> Result<(), PlanError> {
        let (vram, units, folio) = (self.vram, self.units.get(), self.smallest_folio());
        let least = folio * units as u64;
        if vram < least { Err(PlanError::Vram { vram, units, folio, least }) } else { Ok(()) }
    }

    fn check_ram(&self, ram: u64, machine: u64) -> Result<(), PlanError> {
        let Self { vram, buffers, .. } = *self;
        let kept = self.kept();
        if ram >= kept {
            return self.check_machine("--ram", ram, machine);
        }
        // Buffer objects count against the limit wherever they are.
        if ram < RAM_LEAST + buffers {
            return Err(PlanError::Ram { ram, least: kept.min(RAM_LEAST + buffers) });
        }
        let moving = |most: u64| ROOM_TO_MOVE + most / ON_THE_WAY;
        if ram + vram < kept + moving(vram.min(ram)) {
            // Whole MiB, so that the message can be typed back.
            let least = (kept + moving(vram)).saturating_sub(vram).min(kept).next_multiple_of(1 << 20);
            return Err(PlanError::Both { ram, vram, kept, moving: moving(vram.min(ram)), least });
        }
        self.check_machine("--ram", ram, machine)
    }

    /// Bytes that are kept in either memory.
    fn kept(&self) -> u64 {
        self.data + self.buffers
    }

    fn smallest_folio(&self) -> u64 {
        match self.kind {
            MemoryKind::Private => PAGE_SIZE,
            MemoryKind::Coherent => Order::K64.pages() * PAGE_SIZE,
        }
    }

    /// Returns the name of the kind of device memory.
    pub fn kind_name(&self) -> &'static str {
        match self.kind {
            MemoryKind::Private => "private",
            MemoryKind::Coherent => "coherent",
        }
    }

    /// Returns what a trace says about it.
    pub fn notes(&self) -> Vec<(&'static str, String)> {
        let mut notes = vec![
            ("data", self.data.to_string()),
            ("devices", self.devices.to_string()),
            ("device_memory", self.vram.to_string()),
            ("device_memory_kind", self.kind_name().to_owned()),
            ("units", self.units.to_string()),
            ("pool", self.pool.to_string()),
            ("checked", self.checked.to_string()),
        ];
        notes.extend(self.ram.map(|ram| ("system_memory", ram.to_string())));
        notes
    }

    /// Returns the plan as a space takes it, but for its policy.
    pub fn space(&self) -> SpaceConfig {
        let usize_of = |bytes| usize::try_from(bytes).expect("amounts fit 64-bit addresses");
        SpaceConfig {
            // A limit that has room for everything is none.
            ram: self.ram.filter(|ram| *ram < self.kept()).map(usize_of),
            kind: self.kind,
            pool: self.pool,
            reset: self.reset,
            devices: self.devices,
            units: self.units,
            checked: self.checked,
            ..SpaceConfig::new(usize_of(self.kept() * 2 + SPACE_SLACK), usize_of(self.vram))
        }
    }
}

fn whole_pages(bytes: u64) -> u64 {
    bytes.next_multiple_of(PAGE_SIZE)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MACHINE: u64 = 1 << 34;

    fn plan(vram: u64, ram: Option<u64>) -> Plan {
        let units = NonZeroUsize::new(2).expect("two");
        Plan {
            data: 12 << 20,
            vram,
            ram,
            buffers: 0,
            kind: MemoryKind::Private,
            pool: PoolName::Buddy,
            policy: PolicyName::default(),
            reset: Reset::OnFree,
            devices: NonZeroUsize::MIN,
            units,
            checked: false,
        }
    }

    #[test]
    fn a_folio_for_each_unit_is_enough_device_memory() {
        assert_eq!(plan(8 << 10, None).check(MACHINE), Ok(()));
        let refused = plan(4 << 10, None).check(MACHINE);
        assert_eq!(refused, Err(PlanError::Vram { vram: 4096, units: 2, folio: 4096, least: 8192 }));
    }

    #[test]
    fn coherent_units_need_larger_folios() {
        let coherent = Plan { kind: MemoryKind::Coherent, ..plan(64 << 10, None) };
        let refused = coherent.check(MACHINE);
        assert!(matches!(refused, Err(PlanError::Vram { folio: 65_536, least: 131_072, .. })), "{refused:?}");
    }

    #[test]
    fn what_an_error_recommends_is_accepted() {
        for (vram, buffers) in
            [(8 << 10, 0), (1 << 20, 0), (4 << 20, 0), (11 << 20, 0), (12 << 20, 0), (4 << 20, 9 << 20)]
        {
            let plan = |ram| Plan { buffers, ..plan(vram, Some(ram)) };
            let refused = plan(RAM_LEAST + buffers).check(MACHINE);
            let Err(PlanError::Both { least, .. }) = refused else {
                panic!("accepted at {vram}: {refused:?}")
            };
            assert_eq!(plan(least).check(MACHINE), Ok(()), "at {vram}");
        }
    }

    #[test]
    fn buffers_need_system_memory_to_be_evicted_to() {
        let plan = Plan { buffers: 1 << 20, ..plan(4 << 20, Some(1 << 20)) };
        let least = (1 << 20) + RAM_LEAST;
        assert_eq!(plan.check(MACHINE), Err(PlanError::Ram { ram: 1 << 20, least }));
    }

    #[test]
    fn limit_with_room_for_everything_is_accepted_and_is_none() {
        for (vram, data) in [(8 << 10, 12 << 20), (8 << 10, 28 << 10), (4 << 20, 12 << 20)] {
            let plan = Plan { data, ..plan(vram, Some(data)) };
            assert_eq!((plan.check(MACHINE), plan.space().ram), (Ok(()), None), "{data} and {vram}");
        }
        let tight = plan(12 << 20, Some(4 << 20));
        assert_eq!((tight.check(MACHINE), tight.space().ram), (Ok(()), Some(4 << 20)));
    }

    #[test]
    fn more_than_the_machine_has_is_refused_by_name() {
        let limit = 1 << 20;
        let refused = plan(2 << 20, None).check(limit);
        assert_eq!(refused, Err(PlanError::Machine { name: "--vram", asked: 2 << 20, limit }));
    }
}
