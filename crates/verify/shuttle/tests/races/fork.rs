//! A fork against faults, moves to the device, and allocations.

use bifolio_shuttle::runner::explore;
use bifolio_shuttle::simulation::process::Process;

use crate::scenario::word;

/// A program of two threads, with system memory for half of its pages, forks twice.
pub fn forks_under_pressure() {
    let process = Process::new(6, 3);
    let uses = |process: &Process, pages: &[usize], word| {
        for &page in pages {
            process.write(page, word);
            process.read(page, word);
        }
    };
    process.run(&[
        &|process| uses(process, &[0, 1, 2, 3, 4, 0], word::FIRST),
        &|process| uses(process, &[5, 3, 1, 0, 2, 5], word::SECOND),
        &|process| {
            process.fork();
            process.fork();
        },
    ]);
}

#[test]
fn nothing_moves_during_a_fork_and_the_child_gets_all_bytes() {
    explore(forks_under_pressure);
}
