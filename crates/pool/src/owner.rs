//! Whose bytes a stretch of device memory holds: [`Owner`].

use bifolio_folio::{Order, Pfn};

use crate::Home;

/// The home of `order.pages()` device pages from `head` on: the pages of one block from `home` on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Owner {
    pub(crate) home: Home,
    pub(crate) head: Pfn,
    pub(crate) order: Order,
}

impl Owner {
    /// Returns the home of a device page; `None` outside, and for memory that is nobody's.
    pub(crate) fn home_of(&self, page: Pfn) -> Option<Home> {
        let into = page.offset_from(self.head).filter(|into| *into < self.order.pages())?;
        let page = self.home.page.checked_add(u16::try_from(into).ok()?)?;
        (self.home != Home::NOBODY).then_some(Home { page, ..self.home })
    }

    /// Returns how far a page of a block lies inside.
    pub(crate) fn offset_of(&self, home: Home) -> Option<u64> {
        let into = home.page.checked_sub(self.home.page).map(u64::from)?;
        (home.block == self.home.block && into < self.order.pages()).then_some(into)
    }
}
