//! Memory of a space that the program moves by `mremap`.
//!
//! ```text
//!   before   from: the space's view, pages here, on a device or nowhere yet
//!   told     from: nothing; to: what was in view moved along, the rest faults
//!   after    from: the view again; to: the file, a plain shared mapping. All pages are in system memory, pinned
//! ```
//!
//! The thread that calls `mremap` goes on once the kernel's message is read, so it may use the new addresses before all of
//! this is done: what is in view there is right, and what is not faults, and waits until the range shows the file.
//!
//! What cannot be followed ends in a signal, never in other bytes:
//!
//! | what | gets |
//! |---|---|
//! | a page of no allocation, one that cannot come home, what an enlarged mapping has more, a copy (old length 0) | SIGBUS at a touch |
//! | coherent memory on a device, which both addresses would show | the process is aborted, with a message |
//! | `MREMAP_DONTUNMAP`, or other memory at the old addresses before they show the view again | the same |
//! | memory that was adopted | the same |

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering::Acquire, Ordering::Release};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bifolio_engine::Engine;
use bifolio_engine::query::{Extent, Residence};
use bifolio_folio::MemoryKind;
use bifolio_migrate::Failure;
use bifolio_sys::{AddressRange, Uffd};

use crate::fault_loop::Moved;
use crate::views::shared::SharedView;

/// How long a fault at addresses that no message told of waits for one. Messages are read at once.
const GRACE: Duration = Duration::from_millis(10);

/// Follows memory that the program moves, and answers faults at its new addresses.
pub(super) struct Mover {
    engine: Arc<Engine<SharedView>>,
    uffd: Arc<Uffd>,
    /// New addresses that show the file. Locked while memory is followed, so that faults at new addresses wait.
    shown: Mutex<Vec<Range<usize>>>,
    /// Whether memory was ever followed.
    any: AtomicBool,
}

impl Mover {
    pub(super) fn new(engine: Arc<Engine<SharedView>>, uffd: Arc<Uffd>) -> Mover {
        Mover { engine, uffd, shown: Mutex::default(), any: AtomicBool::new(false) }
    }

    /// Brings the bytes of moved memory home for good, and lets its new addresses show them.
    pub(super) fn follow(&self, moved: &Moved) {
        let mut shown = self.shown();
        self.any.store(true, Release);
        let space = self.engine.view().addresses();
        if self.engine.view().has_adopted(&moved.from) {
            give_up("memory that it had adopted");
        }
        // The view moves mappings of its own over the space, from outside of it; and a copy of a mapping has no length.
        if moved.from.is_empty() || moved.from.start < space.start() || moved.from.end > space.end() {
            return;
        }
        let extents = self.engine.snapshot(moved.from.clone()).expect("addresses of the space");
        if self.engine.view().kind() == MemoryKind::Coherent && extents.iter().any(is_on_device) {
            give_up("memory that the CPU reaches on a device");
        }
        // What is in system memory must not leave from under the new addresses. It cannot yet, as the old ones are empty.
        let (here, away): (Vec<_>, Vec<_>) =
            extents.into_iter().partition(|it| it.residence == Residence::Ram);
        let kept_here = self.keep_home(here);
        let old =
            AddressRange::new(moved.from.start, moved.from.len()).expect("the kernel moves whole pages");
        if self.engine.view().restore(old).is_err() {
            give_up("addresses that are mapped again already, or by MREMAP_DONTUNMAP,");
        }
        for kept in kept_here.into_iter().chain(self.keep_home(away)) {
            let start = moved.to + (kept.start - moved.from.start);
            // Refused if the program unmapped it meanwhile.
            let new = AddressRange::new(start, kept.len()).expect("whole pages");
            let _: Result<_, _> = self.uffd.unregister(new);
            shown.push(start..start + kept.len());
        }
        // Threads that slept in a fault at the old addresses look again.
        let _: bifolio_sys::Outcome = self.uffd.wake(old);
    }

    /// Pins pages in system memory, and returns the addresses of those for which it could be done.
    fn keep_home(&self, extents: Vec<Extent>) -> Vec<Range<usize>> {
        let allocated = extents.into_iter().filter(|it| it.residence != Residence::NotMapped);
        allocated.map(|it| it.addresses).filter(|it| self.pin(it.clone()).is_ok()).collect()
    }

    fn pin(&self, addresses: Range<usize>) -> Result<(), Failure> {
        self.engine.pin(addresses).map(bifolio_engine::pin::Pinned::keep)
    }

    /// Whether `address`, outside of the space, shows the file by now: its toucher may look again.
    pub(super) fn shows(&self, address: usize) -> bool {
        if self.shows_now(address) {
            return true;
        }
        // Faults are read before events: this one may have come before the message that tells of its memory.
        std::thread::sleep(GRACE);
        self.shows_now(address)
    }

    /// The same where what was told is followed already.
    pub(super) fn shows_now(&self, address: usize) -> bool {
        // Without the lock where nothing ever moved: it may be asked for an address that is none of ours.
        self.any.load(Acquire) && self.shown().iter().any(|range| range.contains(&address))
    }

    fn shown(&self) -> MutexGuard<'_, Vec<Range<usize>>> {
        // Ranges are added one by one, each as a whole.
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_on_device(extent: &Extent) -> bool {
    matches!(extent.residence, Residence::Device { .. })
}

/// Ends the process: going on could show wrong bytes.
#[expect(clippy::print_stderr, reason = "the last words of a process")]
fn give_up(what: &str) -> ! {
    eprintln!(
        "bifolio: the program moved {what} by mremap, which a space cannot follow: see Space::allocate"
    );
    std::process::abort();
}
