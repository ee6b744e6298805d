//! Tests that need the inside of the crate: states that the public interface cannot reach in a short time, or
//! at all. They are here and not in the modules, since `bifolio-races` compiles those against other atomics.

use crate::sync::Ordering;
use crate::word::Word;
use crate::{
    DATA_MAX, FreeRange, GetError, Inconsistency, MemoryKind, Order, PageMap, Pfn, Pool, REFERENCES_MAX,
};

struct NoPool;

impl Pool for NoPool {
    fn folio_free(&self, _: FreeRange, _: u32) {}
    fn folio_split(&self, _: Pfn, _: Order, _: Order, _: u32) {}
}

fn pagemap() -> PageMap<NoPool> {
    PageMap::new(MemoryKind::Coherent, Pfn::ZERO, 16, NoPool).expect("small")
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
            assert!(word.is_locked() && !word.is_frozen() && word.is_valid());
            let frozen = word.frozen();
            assert_eq!((frozen.order(), frozen.data(), frozen.references()), (Some(order), data, 1));
            assert!(frozen.is_frozen() && frozen.is_valid());
        }
    }
}

#[test]
fn last_reference_leaves_zero_whatever_the_flags() {
    let word = Word::formed(Order::MAX, DATA_MAX);
    assert!(word.without_reference(0).is_free());
    assert!(word.frozen().without_reference(Word::LOCK).is_free());
    let left = word.with_reference().without_reference(Word::LOCK);
    assert_eq!((left.references(), left.is_locked(), left.data()), (1, false, DATA_MAX));
}

#[test]
fn reference_beyond_the_most_is_refused_and_leaves_the_count() {
    let map = pagemap();
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
        let map = pagemap();
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
}
