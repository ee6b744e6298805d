//! Single changes of a stream of events, each with the rules that it may break.

use bifolio_rules::{
    AuditEvent, Counter, DeviceEvent, Ending, Event, FolioEvent, PageRange, Place, PoolEvent, Structure,
    TransactionEvent,
};

use crate::record::Record;

/// A change of a stream.
pub struct Mutation {
    pub what: &'static str,
    /// One of these rules is broken by it, whatever the stream.
    pub breaks: &'static [u8],
    change: Change,
}

/// How a stream is changed at one of its events, if that event is one that can be changed so.
enum Change {
    /// The event tells something else.
    Alter(fn(&mut Record) -> Option<()>),
    /// The event is left out.
    Omit(fn(&[Record], usize) -> bool),
    /// The event comes twice.
    Repeat(fn(&Record) -> bool),
    /// Another event comes first.
    Before(fn(&Record) -> Option<Record>),
    /// Another event follows.
    After(fn(&Record) -> Option<Record>),
}

impl Mutation {
    /// The stream, changed at one of its events.
    pub fn apply(&self, stream: &[Record], at: usize) -> Option<Vec<Record>> {
        let (record, mut changed) = (&stream[at], stream.to_vec());
        match self.change {
            Change::Alter(alter) => alter(&mut changed[at])?,
            Change::Omit(applies) => drop(applies(stream, at).then(|| changed.remove(at))?),
            Change::Repeat(applies) => applies(record).then(|| changed.insert(at, record.clone()))?,
            Change::Before(other) => changed.insert(at, other(record)?),
            Change::After(other) => changed.insert(at + 1, other(record)?),
        }
        Some(changed)
    }
}

fn pool(record: &mut Record) -> Option<&mut PoolEvent> {
    if let Record::Plain(Event::Pool { event, .. }) = record { Some(event) } else { None }
}

fn folio(record: &mut Record) -> Option<&mut FolioEvent> {
    if let Record::Plain(Event::Folio { event, .. }) = record { Some(event) } else { None }
}

fn device(record: &mut Record) -> Option<&mut DeviceEvent> {
    if let Record::Plain(Event::Device { event, .. }) = record { Some(event) } else { None }
}

fn transaction(record: &mut Record) -> Option<&mut TransactionEvent> {
    if let Record::Plain(Event::Transaction { event, .. }) = record { Some(event) } else { None }
}

fn audit(record: &mut Record) -> Option<&mut AuditEvent<'static>> {
    if let Record::Plain(Event::Audit(event)) = record { Some(event) } else { None }
}

fn bytes(record: &mut Record) -> Option<&mut Record> {
    if let Record::Plain(_) = record { None } else { Some(record) }
}

/// A mutation that alters events that match a pattern.
macro_rules! alter {
    ($what:literal, $breaks:expr, $group:ident, $pattern:pat $(if $guard:expr)? => $then:expr) => {
        Mutation {
            what: $what,
            breaks: &$breaks,
            change: Change::Alter(|record| match $group(record)? {
                $pattern $(if $guard)? => {
                    $then;
                    Some(())
                }
                _ => None,
            }),
        }
    };
}

/// A pattern of an event of a certain group.
macro_rules! event {
    ($group:ident, $($event:tt)*) => { Record::Plain(Event::$group { event: $($event)*, .. }) };
}

/// The range of a folio that is freed, and the node.
fn freed(record: &Record) -> Option<(u8, u64, u8, u32)> {
    let Record::Plain(Event::Pool { node, event: PoolEvent::Freed { head, order, data } }) = record else {
        return None;
    };
    Some((*node, *head, *order, *data))
}

/// A first page that no node has.
const NOWHERE: u64 = 1 << 20;

pub const MUTATIONS: &[Mutation] = &[
    Mutation {
        what: "memory is handed out twice",
        breaks: &[1],
        change: Change::Repeat(|record| matches!(record, event!(Pool, PoolEvent::Allocated { .. }))),
    },
    alter!("memory of no node is handed out", [21], pool, PoolEvent::Allocated { head, .. } => *head += NOWHERE),
    alter!("another order is granted", [9], pool, PoolEvent::Allocated { wanted, .. } => *wanted += 1),
    alter!("a refusal has no reason", [9], pool, PoolEvent::Refused { wanted, largest_free } =>
        *largest_free = Some(*wanted)),
    alter!("the order of a freed folio is wrong", [4], pool, PoolEvent::Freed { order, .. } => *order += 1),
    alter!("a folio is freed to another object", [7], pool, PoolEvent::Freed { data, .. } => *data += 1),
    alter!("a buffer is freed as a folio", [4], pool, event @ PoolEvent::GivenBack { .. } => {
        if let PoolEvent::GivenBack { head, order, data, .. } = *event {
            *event = PoolEvent::Freed { head, order, data };
        }
    }),
    Mutation {
        what: "a folio is freed twice",
        breaks: &[4],
        change: Change::Repeat(|record| freed(record).is_some()),
    },
    Mutation {
        what: "a folio is never freed",
        breaks: &[1, 16],
        change: Change::Omit(|stream, at| freed(&stream[at]).is_some()),
    },
    alter!("objects are released in a put", [15], pool, PoolEvent::PutDone { released, .. } => *released = 1),
    alter!("an object is gone", [7], pool, PoolEvent::ObjectAsked { exists, .. } => *exists = false),
    Mutation {
        what: "a folio is never formed",
        breaks: &[4],
        change: Change::Omit(|stream, at| matches!(&stream[at], event!(Folio, FolioEvent::Formed(_)))),
    },
    alter!("a folio has stale words", [2], folio, FolioEvent::Formed(new) => new.words.last = None),
    alter!("a folio has other data", [2], folio, FolioEvent::Formed(new) => new.words.data += 1),
    alter!("a folio has no pagemap", [3], folio, FolioEvent::Formed(new) => new.pagemap = None),
    alter!("a folio is born unlocked", [11], folio, FolioEvent::Formed(new) => new.locked = false),
    alter!("a folio is born without a reference", [11], folio, FolioEvent::Formed(new) => new.references = 0),
    Mutation {
        what: "a folio is formed after the kill",
        breaks: &[16],
        change: Change::Before(|record| match record {
            Record::Plain(Event::Folio { node, event: FolioEvent::Forming { .. } }) => {
                Some(Record::Plain(Event::Folio { node: *node, event: FolioEvent::Killed }))
            }
            _ => None,
        }),
    },
    Mutation {
        what: "free pages are in a folio by their words",
        breaks: &[1],
        change: Change::After(|record| match *record {
            Record::Plain(Event::Folio { node, event: FolioEvent::Forming { head } }) => {
                let event = FolioEvent::FoundBusy { head, order: 0, page: head };
                Some(Record::Plain(Event::Folio { node, event }))
            }
            _ => None,
        }),
    },
    alter!("forming changes a neighbour", [6], folio, FolioEvent::NeighbourSeen { found, .. } if found.is_some() =>
        *found = None),
    alter!("a folio is not counted", [8], folio, FolioEvent::LivePagesRead { counted } => *counted = 0),
    alter!("a step names a page of no folio", [17], folio, FolioEvent::Named { page, .. } => *page += NOWHERE),
    alter!("a step names another order", [14], folio, FolioEvent::Named { order: Some(order), .. } => *order += 1),
    alter!("another object is told of a split", [7], folio, FolioEvent::Split { data, .. } => *data += 1),
    alter!("another object is told of a collapse", [7], folio, FolioEvent::Collapsed { data, .. } => *data += 1),
    Mutation {
        what: "nothing is told of a split or a collapse",
        breaks: &[4, 7],
        change: Change::Omit(|stream, at| {
            matches!(
                &stream[at],
                event!(Folio, FolioEvent::Split { .. }) | event!(Folio, FolioEvent::Collapsed { .. })
            )
        }),
    },
    Mutation {
        what: "free pages are split",
        breaks: &[10],
        change: Change::After(|record| {
            let (node, head, order, data) = freed(record)?;
            let event = FolioEvent::Split { head, from: order, to: 0, data };
            Some(Record::Plain(Event::Folio { node, event }))
        }),
    },
    alter!("a block has another order", [23], folio, FolioEvent::InBlock { order, .. } => *order += 1),
    alter!("teardown does not end", [16], audit, AuditEvent::Teardown { ends, .. } => *ends = false),
    alter!("a copy goes beyond the folio", [21], device, DeviceEvent::Accessed { pages } => pages.pages *= 2),
    Mutation {
        what: "memory that was freed is used",
        breaks: &[5],
        change: Change::After(|record| {
            let (node, head, order, _) = freed(record)?;
            let event = DeviceEvent::Accessed { pages: PageRange::of_order(head, order) };
            Some(Record::Plain(Event::Device { node, event }))
        }),
    },
    Mutation {
        what: "memory is shown before it is written",
        breaks: &[22],
        change: Change::Omit(|stream, at| {
            let event!(Device, DeviceEvent::Written { pages: written }) = &stream[at] else { return false };
            let said_clear =
                |record: &Record| matches!(record, event!(Pool, PoolEvent::Allocated { cleared: true, .. }));
            let allocated = |record: &&Record| matches!(record, event!(Pool, PoolEvent::Allocated { .. }));
            if stream[..at].iter().rev().find(allocated).is_some_and(said_clear) {
                return false;
            }
            // A transaction that fails shows nothing.
            let mut later = stream[at..].iter();
            let ended =
                |record: &&Record| matches!(record, event!(Transaction, TransactionEvent::Ended { .. }));
            let shown = |record: &Record| matches!(record, event!(Device, DeviceEvent::Mapping { pages }) if pages == written);
            later.by_ref().take_while(|record| !ended(record)).any(shown)
        }),
    },
    Mutation {
        what: "memory is shown before it is cleared",
        breaks: &[22],
        change: Change::Omit(|stream, at| matches!(&stream[at], event!(Device, DeviceEvent::Cleared { .. }))),
    },
    Mutation {
        what: "a device maps memory of another one",
        breaks: &[25],
        change: Change::Alter(|record| match record {
            Record::Plain(Event::Device { node, event: DeviceEvent::Mapping { .. } }) => {
                *node ^= 1;
                Some(())
            }
            _ => None,
        }),
    },
    Mutation {
        what: "what was never mapped is unmapped",
        breaks: &[20],
        change: Change::Omit(|stream, at| matches!(&stream[at], event!(Device, DeviceEvent::Mapped { .. }))),
    },
    Mutation {
        what: "a folio is freed while it is mapped",
        breaks: &[11],
        change: Change::Omit(|stream, at| {
            matches!(&stream[at], event!(Device, DeviceEvent::Unmapped { .. }))
        }),
    },
    Mutation {
        what: "pages are unmapped twice",
        breaks: &[20],
        change: Change::Repeat(|record| matches!(record, event!(Device, DeviceEvent::Unmapped { .. }))),
    },
    alter!("more is unmapped than was mapped", [20], device, DeviceEvent::Unmapped { at } => at.pages += 512),
    alter!("a page too many is reserved", [13], transaction, TransactionEvent::Reserved { pages } => *pages += 1),
    alter!("a page too few is reserved", [18], transaction, TransactionEvent::Reserved { pages } => *pages -= 1),
    alter!("pages stay out of view", [12], transaction, TransactionEvent::Ended { staged, .. } => *staged = true),
    alter!("a folio that was formed holds no page", [12], transaction, TransactionEvent::Ended { committed, .. }
        if *committed != [0; 8] => *committed = [0; 8]),
    Mutation {
        what: "a transaction gives up at a large order",
        breaks: &[19],
        change: Change::Before(|record| match *record {
            Record::Plain(Event::Transaction {
                block,
                event: TransactionEvent::Ended { ending: Ending::NoMemory, .. },
            }) => {
                let event = TransactionEvent::MemoryAsked { order: 4, smallest: 0 };
                Some(Record::Plain(Event::Transaction { block, event }))
            }
            _ => None,
        }),
    },
    alter!("a transaction that failed moved a page", [23], transaction, TransactionEvent::Ended { ending, pages, .. }
        if *ending != Ending::Done => pages.device[3] ^= 1),
    alter!("a thread waits while it holds a block", [24], transaction, TransactionEvent::Waiting { holding } =>
        *holding = 1),
    alter!("another folio is found under the lock", [26], folio, FolioEvent::Rechecked { found, .. } =>
        *found = None),
    Mutation {
        what: "bytes are taken from a folio that its block gave up",
        breaks: &[28],
        change: Change::Before(|record| match *record {
            Record::Copied {
                from: Place::Device { node, first: head },
                to: Place::Ram { block, .. },
                ..
            } => {
                let event = TransactionEvent::FolioReleased { node, head, order: 0 };
                Some(Record::Plain(Event::Transaction { block, event }))
            }
            _ => None,
        }),
    },
    alter!("a page arrives changed", [27], bytes, Record::Copied { arrived: Some(arrived), .. } => arrived[0] ^= 1 << 40),
    alter!("a page is changed before or after it is copied", [27], bytes, Record::Seen { digests, .. } => digests[0] ^= 1 << 40),
    alter!("a pool counts a reference too many", [7], audit, AuditEvent::Counted {
        counter: Counter::ObjectReferences | Counter::PoolPages, counted, .. } => *counted += 1),
    alter!("a pagemap counts a page too many", [8], audit, AuditEvent::Counted {
        counter: Counter::LivePages, counted, .. } => *counted += 1),
    alter!("the budget counts a page too many", [13], audit, AuditEvent::Counted {
        counter: Counter::ResidentPages, counted, .. } => *counted += 1),
    alter!("a pagemap has a fault", [2], audit, AuditEvent::Walked { structure: Structure::Pagemap, fault } =>
        *fault = Some("a fault")),
    alter!("a pool has a fault", [7], audit, AuditEvent::Walked { structure: Structure::Pool, fault } =>
        *fault = Some("a fault")),
    alter!("a block has a fault", [12], audit, AuditEvent::Walked { structure: Structure::Block, fault } =>
        *fault = Some("a fault")),
];
