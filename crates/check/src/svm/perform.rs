//! What each step of a transaction does to the world.

use bifolio_folio::{Folio as Handle, FreeRange, Live, Order, PageMap, Pfn};
use bifolio_svm::step::Folio;
use bifolio_svm::{Block, Handle as Place, Outcome, Run, Span, Step};

use crate::bifolio::ledger::Ledger;
use crate::bifolio::state::block;
use crate::svm::state::{BLOCK_PAGES, GARBAGE, State, View, Virtual};
use bifolio_rules::RuleSet;
use bifolio_rules::facts::{self, HandedOut, Pages};

/// How a step is made to go.
pub(super) mod how {
    /// As well as it can.
    pub const WELL: u8 = 0;
    /// It fails, in the first way it may.
    pub const FAILING: u8 = 1;
    /// It fails in the other way, or is left for later.
    pub const OTHERWISE: u8 = 2;
}

#[cfg_attr(not(test), expect(dead_code, reason = "only tests choose a fault"))]
/// One deliberate fault of a runner, chosen by tests only, to see that the checker finds it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Slip {
    #[default]
    None,
    TakeOutLeavesView,
    RestoreForgotten,
    CopyToDeviceForgotten,
    ClearForgotten,
    CopyToRamForgotten,
    UnmapDeviceForgotten,
    UnmapCoherentForgotten,
    ReleaseFolioForgotten,
    ReleaseRamForgotten,
    DiscardForgotten,
    SplitForgotten,
    MapDeviceForgotten,
    InstallForgotten,
}

impl Slip {
    /// Whether the runner says that it did the step, and did not.
    fn skips(self, step: &Step) -> bool {
        matches!(
            (self, step),
            (Slip::TakeOutLeavesView, Step::TakeOut { .. })
                | (Slip::RestoreForgotten, Step::Restore { .. })
                | (Slip::CopyToDeviceForgotten, Step::CopyToDevice { .. })
                | (Slip::ClearForgotten, Step::ClearDevice { .. })
                | (Slip::CopyToRamForgotten, Step::CopyToRam { .. })
                | (Slip::UnmapDeviceForgotten, Step::UnmapDevice { .. })
                | (Slip::UnmapCoherentForgotten, Step::UnmapCoherent { .. })
                | (Slip::ReleaseFolioForgotten, Step::ReleaseFolio { .. })
                | (Slip::ReleaseRamForgotten, Step::ReleaseRam { .. })
                | (Slip::DiscardForgotten, Step::Discard { .. })
                | (Slip::MapDeviceForgotten, Step::MapDevice { .. })
                | (Slip::InstallForgotten, Step::Install { .. })
        )
    }
}

/// In how many ways a step may go.
pub(super) fn ways(step: &Step) -> u8 {
    match step {
        Step::ReleaseFolio { .. }
        | Step::ReleaseRam { .. }
        | Step::Restore { .. }
        | Step::UnmapDevice { .. }
        | Step::Finish(_) => 1,
        Step::ReclaimDevice { .. } | Step::ReclaimRam { .. } | Step::Install { wanted: None, .. } => 3,
        _ => 2,
    }
}

/// Does steps on a state whose words are in the pagemap.
pub(super) struct Performer<'w> {
    pub map: &'w PageMap<Ledger>,
    pub state: State,
    /// The block that the transaction works on, before the step.
    pub place: &'w Block,
    pub base: usize,
    pub ram_limit: u8,
    pub slip: Slip,
    pub broken: RuleSet,
}

impl<'w> Performer<'w> {
    pub(super) fn perform(&mut self, step: Step, way: u8) -> Outcome {
        if way != how::WELL {
            return self.not_well(step, way);
        }
        if self.slip.skips(&step) {
            return Outcome::Done;
        }
        if let (Slip::SplitForgotten, Step::SplitFolio { folio }) = (self.slip, step) {
            return Outcome::Split { upper: folio.handle };
        }
        match step {
            Step::FormFolio { span } => self.form(span.order()),
            Step::ReclaimDevice { .. } | Step::ReclaimRam { .. } => Outcome::Done,
            Step::ReleaseFolio { folio } => self.release(folio),
            Step::SplitFolio { folio } => self.split(folio),
            Step::ReserveRam { span } => self.reserve(span),
            Step::ReleaseRam { span, pages } => self.release_ram(span, pages),
            Step::TakeOut { span } => self.in_ram(span, |page| (page.cpu, page.taken) = (View::Fault, true)),
            Step::Restore { span } => self.in_ram(span, |page| (page.cpu, page.taken) = (View::Ram, false)),
            Step::Install { span, .. } => self.each(span.run(), |_, page| show(page)),
            Step::InstallZero { span } => self.each(span.run(), |_, page| {
                page.ram = Some(0);
                show(page);
            }),
            Step::CopyToDevice { run, to } => self.fill(run, to, |page| page.ram.unwrap_or(GARBAGE)),
            Step::ClearDevice { run, to } => self.fill(run, to, |_| 0),
            Step::CopyToRam { span, from } => self.copy_to_ram(span, from),
            Step::MapDevice { span, to } => self.map_device(span, to),
            Step::UnmapDevice { span } => self.each(span.run(), |_, page| page.table = None),
            Step::MapCoherent { span, to } => {
                let first = low(to);
                self.each(span.run(), |offset, page| page.cpu = View::Device(first + offset))
            }
            Step::UnmapCoherent { span } => self.each(span.run(), |_, page| page.cpu = View::Fault),
            Step::Discard { run } => self.discard(run),
            Step::Finish(_) => unreachable!("nothing is to be done"),
        }
    }

    fn not_well(&mut self, step: Step, way: u8) -> Outcome {
        match step {
            Step::FormFolio { .. } | Step::ReserveRam { .. } => Outcome::NoMemory,
            Step::ReclaimDevice { .. } | Step::ReclaimRam { .. } if way == how::FAILING => Outcome::NoMemory,
            // Left to the next touch: bytes are there, the program does not see them yet.
            Step::Install { span, .. } if way == how::OTHERWISE => {
                self.each(span.run(), |_, page| page.taken = false)
            }
            Step::ReclaimDevice { .. }
            | Step::ReclaimRam { .. }
            | Step::SplitFolio { .. }
            | Step::TakeOut { .. } => Outcome::Busy,
            _ => Outcome::Failed,
        }
    }

    fn page(&mut self, number: u16) -> Option<&mut Virtual> {
        let number = usize::from(number);
        if number >= BLOCK_PAGES {
            return None;
        }
        self.state.pages.get_mut(self.base + number)
    }

    fn each(&mut self, run: Run, mut change: impl FnMut(u8, &mut Virtual)) -> Outcome {
        for (offset, number) in (0u8..).zip(run.first..run.end()) {
            if let Some(page) = self.page(number) {
                change(offset, page);
            }
        }
        Outcome::Done
    }

    fn in_ram(&mut self, span: Span, change: impl Fn(&mut Virtual)) -> Outcome {
        let runs: Vec<Run> = self.place.ram().runs(span.run()).collect();
        runs.into_iter().for_each(|run| {
            self.each(run, |_, page| change(page));
        });
        Outcome::Done
    }

    fn form(&mut self, order: Order) -> Outcome {
        let ledger = self.map.pool();
        let (free, k) = (ledger.free.get(), order.get());
        let pages = u8::try_from(self.map.pages()).unwrap_or(0);
        let mut starts = (0..pages).step_by(1 << k.min(7));
        let Some(page) = starts.find(|&page| k < 3 && free & block(page, k) == block(page, k)) else {
            return Outcome::NoMemory;
        };
        ledger.allocate(page, k);
        let pfn = Pfn::new(u64::from(page));
        match self.map.form(FreeRange::claim(pfn, order), u32::from(page)) {
            Ok(folio) => {
                let _ = folio.unlock().into_raw();
                Outcome::Formed(Folio { pfn, order, handle: Place(u32::from(page)) })
            }
            Err(_) => {
                self.broken.require(false, 9);
                ledger.take_back(u32::from(page));
                Outcome::NoMemory
            }
        }
    }

    fn resume(&mut self, folio: Folio) -> Option<Handle<'w, Ledger, Live>> {
        let handle = self.map.resume::<Live>(folio.pfn, folio.order);
        self.broken.require(handle.is_some(), 17);
        handle
    }

    fn release(&mut self, folio: Folio) -> Outcome {
        drop(self.resume(folio));
        let first = usize::from(low(folio.pfn));
        let pages = 1 << folio.order.get();
        self.state.device[first..first + pages].fill(GARBAGE);
        Outcome::Done
    }

    fn split(&mut self, folio: Folio) -> Outcome {
        let (Some(handle), Some(half)) = (self.resume(folio), folio.order.smaller()) else {
            return Outcome::Busy;
        };
        let locked = match handle.try_lock() {
            Ok(locked) => locked,
            Err(handle) => {
                let _ = handle.into_raw();
                return Outcome::Busy;
            }
        };
        match locked.split(half) {
            Ok(pieces) => pieces.for_each(|piece| drop_raw(piece.unlock())),
            Err(error) => {
                drop_raw(error.folio.unlock());
                return Outcome::Busy;
            }
        }
        let upper = u32::from(low(folio.pfn)) + (1 << half.get());
        Outcome::Split { upper: Place(upper) }
    }

    fn reserve(&mut self, span: Span) -> Outcome {
        let pages = small(span.pages());
        if self.state.ram_used + pages > self.ram_limit {
            return Outcome::NoMemory;
        }
        self.state.ram_used += pages;
        Outcome::Done
    }

    fn release_ram(&mut self, span: Span, pages: u16) -> Outcome {
        self.broken.require(self.state.ram_used >= small(pages), 18);
        self.state.ram_used = self.state.ram_used.saturating_sub(small(pages));
        let mut in_view = false;
        let done = self.each(span.run(), |_, page| {
            in_view |= page.cpu == View::Ram;
            (page.ram, page.taken) = (None, false);
        });
        self.broken.require(!in_view, 27);
        done
    }

    fn fill(&mut self, run: Run, to: Pfn, value: impl Fn(&Virtual) -> u8) -> Outcome {
        for (device, number) in (usize::from(low(to))..).zip(run.first..run.end()) {
            let bytes = self.page(number).map(|page| value(page));
            if let (Some(bytes), Some(page)) = (bytes, self.state.device.get_mut(device)) {
                *page = bytes;
            }
        }
        Outcome::Done
    }

    fn copy_to_ram(&mut self, span: Span, from: Pfn) -> Outcome {
        let (device, first) = (self.state.device, low(from));
        self.each(span.run(), |offset, page| {
            page.ram = device.get(usize::from(first + offset)).copied();
            page.taken = true;
        })
    }

    fn map_device(&mut self, span: Span, to: Pfn) -> Outcome {
        let (first, mut said_clear) = (low(to), 0);
        let done = self.each(span.run(), |offset, page| {
            page.table = Some(first + offset);
            said_clear |= Pages::from(page.expected == Some(0)) << (first + offset);
        });
        let dirty = (0..16).zip(self.state.device).filter(|(_, bytes)| *bytes != 0);
        let holding = dirty.fold(0, |all: Pages, (page, _)| all | 1 << page);
        self.broken.require(facts::i22(&HandedOut { said_clear, holding }), 22);
        done
    }

    fn discard(&mut self, run: Run) -> Outcome {
        let mut used = 0;
        let done = self.each(run, |_, page| {
            used += u8::from(page.ram.is_some());
            *page = Virtual { table: page.table, ..Virtual::default() };
        });
        self.state.ram_used = self.state.ram_used.saturating_sub(used);
        done
    }
}

fn show(page: &mut Virtual) {
    (page.cpu, page.taken) = (View::Ram, false);
}

fn drop_raw(folio: Handle<'_, Ledger, Live>) {
    let _ = folio.into_raw();
}

fn low(pfn: Pfn) -> u8 {
    (pfn.get() & 7) as u8
}

fn small(pages: u16) -> u8 {
    u8::try_from(pages).unwrap_or(u8::MAX)
}
