//! [`Rule`]: the number of a rule, by which its text is found.

use core::fmt;

use crate::judge::TEXTS;

/// How many rules there are.
pub const COUNT: u8 = 28;

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

/// Number of a rule, 1 to 28.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rule(u8);

impl Rule {
    /// Makes a rule of its number, or `None` if there is none of that number.
    #[inline]
    #[must_use]
    pub const fn new(number: u8) -> Option<Rule> {
        if number >= 1 && number <= COUNT { Some(Rule(number)) } else { None }
    }

    /// Makes a rule from a number known when compiling.
    ///
    /// # Panics
    /// If there is no rule of that number.
    #[inline]
    #[must_use]
    pub const fn known(number: u8) -> Rule {
        match Rule::new(number) {
            Some(rule) => rule,
            None => panic!("rules are numbered 1 to 28"),
        }
    }

    /// Returns the number.
    #[inline]
    #[must_use]
    pub const fn number(self) -> u8 {
        self.0
    }

    /// Tells whether those who review Linux's code do not agree that the rule must hold: I10.
    #[must_use]
    pub const fn is_debated(self) -> bool {
        self.0 == 10
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
