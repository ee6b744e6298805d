//! Bytes that were copied and looked at again, by their digests (I27), and where they were copied from (I28).

use alloc::format;
use alloc::string::String;

use super::{Shadow, Sink, index};
use crate::judge;
use crate::{BytesEvent, PageRange, Place};

impl Shadow {
    pub(super) fn bytes_event(&mut self, event: BytesEvent<'_>, sink: &mut Sink<'_>) {
        match event {
            BytesEvent::Seen { place, digests } => self.seen(place, digests, sink),
            BytesEvent::Copied { from, to, pages, arrived } => self.copied(from, to, pages, arrived, sink),
            BytesEvent::InView { block } => {
                if let Some(transaction) = self.transactions.get_mut(&block) {
                    transaction.forget_bytes();
                }
            }
        }
    }

    /// Judges bytes by what is known of them. They are known from here on.
    fn seen(&mut self, place: Place, digests: &[u64], sink: &mut Sink<'_>) {
        compare(digests, self.known(place, digests.len()), sink, || {
            format!("{place:?} was written while nothing should have written")
        });
        self.set_known(place, digests);
    }

    /// Judges a copy: its source is needed (I28), and what arrived is what is known of it (I27). It is known of the
    /// destination from here on.
    fn copied(&mut self, from: Place, to: Place, pages: u64, arrived: Option<&[u64]>, sink: &mut Sink<'_>) {
        if let Place::Device { node, first } = from
            && let Some(folio) = self.folio(node, first)
        {
            sink.note(judge::i28_source(folio.retired), || {
                format!("{from:?} was copied to {to:?}, after its block gave up {folio:?}")
            });
        }
        let mut known = self.known(from, index(pages)).to_vec();
        known.resize(index(pages), 0);
        if let Some(arrived) = arrived {
            compare(arrived, &known, sink, || format!("{from:?} was copied to {to:?}"));
        }
        self.set_known(to, arrived.unwrap_or(&known));
    }

    /// What pages hold: digests, 0 or none at all where that is not known.
    pub(super) fn known(&self, place: Place, pages: usize) -> &[u64] {
        let known = match place {
            Place::Ram { block, first } => {
                self.transactions.get(&block).map(|transaction| transaction.digests(first, pages))
            }
            Place::Device { node, first } => {
                let pages = PageRange { first, pages: pages as u64 };
                self.nodes.get(&node).map(|node| node.contents.digests(pages))
            }
        };
        known.unwrap_or_default()
    }

    fn set_known(&mut self, place: Place, digests: &[u64]) {
        match place {
            Place::Ram { block, first } => {
                self.transactions.entry(block).or_default().set_digests(first, digests);
            }
            Place::Device { node, first } => {
                if let Some(node) = self.nodes.get_mut(&node) {
                    node.contents.set_digests(first, digests);
                }
            }
        }
    }
}

/// Judges bytes by what is known of them, if anything is.
fn compare(found: &[u64], known: &[u64], sink: &mut Sink<'_>, what: impl FnOnce() -> String) {
    if known.iter().all(|digest| *digest == 0) {
        return;
    }
    let known = known.iter().map(|digest| Some(*digest).filter(|digest| *digest != 0));
    let pages = found.iter().copied().zip(known);
    sink.note(judge::i27_pages(pages.clone()), || {
        let differ = |(found, known): (u64, Option<u64>)| known.is_some_and(|known| known != found);
        let first = pages.clone().position(differ);
        let count = pages.filter(|page| differ(*page)).count();
        format!("{}: {count} of {} pages differ, page {first:?} first", what(), found.len())
    });
}
