//! Runs one case, so that its instructions can be counted, and prints how many calls it made.
//!
//! usage: `count CASE`; without a case, it lists them. `scripts/count-instructions.sh` runs it under callgrind, which
//! counts only what is done inside `measured`.

use std::process::ExitCode;

use bifolio_buddy::Buddy;
use bifolio_buddy_cases::trace::{LIVE, POOL, Trace};
use bifolio_buddy_cases::{contiguous, fragmented};

/// A case of the list, which returns the calls it made.
type Case = fn() -> u64;

const CASES: [(&str, Case); 4] = [
    ("mixed", || measured(Trace::new(1, LIVE, 200_000), |trace| trace.run::<Buddy>(POOL).calls)),
    ("fragmented.alloc", || measured((), |()| calls(fragmented::ALLOC_CALLS, fragmented::alloc))),
    ("fragmented.reverse_free", || {
        measured((), |()| calls(fragmented::REVERSE_FREE_CALLS, fragmented::reverse_free))
    }),
    ("contiguous", || measured((), |()| contiguous::contiguous(1, 50_000))),
];

fn calls<T>(calls: u64, case: fn() -> T) -> u64 {
    case();
    calls
}

/// Runs what is to be counted. Its name is what the script tells callgrind, so it must stay a function of its own.
#[inline(never)]
fn measured<I>(input: I, case: fn(I) -> u64) -> u64 {
    // The result is looked at after the call, so that it cannot become a jump, which callgrind takes for a return.
    std::hint::black_box(case(input))
}

#[expect(clippy::print_stdout, reason = "a program's output")]
fn main() -> ExitCode {
    let Some(name) = std::env::args().nth(1) else {
        CASES.iter().for_each(|(name, _)| println!("{name}"));
        return ExitCode::SUCCESS;
    };
    match CASES.iter().find(|(case, _)| *case == name) {
        Some((_, case)) => {
            println!("{}", case());
            ExitCode::SUCCESS
        }
        None => ExitCode::from(2),
    }
}
