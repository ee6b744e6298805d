//! The physical floors: a copy, and a fault answered by hand.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bifolio_host::fault_loop::{Answer, Fault, Handlers, HandlersError, Readers};
use bifolio_sys::touch::{AnswerTouch, Touched, Watch};
use bifolio_sys::{
    AddressRange, CopyMode, Features, HUGE_PAGE, Mapping, Modes, Outcome, PAGE, Placement, Protection, Reads,
    Uffd, Wake, advise,
};

use crate::row::BenchError;

/// Memory to copy between, in huge pages where the kernel gives them, larger than any cache.
pub struct CopyFloor {
    from: Mapping,
    to: Mapping,
    len: usize,
    next: AtomicUsize,
}

impl CopyFloor {
    /// Makes `len` bytes on each side, resident.
    ///
    /// # Errors
    /// Without memory.
    pub fn new(len: usize) -> Result<CopyFloor, BenchError> {
        let side = || -> Result<Mapping, BenchError> {
            let mapping = Mapping::anonymous(len, Protection::ReadWrite, Placement::Aligned(HUGE_PAGE))?;
            // Small pages copy a little slower; the floor is then a little higher, and the ratios a little better.
            let _: Result<(), _> = advise::hugepage(mapping.all());
            mapping.all().fill_zero();
            Ok(mapping)
        };
        Ok(CopyFloor { from: side()?, to: side()?, len, next: AtomicUsize::new(0) })
    }

    /// Copies `len` bytes that were not copied lately, by the same routine that the runtime copies with.
    ///
    /// # Panics
    /// If `len` is more than a side has.
    pub fn copy(&self, len: usize) {
        let at = self.next.fetch_add(len, Ordering::Relaxed) % (self.len - len + 1) / len * len;
        let to = self.to.bytes(at, len).expect("inside");
        to.copy_from(self.from.bytes(at, len).expect("inside")).expect("of the same length");
    }
}

/// How a bare fault is answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answered {
    /// By `UFFDIO_COPY` of so many bytes.
    Copy(usize),
    /// By a copy of so many bytes to memory that is there, and one page.
    CopyAside(usize),
}

/// Answers bare faults.
struct ByHand {
    uffd: Arc<Uffd>,
    region: Arc<Mapping>,
    copy: CopyFloor,
    answered: Answered,
}

impl ByHand {
    fn answer_at(&self, address: usize) {
        let page = AddressRange::new(address & !(PAGE - 1), PAGE).expect("one page");
        let _: Outcome = match self.answered {
            Answered::Copy(bytes) => {
                let start = address - (address - self.region.span().start()) % bytes;
                let target = AddressRange::new(start, bytes).expect("inside the region");
                self.uffd.copy(target, self.copy.from.bytes(0, bytes).expect("inside"), CopyMode::empty())
            }
            Answered::CopyAside(bytes) => {
                self.copy.copy(bytes);
                self.uffd.zeropage(page, Wake::Now)
            }
        };
    }
}

impl Answer for ByHand {
    fn answer(&self, fault: Fault) {
        self.answer_at(fault.address);
    }
}

impl AnswerTouch for ByHand {
    fn touched(&self, address: usize) -> Touched {
        self.answer_at(address);
        Touched::Again
    }
}

/// Who answers bare faults.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Who {
    /// So many threads that wait for them.
    Threads(usize),
    /// The thread that touches.
    Toucher,
}

/// Memory whose faults are answered with nothing of Bifolio but the threads, or the handler of a signal.
pub struct FaultFloor {
    /// Dropped first, like the next.
    handlers: Option<Handlers>,
    watch: Option<Watch>,
    region: Arc<Mapping>,
    stride: usize,
}

impl FaultFloor {
    /// Makes `faults` places to touch, answered as told.
    ///
    /// # Errors
    /// Without memory or userfaultfd.
    pub fn new(faults: usize, who: Who, answered: Answered) -> Result<FaultFloor, BenchError> {
        let (Answered::Copy(bytes) | Answered::CopyAside(bytes)) = answered;
        let place = Placement::Aligned(HUGE_PAGE);
        let region = Arc::new(Mapping::anonymous(faults * bytes, Protection::ReadWrite, place)?);
        let signal = if who == Who::Toucher { Features::SIGBUS } else { Features::empty() };
        let (uffd, _) = Uffd::open_ready(Reads::Blocking, signal, Features::empty())?;
        let uffd = Arc::new(uffd);
        uffd.register(region.all(), Modes::MISSING)?;
        let copy = CopyFloor::new((64 << 20).max(bytes * 4))?;
        let by_hand =
            Arc::new(ByHand { uffd: Arc::clone(&uffd), region: Arc::clone(&region), copy, answered });
        let (mut handlers, mut watch) = (None, None);
        match who {
            Who::Threads(count) => {
                let answer: Arc<dyn Answer> = by_hand;
                handlers = Some(Handlers::start(uffd, count, Readers::Handlers, &answer)?);
            }
            Who::Toucher => {
                watch = Some(Watch::start(region.all(), by_hand).map_err(HandlersError::Watch)?);
            }
        }
        Ok(FaultFloor { handlers, watch, region, stride: bytes })
    }

    /// Touches place number `place`.
    pub fn touch(&self, place: usize) {
        let _: u8 = self.region.all().read(place * self.stride).expect("inside the region");
    }

    /// Makes all places untouched again.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn reset(&self) -> Result<(), BenchError> {
        Ok(advise::dontneed(self.region.all())?)
    }
}

impl Drop for FaultFloor {
    fn drop(&mut self) {
        self.handlers = None;
        self.watch = None;
    }
}
