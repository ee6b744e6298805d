//! Events of a node's pool: memory is handed out and comes back.

use alloc::format;

use super::Sink;
use super::node::Node;
use super::ranges::{Held, Use};
use crate::judge::{self, Remains};
use crate::{PageRange, PoolEvent, Purpose};

impl Node {
    pub(super) fn pool_event(&mut self, event: PoolEvent, sink: &mut Sink<'_>) {
        match event {
            PoolEvent::Allocated { head, order, wanted, data, purpose, cleared } => {
                sink.note(judge::i9_granted(wanted, order), || {
                    format!("order {wanted} was wanted, order {order} is given")
                });
                self.allocated((head, order), data, purpose, sink);
                if cleared {
                    self.said_clear(PageRange::of_order(head, order), sink);
                }
            }
            PoolEvent::Refused { wanted, largest_free } => {
                sink.note(judge::i9_refused(wanted, largest_free), || {
                    format!(
                        "node {}: order {wanted} is refused, though order {largest_free:?} is free",
                        self.number
                    )
                });
            }
            PoolEvent::GivenBack { head, order, data, cleared } => {
                if cleared {
                    self.said_clear(PageRange::of_order(head, order), sink);
                }
                self.taken_back((head, order), data, false, sink);
            }
            PoolEvent::Freed { head, order, data } => self.taken_back((head, order), data, true, sink),
            PoolEvent::PutDone { head, order, released } => {
                sink.note(judge::i15_put(released), || {
                    format!("the last put of order {order} at page {head} released objects")
                });
            }
            PoolEvent::ObjectAsked { head, data, exists } => self.object_asked(head, data, exists, sink),
        }
    }

    /// Judges a range that the pool hands out (I1, I21), and notes it.
    fn allocated(&mut self, (head, order): (u64, u8), data: u32, purpose: Purpose, sink: &mut Sink<'_>) {
        let range = PageRange::of_order(head, order);
        let overlapped = self.ranges.hand_out((head, order), data, purpose);
        self.contents.reset(range);
        let in_use = overlapped.as_ref().map_or(PageRange::NONE, Held::pages);
        sink.note(judge::i1_handed_out(range, in_use), || {
            format!("pages of {overlapped:?} are handed out again as order {order} at page {head}")
        });
        let pagemap = self.pagemap;
        sink.note(judge::i21_aligned(head, order, pagemap), || {
            format!("order {order} at page {head} is not aligned inside of {pagemap}")
        });
    }

    /// Judges memory that a pool says is clear, or is told so (I22). It need not be written before it is shown.
    fn said_clear(&mut self, range: PageRange, sink: &mut Sink<'_>) {
        let dirty = self.contents.dirty(range);
        sink.note(judge::i22_clear(range, dirty), || {
            format!(
                "{range} are said to be clear, but page {} was written and not cleared since",
                dirty.first
            )
        });
        self.contents.clear(range);
    }

    /// Judges a range that goes back to the pool (I4, I7, I11), and forgets it. Only a folio is freed; other ranges are
    /// given back.
    fn taken_back(&mut self, (head, order): (u64, u8), data: u32, freed: bool, sink: &mut Sink<'_>) {
        let held = self.ranges.take_back(head);
        let (mapped, first) = self.contents.mapped(PageRange::of_order(head, order));
        self.contents.reset(held.as_ref().map_or(PageRange::NONE, Held::pages));
        self.forming.remove(&head);
        let known = held.filter(|held| (held.used == Use::Folio) == freed);
        sink.note(judge::i4_told(known.map(|held| (held.head, held.order)), [(head, order)]), || {
            let how = if freed { "freed" } else { "given back" };
            format!("order {order} at page {head} is {how}, where there is {held:?}")
        });
        sink.note(judge::i11_freed(&Remains { mapped, ..Remains::default() }), || {
            format!("page {first} is given back while the device's page table has it")
        });
        if let Some(held) = held {
            sink.note(judge::i7_belongs(data, Some(held.data)), || {
                format!("page {head} is given back to object {data}, but is on {held:?}")
            });
        }
    }

    /// Judges whether an object is still there for a range on it (I7).
    fn object_asked(&self, head: u64, data: u32, exists: bool, sink: &mut Sink<'_>) {
        let on_it = self.ranges.at(head).filter(|held| held.data == data && held.used != Use::Buffer);
        sink.note(judge::i7_outlives(exists, u64::from(on_it.is_some())), || {
            format!("object {data} has gone, but {on_it:?} is on it")
        });
    }
}
