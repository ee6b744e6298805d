//! A view whose calls may fail.

use std::sync::Arc;

use bifolio_engine::view::{BlockSpan, CpuView, Refused};
use bifolio_migrate::{DevicePage, PageRun, PageSet, Rights};
use bifolio_sys::SharedBytes;

use super::{Call, FaultKind, Script};

/// A view that asks its script before each call that may fail.
pub struct FaultyView<V> {
    inner: V,
    script: Arc<dyn Script>,
}

impl<V> FaultyView<V> {
    /// Wraps a view.
    #[must_use]
    pub fn over(inner: V, script: Arc<dyn Script>) -> FaultyView<V> {
        FaultyView { inner, script }
    }

    /// The view itself.
    #[must_use]
    pub fn inner(&self) -> &V {
        &self.inner
    }

    fn refuses(&self, call: Call) -> bool {
        match self.script.fault(call) {
            None => false,
            Some(FaultKind::Refuse) => true,
            Some(other) => panic!("{other:?} of {call:?} is not for a view"),
        }
    }
}

impl<V: CpuView> CpuView for FaultyView<V> {
    type Staged = V::Staged;

    fn isolate(&self, place: BlockSpan, ram: &PageSet) -> Result<V::Staged, Refused> {
        if self.refuses(Call::Isolate) { Err(Refused::Busy) } else { self.inner.isolate(place, ram) }
    }

    fn reserve(&self, place: BlockSpan) -> Result<V::Staged, Refused> {
        if self.refuses(Call::Reserve) { Err(Refused::NoMemory) } else { self.inner.reserve(place) }
    }

    fn bytes<'v>(&'v self, place: BlockSpan, staged: &V::Staged, run: PageRun) -> SharedBytes<'v> {
        self.inner.bytes(place, staged, run)
    }

    fn keeps_bytes(&self) -> bool {
        self.inner().keeps_bytes()
    }

    fn shows_device(&self, staged: &mut V::Staged, from: DevicePage) -> bool {
        self.inner.shows_device(staged, from)
    }

    fn remap(&self, place: BlockSpan, ram: &PageSet, staged: Option<V::Staged>) {
        self.inner.remap(place, ram, staged);
    }

    fn install(
        &self,
        place: BlockSpan,
        staged: V::Staged,
        wanted: Option<u16>,
    ) -> Result<(), (Refused, V::Staged)> {
        match self.refuses(Call::Install) {
            true => Err((Refused::NoMemory, staged)),
            false => self.inner.install(place, staged, wanted),
        }
    }

    fn park(&self, place: BlockSpan, staged: V::Staged) -> Result<(), (Refused, V::Staged)> {
        match self.refuses(Call::Install) {
            true => Err((Refused::NoMemory, staged)),
            false => self.inner.park(place, staged),
        }
    }

    fn install_zero(&self, place: BlockSpan, staged: V::Staged) -> Result<(), (Refused, V::Staged)> {
        match self.refuses(Call::InstallZero) {
            true => Err((Refused::NoMemory, staged)),
            false => self.inner.install_zero(place, staged),
        }
    }

    fn release(&self, place: BlockSpan, staged: V::Staged) {
        self.inner.release(place, staged);
    }

    fn discard(&self, base: usize, run: PageRun, coherent: &PageSet) -> Result<(), Refused> {
        match self.script.fault(Call::Discard) {
            None => self.inner.discard(base, run, coherent),
            Some(FaultKind::Skip) => Ok(()),
            Some(_) => Err(Refused::NoMemory),
        }
    }

    fn protect(&self, base: usize, run: PageRun, rights: Rights) -> Result<(), Refused> {
        if self.refuses(Call::Protect) {
            return Err(Refused::NoMemory);
        }
        self.inner.protect(base, run, rights)
    }

    fn map_coherent(&self, place: BlockSpan, to: DevicePage) -> Result<(), Refused> {
        match self.refuses(Call::MapCoherent) {
            true => {
                // Its sleepers look again, and fault again.
                self.inner.wake(place.address());
                Err(Refused::NoMemory)
            }
            false => self.inner.map_coherent(place, to),
        }
    }

    fn unmap_coherent(&self, place: BlockSpan) -> Result<(), Refused> {
        match self.script.fault(Call::UnmapCoherent) {
            None => self.inner.unmap_coherent(place),
            Some(FaultKind::Skip) => Ok(()),
            Some(_) => Err(Refused::NoMemory),
        }
    }

    fn wake(&self, address: usize) {
        self.inner.wake(address);
    }

    fn answer_unmapped(&self, address: usize) -> bool {
        self.inner.answer_unmapped(address)
    }

    fn forget_unmapped(&self, base: usize, run: PageRun) {
        self.inner.forget_unmapped(base, run);
    }

    fn poison(&self, address: usize) {
        self.inner.poison(address);
    }
}
