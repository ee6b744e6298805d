//! No other crate adds a state of folios. Legal twin: `legal.rs`.

struct Unheard;

impl bifolio_folio::State for Unheard {}

fn main() {}
