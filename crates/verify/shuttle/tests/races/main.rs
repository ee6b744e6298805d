//! What must hold whoever goes on when: see the documentation of the crate.

mod eviction;
mod faults;
mod fork;
mod mutants;
mod objects;
mod pinning;
mod reshaping;
mod scarcity;
mod scenario;
mod teardown;
mod unmapping;
