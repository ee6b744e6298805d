//! A policy that gives way to another while its engine runs: [`Switch`].

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU8, Ordering};

use bifolio_folio::{PAGE_SHIFT, PageSet};
use bifolio_migrate::OrderRange;

use crate::eviction::{Eviction, Object, ObjectId, Removal};
use crate::fact::{Coming, Fact};
use crate::fault::{Decision, Fault};
use crate::memory::Memory;
use crate::name::PolicyName;
use crate::policy::{Policies, Policy};

/// Policies that are known by name, all of which become others by one call.
///
/// Clones are the same switch. A memory has its new policy from its next fault on. What is there stays, in the order in which
/// the former policy would have let it go; what that one had learned is forgotten.
///
/// ```
/// use bifolio_policy::{Memory, Policies, Switch};
///
/// let switch = Switch::new("stride".parse()?);
/// let policy = switch.make(&Memory::device(4096)); // as an engine does
/// switch.set("density+sieve".parse()?);
/// assert_eq!(switch.name().to_string(), "density+sieve");
/// # drop(policy);
/// # Ok::<(), bifolio_policy::UnknownPolicy>(())
/// ```
#[derive(Clone, Debug)]
pub struct Switch(Arc<AtomicU8>);

impl Switch {
    /// Begins with a policy.
    #[must_use]
    pub fn new(name: PolicyName) -> Switch {
        Switch(Arc::new(AtomicU8::new(name.number())))
    }

    /// The policy that was chosen last.
    #[must_use]
    pub fn name(&self) -> PolicyName {
        PolicyName::of_number(self.0.load(Ordering::Relaxed)).expect("only numbers of names are stored")
    }

    /// Chooses another policy.
    pub fn set(&self, name: PolicyName) {
        self.0.store(name.number(), Ordering::Relaxed);
    }
}

impl Policies for Switch {
    fn make(&self, memory: &Memory) -> Box<dyn Policy> {
        let (switch, name, memory) = (self.clone(), self.name(), *memory);
        Box::new(Switched { switch, name, memory, policy: name.make(&memory), objects: BTreeMap::new() })
    }
}

/// The policy of one memory.
struct Switched {
    switch: Switch,
    /// The policy of now.
    name: PolicyName,
    memory: Memory,
    policy: Box<dyn Policy>,
    /// What is there.
    objects: BTreeMap<ObjectId, Object>,
}

impl Switched {
    /// Takes the policy that was chosen meanwhile.
    fn follow(&mut self) {
        let name = self.switch.name();
        if name == self.name {
            return;
        }
        let mut order = Vec::new();
        self.policy.eviction().victims(self.objects.len(), &mut |_| false, &mut order);
        let mut policy = name.make(&self.memory);
        let mut rest = self.objects.clone();
        for id in order {
            if let Some(object) = rest.remove(&id) {
                tell(policy.as_mut(), id, object);
            }
        }
        rest.into_iter().for_each(|(id, object)| tell(policy.as_mut(), id, object));
        policy.eviction().take_over();
        (self.name, self.policy) = (name, policy);
    }
}

/// Tells a new policy what is there.
fn tell(policy: &mut dyn Policy, id: ObjectId, object: Object) {
    policy.eviction().insert(id, object);
    if let Ok(address) = usize::try_from(object.name << PAGE_SHIFT) {
        policy.learn(Fact::Came { address, pages: object.pages, why: Coming::Fault });
    }
}

impl Policy for Switched {
    fn decide(&mut self, fault: &Fault) -> Decision {
        self.follow();
        self.policy.decide(fault)
    }

    fn orders(&self) -> OrderRange {
        self.policy.orders()
    }

    fn learn(&mut self, fact: Fact<'_>) {
        self.policy.learn(fact);
    }

    fn eviction(&mut self) -> &mut dyn Eviction {
        self
    }
}

impl core::fmt::Debug for Switched {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Switched")
            .field("name", &self.name)
            .field("memory", &self.memory)
            .finish_non_exhaustive()
    }
}

impl Eviction for Switched {
    fn insert(&mut self, id: ObjectId, object: Object) {
        self.objects.insert(id, object);
        self.policy.eviction().insert(id, object);
    }

    fn touch(&mut self, id: ObjectId) {
        self.policy.eviction().touch(id);
    }

    fn remove(&mut self, id: ObjectId, why: Removal) {
        self.objects.remove(&id);
        self.policy.eviction().remove(id, why);
    }

    fn victims(
        &mut self,
        count: usize,
        was_used: &mut dyn FnMut(ObjectId) -> bool,
        victims: &mut Vec<ObjectId>,
    ) {
        self.policy.eviction().victims(count, was_used, victims);
    }

    fn pages_came(&mut self, first: u64, count: u32, touched: Option<u64>) {
        self.policy.eviction().pages_came(first, count, touched);
    }

    fn pages_left(&mut self, first: u64, pages: &PageSet) {
        self.policy.eviction().pages_left(first, pages);
    }

    fn stay(&mut self, first: u64, there: &PageSet) -> PageSet {
        self.policy.eviction().stay(first, there)
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;
    use alloc::vec;

    use super::*;
    use crate::memory::Side;

    fn name(text: &str) -> PolicyName {
        text.parse().expect("a known name")
    }

    fn fault(page: usize) -> Fault {
        Fault::new(page << PAGE_SHIFT, Side::DEVICE, 1000)
    }

    fn all_victims(policy: &mut dyn Policy) -> Vec<ObjectId> {
        let mut victims = Vec::new();
        policy.eviction().victims(100, &mut |_| false, &mut victims);
        victims
    }

    #[test]
    fn what_is_there_stays_in_its_order_under_every_policy() {
        for from in PolicyName::all() {
            for to in PolicyName::all() {
                let switch = Switch::new(from);
                let mut policy = switch.make(&Memory::device(4096));
                for id in 0..8 {
                    policy.eviction().insert(ObjectId(id), Object { name: u64::from(id) * 512, pages: 512 });
                }
                policy.eviction().touch(ObjectId(0));
                let before = all_victims(policy.as_mut());
                switch.set(to);
                policy.decide(&fault(7));
                assert_eq!(all_victims(policy.as_mut()), before, "{from} to {to}");
                for id in 0..8 {
                    policy.eviction().remove(ObjectId(id), Removal::Evicted);
                }
                assert_eq!(all_victims(policy.as_mut()), vec![], "{from} to {to}");
            }
        }
    }

    #[test]
    fn next_fault_has_the_new_policy() {
        let switch = Switch::new(name("stride"));
        let mut policy = switch.make(&Memory::device(1 << 16));
        let first = policy.decide(&fault(7)).orders.largest;
        switch.clone().set(name("fixed"));
        let second = policy.decide(&fault(999)).orders.largest;
        assert!(first < second, "{first:?} {second:?}");
        assert_eq!(switch.name().to_string(), "fixed");
    }

    #[test]
    fn density_knows_what_came_before_it() {
        let switch = Switch::new(name("stride"));
        let mut policy = switch.make(&Memory::device(1 << 16));
        policy.eviction().insert(ObjectId(0), Object { name: 0, pages: 256 });
        switch.set(name("density"));
        // More than half of the block is there with this page, so the rest is wanted.
        let decision = policy.decide(&fault(300));
        let mut fresh = name("density").make(&Memory::device(1 << 16));
        assert_ne!(decision, fresh.decide(&fault(300)));
    }
}
