//! Remote mappings: pages of system memory that a device uses where they are.
//!
//! ```text
//!   fault of the device --policy: stay--> entry in its page table, good for so many accesses --> fault again
//!                                           |
//!   the page moves, is discarded or gets other rights: the entry is removed first
//! ```
//!
//! The bytes are in system memory all the time, so nothing of the block changes, and no transaction is needed.

use std::ops::Range;

use bifolio_folio::Order;
use bifolio_migrate::{AlignedRun, CpuFaultOrders, PageRun, PageSet, Rights, Transaction};

use crate::blocks::{BlockRef, BlockState};
use crate::device::{DeviceError, TableUpdate};
use crate::engine::Engine;
use crate::event::{Cause, EventKind};
use crate::node::Node;
use crate::request::Request;
use crate::view::{CpuView, address_of};

/// How much is mapped remotely, and for how long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Remote {
    /// The largest aligned run around the page.
    pub(crate) order: Order,
    /// How many accesses each page is good for.
    pub(crate) uses: u32,
}

impl<V: CpuView> Engine<V> {
    /// Lets a device use the page at `address`, and pages around it, where they are. Returns the addresses; `None` if that
    /// is impossible, as for pages on a device.
    pub(crate) fn map_remote(
        &self,
        node: &Node,
        address: usize,
        remote: Remote,
        access: Rights,
    ) -> Option<Range<usize>> {
        let found = self.blocks.find(address)?;
        let page = found.page_of(address);
        let mut cell = self.lock(&found);
        let (block, able) = (&cell.block, node.capabilities().remote && !node.pagemap().is_dead());
        if !able || !block.live().contains(page) || !block.rights_of(page).contains(access) {
            return None;
        }
        if block.device().contains(page) {
            return None;
        }
        if !block.ram().contains(page) {
            let orders = CpuFaultOrders { to_ram: remote.order, populate: remote.order };
            let zeros = Transaction::cpu_fault(block, page, orders);
            self.run(&found, &mut cell, zeros, Request::new(Cause::DeviceFault)).ok()?;
        }
        let fits =
            |run: &AlignedRun| cell.block.ram().contains_all(*run) && cell.block.has_one_protection(*run);
        let run = remote
            .order
            .min(Order::PMD)
            .descending()
            .map(|order| AlignedRun::around(page, order))
            .find(fits)?;
        let (address, rights) =
            (address_of(found.base, run.first()), cell.block.rights_in(run) & node.rights());
        node.update(&[TableUpdate::MapRemote { address, order: run.order(), rights, uses: remote.uses }])
            .ok()?;
        cell.remote.insert(run);
        let (order, uses) = (run.order(), remote.uses);
        self.observers.tell(None, || EventKind::MappedRemotely { node: node.id(), address, order, uses });
        Some(found.addresses_of(run.into()))
    }

    /// Whether the page at `address` is one that a device could use where it is: then its uses have run out.
    pub(crate) fn was_remote(&self, address: usize) -> bool {
        let found = self.blocks.find(address);
        found.is_some_and(|found| self.lock(&found).remote.contains(found.page_of(address)))
    }

    /// Takes all remote mappings away. None is made afterwards for devices that were killed before.
    pub(crate) fn revoke_all_remote(&self) {
        for found in self.blocks.made() {
            self.revoke_remote(&found, &mut self.lock(&found), PageRun::BLOCK);
        }
    }

    /// Takes the remote mappings of pages away: on return no device uses them where they are.
    pub(crate) fn revoke_remote(&self, found: &BlockRef<'_>, cell: &mut BlockState, run: PageRun) {
        if !cell.remote.intersects(run) {
            return;
        }
        let mut pages = PageSet::EMPTY;
        cell.remote.runs(run).for_each(|part| pages.insert(part));
        cell.remote.remove(run);
        let unmap = |run: AlignedRun| TableUpdate::UnmapRemote {
            address: address_of(found.base, run.first()),
            order: run.order(),
        };
        let batch: Vec<TableUpdate> = pages.aligned_runs(Order::PMD).map(unmap).collect();
        for node in self.nodes.iter().filter(|node| node.capabilities().remote) {
            // A device that is lost uses nothing any more.
            let _: Result<(), DeviceError> = node.update(&batch);
        }
    }
}
