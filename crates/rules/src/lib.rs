//! The rules I1 to I27: number, sentence and source of each, and sets of them.
//!
//! A rule is data here ([`Rule::info`]) and a small function over facts in [`facts`]: what was seen at one transition.
//! Explored worlds and the running engine gather the facts, the functions judge them.

#![no_std]
#![forbid(unsafe_code)]

pub mod facts;

use core::fmt;

use crate::texts::TEXTS;

mod texts;

/// How many rules there are.
pub const COUNT: u8 = 27;

/// What is known about a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Info {
    /// A few words, for tables.
    pub short: &'static str,
    /// The rule.
    pub sentence: &'static str,
    /// Where it comes from: the discussion, the fix or the driver that shows what happens without it.
    pub source: &'static str,
}

/// Number of a rule, 1 to 27.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rule(u8);

impl Rule {
    /// Makes a rule of its number, or `None` if there is none of that number.
    #[must_use]
    pub const fn new(number: u8) -> Option<Rule> {
        if number >= 1 && number <= COUNT { Some(Rule(number)) } else { None }
    }

    /// Makes a rule from a number known when compiling.
    ///
    /// # Panics
    /// If there is no rule of that number.
    #[must_use]
    pub const fn known(number: u8) -> Rule {
        match Rule::new(number) {
            Some(rule) => rule,
            None => panic!("rules are numbered 1 to 27"),
        }
    }

    /// Returns the number.
    #[must_use]
    pub const fn number(self) -> u8 {
        self.0
    }

    /// Returns sentence and source.
    #[must_use]
    pub fn info(self) -> &'static Info {
        &TEXTS[usize::from(self.0) - 1]
    }

    /// Iterates over all rules in the order of their numbers.
    pub fn all() -> impl DoubleEndedIterator<Item = Rule> + Clone {
        (1..=COUNT).map(Rule)
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "I{}", self.0)
    }
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A set of rules, one bit each.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct RuleSet(u32);

impl RuleSet {
    /// No rule.
    pub const NONE: RuleSet = RuleSet(0);

    /// Makes a set of numbers known when compiling.
    ///
    /// # Panics
    /// If there is no rule of one of the numbers.
    #[must_use]
    pub const fn of(numbers: &[u8]) -> RuleSet {
        let (mut bits, mut at) = (0, 0);
        while at < numbers.len() {
            bits |= 1 << Rule::known(numbers[at]).0;
            at += 1;
        }
        RuleSet(bits)
    }

    /// Adds a rule unless it was kept.
    #[inline]
    pub fn require(&mut self, kept: bool, number: u8) {
        if !kept {
            self.0 |= 1 << Rule::known(number).0;
        }
    }

    /// Tells whether the set has no rule.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Tells whether a rule is in the set.
    #[must_use]
    pub const fn contains(self, rule: Rule) -> bool {
        self.0 >> rule.0 & 1 == 1
    }

    /// Returns the rules of either set.
    #[must_use]
    pub const fn union(self, other: RuleSet) -> RuleSet {
        RuleSet(self.0 | other.0)
    }

    /// Returns the rules of this set that are not in the other one.
    #[must_use]
    pub const fn without(self, other: RuleSet) -> RuleSet {
        RuleSet(self.0 & !other.0)
    }

    /// Iterates over the rules of the set in the order of their numbers.
    pub fn iter(self) -> impl Iterator<Item = Rule> {
        Rule::all().filter(move |&rule| self.contains(rule))
    }
}

impl fmt::Display for RuleSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, rule) in self.iter().enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            write!(f, "{comma}{rule}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for RuleSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{self}}}")
    }
}
