//! Calls of a shipped pool, with pages, orders and homes in 8 bits.

use bifolio_pool::Rmap;

/// A call of the pool. Objects are called by the name of their place, see [`name`](crate::folio::state::name).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Call {
    /// Takes a folio's memory, for the bytes of a home page.
    Allocate { order: u8, home: RmapCode },
    /// Hands the pages of a folio back.
    Free { page: u8, order: u8, name: u8 },
    /// Gives back what no folio was formed of.
    GiveBack { page: u8, order: u8, name: u8 },
    /// Reports a split.
    Split { page: u8, from: u8, to: u8, name: u8 },
    /// Reports a collapse.
    Collapse { page: u8, from: u8, to: u8, name: u8 },
    /// Makes the next allocation fail.
    FailNext,
    /// Releases what died.
    Release,
    /// Closes the pool.
    Close,
}

/// A reverse mapping in 8 bits: 1 and page (3 bits) and block above; 0 is none.
pub type RmapCode = u8;

/// The reverse mapping of a code that is not 0.
pub fn rmap(code: RmapCode) -> Rmap {
    let code = code.saturating_sub(1);
    Rmap { block: u32::from(code >> 3), page: u16::from(code & 7) }
}

/// The code of a reverse mapping.
pub fn code(rmap: Rmap) -> RmapCode {
    u8::try_from(rmap.block << 3 | u32::from(rmap.page)).map_or(u8::MAX, |code| code.saturating_add(1))
}
