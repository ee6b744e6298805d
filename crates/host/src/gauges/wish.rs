//! What a command asks of the process whose gauges it has: [`Wish`].

use bifolio_policy::PolicyName;
use bifolio_sys::process;

use crate::gauges::Gauges;

/// Words of wishes begin here.
pub(super) const FIRST: usize = 3584;
/// The number of a policy and 1; 0 once the wish is fulfilled.
const POLICY: usize = FIRST;
/// The process that wants everything to wait; 0 for none.
const PAUSED_BY: usize = FIRST + 8;

/// A wish. The process looks for wishes many times a second; of one kind the newest counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wish {
    /// That another policy decides from now on.
    Policy(PolicyName),
    /// That nothing moves, for as long as the process of this number lives.
    Pause {
        /// Who wants it.
        by: u32,
    },
    /// That the work goes on.
    Resume,
}

impl Gauges {
    /// Leaves a wish.
    pub fn wish(&self, wish: Wish) {
        match wish {
            Wish::Policy(name) => self.set(POLICY, u64::from(name.number()) + 1),
            Wish::Pause { by } => self.set(PAUSED_BY, by.into()),
            Wish::Resume => self.set(PAUSED_BY, 0),
        }
    }

    /// Takes the wish for another policy, if there is one.
    #[must_use]
    pub fn take_policy_wish(&self) -> Option<PolicyName> {
        let name = self.policy_at(POLICY)?;
        self.set(POLICY, 0);
        Some(name)
    }

    /// Whether nothing may move. A pause ends with the process that wanted it.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        let by = u32::try_from(self.get(PAUSED_BY)).ok().filter(|pid| *pid != 0);
        by.is_some_and(process::exists)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gauges::Queues;

    #[test]
    fn newest_policy_is_wished_once() {
        let (_, gauges) = Gauges::create(7, Queues::None).expect("memory");
        assert_eq!(gauges.take_policy_wish(), None);
        for name in ["fixed", "density+sieve"] {
            gauges.wish(Wish::Policy(name.parse().expect("a name")));
        }
        assert_eq!(gauges.take_policy_wish(), "density+sieve".parse().ok());
        assert_eq!(gauges.take_policy_wish(), None);
    }

    #[test]
    fn pause_lasts_until_it_is_taken_back_or_its_process_ends() {
        let (_, gauges) = Gauges::create(7, Queues::None).expect("memory");
        assert!(!gauges.is_paused());
        gauges.wish(Wish::Pause { by: std::process::id() });
        assert!(gauges.is_paused());
        gauges.wish(Wish::Resume);
        assert!(!gauges.is_paused());
        let mut child = std::process::Command::new("true").spawn().expect("a process");
        let by = child.id();
        child.wait().expect("it ends");
        gauges.wish(Wish::Pause { by });
        assert!(!gauges.is_paused(), "its process has ended");
    }
}
