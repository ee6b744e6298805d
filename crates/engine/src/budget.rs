//! How many pages of system memory may be resident.

use crate::sync::atomic::{AtomicU64, Ordering};

/// A count of pages under a limit, shared by all transactions.
#[derive(Debug)]
pub struct Budget {
    limit_pages: u64,
    reserve_pages: u64,
    used_pages: AtomicU64,
}

impl Budget {
    /// Makes a budget of `limit_pages`, of which `reserve_pages` are kept for making room: an eviction from the
    /// device needs system memory just when there is least of it.
    #[must_use]
    pub fn new(limit_pages: u64, reserve_pages: u64) -> Budget {
        let reserve_pages = reserve_pages.min(limit_pages / 2);
        Budget { limit_pages, reserve_pages, used_pages: AtomicU64::new(0) }
    }

    /// Takes `pages` if that stays within the limit. Only with `making_room` may the reserve be used.
    #[must_use]
    pub fn take(&self, pages: u64, making_room: bool) -> bool {
        let limit = if making_room { self.limit_pages } else { self.unreserved_pages() };
        // Relaxed: the count guards no other memory; it only has to be exact.
        self.used_pages
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                used.checked_add(pages).filter(|sum| *sum <= limit)
            })
            .is_ok()
    }

    /// Takes `pages` that are resident already, even beyond the limit: adopted memory.
    pub fn take_resident(&self, pages: u64) {
        self.used_pages.fetch_add(pages, Ordering::Relaxed);
    }

    /// Gives `pages` back.
    pub fn give_back(&self, pages: u64) {
        let before = self.used_pages.fetch_sub(pages, Ordering::Relaxed);
        debug_assert!(before >= pages, "{pages} pages given back of {before}");
    }

    /// Pages in use.
    #[must_use]
    pub fn used_pages(&self) -> u64 {
        self.used_pages.load(Ordering::Relaxed)
    }

    /// What may be taken without making room: the limit less the reserve, in pages.
    #[must_use]
    pub fn unreserved_pages(&self) -> u64 {
        self.limit_pages - self.reserve_pages
    }

    /// The limit, in pages.
    #[must_use]
    pub fn limit_pages(&self) -> u64 {
        self.limit_pages
    }
}
