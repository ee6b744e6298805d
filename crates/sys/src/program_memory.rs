//! The memory of the program that shares this address space with us, and that knows nothing of us.

use crate::{AddressRange, Mapping, SharedBytes};

/// The right to move, drop and fill pages of the program: anywhere in this address space, if it is known that the program is
/// not ourselves, or in one mapping.
#[derive(Debug)]
pub struct ProgramMemory {
    whole: Mapping,
}

/// First address after user space, as far as programs get it without asking for more.
pub const USER_SPACE: usize = 1 << 47;

impl ProgramMemory {
    /// Takes charge of it.
    ///
    /// # Safety
    ///
    /// Windows of the result are used for memory of the program only: of ranges that hold Rust data of this library, no
    /// page is moved, dropped or filled, and none is written. What the program may lose by it is for the caller to judge;
    /// the compiler knows nothing of those bytes. The same holds for ranges of [`ProgramMemory::whole`].
    #[must_use]
    pub unsafe fn take() -> ProgramMemory {
        let Ok(span) = AddressRange::new(crate::PAGE, USER_SPACE - crate::PAGE) else {
            unreachable!("user space is whole pages")
        };
        // SAFETY: passed on to the caller.
        ProgramMemory { whole: unsafe { Mapping::adopt(span) } }
    }

    /// The right to one mapping.
    #[must_use]
    pub const fn of(mapping: Mapping) -> ProgramMemory {
        ProgramMemory { whole: mapping }
    }

    /// All of what this is the right to, to replace or protect parts of.
    #[must_use]
    pub fn whole(&self) -> &Mapping {
        &self.whole
    }

    /// A window of the program's memory, whether or not anything is mapped there.
    ///
    /// # Panics
    ///
    /// If `range` is not in user space, or not in the one mapping.
    #[must_use]
    pub fn window(&self, range: AddressRange) -> SharedBytes<'_> {
        self.whole.at(range).expect("a range of the program")
    }
}
