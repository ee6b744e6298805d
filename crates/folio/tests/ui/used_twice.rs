//! What was given away is gone. Legal twins: `legal.rs`.

use bifolio_folio::{Folio, FreeRange, Live, Locked, Order, PageMap, Pool, RawFolio};

fn range_is_used_up_by_forming_a_folio<P: Pool>(map: &PageMap<P>, range: FreeRange) {
    drop(map.form(range, 0));
    drop(map.form(range, 0));
}

fn range_has_one_owner(range: FreeRange) {
    drop(range);
    drop(range);
}

fn reference_that_was_put_is_gone<P: Pool>(folio: Folio<'_, P, Live>) {
    drop(folio);
    folio.references();
}

fn folio_is_published_once<P: Pool>(folio: Folio<'_, P, Locked>) {
    drop(folio.unlock());
    drop(folio.unlock());
}

fn whole_is_gone_after_a_split<P: Pool>(folio: Folio<'_, P, Locked>) {
    drop(folio.split(Order::ZERO));
    drop(folio.unlock());
}

fn halves_are_gone_after_a_collapse<'m, P: Pool>(lower: Folio<'m, P, Locked>, upper: Folio<'m, P, Locked>) {
    drop(lower.collapse(upper));
    drop(upper.unlock());
}

fn pieces_are_gone_after_a_collapse<P: Pool>(pieces: Vec<Folio<'_, P, Locked>>) {
    drop(Folio::collapse_all(pieces));
    pieces.into_iter().for_each(drop);
}

fn reference_laid_aside_comes_back_once<P: Pool>(map: &PageMap<P>, raw: RawFolio) {
    drop(map.from_raw(raw));
    drop(map.from_raw(raw));
}

fn folio_does_not_outlive_its_pagemap<P: Pool>(map: PageMap<P>, range: FreeRange) {
    let folio = map.form(range, 0);
    drop(map);
    drop(folio);
}

fn main() {}
