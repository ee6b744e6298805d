//! What a job prints for people: what it worked on, what it found, whether that is right, what moved, and why so much.

use std::io::{self, Write};

use bifolio_demo::verify::RANK_TOLERANCE;
use bifolio_folio::MemoryKind;
use console::{StyledObject, style};

use crate::amount::Amount;
use crate::args::JobArgs;
use crate::demo::Asked;
use crate::demo::job::{Done, Found, Job};
use crate::demo::plan::Plan;
use crate::demo::result::{Near, Rows};
use crate::figures::{bytes, counted, grouped, percent};
use crate::printable::{printable, short_name};
use crate::report::Figures;
use crate::report::text::{Setting, print_job};

/// Writes all of it.
///
/// # Errors
///
/// If writing fails.
pub fn print(
    out: &mut impl Write,
    asked: &Asked<'_>,
    done: &Done,
    rows: &Rows,
    near: &[Near],
) -> io::Result<()> {
    let plan = asked.plan;
    print_setting(out, asked)?;
    writeln!(out)?;
    rows.print(out)?;
    print_near(out, near)?;
    writeln!(out, "\n{}", verdict(done))?;
    done.buffers.iter().try_for_each(|buffers| buffers.print(out))?;
    writeln!(out)?;
    let setting = Setting { data: plan.data, plain: done.plain, checked: plan.checked };
    print_job(out, &done.figures, &setting)?;
    for violation in &done.violations {
        writeln!(out, "rule broken: {violation}")?;
    }
    print_hint(out, plan, &done.figures)?;
    out.flush()
}

/// How many nodes are shown with what is close to them.
const NEAR_SHOWN: usize = 3;

fn print_near(out: &mut impl Write, near: &[Near]) -> io::Result<()> {
    if near.is_empty() {
        return Ok(());
    }
    let shown = &near[..near.len().min(NEAR_SHOWN)];
    writeln!(out, "\nClosest to the {} that point to most:", counted(near.len() as u64, "node"))?;
    for Near { node, nearest } in shown {
        let names: Vec<String> =
            nearest.iter().map(|(name, rank)| format!("{} {rank:.4}", short_name(name))).collect();
        writeln!(out, "  {}: {}", short_name(node), names.join(", "))?;
    }
    if near.len() > shown.len() { writeln!(out, "  (--json has all)") } else { Ok(()) }
}

/// Says what the job works on, and in how much memory.
fn print_setting(out: &mut impl Write, asked: &Asked<'_>) -> io::Result<()> {
    let Asked { args, job, input, plan } = asked;
    let graph = &input.graph;
    let (nodes, edges) = (counted(graph.nodes() as u64, "node"), counted(graph.edges() as u64, "edge"));
    let title = printable(&input.title);
    match job {
        Job::PageRank { settings, .. } => {
            writeln!(
                out,
                "PageRank of {title}: {nodes}, {edges}, {}",
                counted(settings.rounds.into(), "round")
            )?;
        }
        Job::Bfs { root } => {
            let root = short_name(graph.names().get(*root).unwrap_or("?"));
            writeln!(out, "Search of {title}: {nodes}, {edges}, from {root}")?;
        }
    }
    if let Some((from, to)) = &input.heading {
        writeln!(out, "heading left out: {} {}", short_name(from), short_name(to))?;
    }
    if input.repeated > 0 {
        writeln!(out, "repeated edges left out: {}", grouped(input.repeated as u64))?;
    }
    print_memory(out, args, plan)
}

fn print_memory(out: &mut impl Write, args: &JobArgs, plan: &Plan) -> io::Result<()> {
    let share = match args.vram {
        Amount::Share { parts, whole } => format!(" ({parts}/{whole})"),
        Amount::Bytes(_) => String::new(),
    };
    let (data, vram, kind) = (bytes(plan.data), bytes(plan.vram), plan.kind_name());
    match (plan.devices.get(), plan.units.get() as u64) {
        (1, units) => {
            let units = counted(units, "device unit");
            writeln!(out, "{data} of data, {vram} of {kind} device memory{share}, {units}")?;
        }
        (devices, units) => {
            let units = counted(units, "unit");
            writeln!(out, "{data} of data, {devices} devices: each {vram} of {kind} memory{share}, {units}")?;
        }
    }
    plan.ram.map_or(Ok(()), |ram| writeln!(out, "{} of system memory for the data", bytes(ram)))
}

/// How often the data must have moved for the report to say why.
const MUCH: u64 = 2;

/// Says why so much moved, and what to try, if it is much.
fn print_hint(out: &mut impl Write, plan: &Plan, figures: &Figures) -> io::Result<()> {
    let moved = figures.bytes.to_device.max(figures.bytes.to_ram);
    if moved < MUCH * plan.data || plan.vram >= plan.data {
        return Ok(());
    }
    let share = percent(plan.vram, plan.data);
    let device = if plan.devices.get() > 1 { "each device" } else { "the device" };
    writeln!(out, "\nWhy so much? Edges lead all over the data, and {share} of it fits on {device}.")?;
    if plan.kind == MemoryKind::Coherent {
        writeln!(out, "A folio of coherent memory has 64 KiB at least, of which a visit needs few bytes.")?;
    }
    writeln!(out, "Try --vram 1/1: then all of it fits.")
}

/// Says how the result compares with the plain run.
fn verdict(done: &Done) -> StyledObject<String> {
    match (&done.verdict, &done.found) {
        (Ok(worst), Found::Ranks { .. }) => style(format!(
            "Correct: every rank equals that of a plain run within {RANK_TOLERANCE:.0e} (worst {worst:.1e})."
        ))
        .green(),
        (Ok(_), Found::Levels { .. }) => {
            style("Correct: levels equal those of a plain run, and parents lead to their nodes.".to_owned())
                .green()
        }
        (Err(mismatch), _) => style(format!("WRONG: {}", printable(&mismatch.to_string()))).red(),
    }
}
