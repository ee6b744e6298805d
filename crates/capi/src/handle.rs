//! Handles: numbers with a generation, so that one that was closed is an error and never another's.
//!
//! ```text
//!   kind : 3 | generation : 28 | index : 32          (bit 63: in use, in the state of a port)
//! ```

use std::cell::UnsafeCell;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};

use crate::abi::{BF_E_BUSY, BF_E_HANDLE, BF_E_THREAD};
use crate::status::Error;

/// What a handle names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Space = 1,
    Device = 2,
    Port = 3,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Space => "space",
            Kind::Device => "device",
            Kind::Port => "port",
        }
    }

    fn id(self, generation: u64, index: usize) -> u64 {
        (self as u64) << 60 | (generation & GENERATIONS) << 32 | index as u64
    }

    /// Why an id is no handle of this kind.
    #[cold]
    #[inline(never)]
    fn refuse(self, id: u64) -> Error {
        let name = self.name();
        let text = match id >> 60 {
            0 => format!("null handle instead of a {name}"),
            kind if kind == self as u64 => {
                format!("handle {id:#x} of a {name} that was closed, or never made")
            }
            1..=3 => format!("handle {id:#x} is of another kind than a {name}"),
            _ => format!("{id:#x} is no handle of Bifolio"),
        };
        Error::new(BF_E_HANDLE, text)
    }
}

const GENERATIONS: u64 = (1 << 28) - 1;

fn index_of(id: u64) -> usize {
    usize::try_from(id & u64::from(u32::MAX)).expect("32 bits")
}

/// Things that any thread may use at any time.
pub struct Table<T> {
    kind: Kind,
    /// Each with the id that it has, if it is there, and the generation of its next.
    entries: RwLock<Vec<(u64, Option<Arc<T>>)>>,
}

impl<T> Table<T> {
    pub const fn new(kind: Kind) -> Table<T> {
        Table { kind, entries: RwLock::new(Vec::new()) }
    }

    pub fn insert(&self, item: Arc<T>) -> u64 {
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        let free = entries.iter().position(|(_, item)| item.is_none());
        let index = free.unwrap_or_else(|| {
            let index = entries.len();
            entries.push((self.kind.id(0, index), None));
            index
        });
        let id = self.kind.id((entries[index].0 >> 32) + 1, index);
        entries[index] = (id, Some(item));
        id
    }

    pub fn get(&self, id: u64) -> Result<Arc<T>, Error> {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        match entries.get(index_of(id)) {
            Some((known, Some(item))) if *known == id => Ok(Arc::clone(item)),
            _ => Err(self.kind.refuse(id)),
        }
    }

    pub fn remove(&self, id: u64) -> Result<Arc<T>, Error> {
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        match entries.get_mut(index_of(id)) {
            Some((known, item)) if *known == id => item.take().ok_or_else(|| self.kind.refuse(id)),
            _ => Err(self.kind.refuse(id)),
        }
    }
}

/// Things that one thread uses at a time. A use takes no lock: one exchange says that the handle is good and keeps others
/// out.
pub struct Slots<T> {
    chunks: [OnceLock<Box<[Slot<T>]>>; CHUNKS],
    /// Slots that are free, with the generation of the next.
    free: Mutex<Vec<(usize, u64)>>,
    made: Mutex<usize>,
}

struct Slot<T> {
    /// The id of what is there, with [`IN_USE`] while a thread uses it; 0 if nothing is there.
    state: AtomicU64,
    item: UnsafeCell<Option<T>>,
}

// SAFETY: the item is reached by the thread alone that set IN_USE in the state, or that made the slot's index its own.
unsafe impl<T: Send> Sync for Slot<T> {}

const IN_USE: u64 = 1 << 63;
const CHUNK: usize = 256;
const CHUNKS: usize = 256;

/// An item that is used by this thread.
pub struct InUse<'s, T> {
    slot: &'s Slot<T>,
    id: u64,
}

impl<T> Slots<T> {
    pub const fn new() -> Slots<T> {
        let chunks = [const { OnceLock::new() }; CHUNKS];
        Slots { chunks, free: Mutex::new(Vec::new()), made: Mutex::new(0) }
    }

    pub fn insert(&self, item: T) -> Result<u64, Error> {
        let (index, generation) = match lock(&self.free).pop() {
            Some(free) => free,
            None => (self.next_index()?, 1),
        };
        let make = || std::iter::repeat_with(Slot::empty).take(CHUNK).collect();
        let slot = &self.chunks[index / CHUNK].get_or_init(make)[index % CHUNK];
        let id = Kind::Port.id(generation, index);
        // SAFETY: the index was free and is this thread's now, and no id leads here before the store below.
        unsafe { *slot.item.get() = Some(item) };
        slot.state.store(id, Ordering::Release);
        Ok(id)
    }

    fn next_index(&self) -> Result<usize, Error> {
        let mut made = lock(&self.made);
        if *made == CHUNK * CHUNKS {
            return Err(Error::new(BF_E_BUSY, format!("{} ports are open", CHUNK * CHUNKS)));
        }
        *made += 1;
        Ok(*made - 1)
    }

    /// Begins a use.
    #[inline]
    pub fn take(&self, id: u64) -> Result<InUse<'_, T>, Error> {
        let index = index_of(id);
        let chunk = self.chunks.get(index / CHUNK).and_then(OnceLock::get);
        let Some(slot) = chunk.map(|chunk| &chunk[index % CHUNK]).filter(|_| id != 0 && id & IN_USE == 0)
        else {
            return Err(Kind::Port.refuse(id));
        };
        match slot.state.compare_exchange(id, id | IN_USE, Ordering::Acquire, Ordering::Relaxed) {
            Ok(_) => Ok(InUse { slot, id }),
            Err(state) if state == id | IN_USE => Err(in_use(id)),
            Err(_) => Err(Kind::Port.refuse(id)),
        }
    }

    /// Ends the life of an item.
    pub fn remove(&self, id: u64) -> Result<T, Error> {
        let mut used = self.take(id)?;
        // SAFETY: this thread uses it.
        let item = unsafe { (*used.slot.item.get()).take() };
        used.id = 0;
        drop(used);
        lock(&self.free).push((index_of(id), (id >> 32) + 1));
        Ok(item.expect("it was in use"))
    }
}

#[cold]
#[inline(never)]
fn in_use(id: u64) -> Error {
    Error::new(BF_E_THREAD, format!("port {id:#x} is in use by another call; one at a time"))
}

impl<T> Slot<T> {
    fn empty() -> Slot<T> {
        Slot { state: AtomicU64::new(0), item: UnsafeCell::new(None) }
    }
}

impl<T> Deref for InUse<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: this thread uses it, and has no other reference to it while this one lives.
        unsafe { (*self.slot.item.get()).as_ref() }.expect("an id leads here")
    }
}

impl<T> DerefMut for InUse<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as above; the reference is borrowed from the only guard.
        unsafe { (*self.slot.item.get()).as_mut() }.expect("an id leads here")
    }
}

impl<T> Drop for InUse<'_, T> {
    #[inline]
    fn drop(&mut self) {
        // Release: the next user sees what this one did.
        self.slot.state.store(self.id, Ordering::Release);
    }
}

/// Locks what single calls change: it is whole after a panic, too.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closed_handles_are_told_from_those_that_came_after() {
        let table = Table::new(Kind::Space);
        let first = table.insert(Arc::new(1));
        assert_eq!(*table.get(first).expect("there"), 1);
        table.remove(first).expect("there");
        let second = table.insert(Arc::new(2));
        assert_ne!(first, second);
        assert_eq!(table.get(first).expect_err("closed").code, BF_E_HANDLE);
        assert_eq!(*table.get(second).expect("there"), 2);
        for wrong in [0, u64::MAX, second + 1, Kind::Device.id(1, 0)] {
            assert_eq!(table.get(wrong).expect_err("no handle").code, BF_E_HANDLE);
        }
    }

    #[test]
    fn port_is_used_by_one_thread_at_a_time() {
        let slots = Slots::new();
        let id = slots.insert(5).expect("room");
        let used = slots.take(id).expect("there");
        assert_eq!(slots.take(id).err().expect("in use").code, BF_E_THREAD);
        assert_eq!(slots.remove(id).expect_err("in use").code, BF_E_THREAD);
        drop(used);
        assert_eq!(slots.remove(id), Ok(5));
        assert_eq!(slots.take(id).err().expect("closed").code, BF_E_HANDLE);
        assert_ne!(slots.insert(6), Ok(id));
    }
}
