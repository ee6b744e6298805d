//! `bifolio replay --what-if`: misses by the size of the memory.

use std::io::{self, Write};

use bifolio_folio::PAGE_SIZE;
use bifolio_replay::{Link, Point, PolicyCurve, ReplayError, Requests, miss_curve, policy_curve, sizes};
use bifolio_report::Curve;
use console::Style;
use serde::Serialize;

use crate::figures::{bytes, grouped};
use crate::replay::ReplayCommandError;
use crate::replay::args::ReplayArgs;
use crate::table;

/// How many points of a curve are drawn.
const DRAWN: u64 = 128;

/// Misses by size.
#[derive(Debug, Serialize)]
struct WhatIf {
    /// Touches of the side whose memory is limited.
    touches: u64,
    /// Bytes beyond which nothing misses less, of pages of 4 KiB under LRU.
    enough: u64,
    curves: Vec<PolicyCurve>,
}

/// Tells and draws the misses by size.
///
/// # Errors
///
/// See [`ReplayCommandError`].
pub fn tell(args: &ReplayArgs, requests: &Requests, link: Link) -> Result<(), ReplayCommandError> {
    let curve = miss_curve(requests)?;
    let sizes = sizes(&curve);
    let at = |pages: u64| Point {
        memory: pages * PAGE_SIZE,
        misses: curve.misses(pages),
        bytes_moved: curve.misses(pages) * PAGE_SIZE,
    };
    let lru = PolicyCurve {
        policy: "lru, 4 KiB".to_owned(),
        points: sizes.iter().map(|pages| at(*pages)).collect(),
    };
    let simulated = args.policy.iter().map(|policy| policy_curve(requests, *policy, &sizes, link));
    let curves = std::iter::once(Ok(lru)).chain(simulated).collect::<Result<Vec<_>, ReplayError>>()?;
    let what_if = WhatIf { touches: curve.touches(), enough: curve.largest() * PAGE_SIZE, curves };
    if let Some(path) = &args.svg {
        let fine: Vec<Point> = (0..=DRAWN).map(|part| at(curve.largest() * part / DRAWN)).collect();
        let picture = draw(&what_if, &fine);
        std::fs::write(path, picture)
            .map_err(|source| ReplayCommandError::Write { path: path.clone(), source })?;
    }
    let mut out = io::stdout().lock();
    if args.json {
        serde_json::to_writer(&mut out, &what_if).map_err(io::Error::from)?;
        writeln!(out)?;
    } else {
        print(&mut out, &what_if)?;
    }
    Ok(())
}

fn print(out: &mut impl Write, what_if: &WhatIf) -> io::Result<()> {
    let (touches, enough) = (grouped(what_if.touches), bytes(what_if.enough));
    writeln!(out, "Misses of {touches} touches of pages; beyond {enough} lru misses no less\n")?;
    let mut table = table::plain();
    let names = what_if.curves.iter().map(|curve| curve.policy.as_str());
    let heads = std::iter::once("memory").chain(names);
    table.add_row(heads.map(comfy_table::Cell::new).collect::<Vec<_>>());
    for (number, point) in what_if.curves[0].points.iter().enumerate() {
        let misses = what_if.curves.iter().map(|curve| grouped(curve.points[number].misses));
        let cells = std::iter::once(bytes(point.memory)).chain(misses);
        table.add_row(cells.map(comfy_table::Cell::new).collect::<Vec<_>>());
    }
    table::print(out, &mut table, |_| Style::new())?;
    writeln!(out, "\nlru: by one pass; others: replayed in each size. A policy that brings larger")?;
    writeln!(out, "folios misses less often, and moves more at a time.")
}

fn draw(what_if: &WhatIf, fine: &[Point]) -> String {
    let share = |point: &Point| (point.memory, point.misses as f64 / what_if.touches.max(1) as f64);
    let named = |name: &str, points: &[Point]| Curve {
        name: name.to_owned(),
        points: points.iter().map(share).collect(),
    };
    let (lru, others) = what_if.curves.split_first().expect("that of lru");
    let others = others.iter().map(|curve| named(&curve.policy, &curve.points));
    let curves: Vec<Curve> = std::iter::once(named(&lru.policy, fine)).chain(others).collect();
    bifolio_report::miss_ratio_svg(&curves)
}
