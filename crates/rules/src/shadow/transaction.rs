//! A transaction that is under way on a block.

use alloc::format;
use alloc::vec;
use alloc::vec::Vec;

use super::{Shadow, Sink};
use crate::judge::{self, Kept, Residency};
use crate::pages::pages_of;
use crate::{Ending, TransactionEvent};

/// Pages of a block.
const BLOCK_PAGES: usize = 512;

/// What is remembered of a transaction while it has its block locked.
#[derive(Debug, Default)]
pub(super) struct Transaction {
    /// Where the pages of the block were before it changed anything, or since it was paused last.
    before: Residency,
    /// Node and first page of the folio that was formed for it and not released.
    formed: Option<(u8, u64)>,
    /// Pages of folios that it released, that were not formed for it, and that were on them since `before`.
    released: u64,
    /// Pages taken from the budget of system memory, less those given back, and less those that came by `before`.
    reserved: i64,
    /// The order that it asked memory for last, and the smallest one that it may ask for.
    asked: Option<(u8, u8)>,
    /// Digests of pages of system memory that were copied or filled while out of view; 0: unknown. Empty until then.
    digests: Vec<u64>,
}

impl Shadow {
    pub(super) fn transaction_event(&mut self, block: u64, event: TransactionEvent, sink: &mut Sink<'_>) {
        match event {
            TransactionEvent::Waiting { holding } => {
                sink.note(judge::i24_holding(holding), || {
                    format!("a thread that has {holding} blocks locked waits for that at {block:#x}")
                });
            }
            TransactionEvent::Began { pages } => {
                self.transactions.insert(block, Transaction { before: pages, ..Transaction::default() });
            }
            TransactionEvent::Ended { ending, pages: now, committed, staged } => {
                let transaction = self.transactions.remove(&block).unwrap_or_default();
                transaction.ended(&End { block, ending, now, committed, staged }, sink);
            }
            event => {
                if let TransactionEvent::FolioReleased { node, head, .. } = event
                    && let Some(node) = self.nodes.get_mut(&node)
                {
                    node.ranges.retire(head);
                }
                self.transactions.entry(block).or_default().note(event);
            }
        }
    }
}

/// How a transaction ended.
struct End {
    block: u64,
    ending: Ending,
    now: Residency,
    committed: [u64; 8],
    staged: bool,
}

impl Transaction {
    /// Notes what the transaction did.
    fn note(&mut self, event: TransactionEvent) {
        match event {
            TransactionEvent::Paused { pages } => self.settle(pages),
            TransactionEvent::Resumed { pages } => self.before = pages,
            TransactionEvent::MemoryAsked { order, smallest } => self.asked = Some((order, smallest)),
            TransactionEvent::Reserved { pages } => self.reserved = self.reserved.saturating_add(pages),
            TransactionEvent::FolioTaken { node, head } => self.formed = Some((node, head)),
            TransactionEvent::FolioReleased { node, head, .. } if self.formed == Some((node, head)) => {
                self.formed = None;
            }
            TransactionEvent::FolioReleased { order, .. } => self.released += pages_of(order),
            _ => {}
        }
    }

    /// What pages of system memory hold: digests, 0 where that is not known.
    pub(super) fn digests(&self, first: u16, pages: usize) -> &[u64] {
        let first = usize::from(first);
        self.digests.get(first..(first + pages).min(self.digests.len())).unwrap_or(&[])
    }

    /// Notes what pages of system memory hold.
    pub(super) fn set_digests(&mut self, first: u16, digests: &[u64]) {
        if self.digests.is_empty() {
            self.digests = vec![0; BLOCK_PAGES];
        }
        let known = self.digests.iter_mut().skip(usize::from(first));
        known.zip(digests).for_each(|(known, digest)| *known = *digest);
    }

    /// Forgets what pages of system memory hold.
    pub(super) fn forget_bytes(&mut self) {
        self.digests.clear();
    }

    /// Counts what it moved so far, and looks at what moves from here on.
    fn settle(&mut self, now: Residency) {
        let before = self.before;
        let (came, left) = (count_new(&before.ram, &now.ram), count_new(&now.ram, &before.ram));
        let signed = |pages| i64::try_from(pages).unwrap_or(i64::MAX);
        self.reserved = self.reserved.saturating_sub(signed(came)).saturating_add(signed(left));
        self.released = self.released.saturating_sub(count_new(&now.device, &before.device));
        self.before = now;
    }

    /// Node and first page of the folio that was formed for it and not released.
    pub(super) fn folio(&self) -> Option<(u8, u64)> {
        self.formed
    }

    /// Runs of pages of system memory whose bytes are known: first page and number of pages.
    pub(super) fn known_runs(&self) -> Vec<(u16, u16)> {
        let mut runs: Vec<(u16, u16)> = Vec::new();
        let known = (0u16..).zip(&self.digests).filter(|(_, digest)| **digest != 0);
        for (page, _) in known {
            match runs.last_mut() {
                Some((first, pages)) if *first + *pages == page => *pages += 1,
                _ => runs.push((page, 1)),
            }
        }
        runs
    }

    /// Judges what it left behind (I12, I13, I18, I19, I23).
    fn ended(self, end: &End, sink: &mut Sink<'_>) {
        let End { block, ending, now, .. } = end;
        let before = self.before;
        let leaked = self.formed.filter(|_| end.committed == [0; 8]);
        let (staged, folios) = (u64::from(end.staged), u64::from(leaked.is_some()));
        sink.note(judge::i12_finalized(staged, folios), || {
            format!("block at {block:#x}, {ending:?}: out of view: {}, leaked: {leaked:?}", end.staged)
        });
        let (came, left) = (count_new(&before.ram, &now.ram), count_new(&now.ram, &before.ram));
        let reserved = self.reserved;
        let pages = || format!("{reserved:+} pages counted, {came} came to system memory, {left} left it");
        sink.note(judge::i13_pages(reserved, came, left), || {
            format!("block at {block:#x}, {ending:?}: {}", pages())
        });
        let difference = i128::from(reserved) - (i128::from(came) - i128::from(left));
        let uncounted = u64::try_from(difference.unsigned_abs()).unwrap_or(u64::MAX);
        let kept = Kept { locks: 0, folios, staged, reserved: uncounted };
        sink.note(judge::i18_returned(&kept), || format!("block at {block:#x}, {ending:?}: {kept:?}"));
        if let Some((order, smallest)) = self.asked {
            sink.note(judge::i19_gave_up(*ending == Ending::NoMemory, order, smallest), || {
                format!("block at {block:#x}: order {order} was asked for last, order {smallest} never")
            });
        }
        if *ending != Ending::Done {
            sink.note(judge::i23_failed(&before, now, &end.committed, self.released), || {
                let device = count_new(&before.device, &now.device);
                format!("block at {block:#x}, {ending:?}: {}, {device} came to a device", pages())
            });
        }
    }
}

/// Number of pages that are in `now` and not in `before`.
fn count_new(before: &[u64; 8], now: &[u64; 8]) -> u64 {
    before.iter().zip(now).map(|(before, now)| u64::from((now & !before).count_ones())).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_bytes_are_found_in_runs() {
        let mut transaction = Transaction::default();
        assert!(transaction.known_runs().is_empty());
        transaction.set_digests(4, &[1, 2, 3]);
        transaction.set_digests(9, &[4, 0, 5]);
        assert_eq!(transaction.known_runs(), [(4, 3), (9, 1), (11, 1)]);
        assert_eq!(transaction.digests(9, 3), [4, 0, 5]);
        assert_eq!(transaction.digests(510, 4).len(), 2);
        transaction.forget_bytes();
        assert!(transaction.known_runs().is_empty() && transaction.digests(4, 3).is_empty());
    }
}
