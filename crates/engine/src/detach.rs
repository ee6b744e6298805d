//! Taking the device away while its memory is in use: kill, evict, drain, finish.
//!
//! ```text
//!  kill     no folio is formed from here on (I16); device faults that need one get an error
//!   |
//!  evict    every folio and buffer object comes home, beyond the limit of system memory if need be --Failed--> the rest stays put
//!   |
//!  drain    wait until no device page is live --time is up--> folios are still held: say which
//!   |
//!  finish   what died goes back to the pool, and what the pool kept to the device
//! ```
//!
//! Each step may be repeated: after a failure all bytes are readable through the CPU, and [`Engine::detach`] goes on
//! where it stopped. A folio with references outside of the engine comes home like the others; what stays
//! behind is its device pages, whose bytes no address needs.

use std::fmt;
use std::time::{Duration, Instant};

use bifolio_folio::{FolioView, Order, Pfn};
use bifolio_migrate::{AlignedRun, Failure, Finished, Moved, NodeId, PageRun, Transaction};

use crate::blocks::BlockRef;
use crate::engine::{Engine, address, lock};
use crate::event::{Cause, EventKind};
use crate::node::Node;
use crate::reclaim::EvictionStats;
use crate::request::Request;
use crate::retry::Retry;
use crate::view::CpuView;

/// Why the device could not be taken away. Nothing is lost, and it may be tried again.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DetachError {
    /// Bytes could not be brought home.
    #[error(transparent)]
    Stuck(#[from] Stuck),
    /// All folios are home, but the device uses buffer objects.
    #[error(transparent)]
    StillPinned(#[from] StillPinned),
    /// All bytes are home, but folios are still held (I16).
    #[error(transparent)]
    StillHeld(#[from] StillHeld),
}

/// Buffer objects that stay on the device, since they are pinned or cannot be copied.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{pages} device pages belong to buffer objects that are still pinned or cannot be copied")]
pub struct StillPinned {
    /// Their pages.
    pub pages: u64,
}

/// Folios that could not be brought home: their bytes are still on the device, where a CPU fault finds them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{pages} pages cannot be brought home from the device; the first, at {address:#x}: {why:?}")]
pub struct Stuck {
    /// Pages that are still on the device.
    pub pages: u64,
    /// Address of the first page of the first folio that was refused.
    pub address: usize,
    /// Why it was refused.
    pub why: Failure,
}

/// Folios that live although no memory of the engine is on them: there are references outside of the engine.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{pages} device pages are still held by others: {}", Listed(folios))]
pub struct StillHeld {
    /// Device pages in these folios.
    pub pages: u64,
    /// The folios.
    pub folios: Vec<Held>,
}

/// A folio with references outside of the engine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Held {
    /// First device page.
    pub first: Pfn,
    /// Order.
    pub order: Order,
    /// References, all of them outside of the engine.
    pub references: u32,
}

/// Folios that an error's text names; the others are only counted.
const NAMED: usize = 4;

struct Listed<'h>(&'h [Held]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, held) in self.0.iter().take(NAMED).enumerate() {
            let comma = if number > 0 { ", " } else { "" };
            let Held { first, order, references } = held;
            write!(f, "{comma}folio of order {order} at page {first} ({references} references)")?;
        }
        match self.0.len().saturating_sub(NAMED) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

impl<V: CpuView> Engine<V> {
    /// Takes all devices away, one after the other: see [`Engine::detach_node`].
    ///
    /// # Errors
    /// As [`Engine::detach_node`]; the devices after the one that failed are killed all the same.
    pub fn detach(&self, patience: Duration) -> Result<(), DetachError> {
        self.nodes.iter().for_each(|node| self.kill(node));
        self.nodes.iter().try_for_each(|node| self.detach_node(node.id(), patience))
    }

    /// Takes a device away: no folio is formed there from here on, every folio comes home, and none of its pages is live
    /// in the end. Waits up to `patience` for others that hold folios.
    ///
    /// Meanwhile and afterwards the CPU reads and writes as always; without any device left, system memory has no limit
    /// any more. A device access that needs a page brought gets
    /// [`DeviceFault::Detached`](crate::device::DeviceFault::Detached).
    ///
    /// # Errors
    /// [`DetachError`]: no byte is lost, device faults stay refused, and calling this again goes on.
    pub fn detach_node(&self, node: NodeId, patience: Duration) -> Result<(), DetachError> {
        let node = self.node(node);
        self.kill(node);
        self.revoke_all_remote();
        self.evict_from(Some(node.id()))?;
        self.evict_all_buffers(node, patience)?;
        self.drain(node, patience)?;
        Ok(())
    }

    fn kill(&self, node: &Node) {
        node.pagemap().kill();
        self.observers.tell(None, || EventKind::Killed { node: node.id() });
    }

    /// Brings every folio home, beyond the limit of system memory if need be. Where device faults go on meanwhile,
    /// some may have been formed anew on return.
    ///
    /// # Errors
    /// If any folio cannot come home; all others were brought all the same.
    pub fn evict_all(&self) -> Result<(), Stuck> {
        self.evict_from(None)
    }

    /// Brings every folio of one device, or of all, home.
    fn evict_from(&self, node: Option<NodeId>) -> Result<(), Stuck> {
        let request = Request::must_succeed(Cause::Detach);
        let mut first = None;
        for found in self.blocks.made() {
            if let Err((page, why)) = self.bring_run(node, found, PageRun::BLOCK, request) {
                first.get_or_insert((address(&found, page), why));
            }
        }
        let Some((address, why)) = first else { return Ok(()) };
        let pages = self.blocks.made().map(|found| self.pages_on(node, &found)).sum();
        Err(Stuck { pages, address, why })
    }

    fn pages_on(&self, node: Option<NodeId>, found: &BlockRef<'_>) -> u64 {
        let cell = self.lock(found);
        let on_it = cell.block.pieces().iter().filter(|piece| node.is_none_or(|node| node == piece.node));
        on_it.map(|piece| u64::from(piece.run.pages())).sum()
    }

    /// Brings the folios of one device, or of all, that hold pages of `run` home, one after the other; one that cannot
    /// come does not keep the others.
    ///
    /// # Errors
    /// The first page of the first folio that could not come, and why.
    fn bring_run(
        &self,
        node: Option<NodeId>,
        found: BlockRef<'_>,
        run: PageRun,
        request: Request<'_>,
    ) -> Result<(), (u16, Failure)> {
        let (mut at, mut first) = (run.first(), Ok(()));
        while let Some(rest) = run.from_page(at) {
            let Some(run) = self.first_run_on(node, &found, rest) else { break };
            let (page, end) = (run.first(), run.end());
            at = match self.run_retrying(request, found, |_| Transaction::to_ram(page)) {
                // Without memory for the whole folio, a part of it came.
                Ok(Finished { moved: Moved::ToRam(part) | Moved::AlreadyThere(part), .. }) => part.end(),
                Ok(_) => end,
                Err(why) => {
                    first = first.and(Err((page, why)));
                    end
                }
            };
        }
        first
    }

    /// The pages of the first folio of one device, or of all, that holds pages of `run`.
    fn first_run_on(&self, node: Option<NodeId>, found: &BlockRef<'_>, run: PageRun) -> Option<AlignedRun> {
        let cell = self.lock(found);
        let mut pieces = cell.block.pieces_in(run);
        pieces.find(|piece| node.is_none_or(|node| node == piece.node)).map(|piece| piece.run)
    }

    /// Brings every buffer object of a device to system memory, where it stays. Waits for those that are pinned.
    fn evict_all_buffers(&self, node: &Node, patience: Duration) -> Result<(), StillPinned> {
        // Buffers that are made later learn that there is no device.
        node.buffers.wait_for_memory();
        let (start, mut retry) = (Instant::now(), Retry::new(0));
        loop {
            let objects = lock(&node.residents).all_buffers();
            for (_, object) in objects {
                let _change = node.buffers.change();
                // What stays is counted below.
                let _: (EvictionStats, Option<Pfn>) = self.evict_buffer(&object);
            }
            let pages = lock(&node.residents).all_buffers().iter().map(|(pages, _)| pages).sum();
            if pages > 0 && start.elapsed() >= patience {
                return Err(StillPinned { pages });
            }
            if pages == 0 {
                return Ok(());
            }
            retry.pause();
        }
    }

    /// Waits until no page of a device is live.
    fn drain(&self, node: &Node, patience: Duration) -> Result<(), StillHeld> {
        let (start, mut retry) = (Instant::now(), Retry::new(0));
        while !node.pagemap().is_drained() {
            if start.elapsed() >= patience {
                return Err(still_held(node));
            }
            retry.pause();
        }
        node.pool().release();
        node.pool().close();
        Ok(())
    }
}

fn still_held(node: &Node) -> StillHeld {
    let held = |view: FolioView| Held { first: view.head, order: view.order, references: view.references };
    let folios: Vec<Held> = node.pagemap().folios().map(held).collect();
    StillHeld { pages: folios.iter().map(|held| held.order.pages()).sum(), folios }
}
