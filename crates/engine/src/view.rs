//! What the engine asks of the CPU's side: [`CpuView`].

use bifolio_migrate::{AlignedRun, DevicePage, PageRun, PageSet, Rights};
use bifolio_sys::{PAGE, SharedBytes};

/// Pages of one block, with their address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BlockSpan {
    /// Address of the block.
    pub base: usize,
    /// The pages.
    pub span: AlignedRun,
}

impl BlockSpan {
    /// Address of the first page.
    #[must_use]
    pub fn address(&self) -> usize {
        address_of(self.base, self.span.first())
    }

    /// The addresses.
    #[must_use]
    pub fn span(&self) -> bifolio_sys::AddressRange {
        span_of(self.base, self.span)
    }
}

/// Address of a page of the block at `base`.
#[must_use]
pub fn address_of(base: usize, page: u16) -> usize {
    base + usize::from(page) * PAGE
}

/// Addresses of pages of the block at `base`.
#[must_use]
pub fn span_of(base: usize, run: impl Into<PageRun>) -> bifolio_sys::AddressRange {
    let run = run.into();
    let len = usize::from(run.pages()) * PAGE;
    bifolio_sys::AddressRange::new(address_of(base, run.first()), len)
        .expect("runs are not empty and lie in memory")
}

/// The page that holds `address`.
#[must_use]
pub fn page_at(address: usize) -> bifolio_sys::AddressRange {
    bifolio_sys::AddressRange::new(address & !(PAGE - 1), PAGE).expect("a page of user space")
}

/// Why the CPU's side did not do what was asked; nothing changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refused {
    /// A page is pinned, or shared with a forked child.
    #[error("a page is in use")]
    Busy,
    /// The kernel has no memory, or no mappings left.
    #[error("no memory")]
    NoMemory,
    /// This view has no way to do it.
    #[error("not supported by this kind of memory")]
    Unsupported,
    /// The kernel refused for another reason.
    #[error("kernel refused: {0:?}")]
    Kernel(bifolio_sys::Outcome),
}

/// How the CPU sees memory. Callers own the block concerned, so calls for one block never overlap.
pub trait CpuView: Send + Sync {
    /// Where the bytes of a span are while it is out of view.
    type Staged: Send;

    /// Takes the pages of `place` that are in `ram` out of view. On return no thread can write them, and every
    /// touch faults.
    ///
    /// # Errors
    /// If any page cannot be taken; then all are in view.
    fn isolate(&self, place: BlockSpan, ram: &PageSet) -> Result<Self::Staged, Refused>;

    /// Finds system memory for the bytes of a span that is not in view.
    ///
    /// # Errors
    /// If there is none.
    fn reserve(&self, place: BlockSpan) -> Result<Self::Staged, Refused>;

    /// The bytes of `run`, within `place`, while they are out of view.
    fn bytes<'v>(&'v self, place: BlockSpan, staged: &Self::Staged, run: PageRun) -> SharedBytes<'v>;

    /// Asks for the bytes of device memory from `from` on to be shown by [`CpuView::install`] where they are, so that they need
    /// not be copied to [`CpuView::bytes`] first. `false` if this view shows only what was copied.
    fn shows_device(&self, staged: &mut Self::Staged, from: DevicePage) -> bool {
        let _ = (staged, from);
        false
    }

    /// Shows the pages of `place` that are in `ram` again, and wakes the threads that wait for them.
    fn remap(&self, place: BlockSpan, ram: &PageSet, staged: Option<Self::Staged>);

    /// Shows the span, filled before, and wakes the threads that wait for it; each page as a whole or not at all. The
    /// page `wanted`, which a thread waits for, may be shown before the others.
    ///
    /// # Errors
    /// If nothing of it can be shown; the reservation stays.
    fn install(
        &self,
        place: BlockSpan,
        staged: Self::Staged,
        wanted: Option<u16>,
    ) -> Result<(), (Refused, Self::Staged)>;

    /// Whether bytes stay where [`CpuView::bytes`] finds them after [`CpuView::release`], until their pages are discarded or
    /// filled: then what a device only reads need not be copied back.
    fn keeps_bytes(&self) -> bool {
        false
    }

    /// Accepts the whole span, filled before, that no thread waits for: it is shown now or at its next touch.
    ///
    /// # Errors
    /// As [`CpuView::install`].
    fn park(&self, place: BlockSpan, staged: Self::Staged) -> Result<(), (Refused, Self::Staged)> {
        self.install(place, staged, None)
    }

    /// Shows the whole span as zeros and wakes the threads that wait for it.
    ///
    /// # Errors
    /// If it cannot be shown; the reservation stays.
    fn install_zero(&self, place: BlockSpan, staged: Self::Staged) -> Result<(), (Refused, Self::Staged)>;

    /// Forgets the bytes of a span that is out of view.
    fn release(&self, place: BlockSpan, staged: Self::Staged);

    /// Takes `run` out of view, whatever it shows, and forgets the bytes of its pages that are in system memory.
    ///
    /// # Errors
    /// If the view cannot be changed; no byte is forgotten then.
    fn discard(&self, base: usize, run: PageRun, coherent: &PageSet) -> Result<(), Refused>;

    /// Shows device memory at `place`, and wakes the threads that wait for it.
    ///
    /// # Errors
    /// If it cannot be mapped; then a touch faults.
    fn map_coherent(&self, place: BlockSpan, to: DevicePage) -> Result<(), Refused>;

    /// Takes device memory out of view, so that a touch faults.
    ///
    /// # Errors
    /// If it cannot be; it stays in view then.
    fn unmap_coherent(&self, place: BlockSpan) -> Result<(), Refused>;

    /// Lets accesses of the program to pages of a block do what is in `rights` and nothing else, whatever is mapped there
    /// now or later.
    ///
    /// # Errors
    /// If that cannot be; the pages may be accessed as before.
    fn protect(&self, base: usize, run: PageRun, rights: Rights) -> Result<(), Refused> {
        let _ = (base, run, rights);
        Err(Refused::Unsupported)
    }

    /// Wakes the threads that wait for the page at `address`; they look again.
    fn wake(&self, address: usize);

    /// Answers a fault at `address`, which belongs to no allocation; returns whether the page is poisoned now.
    fn answer_unmapped(&self, address: usize) -> bool {
        self.poison(address);
        true
    }

    /// Takes away what [`CpuView::answer_unmapped`] may have shown at pages of a block, which are about to be allocated.
    fn forget_unmapped(&self, base: usize, run: PageRun) {
        let _ = (base, run);
    }

    /// Makes a touch of the page at `address` raise SIGBUS, and wakes the threads that wait for it.
    fn poison(&self, address: usize);
}
