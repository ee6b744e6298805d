//! Which pages of a block hold something: in memory, or in swap.
//!
//! The kernel may swap a page out at any time, also between a look and what is done about it. A move takes such a page along, and
//! `mincore` does not tell it from one that was never touched.

use bifolio_migrate::{PageRun, PageSet};
use bifolio_sys::pagemap::{PageKinds, Pagemap};
use bifolio_sys::{AddressRange, HUGE_PAGE, PAGE, SysError};

/// Pages of one block.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    /// In memory.
    pub(super) present: PageSet,
    /// In swap; or a mark without a page, as that of a guard.
    pub(super) swapped: PageSet,
}

impl Held {
    /// Looks at a range within one block.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub(super) fn of(range: AddressRange, pagemap: &Pagemap) -> Result<Held, SysError> {
        let mut held = Held { present: PageSet::EMPTY, swapped: PageSet::EMPTY };
        pagemap.held(range, |region| {
            let is_present = region.kinds.contains(PageKinds::PRESENT);
            let pages = if is_present { &mut held.present } else { &mut held.swapped };
            pages.insert(run_of(region.span));
        })?;
        Ok(held)
    }

    /// Pages of both kinds.
    pub(super) fn all(&self) -> PageSet {
        let mut all = self.present;
        self.swapped.runs(PageRun::BLOCK).for_each(|run| all.insert(run));
        all
    }
}

/// The places of a range within one block.
pub(super) fn run_of(range: AddressRange) -> PageRun {
    let first = range.start() % HUGE_PAGE / PAGE;
    let run = u16::try_from(first).ok().zip(u16::try_from(range.pages()).ok());
    run.and_then(|(first, pages)| PageRun::new(first, pages)).expect("pages of a block")
}

#[cfg(test)]
mod tests {
    use bifolio_sys::{Mapping, Placement, Protection};

    use super::*;

    #[test]
    fn pages_that_were_touched_are_held() {
        let memory = Mapping::anonymous(HUGE_PAGE, Protection::ReadWrite, Placement::Aligned(HUGE_PAGE));
        let memory = memory.expect("memory");
        for page in [0, 7, 8, 511] {
            memory.all().store_u64(page * PAGE, 1).expect("inside");
        }
        let pagemap = Pagemap::open().expect("proc is mounted");
        let held = Held::of(memory.span(), &pagemap).expect("it is there");
        let pages: Vec<u16> = held.all().runs(PageRun::BLOCK).flatten().collect();
        assert_eq!(pages, [0, 7, 8, 511]);
        let part = memory.span().part(7 * PAGE, 9 * PAGE).expect("inside");
        assert_eq!(Held::of(part, &pagemap).expect("it is there").all().count(), 2);
    }
}
