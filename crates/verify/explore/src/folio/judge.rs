//! Compares a state with what the handles that exist say, and names the rule that a difference breaks.

use crate::design::{Action, Applied};
use crate::folio::Folios;
use crate::folio::fault::Fault;
use crate::folio::lanes::Lanes;
use crate::folio::operations::Step;
use crate::folio::state::{
    Hand, LIVE, LIVE_BIT, LOCKED, NAMED_BIT, ORDER_SHIFT, SHAPE, State, all_pages, block, ones, order_in,
    pages_of,
};
use crate::folio::world::verb;
use bifolio_rules::RuleSet;
use bifolio_rules::facts::{self, Counted, Ended, Formed, Freed, Looked, Pages, Touched};

/// Judges a step.
pub(super) fn judge(world: &Folios, before: &State, action: Action, done: &Step<'_>) -> Applied<State> {
    let (state, mut broken) = (done.state, done.broken);
    let truth = Truth::of(world, &state, before, done.pages_before);
    words(world, &state, &truth, action, done, &mut broken);
    counters(&state, &truth, before, action, &mut broken);
    if done.map.pool().desk.is_none() {
        backings(world, before, &state, &truth, &mut broken);
    }
    calls(before, &truth, action, done, &mut broken);
    if done.formed {
        formed(before, &state, action, done.pages_before, &mut broken);
    }
    if state.dead {
        let ends = match world.fault {
            Fault::NeverDrained => false,
            Fault::DrainedTooEarly => true,
            _ => done.drained,
        };
        broken.require(facts::i16_ended(&Ended { ends, live: truth.live() }), 16);
    }
    Applied { state, broken, fatal: false }
}

/// What the handles say: for each head page the word it should have, and the pages of all folios.
struct Truth {
    words: Lanes,
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
    fn of(world: &Folios, state: &State, before: &State, pages_before: u8) -> Truth {
        let (mut words, mut locked, mut locked_twice) = (state.shelf.0, 0u8, false);
        for held in state.held.iter().filter(|held| held.hand >= Hand::Locked) {
            let mut flags = LIVE | u16::from(held.order) << ORDER_SHIFT;
            if held.hand == Hand::Locked {
                flags |= LOCKED;
                locked_twice |= locked >> held.page & 1 == 1;
                locked |= 1 << held.page;
            }
            // One more reference.
            words = (words + Lanes::one(held.page, 1).0) | Lanes::one(held.page, flags).0;
        }
        let heads = Lanes(words).pages_with(LIVE_BIT);
        let same_shape = (words ^ before.words.0) & Lanes::all(SHAPE).0 == 0;
        let pages = if same_shape { pages_before } else { pages_of(Lanes(words)) };
        let live = Lanes(words).where_set(LIVE_BIT).0;
        words |= state.owners.0 & live | before.words.0 & Lanes::all(world.left_over()).0 & !live;
        Truth { words: Lanes(words), heads, pages, locked_twice, same_shape }
    }

    /// Number of pages in folios.
    fn live(&self) -> u8 {
        u8::try_from(self.pages.count_ones()).unwrap_or(u8::MAX)
    }
}

fn words(
    world: &Folios,
    state: &State,
    truth: &Truth,
    action: Action,
    done: &Step<'_>,
    broken: &mut RuleSet,
) {
    let mut used = truth.heads;
    if state.words != truth.words {
        let words = (0u8..).zip(state.words.each().into_iter().zip(truth.words.each()));
        let used_word = |is: u16| is & !world.left_over() != 0;
        used = words.clone().filter(|(_, (is, _))| used_word(*is)).fold(0, |all, (page, _)| all | 1 << page);
        for (page, (is, should)) in words.filter(|(_, (is, should))| is != should) {
            broken.require(false, rule_of(page, is, should, action, done));
        }
    }
    broken.require(facts::i10(&Looked { free: Pages::from(state.free), like_frozen: Pages::from(used) }), 10);
    broken.require(!truth.locked_twice, 11);
}

/// The rule that a wrong word breaks.
fn rule_of(page: u8, is: u16, should: u16, action: Action, done: &Step<'_>) -> u8 {
    const BORN: u16 = 0x2f;
    const FROZEN: u16 = 1 << 6;
    if done.reused().is_some_and(|(head, order)| block(head, order) >> page & 1 == 1) {
        return 5;
    }
    let touched = Touched { pages: 1 << page, of_others: Pages::from(!done.own) };
    match action.verb {
        _ if !facts::i6(&touched) => 6,
        _ if is & FROZEN != 0 => 10,
        verb::FORM if should & LIVE != 0 && (is ^ should) & !BORN == 0 => 11,
        verb::FORM | verb::SPLIT | verb::SPLIT_AROUND | verb::COLLAPSE => 2,
        // Nobody has a reference any more, or somebody still has one.
        _ if should & LIVE == 0 => 11,
        _ if is & LIVE == 0 || (is ^ should) & 15 != 0 => 17,
        _ => 11,
    }
}

fn counters(state: &State, truth: &Truth, before: &State, action: Action, broken: &mut RuleSet) {
    let counted = Counted { counter: i32::from(state.live), truth: i32::from(truth.live()) };
    broken.require(facts::i8(&counted), 8);
    broken.require(state.dead == (before.dead || action.verb == verb::KILL), 16);
}

fn backings(world: &Folios, before: &State, state: &State, truth: &Truth, broken: &mut RuleSet) {
    let owned = state.owners.pages_with(NAMED_BIT);
    let unchanged = truth.same_shape && state.backings == before.backings && ranges(state) == ranges(before);
    if !unchanged {
        broken.require(all_have_their_references(state, truth), 7);
    }
    // What is used must not be free; what is neither is lost and cannot be handed out.
    broken.require((owned | truth.pages) & state.free == 0, 7);
    broken.require(owned | state.free == all_pages(world.bounds.pages), 9);
}

/// Whether each backing has a reference for each folio on it, and for each range of it that is not formed yet.
fn all_have_their_references(state: &State, truth: &Truth) -> bool {
    let ranges = ranges(state);
    state.backings().all(|(first, references, order)| {
        let mine = block(first, order);
        let unformed: u32 = ones(mine).map(|page| ranges >> (4 * page) & 15).sum();
        let users = (truth.heads & mine).count_ones() + unformed;
        facts::i7(&Counted {
            counter: i32::from(references),
            truth: i32::try_from(users).unwrap_or(i32::MAX),
        })
    })
}

/// How many hold a range that begins at each page, 4 bits a page.
fn ranges(state: &State) -> u32 {
    let ranges = state.held.iter().filter(|held| held.hand == Hand::Range);
    ranges.map(|held| 1 << (4 * held.page)).sum()
}

fn calls(before: &State, truth: &Truth, action: Action, done: &Step<'_>, broken: &mut RuleSet) {
    let held = before.held[usize::from(action.actor)];
    let (count, calls) = done.calls();
    let dropping = matches!(action.verb, verb::DROP | verb::DROP_AND_REUSE);
    let gone = truth.heads >> held.page & 1 == 0 || done.reused().is_some();
    if dropping && gone {
        let told = (count == 1 && calls[0].0 == held.page).then_some(calls[0].1);
        broken.require(facts::i4(&Freed { order: held.order, told, clean: true }), 4);
    } else {
        broken.require(count == 0, 4);
    }
}

fn formed(before: &State, state: &State, action: Action, live: u8, broken: &mut RuleSet) {
    let word = state.words.at(action.page);
    let formed = Formed {
        range: Pages::from(block(action.page, action.order)),
        live: Pages::from(live),
        compound: Pages::from(live),
        as_from_nothing: order_in(word) == action.order,
        pagemap_right: true,
        references: (word & 15) as u8,
        locked: word >> 5 & 1 == 1,
        after_kill: before.dead,
    };
    broken.require(facts::i1(&formed), 1);
    broken.require(facts::i2(&formed), 2);
    broken.require(facts::i11_born(&formed), 11);
    broken.require(facts::i16_formed(&formed), 16);
}
