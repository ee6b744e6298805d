//! Moving one folio to a device: form, isolate, copy, commit; then map.
//!
//! ```text
//!  on another device, or in pieces that may not travel? bring it to system memory (`to_ram`) --fail--> fail
//!   |
//!  form --NoMemory--> reclaim --> form --NoMemory--> one order down, form ... --> fail
//!   |  +--Detached--> fail +--Busy--> fail, to be tried again
//!  isolate --Busy--> release the folio, one order down, form ... --> fail
//!   |
//!  copy or clear, run by run --Failed--> remap, release the folio, fail
//!   |
//!  commit: from here on the bytes are the folio's
//!   |
//!  release system memory, map for the CPU (coherent), map for the device (after a device fault)
//! ```
//!
//! Mapping comes after the commit, so that a mapping that fails needs no undoing: the side that lacks it faults.
//!
//! Devices do not copy from each other. A folio on another one comes home first, whole or the part of it that may travel
//! at once; a failure after that leaves its bytes in system memory. So do folios on the same device that a split made
//! smaller than may travel, if the page is one that came home from among them.

use alloc::boxed::Box;

use bifolio_folio::{MemoryKind, Order};

use crate::step::{Failure, Finished, Moved, Outcome, Step, illegal};
use crate::to_ram::ToRam;
use crate::{AlignedRun, Block, Formed, NodeId, OrderRange, Piece, Rights};

/// Moves the largest possible aligned run around one page to a device.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct ToDevice {
    node: NodeId,
    page: u16,
    run: AlignedRun,
    smallest: Order,
    /// What the device wants to do with the page; empty if its page table is not to have it.
    access: Rights,
    formed: Option<Formed>,
    phase: Phase,
    fallbacks: u8,
    splits: u16,
    reclaimed: bool,
    /// How often a folio may still be brought home.
    homes_left: u16,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum Phase {
    Start,
    /// A folio is being brought home.
    Home(Box<ToRam>),
    /// The page is on the device; its page table gets it, or gives more rights to what it has.
    MapOnly {
        has_entry: bool,
    },
    UnmapFailed,
    Form,
    Reclaim,
    Isolate,
    ReleaseBusy,
    /// Pages before this one are copied once the running step is done.
    Copy(u16),
    Remap,
    ReleaseFailed,
    ReleaseRam,
    MapCoherent,
    MapDevice,
}

impl ToDevice {
    /// Plans to move `page` to `node`, with neighbours as far as `orders` allows. What the device wants to do with the page
    /// is in `access`; if that is nothing, its page table does not get them. It gets them with all rights that they have.
    #[must_use]
    pub fn new(node: NodeId, page: u16, orders: OrderRange, access: Rights) -> ToDevice {
        let OrderRange { largest, smallest } = orders;
        ToDevice {
            node,
            page,
            run: AlignedRun::around(page, largest.min(Order::PMD)),
            smallest: smallest.min(Order::PMD),
            access,
            formed: None,
            phase: Phase::Start,
            fallbacks: 0,
            splits: 0,
            reclaimed: false,
            homes_left: 1 << smallest.min(Order::PMD).get(),
        }
    }

    pub(crate) fn step(&mut self, block: &mut Block, outcome: Outcome) -> Step {
        use Outcome::{Busy, Detached, Done, Failed, NoMemory};
        match (&mut self.phase, outcome) {
            (Phase::Start, Outcome::Start) => self.start(block),
            (Phase::Home(home), outcome) => match home.step(block, outcome) {
                Step::Finish(result) => self.came_home(block, result),
                step => step,
            },
            (Phase::Form, Outcome::Formed(formed))
                if (formed.folio.node, formed.folio.order) == (self.node, self.run.order()) =>
            {
                self.formed(block, formed)
            }
            (Phase::Form, Detached) => fail(Failure::Detached),
            (Phase::Form, NoMemory) if !self.reclaimed => self.reclaim(),
            // Room was made, and another transaction took it.
            (Phase::Form, NoMemory) => self.smaller(Failure::Busy),
            (Phase::Reclaim, Done) => self.form(),
            (Phase::Reclaim, Busy) => fail(Failure::Busy),
            (Phase::Reclaim, NoMemory) => self.smaller(Failure::NoDeviceMemory),
            (Phase::Isolate, Done) => self.copy(block, self.run.first()),
            (Phase::Isolate, Busy) => self.release(Phase::ReleaseBusy),
            (Phase::ReleaseBusy, Done) => self.smaller(Failure::Busy),
            (&mut Phase::Copy(next), Done) => self.copy(block, next),
            (Phase::Copy(_), Failed) => self.undo(block),
            (Phase::Remap, Done) => self.release(Phase::ReleaseFailed),
            (Phase::ReleaseFailed, Done) => fail(Failure::CopyFailed),
            (Phase::ReleaseRam, Done) => self.map_coherent(block),
            // Without a mapping the CPU faults.
            (Phase::MapCoherent, Done | Failed) => self.map_device(block),
            (Phase::MapDevice, Done) => self.mapped(block, Moved::ToDevice(self.run)),
            (Phase::MapOnly { .. }, Done) => self.mapped(block, Moved::AlreadyThere(self.run)),
            (Phase::MapOnly { has_entry: true }, Failed) => {
                self.enter(Phase::UnmapFailed, Step::UnmapDevice { node: self.node, run: self.run })
            }
            (Phase::MapDevice | Phase::MapOnly { .. }, Failed) => fail(Failure::MapFailed),
            (Phase::UnmapFailed, Done) => {
                block.set_rights(self.run, Rights::empty());
                fail(Failure::MapFailed)
            }
            (phase, outcome) => illegal(phase, outcome),
        }
    }

    fn enter(&mut self, phase: Phase, step: Step) -> Step {
        self.phase = phase;
        step
    }

    fn start(&mut self, block: &mut Block) -> Step {
        if !block.live().contains(self.page) {
            return fail(Failure::NotMapped);
        }
        if !block.rights_of(self.page).contains(self.access) {
            return fail(Failure::Denied);
        }
        let least = AlignedRun::around(self.page, self.smallest);
        // Mostly nothing near the page is on any device, and then no piece is looked for.
        if block.device().intersects(least) {
            match self.piece_near(block, least) {
                Some(piece) if piece.run.contains(self.page) => {
                    if piece.node == self.node {
                        return self.already_there(block, &piece);
                    }
                    return self.bring_home(block, self.page);
                }
                Some(piece) => return self.bring_home(block, piece.run.first()),
                None => {}
            }
        }
        let mut runs = descending(self.page, self.run.order(), self.smallest);
        let can_go = |run: &AlignedRun| {
            block.is_off_device(*run) && !block.is_pinned(*run) && block.has_one_protection(*run)
        };
        match runs.find(can_go) {
            Some(run) => {
                self.run = run;
                self.form()
            }
            // A pinned neighbour keeps the page as well where folios cannot be smaller.
            None if block.is_pinned(least) => fail(Failure::Pinned),
            // Nor can folios carry different rights.
            None if !block.has_one_protection(least) => fail(Failure::Denied),
            None => fail(Failure::NoDeviceMemory),
        }
    }

    fn already_there(&mut self, block: &Block, piece: &Piece) -> Step {
        self.run = piece.run;
        if piece.rights.contains(self.access) {
            return self.finish(Moved::AlreadyThere(piece.run));
        }
        let (run, to, rights) = (piece.run, piece.page(), block.rights_in(piece.run));
        let has_entry = piece.is_mapped();
        let step = if has_entry {
            Step::RemapDevice { run, to, rights }
        } else {
            Step::MapDevice { run, to, rights }
        };
        self.enter(Phase::MapOnly { has_entry }, step)
    }

    /// The folio that holds the page, or else one that has to go home first, since it lies in the smallest run that can
    /// travel.
    fn piece_near(&self, block: &Block, least: AlignedRun) -> Option<Piece> {
        block.piece_of(self.page).or_else(|| block.pieces_in(least).next()).copied()
    }

    fn bring_home(&mut self, block: &mut Block, page: u16) -> Step {
        // Each time a page came home, if nothing else moves pages of this block meanwhile.
        let Some(left) = self.homes_left.checked_sub(1) else { return fail(Failure::Busy) };
        self.homes_left = left;
        let mut home = ToRam::new(page, self.run.order(), false);
        let first = home.step(block, Outcome::Start);
        self.enter(Phase::Home(Box::new(home)), first)
    }

    fn came_home(&mut self, block: &mut Block, result: Result<Finished, Failure>) -> Step {
        match result {
            Ok(finished) => {
                self.fallbacks += finished.fallbacks;
                self.splits += finished.splits;
                self.start(block)
            }
            Err(why) => fail(why),
        }
    }

    fn form(&mut self) -> Step {
        self.enter(Phase::Form, Step::FormFolio { node: self.node, run: self.run })
    }

    fn reclaim(&mut self) -> Step {
        self.reclaimed = true;
        self.enter(Phase::Reclaim, Step::ReclaimDevice { node: self.node, run: self.run })
    }

    /// Goes one order down around the page, or gives up with `why` (I19).
    fn smaller(&mut self, why: Failure) -> Step {
        match self.run.halves(self.page) {
            Some((run, _)) if run.order() >= self.smallest => {
                self.run = run;
                self.formed = None;
                self.fallbacks += 1;
                self.reclaimed = false;
                self.form()
            }
            _ => fail(why),
        }
    }

    fn formed(&mut self, block: &mut Block, formed: Formed) -> Step {
        self.formed = Some(formed);
        if block.ram().intersects(self.run) {
            return self.enter(Phase::Isolate, Step::Isolate { run: self.run });
        }
        self.copy(block, self.run.first())
    }

    /// Copies the next run of pages that are in system memory, or clears the next run of empty ones.
    fn copy(&mut self, block: &mut Block, mut next: u16) -> Step {
        let Formed { folio, cleared, .. } = self.folio();
        while let Some((run, in_ram)) = block.ram().run_at(next, self.run.end()) {
            let to = folio.page().plus(next - self.run.first());
            next = run.end();
            match (in_ram, cleared) {
                (true, _) => return self.enter(Phase::Copy(next), Step::CopyToDevice { run, to }),
                (false, false) => return self.enter(Phase::Copy(next), Step::ClearDevice { run, to }),
                (false, true) => {}
            }
        }
        self.commit(block)
    }

    fn undo(&mut self, block: &Block) -> Step {
        if block.ram().intersects(self.run) {
            return self.enter(Phase::Remap, Step::Remap { run: self.run });
        }
        self.release(Phase::ReleaseFailed)
    }

    fn release(&mut self, phase: Phase) -> Step {
        let Formed { folio, .. } = self.folio();
        self.enter(phase, Step::ReleaseFolio { folio })
    }

    fn commit(&mut self, block: &mut Block) -> Step {
        let pages = block.ram().count_in(self.run);
        block.commit_to_device(self.run, self.folio());
        if pages > 0 {
            return self.enter(Phase::ReleaseRam, Step::ReleaseRam { run: self.run, pages });
        }
        self.map_coherent(block)
    }

    fn map_coherent(&mut self, block: &Block) -> Step {
        let Formed { folio, kind, .. } = self.folio();
        if kind == MemoryKind::Coherent {
            let step = Step::MapCoherent { run: self.run, to: folio.page() };
            return self.enter(Phase::MapCoherent, step);
        }
        self.map_device(block)
    }

    fn map_device(&mut self, block: &Block) -> Step {
        if self.access.is_empty() {
            return self.finish(Moved::ToDevice(self.run));
        }
        let to = self.folio().folio.page();
        let rights = block.rights_in(self.run);
        self.enter(Phase::MapDevice, Step::MapDevice { run: self.run, to, rights })
    }

    fn mapped(&mut self, block: &mut Block, moved: Moved) -> Step {
        block.set_rights(self.run, block.rights_in(self.run));
        self.finish(moved)
    }

    fn folio(&self) -> Formed {
        self.formed.expect("phases after forming have a folio")
    }

    fn finish(&self, moved: Moved) -> Step {
        Step::Finish(Ok(Finished { moved, fallbacks: self.fallbacks, splits: self.splits }))
    }
}

fn fail(why: Failure) -> Step {
    Step::Finish(Err(why))
}

/// Runs around `page` from order `largest` down to `smallest`.
pub(crate) fn descending(page: u16, largest: Order, smallest: Order) -> impl Iterator<Item = AlignedRun> {
    largest.descending_to(smallest).map(move |order| AlignedRun::around(page, order))
}
