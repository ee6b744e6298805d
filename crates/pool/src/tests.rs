//! Tests that look inside of the pools. They are apart from the sources, which `bifolio-loom` compiles as well.

mod buddy;
mod handed_out;
mod offset;
