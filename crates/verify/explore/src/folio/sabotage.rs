//! Makes a step of the shipped code wrong after it was done, in the way of the world's [`Fault`].

use crate::design::Action;
use crate::folio::Folios;
use crate::folio::fault::Fault;
use crate::folio::operations::LIVE;
use crate::folio::state::{PAGES, State, unpack};
use crate::folio::world::verb;

/// Makes words and counter wrong in the way of the world's fault, if it has one that shows there.
pub(super) fn sabotage(
    world: &Folios,
    before: &State,
    action: Action,
    words: &mut [u64; PAGES],
    live: &mut u64,
) {
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
