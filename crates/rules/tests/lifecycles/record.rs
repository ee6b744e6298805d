//! Events that own what they tell, so that a stream of them can be kept and changed.

use bifolio_rules::{BytesEvent, Event, Judgement, Place, Shadow};

/// An event that was kept.
#[derive(Clone, PartialEq, Debug)]
pub enum Record {
    /// One that borrows nothing.
    Plain(Event<'static>),
    Copied {
        from: Place,
        to: Place,
        pages: u64,
        arrived: Option<Vec<u64>>,
    },
    Seen {
        place: Place,
        digests: Vec<u64>,
    },
}

impl Record {
    pub fn tell(&self, shadow: &mut Shadow, judged: &mut dyn FnMut(Judgement)) {
        let event = match self {
            Record::Plain(event) => *event,
            Record::Copied { from, to, pages, arrived } => Event::Bytes(BytesEvent::Copied {
                from: *from,
                to: *to,
                pages: *pages,
                arrived: arrived.as_deref(),
            }),
            Record::Seen { place, digests } => Event::Bytes(BytesEvent::Seen { place: *place, digests }),
        };
        shadow.observe(&event, judged);
    }
}
