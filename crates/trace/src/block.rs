//! Blocks: a header of fixed size, and bytes that are checked and may be compressed.
//!
//! A block begins at a multiple of 64 bytes, so that a reader finds the next one after damage.

use crate::wire::EVENT_MAX;

/// Blocks begin at multiples of this.
pub(crate) const ALIGN: usize = 64;
pub(crate) const HEADER_LEN: usize = 48;
/// A block is written once it holds so many bytes before compression.
pub(crate) const RAW_FULL: usize = 64 << 10;
/// The most bytes that a block may hold before compression; a reader refuses more.
pub(crate) const RAW_MAX: usize = RAW_FULL + EVENT_MAX;
const MAGIC: [u8; 4] = *b"BfB1";

/// What the bytes of a block are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Content {
    /// Events.
    Events,
    /// Pairs of a name and a text.
    Notes,
}

/// What a header says, save the checksum.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Header {
    pub(crate) content: Content,
    /// Number of the block in its trace.
    pub(crate) number: u64,
    /// Number of events, or of notes.
    pub(crate) count: u32,
    /// Number of bytes before compression.
    pub(crate) raw_len: u32,
    /// Number of bytes that follow.
    pub(crate) packed_len: u32,
    /// Events lost so far, since the queue was full.
    pub(crate) lost: u64,
}

impl Header {
    fn fields(&self) -> [u8; HEADER_LEN - 8] {
        let mut bytes = [0; HEADER_LEN - 8];
        let content = match self.content {
            Content::Events => 0_u32,
            Content::Notes => 1,
        };
        bytes[0..4].copy_from_slice(&content.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.count.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.number.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.lost.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.raw_len.to_le_bytes());
        bytes[28..32].copy_from_slice(&self.packed_len.to_le_bytes());
        bytes
    }

    /// The header of the block at the beginning of `bytes`, if there is one, and its checksum.
    fn parse(bytes: &[u8]) -> Option<(Header, u32)> {
        let word = |at: usize| bytes.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes);
        let long = |at: usize| bytes.get(at..at + 8)?.try_into().ok().map(u64::from_le_bytes);
        if bytes.get(..4)? != MAGIC {
            return None;
        }
        let content = match word(8)? {
            0 => Content::Events,
            1 => Content::Notes,
            _ => return None,
        };
        let header = Header {
            content,
            count: word(12)?,
            number: long(16)?,
            lost: long(24)?,
            raw_len: word(32)?,
            packed_len: word(36)?,
        };
        Some((header, word(4)?))
    }

    /// How far it is from the block's beginning to the next.
    pub(crate) fn stride(&self) -> usize {
        (HEADER_LEN + self.packed_len as usize).next_multiple_of(ALIGN)
    }
}

/// Makes a whole block, padded to where the next one begins.
pub(crate) fn seal(content: Content, number: u64, count: u32, lost: u64, raw: &[u8]) -> Vec<u8> {
    let packed = lz4_flex::block::compress(raw);
    let length = |bytes: &[u8]| u32::try_from(bytes.len()).expect("blocks are small");
    let (raw_len, packed_len) = (length(raw), length(&packed));
    let header = Header { content, number, count, raw_len, packed_len, lost };
    let fields = header.fields();
    let mut block = Vec::with_capacity(header.stride());
    block.extend_from_slice(&MAGIC);
    block.extend_from_slice(&checksum(&fields, &packed).to_le_bytes());
    block.extend_from_slice(&fields);
    block.extend_from_slice(&packed);
    block.resize(header.stride(), 0);
    block
}

/// The header of the whole and undamaged block at the beginning of `bytes`, if there is one.
pub(crate) fn check(bytes: &[u8]) -> Option<Header> {
    let (header, sum) = Header::parse(bytes)?;
    let packed = packed(&header, bytes)?;
    let is_whole = header.raw_len as usize <= RAW_MAX && checksum(bytes.get(8..HEADER_LEN)?, packed) == sum;
    is_whole.then_some(header)
}

/// What a block holds, uncompressed. `None` if it is not what its header says.
pub(crate) fn open(header: &Header, bytes: &[u8]) -> Option<Vec<u8>> {
    let raw = lz4_flex::block::decompress(packed(header, bytes)?, header.raw_len as usize).ok()?;
    (raw.len() == header.raw_len as usize).then_some(raw)
}

fn packed<'b>(header: &Header, bytes: &'b [u8]) -> Option<&'b [u8]> {
    bytes.get(HEADER_LEN..HEADER_LEN.checked_add(header.packed_len as usize)?)
}

fn checksum(fields: &[u8], packed: &[u8]) -> u32 {
    let mut sum = crc32fast::Hasher::new();
    sum.update(fields);
    sum.update(packed);
    sum.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn block_says_what_it_holds() {
        let raw: Vec<u8> = (0..9999_u32).flat_map(|n| [0, (n >> 8).to_le_bytes()[0]]).collect();
        let block = seal(Content::Events, 7, 3, 9, &raw);
        let header = check(&block).expect("whole");
        assert_eq!((header.content, header.number, header.count, header.lost), (Content::Events, 7, 3, 9));
        assert_eq!(open(&header, &block), Some(raw));
        assert!(block.len().is_multiple_of(ALIGN) && block.len() == header.stride());
    }

    #[test]
    fn any_byte_that_changed_is_noticed() {
        let block = seal(Content::Notes, 1, 1, 0, b"some bytes of a block");
        let used = HEADER_LEN + check(&block).expect("whole").packed_len as usize;
        for at in 0..used {
            let mut damaged = block.clone();
            damaged[at] ^= 0x10;
            assert_eq!(check(&damaged), None, "byte {at}");
        }
        assert!((0..used).all(|length| check(&block[..length]).is_none()));
    }
}
