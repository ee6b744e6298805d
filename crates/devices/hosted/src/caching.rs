//! Ports that keep translations, as a TLB, a direct memory interface or an address translation service does.
//!
//! ```text
//!   model     translate ------------> uses it for as long as it likes
//!   engine    unmap --> invalidation is queued --> waits for its acknowledgement, up to the device's patience
//!   model     next_invalidation --> drops what it kept --> acknowledge
//! ```
//!
//! The model polls: it is never called. A thread that sleeps in a fault of the CPU, or that has pages moved itself, cannot
//! acknowledge; it uses no translation meanwhile, so it is taken as if it had, and the invalidation says so
//! ([`Invalidation::forced`]). Hence the one duty of a model: after its thread touched shared memory by a host pointer, or made a
//! call that moves pages, it fetches invalidations before it uses a translation again.

use std::sync::Arc;

use bifolio_migrate::Rights;

use crate::caches::{Cache, Invalidation};
use crate::hosted::Hosted;
use crate::port::{Port, Refused, Translation};

/// A port whose owner keeps translations. Used by one thread at a time.
pub struct CachingPort {
    port: Port,
    cache: Arc<Cache>,
}

impl Hosted {
    /// Opens a port for a unit that keeps translations, and is told when they end.
    #[must_use]
    pub fn open_caching_port(self: &Arc<Self>, unit: u32) -> CachingPort {
        CachingPort::new(self, unit)
    }
}

impl CachingPort {
    pub(crate) fn new(device: &Arc<Hosted>, unit: u32) -> CachingPort {
        CachingPort { port: device.open_port(unit), cache: device.caches.open() }
    }

    /// The port, for accesses that keep nothing, and for page requests.
    pub fn port(&mut self) -> &mut Port {
        &mut self.port
    }

    /// Tells where the page of `address` is in device memory. The answer is good until the invalidation of it is
    /// acknowledged. A translation for writing counts as a write.
    ///
    /// # Errors
    /// See [`Refused`].
    pub fn translate(&mut self, address: usize, access: Rights) -> Result<Translation, Refused> {
        let mut kept = self.cache.kept();
        // Within the access the page cannot go; afterwards its removal finds it here.
        let found = self.port.translate(address, access)?;
        kept.pages.insert(found.address);
        drop(kept);
        self.port.release();
        self.cache.use_again();
        Ok(found)
    }

    /// The next invalidation, in order; `None` if all were fetched.
    pub fn next_invalidation(&mut self) -> Option<Invalidation> {
        self.cache.next_invalidation()
    }

    /// Says that nothing is kept any more of what the invalidations up to `sequence` named.
    pub fn acknowledge(&mut self, sequence: u64) {
        self.cache.acknowledge(sequence);
    }
}

impl Drop for CachingPort {
    fn drop(&mut self) {
        self.acknowledge(u64::MAX);
        self.port.device().caches.close(&self.cache);
    }
}
