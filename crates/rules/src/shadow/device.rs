//! Events of a node's device: its memory is used, and its page table changes.

use alloc::format;

use super::Sink;
use super::node::Node;
use super::ranges::Held;
use crate::judge;
use crate::{DeviceEvent, PageRange};

impl Node {
    pub(super) fn device_event(&mut self, event: DeviceEvent, sink: &mut Sink<'_>) {
        match event {
            DeviceEvent::Accessed { pages } => self.accessed(pages, sink),
            DeviceEvent::Written { pages } => self.contents.write(pages),
            DeviceEvent::Cleared { pages } => self.contents.clear(pages),
            DeviceEvent::Mapping { pages } => self.mapping(pages, sink),
            DeviceEvent::Mapped { at, head } => {
                self.table.enter(at, head);
                let pages = PageRange { first: head, ..at };
                self.contents.map(pages, true);
                self.contents.expose(pages);
            }
            DeviceEvent::Unmapped { at } => self.unmapped(at, sink),
            DeviceEvent::Shown { pages } => self.contents.expose(pages),
        }
    }

    /// Judges the use of device pages: they are held (I5), and are of one range (I21).
    fn accessed(&self, pages: PageRange, sink: &mut Sink<'_>) {
        let (number, held) = (self.number, self.ranges.covering(pages.first));
        sink.note(judge::i5_memory(pages, held.as_ref().map(Held::pages)), || {
            format!("{pages} of node {number} are used, but are free")
        });
        if let Some(held) = held {
            sink.note(judge::i21_backing(pages, held.pages()), || {
                format!("{pages} of node {number} are used in the name of {held:?}")
            });
        }
    }

    /// Judges pages that are about to be shown: their use, their pagemap (I25), and that they hold nothing of former
    /// owners (I22).
    fn mapping(&self, pages: PageRange, sink: &mut Sink<'_>) {
        self.accessed(pages, sink);
        let (number, pagemap) = (self.number, self.pagemap);
        sink.note(judge::i25_pagemap(pages, Some(pagemap)), || {
            format!("{pages} are not all of the pagemap of node {number}, which has {pagemap}")
        });
        let stale = self.contents.unwritten(pages);
        sink.note(judge::i22_clear(pages, stale), || {
            format!("page {} is shown, but was not written since it was handed out", stale.first)
        });
    }

    /// Judges whether what is removed was entered (I20), and forgets it.
    fn unmapped(&mut self, at: PageRange, sink: &mut Sink<'_>) {
        let (entered, removed) = self.table.remove(at);
        removed.into_iter().for_each(|pages| self.contents.map(pages, false));
        sink.note(judge::i20_unmapped(at, entered), || {
            format!("virtual {at} are unmapped, mapped were {entered}")
        });
    }
}
