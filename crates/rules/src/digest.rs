//! Digests of pages, by which bytes are compared that are not there any more (I27).

/// Bytes of a page.
pub const PAGE: usize = 4096;

/// The digest of a page of zeros.
pub const OF_ZEROS: u64 = digest(&[0; PAGE]);

/// Returns the digest of a page, never 0. Equal pages have equal digests; of pages that differ, one pair in about 2^64
/// has. Recorded traces hold digests, so this function does not change.
#[must_use]
pub const fn digest(page: &[u8; PAGE]) -> u64 {
    // Four sums of products, so that the multiplications need not wait for each other. Plain loops and numbers: tests,
    // which are hardly optimised, move much memory through this.
    let [mut a, mut b, mut c, mut d] = MULTIPLIERS;
    let (words, _) = page.as_chunks::<8>();
    let mut at = 0;
    while at < words.len() {
        a = (a ^ u64::from_le_bytes(words[at])).wrapping_mul(MULTIPLIERS[0]).rotate_left(29);
        b = (b ^ u64::from_le_bytes(words[at + 1])).wrapping_mul(MULTIPLIERS[1]).rotate_left(29);
        c = (c ^ u64::from_le_bytes(words[at + 2])).wrapping_mul(MULTIPLIERS[2]).rotate_left(29);
        d = (d ^ u64::from_le_bytes(words[at + 3])).wrapping_mul(MULTIPLIERS[3]).rotate_left(29);
        at += 4;
    }
    let all = mix(mix(mix(mix(0, a), b), c), d);
    if all == 0 { 1 } else { all }
}

const fn mix(all: u64, sum: u64) -> u64 {
    (all ^ sum).wrapping_mul(MULTIPLIERS[0]).rotate_left(32)
}

const MULTIPLIERS: [u64; 4] =
    [0x9e37_79b9_7f4a_7c15, 0xbf58_476d_1ce4_e5b9, 0x94d0_49bb_1331_11eb, 0xd6e8_feb8_6659_fd93];
const _: () = assert!(PAGE.is_multiple_of(32));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_bit_anywhere_changes_the_digest() {
        for at in (0..PAGE).step_by(61) {
            let mut page = [0; PAGE];
            page[at] = 1;
            assert_ne!(digest(&page), OF_ZEROS, "byte {at}");
        }
    }

    #[test]
    fn digests_are_those_that_traces_hold() {
        let mut page = [0; PAGE];
        page.iter_mut().zip(0_u8..=u8::MAX).for_each(|(byte, value)| *byte = value);
        assert_eq!((OF_ZEROS, digest(&page)), (0x6cf4_a956_afad_f89d, 0x0bea_0e3b_c2f8_8af9));
    }
}
