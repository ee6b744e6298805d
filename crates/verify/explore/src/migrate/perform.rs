//! [`Performer`]: what each step of a transaction does to the world, and what is judged of it at once.

use bifolio_folio::{CollapseErrorKind, MemoryKind, Pfn};
use bifolio_migrate::{AlignedRun, DevicePage, Folio, FolioId, Formed, NodeId, Outcome, PageRun, Step};
use bifolio_rules::judge;

use crate::migrate::action::Way;
use crate::migrate::folios::{self, Named};
use crate::migrate::mutate::Mutate;
use crate::migrate::performer::Performer;
use crate::migrate::setup::Memory;
use crate::migrate::state::{GARBAGE, View, Virtual};
use crate::migrate::transition_cache::Location;

/// The ways in which a step can go; none for making room, which is done by a transaction of its own.
pub(super) fn ways(step: &Step, memory: Memory, inner: bool) -> &'static [Way] {
    match step {
        Step::ReclaimDevice { .. } | Step::ReclaimRam { .. } if !inner => &[],
        Step::ReclaimDevice { .. }
        | Step::ReclaimRam { .. }
        | Step::ReleaseFolio { .. }
        | Step::ReleaseRam { .. }
        | Step::Remap { .. }
        | Step::UnmapDevice { .. }
        | Step::Finish(_) => &[Way::Done],
        Step::Install { .. } if inner && memory != Memory::Anonymous => &[Way::Done],
        Step::RemapDevice { .. } => &[Way::Done, Way::Fails, Way::FailsPartly],
        _ => &[Way::Done, Way::Fails],
    }
}

impl Performer<'_> {
    /// Does a step, in the way it is to go; returns what the machine is told.
    pub(super) fn perform(&mut self, mutation: &impl Mutate, step: Step, way: Way) -> Outcome {
        let before = self.state;
        let outcome = match way {
            Way::Done => mutation.instead(self, step).map_or(Outcome::Done, |step| self.act(step)),
            Way::Fails => refusal(&step),
            Way::FailsPartly => {
                if let Step::RemapDevice { run, .. } = step {
                    self.each(run, |_, page| page.table = None);
                }
                refusal(&step)
            }
        };
        let outcome = mutation.afterwards(&before, self, &step, outcome);
        if matches!(outcome, Outcome::Formed(_)) {
            self.broken.note(judge::i16_formed(before.teardown));
        }
        outcome
    }

    fn act(&mut self, step: Step) -> Outcome {
        self.judge_device_pages(&step);
        match step {
            Step::FormFolio { node, run } => self.form(node, run),
            Step::ReclaimDevice { .. } | Step::ReclaimRam { .. } => Outcome::NoMemory,
            Step::ReleaseFolio { folio } => self.release(folio),
            Step::SplitFolio { folio } => self.split(folio),
            Step::CollapseFolio { lower, upper } => self.collapse(lower, upper),
            Step::ReserveRam { run } => self.reserve(run),
            Step::ReleaseRam { run, pages } => self.release_ram(run, pages),
            Step::Isolate { run } => self.isolate(run),
            Step::Remap { run } => self.in_ram(run, show),
            Step::Install { run, .. } => self.install(run),
            Step::InstallZero { run } => self.each(run, |_, page| {
                page.ram = Some(0);
                show(page);
            }),
            Step::CopyToDevice { run, to } => self.fill(run, to.pfn, |page| page.ram.unwrap_or(GARBAGE)),
            Step::ClearDevice { run, to } => self.fill(run, to.pfn, |_| 0),
            Step::CopyToRam { run, from } => self.copy_to_ram(run, from.pfn),
            Step::MapDevice { run, to, .. } => self.map_device(run, to.pfn),
            Step::RemapDevice { run, to, .. } => self.remap_device(run, to.pfn),
            Step::UnmapDevice { run, .. } => self.unmap_device(run),
            Step::MapCoherent { run, to } => {
                let first = low(to.pfn);
                self.each(run, |offset, page| page.cpu = View::Device(first + offset))
            }
            Step::UnmapCoherent { run } => self.each(run, |_, page| page.cpu = View::Fault),
            Step::Discard { run } => self.discard(run),
            Step::Protect { .. } => unreachable!("no request of these worlds protects"),
            Step::Finish(_) => unreachable!("nothing is to be done"),
        }
    }

    /// Folio and span have one order (I14), and nothing beyond the folio and its backing is used (I21).
    fn judge_device_pages(&mut self, step: &Step) {
        let (DevicePage { pfn: to, .. }, pages, order) = match *step {
            Step::CopyToDevice { run, to } | Step::ClearDevice { run, to } => (to, run.pages(), None),
            Step::CopyToRam { run, from: to }
            | Step::MapDevice { run, to, .. }
            | Step::RemapDevice { run, to, .. }
            | Step::MapCoherent { run, to } => (to, run.pages(), Some(run.order().get())),
            _ => return,
        };
        let (first, last) = (u32::from(low(to)), u32::from(low(to)) + u32::from(pages));
        let used = (first..last).fold(0, |all: u16, page| all | 1 << page.min(15));
        let backing = u16::from(folios::own_pages(&self.state, low(to)));
        self.broken.note(judge::i21_backing(used, backing));
        let folio = folios::covering(&self.state, low(to)).map(|(_, order)| order);
        if let Some(order) = order {
            self.broken.note(judge::i14_orders(folio, order));
        }
    }

    /// Changes the pages that are in system memory as the block says.
    fn in_ram(&mut self, run: impl Into<PageRun>, change: impl Fn(&mut Virtual)) -> Outcome {
        let run = run.into();
        let locations = self.locations;
        self.each(run, |offset, page| {
            if locations.get(usize::from(run.first()) + usize::from(offset)) == Some(&Location::Ram) {
                change(page);
            }
        })
    }

    fn form(&mut self, node: NodeId, span: AlignedRun) -> Outcome {
        let owner = self.base + small(span.first());
        let killed = self.state.is_killed();
        let formed = folios::form(self.map, &mut self.state, span.order().get(), owner, &mut self.broken);
        match formed {
            Some(page) => {
                let (pfn, id) = (Pfn::new(u64::from(page)), FolioId(u32::from(page)));
                let folio = Folio { node, pfn, order: span.order(), id };
                Outcome::Formed(Formed { folio, kind: kind_of(self.setup.memory), cleared: false })
            }
            None if killed => Outcome::Detached,
            None => Outcome::NoMemory,
        }
    }

    /// Drops the block's reference. It is one step even if others hold the folio: a put never waits (I15).
    fn release(&mut self, folio: Folio) -> Outcome {
        let named = (low(folio.pfn), folio.order.get());
        let was = folios::put(self.map, &mut self.state, named);
        self.broken.note(judge::i17_lives(was.then_some(named)));
        Outcome::Done
    }

    fn split(&mut self, folio: Folio) -> Outcome {
        let named = (low(folio.pfn), folio.order.get());
        match folios::split(self.map, &mut self.state, named) {
            Some(true) => Outcome::Split { upper: upper_of(&folio) },
            Some(false) => Outcome::Busy,
            None => {
                self.broken.note(judge::i17_lives(None::<Named>));
                Outcome::Busy
            }
        }
    }

    fn collapse(&mut self, lower: Folio, upper: Folio) -> Outcome {
        let named = |folio: Folio| (low(folio.pfn), folio.order.get());
        match folios::collapse(self.map, &mut self.state, named(lower), named(upper)) {
            Some(Ok(())) => Outcome::Done,
            Some(Err(CollapseErrorKind::Shared { .. })) => Outcome::Busy,
            Some(Err(_)) => Outcome::Failed,
            None => {
                self.broken.note(judge::i17_lives(None::<Named>));
                Outcome::Failed
            }
        }
    }

    fn reserve(&mut self, span: AlignedRun) -> Outcome {
        let pages = small(span.pages());
        let reserve = if self.task.making_room || self.inner { 0 } else { self.setup.reserve };
        // Without a device there is no other place for bytes.
        let limited = !self.beyond && !self.state.is_killed();
        if limited && self.state.ram_used + pages > self.setup.ram.saturating_sub(reserve) {
            return Outcome::NoMemory;
        }
        self.state.ram_used += pages;
        self.each(span, |_, page| page.reserved = true)
    }

    fn release_ram(&mut self, span: AlignedRun, pages: u16) -> Outcome {
        let mut reserved = 0;
        self.each(span, |_, page| {
            reserved += u64::from(page.reserved);
            (page.ram, page.taken, page.reserved) = (None, false, false);
        });
        self.broken.note(judge::i13_pages(-i64::from(pages), 0, reserved));
        self.state.ram_used = self.state.ram_used.saturating_sub(small(pages));
        Outcome::Done
    }

    fn isolate(&mut self, span: AlignedRun) -> Outcome {
        self.in_ram(span, |page| (page.cpu, page.taken) = (View::Fault, true))
    }

    /// Maps what was filled; where no thread waits, shared memory is mapped at the next touch only.
    fn install(&mut self, span: AlignedRun) -> Outcome {
        if self.inner && self.setup.memory != Memory::Anonymous {
            return self.each(span, |_, page| page.taken = false);
        }
        self.each(span, |_, page| show(page))
    }

    fn fill(&mut self, run: PageRun, to: Pfn, value: impl Fn(&Virtual) -> u8) -> Outcome {
        for (device, number) in (usize::from(low(to))..).zip(run) {
            let bytes = self.page(number).map(|page| value(page));
            if let (Some(bytes), Some(page)) = (bytes, self.state.device.get_mut(device)) {
                *page = bytes;
            }
        }
        Outcome::Done
    }

    fn copy_to_ram(&mut self, span: AlignedRun, from: Pfn) -> Outcome {
        let (device, first) = (self.state.device, low(from));
        self.each(span, |offset, page| {
            page.ram = device.get(usize::from(first + offset)).copied();
            page.taken = true;
        })
    }

    fn map_device(&mut self, span: AlignedRun, to: Pfn) -> Outcome {
        let (first, mut said_clear) = (low(to), 0);
        let done = self.each(span, |offset, page| {
            page.table = Some(first + offset);
            said_clear |= u16::from(page.expected == Some(0)) << (first + offset);
        });
        let dirty = (0..16).zip(self.state.device).filter(|(_, bytes)| *bytes != 0);
        let stale = dirty.fold(0, |all: u16, (page, _)| all | 1 << page);
        self.broken.note(judge::i22_clear(said_clear, stale));
        done
    }

    /// Enters a span in place of the entries of its pages, which lead to the same memory; there is at least one.
    fn remap_device(&mut self, span: AlignedRun, to: Pfn) -> Outcome {
        let (mut named, mut leads_there, mut any) = (0u16, 0u16, false);
        self.each(span, |offset, page| {
            any |= page.table.is_some();
            named |= 1 << offset;
            leads_there |= u16::from(page.table.is_none_or(|at| at == low(to) + offset)) << offset;
        });
        self.broken.note(judge::i20_unmapped(named, if any { leads_there } else { 0 }));
        self.map_device(span, to)
    }

    fn unmap_device(&mut self, span: AlignedRun) -> Outcome {
        let (mut named, mut entered) = (0u16, 0u16);
        let done = self.each(span, |offset, page| {
            named |= 1 << offset;
            entered |= u16::from(page.table.is_some()) << offset;
            page.table = None;
        });
        // What could not be entered anew may be gone.
        if !self.task.reshaping {
            self.broken.note(judge::i20_unmapped(named, entered));
        }
        done
    }

    /// Forgets pages; what the block says was in system memory is given back.
    fn discard(&mut self, run: PageRun) -> Outcome {
        let in_ram = |number: u16| self.locations.get(usize::from(number)) == Some(&Location::Ram);
        let used = small(run.into_iter().filter(|number| in_ram(*number)).count() as u16);
        self.state.ram_used = self.state.ram_used.saturating_sub(used);
        self.each(run, |_, page| *page = Virtual { table: page.table, ..Virtual::default() })
    }
}

/// What a step answers that is refused or fails.
fn refusal(step: &Step) -> Outcome {
    match step {
        Step::FormFolio { .. } | Step::ReserveRam { .. } => Outcome::NoMemory,
        Step::SplitFolio { .. } | Step::CollapseFolio { .. } | Step::Isolate { .. } => Outcome::Busy,
        _ => Outcome::Failed,
    }
}

/// Key of the upper half of a folio.
pub(super) fn upper_of(folio: &Folio) -> FolioId {
    FolioId(u32::from(low(folio.pfn)) + (1 << folio.order.get() >> 1))
}

/// How a block's memory is reached, in the terms of the shipped code.
pub(super) fn kind_of(memory: Memory) -> MemoryKind {
    match memory {
        Memory::Shared | Memory::Anonymous => MemoryKind::Private,
        Memory::Coherent => MemoryKind::Coherent,
    }
}

fn show(page: &mut Virtual) {
    (page.cpu, page.taken) = (View::Ram, false);
}

pub(super) fn low(pfn: Pfn) -> u8 {
    (pfn.get() & 7) as u8
}

fn small(pages: u16) -> u8 {
    u8::try_from(pages).unwrap_or(u8::MAX)
}
