//! Random sequences of all calls against the naive model: results, figures, and that errors change nothing.

use crate::model::Model;
use bifolio_buddy::{AllocateError, BlockState, Buddy, BuddyBlock, FreeError, Request};
use proptest::prelude::*;
use proptest::sample::Index;
use std::ops::Range;

const ANYWHERE: Range<u64> = 0..u64::MAX;

#[derive(Clone, Debug)]
enum Call {
    Allocate(u32),
    Aligned(u32, u32),
    Contiguous(u64),
    Exact(Range<u64>),
    With(Request, Conditions),
    Many(u32, usize),
    Free(Index),
    FreeCleared(Index),
    FreeAny(u64, u32),
    FreeRange(Range<u64>),
    FreeList(Vec<Index>),
    FreeMany(u32, Vec<Index>),
    /// All blocks of an order, and then the first of them again if the flag is set.
    FreeOrder(u32, bool),
    Trim(Index, Index, Index),
    Split(Index, u32),
    Join(u64, u32),
    Declare(Range<u64>),
    Forget,
    TakeDirty(u64, u32),
    MergeDelay(u32),
}

/// The conditions of a request, as its own fields are private.
#[derive(Clone, Debug)]
struct Conditions {
    pages: u64,
    min_order: u32,
    align_order: u32,
    within: Range<u64>,
    contiguous: bool,
    top_down: bool,
    prefer_cleared: bool,
}

fn range() -> impl Strategy<Value = Range<u64>> {
    (0u64..2100, prop_oneof![1u64..30, 0u64..600]).prop_map(|(start, pages)| start..start + pages)
}

fn request() -> impl Strategy<Value = Call> {
    let pages = prop_oneof![(0u32..10).prop_map(|order| 1 << order), 0u64..700];
    let within = prop_oneof![Just(ANYWHERE), range()];
    (pages, 0u32..7, 0u32..9, within, any::<[bool; 3]>()).prop_map(
        |(pages, min_order, align_order, within, [contiguous, top_down, prefer_cleared])| {
            let mut request =
                Request::pages(pages).min_order(min_order).align_order(align_order).within(within.clone());
            if contiguous {
                request = request.contiguous();
            }
            if top_down {
                request = request.top_down();
            }
            if prefer_cleared {
                request = request.prefer_cleared();
            }
            let pages = pages.next_multiple_of(1 << min_order);
            Call::With(
                request,
                Conditions { pages, min_order, align_order, within, contiguous, top_down, prefer_cleared },
            )
        },
    )
}

fn call() -> impl Strategy<Value = Call> {
    let index = any::<Index>;
    let allocate = prop_oneof![
        6 => (0u32..11).prop_map(Call::Allocate),
        2 => (0u32..6, 0u32..10).prop_map(|(order, align)| Call::Aligned(order, align)),
        2 => (0u64..700).prop_map(Call::Contiguous),
        1 => range().prop_map(Call::Exact),
        4 => request(),
        1 => (0u32..5, 0usize..200).prop_map(|(order, count)| Call::Many(order, count)),
        1 => (0u64..2100, 0u32..12).prop_map(|(from, order)| Call::TakeDirty(from, order)),
    ];
    let free = prop_oneof![
        6 => index().prop_map(Call::Free),
        3 => index().prop_map(Call::FreeCleared),
        1 => (0u64..2100, 0u32..12).prop_map(|(page, order)| Call::FreeAny(page, order)),
        1 => range().prop_map(Call::FreeRange),
        1 => prop::collection::vec(index(), 0..6).prop_map(Call::FreeList),
        1 => (0u32..3, prop::collection::vec(index(), 0..6)).prop_map(|(order, picks)| Call::FreeMany(order, picks)),
        2 => (0u32..5, any::<bool>()).prop_map(|(order, twice)| Call::FreeOrder(order, twice)),
    ];
    let other = prop_oneof![
        3 => (index(), index(), index()).prop_map(|(block, from, to)| Call::Trim(block, from, to)),
        2 => (index(), 0u32..6).prop_map(|(block, order)| Call::Split(block, order)),
        2 => (0u64..2100, 0u32..11).prop_map(|(page, order)| Call::Join(page >> order << order, order)),
        2 => range().prop_map(Call::Declare),
        1 => Just(Call::Forget),
        1 => (0u32..40).prop_map(Call::MergeDelay),
    ];
    prop_oneof![5 => allocate, 4 => free, 2 => other]
}

fn regions() -> impl Strategy<Value = Vec<Range<u64>>> {
    let one = |range: Range<u64>| std::iter::once(range).collect();
    prop_oneof![
        3 => (1u64..2000).prop_map(move |end| one(0..end)),
        1 => (0u64..900, 1u64..1000).prop_map(move |(start, pages)| one(start..start + pages)),
        1 => (1u64..300, 0u64..300, 1u64..1300).prop_map(|(a, gap, b)| vec![0..a, a + gap..a + gap + b]),
    ]
}

/// The block that an index picks among the allocated ones.
fn pick(model: &Model, index: &Index) -> Option<BuddyBlock> {
    let used = model.used();
    (!used.is_empty()).then(|| *index.get(&used))
}

fn expected_free(model: &Model, block: BuddyBlock) -> Result<(), FreeError> {
    if !model.in_one_region(&block.range()) {
        return Err(FreeError::Foreign { range: block.range() });
    }
    match model.owner(block.page) {
        None => Err(FreeError::NotAllocated { page: block.page }),
        Some(allocated) if allocated != block => Err(FreeError::WrongBlock { page: block.page, allocated }),
        Some(_) => Ok(()),
    }
}

fn covers_whole_blocks(model: &Model, range: &Range<u64>) -> bool {
    let inside = |block: BuddyBlock| range.start <= block.page && block.end() <= range.end;
    model.in_one_region(range) && range.clone().all(|page| model.owner(page).is_some_and(inside))
}

type Checked = Result<(), TestCaseError>;

fn allocate(buddy: &mut Buddy, model: &mut Model, order: u32, align: u32) -> Checked {
    let result = if align == order { buddy.allocate(order) } else { buddy.allocate_aligned(order, align) };
    match result {
        Ok(page) => {
            prop_assert_eq!(page % (1 << align.max(order)), 0);
            let dirty = Places::of(model, 1 << order, 1 << align.max(order), &ANYWHERE).dirty;
            prop_assert!(dirty.is_empty() || dirty.contains(&page), "{page} is cleared, {dirty:?} are not");
            model.take(BuddyBlock { page, order });
        }
        Err(error) => {
            let no_space = matches!(error, AllocateError::NoSpace { .. });
            prop_assert!(no_space, "{error}");
            prop_assert_eq!(model.places(1 << order, 1 << align.max(order), &ANYWHERE).next(), None);
        }
    }
    Ok(())
}

/// Pages at which a request can be met, by what is there.
struct Places {
    all: Vec<u64>,
    /// All pages are cleared.
    cleared: Vec<u64>,
    /// No page is cleared.
    dirty: Vec<u64>,
}

impl Places {
    fn of(model: &Model, pages: u64, align: u64, within: &Range<u64>) -> Self {
        let all: Vec<u64> = model.places(pages, align, within).collect();
        let cleared = all.iter().copied().filter(|page| model.is_cleared(*page..page + pages)).collect();
        let dirty = all.iter().copied().filter(|page| model.is_dirty(*page..page + pages)).collect();
        Self { all, cleared, dirty }
    }

    /// Those to choose from: cleared ones if these are preferred, else dirty ones, else any.
    fn preferred(&self, prefer_cleared: bool) -> &[u64] {
        match (&self.cleared[..], &self.dirty[..]) {
            (cleared @ [_, ..], _) if prefer_cleared => cleared,
            (_, dirty @ [_, ..]) => dirty,
            _ => &self.all,
        }
    }
}

fn allocate_with(buddy: &mut Buddy, model: &mut Model, request: &Request, wanted: &Conditions) -> Checked {
    let align = 1 << wanted.align_order.max(wanted.min_order);
    let is_block = wanted.pages == 1 << wanted.min_order;
    let places = Places::of(model, wanted.pages.max(1), align, &wanted.within);
    let Ok(grants) = buddy.allocate_with(request) else {
        if wanted.pages > 0 && (wanted.contiguous || is_block) {
            prop_assert_eq!(&places.all, &[]);
        } else if wanted.pages > 0 && wanted.align_order <= wanted.min_order {
            let enough = model.places(align, align, &wanted.within).count() as u64 * align >= wanted.pages;
            prop_assert!(!enough, "there are enough blocks of the least order");
        }
        return Ok(());
    };
    let (first, preferred) = (grants[0].block.page, places.preferred(wanted.prefer_cleared));
    if is_block || wanted.contiguous {
        prop_assert!(preferred.contains(&first), "{first} is not among {preferred:?}");
    }
    if is_block && wanted.top_down {
        prop_assert_eq!(Some(&first), preferred.last());
    }
    prop_assert_eq!(grants.iter().map(|grant| grant.block.pages()).sum::<u64>(), wanted.pages);
    let mut next = grants[0].block.page;
    prop_assert!(!wanted.contiguous || next % align == 0);
    for grant in grants {
        let block = grant.block;
        prop_assert!(block.order >= wanted.min_order);
        prop_assert!(wanted.within.start <= block.page && block.end() <= wanted.within.end);
        prop_assert!(block.page % align == 0 || (wanted.contiguous && block.page == next));
        prop_assert!(!wanted.contiguous || block.page == next);
        next = block.end();
        prop_assert_eq!(grant.cleared, model.is_cleared(block.range()));
        model.take(block);
    }
    Ok(())
}

fn apply_allocation(buddy: &mut Buddy, model: &mut Model, call: &Call) -> Checked {
    match call {
        Call::Allocate(order) => allocate(buddy, model, *order, *order)?,
        Call::Aligned(order, align) => allocate(buddy, model, *order, *align)?,
        Call::Contiguous(pages) => match buddy.allocate_contiguous(*pages) {
            Ok(range) => {
                prop_assert_eq!(range.end - range.start, *pages);
                let places = Places::of(model, *pages, 1, &ANYWHERE);
                prop_assert!(places.preferred(false).contains(&range.start), "{range:?}");
                BuddyBlock::cut(range).for_each(|block| model.take(block));
            }
            Err(_) => prop_assert!(*pages == 0 || model.places(*pages, 1, &ANYWHERE).next().is_none()),
        },
        Call::Exact(range) => {
            let free = |page: u64| model.is_free(page..page + 1);
            let all_free = !range.is_empty() && range.clone().all(free);
            let pages = range.end - range.start;
            let taken = buddy.allocate_with(&Request::pages(pages).within(range.clone()));
            prop_assert_eq!(taken.is_ok(), all_free);
            taken.into_iter().flatten().for_each(|grant| model.take(grant.block));
            prop_assert!(!all_free || range.clone().all(|page| model.owner(page).is_some()));
        }
        Call::With(request, wanted) => allocate_with(buddy, model, request, wanted)?,
        Call::Many(order, count) => {
            let mut pages = vec![0; *count];
            let enough = model.places(1 << order, 1 << order, &ANYWHERE).count() >= *count;
            prop_assert_eq!(buddy.allocate_many(*order, &mut pages).is_ok(), enough);
            if enough {
                pages.into_iter().for_each(|page| model.take(BuddyBlock { page, order: *order }));
            }
        }
        Call::TakeDirty(from, max_order) => {
            let dirty = |page: &u64| {
                page >= from && model.is_free(*page..page + 1) && !model.is_cleared(*page..page + 1)
            };
            let first = model.all_pages().find(dirty);
            let block = buddy.take_dirty(*from, *max_order);
            prop_assert_eq!(block.map(|block| block.page), first);
            if let Some(block) = block {
                prop_assert!(block.order <= *max_order);
                prop_assert!(block.range().all(|page| !model.is_cleared(page..page + 1)));
                model.take(block);
            }
        }
        _ => {}
    }
    Ok(())
}

fn free_several(model: &mut Model, blocks: &[BuddyBlock], result: &Result<(), FreeError>) -> Checked {
    let twice = |at: usize| blocks[..at].contains(&blocks[at]);
    let wrong = (0..blocks.len()).find(|&at| twice(at) || expected_free(model, blocks[at]).is_err());
    let expected = wrong.map_or(Ok(()), |at| {
        expected_free(model, blocks[at]).and(Err(FreeError::NotAllocated { page: blocks[at].page }))
    });
    prop_assert_eq!(result, &expected);
    if expected.is_ok() {
        blocks.iter().for_each(|block| model.give(block.range()));
    }
    Ok(())
}

fn apply_free(buddy: &mut Buddy, model: &mut Model, call: &Call) -> Checked {
    match call {
        Call::Free(index) | Call::FreeCleared(index) => {
            if let Some(block) = pick(model, index) {
                let cleared = matches!(call, Call::FreeCleared(_));
                let BuddyBlock { page, order } = block;
                prop_assert_eq!(
                    if cleared { buddy.free_cleared(page, order) } else { buddy.free(page, order) },
                    Ok(())
                );
                model.give(block.range());
                model.set_cleared(block.range(), cleared);
            }
        }
        Call::FreeAny(page, order) => {
            let block = BuddyBlock { page: *page, order: *order };
            let expected = expected_free(model, block);
            prop_assert_eq!(buddy.free(*page, *order), expected.clone());
            if expected.is_ok() {
                model.give(block.range());
            }
        }
        Call::FreeRange(range) => {
            let whole = covers_whole_blocks(model, range);
            prop_assert_eq!(buddy.free_range(range.clone()).is_ok(), whole);
            if whole {
                model.give(range.clone());
            }
        }
        Call::FreeList(picks) => {
            let blocks: Vec<BuddyBlock> = picks.iter().filter_map(|index| pick(model, index)).collect();
            free_several(model, &blocks, &buddy.free_list(&blocks))?;
        }
        Call::FreeMany(order, picks) => {
            let blocks: Vec<BuddyBlock> = picks
                .iter()
                .filter_map(|index| Some(BuddyBlock { order: *order, ..pick(model, index)? }))
                .collect();
            let pages: Vec<u64> = blocks.iter().map(|block| block.page).collect();
            free_several(model, &blocks, &buddy.free_many(*order, &pages))?;
        }
        Call::FreeOrder(order, twice) => {
            let mut blocks: Vec<BuddyBlock> =
                model.used().into_iter().filter(|block| block.order == *order).collect();
            if *twice {
                blocks.extend(blocks.first().copied());
            }
            let pages: Vec<u64> = blocks.iter().map(|block| block.page).collect();
            free_several(model, &blocks, &buddy.free_many(*order, &pages))?;
        }
        _ => {}
    }
    Ok(())
}

fn apply_other(buddy: &mut Buddy, model: &mut Model, call: &Call) -> Checked {
    match call {
        Call::Trim(index, from, to) => {
            if let Some(block) = pick(model, index) {
                let from = block.page + from.index(block.pages() as usize) as u64;
                let to = from + 1 + to.index((block.end() - from) as usize) as u64;
                prop_assert_eq!(buddy.trim(block, from..to), Ok(()));
                model.give(block.range());
                BuddyBlock::cut(from..to).for_each(|piece| model.own(piece));
            }
        }
        Call::Split(index, order) => {
            if let Some(block) = pick(model, index) {
                prop_assert_eq!(buddy.split(block, *order), Ok(()));
                let order = (*order).min(block.order);
                block.range().step_by(1 << order).for_each(|page| model.own(BuddyBlock { page, order }));
            }
        }
        Call::Join(page, order) => {
            let block = BuddyBlock { page: *page, order: *order };
            let whole = covers_whole_blocks(model, &block.range());
            prop_assert_eq!(buddy.join(block).is_ok(), whole);
            if whole {
                model.own(block);
            }
        }
        Call::Declare(range) => {
            prop_assert_eq!(buddy.declare_cleared(range.clone()).is_ok(), model.is_free(range.clone()));
            if model.is_free(range.clone()) {
                model.set_cleared(range.clone(), true);
            }
        }
        Call::Forget => {
            buddy.forget_cleared();
            model.set_cleared(0..model.regions.last().expect("a region").end, false);
        }
        Call::MergeDelay(blocks) => buddy.set_merge_delay(*blocks),
        _ => {}
    }
    Ok(())
}

fn compare(buddy: &Buddy, model: &Model) -> Checked {
    prop_assert_eq!(buddy.check_consistency(), Ok(()));
    let (figures, expected) = (buddy.figures(), model.free_by_order());
    prop_assert_eq!(figures.free_by_order, expected);
    prop_assert_eq!(figures.free_pages, (0..).zip(&expected).map(|(order, n)| n << order).sum::<u64>());
    prop_assert_eq!(buddy.largest_free_order(), figures.largest_free_order());
    prop_assert_eq!(figures.cleared_pages, model.cleared_pages());
    for extent in buddy.cleared_extents() {
        prop_assert!(model.is_cleared(extent.clone()), "{:?} is not cleared", extent);
    }
    let used = model.used();
    prop_assert_eq!(buddy.used_blocks().collect::<Vec<_>>(), &used[..]);
    let mut used_by_order = [0; 39];
    used.iter().for_each(|block| used_by_order[block.order as usize] += 1);
    prop_assert_eq!(buddy.used_by_order(), used_by_order);
    let free = buddy.blocks().filter(|(_, state)| *state == BlockState::Free).map(|(block, _)| block);
    prop_assert_eq!(free.collect::<Vec<_>>(), model.free_blocks());
    Ok(())
}

fn run(regions: &[Range<u64>], calls: &[Call]) -> Result<Buddy, TestCaseError> {
    let mut buddy = Buddy::with_regions(regions).expect("valid regions");
    let mut model = Model::new(regions);
    for call in calls {
        apply_allocation(&mut buddy, &mut model, call)?;
        apply_free(&mut buddy, &mut model, call)?;
        apply_other(&mut buddy, &mut model, call)?;
        // As the model is changed only by calls that succeed, this also shows that errors change nothing.
        compare(&buddy, &model)?;
    }
    for page in 0..2100 {
        prop_assert_eq!(buddy.page_state(page), model.state(page));
    }
    Ok(buddy)
}

proptest! {
    #[test]
    fn every_call_agrees_with_the_naive_model(regions in regions(), calls in prop::collection::vec(call(), 1..60)) {
        run(&regions, &calls)?;
    }

    #[test]
    fn the_same_calls_return_the_same_pages(regions in regions(), calls in prop::collection::vec(call(), 1..60)) {
        let (mut one, mut other) = (run(&regions, &calls)?, run(&regions, &calls)?);
        prop_assert_eq!(one.snapshot(), other.snapshot());
        for order in (0..11).rev() {
            prop_assert_eq!(one.allocate(order), other.allocate(order));
        }
    }
}
