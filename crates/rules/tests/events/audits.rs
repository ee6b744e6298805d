//! Walks over everything: I2, I7, I8, I12, I13.

use bifolio_rules::{AuditEvent, Counter, Structure};

use crate::world::World;

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
