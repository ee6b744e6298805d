//! The bytes of buffer objects: saved when they are evicted, filled when they come back, read and written anywhere.

use std::ops::Range;

use bifolio_folio::Pfn;
use bifolio_sys::{MapError, Mapping, PAGE, Placement, Protection, SharedBytes};

use super::{Buffer, BufferError, BufferLocation, Memory};
use crate::device::{Copy, DeviceError};
use crate::engine::{Engine, lock};
use crate::event::EventKind;
use crate::node::Node;
use crate::view::CpuView;

/// Bytes that are read or written at a time.
const WINDOW: usize = 64 * PAGE;

impl<V: CpuView> Engine<V> {
    /// Copies the bytes of an object, wherever it is.
    ///
    /// # Errors
    /// If they are not all inside, or the device fails.
    pub fn read_buffer(&self, object: &Buffer, offset: usize, to: &mut [u8]) -> Result<(), BufferError> {
        object.check(offset, to.len())?;
        match &*lock(&object.place) {
            BufferLocation::System(None) => to.fill(0),
            BufferLocation::System(Some(system)) => {
                system.bytes(offset, to.len()).and_then(|bytes| bytes.read_into(to)).expect(INSIDE);
            }
            BufferLocation::Device { memory, .. } => {
                let (node, window) = (self.node(object.node), window(object)?);
                for chunk in chunks(offset, to.len()) {
                    self.load(node, memory, &chunk, &window)?;
                    chunk.bytes(&window).read_into(&mut to[chunk.part.clone()]).expect(INSIDE);
                }
            }
        }
        Ok(())
    }

    /// Changes the bytes of an object, wherever it is.
    ///
    /// # Errors
    /// If they would not all be inside, or the device fails; some of them may have been written then.
    pub fn write_buffer(&self, object: &Buffer, offset: usize, from: &[u8]) -> Result<(), BufferError> {
        object.check(offset, from.len())?;
        let mut place = lock(&object.place);
        if let BufferLocation::System(system @ None) = &mut *place {
            *system = Some(system_memory(object.bytes()).map_err(|_| object.no_ram())?);
        }
        match &*place {
            BufferLocation::System(system) => {
                let system = system.as_ref().expect("made above if there was none");
                system.bytes(offset, from.len()).and_then(|bytes| bytes.write_from(from)).expect(INSIDE);
            }
            BufferLocation::Device { memory, .. } => {
                let (node, window) = (self.node(object.node), window(object)?);
                for chunk in chunks(offset, from.len()) {
                    // Only whole pages are copied: the rest of the first and the last one stays as it is.
                    if chunk.part.len() % PAGE != 0 || chunk.within != 0 {
                        self.load(node, memory, &chunk, &window)?;
                    }
                    chunk.bytes(&window).write_from(&from[chunk.part.clone()]).expect(INSIDE);
                    let copies = parts(memory, chunk.first, chunk.pages)
                        .map(|part| Copy::ToDevice { from: part.of(&window), to: part.first });
                    self.copy_buffer(node, &copies.collect::<Vec<_>>(), chunk.pages)?;
                }
            }
        }
        Ok(())
    }

    /// Copies the pages of a chunk to the window.
    fn load(&self, node: &Node, memory: &Memory, chunk: &Chunk, window: &Mapping) -> Result<(), DeviceError> {
        let copies = parts(memory, chunk.first, chunk.pages)
            .map(|part| Copy::ToRam { from: part.first, to: part.of(window) });
        self.copy_buffer(node, &copies.collect::<Vec<_>>(), chunk.pages)
    }

    /// Copies an object of so many bytes to system memory; `None` if there is none, or the device fails.
    pub(super) fn save(&self, node: &Node, memory: &Memory, bytes: usize) -> Option<Mapping> {
        let system = system_memory(bytes).ok()?;
        let copies: Vec<_> = parts(memory, 0, bytes / PAGE)
            .map(|part| Copy::ToRam { from: part.first, to: part.of(&system) })
            .collect();
        self.copy_buffer(node, &copies, bytes / PAGE).ok()?;
        Some(system)
    }

    /// Fills device memory with the bytes of an object, zeros if it has none yet.
    pub(super) fn fill(
        &self,
        node: &Node,
        memory: &Memory,
        system: Option<&Mapping>,
    ) -> Result<(), DeviceError> {
        let clear = |(range, _): &(bifolio_folio::FreeRange, u32)| Copy::Clear {
            to: range.head(),
            pages: range.pages(),
        };
        let Some(system) = system else {
            return self.copy_buffer(node, &memory.iter().map(clear).collect::<Vec<_>>(), 0);
        };
        let pages = system.span().len() / PAGE;
        let copies =
            parts(memory, 0, pages).map(|part| Copy::ToDevice { from: part.of(system), to: part.first });
        self.copy_buffer(node, &copies.collect::<Vec<_>>(), pages)
    }

    fn copy_buffer(&self, node: &Node, batch: &[Copy<'_>], pages: usize) -> Result<(), DeviceError> {
        let start = self.now_ns();
        let result = node.copy(batch);
        self.observers.tell(None, || {
            let bytes = if result.is_ok() { (pages * PAGE) as u64 } else { 0 };
            let time_ns = self.now_ns().saturating_sub(start);
            EventKind::BufferCopied { node: node.id(), bytes, time_ns }
        });
        result
    }
}

impl Buffer {
    fn check(&self, offset: usize, len: usize) -> Result<(), BufferError> {
        let bytes = self.bytes();
        let inside = offset.checked_add(len).is_some_and(|end| end <= bytes);
        if inside { Ok(()) } else { Err(BufferError::Outside { offset, len, bytes }) }
    }

    fn no_ram(&self) -> BufferError {
        BufferError::NoRam { pages: self.pages }
    }
}

/// Bytes of an object that pass the window at once.
struct Chunk {
    /// First page of the object.
    first: usize,
    pages: usize,
    /// Where the bytes begin in the window.
    within: usize,
    /// Which of the caller's bytes they are.
    part: Range<usize>,
}

impl Chunk {
    fn bytes<'w>(&self, window: &'w Mapping) -> SharedBytes<'w> {
        window.bytes(self.within, self.part.len()).expect(INSIDE)
    }
}

fn chunks(offset: usize, len: usize) -> impl Iterator<Item = Chunk> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let at = offset + done;
        let within = at % PAGE;
        let bytes = (len - done).min(WINDOW - within);
        let part = done..done + bytes;
        done = part.end;
        let pages = (within + bytes).div_ceil(PAGE);
        (bytes > 0).then_some(Chunk { first: at / PAGE, pages, within, part })
    })
}

/// Consecutive device pages of an object.
struct Part {
    first: Pfn,
    pages: u64,
    /// Pages before it of what was asked for.
    before: u64,
}

impl Part {
    /// Its place in memory that holds what was asked for.
    fn of<'m>(&self, memory: &'m Mapping) -> SharedBytes<'m> {
        let usize_of = |pages| usize::try_from(pages).expect("pages of a mapping") * PAGE;
        memory.bytes(usize_of(self.before), usize_of(self.pages)).expect(INSIDE)
    }
}

/// Where `pages` pages of an object are, from its page `first` on.
fn parts(memory: &Memory, first: usize, pages: usize) -> impl Iterator<Item = Part> {
    let asked = first as u64..(first + pages) as u64;
    let mut next = 0;
    memory.iter().filter_map(move |(range, _)| {
        let begin = next;
        next += range.pages();
        let (from, to) = (begin.max(asked.start), next.min(asked.end));
        let head = Pfn::new(range.head().get() + from.checked_sub(begin)?);
        (from < to).then(|| Part { first: head, pages: to - from, before: from - asked.start })
    })
}

fn window(object: &Buffer) -> Result<Mapping, BufferError> {
    system_memory(WINDOW).map_err(|_| object.no_ram())
}

fn system_memory(bytes: usize) -> Result<Mapping, MapError> {
    Mapping::anonymous(bytes, Protection::ReadWrite, Placement::Anywhere)
}

const INSIDE: &str = "lengths agree, and the object was checked to hold them";

#[cfg(test)]
mod tests {
    use bifolio_folio::{FreeRange, Order};

    use super::*;

    #[test]
    fn chunks_cover_the_bytes_and_fit_the_window() {
        let chunks: Vec<_> = chunks(PAGE + 5, WINDOW + 10).collect();
        let told: Vec<_> =
            chunks.iter().map(|chunk| (chunk.first, chunk.pages, chunk.within, chunk.part.clone())).collect();
        assert_eq!(told, [(1, 64, 5, 0..WINDOW - 5), (65, 1, 0, WINDOW - 5..WINDOW + 10)]);
    }

    #[test]
    fn parts_follow_the_ranges() {
        let order = |k| Order::new(k).expect("small");
        let range = |page, k| (FreeRange::claim(Pfn::new(page), order(k)), 0);
        let memory = vec![range(8, 2), range(100, 0), range(32, 1)];
        let told: Vec<_> =
            parts(&memory, 2, 4).map(|part| (part.first.get(), part.pages, part.before)).collect();
        assert_eq!(told, [(10, 2, 0), (100, 1, 2), (32, 1, 3)]);
    }
}
