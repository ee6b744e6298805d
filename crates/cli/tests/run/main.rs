//! `bifolio run` as a person uses it: real programs print what they print without it, and end as they end.
//!
//! A program that this machine does not have, or a kernel that grants no faults, skips its test by name.

mod calls;
mod children;
mod command;
mod compiled;
mod debuggers;
mod ends;
mod limits;
mod random_calls;
mod recorded;
mod results;
mod shares;
mod starts;
