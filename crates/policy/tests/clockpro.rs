//! CLOCK-Pro against a model of it that keeps plain lists.

use std::collections::BTreeSet;

use bifolio_policy::eviction::clockpro::ClockPro;
use bifolio_policy::{Eviction, Object, ObjectId, Removal};
use proptest::prelude::*;

#[derive(Clone, Copy, Debug)]
struct Slot {
    id: u32,
    name: u64,
    pages: u64,
    used_at: u64,
    is_used: bool,
    is_fresh: bool,
}

/// The lists, the oldest first.
#[derive(Debug)]
struct Model {
    hot: Vec<Slot>,
    cold: Vec<Slot>,
    /// Names, pages, and when they were last used.
    ghost: Vec<(u64, u64, u64)>,
    fresh: Vec<u32>,
    now: u64,
    pages: u64,
    cold_pages: u64,
    is_settled: bool,
    looks: u64,
}

fn pages_of(list: &[Slot]) -> u64 {
    list.iter().map(|slot| slot.pages).sum()
}

impl Model {
    fn new(pages: u64) -> Model {
        let (hot, cold, ghost, fresh) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Model { hot, cold, ghost, fresh, now: 0, pages, cold_pages: pages / 4, is_settled: false, looks: 0 }
    }

    fn slot(&mut self, id: u32) -> &mut Slot {
        let mut all = self.hot.iter_mut().chain(&mut self.cold);
        all.find(|slot| slot.id == id).expect("it is there")
    }

    fn horizon(&self) -> u64 {
        self.hot.first().map_or(0, |slot| slot.used_at)
    }

    fn adapt(&mut self, pages: u64, apart: u64) {
        let cold = if apart <= self.pages / 4 * 3 {
            self.cold_pages + 5 * pages
        } else {
            self.cold_pages.saturating_sub(pages)
        };
        self.cold_pages = cold.clamp(self.pages / 16, self.pages - self.pages / 16);
    }

    fn cool_down(&mut self) {
        while pages_of(&self.hot) > self.pages - self.cold_pages {
            self.cold.insert(0, self.hot.remove(0));
        }
    }

    fn insert(&mut self, id: u32, name: u64, pages: u64) {
        self.now += pages;
        let below = self.ghost.iter().filter(|ghost| ghost.0 <= name).max();
        let part_of = below.filter(|ghost| self.is_settled && name < ghost.0 + ghost.1).map(|ghost| ghost.2);
        let known = self.ghost.iter().position(|ghost| ghost.0 == name).map(|at| self.ghost.remove(at).2);
        let known = known.filter(|_| self.is_settled);
        let in_test = known.is_some_and(|used_at| used_at > self.horizon());
        if let Some(used_at) = known {
            self.adapt(pages, self.now - used_at);
        } else if part_of.is_some_and(|used_at| self.now - used_at <= self.pages / 4) {
            self.adapt(pages, 0);
        }
        let slot = Slot { id, name, pages, used_at: self.now, is_used: false, is_fresh: true };
        let has_room = pages_of(&self.hot) + pages <= self.pages - self.cold_pages;
        if in_test || has_room {
            self.hot.push(slot);
        } else {
            self.cold.push(slot);
        }
        self.fresh.push(id);
        if self.fresh.len() > 64 {
            self.fresh.remove(0);
        }
        self.cool_down();
    }

    fn touch(&mut self, id: u32) {
        let slot = self.slot(id);
        (slot.is_used, slot.is_fresh) = (true, false);
    }

    fn remove(&mut self, id: u32, why: Removal) {
        let slot = *self.slot(id);
        self.hot.retain(|slot| slot.id != id);
        self.cold.retain(|slot| slot.id != id);
        self.fresh.retain(|fresh| *fresh != id);
        if why == Removal::Evicted {
            self.ghost.retain(|ghost| ghost.0 != slot.name);
            self.ghost.push((slot.name, slot.pages, slot.used_at));
            while self.ghost.iter().map(|ghost| ghost.1).sum::<u64>() > self.pages {
                self.ghost.remove(0);
            }
        }
    }

    fn victims(&mut self, bits: &mut BTreeSet<u32>) -> Vec<u32> {
        for id in self.fresh.drain(..self.fresh.len().min(8)).collect::<Vec<u32>>() {
            if self.slot(id).is_fresh && bits.remove(&id) {
                self.slot(id).is_fresh = false;
            }
        }
        self.renew_hot(bits);
        while let Some(slot) = self.cold.first().copied().filter(|slot| bits.remove(&slot.id) | slot.is_used)
        {
            self.cold.remove(0);
            let in_test = slot.used_at > self.horizon();
            let once_more = Slot { is_used: false, is_fresh: false, ..slot };
            if slot.is_fresh {
                self.cold.push(once_more);
                continue;
            }
            self.now += slot.pages;
            let renewed = Slot { used_at: self.now, ..once_more };
            if in_test {
                self.hot.push(renewed);
            } else {
                self.cold.push(renewed);
            }
            self.cool_down();
        }
        self.cold.iter().chain(&self.hot).map(|slot| slot.id).collect()
    }

    fn renew_hot(&mut self, bits: &mut BTreeSet<u32>) {
        self.looks = (self.looks + 64).min(512);
        while let Some(slot) = self.hot.first().copied() {
            if self.looks < slot.pages {
                return;
            }
            self.looks -= slot.pages;
            self.is_settled = !(bits.remove(&slot.id) | slot.is_used);
            if self.is_settled {
                self.hot[0].is_used = false;
                return;
            }
            self.hot.remove(0);
            self.now += slot.pages;
            let apart = self.now - slot.used_at;
            if !slot.is_fresh && apart > self.pages {
                self.adapt(slot.pages, apart);
            }
            self.hot.push(Slot { used_at: self.now, is_used: false, is_fresh: false, ..slot });
        }
        self.is_settled = true;
    }
}

/// What happens: a touch of an object by its name and order, by a bit or told, or an object that leaves by itself.
fn touches() -> impl Strategy<Value = Vec<(u64, u8, u8)>> {
    proptest::collection::vec((0u64..48, 0u8..4, 0u8..8), 1..400)
}

proptest! {
    #[test]
    fn order_is_that_of_plain_lists(touches in touches(), pages in 8u64..80) {
        let (mut order, mut model) = (ClockPro::new(pages), Model::new(pages));
        let (mut bits, mut here) = (BTreeSet::new(), Vec::<(u32, u64, u64)>::new());
        for (name, size, how) in touches {
            if let Some((id, ..)) = here.iter().copied().find(|there| there.1 == name) {
                match how {
                    0 => {
                        order.remove(ObjectId(id), Removal::Left);
                        model.remove(id, Removal::Left);
                        here.retain(|there| there.0 != id);
                        bits.remove(&id);
                    }
                    1 => {
                        order.touch(ObjectId(id));
                        model.touch(id);
                    }
                    _ => drop(bits.insert(id)),
                }
                continue;
            }
            let wanted = 1 << size;
            while here.iter().map(|there| there.2).sum::<u64>() + wanted > pages && !here.is_empty() {
                let (mut victims, mut own) = (Vec::new(), bits.clone());
                order.victims(here.len(), &mut |id| own.remove(&id.0), &mut victims);
                let expected = model.victims(&mut bits);
                prop_assert_eq!(victims.iter().map(|id| id.0).collect::<Vec<u32>>(), expected);
                prop_assert_eq!(&own, &bits, "the same objects were asked about");
                order.remove(victims[0], Removal::Evicted);
                model.remove(victims[0].0, Removal::Evicted);
                here.retain(|there| there.0 != victims[0].0);
                bits.remove(&victims[0].0);
            }
            let id = (0..).find(|id| here.iter().all(|there| there.0 != *id)).expect("a number is free");
            here.push((id, name, wanted));
            order.insert(ObjectId(id), Object { name, pages: 1 << size });
            model.insert(id, name, wanted);
            if how > 1 {
                bits.insert(id);
            }
        }
    }
}
