//! The judge is judged: every mutation is found, by a rule that forbids it.

use bifolio_folio::Reset;

use crate::design::Bounds;
use crate::explore::{Limits, explore};
use crate::folio::Folios;
use crate::folio::action::{Action, Operation};
use crate::folio::mutate::Mutate;
use crate::folio::outcome::{Answer, Outcome};
use crate::folio::state::{
    DATA_SHIFT, FROZEN, Handle, HandleKind, LIVE, LOCKED, ORDER_SHIFT, State, backing, backing_parts, block,
    data_in,
};
use crate::mutate::NoMutation;

/// One way to make an operation wrong; the names say which.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mutation {
    AllocateKeepsPagesFree,
    FormUnlocked,
    FormTwoReferences,
    FormOrderOneLess,
    FormWritesTail,
    FormWritesNeighbour,
    FormForgetsData,
    FormNotCounted,
    FormCountsOnePage,
    FormAfterKill,
    FormRefused,
    GetTakesNoReference,
    GetTakesTwo,
    GetFindsNoTail,
    GetFindsFreePage,
    LockTwice,
    UnlockLeavesLock,
    UnlockPuts,
    PutTwice,
    PutNothing,
    PutLeavesOrder,
    PutLeavesLock,
    PutWritesAfterFree,
    PutLeavesReference,
    PutLeavesLive,
    PutForgetsLeftOver,
    PutWritesTail,
    FormKeepsStaleOrder,
    FormKeepsStaleData,
    FormKeepsStaleReference,
    GetFindsStale,
    FreeNotTold,
    FreeTellsOrderZero,
    FreeTellsTwice,
    FreeKeepsReference,
    FreeDropsTwo,
    FreeKeepsCount,
    FreeUncountsOnePage,
    SplitTakesNoReferences,
    SplitTakesOneForEachPiece,
    SplitChangesCount,
    SplitForgetsLastPiece,
    SplitForgetsData,
    SplitUnlocksFirst,
    SplitOfShared,
    SplitWritesNeighbour,
    SplitLeavesFrozen,
    CollapseForgetsReferences,
    CollapseDropsOneForEachPiece,
    CollapseLeavesTail,
    CollapseChangesCount,
    CollapseLeavesFrozen,
    CollapseKeepsOrder,
    CollapseUnlocks,
    CollapseForgetsData,
    CollapseAddsReferences,
    CollapseWritesNeighbour,
    CollapseOfShared,
    BackingDiesOneEarly,
    BackingNeverDies,
    KillIgnored,
    DrainedTooEarly,
    NeverDrained,
}

/// The bits of a packed word that have the order, and the data.
const ORDER: u16 = 7 << ORDER_SHIFT;
const DATA: u16 = 0x3f << DATA_SHIFT;

impl Mutate for Mutation {
    fn mutate(&self, pages: u8, before: &State, action: Action, out: &mut Outcome) {
        let at = Place::of(before, action, out, pages);
        match action.operation {
            Operation::Form => self.form(before, &at, action, out),
            Operation::Drop if at.freed => self.free(before, &at, out),
            Operation::Drop => self.put(before, &at, out),
            Operation::DropAndReuse if *self == Mutation::PutWritesAfterFree => {
                out.state.words.set(at.page, 0);
            }
            Operation::DropAndReuse => self.references(before, &at, out),
            Operation::Split { to } if out.answer == Answer::Done => self.split(before, &at, to, out),
            Operation::Collapse { first, to } if out.answer == Answer::Done => {
                self.collapse(before, first, to, pages, out);
            }
            _ => self.other(before, &at, action, out),
        }
        match self {
            Mutation::DrainedTooEarly => out.drained = true,
            Mutation::NeverDrained => out.drained = false,
            _ => {}
        }
    }
}

/// What an operation worked on.
struct Place {
    /// First page of the folio or range that the actor had.
    page: u8,
    /// Its order.
    order: u8,
    /// The page after it, if there is one.
    after: Option<u8>,
    /// Whether there is no folio there any more.
    freed: bool,
}

impl Place {
    fn of(before: &State, action: Action, out: &Outcome, pages: u8) -> Place {
        let Handle { page, order, .. } = before.handles[usize::from(action.actor)];
        let after = Some(page + (1 << order)).filter(|after| *after < pages);
        Place { page, order, after, freed: out.state.words.at(page) & LIVE == 0 }
    }

    fn pages(&self) -> u8 {
        1 << self.order
    }
}

/// Changes the word of a page.
fn edit(out: &mut Outcome, page: u8, change: impl FnOnce(u16) -> u16) {
    let word = out.state.words.at(page);
    out.state.words.set(page, change(word));
}

/// Changes the lock in the word of the page after a folio.
fn edit_neighbour(at: &Place, out: &mut Outcome) {
    if let Some(after) = at.after {
        edit(out, after, |word| word ^ LOCKED);
    }
}

impl Mutation {
    /// What goes wrong as a folio is formed.
    fn form(self, before: &State, at: &Place, action: Action, out: &mut Outcome) {
        let (stale, page) = (before.words.at(at.page), at.page);
        match self {
            Mutation::FormAfterKill if before.dead => form_all_the_same(before, at, action, out),
            Mutation::FormRefused if out.formed && at.order > 0 => refuse(before, at, action, out),
            _ if !out.formed => {}
            Mutation::FormUnlocked => edit(out, page, |word| word & !LOCKED),
            Mutation::FormTwoReferences => edit(out, page, |word| word + 1),
            Mutation::FormOrderOneLess if at.order > 0 => edit(out, page, |word| word - (1 << ORDER_SHIFT)),
            Mutation::FormWritesTail if at.order > 0 => {
                let word = out.state.words.at(page);
                out.state.words.set(page + 1, word);
            }
            Mutation::FormWritesNeighbour => edit_neighbour(at, out),
            Mutation::FormForgetsData => edit(out, page, |word| word & !DATA),
            Mutation::FormNotCounted => out.state.live -= at.pages(),
            Mutation::FormCountsOnePage => out.state.live -= at.pages() - 1,
            Mutation::FormKeepsStaleOrder => edit(out, page, |word| word | stale & ORDER),
            Mutation::FormKeepsStaleData => edit(out, page, |word| word | stale & DATA),
            Mutation::FormKeepsStaleReference => edit(out, page, |word| word + u16::from(stale != 0)),
            _ => {}
        }
    }

    /// What goes wrong as a reference is dropped that is not the last one.
    fn put(self, before: &State, at: &Place, out: &mut Outcome) {
        match self {
            Mutation::PutTwice if out.state.words.at(at.page) & 15 > 1 => edit(out, at.page, |word| word - 1),
            Mutation::PutNothing => out.state.words = before.words,
            _ => {}
        }
    }

    /// What goes wrong as the last reference is dropped.
    fn free(self, before: &State, at: &Place, out: &mut Outcome) {
        let page = at.page;
        match self {
            Mutation::PutLeavesOrder => out.state.words.set(page, 2 << ORDER_SHIFT),
            Mutation::PutLeavesLock => edit(out, page, |word| word | LOCKED),
            Mutation::PutLeavesReference => edit(out, page, |word| word | 1),
            Mutation::PutLeavesLive => edit(out, page, |word| word | LIVE | 1),
            Mutation::PutForgetsLeftOver => out.state.words.set(page, 0),
            Mutation::PutWritesTail if at.order > 0 => {
                let word = out.state.words.at(page);
                out.state.words.set(page + 1, word);
            }
            Mutation::FreeKeepsCount => out.state.live += at.pages(),
            Mutation::FreeUncountsOnePage => out.state.live += at.pages() - 1,
            Mutation::FreeNotTold => out.calls.0 = 0,
            Mutation::FreeTellsOrderZero => out.calls.1[0].1 = 0,
            Mutation::FreeTellsTwice => out.calls.0 = 2,
            _ => self.references(before, at, out),
        }
    }

    /// What goes wrong with the references of a backing as a folio on it is freed.
    fn references(self, before: &State, at: &Place, out: &mut Outcome) {
        let first = data_in(before.words.at(at.page)) & 7;
        let left = backing_parts(out.state.backings[usize::from(first)]).0;
        match self {
            Mutation::FreeKeepsReference => {
                out.state.set_backings(before.backings);
                out.state.free = before.free;
            }
            Mutation::FreeDropsTwo => add_references(out, first, -1),
            Mutation::BackingDiesOneEarly if left == 1 => {
                let order = backing_parts(out.state.backings[usize::from(first)]).1;
                out.state.free |= block(first, order);
            }
            Mutation::BackingNeverDies if left == 0 => out.state.free = before.free,
            _ => {}
        }
    }

    fn split(self, before: &State, at: &Place, to: u8, out: &mut Outcome) {
        let first = data_in(before.words.at(at.page)) & 7;
        let last = at.page + at.pages() - (1 << to);
        match self {
            Mutation::SplitTakesNoReferences => out.state.set_backings(before.backings),
            Mutation::SplitTakesOneForEachPiece => add_references(out, first, 1),
            Mutation::SplitChangesCount => out.state.live += 1,
            Mutation::SplitForgetsLastPiece => out.state.words.set(last, 0),
            Mutation::SplitForgetsData => edit(out, last, |word| word & !DATA),
            Mutation::SplitUnlocksFirst => edit(out, at.page, |word| word & !LOCKED),
            Mutation::SplitWritesNeighbour => edit_neighbour(at, out),
            Mutation::SplitLeavesFrozen => edit(out, at.page, |word| word | FROZEN),
            _ => {}
        }
    }

    fn collapse(self, before: &State, page: u8, order: u8, pages: u8, out: &mut Outcome) {
        let after = page + (1 << order);
        let heads = (page + 1..after).filter(|page| before.words.at(*page) & LIVE != 0);
        let first = data_in(out.state.words.at(page)) & 7;
        match self {
            Mutation::CollapseForgetsReferences => out.state.set_backings(before.backings),
            Mutation::CollapseDropsOneForEachPiece => add_references(out, first, -1),
            Mutation::CollapseLeavesTail => {
                heads.for_each(|page| out.state.words.set(page, before.words.at(page)));
            }
            Mutation::CollapseChangesCount => out.state.live -= 1,
            Mutation::CollapseLeavesFrozen => edit(out, page, |word| word | FROZEN),
            Mutation::CollapseKeepsOrder => edit(out, page, |word| word - (1 << ORDER_SHIFT)),
            Mutation::CollapseUnlocks => edit(out, page, |word| word & !LOCKED),
            Mutation::CollapseForgetsData => edit(out, page, |word| word & !DATA),
            Mutation::CollapseAddsReferences => {
                edit(out, page, |word| word + heads.fold(0, |count, _| count + 1));
            }
            Mutation::CollapseWritesNeighbour if after < pages => edit(out, after, |word| word ^ LOCKED),
            _ => {}
        }
    }

    /// What goes wrong in all other operations.
    fn other(self, before: &State, at: &Place, action: Action, out: &mut Outcome) {
        let handle = usize::from(action.actor);
        match (self, action.operation) {
            (Mutation::AllocateKeepsPagesFree, Operation::Allocate { .. }) => out.state.free = before.free,
            (Mutation::KillIgnored, Operation::Kill) => out.state.dead = before.dead,
            (Mutation::UnlockLeavesLock, Operation::Unlock) => edit(out, at.page, |word| word | LOCKED),
            (Mutation::UnlockPuts, Operation::Unlock) => edit(out, at.page, |word| word - 1),
            (Mutation::LockTwice, Operation::TryLock) => out.state.handles[handle].kind = HandleKind::Locked,
            (Mutation::SplitOfShared, Operation::Split { .. })
            | (Mutation::CollapseOfShared, Operation::Collapse { .. }) => out.answer = Answer::Done,
            (_, Operation::Get { page }) => self.get(before, page, handle, out),
            _ => {}
        }
    }

    fn get(self, before: &State, page: u8, handle: usize, out: &mut Outcome) {
        let Answer::Found(found) = out.answer else { return };
        let stale = before.words.at(page) != 0;
        match (self, found) {
            (Mutation::GetTakesNoReference, Some(_)) => out.state.words = before.words,
            (Mutation::GetTakesTwo, Some((head, _))) => edit(out, head, |word| word + 1),
            (Mutation::GetFindsNoTail, Some((head, _))) if head != page => {
                (out.state, out.answer) = (*before, Answer::Found(None));
            }
            (Mutation::GetFindsFreePage, None) => find(page, handle, out),
            (Mutation::GetFindsStale, None) if stale => find(page, handle, out),
            _ => {}
        }
    }
}

/// Lets a lookup find a folio of one page.
fn find(page: u8, handle: usize, out: &mut Outcome) {
    out.answer = Answer::Found(Some((page, 0)));
    out.state.handles[handle] = Handle { kind: HandleKind::Live, page, order: 0 };
}

/// Forms a folio though the pagemap is dead.
fn form_all_the_same(before: &State, at: &Place, action: Action, out: &mut Outcome) {
    let word = 1 | LIVE | LOCKED | u16::from(at.order) << ORDER_SHIFT;
    (out.state, out.answer, out.formed) = (*before, Answer::Done, true);
    out.state.words.set(at.page, word | before.owners.at(at.page));
    out.state.live += at.pages();
    out.state.handles[usize::from(action.actor)].kind = HandleKind::Locked;
}

/// Refuses to form a folio, and gives the range back.
fn refuse(before: &State, at: &Place, action: Action, out: &mut Outcome) {
    (out.state, out.answer, out.formed) = (*before, Answer::Refused, false);
    out.state.handles[usize::from(action.actor)] = Handle::default();
    let mut backings = before.backings;
    backings[usize::from(at.page)] = 0;
    out.state.set_backings(backings);
    out.state.free |= block(at.page, at.order);
}

/// Adds to the references of the backing that begins at a page; without any it is gone and its pages are free.
fn add_references(out: &mut Outcome, first: u8, add: i8) {
    let mut backings = out.state.backings;
    let (references, order) = backing_parts(backings[usize::from(first)]);
    let left = references.saturating_add_signed(add);
    backings[usize::from(first)] = backing(left, order);
    out.state.set_backings(backings);
    if references > 0 && left == 0 {
        out.state.free |= block(first, order);
    }
}

/// The rules by which a mutation is found, in the order of finding; empty if it is not found.
fn found<M: Mutate>(mutation: M, reset: Reset) -> Vec<String> {
    let world = Folios::with_reset(Bounds::of(4, 2, 2), reset).mutated(mutation);
    let broken = explore(&world, &Limits::default(), &mut |_| ()).broken;
    broken.iter().map(|broken| broken.rule.to_string()).collect()
}

macro_rules! mutations {
    ($name:ident, $reset:ident: $($mutation:ident by $rule:literal,)*) => {
        #[test]
        fn $name() {
            let mut missed = Vec::new();
            $(
                let rules = found(Mutation::$mutation, Reset::$reset);
                if !rules.iter().any(|rule| rule == $rule) {
                    missed.push(format!("{}: {rules:?} without {}", stringify!($mutation), $rule));
                }
            )*
            assert!(missed.is_empty(), "{}", missed.join("\n"));
        }
    };
}

mutations! {
    every_mutation_breaks_the_rule_that_forbids_it, OnFree:
    AllocateKeepsPagesFree by "I7",
    FormUnlocked by "I11",
    FormTwoReferences by "I11",
    FormOrderOneLess by "I2",
    FormWritesTail by "I2",
    FormWritesNeighbour by "I6",
    FormForgetsData by "I2",
    FormNotCounted by "I8",
    FormCountsOnePage by "I8",
    FormAfterKill by "I16",
    FormRefused by "I9",
    GetTakesNoReference by "I17",
    GetTakesTwo by "I17",
    GetFindsNoTail by "I17",
    GetFindsFreePage by "I17",
    LockTwice by "I11",
    UnlockLeavesLock by "I11",
    UnlockPuts by "I17",
    PutTwice by "I17",
    PutNothing by "I17",
    PutLeavesOrder by "I11",
    PutLeavesLock by "I11",
    PutWritesAfterFree by "I5",
    FreeNotTold by "I4",
    FreeTellsOrderZero by "I4",
    FreeTellsTwice by "I4",
    FreeKeepsReference by "I7",
    FreeDropsTwo by "I7",
    FreeKeepsCount by "I8",
    FreeUncountsOnePage by "I8",
    SplitTakesNoReferences by "I7",
    SplitTakesOneForEachPiece by "I7",
    SplitChangesCount by "I8",
    SplitForgetsLastPiece by "I2",
    SplitForgetsData by "I2",
    SplitUnlocksFirst by "I2",
    SplitWritesNeighbour by "I6",
    SplitLeavesFrozen by "I10",
    SplitOfShared by "I17",
    CollapseForgetsReferences by "I7",
    CollapseDropsOneForEachPiece by "I7",
    CollapseLeavesTail by "I2",
    CollapseChangesCount by "I8",
    CollapseLeavesFrozen by "I10",
    CollapseKeepsOrder by "I2",
    CollapseUnlocks by "I2",
    CollapseForgetsData by "I2",
    CollapseAddsReferences by "I2",
    CollapseWritesNeighbour by "I6",
    CollapseOfShared by "I17",
    BackingDiesOneEarly by "I7",
    BackingNeverDies by "I9",
    KillIgnored by "I16",
    DrainedTooEarly by "I16",
    NeverDrained by "I16",
}

mutations! {
    every_mutation_of_words_that_outlive_folios_breaks_the_rule_that_forbids_it, OnForm:
    FormKeepsStaleOrder by "I2",
    FormKeepsStaleData by "I2",
    FormKeepsStaleReference by "I11",
    FormUnlocked by "I11",
    FormWritesNeighbour by "I6",
    FormForgetsData by "I2",
    GetFindsStale by "I17",
    PutLeavesReference by "I11",
    PutLeavesLive by "I11",
    PutLeavesLock by "I11",
    PutForgetsLeftOver by "I11",
    PutWritesTail by "I11",
    PutWritesAfterFree by "I5",
    FreeTellsOrderZero by "I4",
    SplitForgetsLastPiece by "I2",
    CollapseLeavesTail by "I2",
    CollapseForgetsReferences by "I7",
}

#[test]
fn shipped_code_keeps_every_rule() {
    for reset in Reset::ALL {
        assert_eq!(found(NoMutation, reset), Vec::<String>::new());
    }
}
