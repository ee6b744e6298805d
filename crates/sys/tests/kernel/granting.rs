//! The probe agrees with what the other tests can do.

use bifolio_sys::probe::{Grants, Trial};
use bifolio_sys::{Access, Features, Reads, Uffd, Way};

use crate::limits::{Skip, limited};

#[test]
fn probe_tells_what_is_granted_and_what_is_not() {
    limited("probe_tells_what_is_granted_and_what_is_not", || {
        let grants = Grants::probe();
        assert_eq!(grants.granted.len() + grants.refused.len(), Way::ALL.len());
        let opened = Uffd::open_best(Reads::NonBlocking).map_err(Skip::because)?;
        assert_eq!(grants.access(), Some(opened.access()));
        assert!(grants.copy.works(), "{:?}", grants.copy);
        assert!(grants.host.page_bytes == 4096);
        Ok(())
    });
}

#[test]
fn trial_works_wherever_its_feature_is_known() {
    limited("trial_works_wherever_its_feature_is_known", || {
        let grants = Grants::probe();
        let known = |feature, trial: Trial| !grants.features.contains(feature) || trial.works();
        assert!(known(Features::MOVE, grants.move_small), "{:?}", grants.move_small);
        assert!(known(Features::MINOR_SHMEM, grants.continue_), "{:?}", grants.continue_);
        assert!(known(Features::WRITE_PROTECT, grants.write_protect), "{:?}", grants.write_protect);
        assert!(known(Features::POISON, grants.poison), "{:?}", grants.poison);
        if matches!(grants.access(), Some(Access::Full(_))) && bifolio_sys::process::effective_uid() == 0 {
            assert!(known(Features::EVENT_FORK, grants.event_fork), "{:?}", grants.event_fork);
        }
        for (name, trial) in [("move_huge", grants.move_huge), ("collapse_back", grants.collapse_back)] {
            if let Trial::Fails { step, errno } = trial {
                return Err(Skip::because(format!("{name} fails at {step}: {errno:?}")));
            }
        }
        Ok(())
    });
}
