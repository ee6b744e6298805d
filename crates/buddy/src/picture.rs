//! A picture of the pages in text.

use crate::buddy::Buddy;
use crate::walk::BlockState;
use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;

/// What a cell shows by how many eighths of its pages are used; a cell without used pages is shown by
/// [`FREE`] or [`CLEARED`].
const SHADES: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// A cell of free pages.
const FREE: char = '.';
/// A cell of free pages that are all cleared.
const CLEARED: char = '_';

/// A picture of an allocator's pages, one line for each region; made by [`Buddy::picture`].
#[derive(Clone, Debug)]
pub struct Picture<'a> {
    buddy: &'a Buddy,
    width: u64,
}

impl Buddy {
    /// Draws the pages in text, each region in `width` cells or one cell a page if there are fewer.
    ///
    /// A cell shows the share of used pages by the height of a bar; `.` is free, `_` free and cleared. Displaying
    /// costs O(blocks + width).
    ///
    /// ```
    /// use bifolio_buddy::{Buddy, Request};
    ///
    /// let mut buddy = Buddy::new(64).unwrap();
    /// buddy.allocate_with(&Request::pages(7).within(10..17)).unwrap();
    /// buddy.declare_cleared(32..64).unwrap();
    /// assert_eq!(buddy.picture(16).to_string(), "0x0..0x40 |..▄█▂...________|\n");
    /// ```
    #[must_use]
    pub fn picture(&self, width: u32) -> Picture<'_> {
        Picture { buddy: self, width: u64::from(width.max(1)) }
    }
}

/// The pages of one cell: `range` cut into `width` equal parts as far as whole pages allow.
fn cell(range: &Range<u64>, width: u64, at: u64) -> Range<u64> {
    let edge = |at: u64| {
        let pages = u128::from(range.end - range.start) * u128::from(at) / u128::from(width);
        range.start + u64::try_from(pages).unwrap_or(u64::MAX)
    };
    edge(at)..edge(at + 1)
}

impl Picture<'_> {
    fn cells(&self, range: &Range<u64>) -> Vec<char> {
        let width = self.width.min(range.end - range.start);
        let mut used = self.buddy.blocks().filter(|(block, state)| {
            *state == BlockState::Used && block.page < range.end && range.start < block.end()
        });
        let mut current = used.next().map(|(block, _)| block.range());
        let mut cells = Vec::new();
        for at in 0..width {
            let cell = cell(range, width, at);
            let mut pages = 0;
            while let Some(block) = current.clone().filter(|block| block.start < cell.end) {
                pages += block.end.min(cell.end) - block.start.max(cell.start);
                if block.end > cell.end {
                    break;
                }
                current = used.next().map(|(block, _)| block.range());
            }
            cells.push(self.shade(&cell, pages));
        }
        cells
    }

    fn shade(&self, cell: &Range<u64>, used: u64) -> char {
        let eighths = (used * 8).div_ceil(cell.end - cell.start);
        let shade = usize::try_from(eighths).ok().and_then(|eighths| SHADES.get(eighths.checked_sub(1)?));
        let free = if self.buddy.is_cleared(cell.clone()) { CLEARED } else { FREE };
        shade.copied().unwrap_or(free)
    }
}

impl fmt::Display for Picture<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for range in self.buddy.regions() {
            write!(f, "{:#x}..{:#x} |", range.start, range.end)?;
            self.cells(&range).into_iter().try_for_each(|cell| write!(f, "{cell}"))?;
            writeln!(f, "|")?;
        }
        Ok(())
    }
}
