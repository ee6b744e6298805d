//! What each design breaks and keeps, and how many states that took.

use bifolio_explore::rules::Rule;
use bifolio_explore::{
    Bounds, BoundsError, Limits, MemoryOrder, Options, OptionsError, Report, Verdict, designs, find,
};

fn report(name: &str) -> Report {
    let design = find(name).expect("a design of that name");
    design.run(&Options::default(), &mut |_| ()).expect("the design's own bounds are good")
}

/// Rules that break, each with the number of steps it takes.
fn broken(report: &Report) -> Vec<(u8, usize)> {
    report.stories().map(|story| (story.rule.number(), story.steps.len())).collect()
}

fn holds(report: &Report, number: u8) -> bool {
    *report.verdict(Rule::known(number)) == Verdict::Holds
}

/// The rules that a Linux design breaks in how many steps, and how many states and levels there are.
fn linux(name: &str) -> (Vec<(u8, usize)>, u64, u32) {
    let report = report(name);
    assert!(report.is_complete(), "{name}");
    (broken(&report), report.states(), report.depth())
}

#[test]
fn mainline_keeps_flags_of_the_last_life_and_nothing_else() {
    let report = report("linux-mainline");
    assert_eq!(broken(&report), [(2, 7), (10, 5), (16, 3)]);
    assert!([1, 3, 4, 5, 6, 7, 8, 9, 11].into_iter().all(|number| holds(&report, number)));
    assert_eq!((report.states(), report.depth()), (437_073, 65));
}

#[test]
fn mainline_that_clears_all_flags_keeps_i2_in_the_same_states() {
    let report = report("linux-mainline-fixed");
    assert_eq!(broken(&report), [(10, 5), (16, 3)]);
    assert!([1, 2, 3, 4, 5, 6, 7, 8, 9, 11].into_iter().all(|number| holds(&report, number)));
    assert_eq!((report.states(), report.depth()), (437_073, 65));
}

/// The last step of the shortest sequence that breaks I2, in a world of some size.
fn flags_that_stay(name: &str, bounds: Bounds) -> (usize, String) {
    let options = Options { bounds: Some(bounds), ..Options::default() };
    let report = find(name).expect("known").run(&options, &mut |_| ()).expect("good bounds");
    let Verdict::Breaks(story) = report.verdict(Rule::known(2)) else { panic!("{name} breaks I2") };
    let last = story.steps.last().expect("a last step");
    (story.steps.len(), last.text.clone())
}

#[test]
fn flags_stay_from_a_large_folio_and_from_any_hot_tenant() {
    let large = flags_that_stay("linux-mainline", Bounds::of(4, 2, 2));
    assert_eq!(large, (7, "init(1, 0): page 1 keeps the flags 0x200 of its last life".to_owned()));
    let tenant = flags_that_stay("linux-mainline", Bounds::of(1, 0, 2));
    assert_eq!(tenant, (7, "init(0, 0): page 0 keeps the flags 0x300 of its last life".to_owned()));
    // Nouveau keeps the sizes apart, so only a hot tenant leaves flags behind.
    let nouveau = flags_that_stay("linux-7.3-nouveau", Bounds::of(4, 2, 2));
    assert_eq!(nouveau.1, "init(0, 9): page 0 keeps the flags 0x300 of its last life");
}

#[test]
fn single_pages_of_6_18_remember_the_pagemap() {
    let report = report("linux-6.18");
    assert_eq!(broken(&report), [(2, 7), (16, 3)]);
    assert!(holds(&report, 5));
}

#[test]
fn names_that_designs_had_before_still_find_them() {
    for (old, new) in [("linux-6.18-nouveau", "linux-6.19-rc-nouveau"), ("linux-6.18-xe", "linux-6.18")] {
        assert_eq!(find(old).map(|entry| entry.name), Some(new));
    }
}

#[test]
fn drivers_break_what_their_lists_and_pages_cannot_do() {
    let nouveau = [(1, 7), (2, 7), (5, 7), (9, 6), (10, 5), (16, 3)];
    assert_eq!(linux("linux-6.19-rc-nouveau").0, nouveau);
    assert_eq!(linux("linux-7.3-nouveau").0, [(2, 7), (9, 6), (10, 5), (16, 3)]);
    assert_eq!(linux("linux-7.3-test-hmm"), linux("linux-7.3-nouveau"));
    assert_eq!(linux("linux-7.3-kfd").0, [(2, 7), (16, 3)]);
}

#[test]
fn v2_leaves_stale_folios_and_its_late_split_hits_a_neighbour() {
    let (broken, states, depth) = linux("linux-v2");
    assert_eq!(broken, [(1, 11), (2, 11), (5, 9), (6, 15), (10, 7), (16, 5)]);
    assert_eq!((states, depth), (915_589, 67));
}

#[test]
fn v3_loses_the_order() {
    let (broken, states, depth) = linux("linux-v3");
    assert_eq!(broken, [(2, 8), (4, 6), (5, 8), (16, 3)]);
    assert_eq!((states, depth), (411_390, 54));
}

#[test]
fn v4_repairs_the_order_and_still_reads_after_folio_free() {
    let report = report("linux-v4");
    assert_eq!(broken(&report), [(2, 8), (5, 8), (16, 3)]);
    assert!(holds(&report, 4) && holds(&report, 10));
}

#[test]
fn v6_reads_after_folio_free_and_leaves_compound_data_on_free_pages() {
    assert_eq!(linux("linux-v6").0, [(2, 7), (5, 7), (10, 5), (16, 3)]);
    assert_eq!(linux("private-offsets"), linux("linux-v6"));
}

#[test]
fn call_for_each_page_loses_the_order_and_the_object() {
    assert_eq!(linux("free-per-page").0, [(2, 8), (4, 6), (5, 8), (7, 6), (16, 3)]);
}

#[test]
fn reset_after_folio_free_wipes_pagemaps_and_pages_of_others() {
    let broken = linux("reset-after-free").0;
    assert_eq!(broken, [(1, 7), (2, 7), (3, 7), (5, 7), (6, 8), (10, 5), (16, 3)]);
}

#[test]
fn driver_that_undoes_the_folio_leaves_the_read_after_folio_free() {
    assert_eq!(linux("undo-in-driver").0, [(2, 7), (5, 7), (16, 3)]);
}

#[test]
fn split_on_free_breaks_nothing_but_teardown() {
    let report = report("split-on-free");
    assert_eq!(broken(&report), [(16, 3)]);
    assert!(holds(&report, 2) && holds(&report, 10));
    assert_eq!(report.states(), 161_059);
}

#[test]
fn reuse_without_reset_finds_locks_orders_and_links_of_the_last_life() {
    assert_eq!(linux("reuse-without-reset").0, [(1, 7), (2, 7), (3, 7), (5, 7), (10, 5), (16, 3)]);
}

#[test]
fn split_without_references_frees_an_object_under_live_folios() {
    assert_eq!(linux("split-without-references").0, [(2, 7), (7, 5), (10, 5), (16, 3)]);
}

/// What a Linux design breaks in a world of two pages with an order of memory.
fn with_order(name: &str, memory_order: MemoryOrder) -> Vec<(u8, usize)> {
    let options = Options { bounds: Some(Bounds::of(2, 1, 2)), memory_order, ..Options::default() };
    broken(&find(name).expect("known").run(&options, &mut |_| ()).expect("a design of folios"))
}

#[test]
fn hand_back_without_a_barrier_breaks_rules_with_a_weak_order_of_memory_only() {
    let split = [(1, 8), (2, 8), (3, 8), (5, 8), (6, 9), (10, 6), (16, 3)];
    assert_eq!(with_order("split-without-barrier", MemoryOrder::Weak), split);
    assert_eq!(with_order("split-without-barrier", MemoryOrder::Sequential), [(16, 3)]);
    let mainline = [(5, 7), (6, 8), (10, 5), (16, 3)];
    assert_eq!(with_order("mainline-without-barrier", MemoryOrder::Weak), mainline);
    assert_eq!(with_order("mainline-without-barrier", MemoryOrder::Sequential), [(10, 5), (16, 3)]);
}

#[test]
fn designs_that_hand_back_in_order_break_the_same_with_any_order_of_memory() {
    let ordered = designs().iter().filter(|entry| entry.takes_memory_order());
    for entry in ordered.filter(|entry| !entry.name.ends_with("-without-barrier")) {
        let [sequential, weak] = MemoryOrder::ALL.map(|order| with_order(entry.name, order));
        assert_eq!(sequential, weak, "{}", entry.name);
    }
}

#[test]
fn weak_order_of_memory_is_for_designs_of_folios() {
    let options = Options { memory_order: MemoryOrder::Weak, ..Options::default() };
    let refused = find("bifolio").expect("known").run(&options, &mut |_| ()).err();
    assert_eq!(refused, Some(OptionsError::MemoryOrder { design: "bifolio" }));
}

#[test]
fn migration_of_7_3_breaks_nothing() {
    assert_eq!(linux("linux-7.3-migrate"), (Vec::new(), 46_762, 32));
}

#[test]
fn each_fault_of_migration_breaks_its_rules_and_no_other() {
    let faults: [(&str, &[(u8, usize)]); 11] = [
        ("nouveau-7.3-migrate", &[(12, 4), (14, 10)]),
        ("nouveau-6.19-rc-migrate", &[(12, 4), (14, 10), (20, 11)]),
        ("migrate-counts-slots", &[(13, 1)]),
        ("migrate-without-fallback", &[(19, 8)]),
        ("migrate-reads-after-put", &[(17, 8)]),
        ("migrate-caller-frees", &[(7, 7), (23, 7)]),
        ("migrate-without-mark", &[(28, 14)]),
        ("migrate-keeps-table-lock", &[(18, 5)]),
        ("migrate-keeps-mm", &[(18, 3)]),
        ("migrate-waits-for-locks", &[(24, 11)]),
        ("migrate-unchecked", &[(26, 9)]),
    ];
    for (name, breaks) in faults {
        assert_eq!(linux(name).0, breaks, "{name}");
    }
}

#[test]
fn gpu_buddy_grants_every_order_that_is_free_because_it_merges_by_force() {
    assert_eq!(linux("linux-7.3-gpu-buddy").0, []);
    assert_eq!(linux("gpu-buddy-unmerged").0, [(9, 3)]);
}

#[test]
fn buddy_that_loses_its_notes_hands_out_old_bytes_as_clear() {
    let report = report("buddy-dirty-lost");
    assert_eq!(broken(&report), [(22, 4)]);
    assert!(holds(&report, 9));
}

#[test]
fn both_bifolio_designs_keep_every_rule() {
    for name in ["bifolio", "bifolio-reinit"] {
        let options = Options { bounds: Some(Bounds::of(1, 0, 2)), ..Options::default() };
        let report = find(name).expect("known").run(&options, &mut |_| ()).expect("good bounds");
        assert_eq!(broken(&report), [], "{name}");
        assert!(report.is_complete(), "{name}");
        let kept = |verdict: &Verdict| matches!(verdict, Verdict::Holds | Verdict::ByConstruction(_));
        assert!(report.verdicts.iter().all(|(_, verdict)| kept(verdict)), "{name}");
    }
}

#[test]
fn worlds_of_shipped_folios_have_so_many_states() {
    let explored = |name, full| {
        let (bounds, limits) = (Some(Bounds::of(4, 2, 3)), Limits { full, ..Limits::default() });
        let options = Options { bounds, limits, world: Some("folios".to_owned()), ..Options::default() };
        let report = find(name).expect("known").run(&options, &mut |_| ()).expect("good bounds");
        assert_eq!((report.breaks(), report.parts.len()), (false, 1));
        report.states()
    };
    let both = |name| [explored(name, true), explored(name, false)];
    assert_eq!(both("bifolio"), [5_375, 5_119]);
    assert_eq!(both("bifolio-reinit"), [242_905, 208_961]);
}

#[test]
fn world_that_a_design_does_not_have_is_refused() {
    let options = Options { world: Some("blocks".to_owned()), ..Options::default() };
    let refused = find("linux-v3").expect("known").run(&options, &mut |_| ()).err();
    assert!(matches!(refused, Some(OptionsError::World { design: "linux-v3", .. })), "{refused:?}");
}

#[test]
fn names_of_designs_are_distinct() {
    let names = designs().iter().flat_map(|design| design.aliases.iter().chain([&design.name]));
    let mut names: Vec<_> = names.collect();
    let all = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), all);
}

#[test]
fn result_does_not_depend_on_the_number_of_threads() {
    let one = report("linux-v3");
    let options = Options { limits: Limits { threads: 3, ..Limits::default() }, ..Options::default() };
    let three = find("linux-v3").expect("known").run(&options, &mut |_| ()).expect("good bounds");
    assert_eq!(one.verdicts, three.verdicts);
    assert_eq!((one.states(), one.depth()), (three.states(), three.depth()));
}

#[test]
fn too_little_memory_leaves_verdicts_open() {
    let options = Options { limits: Limits { bytes: 1 << 20, ..Limits::default() }, ..Options::default() };
    let report = find("linux-v4").expect("known").run(&options, &mut |_| ()).expect("good bounds");
    assert!(!report.is_complete());
    assert_eq!(*report.verdict(Rule::known(1)), Verdict::Unfinished);
    assert!(report.rows().all(|row| row.holds != Some(true)));
}

#[test]
fn worlds_that_cannot_be_are_refused() {
    let run = |bounds| designs()[0].run(&Options { bounds: Some(bounds), ..Options::default() }, &mut |_| ());
    assert_eq!(run(Bounds::of(9, 0, 1)).err(), Some(OptionsError::Bounds(BoundsError::Pages)));
    assert_eq!(run(Bounds::of(6, 2, 1)).err(), Some(OptionsError::Bounds(BoundsError::Order)));
    assert_eq!(run(Bounds::of(4, 2, 4)).err(), Some(OptionsError::Bounds(BoundsError::Actors)));
}

#[test]
fn story_shows_actors_words_and_the_rule() {
    let report = report("linux-v3");
    let Verdict::Breaks(story) = report.verdict(Rule::known(4)) else { panic!("v3 loses the order") };
    let text = story.to_string();
    for part in
        ["linux-v3 breaks I4", "init(0, 9)", "+ page 1: refs 0 flags 0x209 info head=0", "=> breaks I4"]
    {
        assert!(text.contains(part), "{part} in\n{text}");
    }
    assert!(story.dot().starts_with("digraph \"linux-v3 I4\""));
}

#[test]
fn rows_have_one_entry_for_each_rule() {
    let rows: Vec<_> = report("linux-v3").rows().collect();
    assert_eq!(rows.len(), 28);
    let row = serde_json::to_value(&rows[3]).expect("plain data");
    assert_eq!(
        (&row["design"], &row["rule"], &row["holds"]),
        (&"linux-v3".into(), &"I4".into(), &false.into())
    );
    assert_eq!(row["steps"].as_array().map(Vec::len), Some(6));
    assert!(serde_json::to_value(&rows[26]).expect("plain data")["holds"].is_null());
}
