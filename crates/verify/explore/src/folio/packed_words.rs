//! [`PackedWords`]: 16 bits for each page of a world, in one register.

/// Room for pages of the largest world.
pub const PAGES: usize = 8;

/// 16 bits for each page, the first page lowest.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct PackedWords(pub u128);

/// A one in each lane of the block of each order at page 0.
const ONES: [u128; 4] = [1, 0x1_0001, 0x1_0001_0001_0001, 0x0001_0001_0001_0001_0001_0001_0001_0001];

impl PackedWords {
    /// The same value in all lanes.
    #[must_use]
    pub const fn all(value: u16) -> PackedWords {
        PackedWords(ONES[3] * value as u128)
    }

    /// The same value in the lanes of a block, and 0 elsewhere.
    #[must_use]
    pub fn block(page: u8, order: u8, value: u16) -> PackedWords {
        PackedWords((ONES[usize::from(order) & 3] * u128::from(value)) << (16 * page))
    }

    /// A value in the lane of a page, and 0 elsewhere.
    #[must_use]
    pub fn one(page: u8, value: u16) -> PackedWords {
        // In halves, as a shift of 128 bits by what is not known takes many instructions.
        let half = u64::from(value) << (16 * (page & 3));
        PackedWords(if page & 4 == 0 { u128::from(half) } else { u128::from(half) << 64 })
    }

    /// The lane of a page.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "cuts the lane out")]
    pub fn at(self, page: u8) -> u16 {
        let half = if page & 4 == 0 { self.0 as u64 } else { (self.0 >> 64) as u64 };
        (half >> (16 * (page & 3))) as u16
    }

    /// Replaces the lane of a page.
    pub fn set(&mut self, page: u8, value: u16) {
        self.0 = self.0 & !PackedWords::one(page, u16::MAX).0 | PackedWords::one(page, value).0;
    }

    /// Pages in whose lane a bit is set.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "two halves of four bits each")]
    pub fn pages_with(self, bit: u32) -> u8 {
        // Brings bit 0 of each of four lanes to bits 48 to 51.
        const GATHER: u64 = 1 << 48 | 1 << 33 | 1 << 18 | 1 << 3;
        let set = self.0 >> bit & ONES[3];
        let four = |half: u64| (half.wrapping_mul(GATHER) >> 48) as u8 & 15;
        four(set as u64) | four((set >> 64) as u64) << 4
    }

    /// All ones in the lanes that have a bit set, 0 in the others.
    #[must_use]
    pub fn where_set(self, bit: u32) -> PackedWords {
        let set = self.0 >> bit & ONES[3];
        PackedWords((set << 16).wrapping_sub(set))
    }

    /// Each lane by itself.
    #[must_use]
    pub fn each(self) -> [u16; PAGES] {
        let bytes = self.0.to_le_bytes();
        std::array::from_fn(|at| u16::from_le_bytes([bytes[2 * at], bytes[2 * at + 1]]))
    }
}

impl From<[u16; PAGES]> for PackedWords {
    fn from(each: [u16; PAGES]) -> PackedWords {
        PackedWords(each.iter().rev().fold(0, |all, lane| all << 16 | u128::from(*lane)))
    }
}

impl std::fmt::Debug for PackedWords {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.each()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_are_independent() {
        let mut lanes = PackedWords::from([1, 2, 3, 4, 5, 6, 7, 0xffff]);
        lanes.set(2, 0x8000);
        assert_eq!(lanes.each(), [1, 2, 0x8000, 4, 5, 6, 7, 0xffff]);
        assert_eq!((lanes.at(2), lanes.at(7)), (0x8000, 0xffff));
        assert_eq!(PackedWords::block(2, 1, 9).each(), [0, 0, 9, 9, 0, 0, 0, 0]);
        assert_eq!(PackedWords::all(3).each(), [3; 8]);
    }

    #[test]
    fn pages_are_found_by_a_bit_of_their_lane() {
        for pages in 0..=255u8 {
            let lanes =
                PackedWords::from(std::array::from_fn(
                    |page| if pages >> page & 1 == 1 { 0x10 } else { 0x0f },
                ));
            assert_eq!(lanes.pages_with(4), pages);
            let wide = std::array::from_fn(|page| if pages >> page & 1 == 1 { 0xffff } else { 0 });
            assert_eq!(lanes.where_set(4).each(), wide);
        }
    }
}
