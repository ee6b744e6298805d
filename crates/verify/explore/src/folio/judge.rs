//! Compares an outcome with what the handles that exist say, and names the rule that a difference breaks.

use bifolio_rules::RuleSet;
use bifolio_rules::judge::{self, Path, Teardown};

use crate::design::Applied;
use crate::folio::action::{Action, Operation};
use crate::folio::collapse::parked_in;
use crate::folio::outcome::{Answer, Outcome};
use crate::folio::packed_words::PackedWords;
use crate::folio::state::{
    FROZEN, Handle, HandleKind, LIVE, LIVE_BIT, LOCKED, NAMED_BIT, ORDER_SHIFT, SHAPE, State, all_pages,
    block, ones, order_in, pages_of,
};
use crate::folio::world::World;

/// Judges an operation; over a shipped pool the backings are judged elsewhere.
pub(super) fn judge(
    world: &World,
    before: &State,
    action: Action,
    done: &Outcome,
    over_pool: bool,
) -> Applied<State> {
    let (state, mut broken) = (&done.state, RuleSet::NONE);
    answer(before, action, done, &mut broken);
    let truth = Truth::of(world, state, before, done.pages_before);
    words(world, state, &truth, action, done, &mut broken);
    counters(state, &truth, before, action, &mut broken);
    if !over_pool {
        backings(world, before, state, &truth, &mut broken);
    }
    calls(before, &truth, action, done, &mut broken);
    if done.formed {
        formed(before, action, done, &mut broken);
    }
    if state.dead {
        broken.note(judge::i16_ended(done.drained, truth.live().into()));
    }
    Applied { state: *state, broken, fatal: false }
}

/// Judges whether an operation answered as the handles before it demand.
fn answer(before: &State, action: Action, done: &Outcome, broken: &mut RuleSet) {
    let handle = before.handles[usize::from(action.actor)];
    let is_done = done.answer == Answer::Done;
    if done.answer == Answer::Unknown {
        // Who has a handle has a reference, so the pagemap must know the folio.
        broken.note(judge::i17_lives(None::<u8>));
        return;
    }
    match action.operation {
        // A page number leads to the folio that covers the page, or to nothing.
        Operation::Get { page } => {
            broken.note(judge::i17_found(Some(done.answer), Some(Answer::Found(before.folio_over(page)))));
        }
        Operation::Form if !is_done && !before.dead => {
            broken.note(judge::i9_refused(handle.order, Some(handle.order)));
        }
        Operation::TryLock => broken.note(judge::i11_lock(is_done, before.is_locked(handle.page))),
        Operation::Split { .. } | Operation::SplitAround { .. } => {
            broken.note(judge::i17_alone(is_done, u64::from(before.count(handle.page)).wrapping_sub(1)));
        }
        Operation::Collapse { first, to } => {
            let rule = if done.answer == Answer::Busy { 11 } else { 17 };
            broken.require(is_done == may_collapse(before, handle, block(first, to)), rule);
        }
        _ => {}
    }
}

/// Whether a collapse must be granted: the pieces are all of the block, of one backing, and quiet.
fn may_collapse(before: &State, handle: Handle, own: u8) -> bool {
    let others = parked_in(before, own & !block(handle.page, handle.order));
    let all = || others.iter().copied().chain([(handle.page, handle.order)]);
    let pages = all().fold(0, |pages, (page, order)| pages | block(page, order));
    let owner = before.owners.at(handle.page);
    let quiet = |(page, _)| before.count(page) == 1 && before.owners.at(page) == owner;
    pages == own && all().all(quiet) && !others.iter().any(|&(page, _)| before.is_locked(page))
}

/// What the handles say: for each head page the word it should have, and the pages of all folios.
struct Truth {
    words: PackedWords,
    /// Pages at which a folio begins.
    heads: u8,
    /// Pages of folios.
    pages: u8,
    /// Whether a folio is locked by two.
    locked_twice: bool,
    /// Whether all folios are where they were before the step.
    same_shape: bool,
}

impl Truth {
    /// Asks the handles of a state; nothing was wrong with the state before.
    fn of(world: &World, state: &State, before: &State, pages_before: u8) -> Truth {
        let (mut words, mut locked, mut locked_twice) = (state.parked.0, 0u8, false);
        for handle in state.handles.iter().filter(|handle| handle.kind >= HandleKind::Locked) {
            let mut flags = LIVE | u16::from(handle.order) << ORDER_SHIFT;
            if handle.kind == HandleKind::Locked {
                flags |= LOCKED;
                locked_twice |= locked >> handle.page & 1 == 1;
                locked |= 1 << handle.page;
            }
            // One more reference.
            words = (words + PackedWords::one(handle.page, 1).0) | PackedWords::one(handle.page, flags).0;
        }
        let heads = PackedWords(words).pages_with(LIVE_BIT);
        let same_shape = (words ^ before.words.0) & PackedWords::all(SHAPE).0 == 0;
        let pages = if same_shape { pages_before } else { pages_of(PackedWords(words)) };
        let live = PackedWords(words).where_set(LIVE_BIT).0;
        words |= state.owners.0 & live | before.words.0 & PackedWords::all(world.left_over()).0 & !live;
        Truth { words: PackedWords(words), heads, pages, locked_twice, same_shape }
    }

    /// Number of pages in folios.
    fn live(&self) -> u8 {
        u8::try_from(self.pages.count_ones()).unwrap_or(u8::MAX)
    }
}

fn words(world: &World, state: &State, truth: &Truth, action: Action, done: &Outcome, broken: &mut RuleSet) {
    let mut used = truth.heads;
    if state.words != truth.words {
        let words = (0u8..).zip(state.words.each().into_iter().zip(truth.words.each()));
        let used_word = |is: u16| is & !world.left_over() != 0;
        used = words.clone().filter(|(_, (is, _))| used_word(*is)).fold(0, |all, (page, _)| all | 1 << page);
        for (page, (is, should)) in words.filter(|(_, (is, should))| is != should) {
            broken.require(false, rule_of(page, is, should, action, done));
        }
    }
    broken.require(!done.word_too_large, 2);
    broken.note(judge::i10_frozen(used, state.free));
    broken.require(!truth.locked_twice, 11);
}

/// The rule that a wrong word breaks.
fn rule_of(page: u8, is: u16, should: u16, action: Action, done: &Outcome) -> u8 {
    const BORN: u16 = 0x2f;
    if done.reused.is_some_and(|(head, order)| block(head, order) >> page & 1 == 1) {
        return 5;
    }
    match action.operation {
        _ if !judge::words_of_others(Path::Forming, 1 << page, !done.own).kept => 6,
        _ if is & FROZEN != 0 => 10,
        Operation::Form if should & LIVE != 0 && (is ^ should) & !BORN == 0 => 11,
        Operation::Form
        | Operation::Split { .. }
        | Operation::SplitAround { .. }
        | Operation::Collapse { .. } => 2,
        // The last reference is gone, or one is left.
        _ if should & LIVE == 0 => 11,
        _ if is & LIVE == 0 || (is ^ should) & 15 != 0 => 17,
        _ => 11,
    }
}

fn counters(state: &State, truth: &Truth, before: &State, action: Action, broken: &mut RuleSet) {
    broken.note(judge::i8_counted(state.live.into(), truth.live().into()));
    broken.require(state.dead == (before.dead || action.operation == Operation::Kill), 16);
}

fn backings(world: &World, before: &State, state: &State, truth: &Truth, broken: &mut RuleSet) {
    let owned = state.owners.pages_with(NAMED_BIT);
    let unchanged = truth.same_shape && state.backings == before.backings && ranges(state) == ranges(before);
    if !unchanged {
        references(state, truth, broken);
    }
    // What is used must not be free; what is neither is lost and cannot be handed out.
    broken.note(judge::i7_used_is_not_free(owned | truth.pages, state.free));
    broken.note(judge::i9_whole(owned, state.free, all_pages(world.bounds.pages)));
}

/// Each backing has a reference for each folio on it, and for each range of it that is not formed yet.
fn references(state: &State, truth: &Truth, broken: &mut RuleSet) {
    let ranges = ranges(state);
    for (first, references, order) in state.backings() {
        let mine = block(first, order);
        let unformed: u32 = ones(mine).map(|page| ranges >> (4 * page) & 15).sum();
        let folios = (truth.heads & mine).count_ones();
        broken.note(judge::i7_references(references.into(), folios.into(), unformed.into()));
    }
}

/// How many ranges begin at each page, 4 bits a page.
fn ranges(state: &State) -> u32 {
    let ranges = state.handles.iter().filter(|handle| handle.kind == HandleKind::Range);
    ranges.map(|handle| 1 << (4 * handle.page)).sum()
}

fn calls(before: &State, truth: &Truth, action: Action, done: &Outcome, broken: &mut RuleSet) {
    let handle = before.handles[usize::from(action.actor)];
    let (count, calls) = done.calls;
    let dropping = matches!(action.operation, Operation::Drop | Operation::DropAndReuse);
    let gone = truth.heads >> handle.page & 1 == 0 || done.reused.is_some();
    let freed = (dropping && gone).then_some((handle.page, handle.order));
    // Two calls are noted. More are as wrong as two.
    broken.note(judge::i4_told(freed, calls.into_iter().take(count.into())));
}

fn formed(before: &State, action: Action, done: &Outcome, broken: &mut RuleSet) {
    let Handle { page, order, .. } = before.handles[usize::from(action.actor)];
    let (word, live) = (done.state.words.at(page), done.pages_before);
    broken.note(judge::i1_formed(block(page, order), live, live));
    broken.note(judge::i2_words([order_in(word)], [order]));
    broken.note(judge::i11_born(word & LOCKED != 0, (word & 15).into(), false));
    broken.note(judge::i16_formed(if before.dead { Teardown::Killed } else { Teardown::Alive }));
}
