//! Copies of a few bytes, by whole words where they are aligned: those never tear. Copies that begin aligned are the fast ones.

use bifolio_sys::{AccessError, SharedBytes};

/// Bytes up to which copies are done here.
pub(crate) const SMALL: usize = 64;

/// The largest of 8, 4, 2 and 1 that divides `address` and is at most `left`, which is not 0.
fn step(address: usize, left: usize) -> usize {
    let aligned = 1 << address.trailing_zeros().min(3);
    let fits = 1 << left.ilog2().min(3);
    aligned.min(fits)
}

/// Copies from `offset` on.
pub(crate) fn read(memory: SharedBytes<'_>, offset: usize, to: &mut [u8]) -> Result<(), AccessError> {
    let mut at = 0;
    if offset.is_multiple_of(8) {
        for word in to.as_chunks_mut().0 {
            *word = memory.read::<u64>(offset + at)?.to_ne_bytes();
            at += 8;
        }
    }
    while at < to.len() {
        let (from, left) = (offset + at, to.len() - at);
        let step = step(from, left);
        let part = &mut to[at..at + step];
        match step {
            8 => part.copy_from_slice(&memory.read::<u64>(from)?.to_ne_bytes()),
            4 => part.copy_from_slice(&memory.read::<u32>(from)?.to_ne_bytes()),
            2 => part.copy_from_slice(&memory.read::<u16>(from)?.to_ne_bytes()),
            _ => part.copy_from_slice(&memory.read::<u8>(from)?.to_ne_bytes()),
        }
        at += step;
    }
    Ok(())
}

/// Copies to `offset` on.
pub(crate) fn write(memory: SharedBytes<'_>, offset: usize, from: &[u8]) -> Result<(), AccessError> {
    let mut at = 0;
    if offset.is_multiple_of(8) {
        for word in from.as_chunks().0 {
            memory.write(offset + at, u64::from_ne_bytes(*word))?;
            at += 8;
        }
    }
    while at < from.len() {
        let (to, left) = (offset + at, from.len() - at);
        let step = step(to, left);
        let part = &from[at..at + step];
        match *part {
            [a, b, c, d, e, f, g, h] => memory.write(to, u64::from_ne_bytes([a, b, c, d, e, f, g, h]))?,
            [a, b, c, d] => memory.write(to, u32::from_ne_bytes([a, b, c, d]))?,
            [a, b] => memory.write(to, u16::from_ne_bytes([a, b]))?,
            _ => memory.write(to, part[0])?,
        }
        at += step;
    }
    Ok(())
}

/// Whether byte number `byte` is chosen by a strobe: bit `byte % 8` of its byte `byte / 8`.
pub(crate) fn is_strobed(strobe: &[u8], byte: usize) -> bool {
    strobe[byte / 8] >> (byte % 8) & 1 == 1
}

/// Copies to `offset` on those bytes that the strobe chooses; byte 0 of `from` is byte `first` of the strobe. Chosen bytes
/// side by side are written together.
pub(crate) fn write_strobed(
    memory: SharedBytes<'_>,
    offset: usize,
    from: &[u8],
    (strobe, first): (&[u8], usize),
) -> Result<(), AccessError> {
    let mut at = 0;
    while at < from.len() {
        let chosen = |byte: usize| is_strobed(strobe, first + byte);
        let run = (at..from.len()).take_while(|byte| chosen(*byte)).count();
        write(memory, offset + at, &from[at..at + run])?;
        at += run.max(1);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use bifolio_sys::{Mapping, PAGE, Placement, Protection};

    use super::*;

    fn page() -> Mapping {
        Mapping::anonymous(PAGE, Protection::ReadWrite, Placement::Anywhere).expect("a page")
    }

    #[test]
    fn every_length_at_every_offset_copies_its_bytes_and_no_other() {
        let pattern: Vec<u8> = (1..=64).collect();
        for offset in 0..16 {
            for len in 0..=SMALL {
                let mapping = page();
                write(mapping.all(), offset, &pattern[..len]).expect("inside");
                let mut all = [0; 96];
                read(mapping.all(), 0, &mut all).expect("inside");
                assert_eq!(all[..offset], vec![0; offset]);
                assert_eq!(all[offset..offset + len], pattern[..len]);
                assert_eq!(all[offset + len..], vec![0; 96 - offset - len]);
            }
        }
    }

    #[test]
    fn aligned_words_are_moved_whole() {
        assert_eq!(
            [step(0, 8), step(8, 9), step(4, 8), step(6, 8), step(1, 8), step(0, 7)],
            [8, 8, 4, 2, 1, 4]
        );
    }

    #[test]
    fn strobe_chooses_bytes() {
        let mapping = page();
        let from: Vec<u8> = (1..=24).collect();
        // Bytes 4 to 19 and 23 of the strobe, seen from byte 4 on.
        write_strobed(mapping.all(), 3, &from[..20], (&[0xf0, 0xff, 0x8f], 4)).expect("inside");
        let mut all = [0; 32];
        read(mapping.all(), 0, &mut all).expect("inside");
        let expected: Vec<u8> =
            (0..32).map(|at| if (3..19).contains(&at) || at == 22 { at - 2 } else { 0 }).collect();
        assert_eq!(all[..], expected);
    }
}
