//! What a user can do here, and what lifts the limits: [`Ability`], as the kernel's grants and a trial make it.

use bifolio_folio::Order;
use bifolio_sys::host::Host;
use serde::Serialize;

use crate::doctor::grant::{Grant, Use};
use crate::figures::{bytes, grouped};

/// Whether something can be done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Ability {
    /// What a user would do.
    pub name: &'static str,
    /// Whether it works.
    pub works: bool,
    /// How well, or why not.
    pub note: String,
    /// Commands or kernels that lift what stands in the way.
    pub lifted_by: Vec<&'static str>,
}

/// Says what works; `failure` is why the built-in device does not, if so.
pub fn list(grants: &[Grant], host: &Host, failure: Option<&str>) -> Vec<Ability> {
    let abilities = Use::ALL.into_iter().map(|wanted| (wanted, ability(wanted, grants, host, failure)));
    abilities
        .filter(|(wanted, ability)| wanted.is_always_shown() || !ability.works)
        .map(|(_, ability)| ability)
        .collect()
}

fn ability(wanted: Use, grants: &[Grant], host: &Host, failure: Option<&str>) -> Ability {
    let missed: Vec<&Grant> =
        grants.iter().filter(|grant| grant.is_missed() && grant.needed_for == Some(wanted)).collect();
    let refusal = match wanted {
        Use::Check => None,
        Use::Private => failure.map(str::to_owned),
        _ => failure.map(|_| "no device works".to_owned()),
    };
    let refusal = refusal.or_else(|| missed.first().and_then(|grant| grant.cost).map(str::to_owned));
    let mut lifted_by: Vec<_> = missed.iter().filter_map(|grant| grant.remedy).collect();
    lifted_by.dedup();
    let works = refusal.is_none();
    Ability { name: wanted.name(), works, note: refusal.unwrap_or_else(|| how_well(wanted, host)), lifted_by }
}

/// What is worth saying of something that works.
fn how_well(wanted: Use, host: &Host) -> String {
    match (wanted, host.max_map_count) {
        (Use::Check, _) => "needs nothing of the kernel".to_owned(),
        (Use::Coherent, Some(mappings)) => {
            // Each folio that is mapped takes up to two mappings, and has 64 KiB at least.
            let most = mappings / 2 * Order::K64.bytes();
            format!("up to about {} ({} mappings)", bytes(most), grouped(mappings))
        }
        _ => String::new(),
    }
}

/// What a user should know before lifting a limit.
pub fn caution(remedy: &str) -> Option<&'static str> {
    let lets_faults_wait = remedy.contains("/dev/userfaultfd") || remedy.contains("unprivileged_userfaultfd");
    lets_faults_wait.then_some("This lets your programs delay faults inside the kernel.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::grant;
    use bifolio_sys::probe::{Grants, Trial};

    fn works(abilities: &[Ability], name: &str) -> bool {
        abilities.iter().find(|ability| ability.name == name).expect("it is listed").works
    }

    #[test]
    fn lack_of_a_feature_takes_what_needs_it_and_says_what_lifts_that() {
        let fails = Trial::Fails { step: "UFFDIO_MOVE", errno: None };
        let grants = Grants { move_small: fails, poison: fails, ..Grants::probe() };
        if grants.granted.is_empty() {
            return;
        }
        let abilities = list(&grant::list(&grants), &grants.host, None);
        assert!(!works(&abilities, "run (unmodified programs)") && works(&abilities, "demo, private memory"));
        let lost =
            abilities.iter().find(|ability| ability.name == "SIGBUS for lost pages").expect("it is missed");
        assert_eq!((lost.works, lost.lifted_by.as_slice()), (false, &["Linux 6.6 or newer"][..]));
    }

    #[test]
    fn without_a_device_the_explorer_still_works() {
        let host = Host::read();
        let abilities = list(&[], &host, Some("userfaultfd is refused"));
        assert!(works(&abilities, "check"));
        assert!(abilities.iter().skip(1).all(|ability| !ability.works));
        assert_eq!(abilities[1].note, "userfaultfd is refused");
    }

    #[test]
    fn coherent_memory_is_bounded_by_mappings() {
        let host = Host { max_map_count: Some(65_530), ..Host::read() };
        assert_eq!(how_well(Use::Coherent, &host), "up to about 2.0 GiB (65,530 mappings)");
    }
}
