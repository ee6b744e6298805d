//! Private pages of ours among those of the program: each part between guards, so that no mapping of the program can grow
//! together with it.
//!
//! ```text
//!   | guard wake page guard | staging 2 MiB | guard | zeros 2 MiB | guard |
//! ```

use bifolio_sys::{
    AddressRange, HUGE_PAGE, MapError, Mapping, PAGE, Placement, Protection, SharedBytes, advise,
};

/// The pages. Children do not inherit them.
pub(super) struct OwnPages {
    whole: Mapping,
    staging: AddressRange,
    zeros: AddressRange,
    wake_page: AddressRange,
}

impl OwnPages {
    pub(super) fn new() -> Result<OwnPages, MapError> {
        let whole = Mapping::reserve(5 * HUGE_PAGE, Placement::Aligned(HUGE_PAGE))?;
        let part =
            |offset: usize, len: usize| whole.span().part(offset, len).expect("within the reservation");
        // A guard of a page would do; a whole 2 MiB keeps the parts aligned as huge pages are.
        let [staging, zeros] = [1, 3].map(|index| part(index * HUGE_PAGE, HUGE_PAGE));
        let wake_page = part(PAGE, PAGE);
        for readable in [staging, wake_page] {
            whole.replace_anonymous(readable, Protection::ReadWrite)?;
        }
        whole.replace_anonymous(zeros, Protection::Read)?;
        let own = OwnPages { whole, staging, zeros, wake_page };
        advise::dontfork(own.whole.all())?;
        advise::dontdump(own.whole.all())?;
        // Copies of zeros read it; what is not there yet is found as the zero page by the first of them.
        let _: Result<(), _> = advise::populate_read(own.zeros(HUGE_PAGE));
        Ok(own)
    }

    /// All of it, guards included.
    pub(super) fn range(&self) -> AddressRange {
        self.whole.span()
    }

    /// A page that is never there.
    pub(super) fn guard(&self) -> AddressRange {
        self.whole.span().part(0, PAGE).expect("within the reservation")
    }

    /// Where pages of the program wait while they are copied: one block of it.
    pub(super) fn staging(&self) -> SharedBytes<'_> {
        self.at(self.staging)
    }

    /// `len` bytes of zeros.
    pub(super) fn zeros(&self, len: usize) -> SharedBytes<'_> {
        self.at(self.zeros).part(0, len.min(HUGE_PAGE)).expect("part of the zeros")
    }

    /// The page that a thread touches to wake the service.
    pub(super) fn wake_page(&self) -> SharedBytes<'_> {
        self.at(self.wake_page)
    }

    fn at(&self, range: AddressRange) -> SharedBytes<'_> {
        self.whole.at(range).expect("part of the pages")
    }
}
