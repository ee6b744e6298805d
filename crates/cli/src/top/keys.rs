//! What keys mean.

use bifolio_policy::{EvictionName, Granularity, PolicyName};
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// What a key asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// To end.
    Quit,
    /// To end as by a signal.
    Interrupt,
    /// To show or hide what the keys do.
    Help,
    /// That nothing moves, or goes on.
    Pause,
    /// Another way to decide how much moves.
    NextGranularity,
    /// Another way to decide what leaves.
    NextEviction,
    /// Nothing.
    None,
}

/// The keys and what they do, as they are shown.
pub const HELP: [(&str, &str); 5] = [
    ("q", "quit; the program goes on"),
    ("p", "pause: nothing moves until p again; a thread that needs a page waits"),
    ("m", "what decides how much moves: auto, fixed, stride, density"),
    ("e", "what decides what leaves: its own, lru, fifo, clock, s3fifo, sieve, refault, clockpro"),
    ("?", "show or hide this"),
];

/// Returns what a key asks for.
pub fn action(key: KeyEvent) -> Action {
    if key.modifiers.contains(KeyModifiers::CONTROL) {
        return if key.code == KeyCode::Char('c') { Action::Interrupt } else { Action::None };
    }
    match key.code {
        KeyCode::Char('q') => Action::Quit,
        KeyCode::Char('?' | 'h') => Action::Help,
        KeyCode::Char('p') => Action::Pause,
        KeyCode::Char('m') => Action::NextGranularity,
        KeyCode::Char('e') => Action::NextEviction,
        _ => Action::None,
    }
}

/// Returns the policy that comes after another one.
pub fn next_policy(policy: PolicyName, action: Action) -> PolicyName {
    if action == Action::NextGranularity {
        let place = policy.granularity as usize + 1;
        let granularity = Granularity::ALL[place % Granularity::ALL.len()];
        return PolicyName { granularity, ..policy };
    }
    let place = EvictionName::ALL.iter().position(|name| Some(*name) == policy.eviction);
    let eviction = EvictionName::ALL.get(place.map_or(0, |place| place + 1)).copied();
    PolicyName { eviction, ..policy }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_policy_is_reached_and_the_first_comes_again() {
        let mut policy = PolicyName::default();
        let granularities: Vec<_> = (0..4)
            .map(|_| {
                policy = next_policy(policy, Action::NextGranularity);
                policy.to_string()
            })
            .collect();
        assert_eq!(granularities, ["fixed", "stride", "density", "auto"]);
        let evictions: Vec<_> = (0..8)
            .map(|_| {
                policy = next_policy(policy, Action::NextEviction);
                policy.to_string()
            })
            .collect();
        let each = ["lru", "fifo", "clock", "s3fifo", "sieve", "refault", "clockpro"]
            .map(|order| format!("auto+{order}"));
        assert_eq!(evictions, [each.as_slice(), &["auto".to_owned()]].concat());
    }

    #[test]
    fn every_key_of_the_help_does_something() {
        for (key, _) in HELP {
            let code = KeyCode::Char(key.chars().next().expect("a key"));
            assert_ne!(action(KeyEvent::new(code, KeyModifiers::NONE)), Action::None, "{key}");
        }
        let interrupt = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        assert_eq!(action(interrupt), Action::Interrupt);
    }
}
