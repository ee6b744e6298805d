//! All tests of the public interface, one binary.

#![expect(clippy::cast_possible_truncation, reason = "the pools are small")]

use bifolio_buddy::{AllocateError, Buddy, Request};
use std::ops::Range;

mod bytes;
mod clearing;
mod every_call;
mod exhaustive;
mod model;
mod owned;
mod weaknesses;

/// Allocates exactly the pages of a range.
fn allocate_exact(buddy: &mut Buddy, range: Range<u64>) -> Result<(), AllocateError> {
    buddy.allocate_with(&Request::pages(range.end.saturating_sub(range.start)).within(range)).map(drop)
}
