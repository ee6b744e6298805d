//! Memory of a call is at home before the call is made, and stays there until it has returned.

use std::ops::Range;

use bifolio_host::in_place::Request;
use bifolio_host::in_place::hazards::CallInUse;
use bifolio_sys::USER_SPACE;

use crate::dispatch::arguments::{self, Leads, Uses};
use crate::dispatch::gate;
use crate::dispatch::trap::Call;
use crate::fork;
use crate::start::CONTROL;

const PAGE: usize = 4096;
/// Bytes that one range of a call is made ready for at most; longer ones are made piece by piece.
pub(crate) const PIECE: usize = 4 << 20;
/// Elements of an array that are followed at once.
const ELEMENTS: usize = 32;
/// Elements of an array that are followed at all: the kernel's own limit is 1024, and of strings it has none.
const ELEMENTS_MOST: usize = 1 << 14;
/// Pages that are asked for at once.
const PAGES: usize = 256;

/// Keeps at home what a call uses. To be called by the service, of which nothing is asked.
pub(crate) fn hold_call(number: usize, arguments: [usize; 6], held: &mut CallInUse<'_>) {
    make_ready(&arguments::uses(Call { number, arguments }, false), held);
}

/// Asks the service for a range, unless this is the service.
fn ask_for(at: usize, len: usize) {
    if bifolio_sys::process::pid() == CONTROL.program() {
        fork::call(Request::Ready(at, len));
    }
}

/// Makes everything that a call uses ready.
pub(crate) fn make_ready(uses: &Uses, held: &mut CallInUse<'_>) {
    for range in uses.ranges() {
        one(range, held);
    }
    for leads in uses.leads.into_iter().flatten() {
        match leads {
            Leads::Vectors { at, count } => vectors(at, count, held),
            Leads::Messages { at, count, size } => messages(at, count, size, held),
            Leads::Strings { at } => strings(at, held),
        }
    }
}

/// Makes a range ready. Nothing is above user space, where the kernel refuses.
pub(crate) fn one(range: Range<usize>, held: &mut CallInUse<'_>) {
    let end = range.end.min(range.start.saturating_add(PIECE)).min(USER_SPACE).next_multiple_of(PAGE);
    let range = range.start & !(PAGE - 1)..end;
    if range.is_empty() {
        return;
    }
    held.hold(&range);
    let mut at = range.start;
    while at < range.end {
        let len = (range.end - at).min(PAGES * PAGE);
        let mut there = [1; PAGES];
        // What is not mapped is for the kernel to refuse, but it transfers what comes before.
        if !mincore(at, len, &mut there) || there[..len / PAGE].iter().any(|byte| byte & 1 == 0) {
            ask_for(at, len);
        }
        at += len;
    }
}

/// Tells whether all of a range is mapped; it has as many pages as are asked for at once, at most.
fn is_mapped(at: usize, len: usize) -> bool {
    mincore(at, len, &mut [0; PAGES])
}

/// Lets all pages of a range be there, up to the first hole: it ends the kernel's call as well.
pub(crate) fn whole(range: Range<usize>) {
    let end = range.end.min(USER_SPACE).next_multiple_of(PAGE);
    let mut at = range.start & !(PAGE - 1);
    while at < end {
        let len = (end - at).min(PAGES * PAGE);
        ask_for(at, len);
        if !is_mapped(at, len) {
            return;
        }
        at += len;
    }
}

fn mincore(at: usize, len: usize, there: &mut [u8; PAGES]) -> bool {
    let number = usize::try_from(libc::SYS_mincore).unwrap_or_default();
    let answer = there.as_mut_ptr().expose_provenance();
    // SAFETY: one byte for each page, and the array has as many.
    unsafe { gate::syscall(number, [at, len, answer, 0, 0, 0]) == 0 }
}

/// Copies bytes of the program that are at home; `false` if they cannot be read.
pub(crate) fn peek<const N: usize>(at: usize, into: &mut [u8; N], len: usize) -> bool {
    let local = [into.as_mut_ptr().expose_provenance(), len.min(N)];
    let remote = [at, len.min(N)];
    let number = usize::try_from(libc::SYS_process_vm_readv).unwrap_or_default();
    let process = usize::try_from(bifolio_sys::process::pid()).unwrap_or_default();
    let arguments = [process, local.as_ptr().addr(), 1, remote.as_ptr().addr(), 1, 0];
    // SAFETY: the kernel writes to the local range only, as many bytes as there are, and checks the other.
    let read = unsafe { gate::syscall(number, arguments) };
    usize::try_from(read).is_ok_and(|read| read == len.min(N))
}

fn word(bytes: &[u8], at: usize) -> usize {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    usize::from_ne_bytes(word)
}

fn vectors(at: usize, count: usize, held: &mut CallInUse<'_>) {
    for (base, len) in elements(at, count.min(ELEMENTS_MOST)) {
        if base != 0 && len > 0 {
            one(base..base.saturating_add(len), held);
        }
    }
}

/// The elements of an array of `iovec`, as far as they can be read: where each begins, and its length.
pub(crate) fn elements(at: usize, count: usize) -> impl Iterator<Item = (usize, usize)> {
    let mut bytes = [0; ELEMENTS * 16];
    (0..count).map_while(move |index| {
        let place = index % ELEMENTS * 16;
        if place == 0 {
            let (start, len) = (at.wrapping_add(index * 16), (count - index).min(ELEMENTS) * 16);
            if !peek(start, &mut bytes, len) {
                ask_for(start, len);
                peek(start, &mut bytes, len).then_some(())?;
            }
        }
        Some((word(&bytes, place), word(&bytes, place + 8)))
    })
}

fn messages(at: usize, count: usize, size: usize, held: &mut CallInUse<'_>) {
    for index in 0..count.min(ELEMENTS_MOST) {
        let mut header = [0; 56];
        if !peek(at.wrapping_add(index * size), &mut header, 56) {
            return;
        }
        let (name, name_len) = (word(&header, 0), word(&header, 8) & 0xffff_ffff);
        let (iov, iov_len) = (word(&header, 16), word(&header, 24));
        let (control, control_len) = (word(&header, 32), word(&header, 40));
        for (at, len) in [(name, name_len), (control, control_len), (iov, iov_len.saturating_mul(16))] {
            if at != 0 && len > 0 {
                one(at..at.saturating_add(len), held);
            }
        }
        vectors(iov, iov_len, held);
    }
}

/// An array of strings. A string is as long as it is, which nothing says beforehand: its pages are made ready one by one.
fn strings(at: usize, held: &mut CallInUse<'_>) {
    for index in 0..ELEMENTS_MOST {
        let mut pointer = [0; 8];
        let place = at.wrapping_add(index * 8);
        one(place..place.saturating_add(8), held);
        if !peek(place, &mut pointer, 8) {
            return;
        }
        let text = usize::from_ne_bytes(pointer);
        if text == 0 {
            return;
        }
        string(text, held);
    }
}

fn string(mut at: usize, held: &mut CallInUse<'_>) {
    loop {
        one(at..at.saturating_add(1), held);
        let len = PAGE - at % PAGE;
        let mut page = [0; PAGE];
        if !peek(at, &mut page, len) || page[..len].contains(&0) {
            return;
        }
        at += len;
    }
}
