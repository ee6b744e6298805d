//! Tests that need the inside of the crate: states that the public interface cannot reach in a short time, or
//! at all. They are here and not in the modules, since `bifolio-loom` compiles those against other atomics.

use alloc::vec::Vec;

use crate::sync::Ordering;
use crate::word::Word;
use crate::{
    DATA_MAX, FormErrorKind, FreeRange, GetError, Inconsistency, MemoryKind, Order, PageMap, Pfn, Pool,
    REFERENCES_MAX, Reset,
};

struct NoPool;

impl Pool for NoPool {
    fn folio_free(&self, _: FreeRange, _: u32) {}
    fn folio_split(&self, _: Pfn, _: Order, _: Order, _: u32) {}
    fn folio_collapse(&self, _: Pfn, _: Order, _: Order, _: u32) {}
}

fn pagemap(reset: Reset) -> PageMap<NoPool> {
    PageMap::with_reset(reset, MemoryKind::Coherent, Pfn::ZERO, 16, NoPool).expect("small")
}

fn at(map: &PageMap<NoPool>, page: u64) -> Word {
    Word::from_raw(map.word(Pfn::new(page)).expect("inside").load(Ordering::Relaxed))
}

fn set(map: &PageMap<NoPool>, page: u64, word: Word) {
    map.word(Pfn::new(page)).expect("inside").store(word.raw(), Ordering::Relaxed);
}

fn with_references(word: Word, references: u32) -> Word {
    Word::from_raw(word.raw() - u64::from(word.references()) + u64::from(references))
}

#[test]
fn fields_of_a_word_do_not_touch_each_other() {
    for order in Order::all() {
        for data in [0, 1, 0x55_5555, 0xaa_aaaa, DATA_MAX] {
            let word = Word::formed(order, data);
            assert_eq!((word.order(), word.data(), word.references()), (Some(order), data, 1));
            assert!(word.is_locked() && !word.is_frozen() && word.is_valid(Reset::OnFree));
            let frozen = word.frozen();
            assert_eq!((frozen.order(), frozen.data(), frozen.references()), (Some(order), data, 1));
            assert!(frozen.is_frozen() && frozen.is_valid(Reset::OnFree));
        }
    }
}

#[test]
fn last_reference_leaves_zero_whatever_the_flags() {
    let word = Word::formed(Order::MAX, DATA_MAX);
    assert_eq!(word.without_reference(0, Reset::OnFree).raw(), 0);
    assert_eq!(word.frozen().without_reference(Word::LOCK, Reset::OnFree).raw(), 0);
    let left = word.with_reference().without_reference(Word::LOCK, Reset::OnFree);
    assert_eq!((left.references(), left.is_locked(), left.data()), (1, false, DATA_MAX));
}

#[test]
fn last_reference_leaves_order_and_data_behind_when_forming_resets() {
    let word = Word::formed(Order::MAX, DATA_MAX);
    for ended in [word, word.frozen()].map(|word| word.without_reference(0, Reset::OnForm)) {
        assert_eq!((ended.order(), ended.data(), ended.references()), (None, DATA_MAX, 0));
        assert!(ended.is_free(Reset::OnForm) && !ended.is_free(Reset::OnFree));
        assert!(!ended.is_locked() && !ended.is_frozen());
    }
}

#[test]
fn words_left_over_from_earlier_lives_are_no_folios_and_no_obstacle() {
    let map = pagemap(Reset::OnForm);
    let order = Order::new(2).expect("small");
    let stale = Word::formed(order, DATA_MAX).ended(Reset::OnForm);
    (0..16).for_each(|page| set(&map, page, stale));

    assert_eq!((map.folios().count(), map.check_consistency()), (0, Ok(())));
    assert_eq!(map.try_get(Pfn::new(5)).err(), Some(GetError::Free));
    let folio = map.form_checked(FreeRange::claim(Pfn::new(4), order), 3).expect("free");

    assert_eq!(at(&map, 4), Word::formed(order, 3), "nothing of the last life");
    assert_eq!((at(&map, 3), at(&map, 5)), (stale, stale), "no other word is written");
    assert_eq!(map.try_get(Pfn::new(7)).map(|folio| folio.head()).ok(), Some(Pfn::new(4)));
    assert_eq!((map.folios().count(), map.check_consistency()), (1, Ok(())));
    drop(folio);
}

#[test]
fn what_a_freed_folio_leaves_depends_on_the_reset() {
    for (reset, left) in [(Reset::OnFree, 0), (Reset::OnForm, 7 << 40 | 2 << 35)] {
        let map = pagemap(reset);
        let order = Order::new(2).expect("small");
        drop(map.form(FreeRange::claim(Pfn::ZERO, order), 7).expect("free").unlock());
        assert_eq!([0, 1, 2, 3].map(|page| at(&map, page).raw()), [left, 0, 0, 0]);
    }
}

#[test]
fn form_over_a_live_or_a_broken_word_is_refused_whatever_the_reset() {
    let live = Word::formed(Order::ZERO, 0);
    let unreferenced = with_references(live, 0);
    let broken = Word::from_raw(1);
    for reset in Reset::ALL {
        for word in [live, live.frozen(), unreferenced, broken] {
            let map = pagemap(reset);
            set(&map, 4, word);
            let refused = map.form(FreeRange::claim(Pfn::new(4), Order::ZERO), 0).expect_err("in use");
            assert_eq!(refused.kind, FormErrorKind::Busy { pfn: Pfn::new(4) });
            assert_eq!((at(&map, 4), map.live_pages()), (word, 0));
        }
    }
}

#[test]
fn reference_beyond_the_most_is_refused_and_leaves_the_count() {
    let map = pagemap(Reset::OnFree);
    let folio = map.form(FreeRange::claim(Pfn::ZERO, Order::ZERO), 9).expect("free").unlock();
    let full = with_references(folio.load(), REFERENCES_MAX);
    set(&map, 0, full);

    assert_eq!(folio.get().err(), Some(GetError::Saturated));
    assert_eq!(map.try_get(Pfn::ZERO).err(), Some(GetError::Saturated));
    assert_eq!(folio.load(), full);

    set(&map, 0, with_references(full, REFERENCES_MAX - 1));
    let last = folio.get().expect("one is left");
    assert_eq!(last.references(), REFERENCES_MAX);
    set(&map, 0, with_references(full, 2));
}

#[test]
fn consistency_check_names_each_kind_of_damage() {
    let word = Word::formed(Order::new(2).expect("small"), 0);
    let first_flaw = |words: &[(u64, Word)]| {
        let map = pagemap(Reset::OnFree);
        words.iter().for_each(|&(page, word)| set(&map, page, word));
        map.check_consistency().expect_err("damaged")
    };
    let pfn = Pfn::new(4);
    let tail = Pfn::new(6);
    let order = Order::new(2).expect("small");

    let meaningless = Word::from_raw(1);
    assert_eq!(first_flaw(&[(4, meaningless)]), Inconsistency::Word { pfn, word: 1 });
    let unreferenced = with_references(word, 0);
    assert_eq!(first_flaw(&[(4, unreferenced)]), Inconsistency::Word { pfn, word: unreferenced.raw() });
    assert_eq!(first_flaw(&[(4, word.frozen())]), Inconsistency::Frozen { pfn });
    assert_eq!(first_flaw(&[(6, word)]), Inconsistency::Place { pfn: tail, order });
    assert_eq!(first_flaw(&[(4, word), (6, word)]), Inconsistency::Tail { head: pfn, tail });
    assert_eq!(first_flaw(&[(4, word)]), Inconsistency::Count { live: 4, counted: 0 });
    let left_over = word.ended(Reset::OnForm);
    assert_eq!(first_flaw(&[(4, left_over)]), Inconsistency::Word { pfn, word: left_over.raw() });
}

#[test]
fn every_page_has_a_word_of_its_own() {
    let pages = 2 * 512 + 100;
    let map = PageMap::new(MemoryKind::Private, Pfn::new(7), pages, NoPool).expect("a pagemap");
    let mut words: Vec<_> = map.numbered_words().map(|(_, word)| core::ptr::from_ref(word)).collect();
    words.sort_unstable();
    words.dedup();
    assert_eq!(words.len() as u64, pages);
    assert!(map.word(Pfn::new(7 + pages)).is_none() && map.word(Pfn::new(6)).is_none());
}
