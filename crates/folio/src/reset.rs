//! [`Reset`]: when the page word of a folio that ended is made clean.

use core::fmt;
use core::str::FromStr;

/// When what a folio leaves in its page word is cleared: two designs of which a pagemap follows one for good.
///
/// Either way a life is begun and ended by one atomic step on one word, whatever the order, and the pool gets each
/// range with its order: the rules are the same, and so is the cost.
///
/// ```
/// use bifolio_folio::Reset;
/// assert_eq!("reinit-on-form".parse(), Ok(Reset::OnForm));
/// assert_eq!(Reset::default().to_string(), "split-on-free");
/// ```
///
/// # What stays, and why it does no harm
///
/// ```text
///                      word of the head      after the last put       after the next form
///   split-on-free      order, data, 2 refs   0                        its order, its data, locked, 1 ref
///   reinit-on-form     order, data, 2 refs   order, data, not live    its order, its data, locked, 1 ref
/// ```
///
/// Tails are written by neither. Under `reinit-on-form` a page may hold what the last folio that *began* there left,
/// in a free page or under a folio that begins earlier; without the live flag such a word means nothing.
/// Why every rule that holds with words of zero holds with such words too:
///
/// - **I1**: forming replaces a word without the live flag only, by compare-and-swap; checked builds look for the
///   live flag in the whole range, and for a live head that covers it.
/// - **I2, I6, I11**: forming writes order, data, flags and count of the head's word at once, from its arguments. What
///   others decode of the new folio is that word, as tails decode to nothing, whatever they hold. No other word is
///   written, neither by forming nor by freeing.
/// - **I3**: the pagemap is not in the word.
/// - **I4, I5**: order and data that the pool gets are those of the handle and of the word that the last put replaced.
///   That step is the last access to the word; what it leaves is not read before the next form, whose
///   one look at it only asks whether it is live.
/// - **I7, I8, I16**: data go to the pool by the same calls, and the counter is another word.
/// - **I9**: a free range of any shape is formed alike, as no word in it is live.
/// - **I10**: a frozen word is live, a free one is not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Reset {
    /// The last put undoes the folio: its word is zero before the pool hears of it. A free page carries nothing.
    #[default]
    OnFree,
    /// The last put only ends the folio, and leaves order and data in the word as Linux does since 6.19; forming
    /// writes the word whatever was left there.
    OnForm,
}

impl Reset {
    /// Both, the default first.
    pub const ALL: [Reset; 2] = [Reset::OnFree, Reset::OnForm];

    /// Returns the name for users, which [`FromStr`] takes: `split-on-free` or `reinit-on-form`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Reset::OnFree => "split-on-free",
            Reset::OnForm => "reinit-on-form",
        }
    }
}

impl fmt::Display for Reset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A name that is not one of a [`Reset`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("neither {} nor {}", Reset::OnFree.name(), Reset::OnForm.name())]
pub struct UnknownReset;

impl FromStr for Reset {
    type Err = UnknownReset;

    fn from_str(name: &str) -> Result<Reset, UnknownReset> {
        Reset::ALL.into_iter().find(|reset| reset.name() == name).ok_or(UnknownReset)
    }
}
