//! [`RuleSet`]: a set of rules, such as those that were broken.

use core::fmt;

use crate::Rule;
use crate::judge::Verdict;

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
            bits |= 1 << Rule::known(numbers[at]).number();
            at += 1;
        }
        RuleSet(bits)
    }

    /// Adds the rule of a verdict if it was broken.
    #[inline]
    pub fn note(&mut self, verdict: Verdict) {
        self.0 |= u32::from(!verdict.kept) << verdict.rule.number();
    }

    /// Adds a rule unless it was kept.
    #[inline]
    pub fn require(&mut self, kept: bool, number: u8) {
        if !kept {
            self.0 |= 1 << Rule::known(number).number();
        }
    }

    /// Tells whether the set has no rule.
    #[inline]
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Tells whether a rule is in the set.
    #[inline]
    #[must_use]
    pub const fn contains(self, rule: Rule) -> bool {
        self.0 >> rule.number() & 1 == 1
    }

    /// Returns the rules of either set.
    #[inline]
    #[must_use]
    pub const fn union(self, other: RuleSet) -> RuleSet {
        RuleSet(self.0 | other.0)
    }

    /// Returns the rules of this set that are not in the other one.
    #[inline]
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge;

    #[test]
    fn broken_rules_are_noted_and_kept_ones_are_not() {
        let mut broken = RuleSet::NONE;
        broken.note(judge::i8_counted(512, 512));
        assert!(broken.is_empty());
        broken.note(judge::i8_counted(1, 512));
        broken.note(judge::i27_bytes(1, 2));
        assert_eq!(broken, RuleSet::of(&[8, 27]));
        assert_eq!(
            broken.without(RuleSet::of(&[8])).iter().collect::<alloc::vec::Vec<_>>(),
            [Rule::known(27)]
        );
    }
}
