//! Strings of faults, and the walks that are found in them.

use alloc::collections::BTreeSet;

use bifolio_folio::PAGE_SHIFT;

use super::*;

fn steps(streams: &mut Streams, pages: impl IntoIterator<Item = u64>) -> Vec<(u8, i64)> {
    let step = |page| {
        let Step { trust, stride, .. } = streams.step(0, page * PAGE);
        (trust, stride / PAGE.cast_signed())
    };
    pages.into_iter().map(step).collect()
}

#[test]
fn trust_in_a_dense_walk_grows_with_its_steps() {
    let mut streams = Streams::new();
    assert_eq!(steps(&mut streams, 100..104), [(0, 0), (1, 1), (2, 1), (3, 1)]);
    assert_eq!(steps(&mut streams, [99_000, 98_999, 98_998]), [(0, 0), (1, -1), (2, -1)]);
}

#[test]
fn a_stride_is_trusted_when_it_is_seen_again() {
    let mut streams = Streams::new();
    let pages = (0..5).map(|at| 1000 + at * 20);
    assert_eq!(steps(&mut streams, pages), [(0, 0), (0, 20), (1, 20), (2, 20), (3, 20)]);
}

#[test]
fn walks_side_by_side_are_told_apart() {
    let mut streams = Streams::new();
    let pages = (0..6).flat_map(|at| [1 << 20, 2 << 20, 3 << 20].map(|base| base + at));
    let found = steps(&mut streams, pages);
    assert_eq!(found[15..], [(5, 1); 3]);
}

#[test]
fn a_step_may_leave_out_what_was_brought_ahead() {
    let mut streams = Streams::new();
    steps(&mut streams, [0, 20]);
    let step = streams.step(0, 40 * PAGE);
    let ahead = streams.run_ahead(step, 64).expect("a strided walk");
    assert_eq!((ahead.first >> PAGE_SHIFT, ahead.count), (60, 2));
    assert_eq!(steps(&mut streams, [40 + 3 * 20]), [(2, 20)]);
    let step = streams.step(0, PAGE << 30);
    streams.brings(step, (1 << 30)..(1 << 30) + 16);
    assert_eq!(steps(&mut streams, [(1 << 30) + 16]), [(1, 1)]);
}

#[test]
fn what_left_unused_costs_the_walk_trust_that_brought_it() {
    let mut streams = Streams::new();
    steps(&mut streams, 100..109);
    streams.distrust(112, Coming::Prefetch);
    assert_eq!(steps(&mut streams, [109]), [(8, 1)], "nothing was brought ahead of it");
    streams.distrust(112, Coming::Fault);
    assert_eq!(steps(&mut streams, [110]), [(5, 1)]);
}

#[test]
fn walk_that_begins_again_is_trusted_at_once() {
    let mut streams = Streams::new();
    steps(&mut streams, (0..6).map(|at| 1000 + at * 20));
    assert_eq!(steps(&mut streams, [1001, 1021, 1002]), [(5, 20), (6, 20), (7, 20)]);
    steps(&mut streams, 50_000..50_006);
    assert_eq!(steps(&mut streams, [50_000, 50_001]), [(6, 1), (7, 1)], "the next pass of a loop");
}

#[test]
fn page_that_left_before_it_was_used_is_no_walk_that_begins_again() {
    let mut streams = Streams::new();
    steps(&mut streams, (0..6).map(|at| 1000 + at * 20));
    // What is brought ahead at the second fault may have taken the page's place: it must not come again for ever.
    let trusts: Vec<u8> = steps(&mut streams, [1001; 4]).into_iter().map(|(trust, _)| trust).collect();
    assert_eq!(trusts, [5, 0, 0, 0]);
}

#[test]
fn walk_goes_on_behind_pages_that_are_there() {
    let mut streams = Streams::new();
    steps(&mut streams, (0..5).map(|at| 1000 + at * 20));
    assert_eq!(steps(&mut streams, [1080 + 50 * 20]), [(4, 20)]);
    assert_eq!(steps(&mut streams, [2080 + 100 * 20])[0].0, 0, "too far");
}

#[test]
fn walk_that_leaves_pages_out_earns_no_trust_for_one_that_does_not() {
    let mut streams = Streams::new();
    steps(&mut streams, (0..8).map(|at| 1000 + at * 20));
    assert_eq!(steps(&mut streams, [1141]), [(1, 1)]);
}

#[test]
fn strided_walk_is_no_dense_one_where_much_is_brought_and_nothing_tells_that_it_is_not_used() {
    let mut streams = Streams::of(&Memory { blind: true, ..Memory::device(1 << 16) });
    let mut trusted = 0;
    for at in 0..200_u64 {
        let page = at * 530;
        let step = streams.step(0, page * PAGE);
        streams.brings(step, page & !511..(page & !511) + 512);
        trusted += u64::from(step.trust > 0 && !step.is_strided());
    }
    assert_eq!(trusted, 0);
}

#[test]
fn scattered_faults_are_no_walk() {
    let mut streams = Streams::new();
    let pages = (0..100u64).map(|at| (at * 7919 % 1009) << 20);
    assert!(steps(&mut streams, pages).iter().all(|(trust, _)| *trust == 0));
}

#[test]
fn walk_that_has_ended_is_forgotten_while_scattered_faults_go_on() {
    let mut streams = Streams::new();
    // A pass over 64 MiB, which brings 2 MiB at its last steps.
    for page in [0, 1, 5, 21, 85, 341, 512, 1024, 1536].into_iter().chain((4..32).map(|at| at * 512)) {
        let step = streams.step(0, page * PAGE);
        streams.brings(step, page..(page + 1).next_multiple_of(1 << (2 * step.trust).min(9)));
    }
    let scattered = (1..4000u64).map(|at| (at * at).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 50);
    let mut brought = 0;
    for page in scattered {
        let step = streams.step(0, page * PAGE);
        let pages = 1 << (2 * step.trust).min(9);
        streams.brings(step, page & !(pages - 1)..(page & !(pages - 1)) + pages);
        brought += pages;
    }
    assert!(brought < 2 * 4000, "{brought} pages");
}

#[test]
fn scattered_faults_are_no_walk_however_much_is_brought() {
    let mut streams = Streams::new();
    let scattered = (1..200u64).map(|at| (at * at).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 44);
    for page in scattered {
        let step = streams.step(0, page * PAGE);
        assert!(step.trust <= 1, "page {page}: {step:?}");
        streams.brings(step, page & !63..(page & !63) + 64);
    }
}

/// A row of a matrix of 2,000 doubles.
const ROW: u64 = 16_000;
const START: u64 = (10 << 30) + 1_234;

/// Faults of touches, where what was brought ahead is there; and the pages that were brought ahead.
fn walk(streams: &mut Streams, touches: impl IntoIterator<Item = u64>) -> (usize, BTreeSet<u64>) {
    let (mut faults, mut there, mut ahead) = (0, BTreeSet::new(), BTreeSet::new());
    for address in touches {
        if !there.insert(page_of(address)) {
            continue;
        }
        faults += 1;
        let step = streams.step(0, address);
        streams.brings(step, page_of(address)..page_of(address) + 1);
        let parts = streams.run_ahead(step, 64).into_iter().flat_map(Prefetch::parts);
        let pages = parts.flat_map(|part| page_of(part.start as u64)..page_of(part.end as u64));
        pages.for_each(|page| _ = there.insert(page) && ahead.insert(page));
    }
    (faults, ahead)
}

#[test]
fn walk_of_no_whole_number_of_pages_is_predicted_exactly() {
    let mut streams = Streams::new();
    let touched: Vec<u64> = (0..2_000).map(|row| START + row * ROW).collect();
    let (faults, ahead) = walk(&mut streams, touched.iter().copied());
    assert!(faults < 40, "{faults} faults");
    let end = START + 1_999 * ROW;
    let touched: BTreeSet<u64> = touched.into_iter().map(page_of).collect();
    let within: Vec<_> = ahead.into_iter().filter(|page| *page <= page_of(end)).collect();
    assert!(within.iter().all(|page| touched.contains(page)));
    assert!(within.len() > 1_960, "{}", within.len());
}

#[test]
fn each_column_in_turn_is_followed_from_its_first_fault() {
    let mut streams = Streams::new();
    walk(&mut streams, (0..2_000).map(|row| START + row * ROW));
    for column in 1..10 {
        // Nothing of the column before is there any more.
        let touches = (0..2_000).map(|row| START + column * 800 + row * ROW);
        let (faults, _) = walk(&mut streams, touches);
        assert!(faults <= 2_000 / 64 + 2, "column {column}: {faults} faults");
    }
}

#[test]
fn step_that_reaches_into_the_next_page_brings_both() {
    let mut streams = Streams::new();
    // Eight rows at a time, 3,000 bytes of each, as a product of matrices reads them.
    let touches = (0..250).flat_map(|panel| {
        let place = move |at| (0..8).map(move |row| START + (panel * 8 + row) * ROW + at);
        (0..3_000).step_by(8).flat_map(place)
    });
    // A vector is read whole: what reaches over is touched at the very beginning of the page.
    let touches =
        touches.map(|address| if address % PAGE > PAGE - 8 { (address | (PAGE - 1)) + 1 } else { address });
    let (faults, ahead) = walk(&mut streams, touches);
    assert!(faults < 80, "{faults} faults");
    assert!(ahead.len() < 2_000 * 7 / 4 + 128, "{} pages", ahead.len());
}

#[test]
fn walk_whose_first_pages_are_there_begins_again_at_the_next_ones() {
    let mut streams = Streams::new();
    let touches = (0..500).flat_map(|row| [0, 1_400].map(|at| START + row * ROW + at));
    let first_pages: BTreeSet<u64> = touches.clone().map(page_of).collect();
    walk(&mut streams, touches.map(at_beginning));
    let again = (0..500).flat_map(|row| [1_500, 2_900].map(|at| START + row * ROW + at));
    let missing = again.filter(|address| !first_pages.contains(&page_of(*address))).map(at_beginning);
    let count = missing.clone().count();
    let (faults, _) = walk(&mut streams, missing);
    assert!(count > 150 && faults < 25, "{faults} of {count}");
}

/// Where a page is touched first by what reads on from the page before.
fn at_beginning(address: u64) -> u64 {
    if address % PAGE < 1_400 { address & !(PAGE - 1) } else { address }
}

#[test]
fn scattered_addresses_are_no_walk_of_an_uneven_stride() {
    // Anywhere, and at objects of a size whose multiples are all equal strides.
    for size in [16, 4_360] {
        let mut streams = Streams::of(&Memory { blind: true, ..Memory::device(1 << 16) });
        let draw = |at: u64| (at * at).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
        let addresses = (1..4_000).map(|at| START + draw(at) % ((64 << 20) / size) * size);
        let (faults, ahead) = walk(&mut streams, addresses);
        assert!(ahead.len() * 10 < faults, "size {size}: {} pages ahead of {faults} faults", ahead.len());
    }
}

#[test]
fn dense_walk_is_no_part_of_a_wide_stride() {
    let mut streams = Streams::new();
    let far = 7_135_600;
    (0..4).for_each(|at| _ = streams.step(0, START + at * far));
    let beginning = (START + 3 * far) & !(PAGE - 1);
    let steps: Vec<Step> = (1..32).map(|page| streams.step(0, beginning + page * PAGE)).collect();
    assert!(steps[8..].iter().all(|step| is_dense(step.stride)), "{steps:?}");
}

#[test]
fn step_that_leaves_pages_out_is_dense_at_the_beginning_of_a_page_only() {
    for (place, trust) in [(100, 2), (2_000, 0)] {
        let mut streams = Streams::new();
        steps(&mut streams, [1_000]);
        let step = streams.step(0, 1_001 * PAGE);
        streams.brings(step, 1_000..1_004);
        assert_eq!(streams.step(0, 1_006 * PAGE + place).trust, trust);
    }
}
