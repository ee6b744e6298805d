//! A handle has the calls of its state. Legal twins: `legal.rs`.

use bifolio_folio::{Folio, FreeRange, Live, Locked, Order, Pfn, Pool};

fn range_is_not_cloned(range: FreeRange) {
    drop(range.clone());
}

fn live_folio_is_not_published_again<P: Pool>(folio: Folio<'_, P, Locked>) {
    drop(folio.unlock().unlock());
}

fn lock_is_not_cloned<P: Pool>(folio: Folio<'_, P, Locked>) {
    drop(folio.clone());
}

fn locked_folio_is_not_locked_again<P: Pool>(folio: Folio<'_, P, Locked>) {
    drop(folio.try_lock());
}

fn folio_is_not_split_without_its_lock<P: Pool>(folio: Folio<'_, P, Live>) {
    drop(folio.split(Order::ZERO));
}

fn folio_is_not_collapsed_without_its_lock<'m, P: Pool>(lower: Folio<'m, P, Live>, upper: Folio<'m, P, Live>) {
    drop(lower.collapse(upper));
}

fn other_half_is_locked_too<'m, P: Pool>(lower: Folio<'m, P, Locked>, upper: Folio<'m, P, Live>) {
    drop(lower.collapse(upper));
}

fn no_call_waits_for_a_lock<P: Pool>(folio: Folio<'_, P, Live>) {
    drop(folio.lock());
}

struct WithoutOrder;

impl Pool for WithoutOrder {
    // Not a range, which has an order.
    fn folio_free(&self, _: Pfn, _: u32) {}
    fn folio_split(&self, _: Pfn, _: Order, _: Order, _: u32) {}
    fn folio_collapse(&self, _: Pfn, _: Order, _: Order, _: u32) {}
}

fn main() {}
