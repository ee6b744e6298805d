//! A handle is not made of its parts: its fields are private. Legal twin: `legal.rs`.

use bifolio_folio::{Folio, Live, Locked, PageMap, Pool};

fn handle_is_not_made_of_its_parts<P: Pool>(map: &PageMap<P>, folio: Folio<'_, P, Live>) {
    let (head, order) = (folio.head(), folio.order());
    drop(Folio::<P, Locked> { map, head, order, state: std::marker::PhantomData });
}

fn main() {}
