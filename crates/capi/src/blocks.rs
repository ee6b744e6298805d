//! Blocks of any size and alignment: small ones share pages.
//!
//! Blocks are zeros without being touched, since a touch may need a page to come home. So memory is given out once, in order,
//! from chunks of 64 KiB, and a chunk goes back when the last of its blocks is free.

use std::collections::BTreeMap;

use bifolio_host::device::Device;
use bifolio_host::{PAGE, Space};

use crate::abi::{BF_E_MEMORY, BF_E_RANGE};
use crate::status::Error;

const CHUNK: usize = 64 << 10;
/// Larger blocks have pages of their own.
const SMALL_MAX: usize = PAGE / 2;
/// The space aligns nothing to more.
const ALIGN_MAX: usize = 2 << 20;

#[derive(Default)]
pub struct SmallBlocks {
    /// By address, where the memory begins that the block is in.
    blocks: BTreeMap<usize, usize>,
    /// Chunks with blocks, and how many.
    chunks: BTreeMap<usize, usize>,
    /// The chunk that is given out, and from where on it is free.
    current: Option<(usize, usize)>,
}

impl SmallBlocks {
    pub fn allocate(
        &mut self,
        space: &Space<dyn Device>,
        bytes: usize,
        align: usize,
    ) -> Result<usize, Error> {
        let right = align == 0 || align.is_power_of_two() && align <= ALIGN_MAX;
        if !right {
            return Err(Error::argument(format!("alignment {align}: a power of two up to 2 MiB, or 0")));
        }
        let (bytes, align) = (bytes.max(1), align.max(16));
        let (address, memory) = match bytes.max(align) <= SMALL_MAX {
            true => self.allocate_small(space, bytes, align)?,
            false => allocate_large(space, bytes, align)?,
        };
        self.blocks.insert(address, memory);
        Ok(address)
    }

    fn allocate_small(
        &mut self,
        space: &Space<dyn Device>,
        bytes: usize,
        align: usize,
    ) -> Result<(usize, usize), Error> {
        let fits = |(chunk, next): (usize, usize)| {
            let address = next.next_multiple_of(align);
            (address + bytes <= chunk + CHUNK).then_some((chunk, address))
        };
        let (chunk, address) = match self.current.and_then(fits) {
            Some(found) => found,
            None => {
                let chunk = allocate_large(space, CHUNK, PAGE)?.0;
                self.chunks.insert(chunk, 0);
                if let Some((last, _)) = self.current.replace((chunk, chunk)) {
                    // What is left of it is not given out any more.
                    self.free_if_empty(space, last)?;
                }
                (chunk, chunk)
            }
        };
        *self.chunks.entry(chunk).or_default() += 1;
        self.current = Some((chunk, address + bytes));
        Ok((address, chunk))
    }

    pub fn free(&mut self, space: &Space<dyn Device>, address: usize) -> Result<(), Error> {
        let Some(&memory) = self.blocks.get(&address) else {
            return Err(Error::new(BF_E_RANGE, format!("no block begins at {address:#x}")));
        };
        match self.chunks.get_mut(&memory) {
            Some(count) => {
                *count -= 1;
                self.blocks.remove(&address);
                self.free_if_empty(space, memory)
            }
            None => {
                space.free(memory)?;
                self.blocks.remove(&address);
                Ok(())
            }
        }
    }

    fn free_if_empty(&mut self, space: &Space<dyn Device>, chunk: usize) -> Result<(), Error> {
        let is_current = self.current.is_some_and(|(current, _)| current == chunk);
        if is_current || self.chunks.get(&chunk) != Some(&0) {
            return Ok(());
        }
        space.free(chunk)?;
        self.chunks.remove(&chunk);
        Ok(())
    }
}

/// A block with pages of its own; returns its address and where its memory begins.
fn allocate_large(space: &Space<dyn Device>, bytes: usize, align: usize) -> Result<(usize, usize), Error> {
    // The space aligns to pages; a longer alignment is found within more of them.
    let more = if align > PAGE { align } else { 0 };
    let too_large = || Error::new(BF_E_MEMORY, format!("{bytes} bytes are more than there are addresses"));
    let wanted = bytes.checked_add(more).filter(|wanted| *wanted <= space.addresses().len());
    let memory = space.allocate(wanted.ok_or_else(too_large)?).map_err(|why| Error::of(BF_E_MEMORY, &why))?;
    Ok((memory.next_multiple_of(align), memory))
}
