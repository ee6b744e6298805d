//! `bifolio trace info`.

use std::collections::BTreeMap;
use std::io::{self, Write};

use bifolio_trace::{Kind, Trace};
use serde::Serialize;

use crate::figures::{bytes, counted, grouped, seconds};
use crate::printable::printable;
use crate::table;

/// What a trace holds.
#[derive(Debug, Serialize)]
struct Info<'t> {
    events: u64,
    seconds: f64,
    bytes: u64,
    bytes_per_event: f64,
    lost: u64,
    missing_blocks: u64,
    damaged_bytes: u64,
    started_unix_ns: u64,
    kinds: BTreeMap<String, u64>,
    notes: BTreeMap<&'t str, &'t str>,
}

impl<'t> Info<'t> {
    fn of(trace: &'t Trace) -> Info<'t> {
        let (mut kinds, mut last) = (BTreeMap::new(), 0);
        for event in trace.events() {
            *kinds.entry(name_of(&event.kind)).or_default() += 1;
            last = last.max(event.time_ns);
        }
        let events = trace.len();
        Info {
            events,
            seconds: last as f64 / 1e9,
            bytes: trace.bytes(),
            bytes_per_event: trace.bytes() as f64 / events.max(1) as f64,
            lost: trace.lost(),
            missing_blocks: trace.missing_blocks(),
            damaged_bytes: trace.damaged(),
            started_unix_ns: trace.started_unix_ns(),
            kinds,
            notes: trace.notes().iter().map(|(name, text)| (name.as_str(), text.as_str())).collect(),
        }
    }

    fn print(&self, out: &mut impl Write) -> io::Result<()> {
        let note = |name| printable(self.notes.get(name).copied().unwrap_or("not recorded")).into_owned();
        writeln!(out, "command   {}", note("command"))?;
        writeln!(
            out,
            "machine   {}, {} processors, {}",
            note("kernel"),
            note("processors"),
            note("processor")
        )?;
        let (events, length) = (counted(self.events, "event"), bytes(self.bytes));
        writeln!(out, "holds     {events} in {}", seconds(self.seconds))?;
        writeln!(out, "size      {length}, {:.1} bytes an event", self.bytes_per_event)?;
        writeln!(out, "accesses  {}", accesses(self.notes.get("accesses").copied()))?;
        self.print_story(out)?;
        self.print_gaps(out)?;
        writeln!(out)?;
        let kinds: Vec<_> = self.kinds.iter().map(|(name, count)| (name.clone(), grouped(*count))).collect();
        table::print_list(out, &kinds)
    }

    /// Names the rule that a story breaks.
    fn print_story(&self, out: &mut impl Write) -> io::Result<()> {
        let note = |name| self.notes.get(name).copied();
        let Some((rule, design)) = note("rule").zip(note("design")) else { return Ok(()) };
        writeln!(out, "breaks    {rule}, of {design}: replay tells how")
    }

    /// Says what is not there.
    fn print_gaps(&self, out: &mut impl Write) -> io::Result<()> {
        if self.lost > 0 {
            let lost = counted(self.lost, "event");
            writeln!(out, "lost      {lost}: more happened at once than could be written")?;
        }
        if self.missing_blocks > 0 {
            writeln!(out, "missing   {}, replaced or damaged", counted(self.missing_blocks, "block"))?;
        }
        if self.damaged_bytes > 0 {
            writeln!(
                out,
                "damaged   {}: the writer was stopped, or the file was changed",
                bytes(self.damaged_bytes)
            )?;
        }
        if !self.notes.contains_key("figures") && !self.notes.contains_key("design") {
            writeln!(out, "end       not recorded: the program did not come to its end")?;
        }
        Ok(())
    }
}

/// What the trace says of accesses.
fn accesses(note: Option<&str>) -> &'static str {
    match note {
        Some("exact") => "every page that the device accessed (--trace-accesses)",
        Some("used") => "pages that the device used, told as they leave it",
        Some("story") => "none: a story of bifolio check, step by step",
        _ => "none: faults and moves only",
    }
}

/// The name of a kind, as in JSON.
fn name_of(kind: &Kind) -> String {
    match serde_json::to_value(kind) {
        Ok(serde_json::Value::String(name)) => name,
        Ok(serde_json::Value::Object(fields)) => fields.keys().next().cloned().unwrap_or_default(),
        _ => String::new(),
    }
}

/// Prints what a trace holds.
///
/// # Errors
///
/// If writing fails.
pub fn print(trace: &Trace, json: bool) -> io::Result<()> {
    let (info, mut out) = (Info::of(trace), io::stdout().lock());
    if json {
        serde_json::to_writer(&mut out, &info)?;
        return writeln!(out);
    }
    info.print(&mut out)
}
