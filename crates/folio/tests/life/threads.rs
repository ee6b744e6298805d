//! Many threads on one pagemap. The thread that forms a folio stamps its pages with its `data`; each holder of its lock
//! must find these stamps, or some page was in two folios, or an ordering is too weak.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::thread;

use bifolio_folio::{CollapseErrorKind, Folio, FormErrorKind, GetError, Live, Locked, Order, PageMap, Pfn};

use crate::pool::{Call, TestPool, order, pagemap_at};

const FIRST: u64 = 64;
const PAGES: u64 = 1024;
const THREADS: u32 = 4;
const STEPS: u32 = 60_000;

/// Xorshift: the same sequence of choices in every run, whatever the threads make of it.
struct Choices(u64);

impl Choices {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }

    fn order(&mut self, limit: u64) -> Order {
        order(u8::try_from(self.below(limit)).expect("small"))
    }
}

struct Shared {
    map: PageMap<TestPool>,
    stamps: Vec<AtomicU32>,
    next_data: AtomicU32,
    pages_formed: AtomicU64,
    folios_formed: AtomicU64,
}

impl Shared {
    fn new() -> Shared {
        Shared {
            map: pagemap_at(Pfn::new(FIRST), PAGES),
            stamps: (0..PAGES).map(|_| AtomicU32::new(0)).collect(),
            next_data: AtomicU32::new(1),
            pages_formed: AtomicU64::new(0),
            folios_formed: AtomicU64::new(0),
        }
    }

    fn stamps_of<S: bifolio_folio::State>(&self, folio: &Folio<'_, TestPool, S>) -> &[AtomicU32] {
        let start = usize::try_from(folio.head().get() - FIRST).expect("small");
        &self.stamps[start..start + usize::try_from(folio.pages()).expect("small")]
    }

    /// Forms and stamps a folio, or tells that the pagemap is dead; `None` if memory is short.
    fn form(&self, order: Order) -> Option<Result<Folio<'_, TestPool, Locked>, FormErrorKind>> {
        let range = self.map.pool().allocate(order)?;
        // The low 23 bits: a new number for each folio of the last eight million.
        let data = self.next_data.fetch_add(1, Ordering::Relaxed) & 0x7f_ffff;
        match self.map.form(range, data) {
            Ok(folio) => {
                self.stamps_of(&folio).iter().for_each(|stamp| stamp.store(data, Ordering::Relaxed));
                self.pages_formed.fetch_add(order.pages(), Ordering::Relaxed);
                self.folios_formed.fetch_add(1, Ordering::Relaxed);
                Some(Ok(folio))
            }
            Err(error) => {
                self.map.pool().give_back(error.range);
                Some(Err(error.kind))
            }
        }
    }

    fn check_stamps(&self, folio: &Folio<'_, TestPool, Locked>) {
        let data = folio.data();
        assert!(self.stamps_of(folio).iter().all(|stamp| stamp.load(Ordering::Relaxed) == data), "{folio:?}");
    }

    /// Works until the pagemap is dead or the steps are used up; returns how many splits succeeded.
    fn work(&self, seed: u64) -> u32 {
        let mut choices = Choices(seed);
        let mut held: Vec<Folio<'_, TestPool, Live>> = Vec::new();
        let mut splits = 0;
        for _ in 0..STEPS {
            match choices.below(8) {
                0 | 1 => match self.form(choices.order(8)) {
                    Some(Ok(folio)) => held.push(folio.unlock()),
                    Some(Err(kind)) => {
                        assert_eq!(kind, FormErrorKind::Dead);
                        break;
                    }
                    None => held.clear(),
                },
                2 => held.extend(self.map.try_get(Pfn::new(FIRST + choices.below(PAGES)))),
                3 => held.extend(held.last().cloned()),
                4 | 5 => splits += self.split_some(&mut held, &mut choices),
                _ if held.is_empty() => {}
                _ => {
                    drop(held.swap_remove(usize::try_from(choices.below(held.len() as u64)).expect("small")));
                }
            }
        }
        splits
    }

    fn split_some<'s>(&'s self, held: &mut Vec<Folio<'s, TestPool, Live>>, choices: &mut Choices) -> u32 {
        let Some(folio) = held.pop() else { return 0 };
        let locked = match folio.try_lock() {
            Ok(locked) => locked,
            Err(folio) => {
                held.push(folio);
                return 0;
            }
        };
        self.check_stamps(&locked);
        let page = Pfn::new(locked.head().get() + choices.below(locked.pages()));
        let to = choices.order(6);
        let split = if choices.below(2) == 0 { locked.split(to) } else { locked.split_around(page, to) };
        match split {
            Ok(pieces) => {
                let pieces: Vec<_> = pieces.inspect(|piece| self.check_stamps(piece)).collect();
                if choices.below(2) == 0 {
                    self.collapse(held, pieces);
                } else {
                    held.extend(pieces.into_iter().map(Folio::unlock).take(3));
                }
                1
            }
            Err(error) => {
                held.push(error.folio.unlock());
                0
            }
        }
    }

    /// Makes one folio of pieces, unless another thread has taken a reference of one.
    fn collapse<'s>(
        &'s self,
        held: &mut Vec<Folio<'s, TestPool, Live>>,
        pieces: Vec<Folio<'s, TestPool, Locked>>,
    ) {
        match Folio::collapse_all(pieces) {
            Ok(whole) => {
                self.check_stamps(&whole);
                held.push(whole.unlock());
            }
            Err(error) => {
                assert!(matches!(error.kind, CollapseErrorKind::Shared { .. }), "{:?}", error.kind);
                held.extend(error.pieces.into_iter().map(Folio::unlock).take(3));
            }
        }
    }

    /// Checks that everything formed has come back, piece by piece.
    fn check_balance(&self) {
        assert_eq!(self.map.check_consistency(), Ok(()));
        let books = self.map.pool().books();
        assert_eq!((self.map.live_pages(), books.free_pages(), books.backing), (0, PAGES, 0));
        let (mut frees, mut pages_freed, mut pieces_added, mut pieces_joined) = (0, 0, 0, 0);
        for call in &books.calls {
            match *call {
                Call::Free { order, .. } => {
                    frees += 1;
                    pages_freed += order.pages();
                }
                Call::Split { from, to, .. } => pieces_added += from.pages() / to.pages() - 1,
                Call::Collapse { from, to, .. } => pieces_joined += to.pages() / from.pages() - 1,
            }
        }
        assert_eq!(pages_freed, self.pages_formed.load(Ordering::Relaxed));
        assert_eq!(frees + pieces_joined, self.folios_formed.load(Ordering::Relaxed) + pieces_added);
    }
}

fn run_threads(shared: &Shared, meanwhile: impl FnOnce()) -> u32 {
    thread::scope(|scope| {
        let seeds = (1..=THREADS).map(|seed| u64::from(seed).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let workers: Vec<_> = seeds.map(|seed| scope.spawn(move || shared.work(seed))).collect();
        meanwhile();
        workers.into_iter().map(|worker| worker.join().expect("no worker panics")).sum()
    })
}

#[test]
fn all_counts_balance_after_many_threads_form_get_put_and_split() {
    let shared = Shared::new();
    let splits = run_threads(&shared, || {});
    shared.check_balance();
    let collapse = |call: &&Call| matches!(call, Call::Collapse { .. });
    let collapses = shared.map.pool().books().calls.iter().filter(collapse).count();
    assert!(splits > 1000 && collapses > 1000, "only {splits} splits and {collapses} collapses");
}

#[test]
fn page_that_is_split_off_and_collapsed_again_and_again_is_never_reported_free() {
    const ENOUGH: u64 = 500;
    let map = pagemap_at(Pfn::ZERO, 16);
    let range = map.pool().allocate(order(4)).expect("free");
    let whole = map.form(range, 0).expect("free");
    let (found, enough) = (AtomicU64::new(0), AtomicBool::new(false));
    let whole = thread::scope(|scope| {
        let seeker = scope.spawn(|| {
            // Page 0 is a head all the time, and never missed.
            let pages = (1..16).cycle().map(Pfn::new).take_while(|_| !enough.load(Ordering::Relaxed));
            let finds = pages.filter(|&page| finds_folio(&map, page));
            finds.for_each(|_| _ = found.fetch_add(1, Ordering::Relaxed));
        });
        let (mut whole, mut collapses) = (whole, 0);
        while !seeker.is_finished() && (collapses < ENOUGH || found.load(Ordering::Relaxed) < ENOUGH) {
            let result = split_and_collapse(whole, Pfn::new(collapses % 16));
            collapses += u64::from(result.is_ok());
            whole = result.unwrap_or_else(|whole| whole);
        }
        enough.store(true, Ordering::Relaxed);
        whole
    });
    assert_eq!((whole.order(), map.check_consistency()), (order(4), Ok(())));
}

/// Looks up a page that is live all the time; tells whether its folio was not just frozen.
fn finds_folio(map: &PageMap<TestPool>, page: Pfn) -> bool {
    match map.try_get(page) {
        Ok(folio) => {
            assert!(page.is_within(folio.head(), folio.order()));
            true
        }
        Err(error) => {
            assert_eq!(error, GetError::Frozen);
            false
        }
    }
}

/// Splits around a page and collapses the pieces, as soon as no piece has another reference; the folio is given back
/// in the error if it was shared already.
fn split_and_collapse<'m>(
    whole: Folio<'m, TestPool, Locked>,
    page: Pfn,
) -> Result<Folio<'m, TestPool, Locked>, Folio<'m, TestPool, Locked>> {
    let mut pieces: Vec<_> = match whole.split_around(page, Order::ZERO) {
        Ok(pieces) => pieces.collect(),
        Err(error) => return Err(error.folio),
    };
    loop {
        match Folio::collapse_all(pieces) {
            Ok(whole) => return Ok(whole),
            Err(error) => pieces = error.pieces,
        }
        thread::yield_now();
    }
}

#[test]
fn i16_pagemap_killed_amid_work_drains_and_forms_nothing() {
    let shared = Shared::new();
    run_threads(&shared, || {
        while shared.folios_formed.load(Ordering::Relaxed) < 1000 {
            thread::yield_now();
        }
        shared.map.kill();
    });
    assert!(shared.map.is_drained());
    assert!(matches!(shared.form(Order::ZERO), Some(Err(FormErrorKind::Dead))));
    shared.check_balance();
}
