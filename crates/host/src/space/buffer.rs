//! Buffer objects: memory of the device alone, beside what a program shares with it.
//!
//! Drivers keep frame buffers, rings and textures in buffer objects. No folio is formed from its
//! memory, and the CPU has no pointer to it; but it competes for device memory with all folios, by the same order of last
//! use. Under pressure its bytes go to system memory, until it is used again.
//!
//! ```
//! # use bifolio_host::{BufferError, SetupError, Space, SpaceConfig};
//! # let space = match Space::new(SpaceConfig::new(4 << 20, 1 << 20)) {
//! #     Err(SetupError::Uffd(_)) => return Ok(()), // nothing to show where faults cannot be caught
//! #     space => space.expect("memory enough"),
//! # };
//! let ring = space.allocate_buffer(12_000)?;
//! ring.write(8000, b"hello")?;
//! let pinned = ring.pin()?; // on the device until dropped; kernels see it at `pinned.address()`
//! assert!(ring.is_on_device());
//! drop(pinned);
//! let mut bytes = [0; 5];
//! ring.read(8000, &mut bytes)?;
//! assert_eq!(&bytes, b"hello");
//! # Ok::<(), BufferError>(())
//! ```

use std::fmt;
use std::sync::Arc;

use bifolio_migrate::NodeId;
use bifolio_sys::PAGE;

use crate::space::Space;
use bifolio_engine::buffer::{self, BufferError};

/// Memory of the device alone, freed when dropped. Any number of threads may use it at once.
pub struct Buffer<'s> {
    space: &'s Space,
    pub(crate) inner: Arc<buffer::Buffer>,
}

impl Space {
    /// Allocates `bytes` of zeros on the device, rounded up to whole pages, in as many blocks as it takes. What was used
    /// least recently is evicted for it, be it folios or other buffers.
    ///
    /// With a limit on system memory the buffer counts against it for as long as it lives, wherever its bytes are: what
    /// is on the device can always be evicted.
    ///
    /// # Errors
    /// If there are no addresses, no system memory within the limit, or no device memory since all of it is pinned.
    pub fn allocate_buffer(&self, bytes: usize) -> Result<Buffer<'_>, BufferError> {
        let pages = bytes.max(1).div_ceil(PAGE);
        let no_addresses = |_| BufferError::NoAddresses { pages: pages as u64 };
        let address = self.allocations().take(pages).map_err(no_addresses)?;
        match self.engine.make_buffer(NodeId(0), address, pages as u64) {
            Ok(inner) => {
                // Freed when dropped from here on.
                let buffer = Buffer { space: self, inner };
                buffer.validate()?;
                Ok(buffer)
            }
            Err(why) => {
                self.allocations().give_back(address, pages);
                Err(why)
            }
        }
    }
}

impl Buffer<'_> {
    /// Its size, a whole number of pages.
    #[must_use]
    pub fn len(&self) -> usize {
        self.inner.bytes()
    }

    /// Whether it has no bytes; it always has some.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Whether its bytes are on the device now, which another thread may change at any time unless it is pinned.
    #[must_use]
    pub fn is_on_device(&self) -> bool {
        self.inner.is_on_device()
    }

    /// Brings it to the device if it was evicted, and makes it the most recently used there.
    ///
    /// # Errors
    /// If there is no device memory since all of it is pinned or in use; the bytes are where they were.
    pub fn validate(&self) -> Result<(), BufferError> {
        self.space.engine.validate_buffer(&self.inner)
    }

    /// Brings it to the device and into its page table, and keeps it there until the pin is dropped.
    ///
    /// # Errors
    /// As [`Buffer::validate`].
    pub fn pin(&self) -> Result<Pinned<'_>, BufferError> {
        self.space.engine.pin_buffer(&self.inner)?;
        Ok(Pinned { buffer: self })
    }

    /// Copies bytes out of it, from `offset` on, wherever it is. This is no use of the buffer: it moves nowhere, and gets
    /// no younger.
    ///
    /// # Errors
    /// If they are not all inside, or the device fails.
    pub fn read(&self, offset: usize, to: &mut [u8]) -> Result<(), BufferError> {
        self.space.engine.read_buffer(&self.inner, offset, to)
    }

    /// Copies bytes into it, from `offset` on, wherever it is; as [`Buffer::read`], no use of it. The device is given
    /// whole pages: what a kernel writes meanwhile to the same pages is lost.
    ///
    /// # Errors
    /// If they would not all be inside, or the device fails; some of them may have been written then.
    pub fn write(&self, offset: usize, from: &[u8]) -> Result<(), BufferError> {
        self.space.engine.write_buffer(&self.inner, offset, from)
    }
}

impl Drop for Buffer<'_> {
    fn drop(&mut self) {
        self.space.engine.free_buffer(&self.inner);
        self.space.allocations().give_back(self.inner.address(), self.inner.bytes() / PAGE);
    }
}

impl fmt::Debug for Buffer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buffer").field("inner", &self.inner).finish_non_exhaustive()
    }
}

/// A buffer that the device uses: it is not evicted until this is dropped.
#[derive(Debug)]
#[must_use = "dropping it unpins the buffer"]
pub struct Pinned<'o> {
    buffer: &'o Buffer<'o>,
}

impl Pinned<'_> {
    /// Where kernels find its bytes. The CPU finds nothing there: a touch is SIGBUS.
    #[must_use]
    pub fn address(&self) -> usize {
        self.buffer.inner.address()
    }
}

impl Drop for Pinned<'_> {
    fn drop(&mut self) {
        self.buffer.space.engine.unpin_buffer(&self.buffer.inner);
    }
}
