//! Counters against what they count.

/// A counter was compared with what it counts.
#[derive(Clone, Copy, Debug)]
pub struct Counted<N = i32> {
    /// Its value.
    pub counter: N,
    /// What there is.
    pub truth: N,
}

/// Teardown of the pagemap was asked whether it may end.
#[derive(Clone, Copy, Debug)]
pub struct Ended<N = u8> {
    /// Whether it would end.
    pub ends: bool,
    /// Pages in live folios.
    pub live: N,
}

/// I7: an object has a reference for each folio on it.
#[must_use]
pub fn i7<N: PartialEq>(counted: &Counted<N>) -> bool {
    counted.counter == counted.truth
}

/// I8: the pagemap counts the pages in live folios.
#[must_use]
pub fn i8<N: PartialEq>(counted: &Counted<N>) -> bool {
    counted.counter == counted.truth
}

/// I13: what is counted in pages is the number of pages.
#[must_use]
pub fn i13<N: PartialEq>(counted: &Counted<N>) -> bool {
    counted.counter == counted.truth
}

/// I16: teardown ends if and only if no page is live.
#[must_use]
pub fn i16_ended<N: Copy + Into<u64>>(ended: &Ended<N>) -> bool {
    ended.ends == (ended.live.into() == 0)
}

/// I18: when nothing is under way, what was taken for the time of a transaction has been returned.
#[must_use]
pub fn i18(kept: impl Into<u64>) -> bool {
    kept.into() == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn i7_i8_and_i13_want_counters_to_be_right() {
        let (right, wrong): (Counted, Counted) =
            (Counted { counter: 512, truth: 512 }, Counted { counter: 1, truth: 512 });
        assert!(i7(&right) && i8(&right) && i13(&right));
        assert!(!i7(&wrong) && !i8(&wrong) && !i13(&wrong));
    }

    #[test]
    fn i16_wants_the_end_with_the_last_page_and_not_before() {
        let ended = |ends, live| i16_ended::<u8>(&Ended { ends, live });
        assert!(ended(true, 0) && ended(false, 3));
        assert!(!ended(true, 3) && !ended(false, 0));
    }

    #[test]
    fn i18_wants_all_returned() {
        assert!(i18(0_u8) && !i18(1_u64));
    }
}
