//! Calls on more memory than is made ready at once: piece by piece, with the answer that one call would have had.

use crate::dispatch::arguments;
use crate::dispatch::gate::{self, nr};
use crate::dispatch::ready::{self, PIECE};
use crate::dispatch::trap::{Call, prepared};

const PAGE: usize = bifolio_sys::PAGE;
/// The kernel transfers no more by one call.
const MOST: usize = 0x7fff_f000;
/// The kernel takes no more buffers by one call.
const VECTORS_MOST: usize = 1024;

/// Where buffer and length are, and the offset in the file, if there is one.
struct Shape {
    buffer: usize,
    len: usize,
    offset: Option<usize>,
}

fn shape(call: Call) -> Shape {
    match call.number {
        nr::GETRANDOM => Shape { buffer: 0, len: 1, offset: None },
        nr::PREAD | nr::PWRITE => Shape { buffer: 1, len: 2, offset: Some(3) },
        _ => Shape { buffer: 1, len: 2, offset: None },
    }
}

/// Tells whether a transfer is longer than a piece.
pub(crate) fn is_long(call: Call) -> bool {
    call.arguments[shape(call).len] > PIECE
}

/// Transfers piece by piece, until one comes short.
pub(crate) fn transfer(call: Call) -> isize {
    let shape = shape(call);
    let (buffer, len) = (call.arguments[shape.buffer], call.arguments[shape.len].min(MOST));
    in_pieces(call, shape.offset, pieces(buffer, len), |arguments, at, len| {
        (arguments[shape.buffer], arguments[shape.len]) = (*at, len);
    })
}

/// `readv` and its like, on what an array of buffers names. Arrays that the kernel refuses are left to it.
pub(crate) fn transfer_vectors(call: Call) -> isize {
    let [_, at, count, offset, ..] = call.arguments;
    let total =
        ready::elements(at, count.min(VECTORS_MOST)).fold(0_usize, |all, (_, len)| all.saturating_add(len));
    if count > VECTORS_MOST || !(PIECE + 1..=MOST).contains(&total) {
        return prepared(call);
    }
    let has_offset = !matches!(call.number, nr::READV | nr::WRITEV) && offset.cast_signed() >= 0;
    let all =
        ready::elements(at, count).flat_map(|(at, len)| pieces(at, len)).map(|(at, len)| ([at, len], len));
    in_pieces(call, has_offset.then_some(3), all, |arguments, element, _| {
        (arguments[1], arguments[2]) = (element.as_ptr().expose_provenance(), 1);
    })
}

/// Where each piece of a buffer begins, and its length.
fn pieces(buffer: usize, len: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..len).step_by(PIECE).map(move |done| (buffer.wrapping_add(done), (len - done).min(PIECE)))
}

/// Makes a call for each piece, whose length is beside it, until one comes short. `place` puts a piece into the arguments.
fn in_pieces<P>(
    call: Call,
    offset: Option<usize>,
    pieces: impl Iterator<Item = (P, usize)>,
    place: impl Fn(&mut [usize; 6], &P, usize),
) -> isize {
    let mut done = 0;
    for (piece, len) in pieces {
        let mut arguments = call.arguments;
        place(&mut arguments, &piece, len);
        if let Some(offset) = offset {
            arguments[offset] = arguments[offset].wrapping_add(done);
        }
        let answer = prepared(Call { arguments, ..call });
        let Ok(moved) = usize::try_from(answer) else {
            return if done == 0 { answer } else { done.cast_signed() };
        };
        done += moved;
        if moved < len || matches!(call.number, nr::READ | nr::READV) && !has_more(call.arguments[0]) {
            break;
        }
    }
    done.cast_signed()
}

/// Tells whether reading on would not wait.
fn has_more(fd: usize) -> bool {
    let Ok(fd) = i32::try_from(fd) else { return false };
    let mut poll = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    let arguments = [(&raw mut poll).expose_provenance(), 1, 0, 0, 0, 0];
    // SAFETY: the record is readable and writable.
    unsafe { gate::syscall(nr::POLL, arguments) == 1 }
}

/// `madvise`. Advice to touch pages is followed piece by piece, as far as it can be.
pub(crate) fn advise(call: Call) -> isize {
    let [at, len, advice, ..] = call.arguments;
    if !arguments::populates(advice) || !at.is_multiple_of(PAGE) || at.checked_add(len).is_none() {
        return call.pass();
    }
    let one = |(at, len): (usize, usize)| prepared(Call { arguments: [at, len, advice, 0, 0, 0], ..call });
    pieces(at, len).map(one).find(|answer| *answer != 0).unwrap_or(0)
}
