//! Eviction by name.

use alloc::boxed::Box;
use core::fmt;
use core::str::FromStr;

use super::Eviction;
use super::clock::Clock;
use super::clockpro::ClockPro;
use super::fifo::Fifo;
use super::lru::Lru;
use super::refault::Refault;
use super::s3fifo::S3Fifo;
use super::sieve::Sieve;

/// The name of an [`Eviction`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum EvictionName {
    /// [`Lru`].
    #[default]
    Lru,
    /// [`Fifo`].
    Fifo,
    /// [`Clock`].
    Clock,
    /// [`S3Fifo`].
    S3Fifo,
    /// [`Sieve`].
    Sieve,
    /// [`Refault`].
    Refault,
    /// [`ClockPro`].
    ClockPro,
}

/// No [`Eviction`] has this name.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct UnknownEviction;

impl EvictionName {
    /// All names.
    pub const ALL: [EvictionName; 7] = [
        EvictionName::Lru,
        EvictionName::Fifo,
        EvictionName::Clock,
        EvictionName::S3Fifo,
        EvictionName::Sieve,
        EvictionName::Refault,
        EvictionName::ClockPro,
    ];

    /// The name as it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            EvictionName::Lru => "lru",
            EvictionName::Fifo => "fifo",
            EvictionName::Clock => "clock",
            EvictionName::S3Fifo => "s3fifo",
            EvictionName::Sieve => "sieve",
            EvictionName::Refault => "refault",
            EvictionName::ClockPro => "clockpro",
        }
    }

    /// Makes an order of use of no objects, for a memory of `pages` pages.
    #[must_use]
    pub fn make(self, pages: u64) -> Box<dyn Eviction> {
        match self {
            EvictionName::Lru => Box::new(Lru::default()),
            EvictionName::Fifo => Box::new(Fifo::default()),
            EvictionName::Clock => Box::new(Clock::default()),
            EvictionName::S3Fifo => Box::new(S3Fifo::new(pages)),
            EvictionName::Sieve => Box::new(Sieve::default()),
            EvictionName::Refault => Box::new(Refault::new(pages)),
            EvictionName::ClockPro => Box::new(ClockPro::new(pages)),
        }
    }
}

impl FromStr for EvictionName {
    type Err = UnknownEviction;

    fn from_str(name: &str) -> Result<EvictionName, UnknownEviction> {
        EvictionName::ALL.into_iter().find(|known| known.as_str() == name).ok_or(UnknownEviction)
    }
}

impl fmt::Display for EvictionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
