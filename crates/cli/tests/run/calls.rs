//! Calls answer and do what they do without Bifolio, on memory of which most is away, as root and as an ordinary user.

use crate::compiled::same_for_each_user;

#[test]
fn every_call_finds_its_memory() {
    let program = ("system_calls", &["-O2", "-D_FORTIFY_SOURCE=2"][..]);
    same_for_each_user("every_call_finds_its_memory", program, "6M", &[]);
}

/// Guards, what children find, moves of several mappings, locks: the kernel tells nothing of them by itself.
#[test]
fn advice_moves_and_locks_leave_what_they_leave_without_bifolio() {
    let test = "advice_moves_and_locks_leave_what_they_leave_without_bifolio";
    same_for_each_user(test, ("memory_advice", &[]), "6M", &[]);
}

#[test]
fn threads_that_wait_in_calls_get_what_they_wait_for() {
    let test = "threads_that_wait_in_calls_get_what_they_wait_for";
    same_for_each_user(test, ("blocked_calls", &[]), "8M", &[]);
}

/// The second of two faults of one page is answered when the page may have left again.
#[test]
fn pages_that_threads_touch_at_once_hold_what_they_held() {
    let test = "pages_that_threads_touch_at_once_hold_what_they_held";
    for pages in ["600", "1024", "2048"] {
        same_for_each_user(test, ("same_pages", &[]), "2M", &[pages, "5000"]);
    }
}

#[test]
fn every_advice_has_its_answer_and_effect_at_each_alignment_and_hole() {
    let test = "every_advice_has_its_answer_and_effect_at_each_alignment_and_hole";
    same_for_each_user(test, ("removals", &[]), "4M", &[]);
}

#[test]
fn more_than_may_be_resident_is_protected_locked_and_cleared() {
    let test = "more_than_may_be_resident_is_protected_locked_and_cleared";
    same_for_each_user(test, ("protections", &[]), "6M", &[]);
}

#[test]
fn descriptors_are_closed_and_name_spaces_left_as_without_bifolio() {
    let test = "descriptors_are_closed_and_name_spaces_left_as_without_bifolio";
    same_for_each_user(test, ("descriptors", &[]), "6M", &[]);
}

#[test]
fn handlers_have_their_stacks_and_may_jump_away() {
    same_for_each_user("handlers_have_their_stacks_and_may_jump_away", ("signals", &[]), "6M", &[]);
}

/// While it faults, a thread wakes on the processor of the service: it must not see that, and hand it on to no child.
#[test]
fn affinities_are_those_of_the_program() {
    same_for_each_user("affinities_are_those_of_the_program", ("affinities", &[]), "8M", &[]);
}

/// What the service allocated lay in a hole of the program's memory, and was overwritten: it waited for its own fault.
#[test]
fn addresses_that_the_program_freed_stay_free() {
    same_for_each_user("addresses_that_the_program_freed_stay_free", ("holes", &[]), "8M", &[]);
}

/// Each call once read the list of all mappings, which made minutes of it.
#[test]
fn many_mappings_are_locked_and_moved_in_time() {
    same_for_each_user("many_mappings_are_locked_and_moved_in_time", ("many_mappings", &[]), "12M", &[]);
}
