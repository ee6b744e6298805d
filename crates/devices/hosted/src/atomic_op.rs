//! Read-modify-write operations of a port.

use bifolio_sys::{AccessError, SharedBytes, Word};

/// What is done to a number in memory. Numbers wrap around.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AtomicOp {
    /// Adds the argument.
    Add,
    /// Stores the argument.
    Swap,
    /// Stores the argument if the number equals this one.
    CompareExchange(u64),
    /// Bitwise and.
    And,
    /// Bitwise or.
    Or,
    /// Bitwise exclusive or.
    Xor,
    /// The smaller one, without signs.
    Min,
    /// The larger one, without signs.
    Max,
    /// The smaller one, with signs.
    SignedMin,
    /// The larger one, with signs.
    SignedMax,
    /// Adds floating-point numbers, of 4 or 8 bytes.
    AddFloat,
}

/// Bytes of a number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AtomicWidth {
    /// 1 byte.
    One,
    /// 2 bytes.
    Two,
    /// 4 bytes.
    Four,
    /// 8 bytes.
    Eight,
}

impl AtomicWidth {
    /// The width of that many bytes, if there is one.
    #[must_use]
    pub fn of_bytes(bytes: usize) -> Option<AtomicWidth> {
        match bytes {
            1 => Some(AtomicWidth::One),
            2 => Some(AtomicWidth::Two),
            4 => Some(AtomicWidth::Four),
            8 => Some(AtomicWidth::Eight),
            _ => None,
        }
    }

    /// The number of bytes.
    #[must_use]
    pub fn bytes(self) -> usize {
        match self {
            AtomicWidth::One => 1,
            AtomicWidth::Two => 2,
            AtomicWidth::Four => 4,
            AtomicWidth::Eight => 8,
        }
    }
}

impl AtomicOp {
    /// Whether there is such an operation on numbers of this width.
    #[must_use]
    pub fn works_on(self, width: AtomicWidth) -> bool {
        self != AtomicOp::AddFloat || matches!(width, AtomicWidth::Four | AtomicWidth::Eight)
    }

    /// What becomes of `old`; `None` if it stays. Both are numbers of this width, without signs.
    fn apply(self, width: AtomicWidth, old: u64, argument: u64) -> Option<u64> {
        let signed = |value: u64| {
            let shift = 64 - 8 * u32::try_from(width.bytes()).expect("at most 8");
            (value << shift).cast_signed() >> shift
        };
        Some(match self {
            AtomicOp::Add => old.wrapping_add(argument),
            AtomicOp::Swap => argument,
            AtomicOp::CompareExchange(expected) if expected == old => argument,
            AtomicOp::CompareExchange(_) => return None,
            AtomicOp::And => old & argument,
            AtomicOp::Or => old | argument,
            AtomicOp::Xor => old ^ argument,
            AtomicOp::Min => old.min(argument),
            AtomicOp::Max => old.max(argument),
            AtomicOp::SignedMin => signed(old).min(signed(argument)).cast_unsigned(),
            AtomicOp::SignedMax => signed(old).max(signed(argument)).cast_unsigned(),
            AtomicOp::AddFloat => add_float(width, old, argument),
        })
    }

    /// Does it to the number at `offset`; returns what was there.
    pub(crate) fn perform(
        self,
        bytes: SharedBytes<'_>,
        offset: usize,
        width: AtomicWidth,
        argument: u64,
    ) -> Result<u64, AccessError> {
        match width {
            AtomicWidth::One => self.update::<u8>(bytes, offset, width, argument),
            AtomicWidth::Two => self.update::<u16>(bytes, offset, width, argument),
            AtomicWidth::Four => self.update::<u32>(bytes, offset, width, argument),
            // Without a loop, as processors do it.
            AtomicWidth::Eight if self == AtomicOp::Add => bytes.fetch_add_u64(offset, argument),
            AtomicWidth::Eight => self.update::<u64>(bytes, offset, width, argument),
        }
    }

    fn update<T: Word + Into<u64> + Truncate>(
        self,
        bytes: SharedBytes<'_>,
        offset: usize,
        width: AtomicWidth,
        argument: u64,
    ) -> Result<u64, AccessError> {
        let argument: u64 = T::truncate(argument).into();
        let change = |old: T| self.apply(width, old.into(), argument).map(T::truncate);
        bytes.update(offset, change).map(Into::into)
    }
}

fn add_float(width: AtomicWidth, old: u64, argument: u64) -> u64 {
    let low = |value: u64| f32::from_bits(u32::truncate(value));
    match width {
        AtomicWidth::Eight => (f64::from_bits(old) + f64::from_bits(argument)).to_bits(),
        _ => u64::from((low(old) + low(argument)).to_bits()),
    }
}

/// The low bits of a number.
trait Truncate {
    fn truncate(value: u64) -> Self;
}

macro_rules! truncate {
    ($($value:ty),*) => {$(
        impl Truncate for $value {
            #[expect(clippy::cast_possible_truncation, reason = "the low bits are wanted")]
            fn truncate(value: u64) -> Self {
                value as $value
            }
        }
    )*};
}

truncate!(u8, u16, u32);

impl Truncate for u64 {
    fn truncate(value: u64) -> Self {
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_do_what_they_say_at_their_width() {
        use AtomicOp::*;
        use AtomicWidth::{Eight, Four, One, Two};
        let float = |value: f32| u64::from(value.to_bits());
        for (op, width, old, argument, new) in [
            (Add, One, 0xff, 2, 0x01),
            (Add, Eight, u64::MAX, 2, 1),
            (Swap, Two, 7, 0x1_0009, 9),
            (CompareExchange(7), Four, 7, 9, 9),
            (CompareExchange(8), Four, 7, 9, 7),
            (And, One, 0b1100, 0b1010, 0b1000),
            (Or, One, 0b1100, 0b1010, 0b1110),
            (Xor, One, 0b1100, 0b1010, 0b0110),
            (Min, One, 0xff, 1, 1),
            (Max, One, 0xff, 1, 0xff),
            (SignedMin, One, 0xff, 1, 0xff),
            (SignedMax, One, 0xff, 1, 1),
            (SignedMin, Eight, 5, u64::MAX, u64::MAX),
            (AddFloat, Four, float(1.5), float(2.0), float(3.5)),
            (AddFloat, Eight, 1.5f64.to_bits(), 2f64.to_bits(), 3.5f64.to_bits()),
        ] {
            let mapping = bifolio_sys::Mapping::anonymous(
                bifolio_sys::PAGE,
                bifolio_sys::Protection::ReadWrite,
                bifolio_sys::Placement::Anywhere,
            )
            .expect("a page");
            let bytes = mapping.all();
            bytes.store_u64(8, old).expect("inside");
            assert_eq!(op.perform(bytes, 8, width, argument), Ok(old), "{op:?} {width:?}");
            assert_eq!(bytes.load_u64(8), Ok(new), "{op:?} {width:?}");
        }
    }

    #[test]
    fn floats_have_four_or_eight_bytes() {
        assert!(!AtomicOp::AddFloat.works_on(AtomicWidth::Two));
        assert!(AtomicOp::AddFloat.works_on(AtomicWidth::Four) && AtomicOp::Add.works_on(AtomicWidth::One));
        assert_eq!(AtomicWidth::of_bytes(3), None);
        assert_eq!(AtomicWidth::of_bytes(2).map(AtomicWidth::bytes), Some(2));
    }
}
