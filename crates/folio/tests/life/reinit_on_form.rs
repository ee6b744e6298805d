//! All tests of `split_on_free.rs`, with pagemaps that reset folios when they are formed.

mod model;
mod pool;
mod refusals;
mod rules;
mod threads;

/// What the pagemaps of all tests are made with.
const RESET: bifolio_folio::Reset = bifolio_folio::Reset::OnForm;
