//! Why there is no pool: [`NewError`].

/// Why a pool cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum NewError {
    /// What the allocator refuses.
    #[error("allocator cannot be made")]
    Buddy(#[from] bifolio_buddy::NewError),
    /// Memory for the bookkeeping is short.
    #[error("no memory for the bookkeeping of the pool")]
    OutOfMemory,
    /// Its page numbers cannot begin there: folios of the largest order would not be aligned.
    #[error("page {0} is not aligned to the largest order of a folio")]
    First(bifolio_folio::Pfn),
    /// No pages, or more than can be listed.
    #[error("pool of {pages} pages: it needs 1 to {most}")]
    Pages {
        /// What was asked.
        pages: u64,
        /// The most there can be.
        most: u64,
    },
}
