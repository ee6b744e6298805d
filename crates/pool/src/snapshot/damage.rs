//! Deliberate damage to a pool, to see that a checker finds it: [`Damage`].

use std::sync::atomic::Ordering;

use bifolio_folio::{Order, Pfn};

use super::{Kind, SmallPool};
use crate::FreeListPool;
use crate::coherent::aligned;

/// What a faulty pool would have done. Each is for some pools, and does nothing to the others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Damage {
    /// Lists: a folio that was given back, of this first page and order, was not joined with its other half.
    NotJoined(u64, u8),
    /// Lists: the chunk of a page went back to the device, whatever is in use of it.
    ChunkGone(u64),
    /// Lists: the free folio at the front of its list was forgotten.
    FolioForgotten,
    /// Buddy: nobody noted that an object died.
    DeadNotNoted,
    /// Buddy, coherent: what is free is taken for cleared.
    TakenForCleared,
    /// Coherent: a page that a folio uses is taken for unused.
    UseForgotten(u64),
    /// Coherent: an object was made for addresses one page off.
    Misplaced,
}

impl SmallPool {
    /// Damages the pool.
    pub fn damage(&self, damage: Damage) {
        match (&self.0, damage) {
            (Kind::FreeList(pool), damage) => damage_lists(pool, damage),
            (Kind::Mirror(pool), damage) => damage_lists(&pool.lists, damage),
            (Kind::Buddy(pool), Damage::DeadNotNoted) => pool.dead.store(false, Ordering::Release),
            (Kind::Buddy(pool), Damage::TakenForCleared) => take_for_cleared(&mut pool.buddy()),
            (Kind::Coherent(pool), Damage::TakenForCleared) => take_for_cleared(&mut pool.lock().memory),
            (Kind::Coherent(pool), Damage::UseForgotten(page)) => {
                for (_, thing) in &mut pool.lock().objects.things {
                    let into = page.checked_sub(thing.what.at.head.get());
                    if let Some(into) = into.filter(|into| *into < thing.what.at.order.pages()) {
                        thing.what.used.remove(aligned(into, Order::ZERO));
                    }
                }
            }
            (Kind::Coherent(pool), Damage::Misplaced) => {
                for (_, thing) in &mut pool.lock().objects.things {
                    thing.what.at.rmap.page += 1;
                }
            }
            (Kind::Buddy(_) | Kind::Coherent(_), _) => {}
        }
    }
}

fn damage_lists(pool: &FreeListPool, damage: Damage) {
    let chunks = &mut pool.lock().chunks;
    match damage {
        Damage::NotJoined(page, order) => {
            let (page, order) = (Pfn::new(page), Order::new(order).unwrap_or_default());
            let above = Order::all().filter(|larger| *larger > order);
            let mut joined = above.map(|larger| (page.align_down(larger), larger));
            let listed = |(head, larger): &(Pfn, Order)| chunks.lists.order_at(*head) == Some(*larger);
            if let Some((head, larger)) = joined.find(listed) {
                chunks.lists.remove(head, larger);
                for half in larger.descending_to(order).skip(1) {
                    chunks.lists.push(page.align_down(half).buddy(half), half);
                }
                chunks.lists.push(page, order);
            }
        }
        Damage::ChunkGone(page) => {
            let chunk = chunks.chunk_of(Pfn::new(page));
            let listed: Vec<_> =
                chunks.lists.iter().filter(|(page, _)| chunks.chunk_of(*page) == chunk).collect();
            if chunks.unmade.contains(&chunk) {
                return;
            }
            listed.into_iter().for_each(|(page, order)| chunks.lists.remove(page, order));
            chunks.lists.remove_part(chunk);
            chunks.free += chunks.pages_of(chunk) - u64::from(chunks.free_in[chunk]);
            chunks.free_in[chunk] = 0;
            chunks.unmade.push(chunk);
        }
        Damage::FolioForgotten => {
            let front = chunks.lists.iter().next();
            if let Some((page, order)) = front {
                chunks.lists.remove(page, order);
            }
        }
        _ => {}
    }
}

fn take_for_cleared(buddy: &mut bifolio_buddy::Buddy) {
    let free: Vec<_> = buddy.free_blocks().map(|block| block.range()).collect();
    for range in free {
        // What cannot be declared is not: the damage is then elsewhere.
        let _: Result<(), bifolio_buddy::FreeError> = buddy.declare_cleared(range);
    }
}
