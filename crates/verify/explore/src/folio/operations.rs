//! Each operation: the state is put into a pagemap, one shipped operation is done, the state is taken out again.

use std::rc::Rc;

use bifolio_folio::{Folio, FreeRange, Live, Locked, Order, PageMap, Pfn, RawFolio, Reset};

use crate::folio::action::{Action, Operation};
use crate::folio::model_pool::ModelPool;
use crate::folio::outcome::{Answer, Outcome};
use crate::folio::packed_words::{PAGES, PackedWords};
use crate::folio::pooled::PoolAdapter;
use crate::folio::state::{Handle, HandleKind, State, block, ones, pack, pages_of, unpack};

const DEAD: u64 = 1 << 63;

/// A pagemap on which operations are done, and what is in it.
pub struct LoadedPageMap {
    map: Rc<PageMap<ModelPool>>,
    /// Words that are in the pagemap between operations.
    loaded: PackedWords,
    /// The same, unpacked.
    words: [u64; PAGES],
    /// Pages of the folios that these words describe.
    pages: u8,
}

impl LoadedPageMap {
    /// Makes a pagemap of some pages, over a shipped pool if there is one.
    pub fn new(adapter: Option<PoolAdapter>, reset: Reset, pages: u8) -> LoadedPageMap {
        let map = ModelPool::pagemap_over(adapter, reset, pages);
        LoadedPageMap { map, loaded: PackedWords::default(), words: [0; PAGES], pages: 0 }
    }

    /// Does one operation.
    pub fn apply(&mut self, before: &State, action: Action) -> Outcome {
        self.put_in(before);
        let mut step = Step {
            map: &self.map,
            actor: usize::from(action.actor),
            out: Outcome {
                state: *before,
                answer: Answer::Done,
                own: 0,
                formed: false,
                pages_before: self.pages,
                drained: false,
                word_too_large: false,
                calls: Default::default(),
                reused: None,
            },
        };
        step.run(action.operation);
        let mut out = step.out;
        out.drained = self.map.is_drained();
        self.take_out(&mut out);
        out
    }

    /// The pool of the pagemap.
    pub fn pool(&self) -> &ModelPool {
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
        let pool = self.map.pool();
        pool.free.set(state.free);
        pool.backings.set(state.backings);
        pool.calls.set(Default::default());
        pool.reuse.set(false);
        pool.reused.set(None);
    }

    /// Takes the state out of the pagemap and puts back the words that were there before.
    fn take_out(&self, out: &mut Outcome) {
        let mut words = [0; PAGES];
        self.map.snapshot_words(&mut words);
        let changed = (0..PAGES).filter(|&page| words[page] != self.words[page]);
        for page in ones(changed.fold(0, |all, page| all | 1 << page)) {
            let packed = pack(words[usize::from(page)]);
            out.word_too_large |= packed.is_none();
            out.state.words.set(page, packed.unwrap_or(0));
            self.map.restore_word(Pfn::new(u64::from(page)), self.words[usize::from(page)]);
        }
        let (live, pool) = (self.map.snapshot_live(), self.map.pool());
        out.state.dead = live & DEAD != 0;
        out.state.live = u8::try_from(live & !DEAD).unwrap_or(u8::MAX);
        out.state.free = pool.free.get();
        out.state.set_backings(pool.backings.get());
        (out.calls, out.reused) = (pool.calls.get(), pool.reused.get());
    }
}

/// An operation under way.
pub(super) struct Step<'w> {
    pub(super) map: &'w PageMap<ModelPool>,
    /// Number of the actor.
    actor: usize,
    pub(super) out: Outcome,
}

impl<'w> Step<'w> {
    fn run(&mut self, operation: Operation) {
        let handle = *self.handle();
        self.out.own = block(handle.page, handle.order);
        match operation {
            Operation::Allocate { page, order } => self.allocate(page, order),
            Operation::Get { page } => self.get(page),
            Operation::Unpark { page, order } => self.unpark(page, order),
            Operation::Park => self.park(handle),
            Operation::Kill => self.kill(),
            Operation::Form => self.form(handle),
            Operation::GiveBack => self.give_back(handle),
            Operation::Unlock => self.unlock(handle),
            Operation::TryLock => self.try_lock(handle),
            Operation::Split { to } => self.split(handle, None, to),
            Operation::SplitAround { page, to } => self.split(handle, Some(page), to),
            Operation::Collapse { first, to } => self.collapse(handle, first, to),
            Operation::Drop => self.drop(handle, false),
            Operation::DropAndReuse => self.drop(handle, true),
            Operation::Pool(operation) => {
                self.out.own = 0;
                self.map.pool().ask(operation);
            }
        }
    }

    pub(super) fn handle(&mut self) -> &mut Handle {
        &mut self.out.state.handles[self.actor]
    }

    fn allocate(&mut self, page: u8, order: u8) {
        let granted = self.map.pool().grant(page, order);
        self.out.own = granted.map_or(0, |page| block(page, order));
        *self.handle() =
            granted.map_or_else(Handle::default, |page| Handle { kind: HandleKind::Range, page, order });
    }

    fn get(&mut self, page: u8) {
        let got = self.map.try_get(Pfn::new(u64::from(page))).ok();
        let found = got.map(|folio| place(&folio.into_raw()));
        self.out.answer = Answer::Found(found);
        self.out.own = found.map_or(block(page, 0), |(head, order)| block(head, order));
        if let Some((page, order)) = found {
            *self.handle() = Handle { kind: HandleKind::Live, page, order };
        }
    }

    fn unpark(&mut self, page: u8, order: u8) {
        self.out.own = block(page, order);
        self.out.state.parked.set(page, 0);
        *self.handle() = Handle { kind: HandleKind::Live, page, order };
        if let Some(folio) = self.resume::<Live>(page, order) {
            self.hold(folio);
        }
    }

    fn park(&mut self, handle: Handle) {
        self.out.state.park(handle.page, handle.order);
        *self.handle() = Handle::default();
    }

    fn kill(&mut self) {
        self.map.kill();
        self.out.own = 0;
    }

    fn form(&mut self, handle: Handle) {
        let Handle { page, order, .. } = handle;
        let range = FreeRange::claim(Pfn::new(u64::from(page)), Order::new(order).unwrap_or_default());
        match self.map.form(range, self.map.pool().data(page, order)) {
            Ok(folio) => {
                let _: RawFolio<Locked> = folio.into_raw();
                self.handle().kind = HandleKind::Locked;
                self.out.formed = true;
            }
            Err(_) => {
                self.out.answer = Answer::Refused;
                self.give_back(handle);
            }
        }
    }

    fn give_back(&mut self, handle: Handle) {
        self.map.pool().give_back(handle.page, handle.order);
        *self.handle() = Handle::default();
    }

    /// The folio of a handle; the answer says so if the pagemap knows nothing of it.
    pub(super) fn resume<S: bifolio_folio::State>(
        &mut self,
        page: u8,
        order: u8,
    ) -> Option<Folio<'w, ModelPool, S>> {
        let folio = self.map.resume(Pfn::new(u64::from(page)), Order::new(order)?);
        if folio.is_none() {
            self.out.answer = Answer::Unknown;
        }
        folio
    }

    /// Leaves the actor with an unlocked reference.
    fn hold(&mut self, folio: Folio<'w, ModelPool, Live>) {
        let (page, order) = place(&folio.into_raw());
        *self.handle() = Handle { kind: HandleKind::Live, page, order };
    }

    fn unlock(&mut self, handle: Handle) {
        match self.resume::<Locked>(handle.page, handle.order) {
            Some(folio) => self.hold(folio.unlock()),
            None => self.handle().kind = HandleKind::Live,
        }
    }

    fn try_lock(&mut self, handle: Handle) {
        match self.resume::<Live>(handle.page, handle.order).map(Folio::try_lock) {
            Some(Ok(folio)) => {
                let _: RawFolio<Locked> = folio.into_raw();
                self.handle().kind = HandleKind::Locked;
            }
            Some(Err(folio)) => {
                let _: RawFolio<Live> = folio.into_raw();
                self.out.answer = Answer::Refused;
            }
            None => {}
        }
    }

    /// Splits to one order, or around a page; the piece at that page, or the first one, stays at hand.
    fn split(&mut self, handle: Handle, around: Option<u8>, to: u8) {
        let to = Order::new(to).unwrap_or_default();
        let Some(folio) = self.resume::<Locked>(handle.page, handle.order) else { return };
        let result = match around {
            Some(page) => folio.split_around(Pfn::new(u64::from(page)), to),
            None => folio.split(to),
        };
        match result {
            Ok(pieces) => pieces.for_each(|piece| self.keep_piece(piece, around.unwrap_or(handle.page))),
            Err(error) => {
                let _: RawFolio<Locked> = error.folio.into_raw();
                self.out.answer = Answer::Refused;
            }
        }
    }

    /// The piece at `target` stays at hand, still locked; others are unlocked and parked.
    fn keep_piece(&mut self, piece: Folio<'w, ModelPool, Locked>, target: u8) {
        if piece.head().get() == u64::from(target) {
            let (page, order) = place(&piece.into_raw());
            *self.handle() = Handle { kind: HandleKind::Locked, page, order };
        } else {
            let (page, order) = place(&piece.unlock().into_raw());
            self.out.state.park(page, order);
        }
    }

    fn drop(&mut self, handle: Handle, reuse: bool) {
        self.map.pool().reuse.set(reuse);
        *self.handle() = Handle::default();
        match handle.kind {
            HandleKind::Locked => drop(self.resume::<Locked>(handle.page, handle.order)),
            _ => drop(self.resume::<Live>(handle.page, handle.order)),
        }
        if let Some((page, order)) = self.map.pool().reused.get() {
            let mut handles = self.out.state.handles.iter_mut().enumerate();
            let another = handles.find(|(actor, it)| *actor != self.actor && it.kind == HandleKind::None);
            if let Some((_, free)) = another {
                *free = Handle { kind: HandleKind::Locked, page, order };
            }
        }
    }
}

/// First page and order of a folio.
pub(super) fn place<S: bifolio_folio::State>(folio: &RawFolio<S>) -> (u8, u8) {
    ((folio.head().get() & 7) as u8, folio.order().get())
}
