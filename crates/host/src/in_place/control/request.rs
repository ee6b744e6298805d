//! What the program asks of the service, and each request as three words.

use bifolio_sys::PAGE;

/// What the program asks of the service. Ranges are page aligned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Request {
    /// A thread is about to fork: the answer is the address of what the child needs, see [`child`](crate::in_place::child).
    Fork,
    /// The fork with this plan has happened, as the parent sees it; the second is 0 if it failed.
    Forked(usize, usize),
    /// Advice that the kernel has taken for some or all of a range, and the range.
    Advised(usize, usize, usize),
    /// Guards are about to be installed in `len` bytes at `start`.
    ExpectGuards(usize, usize),
    /// A mapping has grown, where it is or by a move: it has `len` bytes at `start` now.
    Grown(usize, usize),
    /// A mapping has moved or changed its size, which may not be registered.
    Remapped,
    /// Let the mappings of `len` bytes at `start` be the kernel's for now, unless one holds them all.
    Leave(usize, usize),
    /// The next mapping at or after an address that is not ours: see [`NextMapping`].
    NextMapping(usize),
    /// Bring `len` bytes at `start` home.
    BringHome(usize, usize),
    /// Let `len` bytes at `start` be there, as they are or as zeros, so that the kernel can use them.
    Ready(usize, usize),
    /// Let the mapping around an address be the kernel's: a stack.
    KeepStack(usize),
    /// Let all memory be the kernel's from now on.
    Release,
    /// Make room, because more is resident than may be.
    Room,
    /// Bring everything home; and leave it there, if the program is about to end.
    BringAllHome(bool),
}

/// Kinds of requests from here on are advice.
const ADVISED: usize = 1 << 8;

/// A mapping as one word: pages of address, and how many, as many as fit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NextMapping {
    /// Its first address.
    pub start: usize,
    /// Bytes, or a part of it from its start if it has more than 2 TiB.
    pub len: usize,
}

impl NextMapping {
    const COUNT_BITS: u32 = 29;

    pub(in crate::in_place) fn encode(self) -> usize {
        let pages = (self.len / PAGE).min((1 << NextMapping::COUNT_BITS) - 1);
        ((self.start / PAGE) << NextMapping::COUNT_BITS) | pages
    }

    /// From the answer to [`Request::NextMapping`]; `None` if there is none.
    #[must_use]
    pub fn decode(answer: usize) -> Option<NextMapping> {
        let pages = answer & ((1 << NextMapping::COUNT_BITS) - 1);
        (answer != 0)
            .then_some(NextMapping { start: (answer >> NextMapping::COUNT_BITS) * PAGE, len: pages * PAGE })
    }
}

impl Request {
    pub(super) fn encode(self) -> [usize; 3] {
        match self {
            Request::Fork => [0, 0, 0],
            Request::Forked(plan, done) => [1, plan, done],
            Request::Advised(advice, start, len) => [ADVISED + advice, start, len],
            Request::Leave(start, len) => [2, start, len],
            Request::NextMapping(at) => [8, at, 0],
            Request::ExpectGuards(start, len) => [9, start, len],
            Request::Grown(start, len) => [10, start, len],
            Request::BringHome(start, len) => [3, start, len],
            Request::Ready(start, len) => [4, start, len],
            Request::KeepStack(at) => [6, at, 0],
            Request::Release => [7, 0, 0],
            Request::Room => [11, 0, 0],
            Request::Remapped => [12, 0, 0],
            Request::BringAllHome(ends) => [5, usize::from(ends), 0],
        }
    }

    pub(super) fn decode([kind, first, second]: [usize; 3]) -> Option<Request> {
        Some(match kind {
            0 => Request::Fork,
            1 => Request::Forked(first, second),
            2 => Request::Leave(first, second),
            3 => Request::BringHome(first, second),
            4 => Request::Ready(first, second),
            5 => Request::BringAllHome(first != 0),
            6 => Request::KeepStack(first),
            7 => Request::Release,
            8 => Request::NextMapping(first),
            9 => Request::ExpectGuards(first, second),
            10 => Request::Grown(first, second),
            11 => Request::Room,
            12 => Request::Remapped,
            advice if advice >= ADVISED => Request::Advised(advice - ADVISED, first, second),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mappings_fit_into_an_answer() {
        let large = NextMapping { start: (1 << 47) - (3 << 40), len: 3 << 40 };
        let decoded = NextMapping::decode(large.encode()).expect("a mapping");
        assert_eq!((decoded.start, decoded.len), (large.start, (2 << 40) - PAGE));
        let small = NextMapping { start: PAGE, len: 5 * PAGE };
        assert_eq!(NextMapping::decode(small.encode()), Some(small));
        assert_eq!(NextMapping::decode(0), None);
    }

    #[test]
    fn requests_are_what_they_were_after_their_way_through_words() {
        use Request as R;
        let requests =
            [R::Fork, R::Forked(3, 1), R::Advised(10, 1, 2), R::ExpectGuards(1, 2), R::Grown(1, 2)];
        let others = [R::Leave(1, 2), R::NextMapping(1), R::BringHome(1, 2), R::Ready(1, 2), R::KeepStack(1)];
        let last = [R::Release, R::Room, R::Remapped, R::BringAllHome(true), R::BringAllHome(false)];
        for request in requests.into_iter().chain(others).chain(last) {
            assert_eq!(Request::decode(request.encode()), Some(request));
        }
    }
}
