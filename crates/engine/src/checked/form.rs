//! Forming a folio, watched.

use std::sync::Arc;
use std::time::Duration;

use bifolio_folio::{Folio, FormError, FormErrorKind, FreeRange, Locked, Order, PageMap, Pfn};
use bifolio_pool::DevicePool;
use bifolio_rules::facts::{self, Counted, Formed, Stretch, Touched};

use super::{Checker, stretch};
use crate::sync::thread;

type Map = PageMap<Arc<dyn DevicePool>>;
type New<'m> = Folio<'m, Arc<dyn DevicePool>, Locked>;

/// How long others may take between a change of a word and the call that tells of it.
const PATIENCE: (u32, Duration) = (10_000, Duration::from_micros(100));

impl Checker {
    /// Forms a folio as [`PageMap::form`] does, after looking at every page, and judges it (I1, I2, I3, I6, I8, I11,
    /// I16).
    pub(crate) fn form<'m>(&self, map: &'m Map, range: FreeRange, data: u32) -> Result<New<'m>, FormError> {
        let after_kill = map.is_dead();
        let (head, order) = (range.head(), range.order());
        let formed = map.form_checked(range, data);
        match &formed {
            Ok(folio) => self.formed(map, folio, data, after_kill),
            Err(FormError { kind: FormErrorKind::Busy { pfn }, .. }) => {
                self.judge(1, false, || format!("order {order} at page {head}: page {pfn} is in a folio"));
            }
            // The kill may come between the allocation and this.
            Err(_) => {}
        }
        formed
    }

    fn formed(&self, map: &Map, folio: &New<'_>, data: u32, after_kill: bool) {
        let (head, order) = (folio.head(), folio.order());
        let range = stretch(head, order);
        let last = Pfn::new(head.get() + order.pages() - 1);
        let found = [map.head_of(head), map.head_of(last)];
        let facts = Formed {
            range,
            live: self.other_than(head, order),
            compound: Stretch::NONE,
            as_from_nothing: found == [Some((head, order)); 2] && folio.data() == data,
            pagemap_right: std::ptr::eq(folio.pagemap(), map) && map.contains(head) && map.contains(last),
            // Whoever looks through device memory may have found it by its number already: further ones say nothing.
            references: u8::from(folio.references() > 0),
            locked: folio.is_locked(),
            after_kill,
        };
        let what = || format!("folio of order {order} at page {head}: {facts:?}");
        self.judge(1, facts::i1(&facts), what);
        self.judge(2, facts::i2(&facts), || format!("{}; its pages lead to {found:?}", what()));
        self.judge(3, facts::i3(&facts), what);
        self.judge(11, facts::i11_born(&facts), what);
        self.judge(16, facts::i16_formed(&facts), what);
        self.neighbours(map, range);
        self.counted(map, head);
    }

    /// Pages of the range that were not handed out for it.
    fn other_than(&self, head: Pfn, order: Order) -> Stretch {
        let held = self.ledger().overlapping(stretch(head, order));
        match held {
            Some(held) if (held.head, held.order) == (head, order) => Stretch::NONE,
            Some(held) => held.pages(),
            // Nobody handed it out.
            None => stretch(head, order),
        }
    }

    /// Judges whether the folios on both sides are what they were (I6).
    fn neighbours(&self, map: &Map, range: Stretch) {
        let before = range.first.checked_sub(1);
        for page in before.into_iter().chain([range.first + range.pages]).map(Pfn::new) {
            let changed = self.changed_neighbour(map, page);
            let of_others = if changed { Stretch { first: page.get(), pages: 1 } } else { Stretch::NONE };
            self.judge(6, facts::i6(&Touched { pages: of_others, of_others }), || {
                let (known, found) = (self.ledger().folio(page), map.head_of(page));
                format!("forming pages {range:?} changed the folio of page {page}: {known:?} is known, {found:?} found")
            });
        }
    }

    /// Whether a page is not in the folio that the ledger knows, for longer than a change by others can take.
    fn changed_neighbour(&self, map: &Map, page: Pfn) -> bool {
        let differs = || {
            let folio = self.ledger().folio(page)?;
            (map.head_of(page) != Some((folio.head, folio.order))).then_some(folio)
        };
        let first = differs();
        let stays = |_| {
            thread::sleep(PATIENCE.1);
            differs() == first
        };
        first.is_some() && (0..PATIENCE.0).all(stays)
    }

    /// Notes the birth, and judges whether the pagemap counts at least what lives (I8); an audit compares exactly.
    fn counted(&self, map: &Map, head: Pfn) {
        let mut ledger = self.ledger();
        ledger.born(head);
        // The counter goes up before the ledger and down after it.
        let (live, counter) = (ledger.live(), map.live_pages());
        drop(ledger);
        let counted = Counted { counter: counter.min(live), truth: live };
        self.judge(8, facts::i8(&counted), || {
            format!("{counter} pages are counted, {live} are in live folios")
        });
    }
}
