//! What pages hold.

use super::{PageSet, Pages};

/// Memory was handed to a client.
#[derive(Clone, Copy, Debug)]
pub struct HandedOut<P = Pages> {
    /// Pages said to be zero.
    pub said_clear: P,
    /// Pages that still hold what a former client wrote.
    pub holding: P,
}

/// I22: memory said to be clear holds nothing of former clients.
#[must_use]
pub fn i22<P: PageSet>(handed: &HandedOut<P>) -> bool {
    !handed.said_clear.meets(handed.holding)
}

/// I27: what is read is what was written. Bytes, or a digest of them.
#[must_use]
pub fn i27<B: Copy + PartialEq>(read: B, written: B) -> bool {
    read == written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn i22_wants_nothing_of_former_clients() {
        assert!(i22::<Pages>(&HandedOut { said_clear: 0x03, holding: 0x0c }));
        assert!(!i22::<Pages>(&HandedOut { said_clear: 0x03, holding: 0x02 }));
    }

    #[test]
    fn i27_wants_the_bytes_that_were_written() {
        assert!(i27(7_u8, 7) && !i27([7_u64, 8], [7, 9]));
    }
}
