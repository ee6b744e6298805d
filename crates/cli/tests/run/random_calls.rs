//! Random memory calls under pressure answer as without Bifolio, and leave the same bytes.
//!
//! `BIFOLIO_MEMORY_CALLS=1000000` makes so many calls by each user in each size of memory, in runs of `BIFOLIO_MEMORY_RUN` (1000)
//! with seeds from `BIFOLIO_MEMORY_SEED` (1) on.

use std::io::Write;
use std::process::Output;

use crate::command::skip;
use crate::compiled::{Compiled, User};

/// Calls of one run, and by each user in each size of memory, if nothing else is said.
const RUN: u64 = 1000;
const CALLS: u64 = 3 * RUN;
/// Pages of the region on which most calls are made, the program's memory, and what else it is told: with threads, one reads the
/// region and one uses pages of its own meanwhile.
const SIZES: [(&str, &str, Option<&str>); 5] = [
    ("512", "1M", None),
    ("512", "1M", Some("threads")),
    ("1024", "4M", None),
    ("4096", "4M", None),
    ("4096", "8M", None),
];

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().expect("a number"))
}

/// How a run differs from the plain one, in words; `None` if it does not.
fn difference(plain: &Output, managed: &Output) -> Option<String> {
    if (&plain.stdout, plain.status) == (&managed.stdout, managed.status) {
        return None;
    }
    let [plain_text, managed_text, said] =
        [&plain.stdout, &managed.stdout, &managed.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    let first = plain_text.lines().zip(managed_text.lines()).find(|(plain, managed)| plain != managed);
    let ends = format!("{} and {}", plain.status, managed.status);
    Some(format!("first lines that differ, plain and managed: {first:?}; ended by {ends}; {said}"))
}

#[test]
fn random_calls_answer_as_without_bifolio() {
    let test = "random_calls_answer_as_without_bifolio";
    let Some(program) = Compiled::new(test, "memory_calls", &[]) else { return };
    let run = number("BIFOLIO_MEMORY_RUN", RUN);
    let (first, runs) =
        (number("BIFOLIO_MEMORY_SEED", 1), number("BIFOLIO_MEMORY_CALLS", CALLS).div_ceil(run));
    let (mut made, mut differ) = (0, 0);
    for (user, size) in User::all(test).into_iter().flat_map(|user| SIZES.map(|size| (user, size))) {
        let (pages, ram, threads) = size;
        for seed in first..first + runs {
            let arguments = [run.to_string(), seed.to_string(), pages.to_owned()];
            let plain = program.plain(user).args(&arguments).args(threads).output().expect("it can be run");
            let mut command = program.managed(user, &["--ram", ram, "--vram", "256M"]);
            let managed = command.args(&arguments).args(threads).output().expect("it can be run");
            if managed.status.code() == Some(3) {
                return skip(test, &String::from_utf8_lossy(&managed.stderr));
            }
            made += run;
            let Some(what) = difference(&plain, &managed) else { continue };
            differ += 1;
            let again = format!(
                "BIFOLIO_MEMORY_SEED={seed} BIFOLIO_MEMORY_RUN={run} cargo test -p bifolio --test run random"
            );
            writeln!(std::io::stderr(), "{user:?} user, {size:?}, `{again}`: {what}")
                .expect("standard error is there");
        }
    }
    assert!(differ == 0, "{differ} of {} runs, {made} calls, differ; see above", made / run);
}
