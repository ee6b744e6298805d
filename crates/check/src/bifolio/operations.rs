//! Each step: the state is put into the pagemap, one shipped operation is done, the state is taken out again.

use std::rc::Rc;

use bifolio_folio::{Folio, FreeRange, Live, Locked, Order, PageMap, Pfn, RawFolio};

use crate::bifolio::Folios;
use crate::bifolio::fault::Fault;
use crate::bifolio::lanes::Lanes;
use crate::bifolio::ledger::{Call, Ledger};
use crate::bifolio::pooled::Desk;
use crate::bifolio::state::{Hand, Held, PAGES, State, backing_parts, block, pack, pages_of, unpack};
use crate::bifolio::world::verb;
use crate::design::{Action, Told};
use bifolio_rules::RuleSet;

const DEAD: u64 = 1 << 63;
const LIVE: u64 = 1 << 32;

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
        self.map.restore(&[], u64::from(state.live) | if state.dead { DEAD } else { 0 });
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
        let changed = words != *before_words;
        let mut live = self.map.snapshot_live();
        sabotage(self.world, before, self.action, &mut words, &mut live);
        if changed || self.world.fault != Fault::None {
            for (page, (word, _)) in
                (0..).zip(words.iter().zip(before_words)).filter(|(_, (word, was))| word != was)
            {
                let packed = pack(*word);
                self.broken.require(packed.is_some(), 2);
                self.state.words.set(page, packed.unwrap_or(0));
            }
            self.map.restore(before_words, 0);
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
            self.map.restore(&[], self.map.snapshot_live() & !DEAD);
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

/// Makes words and counter wrong in the way of the world's fault, if it has one that shows there.
fn sabotage(world: &Folios, before: &State, action: Action, words: &mut [u64; PAGES], live: &mut u64) {
    if world.fault == Fault::None {
        return;
    }
    let Action { actor, verb, page, order } = action;
    let held = before.held[usize::from(actor)];
    let head = if verb == verb::FORM { page } else { held.page };
    let at = usize::from(head);
    let (formed, dropped) = (verb == verb::FORM && is_live(words[at]), verb == verb::DROP);
    let (freed, split) = (dropped && !is_live(words[at]), verb == verb::SPLIT);
    let halved = split && unpack(before.words.at(head)) != words[at];
    let pages = 1u64 << if verb == verb::FORM { order } else { held.order };
    let after = at + usize::try_from(pages).unwrap_or(1);
    let neighbour = after < usize::from(world.bounds.pages);
    const LOCK: u64 = 1 << 33;
    match world.fault {
        Fault::FormUnlocked if formed => words[at] &= !LOCK,
        Fault::FormTwoReferences if formed => words[at] += 1,
        Fault::FormOrderOneLess if formed && order > 0 => words[at] -= 1 << 35,
        Fault::FormWritesTail if formed && order > 0 => words[at + 1] = words[at],
        Fault::FormWritesNeighbour if formed && neighbour => words[after] ^= LOCK,
        Fault::FormForgetsData if formed => words[at] &= !(63 << 40),
        Fault::FormNotCounted if formed => *live -= pages,
        Fault::FormCountsOnePage if formed => *live -= pages - 1,
        Fault::GetTakesNoReference if verb == verb::GET => put_back(before, words),
        Fault::GetTakesTwo if verb == verb::GET => {
            words.iter_mut().filter(|word| is_live(**word)).for_each(|word| *word += 1);
        }
        Fault::UnlockLeavesLock if verb == verb::UNLOCK => words[at] |= LOCK,
        Fault::UnlockPuts if verb == verb::UNLOCK => words[at] -= 1,
        Fault::PutTwice if dropped && words[at] & 15 > 1 => words[at] -= 1,
        Fault::PutNothing if dropped && !freed => put_back(before, words),
        Fault::PutLeavesOrder if freed => words[at] = 2 << 35,
        Fault::PutLeavesLock if freed => words[at] |= LOCK,
        Fault::PutLeavesReference if freed => words[at] |= 1,
        Fault::PutLeavesLive if freed => words[at] |= LIVE | 1,
        Fault::PutForgetsLeftOver if freed => words[at] = 0,
        Fault::PutWritesTail if freed && pages > 1 => words[at + 1] = words[at],
        Fault::FormKeepsStaleOrder if formed => words[at] |= unpack(before.words.at(head)) & (31 << 35),
        Fault::FormKeepsStaleData if formed => words[at] |= unpack(before.words.at(head)) & !((1 << 40) - 1),
        Fault::FormKeepsStaleReference if formed => words[at] += u64::from(before.words.at(head) != 0),
        Fault::PutWritesAfterFree if verb == verb::DROP_AND_REUSE => words[at] = 0,
        Fault::FreeKeepsCount if freed => *live += pages,
        Fault::FreeUncountsOnePage if freed => *live += pages - 1,
        Fault::SplitChangesCount if halved => *live += 1,
        Fault::SplitForgetsLastPiece if halved => words[after - (1 << order)] = 0,
        Fault::SplitForgetsData if halved => words[after - (1 << order)] &= !(63 << 40),
        Fault::SplitUnlocksFirst if halved => words[at] &= !LOCK,
        Fault::SplitWritesNeighbour if halved && neighbour => words[after] ^= LOCK,
        Fault::SplitLeavesFrozen if halved => words[at] |= 1 << 34,
        _ if verb == verb::COLLAPSE => sabotage_collapse(world, before, action, words, live),
        _ => {}
    }
}

/// The same for a collapse that was done.
fn sabotage_collapse(
    world: &Folios,
    before: &State,
    action: Action,
    words: &mut [u64; PAGES],
    live: &mut u64,
) {
    let (head, order) = (usize::from(action.page), u64::from(action.order));
    if words[head] >> 35 & 31 != order || words[head] == unpack(before.words.at(action.page)) {
        return;
    }
    let after = head + (1 << order);
    let pieces = (head + 1..after).filter(|page| is_live(unpack(before.words.each()[*page])));
    match world.fault {
        Fault::CollapseLeavesTail => pieces.for_each(|page| words[page] = unpack(before.words.each()[page])),
        Fault::CollapseChangesCount => *live -= 1,
        Fault::CollapseLeavesFrozen => words[head] |= 1 << 34,
        Fault::CollapseKeepsOrder => words[head] = words[head] & !(31 << 35) | (order - 1) << 35,
        Fault::CollapseUnlocks => words[head] &= !(1 << 33),
        Fault::CollapseForgetsData => words[head] &= (1 << 40) - 1,
        Fault::CollapseAddsReferences => words[head] += pieces.count() as u64,
        Fault::CollapseWritesNeighbour if after < usize::from(world.bounds.pages) => words[after] ^= 1 << 33,
        _ => {}
    }
}

/// Whether a word is that of a head.
fn is_live(word: u64) -> bool {
    word & LIVE != 0
}

fn put_back(before: &State, words: &mut [u64; PAGES]) {
    *words = before.words.each().map(unpack);
}

/// A step in words.
pub(super) fn tell(before: &State, action: Action, after: &State) -> Told {
    let Action { actor, verb, page, order } = action;
    let held = before.held[usize::from(actor)];
    let head = held.page;
    let failed = if before == after { ": refused" } else { "" };
    let text = match verb {
        verb::ALLOCATE => format!("is given the pages of order {order} at page {page} by the pool"),
        verb::GET => format!("gets a reference of the folio over page {page}{failed}"),
        verb::TAKE => format!("takes the reference of the folio at page {page} that was laid aside"),
        verb::KILL => "kills the pagemap".to_owned(),
        verb::FORM => format!("forms a folio of order {order} at page {page}"),
        verb::GIVE_BACK => format!("gives the pages of order {order} at page {page} back, unformed"),
        verb::UNLOCK => format!("unlocks the folio at page {page}"),
        verb::SPLIT => format!("splits the folio at page {head} to order {order}{failed}"),
        verb::SPLIT_AROUND => {
            format!("splits the folio at page {head} around page {page} to order {order}{failed}")
        }
        verb::COLLAPSE => {
            format!(
                "collapses what is at hand of page {page} to {}: order {order}{failed}",
                page + (1 << order) - 1
            )
        }
        verb::DROP => format!("drops its reference of the folio at page {page}"),
        verb::DROP_AND_REUSE => {
            format!(
                "drops the last reference of the folio at page {page}, whose pages are formed anew at once"
            )
        }
        verb::TRY_LOCK => format!("tries to lock the folio at page {page}{failed}"),
        verb::SHELVE => format!("lays its reference of the folio at page {page} aside"),
        verb::FAIL_NEXT => "tells the pool to fail the next allocation".to_owned(),
        verb::RELEASE => "lets the pool release what died".to_owned(),
        verb::CLOSE => "closes the pool".to_owned(),
        other => format!("verb {other}"),
    };
    Told { actor: format!("actor {}", actor + 1), text }
}

/// A state in words.
pub(super) fn view(world: &Folios, state: &State) -> Vec<String> {
    let pages = 0..world.bounds.pages;
    let mut lines: Vec<String> = pages.clone().map(|page| page_line(page, state.words.at(page))).collect();
    for (actor, held) in world.actors(state).filter(|(_, held)| held.hand != Hand::Empty) {
        lines.push(format!("actor {}: {:?} page {} order {}", actor + 1, held.hand, held.page, held.order));
    }
    for (page, order) in pages.clone().filter_map(|page| Some((page, state.aside(page)?))) {
        lines.push(format!("aside {page}: a reference of order {order}"));
    }
    for page in pages.clone().filter(|page| state.backings[usize::from(*page)] != 0) {
        let (references, order) = backing_parts(state.backings[usize::from(page)]);
        lines.push(format!("backing {page}: order {order}, {references} references"));
    }
    let free: Vec<String> =
        pages.filter(|page| state.free >> page & 1 == 1).map(|page| page.to_string()).collect();
    lines.push(format!("pool: free pages {}", if free.is_empty() { "-".to_owned() } else { free.join(" ") }));
    lines.push(format!("pagemap: {} pages live{}", state.live, if state.dead { ", killed" } else { "" }));
    lines
}

fn page_line(page: u8, packed: u16) -> String {
    if packed == 0 {
        return format!("page {page}: 0");
    }
    let word = unpack(packed);
    let flag = |bit: u32, name| if word >> bit & 1 == 1 { name } else { "" };
    let (order, data) = (super::state::order_in(packed), super::state::data_in(packed));
    let flags = format!("{}{}{}", flag(32, " live"), flag(33, " locked"), flag(34, " frozen"));
    format!("page {page}: {word:#x} refs {} order {order} data {data}{flags}", word & 0xffff_ffff)
}
