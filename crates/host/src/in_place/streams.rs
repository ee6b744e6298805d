//! How much to move at a fault: streams of faults that walk through memory get large folios, lone faults small ones.
//!
//! A lone fault says nothing about its neighbours, and bringing them costs the room of others: it brings one page. A fault just
//! behind (or just before) what an earlier one brought is part of a walk; each further step of a walk moves four times as much,
//! so a pass over 2 MiB takes a handful of faults, and the next 2 MiB one.

use std::ops::Range;

use bifolio_folio::Order;
use bifolio_sys::PAGE;

/// Walks that are followed at the same time.
const STREAMS: usize = 16;
/// Order of a lone fault.
const FIRST: u8 = 0;
/// By how much the order grows at each step of a walk.
const STEP: u8 = 2;

/// One walk.
#[derive(Clone, Debug)]
struct Stream {
    /// What the last fault brought.
    brought: Range<usize>,
    order: u8,
    /// When it last went on, in faults.
    used: u64,
}

/// The walks that are followed.
#[derive(Debug)]
pub struct Streams {
    largest: Order,
    streams: Vec<Stream>,
    faults: u64,
}

impl Streams {
    /// Follows nothing yet; never says more than `largest`.
    #[must_use]
    pub fn new(largest: Order) -> Streams {
        Streams { largest, streams: Vec::with_capacity(STREAMS), faults: 0 }
    }

    /// The order to move for a fault at `address`.
    #[must_use]
    pub fn order_at(&self, address: usize) -> Order {
        let order = self.find(address).map_or(FIRST, |at| self.streams[at].order.saturating_add(STEP));
        self.cap(order)
    }

    /// Learns that a fault at `address` brought `brought`.
    pub fn learn(&mut self, address: usize, brought: Range<usize>) {
        self.faults += 1;
        let used = self.faults;
        match self.find(address) {
            Some(at) => {
                let order = self.cap(self.streams[at].order.saturating_add(STEP)).get();
                self.streams[at] = Stream { brought, order, used };
            }
            None => {
                let fresh = Stream { brought, order: self.cap(FIRST).get(), used };
                self.replace_oldest(fresh);
            }
        }
    }

    fn replace_oldest(&mut self, fresh: Stream) {
        if self.streams.len() < STREAMS {
            self.streams.push(fresh);
        } else if let Some(oldest) = self.streams.iter_mut().min_by_key(|stream| stream.used) {
            *oldest = fresh;
        }
    }

    /// The walk that a fault at `address` continues: it may leave out as much as the last step brought.
    fn find(&self, address: usize) -> Option<usize> {
        self.streams.iter().position(|Stream { brought, .. }| {
            let reach = brought.len().max(PAGE);
            (brought.end..brought.end.saturating_add(reach)).contains(&address)
                || (brought.start.saturating_sub(reach)..brought.start).contains(&address)
        })
    }

    fn cap(&self, order: u8) -> Order {
        Order::new(order).map_or(self.largest, |order| order.min(self.largest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walk(streams: &mut Streams, mut address: usize, faults: usize, up: bool) -> Vec<u8> {
        let mut orders = Vec::new();
        for _ in 0..faults {
            let order = streams.order_at(address);
            let len = PAGE << order.get();
            let start = address & !(len - 1);
            streams.learn(address, start..start + len);
            address = if up { start + len } else { start - PAGE };
            orders.push(order.get());
        }
        orders
    }

    #[test]
    fn walks_grow_in_both_directions() {
        let mut streams = Streams::new(Order::PMD);
        assert_eq!(walk(&mut streams, 1 << 30, 6, true), [0, 2, 4, 6, 8, 9]);
        assert_eq!(walk(&mut streams, (8 << 30) - PAGE, 6, false), [0, 2, 4, 6, 8, 9]);
    }

    #[test]
    fn lone_faults_stay_small() {
        let mut streams = Streams::new(Order::PMD);
        for step in 0..100 {
            let address = 1 << 30 | (step * 7919 % 1000) << 24;
            assert_eq!(streams.order_at(address).get(), FIRST);
            streams.learn(address, address..address + (PAGE << FIRST));
        }
    }

    #[test]
    fn steps_of_four_pages_are_no_walk() {
        let mut streams = Streams::new(Order::PMD);
        for step in 0..100 {
            let address = (1 << 30) + step * 4 * PAGE;
            assert_eq!(streams.order_at(address).get(), FIRST, "as columns of a picture are read");
            streams.learn(address, address..address + (PAGE << FIRST));
        }
    }

    #[test]
    fn interleaved_walks_are_told_apart() {
        let mut streams = Streams::new(Order::K64);
        for (at, expected) in [(0, [0, 2, 4]), (1, [0, 2, 4]), (2, [0, 2, 4])] {
            assert_eq!(walk(&mut streams, (at + 1) << 30, 3, true), expected);
        }
        assert_eq!(streams.order_at((1 << 30) + 9 * (PAGE << 4)).get(), FIRST, "too far ahead to be a step");
    }

    #[test]
    fn small_memory_caps_the_first_order() {
        assert_eq!(Streams::new(Order::ZERO).order_at(0), Order::ZERO);
    }
}
