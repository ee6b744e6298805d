//! Random sequences of transitions against a naive model, with the whole pagemap checked after each.

use std::collections::BTreeMap;

use bifolio_folio::{
    CollapseErrorKind, Folio, FolioView, FormErrorKind, FreeRange, GetError, Live, Locked, Order, PageMap,
    Pfn, SplitError, SplitErrorKind,
};
use proptest::prelude::*;

use crate::pool::{Call, TestPool, order, pagemap_at};

/// First page and number of pages: unaligned at both ends, so that folios at the edges are tried.
const FIRST: u64 = 40;
const PAGES: u64 = 216;

#[derive(Clone, Copy, Debug)]
enum Op {
    Form { page: u64, order: u8, data: u32 },
    Get(usize),
    Put(usize),
    Lock(usize),
    Unlock(usize),
    Split { handle: usize, to: u8 },
    SplitAround { handle: usize, page: u64, to: u8 },
    Collapse { handle: usize, larger: u8 },
    TryGet(u64),
    Aside(usize),
    Kill,
}

fn any_op() -> impl Strategy<Value = Op> {
    let page = 0..FIRST + PAGES + 40;
    let handle = any::<usize>();
    prop_oneof![
        8 => (page.clone(), 0u8..=7, 0..1u32 << 24).prop_map(|(page, order, data)| Op::Form { page, order, data }),
        3 => handle.prop_map(Op::Get),
        6 => handle.prop_map(Op::Put),
        4 => handle.prop_map(Op::Lock),
        3 => handle.prop_map(Op::Unlock),
        4 => (handle, 0u8..=7).prop_map(|(handle, to)| Op::Split { handle, to }),
        4 => (handle, page.clone(), 0u8..=7).prop_map(|(handle, page, to)| Op::SplitAround { handle, page, to }),
        6 => (handle, 1u8..=3).prop_map(|(handle, larger)| Op::Collapse { handle, larger }),
        4 => page.prop_map(Op::TryGet),
        2 => handle.prop_map(Op::Aside),
    ]
}

/// Sequences of which some are killed half-way.
fn any_ops() -> impl Strategy<Value = Vec<Op>> {
    let ops = |most| prop::collection::vec(any_op(), 0..most);
    let killed = (ops(80), ops(10)).prop_map(|(before, after)| [before, vec![Op::Kill], after].concat());
    prop_oneof![3 => ops(80), 1 => killed]
}

enum Handle<'m> {
    Locked(Folio<'m, TestPool, Locked>),
    Live(Folio<'m, TestPool, Live>),
}

impl Handle<'_> {
    fn head(&self) -> Pfn {
        match self {
            Handle::Locked(folio) => folio.head(),
            Handle::Live(folio) => folio.head(),
        }
    }
}

/// The real pagemap with the handles in use, and beside it what should be the case.
struct World<'m> {
    map: &'m PageMap<TestPool>,
    handles: Vec<Handle<'m>>,
    folios: BTreeMap<Pfn, FolioView>,
    calls: Vec<Call>,
    dead: bool,
}

impl<'m> World<'m> {
    fn new(map: &'m PageMap<TestPool>) -> Self {
        World { map, handles: Vec::new(), folios: BTreeMap::new(), calls: Vec::new(), dead: false }
    }

    fn covering(&self, pfn: Pfn) -> Option<FolioView> {
        self.folios.values().copied().find(|folio| pfn.is_within(folio.head, folio.order))
    }

    fn take_handle(&mut self, index: usize) -> Option<Handle<'m>> {
        let index = index.checked_rem(self.handles.len())?;
        Some(self.handles.swap_remove(index))
    }

    fn view(&mut self, head: Pfn) -> &mut FolioView {
        self.folios.get_mut(&head).expect("handles are of live folios")
    }

    fn add(&mut self, head: Pfn, order: Order, data: u32) {
        self.folios.insert(head, FolioView { head, order, references: 1, locked: true, data });
    }

    fn step(&mut self, op: Op) {
        match op {
            Op::Form { page, order: size, data } => {
                self.form(Pfn::new(page).align_down(order(size)), size, data);
            }
            Op::Get(handle) => self.get(handle),
            Op::Put(handle) => self.put(handle),
            Op::Lock(handle) => self.lock(handle),
            Op::Unlock(handle) => self.unlock(handle),
            Op::Split { handle, to } => self.split(handle, to),
            Op::SplitAround { handle, page, to } => self.split_around(handle, page, to),
            Op::Collapse { handle, larger } => self.collapse(handle, larger),
            Op::TryGet(page) => self.try_get(Pfn::new(page)),
            Op::Aside(handle) => self.aside(handle),
            Op::Kill => {
                self.map.kill();
                self.dead = true;
            }
        }
    }

    fn form(&mut self, head: Pfn, size: u8, data: u32) {
        let order = order(size);
        let allocated = self.map.pool().allocate_at(head, order);
        let is_free = allocated.is_some();
        let range = allocated.unwrap_or_else(|| FreeRange::claim(head, order));
        match self.map.form_checked(range, data) {
            Ok(folio) => {
                assert!(is_free && !self.dead);
                self.add(head, order, data);
                self.handles.push(Handle::Locked(folio));
            }
            Err(error) => {
                assert_eq!(Some(error.kind), self.form_error(head, order));
                assert_eq!((error.range.head(), error.range.order()), (head, order));
                if is_free {
                    self.map.pool().give_back(error.range);
                }
            }
        }
    }

    fn form_error(&self, head: Pfn, order: Order) -> Option<FormErrorKind> {
        if head.get() < FIRST || head.get() + order.pages() > FIRST + PAGES {
            return Some(FormErrorKind::OutOfRange);
        }
        let mut pages = (head.get()..head.get() + order.pages()).map(Pfn::new);
        let busy = pages.find(|&pfn| self.covering(pfn).is_some());
        let dead = self.dead.then_some(FormErrorKind::Dead);
        busy.map(|pfn| FormErrorKind::Busy { pfn }).or(dead)
    }

    fn get(&mut self, index: usize) {
        let Some(handle) = self.take_handle(index) else { return };
        let more = match &handle {
            Handle::Locked(folio) => folio.get().expect("few references"),
            Handle::Live(folio) => folio.clone(),
        };
        self.view(handle.head()).references += 1;
        self.handles.extend([handle, Handle::Live(more)]);
    }

    fn put(&mut self, index: usize) {
        let Some(handle) = self.take_handle(index) else { return };
        let head = handle.head();
        let view = self.view(head);
        view.references -= 1;
        view.locked &= matches!(handle, Handle::Live(_));
        let FolioView { order, references, data, .. } = *view;
        if references == 0 {
            self.folios.remove(&head);
            self.calls.push(Call::Free { head, order, data });
        }
        drop(handle);
    }

    fn lock(&mut self, index: usize) {
        let handle = match self.take_handle(index) {
            Some(Handle::Live(folio)) => {
                let view = self.view(folio.head());
                let was_locked = std::mem::replace(&mut view.locked, true);
                match folio.try_lock() {
                    Ok(folio) => {
                        assert!(!was_locked);
                        Handle::Locked(folio)
                    }
                    Err(folio) => {
                        assert!(was_locked);
                        Handle::Live(folio)
                    }
                }
            }
            Some(handle) => handle,
            None => return,
        };
        self.handles.push(handle);
    }

    fn unlock(&mut self, index: usize) {
        match self.take_handle(index) {
            Some(Handle::Locked(folio)) => {
                self.view(folio.head()).locked = false;
                self.handles.push(Handle::Live(folio.unlock()));
            }
            other => self.handles.extend(other),
        }
    }

    fn split(&mut self, index: usize, to: u8) {
        let folio = match self.take_handle(index) {
            Some(Handle::Locked(folio)) => folio,
            other => return self.handles.extend(other),
        };
        let whole = *self.view(folio.head());
        match folio.split(order(to)) {
            Ok(pieces) => {
                assert!(whole.references == 1 && order(to) < whole.order);
                assert_eq!(pieces.len() as u64, whole.order.pages() >> to);
                self.calls.push(Call::Split {
                    head: whole.head,
                    from: whole.order,
                    to: order(to),
                    data: whole.data,
                });
                let heads = (0..pieces.len() as u64).map(|piece| Pfn::new(whole.head.get() + (piece << to)));
                self.replace(whole, &heads.map(|head| (head, order(to))).collect::<Vec<_>>(), pieces);
            }
            Err(error) => self.split_refused(whole, error, to),
        }
    }

    fn split_around(&mut self, index: usize, page: u64, to: u8) {
        let folio = match self.take_handle(index) {
            Some(Handle::Locked(folio)) => folio,
            other => return self.handles.extend(other),
        };
        let whole = *self.view(folio.head());
        // Mostly a page of the folio.
        let page = if page.is_multiple_of(8) { page } else { whole.head.get() + page % whole.order.pages() };
        match folio.split_around(Pfn::new(page), order(to)) {
            Ok(pieces) => {
                assert!(whole.references == 1 && order(to) < whole.order);
                let expected = self.halve_around(whole, Pfn::new(page), order(to));
                self.replace(whole, &expected, pieces);
            }
            Err(error) if error.kind == (SplitErrorKind::Outside { page: Pfn::new(page) }) => {
                assert!(!Pfn::new(page).is_within(whole.head, whole.order));
                self.handles.push(Handle::Locked(error.folio));
            }
            Err(error) => self.split_refused(whole, error, to),
        }
    }

    /// Splits by halving again and again the block that contains the page, as a buddy allocator would.
    fn halve_around(&mut self, whole: FolioView, page: Pfn, to: Order) -> Vec<(Pfn, Order)> {
        let mut blocks = vec![];
        let mut current = (whole.head, whole.order);
        while current.1 > to {
            let (head, from) = current;
            let half = from.smaller().expect("larger than `to`");
            self.calls.push(Call::Split { head, from, to: half, data: whole.data });
            let keep = page.align_down(half);
            blocks.push((keep.buddy(half), half));
            current = (keep, half);
        }
        blocks.push(current);
        blocks.sort();
        blocks
    }

    fn replace(
        &mut self,
        whole: FolioView,
        expected: &[(Pfn, Order)],
        pieces: impl Iterator<Item = Folio<'m, TestPool, Locked>>,
    ) {
        self.folios.remove(&whole.head);
        let pieces: Vec<_> = pieces.collect();
        let shape: Vec<_> = pieces.iter().map(|piece| (piece.head(), piece.order())).collect();
        assert_eq!(shape, expected);
        for (head, order) in shape {
            self.add(head, order, whole.data);
        }
        self.handles.extend(pieces.into_iter().map(Handle::Locked));
    }

    fn split_refused(&mut self, whole: FolioView, error: SplitError<'m, TestPool>, to: u8) {
        let expected = if order(to) >= whole.order {
            SplitErrorKind::NotSmaller { to: order(to) }
        } else {
            SplitErrorKind::Shared { references: whole.references }
        };
        assert_eq!(error.kind, expected);
        assert_ne!(error.kind, SplitErrorKind::Shared { references: 1 });
        self.handles.push(Handle::Locked(error.folio));
    }

    /// Tries to make one folio of all locked ones that begin in a block around a handle's.
    fn collapse(&mut self, index: usize, larger: u8) {
        let Some(index) = index.checked_rem(self.handles.len()) else { return };
        let head = self.handles[index].head();
        let to = order(self.view(head).order.get() + larger);
        let block = (head.align_down(to), to);
        let mut pieces = Vec::new();
        for handle in std::mem::take(&mut self.handles) {
            match handle {
                Handle::Locked(folio) if folio.head().is_within(block.0, block.1) => pieces.push(folio),
                other => self.handles.push(other),
            }
        }
        let mut views: Vec<_> = pieces.iter().map(|piece| self.folios[&piece.head()]).collect();
        views.sort_by_key(|view| view.head);
        match Folio::collapse_all(pieces) {
            Ok(whole) => {
                assert_eq!(collapse_error(&views), None);
                self.joined(&views, whole);
            }
            Err(error) => {
                assert_eq!(collapse_error(&views), Some(error.kind));
                assert_eq!(error.pieces.len(), views.len());
                self.handles.extend(error.pieces.into_iter().map(Handle::Locked));
            }
        }
    }

    fn joined(&mut self, views: &[FolioView], whole: Folio<'m, TestPool, Locked>) {
        let (head, data) = (views[0].head, views[0].data);
        let smallest = views.iter().map(|view| view.order).min().expect("two or more");
        self.folios.retain(|head, _| !views.iter().any(|view| view.head == *head));
        self.add(head, whole.order(), data);
        if views.iter().all(|view| view.order == smallest) {
            self.calls.push(Call::Collapse { head, from: smallest, to: whole.order(), data });
        } else {
            // In which order the joins are told is not the model's business; each pair of halves is one.
            let calls = self.map.pool().books().calls.split_off(self.calls.len());
            assert_eq!(calls.len(), views.len() - 1);
            let mut blocks: Vec<_> = views.iter().map(|view| (view.head, view.order)).collect();
            for call in calls {
                blocks = join(blocks, call, data);
                self.calls.push(call);
            }
            assert_eq!(blocks, [(head, whole.order())]);
            self.map.pool().books().calls.clone_from(&self.calls);
        }
        self.handles.push(Handle::Locked(whole));
    }

    fn try_get(&mut self, pfn: Pfn) {
        let inside = (FIRST..FIRST + PAGES).contains(&pfn.get());
        match (self.map.try_get(pfn), self.covering(pfn)) {
            (Ok(folio), Some(view)) => {
                assert_eq!((folio.head(), folio.order()), (view.head, view.order));
                self.view(view.head).references += 1;
                self.handles.push(Handle::Live(folio));
            }
            (Err(error), None) => {
                assert_eq!(error, if inside { GetError::Free } else { GetError::Outside });
            }
            (got, covering) => panic!("page {pfn}: got {got:?}, but covered by {covering:?}"),
        }
    }

    fn aside(&mut self, index: usize) {
        let handle = match self.take_handle(index) {
            Some(Handle::Locked(folio)) => Handle::Locked(self.map.from_raw(folio.into_raw())),
            Some(Handle::Live(folio)) => Handle::Live(self.map.from_raw(folio.into_raw())),
            None => return,
        };
        self.handles.push(handle);
    }

    fn compare(&self) {
        assert_eq!(self.map.check_consistency(), Ok(()));
        let real: Vec<_> = self.map.folios().collect();
        let model: Vec<_> = self.folios.values().copied().collect();
        assert_eq!(real, model);
        for pfn in (0..FIRST + PAGES + 8).map(Pfn::new) {
            assert_eq!(self.map.head_of(pfn), self.covering(pfn).map(|view| (view.head, view.order)));
        }
        let live: u64 = model.iter().map(|view| view.order.pages()).sum();
        assert_eq!((self.map.live_pages(), self.map.is_drained()), (live, self.dead && live == 0));
        let books = self.map.pool().books();
        assert_eq!((books.free_pages() + live, books.backing), (PAGES, model.len() as u64));
        assert_eq!(books.calls, self.calls);
    }
}

/// Replaces the two halves that the call speaks of by their block.
fn join(mut blocks: Vec<(Pfn, Order)>, call: Call, expected: u32) -> Vec<(Pfn, Order)> {
    let Call::Collapse { head, from, to, data } = call else { panic!("{call:?} during a collapse") };
    assert_eq!((Some(to), data), (from.larger(), expected));
    let lower = blocks.iter().position(|&block| block == (head, from)).expect("a lower half");
    assert_eq!(blocks.remove(lower + 1), (head.buddy(from), from));
    blocks[lower] = (head, to);
    blocks
}

/// Why folios sorted by page cannot collapse.
fn collapse_error(views: &[FolioView]) -> Option<CollapseErrorKind> {
    let [first, _, ..] = views else { return Some(CollapseErrorKind::TooFew) };
    let mut end = first.head;
    for view in views {
        if view.data != first.data {
            return Some(CollapseErrorKind::OtherData { page: view.head });
        }
        if view.head != end {
            return Some(CollapseErrorKind::Gap { page: end });
        }
        end = Pfn::new(end.get() + view.order.pages());
    }
    let (head, pages) = (first.head, end.get() - first.head.get());
    if !pages.is_power_of_two() || !head.get().is_multiple_of(pages) {
        return Some(CollapseErrorKind::NotABlock { head, pages });
    }
    let shared = views.iter().find(|view| view.references > 1)?;
    Some(CollapseErrorKind::Shared { page: shared.head, references: shared.references })
}

proptest! {
    #[test]
    fn any_sequence_of_transitions_does_what_the_model_says(ops in any_ops()) {
        let map = pagemap_at(Pfn::new(FIRST), PAGES);
        let mut world = World::new(&map);
        for op in ops {
            world.step(op);
            world.compare();
        }
        while !world.handles.is_empty() {
            world.put(0);
        }
        world.compare();
        prop_assert_eq!(map.pool().books().free_pages(), PAGES);
    }
}
