//! Digests of pages, to compare what was copied with what was to be copied (I27).

use bifolio_sys::{PAGE, SharedBytes};

/// Digests of the pages of `bytes`, never 0. Equal pages have equal digests; of pages that differ, one pair in about
/// 2^64 has.
pub(super) fn digests(bytes: SharedBytes<'_>) -> Vec<u64> {
    let mut page = [0; PAGE];
    (0..bytes.len() / PAGE)
        .map(|number| {
            let window = bytes.part(number * PAGE, PAGE).expect("whole pages of the window");
            window.read_into(&mut page).expect("the window is a page");
            digest(&page)
        })
        .collect()
}

/// The digest of a page of zeros.
pub(super) fn of_zeros() -> u64 {
    digest(&[0; PAGE])
}

/// Four sums of products, so that the multiplications need not wait for each other. Plain loops and numbers: tests, which
/// are hardly optimised, move much memory through this.
fn digest(page: &[u8; PAGE]) -> u64 {
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
    let mix = |all: u64, sum: u64| (all ^ sum).wrapping_mul(MULTIPLIERS[0]).rotate_left(32);
    [a, b, c, d].into_iter().fold(0, mix).max(1)
}

const MULTIPLIERS: [u64; 4] =
    [0x9e37_79b9_7f4a_7c15, 0xbf58_476d_1ce4_e5b9, 0x94d0_49bb_1331_11eb, 0xd6e8_feb8_6659_fd93];
const _: () = assert!(PAGE.is_multiple_of(32));

#[cfg(test)]
mod tests {
    use bifolio_sys::{Mapping, Placement, Protection};

    use super::*;

    #[test]
    fn one_bit_anywhere_changes_the_digest_of_its_page_only() {
        let memory =
            Mapping::anonymous(2 * PAGE, Protection::ReadWrite, Placement::Anywhere).expect("two pages");
        for at in (0..PAGE).step_by(509) {
            memory.all().fill_zero();
            memory.all().write(at, 1_u8).expect("inside");
            let [changed, zeros] = digests(memory.all())[..] else { panic!("two pages") };
            assert!(changed != zeros && zeros == of_zeros(), "byte {at}");
        }
    }
}
