//! Stories as traces: written by `check --trace`, and taken again by `replay`.

use std::io::{self, Write};
use std::path::Path;

use bifolio_explore::{Bounds, Limits, MemoryOrder, Options, OptionsError, Story, find};
use bifolio_host::PoolName;
use bifolio_rules::Rule;
use bifolio_trace::{Event, Kind, LIMIT_DEFAULT, Trace, TraceFile};

use crate::args::CheckArgs;
use crate::check::error::CheckError;
use crate::exit;
use crate::record::about_this_run;

/// Writes a story, if there is one.
///
/// # Errors
///
/// If there is none, or the file cannot be written.
pub fn write(file: &Path, story: Option<&Story>, args: &CheckArgs) -> Result<(), CheckError> {
    let story = story.ok_or_else(|| CheckError::NoStory { file: file.to_owned() })?;
    let failed = |source: io::Error| CheckError::Trace { file: file.to_owned(), source };
    let mut trace = TraceFile::create(file, LIMIT_DEFAULT, &notes(story, args)).map_err(failed)?;
    for (time_ns, (choice, step)) in (1..).zip(story.choices.iter().zip(&story.steps)) {
        let broken = step.broken.iter().map(|rule| Kind::Broken { rule: rule.number() });
        for kind in std::iter::once(Kind::Step { choice: *choice }).chain(broken) {
            trace.push(&Event { time_ns, thread: 1, kind }).map_err(failed)?;
        }
    }
    trace.finish(&[]).map(drop).map_err(failed)
}

fn notes(story: &Story, args: &CheckArgs) -> Vec<(String, String)> {
    let Bounds { pages, order, actors } = story.bounds;
    let mut notes = about_this_run();
    notes.extend([
        ("accesses", "story".to_owned()),
        ("design", story.design.to_owned()),
        ("world", story.world.to_owned()),
        ("pages", pages.to_string()),
        ("order", order.to_string()),
        ("actors", actors.to_string()),
        ("memory_order", args.memory_order.as_str().to_owned()),
        ("rule", story.rule.to_string()),
        ("story", story.to_string()),
    ]);
    notes.extend(args.pool.map(|pool| ("pool", pool.to_string())));
    notes.into_iter().map(|(name, text)| (name.to_owned(), text)).collect()
}

/// Whether a trace is that of a story.
#[must_use]
pub fn is_story(trace: &Trace) -> bool {
    trace.note("design").is_some()
}

/// Takes the steps of a story again, and tells it; returns 1 if they break its rule, 4 if not.
///
/// # Errors
///
/// If the trace does not say of which design it is, or that has no such world.
pub fn replay(trace: &Trace) -> Result<u8, CheckError> {
    let note = |what: &'static str| trace.note(what).ok_or(CheckError::Story { what });
    let unknown = |what: &'static str| move || CheckError::Story { what };
    let entry = find(note("design")?).ok_or_else(unknown("design"))?;
    let rule = Rule::all().find(|rule| Some(rule.to_string().as_str()) == trace.note("rule"));
    let rule = rule.ok_or_else(unknown("rule"))?;
    let report = entry.run(&options(trace)?, &mut |_| ()).map_err(|error| match error {
        OptionsError::World { design, world } => CheckError::World { design, world },
        OptionsError::Bounds(_) => CheckError::Story { what: "size" },
        OptionsError::MemoryOrder { .. } => CheckError::Story { what: "memory_order" },
    })?;
    let mut out = io::stdout().lock();
    let told = match report.stories().find(|story| story.rule == rule) {
        Some(story) => write!(out, "{story}").map(|()| exit::BROKEN),
        None => writeln!(out, "These steps of {} do not break {rule}.", entry.name).map(|()| exit::FAILED),
    };
    told.map_err(|error| CheckError::Output(error.into()))
}

/// Everything that a story was explored with, and its steps as the only ones.
fn options(trace: &Trace) -> Result<Options, CheckError> {
    let note = |what: &'static str| trace.note(what).ok_or(CheckError::Story { what });
    let number = |what| note(what)?.parse::<u8>().map_err(|_| CheckError::Story { what });
    let choices = trace.events().filter_map(|event| match event.kind {
        Kind::Step { choice } => Some(choice),
        _ => None,
    });
    // Once in the life of the command.
    let choices: &'static [u32] = Box::leak(choices.collect());
    let order = note("memory_order")?;
    let memory_order = MemoryOrder::ALL.into_iter().find(|known| known.as_str() == order);
    let pool = trace.note("pool").map(str::parse::<PoolName>).transpose();
    Ok(Options {
        bounds: Some(Bounds { pages: number("pages")?, order: number("order")?, actors: number("actors")? }),
        limits: Limits { follow: Some(choices), ..Limits::default() },
        large: true,
        pool: pool.map_err(|_| CheckError::Story { what: "pool" })?,
        memory_order: memory_order.ok_or(CheckError::Story { what: "memory_order" })?,
        world: Some(note("world")?.to_owned()),
    })
}
