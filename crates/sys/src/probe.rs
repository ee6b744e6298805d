//! What this machine grants, found out by trying each mechanism once on a few pages. Facts only; `bifolio doctor`
//! says what they mean.
//!
//! A feature bit is a promise; a [`Trial`] is proof. Each trial builds its own mappings, uses the mechanism as the
//! runtime does and looks at the result: bytes where they can be read back, page tables where size matters.

use std::io;

use rustix::io::Errno;

use crate::advise::{self, Collapse};
use crate::host::Host;
use crate::pagemap::Pagemap;
use crate::{
    Access, AddressRange, Attempt, CopyMode, Features, HUGE_PAGE, MapError, Mapping, Memfd, Modes, MoveMode,
    OpenError, Outcome, PAGE, Placement, Protect, Protection, Reads, ReadyError, SysError, Uffd, Wake, Way,
};

/// What came of trying one mechanism.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trial {
    /// It did what it should.
    Works,
    /// It did not.
    Fails {
        /// The step that failed.
        step: &'static str,
        /// What the kernel said, unless it said yes and did otherwise.
        errno: Option<Errno>,
    },
}

/// What the kernel grants to this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grants {
    /// The ways to a userfaultfd that were refused.
    pub refused: Vec<Attempt>,
    /// The ways that were granted, best first.
    pub granted: Vec<Way>,
    /// The features the kernel knows, whether or not this process may use them.
    pub features: Features,
    /// Fork messages: for programs that fork.
    pub event_fork: Trial,
    /// `UFFDIO_COPY` into private memory.
    pub copy: Trial,
    /// `UFFDIO_MOVE` of a small page.
    pub move_small: Trial,
    /// `UFFDIO_MOVE` of a 2 MiB page that stays one.
    pub move_huge: Trial,
    /// `UFFDIO_CONTINUE` of a page of a memfd.
    pub continue_: Trial,
    /// `MADV_COLLAPSE` of a memfd to a 2 MiB page.
    pub collapse: Trial,
    /// `MADV_COLLAPSE` that puts a dropped 2 MiB mapping back where faults are armed.
    pub collapse_back: Trial,
    /// `UFFDIO_WRITEPROTECT` of private memory.
    pub write_protect: Trial,
    /// `UFFDIO_POISON`.
    pub poison: Trial,
    /// The machine's settings.
    pub host: Host,
}

impl Trial {
    /// Tells whether it worked.
    #[must_use]
    pub const fn works(self) -> bool {
        matches!(self, Self::Works)
    }
}

impl Grants {
    /// Tries everything. Takes a few milliseconds and some 10 MiB for that time.
    #[must_use]
    pub fn probe() -> Self {
        let (granted, refused) = ways();
        let features = Uffd::open_best(Reads::NonBlocking).map_err(Failure::from);
        let features = features.and_then(|uffd| Ok(uffd.offered_features()?));
        Self {
            refused,
            granted,
            features: features.unwrap_or(Features::empty()),
            event_fork: trial(|| uffd(Features::EVENT_FORK).map(drop)),
            copy: trial(try_copy),
            move_small: trial(try_move_small),
            move_huge: trial(try_move_huge),
            continue_: trial(try_continue),
            collapse: trial(|| collapsed_memfd("COLLAPSE of a memfd").map(drop)),
            collapse_back: trial(try_collapse_back),
            write_protect: trial(try_write_protect),
            poison: trial(try_poison),
            host: Host::read(),
        }
    }

    /// Returns the best access granted, if any.
    #[must_use]
    pub fn access(&self) -> Option<Access> {
        self.granted.first().map(|way| way.access())
    }
}

/// A step of a trial that failed.
struct Failure {
    step: &'static str,
    errno: Option<Errno>,
}

impl From<SysError> for Failure {
    fn from(error: SysError) -> Self {
        Self { step: error.call, errno: Some(error.errno) }
    }
}

impl From<MapError> for Failure {
    fn from(error: MapError) -> Self {
        match error {
            MapError::Refused(error) => error.into(),
            _ => Self { step: "mmap", errno: Some(Errno::INVAL) },
        }
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        Self { step: "userfaultfd", errno: error.attempts.last().map(|attempt| attempt.errno) }
    }
}

impl From<ReadyError> for Failure {
    fn from(error: ReadyError) -> Self {
        match error {
            ReadyError::PageSize(_) => Self { step: "pages of 4 KiB", errno: None },
            ReadyError::Open(error) => error.into(),
            ReadyError::Features(error) => error.into(),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self { step: "open of /proc/self/pagemap", errno: error.raw_os_error().map(Errno::from_raw_os_error) }
    }
}

fn trial(attempt: impl FnOnce() -> Result<(), Failure>) -> Trial {
    match attempt() {
        Ok(()) => Trial::Works,
        Err(Failure { step, errno }) => Trial::Fails { step, errno },
    }
}

/// Fails with what an operation came to, unless it was done.
fn done(step: &'static str, outcome: Outcome) -> Result<(), Failure> {
    let errno = match outcome {
        Outcome::Done(_) => return Ok(()),
        Outcome::Exists => Errno::EXIST,
        Outcome::Again(_) => Errno::AGAIN,
        Outcome::Busy => Errno::BUSY,
        Outcome::Missing => Errno::NOENT,
        Outcome::NoSource => Errno::FAULT,
        Outcome::Gone => Errno::SRCH,
        Outcome::NoSpace => Errno::NOMEM,
        Outcome::Invalid(errno) => errno,
    };
    Err(Failure { step, errno: Some(errno) })
}

/// Fails where the kernel said yes and the result is not there.
fn holds(step: &'static str, fact: bool) -> Result<(), Failure> {
    if fact { Ok(()) } else { Err(Failure { step, errno: None }) }
}

fn ways() -> (Vec<Way>, Vec<Attempt>) {
    let mut granted = Vec::new();
    let mut refused = Vec::new();
    for way in Way::ALL {
        match Uffd::open(way, Reads::NonBlocking) {
            Ok(_) => granted.push(way),
            Err(error) => refused.extend(error.attempts),
        }
    }
    (granted, refused)
}

fn uffd(required: Features) -> Result<Uffd, Failure> {
    Ok(Uffd::open_ready(Reads::NonBlocking, required, Features::empty())?.0)
}

fn private(len: usize, align: usize) -> Result<Mapping, Failure> {
    Ok(Mapping::anonymous(len, Protection::ReadWrite, Placement::Aligned(align))?)
}

/// Makes an empty target of `len` bytes that is registered for missing pages.
fn target(uffd: &Uffd, len: usize) -> Result<Mapping, Failure> {
    let target = private(len, len)?;
    uffd.register(target.all(), Modes::MISSING)?;
    Ok(target)
}

/// Tells whether the first word of a mapping reads as `value`.
fn first_is(mapping: &Mapping, value: u64) -> bool {
    mapping.all().load_u64(0) == Ok(value)
}

/// Makes a page that starts with a mark.
fn marked(len: usize, mark: u64) -> Result<Mapping, Failure> {
    let page = private(len, len)?;
    holds("store", page.all().store_u64(0, mark).is_ok())?;
    Ok(page)
}

fn try_copy() -> Result<(), Failure> {
    let uffd = uffd(Features::empty())?;
    let (source, target) = (marked(PAGE, 7)?, target(&uffd, PAGE)?);
    done("UFFDIO_COPY", uffd.copy(target.span(), source.all(), CopyMode::empty()))?;
    holds("bytes after UFFDIO_COPY", first_is(&target, 7))
}

fn try_move_small() -> Result<(), Failure> {
    let uffd = uffd(Features::MOVE)?;
    let (source, target) = (marked(PAGE, 7)?, target(&uffd, PAGE)?);
    done("UFFDIO_MOVE", uffd.move_(target.span(), source.all(), MoveMode::empty()))?;
    holds("bytes after UFFDIO_MOVE", first_is(&target, 7) && first_is(&source, 0))
}

fn try_move_huge() -> Result<(), Failure> {
    let uffd = uffd(Features::MOVE)?;
    let source = private(HUGE_PAGE, HUGE_PAGE)?;
    advise::hugepage(source.all())?;
    holds("store", source.all().store_u64(0, 7).is_ok())?;
    let pages = Pagemap::open()?;
    holds("2 MiB page on first touch", pages.huge_bytes(source.span())? == HUGE_PAGE)?;
    let target = target(&uffd, HUGE_PAGE)?;
    done("UFFDIO_MOVE of 2 MiB", uffd.move_(target.span(), source.all(), MoveMode::empty()))?;
    holds("2 MiB page after UFFDIO_MOVE", pages.huge_bytes(target.span())? == HUGE_PAGE)?;
    holds("bytes after UFFDIO_MOVE", first_is(&target, 7))
}

fn try_continue() -> Result<(), Failure> {
    let uffd = uffd(Features::MINOR_SHMEM | Features::MISSING_SHMEM)?;
    let memfd = Memfd::create("bifolio-probe", PAGE)?;
    let map = || Mapping::shared(&memfd, 0, PAGE, Protection::ReadWrite, Placement::Anywhere);
    let (alias, target) = (map()?, map()?);
    holds("store", alias.all().store_u64(0, 7).is_ok())?;
    uffd.register(target.all(), Modes::MISSING | Modes::MINOR)?;
    done("UFFDIO_CONTINUE", uffd.continue_(target.span(), CopyMode::empty()))?;
    holds("bytes after UFFDIO_CONTINUE", first_is(&target, 7))
}

/// Makes a memfd mapping that is one 2 MiB page.
fn collapsed_memfd(step: &'static str) -> Result<Mapping, Failure> {
    let memfd = Memfd::create("bifolio-probe", HUGE_PAGE)?;
    let place = Placement::Aligned(HUGE_PAGE);
    let mapping = Mapping::shared(&memfd, 0, HUGE_PAGE, Protection::ReadWrite, place)?;
    advise::populate_write(mapping.all())?;
    collapse(step, mapping.span(), &mapping)?;
    Ok(mapping)
}

/// Collapses a mapping and looks whether it is one 2 MiB page then. Pages in passing use (EAGAIN) get more tries.
fn collapse(step: &'static str, span: AddressRange, mapping: &Mapping) -> Result<(), Failure> {
    const TRIES: usize = 8;
    let outcome = (0..TRIES).map(|_| advise::collapse(mapping.all())).find(|&came| came != Collapse::Again);
    let errno = match outcome.unwrap_or(Collapse::Again) {
        Collapse::Collapsed => return holds(step, Pagemap::open()?.huge_bytes(span)? == HUGE_PAGE),
        Collapse::Again => Errno::AGAIN,
        Collapse::NoSpace => Errno::NOMEM,
        Collapse::Refused(errno) => errno,
    };
    Err(Failure { step, errno: Some(errno) })
}

fn try_collapse_back() -> Result<(), Failure> {
    let mapping = collapsed_memfd("COLLAPSE of a memfd")?;
    holds("store", mapping.all().store_u64(0, 7).is_ok())?;
    let uffd = uffd(Features::MINOR_SHMEM | Features::MISSING_SHMEM)?;
    uffd.register(mapping.all(), Modes::MISSING | Modes::MINOR)?;
    advise::dontneed(mapping.all())?;
    collapse("COLLAPSE of a dropped mapping", mapping.span(), &mapping)?;
    holds("bytes after COLLAPSE", first_is(&mapping, 7))
}

fn try_write_protect() -> Result<(), Failure> {
    let uffd = uffd(Features::WRITE_PROTECT)?;
    let page = marked(PAGE, 7)?;
    uffd.register(page.all(), Modes::WRITE_PROTECT)?;
    done("UFFDIO_WRITEPROTECT", uffd.write_protect(page.span(), Protect::On))?;
    let protected = Pagemap::open()?.write_protected(page.span())?;
    holds("protection after UFFDIO_WRITEPROTECT", protected == [true])
}

fn try_poison() -> Result<(), Failure> {
    let uffd = uffd(Features::POISON)?;
    let target = target(&uffd, PAGE)?;
    done("UFFDIO_POISON", uffd.poison(target.span(), Wake::Now))
}
