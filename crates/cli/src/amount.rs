//! Amounts of memory on the command line: `4096`, `64K`, `16M`, `1G`, or `1/4` of the data.

use std::str::FromStr;

/// An amount of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amount {
    /// So many bytes.
    Bytes(u64),
    /// A share of the data that the job works on.
    Share {
        /// How many parts.
        parts: u32,
        /// Of how many.
        whole: u32,
    },
}

/// Why a word is not an amount of memory.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AmountError {
    /// It has another form.
    #[error("expected a size such as 4096, 64K, 16M or 1G, or a share of the data such as 1/4")]
    Form,
    /// The share is of nothing.
    #[error("a share of 0 parts is no share; write for example 1/4")]
    ZeroParts,
    /// The size is beyond all memory.
    #[error("the limit is {}G", AMOUNT_MAX >> 30)]
    TooLarge,
}

/// More than any machine has, and little enough to calculate with.
pub const AMOUNT_MAX: u64 = 1 << 46;

impl Amount {
    /// Returns the bytes, where the data is `data` bytes long; a share is rounded down, but not to nothing.
    pub fn of(self, data: u64) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Share { parts, whole } => {
                let share = u128::from(data) * u128::from(parts) / u128::from(whole);
                u64::try_from(share).map_or(AMOUNT_MAX, |share| share.clamp(1, AMOUNT_MAX))
            }
        }
    }
}

/// A size in bytes: an amount that is not a share of anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(pub u64);

impl FromStr for Size {
    type Err = SizeError;

    fn from_str(text: &str) -> Result<Self, SizeError> {
        match text.parse() {
            Ok(Amount::Bytes(bytes)) => Ok(Self(bytes)),
            Err(AmountError::TooLarge) => Err(SizeError::TooLarge),
            Ok(Amount::Share { .. }) | Err(_) => Err(SizeError::Form),
        }
    }
}

/// Why a word is not a size.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SizeError {
    /// It has another form.
    #[error("expected a size such as 4096, 64K, 16M or 1G")]
    Form,
    /// It is beyond all memory.
    #[error("the limit is {}G", AMOUNT_MAX >> 30)]
    TooLarge,
}

impl FromStr for Amount {
    type Err = AmountError;

    fn from_str(text: &str) -> Result<Self, AmountError> {
        match text.split_once('/') {
            Some((parts, whole)) => share(parts, whole),
            None => size(text).map(Self::Bytes),
        }
    }
}

fn share(parts: &str, whole: &str) -> Result<Amount, AmountError> {
    let number = |text: &str| text.parse::<u32>().map_err(|_| AmountError::Form);
    match (number(parts)?, number(whole)?) {
        (0, _) | (_, 0) => Err(AmountError::ZeroParts),
        (parts, whole) => Ok(Amount::Share { parts, whole }),
    }
}

fn size(text: &str) -> Result<u64, AmountError> {
    let digits = text.trim_end_matches(|last: char| !last.is_ascii_digit());
    let unit = match text[digits.len()..].to_ascii_uppercase().as_str() {
        "" | "B" => 1,
        "K" | "KIB" => 1 << 10,
        "M" | "MIB" => 1 << 20,
        "G" | "GIB" => 1 << 30,
        _ => return Err(AmountError::Form),
    };
    if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return Err(AmountError::Form);
    }
    // All digits, so what does not parse is too large.
    let number: u64 = digits.parse().map_err(|_| AmountError::TooLarge)?;
    number.checked_mul(unit).filter(|&bytes| bytes <= AMOUNT_MAX).ok_or(AmountError::TooLarge)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_take_units_of_1024() {
        let sizes = ["0", "4096", "64K", "64k", "16M", "16MiB", "1G", "12B"].map(str::parse);
        let expected = [0, 4096, 65536, 65536, 16 << 20, 16 << 20, 1 << 30, 12];
        assert_eq!(sizes, expected.map(|bytes| Ok(Amount::Bytes(bytes))));
    }

    #[test]
    fn shares_are_of_the_data() {
        let quarter: Amount = "1/4".parse().expect("a share");
        assert_eq!(quarter.of(1000), 250);
        assert_eq!("3/2".parse::<Amount>().expect("a share").of(1000), 1500);
        assert_eq!("1/4000000000".parse::<Amount>().expect("a share").of(1000), 1);
    }

    #[test]
    fn other_words_are_refused() {
        for word in ["", "M", "-1", "+1", "1.5M", "16 M", "16Q", "1/", "/4", "1/4M", "half", "1e6"] {
            assert_eq!(word.parse::<Amount>(), Err(AmountError::Form), "{word:?}");
        }
        assert_eq!("1/0".parse::<Amount>(), Err(AmountError::ZeroParts));
        assert_eq!("0/4".parse::<Amount>(), Err(AmountError::ZeroParts));
    }

    #[test]
    fn sizes_beyond_all_memory_are_refused() {
        for word in ["65537G", "99999999999999999999", "99999999999999999999G"] {
            assert_eq!(word.parse::<Amount>(), Err(AmountError::TooLarge), "{word:?}");
        }
        assert_eq!("65536G".parse::<Amount>(), Ok(Amount::Bytes(AMOUNT_MAX)));
        assert_eq!(Amount::Share { parts: u32::MAX, whole: 1 }.of(AMOUNT_MAX), AMOUNT_MAX);
    }
}
