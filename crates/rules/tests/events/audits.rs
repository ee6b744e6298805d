//! Walks over everything: I2, I4, I7, I8, I12, I13, I16.

use bifolio_rules::{AuditEvent, Counter, Rule, Structure};

use crate::world::{NEAR, World};

#[test]
fn counters_that_are_right_keep_their_rules() {
    let counters =
        [Counter::ObjectReferences, Counter::PoolPages, Counter::LivePages, Counter::ResidentPages];
    let mut world = World::new();
    for counter in counters {
        world.audit(AuditEvent::Counted { counter, counted: 16, found: 16 });
    }
    world.keeps(&[7, 8, 13]);
}

#[test]
fn counter_that_is_wrong_breaks_its_rule() {
    let broken = [
        (Counter::ObjectReferences, 7),
        (Counter::PoolPages, 7),
        (Counter::LivePages, 8),
        (Counter::ResidentPages, 13),
    ];
    for (counter, rule) in broken {
        World::new().audit(AuditEvent::Counted { counter, counted: 16, found: 15 }).breaks(&[rule]);
        World::new().audit(AuditEvent::Counted { counter, counted: 16, found: 17 }).breaks(&[rule]);
    }
}

#[test]
fn structure_with_a_fault_breaks_its_rule() {
    for (structure, rule) in [(Structure::Pagemap, 2), (Structure::Pool, 7), (Structure::Block, 12)] {
        World::new().audit(AuditEvent::Walked { structure, fault: None }).keeps(&[rule]);
        World::new().audit(AuditEvent::Walked { structure, fault: Some("a fault") }).breaks(&[rule]);
    }
}

#[test]
fn free_that_the_pool_refused_breaks_i4() {
    World::new().audit(AuditEvent::Refusals { node: NEAR, refusals: 0 }).keeps(&[4]);
    World::new().audit(AuditEvent::Refusals { node: NEAR, refusals: 1 }).breaks(&[4]);
}

#[test]
fn teardown_that_ends_too_early_or_not_at_all_breaks_i16() {
    let asked = |ends, live_pages| AuditEvent::Teardown { node: NEAR, ends, live_pages };
    World::new().formed(16, 4, 1).audit(asked(false, 16)).freed(16, 4, 1).audit(asked(true, 0)).keeps(&[16]);
    World::new().formed(16, 4, 1).audit(asked(true, 16)).breaks(&[16]);
    // The walk found none, but a folio is known to live.
    World::new().formed(16, 4, 1).audit(asked(true, 0)).breaks(&[16]);
    World::new().audit(asked(false, 0)).breaks(&[16]);
}

#[test]
fn audit_is_judged_without_a_shadow_too() {
    let wrong = AuditEvent::Counted { counter: Counter::LivePages, counted: 1, found: 512 };
    let violation = wrong.judgement().violation().expect("one page is counted for 512");
    assert_eq!(violation.rule, Rule::known(8));
    assert_eq!(violation.to_string(), "I8: LivePages: 1 are counted, 512 found");
}
