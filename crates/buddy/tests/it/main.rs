//! All tests of the public interface, one binary.

#![expect(clippy::cast_possible_truncation, reason = "the pools are small")]

mod bytes;
mod clearing;
mod every_call;
mod exhaustive;
mod model;
mod weaknesses;
