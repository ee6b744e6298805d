//! The life of folios through the public interface: rule by rule, against a model, and by many threads. Here with
//! pagemaps that reset folios when they are freed; the same sources again in `reinit_on_form.rs`.

mod model;
mod pool;
mod refusals;
mod rules;
mod threads;

/// What the pagemaps of all tests are made with.
const RESET: bifolio_folio::Reset = bifolio_folio::Reset::OnFree;

#[test]
fn pagemap_made_without_a_choice_resets_on_free() {
    let map = bifolio_folio::PageMap::new(
        bifolio_folio::MemoryKind::Private,
        bifolio_folio::Pfn::ZERO,
        1,
        pool::TestPool::default(),
    );
    assert_eq!(map.expect("a small pagemap").reset(), RESET);
}
