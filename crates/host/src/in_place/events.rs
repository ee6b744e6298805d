//! What the kernel says of the program's mappings, applied to what we know of them.
//!
//! A removal is told before it happens, an unmapping and a move after. The thread that caused it goes on once the message
//! is read.

use std::ops::Range;
use std::time::Instant;

use bifolio_engine::view::span_of;
use bifolio_migrate::{Failure, PageRun};
use bifolio_sys::{AddressRange, HUGE_PAGE, Message, PAGE};

use crate::in_place::faults::range_of;
use crate::in_place::service::Service;

impl Service {
    pub(super) fn apply(&mut self, event: &Message) {
        match *event {
            Message::Remove { start, end } => self.removed(start..end),
            Message::Unmap { start, end } => self.unmapped(start..end),
            Message::Remap { from, to, len } => self.moved(from..from + len, to),
            Message::Pagefault { .. } | Message::Fork { .. } | Message::Unknown { .. } => {}
        }
    }

    /// The program drops pages, as soon as this is read. How much that was, the next sample tells.
    fn removed(&mut self, range: Range<usize>) {
        self.record_unmapped(&range);
        self.forget(range.clone());
        self.dropping.begin(range, Instant::now());
    }

    fn unmapped(&mut self, range: Range<usize>) {
        self.record_unmapped(&range);
        self.forget(range.clone());
        self.dropping.end(&range);
        self.regions.remove(range.clone());
        self.advised.unmapped(&range);
        self.refused.remove(range);
    }

    /// Forgets the bytes of a range, wherever they are.
    pub(super) fn forget(&mut self, range: Range<usize>) {
        let forgotten: Result<(), Failure> = self.engine.forget(range.clone());
        debug_assert_eq!(forgotten, Ok(()), "no folio of the store is in use");
        if let Some((base, pages)) = &mut self.staged {
            let (start, end) = (range.start.max(*base), range.end.min(*base + HUGE_PAGE));
            for page in start / PAGE..end.max(start) / PAGE {
                let page = u16::try_from(page - *base / PAGE).expect("a page of the block");
                pages.remove(PageRun::new(page, 1).expect("a page of the block"));
            }
        }
    }

    /// A range has moved: what is stored of it is that of the new place from now on. Its registration went along, which may be
    /// younger than the last scan; the old place, if it stays mapped, has its own still.
    fn moved(&mut self, from: Range<usize>, to: usize) {
        self.regions.insert(to..to + from.len());
        self.residents.look_through(to..to + from.len());
        self.dropping.end(&from);
        self.advised.moved(&from, to);
        self.move_staged(&from, to);
        let mut stored = Vec::new();
        self.engine.for_stored(from.clone(), |range, _| stored.push(range));
        for range in stored {
            let mut at = range.start;
            while at < range.end {
                // Within one block, here and there.
                let target = to + (at - from.start);
                let len = (range.end - at).min(HUGE_PAGE - target % HUGE_PAGE);
                self.store_moved(range_of(&(at..at + len)), range_of(&(target..target + len)));
                at += len;
            }
        }
    }

    /// Stores bytes of `from` as those of `to`.
    fn store_moved(&mut self, from: AddressRange, to: AddressRange) {
        let scratch = self.engine.view().scratch_of(to);
        let store = &self.store;
        self.engine.for_stored(from.start()..from.end(), |part, page| {
            let bytes = store.part(page.pfn, (part.len() / PAGE) as u64).expect("pages of the store");
            let here = scratch.part(part.start - from.start(), part.len()).expect("as long as the range");
            here.copy_from(bytes).expect("both have the same length");
        });
        self.forget(from.start()..from.end());
        self.store_scratch(to);
    }

    /// Pages that wait in the staging go to the new place at once.
    fn move_staged(&mut self, from: &Range<usize>, to: usize) {
        let Some((base, pages)) = self.staged else { return };
        let mut left = pages;
        for run in pages.runs(PageRun::BLOCK) {
            for page in run.first()..run.end() {
                let one = PageRun::new(page, 1).expect("a page of the block");
                let range = span_of(base, one);
                if from.contains(&range.start()) {
                    let start = to + (range.start() - from.start);
                    let target = range_of(&(start..start + PAGE));
                    let view = self.engine.view();
                    if view.copy_in(target, view.staging_of(range)) > 0 {
                        left.remove(one);
                    }
                }
            }
        }
        self.staged = Some((base, left));
    }
}
