//! What holds of every policy by name, over the same random life of a memory.

use std::collections::BTreeMap;

use bifolio_folio::{AlignedRun, Order, PAGE_SHIFT, PageSet};
use bifolio_policy::{
    Coming, Decision, EvictionName, Fact, Fault, Granularity, Leaving, Memory, Object, ObjectId, Policies,
    Policy, PolicyName, Removal, Side,
};
use proptest::prelude::*;

/// What happens to the memory: a fault on a page, and which share of each folio is used until it leaves.
#[derive(Clone, Copy, Debug)]
struct Access {
    page: u64,
    used: u8,
}

fn accesses() -> impl Strategy<Value = Vec<Access>> {
    let access = (0u64..4096, 0u8..4).prop_map(|(page, used)| Access { page, used });
    let walk = (0u64..4096, 1u64..64, 1usize..40).prop_map(|(first, stride, count)| {
        (0..count as u64).map(|at| Access { page: (first + at * stride) % 4096, used: 3 }).collect()
    });
    let part = prop_oneof![access.prop_map(|access| vec![access]), walk];
    proptest::collection::vec(part, 1..40).prop_map(|parts: Vec<Vec<Access>>| parts.concat())
}

/// A memory that holds whole folios, by the policy's choice of victims.
struct Model {
    policy: Box<dyn Policy>,
    pages: u64,
    free_pages: u64,
    folios: BTreeMap<u32, (AlignedFolio, u8)>,
    decisions: Vec<Decision>,
    evicted: Vec<u32>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct AlignedFolio {
    first: u64,
    pages: u64,
}

impl AlignedFolio {
    fn around(page: u64, order: Order) -> AlignedFolio {
        AlignedFolio { first: page & !(order.pages() - 1), pages: order.pages() }
    }

    fn holds(&self, page: u64) -> bool {
        (self.first..self.first + self.pages).contains(&page)
    }

    fn overlaps(&self, other: &AlignedFolio) -> bool {
        self.first < other.first + other.pages && other.first < self.first + self.pages
    }

    fn address(&self) -> usize {
        usize::try_from(self.first << PAGE_SHIFT).expect("64 bits")
    }
}

impl Model {
    fn new(name: PolicyName, pages: u64) -> Model {
        let policy = name.make(&Memory::device(pages));
        let (folios, decisions, evicted) = (BTreeMap::new(), Vec::new(), Vec::new());
        Model { policy, pages, free_pages: pages, folios, decisions, evicted }
    }

    fn touch(&mut self, access: Access, now_ns: u64) {
        if let Some((_, (_, used))) = self.folios.iter_mut().find(|(_, (folio, _))| folio.holds(access.page))
        {
            *used = (*used).max(access.used);
            return;
        }
        let address = usize::try_from(access.page << PAGE_SHIFT).expect("64 bits");
        let fault = Fault { now_ns, ..Fault::new(address, Side::DEVICE, self.free_pages) };
        let decision = self.policy.decide(&fault);
        self.decisions.push(decision);
        let mut order = decision.orders.largest;
        while self.folios.values().any(|(folio, _)| folio.overlaps(&AlignedFolio::around(access.page, order)))
        {
            order = order.smaller().expect("the page itself is not there");
        }
        let folio = AlignedFolio::around(access.page, order);
        while self.free_pages < folio.pages {
            self.evict();
        }
        let id = (0..).find(|id| !self.folios.contains_key(id)).expect("a number is free");
        self.free_pages -= folio.pages;
        self.folios.insert(id, (folio, access.used));
        let pages = u32::try_from(folio.pages).expect("a folio");
        self.policy.learn(Fact::Came { address: folio.address(), pages, why: Coming::Fault });
        self.policy.eviction().insert(ObjectId(id), Object { name: folio.first, pages });
    }

    fn evict(&mut self) {
        let mut victims = Vec::new();
        self.policy.eviction().victims(1, &mut |_| false, &mut victims);
        let id = victims.first().expect("a full memory has a victim").0;
        let (folio, share) = self.folios.remove(&id).expect("a victim is there");
        let order = Order::largest_fitting(folio.pages).expect("a folio");
        let mut used = PageSet::EMPTY;
        let part = Order::new(order.get().saturating_sub(3 - share)).expect("smaller");
        used.insert(AlignedRun::around(0, part));
        let pages = u32::try_from(folio.pages).expect("a folio");
        let (address, came, why) = (folio.address(), Coming::Fault, Leaving::Evicted);
        self.policy.learn(Fact::Left { address, pages, came, used: Some(&used), why });
        self.policy.eviction().remove(ObjectId(id), Removal::Evicted);
        self.free_pages += folio.pages;
        self.evicted.push(id);
    }
}

fn every_name() -> impl Iterator<Item = PolicyName> {
    let each = |granularity| {
        EvictionName::ALL.into_iter().flat_map(move |eviction| {
            [false, true].map(|throttle| PolicyName { granularity, eviction: Some(eviction), throttle })
        })
    };
    Granularity::ALL.into_iter().flat_map(each)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn decisions_stay_within_orders_and_repeat(accesses in accesses(), pages in prop_oneof![Just(16u64), Just(600), Just(4096)]) {
        for name in every_name() {
            let run = || {
                let mut model = Model::new(name, pages);
                for (at, access) in accesses.iter().enumerate() {
                    model.touch(*access, at as u64 * 1000);
                }
                model
            };
            let model = run();
            let orders = model.policy.orders();
            for decision in &model.decisions {
                let largest = decision.orders.largest;
                prop_assert!(largest >= orders.smallest && largest <= Order::PMD, "{} brings order {}", name, largest.get());
                prop_assert!(largest.pages() <= model.pages, "{} brings more than there is room for", name);
            }
            let again = run();
            prop_assert_eq!(&model.decisions, &again.decisions, "{} decides differently", name);
            prop_assert_eq!(&model.evicted, &again.evicted, "{} evicts differently", name);
        }
    }

    #[test]
    fn every_object_is_a_victim_once(count in 1u32..60, touched in proptest::collection::vec(0u32..60, 0..60), asked in 1usize..80) {
        for name in EvictionName::ALL {
            let mut eviction = name.make(64);
            (0..count).for_each(|id| eviction.insert(ObjectId(id), Object { name: u64::from(id), pages: 1 }));
            touched.iter().filter(|id| **id < count).for_each(|id| eviction.touch(ObjectId(*id)));
            let mut left: Vec<u32> = (0..count).collect();
            while !left.is_empty() {
                let mut victims = Vec::new();
                eviction.victims(asked, &mut |_| false, &mut victims);
                let first = victims.first().copied();
                prop_assert!(victims.len() <= asked && first.is_some(), "{} has no victim", name);
                let mut named: Vec<u32> = victims.iter().map(|id| id.0).collect();
                named.sort_unstable();
                named.dedup();
                prop_assert_eq!(named.len(), victims.len(), "{} names a victim twice", name);
                prop_assert!(named.iter().all(|id| left.contains(id)), "{} names what has left", name);
                let first = first.expect("there is one");
                eviction.remove(first, Removal::Evicted);
                left.retain(|id| *id != first.0);
            }
        }
    }
}
