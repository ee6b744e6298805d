//! Ports: where the memory requests of a model enter.

use std::ops::Range;
use std::sync::Arc;

use bifolio_engine::device::{DeviceFault, DeviceRequest, Served};
use bifolio_folio::Pfn;
use bifolio_migrate::Rights;
use bifolio_sys::{PAGE, Plain, SharedBytes};

use crate::atomic_op::{AtomicOp, AtomicWidth};
use crate::gate::Place;
use crate::hosted::Hosted;
use crate::small::{self, SMALL};
use crate::table::Walk;
use crate::tlb::Tlb;

/// What writes and atomic accesses need.
const WRITE: Rights = Rights::READ.union(Rights::WRITE);

/// Why an access was not done. Not one byte was moved.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refused {
    /// A page is not on the device, or may not be used in this way: the request to have that changed.
    #[error("page fault at {:#x}", .0.address)]
    Fault(DeviceRequest),
    /// An atomic access to an address that is no multiple of its size.
    #[error("atomic access to {address:#x} is not aligned")]
    Unaligned {
        /// The address.
        address: usize,
    },
    /// There is no such operation on numbers of this size.
    #[error("no atomic operation of this kind on numbers of this size")]
    NoSuchAtomic,
    /// The device was lost.
    #[error("access to {address:#x} of a device that was lost")]
    Lost {
        /// The address.
        address: usize,
    },
}

/// Where a page is in device memory: see [`Port::translate`].
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Translation {
    /// Virtual address of the page.
    pub address: usize,
    /// Number of bytes from there on.
    pub bytes: usize,
    /// Where the first of them is in this process.
    pub host: usize,
    /// The device page.
    pub pfn: Pfn,
    /// What may be done there.
    pub rights: Rights,
    /// Number of the last change of the page table.
    pub epoch: u64,
}

/// A way into a device's memory by virtual addresses, for one unit of it. The [crate](crate) tells how it is used.
///
/// Every `try_` method does the whole access or nothing of it, keeps nothing on return, and may cross pages.
pub struct Port {
    device: Arc<Hosted>,
    place: Arc<Place>,
    tlb: Tlb,
    unit: u32,
    /// Where the pages of an access begin in device memory, if it has several.
    offsets: Vec<usize>,
    /// Bytes on their way to or from memory that may fault.
    between: Vec<u8>,
}

impl Hosted {
    /// Opens a port for a unit of the device. The number comes back in its requests.
    #[must_use]
    pub fn open_port(self: &Arc<Self>, unit: u32) -> Port {
        Port::new(Arc::clone(self), unit)
    }
}

impl Port {
    fn new(device: Arc<Hosted>, unit: u32) -> Port {
        let place = device.gate.open();
        Port { device, place, tlb: Tlb::new(), unit, offsets: Vec::new(), between: Vec::new() }
    }

    /// The device.
    #[must_use]
    pub fn device(&self) -> &Arc<Hosted> {
        &self.device
    }

    /// The number of its unit.
    #[must_use]
    pub fn unit(&self) -> u32 {
        self.unit
    }

    /// Loads a number, of any alignment. An aligned one never tears.
    ///
    /// # Errors
    /// See [`Refused`].
    #[inline]
    pub fn try_load<T: Plain>(&mut self, address: usize) -> Result<T, Refused> {
        if !within_page(address, size_of::<T>()) {
            let mut bytes = [0; 8];
            self.try_read(address, &mut bytes[..size_of::<T>()])?;
            return Ok(T::from_bytes(&bytes[..size_of::<T>()]));
        }
        let mut access = self.begin();
        let offset = access.find(address, Rights::READ)?;
        Ok(access.memory().read(offset).expect(INSIDE))
    }

    /// Stores a number, at any alignment. An aligned one never tears.
    ///
    /// # Errors
    /// See [`Refused`].
    #[inline]
    pub fn try_store<T: Plain>(&mut self, address: usize, value: T) -> Result<(), Refused> {
        if !within_page(address, size_of::<T>()) {
            let mut bytes = [0; 8];
            value.put_bytes(&mut bytes[..size_of::<T>()]);
            return self.try_write(address, &bytes[..size_of::<T>()]);
        }
        let mut access = self.begin();
        let offset = access.find(address, WRITE)?;
        access.memory().write(offset, value).expect(INSIDE);
        Ok(())
    }

    /// Copies bytes out of memory. Of at most 64 bytes, aligned words never tear.
    ///
    /// # Errors
    /// See [`Refused`].
    pub fn try_read(&mut self, address: usize, to: &mut [u8]) -> Result<(), Refused> {
        if to.len() <= SMALL {
            // Not into `to` itself: it may be memory of the program that is away, and then this thread sleeps.
            let mut small = [0; SMALL];
            let small = &mut small[..to.len()];
            self.move_pieces(address, small.len(), Rights::READ, |memory, offset, part| {
                small::read(memory, offset, &mut small[part]).expect(INSIDE);
            })?;
            to.copy_from_slice(small);
            return Ok(());
        }
        let copy = |port: &mut Port, to: &mut [u8]| {
            port.move_pieces(address, to.len(), Rights::READ, |memory, offset, part| {
                let bytes = memory.part(offset, part.len()).expect(INSIDE);
                bytes.read_into(&mut to[part]).expect(INSIDE);
            })
        };
        if !self.may_fault(to) {
            return copy(self, to);
        }
        let mut between = std::mem::take(&mut self.between);
        between.resize(to.len(), 0);
        let result = copy(self, &mut between);
        if result.is_ok() {
            to.copy_from_slice(&between);
        }
        self.between = between;
        result
    }

    /// Copies bytes into memory. Of at most 64 bytes, aligned words never tear.
    ///
    /// # Errors
    /// See [`Refused`].
    pub fn try_write(&mut self, address: usize, from: &[u8]) -> Result<(), Refused> {
        if from.len() <= SMALL {
            let mut small = [0; SMALL];
            let small = &mut small[..from.len()];
            small.copy_from_slice(from);
            return self.move_pieces(address, small.len(), WRITE, |memory, offset, part| {
                small::write(memory, offset, &small[part]).expect(INSIDE);
            });
        }
        self.with_bytes_at_hand(from, |port, from| {
            port.move_pieces(address, from.len(), WRITE, |memory, offset, part| {
                let bytes = memory.part(offset, part.len()).expect(INSIDE);
                bytes.write_from(&from[part]).expect(INSIDE);
            })
        })
    }

    /// Copies those bytes into memory that `strobe` chooses: byte `n` if bit `n % 8` of byte `n / 8` is set. No other byte is
    /// touched.
    ///
    /// # Errors
    /// See [`Refused`]. The pages of bytes that are not chosen must be there too.
    ///
    /// # Panics
    /// If the strobe has fewer bits than there are bytes.
    pub fn try_write_strobed(&mut self, address: usize, from: &[u8], strobe: &[u8]) -> Result<(), Refused> {
        assert!(strobe.len() >= from.len().div_ceil(8), "a strobe has a bit for each byte");
        self.with_bytes_at_hand(from, |port, from| {
            port.with_bytes_at_hand(strobe, |port, strobe| {
                port.move_pieces(address, from.len(), WRITE, |memory, offset, part| {
                    let chosen = (strobe, part.start);
                    small::write_strobed(memory, offset, &from[part], chosen).expect(INSIDE);
                })
            })
        })
    }

    /// Does a read-modify-write operation, atomic among all ports and, where the CPU reaches device memory, the CPU; returns
    /// what was there. Numbers narrower than 8 bytes are zero-extended.
    ///
    /// # Errors
    /// See [`Refused`].
    pub fn try_atomic(
        &mut self,
        address: usize,
        op: AtomicOp,
        width: AtomicWidth,
        argument: u64,
    ) -> Result<u64, Refused> {
        if !op.works_on(width) {
            return Err(Refused::NoSuchAtomic);
        }
        if !address.is_multiple_of(width.bytes()) {
            return Err(Refused::Unaligned { address });
        }
        let mut access = self.begin();
        let offset = access.find(address, WRITE)?;
        Ok(op.perform(access.memory(), offset, width, argument).expect(INSIDE))
    }

    /// Tells where the page of `address` is in device memory, for models that keep translations themselves.
    ///
    /// The page stays there until the next call of this port, or until the calling thread touches shared memory by a host
    /// pointer or has pages moved, whatever comes first: do not use the answer afterwards. Until then a thread that needs
    /// the page back waits; if that takes longer than the device's patience, the device is lost.
    ///
    /// # Errors
    /// See [`Refused`].
    pub fn translate(&mut self, address: usize, access: Rights) -> Result<Translation, Refused> {
        let page = address & !(PAGE - 1);
        let mut within = self.begin();
        let offset = within.find(page, access)?;
        let (epoch, device) = (within.epoch, &within.port.device);
        let host = device.memory.all().address() + offset;
        let pfn = device.memory.pfn_at(offset);
        within.stay();
        Ok(Translation { address: page, bytes: PAGE, host, pfn, rights: access, epoch })
    }

    /// Ends what [`Port::translate`] began, if it did not end before.
    pub fn release(&mut self) {
        self.place.end();
    }

    /// Has the engine answer a page request, on this thread: time stands still for the model. The pages may be gone again
    /// by the next access, so an access that was refused is tried in a loop.
    ///
    /// # Errors
    /// If the page cannot be brought.
    pub fn resolve(&mut self, request: &DeviceRequest) -> Result<Served, DeviceFault> {
        self.release();
        self.device.resolve(&request.by_unit(self.unit))
    }

    /// Tries an access again until it is not refused for a page fault, each of which is resolved.
    ///
    /// # Errors
    /// If a page cannot be brought, or the access is impossible.
    pub fn resolving<R>(
        &mut self,
        mut access: impl FnMut(&mut Port) -> Result<R, Refused>,
    ) -> Result<R, DeviceFault> {
        loop {
            match access(self) {
                Ok(done) => return Ok(done),
                Err(Refused::Fault(request)) => self.resolve(&request).map(drop)?,
                Err(Refused::Unaligned { address }) => return Err(DeviceFault::Unaligned { address }),
                Err(Refused::Lost { address }) => return Err(DeviceFault::Detached { address }),
                Err(Refused::NoSuchAtomic) => {
                    panic!("no atomic operation of this kind on numbers of this size")
                }
            }
        }
    }

    #[inline]
    fn begin(&mut self) -> Access<'_> {
        // This also ends what was held.
        let epoch = self.device.gate.begin(&self.place);
        Access { port: self, epoch, stays: false }
    }

    /// Looks in the page table, within an access that began in `epoch`. By value, so that an access that hits stays in registers.
    #[inline(never)]
    fn walk(&mut self, address: usize, rights: Rights, epoch: u64) -> Result<usize, Refused> {
        let device = &self.device;
        if device.is_lost() {
            return Err(Refused::Lost { address });
        }
        match device.table.walk(address, rights) {
            Walk::Page(pfn) => {
                let offset = device.memory.offset_of(pfn);
                self.tlb.fill(address, offset, rights.contains(Rights::WRITE), epoch);
                Ok(offset + address % PAGE)
            }
            // Not kept in the TLB, so that each access is counted.
            Walk::Remote(pfn) => {
                device.count_remote();
                Ok(device.memory.offset_of(pfn) + address % PAGE)
            }
            Walk::Missing | Walk::Denied => {
                Err(Refused::Fault(DeviceRequest::new(address, rights).by_unit(self.unit)))
            }
        }
    }

    /// Calls `each` with the pieces of an access in each page: device memory, the offset there, and which bytes of the access
    /// they are. All pages are found before the first call.
    fn move_pieces(
        &mut self,
        address: usize,
        len: usize,
        rights: Rights,
        mut each: impl FnMut(SharedBytes<'_>, usize, Range<usize>),
    ) -> Result<(), Refused> {
        if len == 0 {
            return Ok(());
        }
        let mut access = self.begin();
        if within_page(address, len) {
            let offset = access.find(address, rights)?;
            each(access.memory(), offset, 0..len);
            return Ok(());
        }
        access.find_all(address, len, rights)?;
        for (part, offset) in pieces(address, len).zip(&access.port.offsets) {
            each(access.memory(), *offset, part);
        }
        Ok(())
    }

    /// Calls `work` with bytes whose reading does not fault.
    fn with_bytes_at_hand<R>(&mut self, bytes: &[u8], work: impl FnOnce(&mut Port, &[u8]) -> R) -> R {
        if !self.may_fault(bytes) {
            return work(self, bytes);
        }
        let mut between = std::mem::take(&mut self.between);
        between.clear();
        between.extend_from_slice(bytes);
        let result = work(self, &between);
        self.between = between;
        result
    }

    /// Whether bytes of the program may be memory that the engine manages. Within an access they must not be touched: a fault
    /// there may need this very access to end.
    fn may_fault(&self, bytes: &[u8]) -> bool {
        let (managed, start) = (self.device.table.addresses(), bytes.as_ptr().addr());
        start < managed.end && managed.start < start + bytes.len()
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        self.release();
        self.device.gate.close(&self.place);
    }
}

/// An access under way: entries of the page table that it finds stay in use until it ends.
struct Access<'p> {
    port: &'p mut Port,
    epoch: u64,
    stays: bool,
}

impl Access<'_> {
    #[inline]
    fn memory(&self) -> SharedBytes<'_> {
        self.port.device.memory.all()
    }

    /// The offset of `address` in device memory.
    #[inline]
    fn find(&mut self, address: usize, rights: Rights) -> Result<usize, Refused> {
        match self.port.tlb.find(address, rights.contains(Rights::WRITE), self.epoch) {
            Some(offset) => Ok(offset),
            None => self.port.walk(address, rights, self.epoch),
        }
    }

    /// Finds the pages of an access that crosses pages. A fault asks for all of them from the first that is missing.
    fn find_all(&mut self, address: usize, len: usize, rights: Rights) -> Result<(), Refused> {
        self.port.offsets.clear();
        for part in pieces(address, len) {
            let offset =
                self.find(address.wrapping_add(part.start), rights).map_err(|refused| match refused {
                    Refused::Fault(request) => {
                        let left = address.wrapping_add(part.start) % PAGE + len - part.start;
                        Refused::Fault(
                            request.with_pages(u32::try_from(left.div_ceil(PAGE)).unwrap_or(u32::MAX)),
                        )
                    }
                    other => other,
                })?;
            self.port.offsets.push(offset);
        }
        Ok(())
    }

    /// Lets the access last until the port's next one, with this thread as its holder.
    fn stay(&mut self) {
        self.port.place.hold(self.epoch);
        self.stays = true;
    }
}

impl Drop for Access<'_> {
    #[inline]
    fn drop(&mut self) {
        if !self.stays {
            self.port.place.end();
        }
    }
}

/// Whether an access of `len` bytes, at least one, lies in one page.
#[inline]
fn within_page(address: usize, len: usize) -> bool {
    address % PAGE + len <= PAGE
}

/// Cuts an access at page borders.
fn pieces(address: usize, len: usize) -> impl Iterator<Item = Range<usize>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let start = at;
        at = len.min(start + PAGE - address.wrapping_add(start) % PAGE);
        (start < len).then_some(start..at)
    })
}

const INSIDE: &str = "translations lead into device memory, at aligned offsets";
