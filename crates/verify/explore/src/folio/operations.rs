//! Each step: the state is put into the pagemap, one shipped operation is done, the state is taken out again.

use std::rc::Rc;

use bifolio_folio::{Folio, FreeRange, Live, Locked, Order, PageMap, Pfn, RawFolio};

use crate::design::Action;
use crate::folio::Folios;
use crate::folio::fault::Fault;
use crate::folio::lanes::Lanes;
use crate::folio::ledger::{Call, Ledger};
use crate::folio::pooled::Desk;
use crate::folio::sabotage::sabotage;
use crate::folio::state::{Hand, Held, PAGES, State, block, ones, pack, pages_of, unpack};
use crate::folio::world::verb;
use bifolio_rules::RuleSet;

const DEAD: u64 = 1 << 63;
/// The flag of a head's word.
pub(super) const LIVE: u64 = 1 << 32;

/// A pagemap on which steps are done, and what is in it.
pub struct Bench {
    map: Rc<PageMap<Ledger>>,
    /// Words that are in the pagemap between steps.
    loaded: Lanes,
    /// The same, unpacked.
    words: [u64; PAGES],
    /// Pages of the folios that these words tell of.
    pages: u8,
}

impl Bench {
    /// Makes the pagemap of a world.
    pub(super) fn new(world: &Folios) -> Bench {
        Bench::over(world, None)
    }

    /// Makes the pagemap of a world over a shipped pool.
    pub(super) fn over(world: &Folios, desk: Option<Desk>) -> Bench {
        let map = Ledger::pagemap_over(desk, world.reset, world.bounds.pages, world.fault);
        Bench { map, loaded: Lanes::default(), words: [0; PAGES], pages: 0 }
    }

    /// Does one step.
    pub(super) fn apply<'w>(&'w mut self, world: &'w Folios, before: &State, action: Action) -> Step<'w> {
        self.put_in(before);
        let mut step = Step {
            world,
            map: &self.map,
            state: *before,
            action,
            broken: RuleSet::NONE,
            own: block(action.page, action.order),
            formed: false,
            pages_before: self.pages,
            drained: false,
        };
        step.run();
        step.drained = step.map.is_drained();
        step.take_out(before, &self.words);
        step
    }

    /// The pool of the pagemap.
    pub(super) fn ledger(&self) -> &Ledger {
        self.map.pool()
    }

    fn put_in(&mut self, state: &State) {
        if self.loaded != state.words {
            self.loaded = state.words;
            self.words = state.words.each().map(unpack);
            self.pages = pages_of(state.words);
            self.map.restore(&self.words, 0);
        }
        self.map.restore_live(u64::from(state.live) | if state.dead { DEAD } else { 0 });
        let ledger = self.map.pool();
        ledger.free.set(state.free);
        ledger.backings.set(state.backings);
        ledger.calls.set(Default::default());
        ledger.reuse.set(false);
        ledger.reused.set(None);
    }
}

/// A step, and what it led to.
pub(super) struct Step<'w> {
    pub(super) world: &'w Folios,
    pub(super) map: &'w PageMap<Ledger>,
    pub(super) action: Action,
    /// The state after it: words as they are, handles as they should be.
    pub state: State,
    /// Rules that the answer of the operation itself breaks.
    pub broken: RuleSet,
    /// Block that the step worked on.
    pub own: u8,
    /// Whether a folio was formed.
    pub formed: bool,
    /// Pages that were in folios before.
    pub pages_before: u8,
    /// Whether the pagemap says that it is drained.
    pub drained: bool,
}

impl<'w> Step<'w> {
    /// Block that was formed anew inside `folio_free`.
    pub fn reused(&self) -> Option<Call> {
        self.map.pool().reused.get()
    }

    /// Calls of `folio_free`: how many, and the first two.
    pub fn calls(&self) -> (u8, [Call; 2]) {
        self.map.pool().calls.get()
    }

    /// Takes the state out of the pagemap and puts the words back that were there before.
    fn take_out(&mut self, before: &State, before_words: &[u64; PAGES]) {
        let mut words = [0; PAGES];
        self.map.snapshot_words(&mut words);
        let changed = differing(&words, before_words);
        let mut live = self.map.snapshot_live();
        let mut told = changed;
        if self.world.fault != Fault::None {
            sabotage(self.world, before, self.action, &mut words, &mut live);
            told = differing(&words, before_words);
        }
        for page in ones(told) {
            let packed = pack(words[usize::from(page)]);
            self.broken.require(packed.is_some(), 2);
            self.state.words.set(page, packed.unwrap_or(0));
        }
        for page in ones(changed) {
            self.map.restore_word(Pfn::new(u64::from(page)), before_words[usize::from(page)]);
        }
        let ledger = self.map.pool();
        self.state.dead = live & DEAD != 0;
        self.state.live = u8::try_from(live & !DEAD).unwrap_or(u8::MAX);
        self.state.free = ledger.free.get();
        self.state.set_backings(ledger.backings.get());
    }

    fn run(&mut self) {
        match self.action.verb {
            verb::ALLOCATE => self.allocate(),
            verb::GET => self.get(),
            verb::TAKE => self.take(),
            verb::KILL => self.kill(),
            verb::FORM => self.form(),
            verb::GIVE_BACK => self.give_back(),
            verb::UNLOCK => self.unlock(),
            verb::SPLIT | verb::SPLIT_AROUND => self.split(),
            verb::DROP | verb::DROP_AND_REUSE => self.drop(),
            verb::TRY_LOCK => self.try_lock(),
            verb::SHELVE => self.shelve(),
            verb::COLLAPSE => self.collapse(),
            verb::FAIL_NEXT | verb::RELEASE | verb::CLOSE => {
                self.own = 0;
                self.map.pool().ask(self.action.verb);
            }
            other => unreachable!("verb {other}"),
        }
    }

    pub(super) fn held(&mut self) -> &mut Held {
        &mut self.state.held[usize::from(self.action.actor)]
    }

    fn allocate(&mut self) {
        let Action { page, order, .. } = self.action;
        let free = self.map.pool().free.get();
        let granted = self.map.pool().grant(page, order);
        if self.world.fault == Fault::AllocateKeepsPagesFree {
            self.map.pool().free.set(free);
        }
        self.own = granted.map_or(0, |page| block(page, order));
        *self.held() = granted.map_or_else(Held::default, |page| Held { hand: Hand::Range, page, order });
    }

    fn get(&mut self) {
        let page = self.action.page;
        let truth = self.folio_over(page);
        let got = self.map.try_get(Pfn::new(u64::from(page))).ok();
        let tail = truth.is_some_and(|(head, _)| head != page);
        let got = got.filter(|_| !(self.world.fault == Fault::GetFindsNoTail && tail));
        let found = got.map(|folio| {
            let raw: RawFolio<Live> = folio.into_raw();
            ((raw.head().get() & 7) as u8, raw.order().get())
        });
        let stale = self.world.fault == Fault::GetFindsStale && self.state.words.at(page) != 0;
        let found = if truth.is_none() && (stale || self.world.fault == Fault::GetFindsFreePage) {
            Some((page, 0))
        } else {
            found
        };
        // By number one finds the folio that covers the page, or nothing.
        self.broken.require(found == truth, 17);
        if let Some((head, order)) = found {
            self.own = block(head, order);
            *self.held() = Held { hand: Hand::Live, page: head, order };
        }
    }

    /// Head and order of the folio that, going by the handles, covers a page.
    fn folio_over(&self, page: u8) -> Option<(u8, u8)> {
        let mut found = None;
        self.state.references(|head, order, _| {
            if block(head, order) >> page & 1 == 1 {
                found = Some((head, order));
            }
        });
        found
    }

    fn take(&mut self) {
        let Action { page, order, .. } = self.action;
        self.state.shelf.set(page, 0);
        match self.resume::<Live>() {
            Some(folio) => self.lay(folio),
            None => *self.held() = Held { hand: Hand::Live, page, order },
        }
    }

    fn kill(&mut self) {
        if self.world.fault != Fault::KillIgnored {
            self.map.kill();
        }
        self.own = 0;
    }

    fn form(&mut self) {
        let Action { page, order, .. } = self.action;
        let Some(size) = Order::new(order) else { return };
        let range = FreeRange::claim(Pfn::new(u64::from(page)), size);
        let (dead, fault) = (self.state.dead, self.world.fault);
        if fault == Fault::FormAfterKill {
            self.map.restore_live(self.map.snapshot_live() & !DEAD);
        }
        let result = if fault == Fault::FormRefused && order > 0 {
            None
        } else {
            self.map.form(range, self.map.pool().data(page, order)).ok()
        };
        match result {
            Some(folio) => {
                let _: RawFolio<Locked> = folio.into_raw();
                self.held().hand = Hand::Locked;
                self.formed = true;
            }
            None => {
                self.broken.require(dead, 9);
                self.give_back();
            }
        }
        if fault == Fault::FormAfterKill && dead {
            self.map.kill();
        }
    }

    fn give_back(&mut self) {
        let Held { page, order, .. } = *self.held();
        self.map.pool().give_back(page, order);
        *self.held() = Held::default();
    }

    /// The handle that the actor holds; a rule is broken if the pagemap knows nothing of it.
    fn resume<S: bifolio_folio::State>(&mut self) -> Option<Folio<'w, Ledger, S>> {
        let Action { page, .. } = self.action;
        let order = Order::new(self.action_order())?;
        let folio = self.map.resume(Pfn::new(u64::from(page)), order);
        self.broken.require(folio.is_some(), 17);
        folio
    }

    /// Order of the folio that the action is about; for a split it is that of the folio in hand.
    fn action_order(&self) -> u8 {
        match self.action.verb {
            verb::TAKE => self.action.order,
            _ => self.state.held[usize::from(self.action.actor)].order,
        }
    }

    /// Keeps a reference in the actor's hand.
    fn lay(&mut self, folio: Folio<'w, Ledger, Live>) {
        let raw = folio.into_raw();
        *self.held() =
            Held { hand: Hand::Live, page: (raw.head().get() & 7) as u8, order: raw.order().get() };
    }

    fn unlock(&mut self) {
        match self.resume::<Locked>() {
            Some(folio) => self.lay(folio.unlock()),
            None => self.held().hand = Hand::Live,
        }
    }

    fn try_lock(&mut self) {
        let locked = self.is_locked(self.action.page);
        let Some(folio) = self.resume::<Live>() else { return };
        let twice = self.world.fault == Fault::LockTwice;
        match folio.try_lock() {
            Ok(folio) => {
                let _: RawFolio<Locked> = folio.into_raw();
                self.broken.require(!locked, 11);
                self.held().hand = Hand::Locked;
            }
            Err(folio) => {
                let _ = folio.into_raw();
                // If nobody holds it, it must be had.
                self.broken.require(locked, 11);
                if twice {
                    self.held().hand = Hand::Locked;
                }
            }
        }
    }

    pub(super) fn is_locked(&self, page: u8) -> bool {
        let mut locked = false;
        self.state.references(|head, _, lock| locked |= head == page && lock);
        locked
    }

    pub(super) fn count(&self, page: u8) -> u32 {
        let mut count = 0;
        self.state.references(|head, _, _| count += u32::from(head == page));
        count
    }

    fn split(&mut self) {
        let held = *self.held();
        self.own = block(held.page, held.order);
        let alone = self.count(held.page) == 1;
        let (target, around) = (self.action.page, self.action.verb == verb::SPLIT_AROUND);
        let (Some(to), page) = (Order::new(self.action.order), Pfn::new(u64::from(target))) else { return };
        self.action.page = held.page;
        if self.world.fault == Fault::SplitOfShared {
            self.forget_other_references(held.page);
        }
        let Some(folio) = self.resume::<Locked>() else { return };
        let result = if around { folio.split_around(page, to) } else { folio.split(to) };
        self.broken.require(result.is_ok() == alone, 17);
        match result {
            Ok(pieces) => {
                for piece in pieces {
                    self.keep_piece(piece, target);
                }
            }
            Err(error) => {
                let _: RawFolio<Locked> = error.folio.into_raw();
            }
        }
    }

    /// Part of a fault: makes a shared folio look like one with a single reference.
    pub(super) fn forget_other_references(&self, page: u8) {
        let mut words = [0; PAGES];
        self.map.snapshot_words(&mut words);
        words[usize::from(page)] = words[usize::from(page)] & !15 | 1;
        self.map.restore(&words, self.map.snapshot_live());
    }

    /// The piece at `target` stays in the hand, still locked; others are unlocked and laid on the shelf.
    fn keep_piece(&mut self, piece: Folio<'w, Ledger, Locked>, target: u8) {
        let (page, order) = ((piece.head().get() & 7) as u8, piece.order().get());
        if page == target {
            let _: RawFolio<Locked> = piece.into_raw();
            *self.held() = Held { hand: Hand::Locked, page, order };
        } else {
            let _: RawFolio<Live> = piece.unlock().into_raw();
            self.state.lay_aside(page, order);
        }
    }

    fn drop(&mut self) {
        let held = *self.held();
        self.own = block(held.page, held.order);
        self.map.pool().reuse.set(self.action.verb == verb::DROP_AND_REUSE);
        *self.held() = Held::default();
        let (page, order) = (Pfn::new(u64::from(held.page)), Order::new(held.order).unwrap_or_default());
        let known = if held.hand == Hand::Locked {
            self.map.resume::<Locked>(page, order).map(drop).is_some()
        } else {
            self.map.resume::<Live>(page, order).map(drop).is_some()
        };
        self.broken.require(known, 17);
        if let Some((page, order)) = self.map.pool().reused.get() {
            let mut hands = self.state.held.iter_mut().enumerate();
            let actor = usize::from(self.action.actor);
            let other = hands.find(|(number, held)| *number != actor && held.hand == Hand::Empty);
            if let Some((_, hand)) = other {
                *hand = Held { hand: Hand::Locked, page, order };
            }
        }
    }

    fn shelve(&mut self) {
        let Held { page, order, .. } = *self.held();
        self.state.lay_aside(page, order);
        *self.held() = Held::default();
    }
}

/// Pages whose words differ.
fn differing(one: &[u64; PAGES], other: &[u64; PAGES]) -> u8 {
    (0..PAGES).fold(0, |all, page| all | u8::from(one[page] != other[page]) << page)
}
