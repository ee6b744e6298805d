//! [`Mutation`]: a way to make a pool wrong, so that tests can show that a checker finds it.

use bifolio_folio::{Order, Pfn};

use super::{Kind, SmallPool};
use crate::FreeListPool;
use crate::coherent::aligned;
use crate::sync::Ordering;

/// What a faulty pool would have done. Each is for some pools, and does nothing to the others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mutation {
    /// Lists: a folio that was given back, of this first page and order, was not joined with its other half.
    NotJoined(u64, u8),
    /// Lists: the chunk of a page went back to the device, whatever is in use of it.
    ChunkGone(u64),
    /// Lists: the free folio at the front of its list was forgotten.
    FolioForgotten,
    /// Buddy: it was not noted that an object died.
    DeadNotNoted,
    /// Buddy, coherent: what is free is taken for cleared.
    TakenForCleared,
    /// Coherent: a page that a folio uses is taken for unused.
    UseForgotten(u64),
    /// Coherent: an object was made for addresses one page off.
    Misplaced,
}

impl SmallPool {
    /// Makes the pool wrong.
    pub fn mutate(&self, mutation: Mutation) {
        match (&self.0, mutation) {
            (Kind::FreeList(pool), mutation) => mutate_lists(pool, mutation),
            (Kind::Mirror(pool), mutation) => mutate_lists(&pool.lists, mutation),
            (Kind::Buddy(pool), Mutation::DeadNotNoted) => pool.dead.store(false, Ordering::Relaxed),
            (Kind::Buddy(pool), Mutation::TakenForCleared) => take_for_cleared(&mut pool.buddy()),
            (Kind::Coherent(pool), Mutation::TakenForCleared) => take_for_cleared(&mut pool.lock().memory),
            (Kind::Coherent(pool), Mutation::UseForgotten(page)) => {
                for (_, thing) in &mut pool.lock().objects.things {
                    let into = page.checked_sub(thing.what.at.head.get());
                    if let Some(into) = into.filter(|into| *into < thing.what.at.order.pages()) {
                        thing.what.used.remove(aligned(into, Order::ZERO));
                    }
                }
            }
            (Kind::Coherent(pool), Mutation::Misplaced) => {
                for (_, thing) in &mut pool.lock().objects.things {
                    thing.what.at.rmap.page += 1;
                }
            }
            (Kind::Buddy(_) | Kind::Coherent(_), _) => {}
        }
    }
}

fn mutate_lists(pool: &FreeListPool, mutation: Mutation) {
    let chunks = &mut pool.lock().chunks;
    match mutation {
        Mutation::NotJoined(page, order) => {
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
        Mutation::ChunkGone(page) => {
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
        Mutation::FolioForgotten => {
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
        // What cannot be declared is not: the mutation is then elsewhere.
        let _: Result<(), bifolio_buddy::FreeError> = buddy.declare_cleared(range);
    }
}
