//! Where pages go that are away: a device of memory alone, which neither computes nor faults.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use bifolio_engine::device::{Capabilities, Copy, Device, DeviceError, FaultHandler, Point, TableUpdate};
use bifolio_folio::Pfn;
use bifolio_sys::{AddressRange, MapError, Mapping, PAGE, Placement, SharedBytes, advise};

/// Memory without a file, which forked children share: they copy from it what is theirs.
pub(super) struct Store {
    bytes: Mapping,
    pages: u64,
    point: AtomicU64,
}

impl Store {
    /// Makes a store of `pages` pages, charged as they are filled, and left out of core dumps.
    pub(super) fn new(pages: u64) -> Result<Store, MapError> {
        let len = usize::try_from(pages).unwrap_or(usize::MAX).saturating_mul(PAGE);
        let bytes = Mapping::common(len, Placement::Anywhere)?;
        advise::dontdump(bytes.all())?;
        Ok(Store { bytes, pages, point: AtomicU64::new(0) })
    }

    /// Its addresses.
    pub(super) fn span(&self) -> AddressRange {
        self.bytes.span()
    }

    /// The bytes of `pages` pages.
    pub(super) fn part(&self, first: Pfn, pages: u64) -> Result<SharedBytes<'_>, DeviceError> {
        let outside = DeviceError::OutOfRange { first, pages };
        let bytes = |pages: u64| usize::try_from(pages).ok().and_then(|pages| pages.checked_mul(PAGE));
        let (offset, len) = bytes(first.get()).zip(bytes(pages)).ok_or(outside)?;
        self.bytes.bytes(offset, len).map_err(|_| outside)
    }

    fn copy_one(&self, copy: Copy<'_>) -> Result<(), DeviceError> {
        let pages_of = |bytes: SharedBytes<'_>| (bytes.len() / PAGE) as u64;
        let same = "both have the same length";
        match copy {
            Copy::ToDevice { from, to } => self.part(to, pages_of(from))?.store_from(from).expect(same),
            Copy::ToRam { from, to } => to.copy_from(self.part(from, pages_of(to))?).expect(same),
            Copy::Clear { to, pages } => self.part(to, pages)?.fill_zero(),
            _ => return Err(DeviceError::Lost),
        }
        Ok(())
    }
}

impl Device for Store {
    fn capabilities(&self) -> Capabilities {
        Capabilities::new(self.pages).without_faults()
    }

    fn attach(&self, _: Arc<dyn FaultHandler>) {}

    fn copy(&self, batch: &[Copy<'_>]) -> Result<Point, DeviceError> {
        batch.iter().try_for_each(|copy| self.copy_one(*copy))?;
        Ok(Point(self.point.fetch_add(1, Relaxed) + 1))
    }

    fn update(&self, batch: &[TableUpdate]) -> Result<Point, DeviceError> {
        match batch.first() {
            None => Ok(Point(self.point.load(Relaxed))),
            Some(update) => Err(DeviceError::NoTable(update.pages().0)),
        }
    }

    fn wait(&self, _: Point) -> Result<(), DeviceError> {
        Ok(())
    }

    fn inspect(&self, first: Pfn, pages: u64) -> Option<SharedBytes<'_>> {
        self.part(first, pages).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_back_and_pages_outside_are_refused() {
        let store = Store::new(4).expect("memory");
        let page = Mapping::common(PAGE, Placement::Anywhere).expect("memory");
        page.all().store_u64(8, 7).expect("inside");
        store.copy(&[Copy::ToDevice { from: page.all(), to: Pfn::new(3) }]).expect("inside");
        page.all().fill_zero();
        store.copy(&[Copy::ToRam { from: Pfn::new(3), to: page.all() }]).expect("inside");
        assert_eq!(page.all().load_u64(8), Ok(7));
        let outside = store.copy(&[Copy::Clear { to: Pfn::new(3), pages: 2 }]);
        assert_eq!(outside, Err(DeviceError::OutOfRange { first: Pfn::new(3), pages: 2 }));
    }
}
