//! Worlds of Linux's migration: `migrate_vma`, its slots, and a driver that faults, moves and evicts.
//!
//! ```text
//!   to device   collect -> allocate -> copy -> move mappings, all or some -> finalize
//!   fault       take a reference -> lock, collect -> allocate, large or single -> copy -> move -> finalize
//!   evict       find by device page -> lock, collect -> allocate -> copy -> move -> finalize
//! ```
//!
//! The program writes, touches and drops pages meanwhile, the device writes what it has mapped, another thread holds a
//! folio for a while, and the process may begin to die. No thread waits for a folio lock, save in the design that
//! is about it. What is left out: several
//! processes, file memory, and device memory for more than one object.
#![expect(clippy::cast_possible_truncation, reason = "pages and counts of a small world fit in 8 bits")]

mod action;
mod begin;
pub mod contract;
mod describe;
mod design;
mod judge;
mod settle;
mod state;
mod steps;
mod take;
mod world;

pub use world::World;
