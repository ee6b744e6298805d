//! What may be done instead of each mistake of the other files.

use bifolio_folio::{Folio, FreeRange, GetError, Live, Locked, Order, PageMap, Pfn, Pool, RawFolio, State};

pub fn range_comes_back_from_a_refusal<P: Pool>(map: &PageMap<P>, range: FreeRange) {
    if let Err(error) = map.form(range, 0) {
        drop(map.form(error.range, 0));
    }
}

pub fn further_reference_outlives_the_first<P: Pool>(folio: Folio<'_, P, Live>) {
    let second = folio.clone();
    drop(folio);
    second.references();
}

pub fn published_folio_is_locked_and_unlocked_again<P: Pool>(folio: Folio<'_, P, Locked>) {
    if let Ok(locked) = folio.unlock().try_lock() {
        drop(locked.unlock());
    }
}

pub fn lock_holder_hands_out_references<'m, P: Pool>(
    folio: &Folio<'m, P, Locked>,
) -> Result<Folio<'m, P, Live>, GetError> {
    folio.get()
}

pub fn folio_that_could_not_be_split_is_given_back<P: Pool>(folio: Folio<'_, P, Live>) {
    match folio.try_lock().map(|locked| locked.split(Order::ZERO)) {
        Ok(Ok(pieces)) => pieces.for_each(drop),
        Ok(Err(error)) => drop(error.folio.unlock()),
        // Another holder has the lock.
        Err(live) => drop(live),
    }
}

pub fn halves_that_could_not_be_joined_are_given_back<'m, P: Pool>(
    lower: Folio<'m, P, Locked>,
    upper: Folio<'m, P, Locked>,
) {
    match lower.collapse(upper) {
        Ok(whole) => drop(whole.unlock()),
        Err(error) => drop(error.pieces.map(Folio::unlock)),
    }
}

pub fn pieces_that_could_not_be_joined_are_given_back<P: Pool>(pieces: Vec<Folio<'_, P, Locked>>) {
    match Folio::collapse_all(pieces) {
        Ok(whole) => drop(whole.unlock()),
        Err(error) => error.pieces.into_iter().for_each(drop),
    }
}

pub fn reference_is_laid_aside_again<P: Pool>(map: &PageMap<P>, raw: RawFolio) {
    let folio = map.from_raw(raw);
    drop(map.from_raw(folio.into_raw()));
}

pub fn pagemap_goes_after_its_folios<P: Pool>(map: PageMap<P>, range: FreeRange) {
    drop(map.form(range, 0));
    drop(map);
}

pub fn folio_is_had_by_its_page<P: Pool>(map: &PageMap<P>, page: Pfn) -> Result<Folio<'_, P, Live>, GetError> {
    map.try_get(page)
}

pub fn code_for_every_state<P: Pool, S: State>(folio: &Folio<'_, P, S>) -> Order {
    folio.order()
}

pub struct WithOrder;

impl Pool for WithOrder {
    fn folio_free(&self, _: FreeRange, _: u32) {}
    fn folio_split(&self, _: Pfn, _: Order, _: Order, _: u32) {}
    fn folio_collapse(&self, _: Pfn, _: Order, _: Order, _: u32) {}
}

fn main() {}
