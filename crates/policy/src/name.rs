//! Policies by name.

use alloc::boxed::Box;
use alloc::string::{String, ToString};
use core::fmt;
use core::str::FromStr;

use crate::auto::Auto;
use crate::density::Density;
use crate::eviction::EvictionName;
use crate::fixed::{Fixed, FixedOrders};
use crate::memory::Memory;
use crate::policy::{Policies, Policy};
use crate::stride::Stride;
use crate::throttle::Throttle;

/// What decides how much moves.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Granularity {
    /// [`Auto`].
    #[default]
    Auto,
    /// [`Fixed`], with orders that leave room for 64 folios in each memory.
    Fixed,
    /// [`Stride`].
    Stride,
    /// [`Density`].
    Density,
}

/// The name of a policy: what decides how much moves, what leaves, and whether what bounces is slowed down; joined by `+`,
/// such as `stride+sieve+throttle`. Each part may be left out; nothing is `auto`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct PolicyName {
    /// How much moves.
    pub granularity: Granularity,
    /// What leaves; `None`: what suits the granularity.
    pub eviction: Option<EvictionName>,
    /// Whether what bounces is slowed down. [`Auto`] does so by itself.
    pub throttle: bool,
}

/// No policy has this name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UnknownPolicy {
    /// The part of the name that is unknown, or given twice.
    pub part: String,
}

impl fmt::Display for UnknownPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let UnknownPolicy { part } = self;
        write!(
            f,
            "no policy is called {part:?}; there are auto, fixed, stride, density, each also with +lru, +fifo, +clock, +s3fifo, +sieve, +refault or +clockpro, and with +throttle"
        )
    }
}

impl core::error::Error for UnknownPolicy {}

impl Granularity {
    /// All of them.
    pub const ALL: [Granularity; 4] =
        [Granularity::Auto, Granularity::Fixed, Granularity::Stride, Granularity::Density];

    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Granularity::Auto => "auto",
            Granularity::Fixed => "fixed",
            Granularity::Stride => "stride",
            Granularity::Density => "density",
        }
    }

    /// Says in a few words what it does.
    #[must_use]
    pub fn about(self) -> &'static str {
        match self {
            Granularity::Auto => {
                "Learns what was worth moving; under pressure, what is used rarely stays in place"
            }
            Granularity::Fixed => "Folios of the same order at every fault",
            Granularity::Stride => "More at each step of a walk through memory, also of strided ones",
            Granularity::Density => {
                "The tree of the GPU vendors: what is more than half there is brought whole"
            }
        }
    }
}

impl PolicyName {
    /// All names.
    pub fn all() -> impl Iterator<Item = PolicyName> {
        (0..=u8::MAX).map_while(PolicyName::of_number)
    }

    /// Its number: small, and the same in all processes of one build.
    #[must_use]
    pub fn number(self) -> u8 {
        let place = EvictionName::ALL.iter().position(|name| Some(*name) == self.eviction);
        let eviction = place.map_or(0, |place| place + 1);
        let number = (self.granularity as usize * EVICTIONS + eviction) * 2 + usize::from(self.throttle);
        u8::try_from(number).expect("there are few names")
    }

    /// The name of a number, if there is one.
    #[must_use]
    pub fn of_number(number: u8) -> Option<PolicyName> {
        let (rest, throttle) = (usize::from(number / 2), number % 2 == 1);
        let granularity = *Granularity::ALL.get(rest / EVICTIONS)?;
        let eviction = (rest % EVICTIONS).checked_sub(1).map(|place| EvictionName::ALL[place]);
        Some(PolicyName { granularity, eviction, throttle })
    }
}

/// What can leave first: what suits the granularity, or one of the orders of use.
const EVICTIONS: usize = EvictionName::ALL.len() + 1;

impl Policies for PolicyName {
    fn make(&self, memory: &Memory) -> Box<dyn Policy> {
        let or = |suiting| self.eviction.unwrap_or(suiting);
        let inner: Box<dyn Policy> = match self.granularity {
            Granularity::Auto => {
                // Blocks that stay because they are wanted, of which a few pages are, leave no room for others.
                let suiting = if memory.blind { EvictionName::Refault } else { EvictionName::ClockPro };
                Box::new(Auto::new(memory, or(suiting)))
            }
            Granularity::Fixed => {
                let orders = FixedOrders::for_memory(memory.least_pages, memory.pages);
                Box::new(Fixed::new(orders, memory, or(EvictionName::Lru)))
            }
            Granularity::Stride => Box::new(Stride::new(memory, or(EvictionName::Lru))),
            Granularity::Density => Box::new(Density::new(memory, or(EvictionName::Lru))),
        };
        if self.throttle { Box::new(Throttle::new(inner, memory)) } else { inner }
    }
}

impl FromStr for PolicyName {
    type Err = UnknownPolicy;

    fn from_str(name: &str) -> Result<PolicyName, UnknownPolicy> {
        let (mut granularity, mut eviction, mut throttle) = (None, None, false);
        for part in name.split('+') {
            let known = Granularity::ALL.into_iter().find(|known| known.as_str() == part);
            let twice = match (known, part.parse::<EvictionName>()) {
                (Some(known), _) => granularity.replace(known).is_some(),
                (None, Ok(known)) => eviction.replace(known).is_some(),
                (None, Err(_)) if part == "throttle" => core::mem::replace(&mut throttle, true),
                (None, Err(_)) => true,
            };
            if twice {
                return Err(UnknownPolicy { part: part.to_string() });
            }
        }
        Ok(PolicyName { granularity: granularity.unwrap_or_default(), eviction, throttle })
    }
}

impl fmt::Display for PolicyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.granularity.as_str())?;
        if let Some(eviction) = self.eviction {
            write!(f, "+{eviction}")?;
        }
        if self.throttle { f.write_str("+throttle") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for name in ["auto", "fixed", "stride+sieve", "density+lru+throttle", "auto+s3fifo"] {
            let read: PolicyName = name.parse().expect("a known name");
            assert_eq!(read.to_string(), name);
        }
        assert_eq!(
            "sieve".parse(),
            Ok(PolicyName { eviction: Some(EvictionName::Sieve), ..PolicyName::default() })
        );
    }

    #[test]
    fn every_name_has_a_number_of_its_own() {
        let names: alloc::vec::Vec<_> = PolicyName::all().collect();
        assert_eq!(names.len(), 4 * 8 * 2);
        for name in names {
            assert_eq!(PolicyName::of_number(name.number()), Some(name));
        }
        assert_eq!(PolicyName::of_number(u8::MAX), None);
    }

    #[test]
    fn unknown_and_repeated_parts_are_named() {
        for (name, part) in
            [("", ""), ("auto+", ""), ("lru+fifo", "fifo"), ("stride+auto", "auto"), ("best", "best")]
        {
            assert_eq!(name.parse::<PolicyName>(), Err(UnknownPolicy { part: part.into() }));
        }
    }
}
