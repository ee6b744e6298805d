//! oracleGeneral, the format of libCacheSim and of other cache simulators: each access with the time of the next one to
//! the same page.
//!
//! A record has 24 bytes, little-endian: `u32` seconds, `u64` page number, `u32` bytes, `i64` number of the next record of
//! the same page, or -1. Source: libCacheSim, `libCacheSim/traceReader/customizedReader/oracle/oracleGeneralBin.h`.

use std::collections::HashMap;
use std::io::{self, Write};

use bifolio_folio::PAGE_SIZE;

use crate::event::Kind;
use crate::reader::Trace;

/// The length of a record.
pub const RECORD_LEN: usize = 24;

/// Why a trace has no such form.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// It has no accesses.
    #[error("the trace has no accesses, only faults and what moved: record one with --trace-accesses")]
    NoAccesses,
    /// Some are missing.
    #[error(
        "events are missing from the trace, so not every access is known: record it again, on a machine that has time for \
         the writer"
    )]
    Gaps,
    /// Writing failed.
    #[error("writing failed")]
    Write(#[from] io::Error),
}

/// Writes the accesses of a trace; returns how many there are.
///
/// # Errors
/// See [`ExportError`].
pub fn write(trace: &Trace, out: &mut impl Write) -> Result<u64, ExportError> {
    let accesses: Vec<(u32, u64)> = trace
        .events()
        .filter_map(|event| match event.kind {
            Kind::Access { address, .. } => {
                let seconds = u32::try_from(event.time_ns / 1_000_000_000).unwrap_or(u32::MAX);
                Some((seconds, address / PAGE_SIZE))
            }
            _ => None,
        })
        .collect();
    if accesses.is_empty() {
        return Err(ExportError::NoAccesses);
    }
    if !trace.has_no_gaps() {
        return Err(ExportError::Gaps);
    }
    let next = next_accesses(accesses.iter().map(|(_, page)| *page));
    for ((seconds, page), next) in accesses.iter().zip(next) {
        let mut record = [0; RECORD_LEN];
        record[0..4].copy_from_slice(&seconds.to_le_bytes());
        record[4..12].copy_from_slice(&page.to_le_bytes());
        record[12..16].copy_from_slice(&u32::try_from(PAGE_SIZE).unwrap_or(0).to_le_bytes());
        record[16..24].copy_from_slice(&next.to_le_bytes());
        out.write_all(&record)?;
    }
    Ok(accesses.len() as u64)
}

/// The numbers of the pages or objects that were accessed, in order; `None` if the bytes are no such trace.
#[must_use]
pub fn read(bytes: &[u8]) -> Option<Vec<u64>> {
    let (records, rest) = bytes.as_chunks::<RECORD_LEN>();
    let mut numbers = Vec::with_capacity(records.len());
    for (at, record) in (0_i64..).zip(records) {
        let number = u64::from_le_bytes(record[4..12].try_into().ok()?);
        let next = i64::from_le_bytes(record[16..24].try_into().ok()?);
        // Where there is none, simulators write -1 or the largest number.
        if next != -1 && next <= at {
            return None;
        }
        numbers.push(number);
    }
    (rest.is_empty() && !numbers.is_empty()).then_some(numbers)
}

/// For each access the number of the next one to the same page, or -1.
fn next_accesses(pages: impl DoubleEndedIterator<Item = u64> + ExactSizeIterator) -> Vec<i64> {
    let mut next = vec![-1; pages.len()];
    let mut seen = HashMap::new();
    for (number, page) in pages.enumerate().rev() {
        let number_of = |number| i64::try_from(number).expect("a trace is shorter");
        if let Some(later) = seen.insert(page, number) {
            next[number] = number_of(later);
        }
    }
    next
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_whose_next_access_is_not_later_are_no_trace() {
        let record = |page: u64, next: i64| {
            let mut record = [0; RECORD_LEN];
            record[4..12].copy_from_slice(&page.to_le_bytes());
            record[16..24].copy_from_slice(&next.to_le_bytes());
            record
        };
        let bytes = [record(5, 2), record(6, i64::MAX), record(5, -1)].concat();
        assert_eq!(read(&bytes), Some(vec![5, 6, 5]));
        assert_eq!((read(&bytes[1..]), read(&[]), read(&record(5, 0))), (None, None, None));
    }

    #[test]
    fn next_access_is_that_of_the_same_page() {
        assert_eq!(next_accesses([5, 6, 5, 5].into_iter()), [2, -1, 3, -1]);
    }
}
