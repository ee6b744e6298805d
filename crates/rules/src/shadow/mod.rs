//! [`Shadow`]: what is known of a world from its events, and the judgement of each of them.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::judge::Verdict;
use crate::{Event, Place, Rule};

mod audit;
mod bits;
mod bytes;
mod contents;
mod device;
mod folios;
mod node;
mod pool;
mod ranges;
mod table;
mod transaction;

use node::Node;
pub use ranges::{Held, Use};
use transaction::Transaction;

/// A rule that was judged.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Judgement {
    /// The rule.
    pub rule: Rule,
    /// What was seen, if it breaks the rule.
    pub broken: Option<String>,
}

impl Judgement {
    /// Returns the violation, if the rule was broken.
    #[must_use]
    pub fn violation(self) -> Option<Violation> {
        let rule = self.rule;
        self.broken.map(|what| Violation { rule, what })
    }
}

/// A rule that was broken, and how.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    /// The rule.
    pub rule: Rule,
    /// What was seen.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.rule, self.what)
    }
}

impl core::error::Error for Violation {}

/// Gets each judgement.
struct Sink<'s>(&'s mut dyn FnMut(Judgement));

impl Sink<'_> {
    /// Tells of a verdict. The text is made only if the rule was broken.
    fn note(&mut self, verdict: Verdict, what: impl FnOnce() -> String) {
        (self.0)(Judgement { rule: verdict.rule, broken: (!verdict.kept).then(what) });
    }
}

/// What is known of a world from its events: who has each device page, what is known of its bytes, what devices have
/// mapped, and the transactions that are under way.
///
/// It starts from nothing: [`Event::NodeAdded`] tells of the nodes. What it does not hear of it does not know, and does
/// not judge: a stream without [`DeviceEvent`](crate::DeviceEvent)s is judged by all rules but those about mappings.
#[derive(Debug, Default)]
pub struct Shadow {
    nodes: BTreeMap<u8, Node>,
    /// By the address of the block.
    transactions: BTreeMap<u64, Transaction>,
}

impl Shadow {
    /// Makes the shadow of a world of no node.
    #[must_use]
    pub fn new() -> Shadow {
        Shadow::default()
    }

    /// Takes note of an event, and calls `judged` for each rule that it is judged by. An event of a node that was not
    /// added breaks I25, and nothing else comes of it.
    pub fn observe(&mut self, event: &Event<'_>, judged: &mut dyn FnMut(Judgement)) {
        let sink = &mut Sink(judged);
        match *event {
            Event::NodeAdded { node, pagemap } => {
                self.nodes.insert(node, Node::new(node, pagemap));
            }
            Event::Pool { node, event } => {
                self.of_node(node, sink, |node, sink| node.pool_event(event, sink));
            }
            Event::Folio { node, event } => {
                self.of_node(node, sink, |node, sink| node.folio_event(event, sink));
            }
            Event::Device { node, event } => {
                self.of_node(node, sink, |node, sink| node.device_event(event, sink));
            }
            Event::Transaction { block, event } => self.transaction_event(block, event, sink),
            Event::Bytes(event) => self.bytes_event(event, sink),
            Event::Audit(event) => self.audit_event(event, sink),
        }
    }

    fn of_node(&mut self, number: u8, sink: &mut Sink<'_>, event: impl FnOnce(&mut Node, &mut Sink<'_>)) {
        match self.nodes.get_mut(&number) {
            Some(node) => event(node, sink),
            None => node::unknown(number, sink),
        }
    }

    /// The folio of a node that has a page.
    #[must_use]
    pub fn folio(&self, node: u8, page: u64) -> Option<Held> {
        self.nodes.get(&node)?.ranges.folio(page)
    }

    /// Some range that an object of a node still has.
    #[must_use]
    pub fn survivor(&self, node: u8, data: u32) -> Option<Held> {
        self.nodes.get(&node)?.ranges.survivor(data)
    }

    /// Whether anything is known of the bytes at a place.
    #[must_use]
    pub fn knows_bytes(&self, place: Place) -> bool {
        self.known(place, 1).iter().any(|digest| *digest != 0)
    }

    /// Runs of system memory that the transaction of a block has out of view and whose bytes are known: first page in
    /// the block, and number of pages.
    #[must_use]
    pub fn known_runs(&self, block: u64) -> Vec<(u16, u16)> {
        self.transactions.get(&block).map_or_else(Vec::new, Transaction::known_runs)
    }

    /// Node and first page of the folio that was formed for the transaction of a block and not released.
    #[must_use]
    pub fn folio_of_transaction(&self, block: u64) -> Option<(u8, u64)> {
        self.transactions.get(&block).and_then(Transaction::folio)
    }
}

fn index(number: u64) -> usize {
    usize::try_from(number).expect("pages of device memory are counted in memory")
}
