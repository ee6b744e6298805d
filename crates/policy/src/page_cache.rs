//! What misses in a memory of single pages under an order of use alone: what simulators of caches tell.
//!
//! No policy of moves takes part: each page comes alone, and each touch is told to the order at once. A device tells less, and
//! an engine moves more at a time, so this says what an order is worth, and not what a run would cost.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use bifolio_folio::{PageRun, PageSet};

use crate::belady::Touch;
use crate::eviction::{Eviction, Object, ObjectId, Removal};

/// The touches that find no page, in a memory of `pages` pages that is empty at first. A page that the other side touches leaves.
#[must_use]
pub fn misses(string: &[Touch], pages: usize, order: &mut dyn Eviction) -> u64 {
    let mut cache = Cache { here: BTreeMap::new(), names: Vec::new(), free: Vec::new() };
    let (mut misses, mut victims) = (0, Vec::new());
    for touch in string {
        match cache.here.get(&touch.page) {
            Some(&id) if touch.what.leaves() => {
                order.remove(id, Removal::Left);
                cache.leave(id);
            }
            Some(&id) => order.touch(id),
            None if touch.what.leaves() => {}
            None => {
                misses += 1;
                if cache.here.len() >= pages.max(1) {
                    cache.evict(order, &mut victims);
                }
                let id = cache.come(touch.page);
                order.insert(id, Object { name: touch.page, pages: 1 });
                order.pages_came(touch.page, 1, Some(touch.page));
            }
        }
    }
    misses
}

/// Which pages are here, by the numbers that the order knows them by.
struct Cache {
    here: BTreeMap<u64, ObjectId>,
    names: Vec<u64>,
    free: Vec<ObjectId>,
}

impl Cache {
    fn come(&mut self, page: u64) -> ObjectId {
        let id = self.free.pop().unwrap_or_else(|| {
            self.names.push(page);
            ObjectId(u32::try_from(self.names.len() - 1).expect("fewer pages than that"))
        });
        self.names[id.0 as usize] = page;
        self.here.insert(page, id);
        id
    }

    /// Lets the next victim leave that does not stay.
    fn evict(&mut self, order: &mut dyn Eviction, victims: &mut Vec<ObjectId>) {
        let mut page = PageSet::EMPTY;
        page.insert(PageRun::single(0));
        loop {
            victims.clear();
            order.victims(1, &mut |_| false, victims);
            let (id, name) = (victims[0], self.names[victims[0].0 as usize]);
            order.remove(id, Removal::Evicted);
            if order.stay(name, &page).is_empty() {
                order.pages_left(name, &page);
                return self.leave(id);
            }
            order.insert(id, Object { name, pages: 1 });
        }
    }

    fn leave(&mut self, id: ObjectId) {
        self.here.remove(&self.names[id.0 as usize]);
        self.free.push(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MissCurve;
    use crate::belady::Access;
    use crate::eviction::EvictionName;

    #[test]
    fn lru_misses_as_its_curve_says_also_where_pages_leave() {
        let string: Vec<Touch> = (0..4000_u64)
            .map(|at| Touch {
                page: at * at % 97 % (1 + at % 60),
                what: if at % 11 == 0 { Access::Away } else { Access::Read },
            })
            .collect();
        let curve = MissCurve::of(&string);
        for pages in [1, 2, 7, 30, 60, 100] {
            let found = misses(&string, pages, EvictionName::Lru.make(pages as u64).as_mut());
            assert_eq!(found, curve.misses(pages as u64), "{pages} pages");
        }
    }

    #[test]
    fn each_order_misses_each_page_once_where_all_fit() {
        let string: Vec<Touch> = (0..1000).map(|at| Touch::read(at % 50)).collect();
        for name in EvictionName::ALL {
            assert_eq!(misses(&string, 50, name.make(50).as_mut()), 50, "{name}");
        }
    }
}
