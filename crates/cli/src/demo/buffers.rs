//! Buffer objects that compete with the graph for device memory: used after every round of the job, and checked each time.

use std::io::{self, Write};

use bifolio_folio::PAGE_SIZE;
use bifolio_host::{Buffer, BufferError, Counter, Snapshot, Space};
use console::style;
use serde::Serialize;

use crate::demo::plan::Plan;
use crate::figures::{bytes, counted, grouped};

/// How many there are at least, so that some are here and some are there.
const COUNT_LEAST: u64 = 8;
/// The part of device memory that one takes at most.
const SHARE: u64 = 8;

/// The buffers of a job, with what was written to each last.
#[derive(Debug)]
pub struct Rivals<'s> {
    buffers: Vec<Buffer<'s>>,
    /// How often all of them were used.
    rounds: u64,
    /// The first use that failed.
    failed: Option<BufferError>,
    /// Buffers that did not hold what was written to them.
    damaged: u64,
}

/// What became of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BufferFigures {
    /// How many there are.
    pub count: u64,
    /// Their bytes.
    pub bytes: u64,
    /// How often one was used.
    pub uses: u64,
    /// How often one was evicted from the device.
    pub evictions: u64,
    /// How often one was brought back.
    pub returns: u64,
    /// Bytes copied from and to them.
    pub copied: u64,
    /// Whether each held what was written to it last, at every use and at the end.
    pub verified: bool,
}

impl<'s> Rivals<'s> {
    /// Allocates them, none if the plan has no bytes for any.
    ///
    /// # Errors
    ///
    /// If there is no memory.
    pub fn allocate(space: &'s Space, plan: &Plan) -> Result<Self, BufferError> {
        let buffers = sizes(plan.buffers, plan.vram)
            .map(|size| space.allocate_buffer(usize::try_from(size).unwrap_or(usize::MAX)))
            .collect::<Result<Vec<_>, _>>()?;
        let rivals = Self { buffers, rounds: 0, failed: None, damaged: 0 };
        rivals.buffers.iter().enumerate().try_for_each(|(number, buffer)| write(buffer, number, 0))?;
        Ok(rivals)
    }

    /// Uses each on the device: checks what it holds, and writes something new. After a failure it does nothing.
    pub fn use_all(&mut self) {
        let used = (0..self.buffers.len()).try_for_each(|number| self.use_one(number));
        self.rounds += 1;
        if let Err(why) = used {
            self.failed.get_or_insert(why);
        }
    }

    fn use_one(&mut self, number: usize) -> Result<(), BufferError> {
        if self.failed.is_some() {
            return Ok(());
        }
        let buffer = &self.buffers[number];
        let pinned = buffer.pin()?;
        let intact = holds(buffer, number, self.rounds)?;
        write(buffer, number, self.rounds + 1)?;
        drop(pinned);
        self.damaged += u64::from(!intact);
        Ok(())
    }

    /// Checks all of them a last time, wherever they are. `None` if there are none.
    ///
    /// # Errors
    ///
    /// The first use that failed.
    pub fn finish(mut self, space: &Space) -> Result<Option<BufferFigures>, BufferError> {
        if let Some(why) = self.failed.take() {
            return Err(why);
        }
        for (number, buffer) in self.buffers.iter().enumerate() {
            self.damaged += u64::from(!holds(buffer, number, self.rounds)?);
        }
        Ok((!self.buffers.is_empty()).then(|| self.figures(&space.statistics())))
    }

    fn figures(&self, snapshot: &Snapshot) -> BufferFigures {
        let count = self.buffers.len() as u64;
        BufferFigures {
            count,
            bytes: self.buffers.iter().map(|buffer| buffer.len() as u64).sum(),
            uses: count * self.rounds,
            evictions: snapshot.get(Counter::BufferEvictions),
            returns: snapshot.get(Counter::BufferReturns),
            copied: snapshot.get(Counter::BytesBuffers),
            verified: self.damaged == 0,
        }
    }
}

impl BufferFigures {
    /// Writes them as a sentence.
    ///
    /// # Errors
    ///
    /// If writing fails.
    pub fn print(&self, out: &mut impl Write) -> io::Result<()> {
        let (count, uses) = (counted(self.count, "buffer object"), grouped(self.uses));
        let (evictions, returns) = (grouped(self.evictions), grouped(self.returns));
        let verdict = match self.verified {
            true => {
                style(format!("Correct: {count} of {} hold what was written last", bytes(self.bytes))).green()
            }
            false => style(format!("WRONG: not all of {count} hold what was written last")).red(),
        };
        writeln!(out, "{verdict}\n({uses} uses, {evictions} evictions, {returns} returns).")
    }
}

/// The sizes of buffers that add up to `total` bytes, whole pages each, none larger than its share of device memory.
fn sizes(total: u64, vram: u64) -> impl Iterator<Item = u64> {
    let pages = total.div_ceil(PAGE_SIZE);
    let most = (vram / PAGE_SIZE / SHARE).max(1);
    let count = pages.div_ceil(most).max(COUNT_LEAST).min(pages);
    (0..count).map(move |number| (pages * (number + 1) / count - pages * number / count) * PAGE_SIZE)
}

/// Bytes at a time.
const CHUNK: usize = 1 << 18;

/// Calls `each` with offset and contents of each chunk of a buffer in a generation.
fn chunks(
    len: usize,
    number: usize,
    generation: u64,
    mut each: impl FnMut(usize, &[u8]) -> Result<(), BufferError>,
) -> Result<(), BufferError> {
    let seed = (number as u64) << 48 ^ generation << 32;
    let word = |at: usize| (at as u64 ^ seed).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes();
    let mut chunk = Vec::with_capacity(CHUNK);
    (0..len).step_by(CHUNK).try_for_each(|offset| {
        chunk.clear();
        chunk.extend((offset..len.min(offset + CHUNK)).step_by(8).flat_map(word));
        each(offset, &chunk)
    })
}

fn write(buffer: &Buffer<'_>, number: usize, generation: u64) -> Result<(), BufferError> {
    chunks(buffer.len(), number, generation, |offset, bytes| buffer.write(offset, bytes))
}

fn holds(buffer: &Buffer<'_>, number: usize, generation: u64) -> Result<bool, BufferError> {
    let (mut all, mut found) = (true, vec![0; CHUNK]);
    chunks(buffer.len(), number, generation, |offset, expected| {
        let found = &mut found[..expected.len()];
        buffer.read(offset, found)?;
        all &= found == expected;
        Ok(())
    })?;
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_add_up_and_fit_their_share() {
        for (total, vram) in
            [(0, 1 << 20), (1, 4096), (100 << 20, 8 << 20), (5 << 20, 1 << 30), (9 << 12, 1 << 20)]
        {
            let sizes: Vec<u64> = sizes(total, vram).collect();
            assert_eq!(sizes.iter().sum::<u64>(), total.next_multiple_of(PAGE_SIZE));
            let most = (vram / SHARE).max(PAGE_SIZE);
            assert!(
                sizes.iter().all(|size| (PAGE_SIZE..=most).contains(size)),
                "{total} in {vram}: {sizes:?}"
            );
        }
    }
}
