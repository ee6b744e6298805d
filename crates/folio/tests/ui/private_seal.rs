//! The trait that seals the states cannot be named.

use bifolio_folio::folio::sealed::State;

fn main() {}
