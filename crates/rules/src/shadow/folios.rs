//! Events of a node's folios: formed, split, collapsed, named; and of its pagemap.

use alloc::format;

use super::Sink;
use super::node::Node;
use super::ranges::{Held, Use};
use crate::judge::{self, Teardown};
use crate::{FolioEvent, NewFolio, PageRange, Words};

impl Node {
    pub(super) fn folio_event(&mut self, event: FolioEvent, sink: &mut Sink<'_>) {
        match event {
            FolioEvent::Forming { head } => {
                self.forming.insert(head, self.teardown);
            }
            FolioEvent::FoundBusy { head, order, page } => {
                let busy = PageRange::page(page);
                sink.note(judge::i1_formed(PageRange::of_order(head, order), busy, busy), || {
                    format!("order {order} at page {head}: page {page} is in a folio")
                });
            }
            FolioEvent::Formed(folio) => self.formed(&folio, sink),
            FolioEvent::NeighbourSeen { page, found } => self.neighbour_seen(page, found, sink),
            FolioEvent::Split { head, from, to, data } => self.split(head, (from, to), data, sink),
            FolioEvent::Collapsed { head, from, to, data } => self.collapsed(head, (from, to), data, sink),
            FolioEvent::Named { page, order } => self.named(page, order, sink),
            FolioEvent::Rechecked { wanted, found } => {
                sink.note(judge::i26_rechecked(wanted, found), || {
                    format!(
                        "the folio at page {wanted} of node {} was looked for, its block has {found:?} there",
                        self.number
                    )
                });
            }
            FolioEvent::InBlock { head, order } => self.in_block(head, order, sink),
            FolioEvent::Killed => self.teardown = self.teardown.max(Teardown::Killed),
            FolioEvent::LivePagesRead { counted } => self.live_pages_read(counted, sink),
        }
    }

    /// Judges a new folio (I1, I2, I3, I11, I16, I25), and notes it.
    fn formed(&mut self, folio: &NewFolio, sink: &mut Sink<'_>) {
        let NewFolio { head, order, data, pagemap, words, locked, references } = *folio;
        let (range, number) = (PageRange::of_order(head, order), self.number);
        let what = || format!("folio of order {order} at page {head} of node {number}");
        let live = self.in_the_way(head, order);
        sink.note(judge::i1_formed(range, live, PageRange::NONE), || {
            format!("{} is formed over {live}", what())
        });
        let place = Some((head, order));
        sink.note(judge::i2_words([words], [Words { first: place, last: place, data }]), || {
            format!("{}: its pages lead to {words:?}", what())
        });
        sink.note(judge::i3_pagemap(pagemap, Some(number)), || {
            format!("{} leads to the pagemap of node {pagemap:?}", what())
        });
        sink.note(judge::i11_born(locked, references, true), || {
            format!("{}: locked: {locked}, references: {references}", what())
        });
        let at_begin = self.forming.remove(&head).unwrap_or(self.teardown);
        sink.note(judge::i16_formed(at_begin), || format!("{}: the pagemap was {at_begin:?}", what()));
        let pagemap = self.pagemap;
        sink.note(judge::i25_pagemap(range, Some(pagemap)), || {
            format!("{}: the pagemap has {pagemap}", what())
        });
        self.ranges.form(head);
    }

    /// Pages that a folio is formed over: those of a range that was not handed out for it, or was handed out by none.
    fn in_the_way(&self, head: u64, order: u8) -> PageRange {
        match self.ranges.overlapping(PageRange::of_order(head, order)) {
            Some(held) if (held.head, held.order, held.used) == (head, order, Use::HandedOut) => {
                PageRange::NONE
            }
            Some(held) => held.pages(),
            None => PageRange::of_order(head, order),
        }
    }

    /// Judges the words of a page next to a new folio (I6).
    fn neighbour_seen(&self, page: u64, found: Option<(u64, u8)>, sink: &mut Sink<'_>) {
        let known = self.ranges.folio(page).map(|folio| (folio.head, folio.order));
        sink.note(judge::i6_neighbour(known, found), || {
            format!("forming next to page {page} changed its folio: {known:?} is known, {found:?} found")
        });
    }

    /// Judges a split of a folio, while it is frozen (I7, I10), and notes its pieces.
    fn split(&mut self, head: u64, (from, to): (u8, u8), data: u32, sink: &mut Sink<'_>) {
        let folio = self.ranges.folio(head);
        self.ranges.split(head, to);
        frozen(PageRange::of_order(head, from), folio, sink);
        let known = folio.map(|folio| (folio.head, folio.order, folio.data));
        sink.note(judge::i7_belongs((head, from, data), known), || {
            format!(
                "object {data} is told of a split of order {from} at page {head}, where there is {folio:?}"
            )
        });
    }

    /// Judges a collapse of folios, while they are frozen (I7, I10), and notes the whole.
    fn collapsed(&mut self, head: u64, (from, to): (u8, u8), data: u32, sink: &mut Sink<'_>) {
        let (pieces, first) = (self.ranges.pieces(head, (from, to), data), self.ranges.folio(head));
        self.ranges.collapse(head, to);
        frozen(PageRange::of_order(head, to), first, sink);
        sink.note(judge::i7_joined(pieces, from, to), || {
            format!(
                "object {data} is told that order {from} becomes order {to} at page {head}, where it has {pieces} such folios, and the first is {first:?}"
            )
        });
    }

    /// Judges what a step names: a live folio (I17), of the order of the run of pages (I14).
    fn named(&self, page: u64, order: Option<u8>, sink: &mut Sink<'_>) {
        let (number, folio) = (self.number, self.ranges.folio(page));
        sink.note(judge::i17_lives(folio), || {
            format!("a step names page {page} of node {number}, where no folio lives")
        });
        let Some(order) = order else { return };
        let at_head = folio.filter(|folio| folio.head == page).map(|folio| folio.order);
        sink.note(judge::i14_orders(at_head, order), || {
            format!("a step names order {order} at page {page} of node {number}, where there is {folio:?}")
        });
    }

    /// Judges a folio that a block has pages on (I23): it lives, with the order that the block knows.
    fn in_block(&self, head: u64, order: u8, sink: &mut Sink<'_>) {
        let (number, folio) = (self.number, self.ranges.folio(head));
        let known = folio.map(|folio| (folio.head, folio.order));
        sink.note(judge::i23_piece(known, (head, order)), || {
            format!("a block has order {order} at page {head} of node {number}, where there is {folio:?}")
        });
    }

    /// Judges whether the pagemap counts at least what lives (I8).
    fn live_pages_read(&self, counted: u64, sink: &mut Sink<'_>) {
        let (number, live) = (self.number, self.ranges.live());
        sink.note(judge::i8_at_least(counted, live), || {
            format!("node {number}: {counted} pages are counted, {live} are in live folios")
        });
    }
}

/// Judges pages that are frozen (I10): they are those of a live folio, or else free.
fn frozen(pages: PageRange, folio: Option<Held>, sink: &mut Sink<'_>) {
    let free = if folio.is_some() { PageRange::NONE } else { pages };
    sink.note(judge::i10_frozen(pages, free), || format!("{pages} are frozen, but they are free"));
}
