//! Folios that are formed, and the folios next to them.

use std::time::Duration;

use bifolio_engine::event::LockedFolio;
use bifolio_engine::node::Node;
use bifolio_folio::{FreeRange, Order, Pfn};
use bifolio_rules::{FolioEvent, NewFolio, Words};

use super::checker::{Checker, of_folio};
use crate::sync::thread;

/// How often, and how long each time, is waited for others between the change of a word and the call that tells of it.
const PATIENCE: (u32, Duration) = (10_000, Duration::from_micros(100));

impl Checker {
    /// Tells that a folio is about to be formed, and first that the pagemap was killed, if so: the kill tells of itself
    /// a moment later.
    pub(crate) fn forming(&self, node: &Node, range: &FreeRange) {
        if node.pagemap().is_dead() {
            self.tell(&of_folio(node.id(), FolioEvent::Killed));
        }
        self.tell(&of_folio(node.id(), FolioEvent::Forming { head: range.head().get() }));
    }

    pub(crate) fn form_refused(&self, node: &Node, range: &FreeRange, page: Pfn) {
        let (head, order) = (range.head().get(), range.order().get());
        self.tell(&of_folio(node.id(), FolioEvent::FoundBusy { head, order, page: page.get() }));
    }

    pub(crate) fn formed(&self, node: &Node, folio: &LockedFolio<'_>, data: u32) {
        let (head, order, id) = (folio.head(), folio.order(), node.id());
        let (map, last) = (node.pagemap(), Pfn::new(head.get() + order.pages() - 1));
        let leads_here = std::ptr::eq(folio.pagemap(), map) && map.contains(head) && map.contains(last);
        let found = |page| map.head_of(page).map(numbers);
        let new = NewFolio {
            head: head.get(),
            order: order.get(),
            data,
            pagemap: leads_here.then_some(id.0),
            words: Words { first: found(head), last: found(last), data: folio.data() },
            locked: folio.is_locked(),
            references: folio.references().into(),
        };
        self.tell(&of_folio(id, FolioEvent::Formed(new)));
        let before = head.get().checked_sub(1);
        for page in before.into_iter().chain([last.get() + 1]) {
            self.neighbour(node, Pfn::new(page));
        }
        // The counter goes up before the shadow hears of a folio, and down after it.
        let mut shadow = self.shadow();
        let counted = map.live_pages();
        self.tell_shadow(&mut shadow, &of_folio(id, FolioEvent::LivePagesRead { counted }));
    }

    /// Tells what a page next to a new folio leads to. A folio that others change just now is waited for: its word changes
    /// a moment before the shadow hears of it, or after.
    fn neighbour(&self, node: &Node, page: Pfn) {
        let mut first = None;
        for attempt in 0..=PATIENCE.0 {
            let mut shadow = self.shadow();
            let known = shadow.folio(node.id().0, page.get()).map(|folio| (folio.head, folio.order));
            let found = node.pagemap().head_of(page).map(numbers);
            let agrees = known.is_none() || known == found;
            if agrees || attempt == PATIENCE.0 {
                let seen = FolioEvent::NeighbourSeen { page: page.get(), found };
                return self.tell_shadow(&mut shadow, &of_folio(node.id(), seen));
            }
            if *first.get_or_insert((known, found)) != (known, found) {
                // Another folio is there by now: whatever it was, others were at work.
                return;
            }
            drop(shadow);
            thread::sleep(PATIENCE.1);
        }
    }
}

fn numbers((head, order): (Pfn, Order)) -> (u64, u8) {
    (head.get(), order.get())
}
