//! Where bytes of anonymous memory are while they are out of the program's view.
//!
//! ```text
//!   registered   targets of UFFDIO_MOVE. A slot here is a hole, or full of pages that were taken out. Full slots whose
//!                bytes are no longer needed stay for a while (warm): bringing a folio home fills them again, and no
//!                page is freed or allocated on the way
//!   small        slots for fewer than 512 pages, filled by writing to them; not registered
//!   huge         slots for whole blocks, filled by writing to them, in huge pages where there are any
//! ```
//!
//! A hole of a registered slot must never be written: that would be a fault for the very thread that answers faults.
//! So a slot says what it holds, and only slots that may be written are given out for filling.

use std::sync::{Mutex, MutexGuard, PoisonError};

use bifolio_buddy::Buddy;
use bifolio_folio::Order;
use bifolio_sys::advise;
use bifolio_sys::{
    AddressRange, HUGE_PAGE, MapError, Mapping, Modes, PAGE, Placement, Protection, SharedBytes, SysError,
    Uffd,
};

/// Address space of each of the three regions: room for 64 whole blocks under way at the same time.
const REGION_LEN: usize = 64 * HUGE_PAGE;
const REGION_PAGES: u64 = (REGION_LEN / PAGE) as u64;
const ORDERS: usize = Order::PMD.index() + 1;

/// Why there is no staging memory.
#[derive(Debug, thiserror::Error)]
pub enum StagingError {
    /// No address space.
    #[error("staging memory cannot be mapped")]
    Map(#[from] MapError),
    /// The kernel refuses to move pages there.
    #[error("staging memory cannot be registered with userfaultfd")]
    Register(#[from] SysError),
    /// No allocator.
    #[error("staging memory cannot be managed")]
    Allocator(#[from] bifolio_buddy::NewError),
}

/// Which region a slot lies in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Registered,
    Fresh,
}

/// What a slot holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Holds {
    /// Holes only.
    Nothing,
    /// Pages and holes.
    Some,
    /// Pages only.
    All,
}

/// Room for a span of one order.
#[derive(Debug)]
pub struct Slot {
    kind: Kind,
    page: u64,
    order: Order,
    pub(super) holds: Holds,
}

impl Slot {
    /// Whether its pages held other bytes before.
    pub(super) fn is_used(&self) -> bool {
        self.kind == Kind::Registered
    }
}

/// The three regions.
pub(super) struct Staging {
    registered: Mapping,
    small: Mapping,
    huge: Mapping,
    warm_limit_pages: u64,
    inner: Mutex<Inner>,
}

struct Inner {
    registered: Buddy,
    small: Buddy,
    huge: Buddy,
    /// Full slots by order.
    warm: [Vec<u64>; ORDERS],
    warm_pages: u64,
}

impl Staging {
    pub(super) fn new(uffd: &Uffd, warm_limit_pages: u64) -> Result<Staging, StagingError> {
        let map = || Mapping::anonymous(REGION_LEN, Protection::ReadWrite, Placement::Aligned(HUGE_PAGE));
        let (registered, small, huge) = (map()?, map()?, map()?);
        uffd.register(registered.all(), Modes::MISSING)?;
        // Without huge pages in the kernel, moves are of small pages.
        let _: Result<(), SysError> = advise::nohugepage(small.all());
        let _: Result<(), SysError> = advise::hugepage(huge.all());
        // A child has no use for it, and pages that it shares cannot be moved.
        for region in [&registered, &small, &huge] {
            advise::dontfork(region.all())?;
        }
        let inner = Inner {
            registered: Buddy::new(REGION_PAGES)?,
            small: Buddy::new(REGION_PAGES)?,
            huge: Buddy::new(REGION_PAGES)?,
            warm: Default::default(),
            warm_pages: 0,
        };
        Ok(Staging { registered, small, huge, warm_limit_pages, inner: Mutex::new(inner) })
    }

    /// A slot of holes that pages can be moved to.
    pub(super) fn landing(&self, order: Order) -> Option<Slot> {
        let page = self.lock().registered.allocate(u32::from(order.get())).ok()?;
        Some(Slot { kind: Kind::Registered, page, order, holds: Holds::Nothing })
    }

    /// A slot that can be written: warm if there is one.
    pub(super) fn writable(&self, order: Order) -> Option<Slot> {
        let mut inner = self.lock();
        if let Some(page) = inner.warm[order.index()].pop() {
            inner.warm_pages -= order.pages();
            return Some(Slot { kind: Kind::Registered, page, order, holds: Holds::All });
        }
        let page = inner.fresh(order).allocate(u32::from(order.get())).ok()?;
        // It has no pages yet, but gets some as it is written, which is not told to us.
        Some(Slot { kind: Kind::Fresh, page, order, holds: Holds::Some })
    }

    /// Takes a slot back, with whatever bytes are in it.
    #[expect(clippy::needless_pass_by_value, reason = "a slot that was retired is in use no more")]
    pub(super) fn retire(&self, slot: Slot) {
        if slot.kind == Kind::Registered && slot.holds == Holds::All && self.keep_warm(&slot) {
            return;
        }
        if slot.holds != Holds::Nothing {
            advise::dontneed(self.bytes(&slot))
                .expect("MADV_DONTNEED of our own private mapping cannot fail");
        }
        let mut inner = self.lock();
        let buddy = match slot.kind {
            Kind::Registered => &mut inner.registered,
            Kind::Fresh => inner.fresh(slot.order),
        };
        let freed = buddy.free(slot.page, u32::from(slot.order.get()));
        debug_assert!(freed.is_ok(), "a slot is retired once: {freed:?}");
    }

    fn keep_warm(&self, slot: &Slot) -> bool {
        let mut inner = self.lock();
        let fits = inner.warm_pages + slot.order.pages() <= self.warm_limit_pages;
        if fits {
            inner.warm_pages += slot.order.pages();
            inner.warm[slot.order.index()].push(slot.page);
        }
        fits
    }

    /// Gives the pages of warm slots back to the kernel.
    pub(super) fn cool(&self) {
        for order in Order::PMD.descending() {
            while let Some(page) = self.pop_warm(order) {
                self.retire(Slot { kind: Kind::Registered, page, order, holds: Holds::Some });
            }
        }
    }

    fn pop_warm(&self, order: Order) -> Option<u64> {
        let mut inner = self.lock();
        let page = inner.warm[order.index()].pop()?;
        inner.warm_pages -= order.pages();
        Some(page)
    }

    /// All bytes of a slot.
    pub(super) fn bytes(&self, slot: &Slot) -> SharedBytes<'_> {
        let region = match slot.kind {
            Kind::Registered => &self.registered,
            Kind::Fresh if slot.order == Order::PMD => &self.huge,
            Kind::Fresh => &self.small,
        };
        let page = usize::try_from(slot.page).expect("pages of a region");
        region.bytes(page * PAGE, PAGE << slot.order.get()).expect("slots lie in their region")
    }

    /// Addresses of all bytes of a slot.
    pub(super) fn span(&self, slot: &Slot) -> AddressRange {
        self.bytes(slot).span().expect("slots are whole pages")
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Allocators change nothing when they fail, so a panic elsewhere leaves them whole.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn fresh(&mut self, order: Order) -> &mut Buddy {
        if order == Order::PMD { &mut self.huge } else { &mut self.small }
    }
}
