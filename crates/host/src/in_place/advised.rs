//! What the program said of its memory that changes what a touch or a child finds, and that the kernel tells of by no event.
//!
//! The library's `madvise` tells of it, whatever is registered. What is known here only says where to look: whether memory is
//! wiped on fork is read from the kernel, since memory that is not registered comes and goes unseen.

use std::ops::Range;

use bifolio_sys::pagemap::Pagemap;
use bifolio_sys::{PAGE, advise, smaps};

use crate::in_place::faults::range_of;
use crate::in_place::regions::Regions;
use crate::in_place::service::Service;

/// What was said.
#[derive(Debug, Default)]
pub(super) struct Advised {
    guards: Guards,
    /// Where guards are being installed just now.
    expected: Regions,
    /// Registered memory that the program keeps from its children.
    unshared: Regions,
    /// Memory that was not registered when the program kept it from its children. It may be gone by now.
    said_unshared: Regions,
    /// Mappings have moved or grown since: some of that memory may be elsewhere.
    pub(super) said_is_stale: bool,
    /// Some memory is zeros in children.
    wipes: bool,
}

/// What is known of guards. A copy of zeros would destroy one.
#[derive(Debug, Default)]
enum Guards {
    /// There are none.
    #[default]
    None,
    /// The page map tells where.
    Told(Pagemap),
    /// The kernel does not tell: they may be anywhere.
    Untold,
}

/// Advice that the service is told of.
pub const DONTFORK: usize = 10;
/// Undoes [`DONTFORK`].
pub const DOFORK: usize = 11;
/// Children find zeros.
pub const WIPEONFORK: usize = 18;
/// The pages are dropped, and a touch raises SIGSEGV.
pub const GUARD_INSTALL: usize = 102;

impl Advised {
    /// Tells whether guards may be among the pages of a range: they move with their mappings, registered or not.
    pub(super) fn may_have_guards(&self, range: &Range<usize>) -> bool {
        match &self.guards {
            _ if !self.expected.within(range.clone()).is_empty() => true,
            Guards::None => false,
            Guards::Told(map) => has_guards(map, range),
            Guards::Untold => true,
        }
    }

    /// Guards were installed in a range.
    fn note_guards(&mut self, range: &Range<usize>) {
        self.expected.remove(range.clone());
        if !matches!(self.guards, Guards::Told(_)) {
            let map = Pagemap::open().ok().filter(|map| has_guards(map, range));
            self.guards = map.map_or(Guards::Untold, Guards::Told);
        }
    }

    /// Forgets a range that was unmapped.
    pub(super) fn unmapped(&mut self, range: &Range<usize>) {
        self.unshared.remove(range.clone());
    }

    /// A range has moved.
    pub(super) fn moved(&mut self, from: &Range<usize>, to: usize) {
        for part in self.unshared.within(from.clone()) {
            let start = to + (part.start - from.start);
            self.unshared.insert(start..start + part.len());
        }
    }

    /// The parts of a range that children may have, as far as the program is concerned.
    pub(super) fn shared(&self, range: Range<usize>) -> Vec<Range<usize>> {
        self.unshared.others(range)
    }

    /// The bytes of registered memory that children are not to find.
    pub(super) fn hidden_from_children(&self) -> Regions {
        let mut hidden = Regions::default();
        self.unshared.all().for_each(|range| hidden.insert(range.start()..range.end()));
        if self.wipes {
            flagged(&smaps::vmas().unwrap_or_default(), "wf").for_each(|range| hidden.insert(range));
        }
        hidden
    }
}

impl Service {
    /// Guards are about to be installed in a range: nothing of it is away then, and from now on copies spare what is there.
    pub(super) fn expect_guards(&mut self, range: Range<usize>) {
        self.bring_home(range.clone());
        self.advised.expected.insert(range);
    }

    /// The program has given advice, and the kernel has taken it, or refused it somewhere in the range.
    pub(super) fn advised(&mut self, advice: usize, range: Range<usize>) {
        match advice {
            GUARD_INSTALL => self.advised.note_guards(&range),
            DONTFORK => {
                self.register_grown(&range);
                for part in self.regions.others(range.clone()) {
                    self.advised.said_unshared.insert(part);
                }
                for part in self.regions.within(range.clone()) {
                    self.advised.unshared.insert(part);
                }
                // Again: what was left to the kernel meanwhile was given to children.
                let _: Result<(), _> = advise::dontfork(self.memory.window(range_of(&range)));
            }
            DOFORK => {
                self.register_grown(&range);
                self.advised.unshared.remove(range.clone());
                self.advised.said_unshared.remove(range.clone());
                if self.plans.iter().all(|plan| plan.is_forked()) {
                    // Children that are not announced must not find zeros.
                    for part in self.regions.within(range) {
                        let _: Result<(), _> = advise::dontfork(self.memory.window(range_of(&part)));
                    }
                }
            }
            WIPEONFORK => self.advised.wipes = true,
            _ => {}
        }
    }

    /// What of mappings the program keeps from its children, as the kernel has it: to be asked before they are registered,
    /// since we keep them from children ourselves. Asking takes long, so it is done only where the program has said so before,
    /// when nothing is registered yet, and when mappings have moved.
    pub(super) fn unshared_by_program(&mut self, mappings: &[Range<usize>]) -> Regions {
        let mut unshared = Regions::default();
        let said = &self.advised.said_unshared;
        let concerns = |mapping: &Range<usize>| !said.within(mapping.clone()).is_empty();
        let is_stale = self.advised.said_is_stale || !self.first_scan_done;
        if !said.is_empty() && (is_stale || mappings.iter().any(concerns)) {
            self.advised.said_is_stale = false;
            let now = smaps::vmas().unwrap_or_default();
            flagged(&now, "dc").for_each(|range| unshared.insert(range));
            flagged(&now, "um").for_each(|range| unshared.remove(range));
            self.advised.said_unshared = unshared.clone();
        }
        unshared
    }

    /// Mappings were registered, and what of it is `unshared` was before it: notes what still is.
    pub(super) fn note_unshared(&mut self, mappings: &[Range<usize>], unshared: &Regions) {
        if mappings.iter().all(|mapping| unshared.within(mapping.clone()).is_empty()) {
            return;
        }
        let mut now = Regions::default();
        flagged(&smaps::vmas().unwrap_or_default(), "dc").for_each(|range| now.insert(range));
        for part in mappings.iter().flat_map(|mapping| unshared.within(mapping.clone())) {
            now.within(part).into_iter().for_each(|part| self.advised.unshared.insert(part));
        }
    }

    /// A mapping has grown, perhaps, with all that was said of it: each part that is new is like what is before it.
    pub(super) fn note_growth(&mut self, mapping: &Range<usize>) {
        for new in self.regions.others(mapping.clone()) {
            let is_unshared =
                !self.advised.unshared.within(new.start.saturating_sub(PAGE)..new.start).is_empty();
            if new.start > mapping.start && is_unshared {
                self.advised.unshared.insert(new);
            }
        }
    }

    /// Lets children have what the program does not keep from them of a range that is not registered any more.
    pub(super) fn share_again(&mut self, range: Range<usize>) {
        for part in self.advised.shared(range.clone()) {
            let _: Result<(), _> = advise::dofork(self.memory.window(range_of(&part)));
        }
        for part in self.advised.unshared.within(range.clone()) {
            self.advised.said_unshared.insert(part);
        }
        self.advised.unshared.remove(range);
    }
}

fn has_guards(map: &Pagemap, range: &Range<usize>) -> bool {
    map.guards(range_of(range)).map_or(true, |guards| guards.contains(&true))
}

/// Those of `mappings` that have a flag of the kernel.
fn flagged<'v>(mappings: &'v [smaps::Vma], flag: &'v str) -> impl Iterator<Item = Range<usize>> + 'v {
    let has = move |mapping: &&smaps::Vma| mapping.flags.iter().any(|known| known == flag);
    mappings.iter().filter(has).map(|mapping| mapping.span.start()..mapping.span.end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_kept_from_children_moves_and_ends_with_its_mapping() {
        let mut advised = Advised::default();
        advised.unshared.insert(0x4000..0x8000);
        advised.moved(&(0x6000..0x8000), 0x2_0000);
        advised.unmapped(&(0x6000..0x8000));
        assert_eq!(advised.shared(0x3000..0x7000), [0x3000..0x4000, 0x6000..0x7000]);
        assert_eq!(advised.shared(0x1_f000..0x2_3000), [0x1_f000..0x2_0000, 0x2_2000..0x2_3000]);
    }

    #[test]
    fn guards_are_found_where_they_are_or_suspected_everywhere() {
        use bifolio_sys::{Mapping, Placement, Protection};
        let pages = Mapping::anonymous(2 * PAGE, Protection::ReadWrite, Placement::Anywhere).expect("memory");
        let first = pages.span().start()..pages.span().start() + PAGE;
        let mut advised = Advised::default();
        assert!(!advised.may_have_guards(&first));
        // None is there, so the kernel seems not to tell.
        advised.note_guards(&first);
        assert!(advised.may_have_guards(&first));
        advised.guards = Guards::Told(Pagemap::open().expect("a page map"));
        assert!(!advised.may_have_guards(&first));
    }

    #[test]
    fn flags_of_mappings_are_read_from_the_kernel() {
        use bifolio_sys::{Mapping, PAGE, Placement, Protection};
        let page = Mapping::anonymous(PAGE, Protection::ReadWrite, Placement::Anywhere).expect("memory");
        let is_there = || {
            let mappings = smaps::vmas().expect("/proc");
            flagged(&mappings, "wf").any(|range| range.contains(&page.span().start()))
        };
        assert!(!is_there());
        advise::wipe_on_fork(page.all()).expect("private memory");
        assert!(is_there());
    }
}
