//! Compares a state with what the handles that exist say, and names the rule that a difference breaks.
#![expect(
    clippy::cast_possible_truncation,
    reason = "pages, orders and counts of a small world fit in 8 bits"
)]

use std::rc::Rc;

use bifolio_folio::PageMap;

use crate::bifolio::Folios;
use crate::bifolio::ledger::Ledger;
use crate::bifolio::operations::Done;
use crate::bifolio::state::{Hand, PAGES, State, block, name, ones, order_in};
use crate::bifolio::world::verb;
use crate::design::{Action, Applied};
use bifolio_rules::RuleSet;
use bifolio_rules::facts::{self, Counted, Ended, Formed, Freed, Looked, Pages, Touched};

/// Judges a step.
pub(super) fn judge(
    world: &Folios,
    map: &Rc<PageMap<Ledger>>,
    before: &State,
    action: Action,
    done: &Done,
) -> Applied<State> {
    let state = done.state;
    let mut broken = done.broken;
    let truth = Truth::of(&state);
    words(&state, &truth, action, done, &mut broken);
    counters(&state, &truth, before, action, &mut broken);
    backings(world, &state, &truth, &mut broken);
    calls(before, &truth, action, done, &mut broken);
    if done.formed {
        formed(before, &state, action, &mut broken);
    }
    let ends = map.is_drained() && world.fault != crate::bifolio::fault::Fault::NeverDrained;
    let ends = ends || (world.fault == crate::bifolio::fault::Fault::DrainedTooEarly && state.dead);
    broken.require(!truth.locked_twice, 11);
    let live = u8::try_from(truth.pages.count_ones()).unwrap_or(u8::MAX);
    if state.dead {
        broken.require(facts::i16_ended(&Ended { ends, live }), 16);
    }
    Applied { state, broken, fatal: false }
}

/// What the handles say: for each head page the word it should have, and the pages of all folios.
struct Truth {
    words: [u16; PAGES],
    /// Pages at which a folio begins.
    heads: u8,
    /// Pages of folios.
    pages: u8,
    /// Whether a folio is locked by two.
    locked_twice: bool,
}

impl Truth {
    fn of(state: &State) -> Truth {
        const LIVE: u16 = 1 << 4;
        const LOCKED: u16 = 1 << 5;
        let mut truth = Truth { words: [0; PAGES], heads: 0, pages: 0, locked_twice: false };
        state.references(|head, order, locked| {
            let word = &mut truth.words[usize::from(head)];
            let locked = if locked { LOCKED } else { 0 };
            truth.locked_twice |= *word & locked != 0;
            *word = ((*word & (LOCKED | 15)) + 1) | LIVE | u16::from(order) << 7 | locked;
            truth.heads |= 1 << head;
            truth.pages |= block(head, order);
        });
        for (first, _, order) in state.owners() {
            for head in ones(truth.heads & block(first, order)) {
                truth.words[usize::from(head)] |= u16::from(name(first, order)) << 10;
            }
        }
        truth
    }
}

fn words(state: &State, truth: &Truth, action: Action, done: &Done, broken: &mut RuleSet) {
    let mut used = truth.heads;
    if state.words != truth.words {
        let words = (0u8..).zip(state.words.iter().zip(&truth.words));
        used = words.clone().filter(|(_, (is, _))| **is != 0).fold(0, |all, (page, _)| all | 1 << page);
        for (page, (is, should)) in words.filter(|(_, (is, should))| is != should) {
            broken.require(false, rule_of(page, *is, *should, action, done));
        }
    }
    broken.require(facts::i10(&Looked { free: Pages::from(state.free), like_frozen: Pages::from(used) }), 10);
}

/// The rule that a wrong word breaks.
fn rule_of(page: u8, is: u16, should: u16, action: Action, done: &Done) -> u8 {
    const BORN: u16 = 0x2f;
    const FROZEN: u16 = 1 << 6;
    if done.reused.is_some_and(|(head, order)| block(head, order) >> page & 1 == 1) {
        return 5;
    }
    let touched = Touched { pages: 1 << page, of_others: Pages::from(!done.own) };
    match action.verb {
        _ if !facts::i6(&touched) => 6,
        _ if is & FROZEN != 0 => 10,
        verb::FORM if should != 0 && (is ^ should) & !BORN == 0 => 11,
        verb::FORM | verb::SPLIT | verb::SPLIT_AROUND => 2,
        // Nobody has a reference any more, or somebody still has one.
        _ if should == 0 => 11,
        _ if is == 0 || (is ^ should) & 15 != 0 => 17,
        _ => 11,
    }
}

fn counters(state: &State, truth: &Truth, before: &State, action: Action, broken: &mut RuleSet) {
    let live = i32::try_from(truth.pages.count_ones()).unwrap_or(i32::MAX);
    broken.require(facts::i8(&Counted { counter: i32::from(state.live), truth: live }), 8);
    broken.require(state.dead == (before.dead || action.verb == verb::KILL), 16);
}

fn backings(world: &Folios, state: &State, truth: &Truth, broken: &mut RuleSet) {
    let mut owned = 0;
    for (first, references, order) in state.owners() {
        let mine = block(first, order);
        owned |= mine;
        // One for each folio, and for each range that is not formed yet.
        let ranges = state.held.iter().filter(|held| held.hand == Hand::Range && mine >> held.page & 1 == 1);
        let users = i32::try_from((truth.heads & mine).count_ones() as usize + ranges.count());
        let counted = Counted { counter: i32::from(references), truth: users.unwrap_or(i32::MAX) };
        broken.require(facts::i7(&counted), 7);
    }
    let all = ((1u16 << world.bounds.pages) - 1) as u8;
    // What is used must not be free; what is neither is lost and cannot be handed out.
    broken.require((owned | truth.pages) & state.free == 0, 7);
    broken.require(owned | state.free == all, 9);
}

fn calls(before: &State, truth: &Truth, action: Action, done: &Done, broken: &mut RuleSet) {
    let held = before.held[usize::from(action.actor)];
    let (count, calls) = done.calls;
    let dropping = matches!(action.verb, verb::DROP | verb::DROP_AND_REUSE);
    let gone = truth.words[usize::from(held.page)] == 0 || done.reused.is_some();
    if dropping && gone {
        let told = (count == 1 && calls[0].0 == held.page).then_some(calls[0].1);
        broken.require(facts::i4(&Freed { order: held.order, told, clean: true }), 4);
    } else {
        broken.require(count == 0, 4);
    }
}

fn formed(before: &State, state: &State, action: Action, broken: &mut RuleSet) {
    let live = Truth::of(before).pages;
    let word = state.words[usize::from(action.page)];
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
