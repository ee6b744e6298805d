//! What must hold in every order of threads: see the documentation of the crate.

mod buffers;
mod eviction;
mod exclusive;
mod faults;
mod mutants;
mod peers;
mod pinning;
mod reshaping;
mod scarcity;
mod scenario;
mod teardown;
mod unmapping;
