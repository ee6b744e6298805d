//! Traces in the formats of other programs.

pub mod oracle_general;
pub mod perfetto;
mod protobuf;
