//! The report as text: a label and a sentence a line, no wider than 80 columns.

use std::io::{self, Write};
use std::time::Duration;

use bifolio_folio::Order;
use comfy_table::Table;
use console::Style;

use crate::figures::{bytes, counted, grouped, percent, seconds};
use crate::report::{ByOrder, Bytes, Faults, Figures, Folios, Judged, Odd, Seconds};
use crate::table;

/// What a job of the demonstration adds to its figures.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Setting {
    /// Bytes of the data.
    pub data: u64,
    /// What the same job took on ordinary memory, in the same process.
    pub plain: Duration,
    /// Whether every move was followed by a check, and not only the end of the job.
    pub checked: bool,
}

/// Writes the figures of a program as text.
///
/// # Errors
///
/// If writing fails.
pub fn print_program(out: &mut impl Write, figures: &Figures) -> io::Result<()> {
    let mut rows = Rows::default();
    let Seconds { wait, copy, total, .. } = figures.seconds;
    let waited = seconds(wait + copy);
    rows.add("time", format!("{}; faults took {waited}, added up over all threads", seconds(total)));
    rows.add_moves(figures, None);
    rows.add_counts(figures);
    rows.add("rules", broken(figures.violations));
    rows.add_judged(&figures.judged);
    rows.print(out, figures)
}

/// Writes the figures of a job of the demonstration as text.
///
/// # Errors
///
/// If writing fails.
pub fn print_job(out: &mut impl Write, figures: &Figures, setting: &Setting) -> io::Result<()> {
    let mut rows = Rows::default();
    let Seconds { wait, copy, compute, total } = figures.seconds;
    let plain = seconds(setting.plain.as_secs_f64());
    let waited = (100.0 * (wait + copy) / (wait + copy + compute)).max(0.0);
    rows.add("time", format!("{}; a plain run takes {plain}", seconds(total)));
    rows.add("", format!("the device units waited {waited:.0} % of their time for pages"));
    rows.add_moves(figures, Some(setting.data));
    rows.add_counts(figures);
    let when = match setting.checked {
        true => "judged after every move",
        false => "judged at the end (--checked: after every move)",
    };
    rows.add("rules", format!("{}, {when}", broken(figures.violations)));
    rows.add_judged(&figures.judged);
    rows.print(out, figures)
}

fn broken(violations: u64) -> String {
    if violations == 0 { "0 broken".to_owned() } else { format!("{} BROKEN", grouped(violations)) }
}

/// The lines of a report: a label, and what there is to say.
struct Rows(Table);

impl Default for Rows {
    fn default() -> Self {
        Self(table::wrapped())
    }
}

impl Rows {
    fn add(&mut self, label: &str, text: impl Into<String>) {
        self.0.add_row([label.to_owned(), text.into()]);
    }

    /// Adds a line about something that need not happen, if it did; the plural of `what` takes an `s`.
    fn add_if(&mut self, label: &str, count: u64, what: &str, text: &str) {
        if count > 0 {
            self.add(label, format!("{} {text}", counted(count, what)));
        }
    }

    /// Adds what moved in each direction.
    fn add_moves(&mut self, figures: &Figures, data: Option<u64>) {
        let Bytes { to_device, to_ram, remote, useful } = figures.bytes;
        let (there, back) = (bytes(to_device), bytes(to_ram));
        let mut text = if there == back {
            format!("{there} each way")
        } else {
            format!("{there} to the device, {back} back")
        };
        if let Some(data) = data.filter(|&data| to_device.max(to_ram) >= 2 * data) {
            text += &format!(", {} times the data", grouped(to_device.max(to_ram) / data));
        }
        self.add("moved", text);
        self.add_all_folios(&figures.folios);
        // Empty pages are brought without a copy.
        let brought = figures.folios.to_device.bytes().max(figures.folios.to_ram.bytes());
        if brought > 0 {
            self.add("used", format!("{} of what was brought, before it moved on", percent(useful, brought)));
        }
        if remote > 0 {
            self.add(
                "remote",
                format!("{} of system memory used where it is, 64 bytes an access", bytes(remote)),
            );
        }
    }

    fn add_all_folios(&mut self, folios: &Folios) {
        let Folios { to_device, to_ram } = folios;
        if to_device == to_ram {
            self.add_folios("folios:", to_device);
        } else {
            self.add_folios("folios to the device:", to_device);
            self.add_folios("folios back:", to_ram);
        }
    }

    /// Adds how many folios of each order moved, the largest first.
    fn add_folios(&mut self, which: &str, folios: &ByOrder) {
        let moved = folios.0.iter().enumerate().rev().filter(|&(_, &count)| count > 0);
        let named: Vec<String> =
            moved.map(|(order, &count)| format!("{} of {}", grouped(count), order_name(order))).collect();
        if !named.is_empty() {
            self.add("", format!("{which} {}", named.join(", ")));
        }
    }

    fn add_counts(&mut self, figures: &Figures) {
        let Faults { cpu, device } = figures.faults;
        let Odd { redundant, busy, reclaims, failures, beyond_ram, collapses, bytes_plain } = figures.odd;
        self.add("faults", format!("{} on the device, {} on the CPU", grouped(device), grouped(cpu)));
        self.add_if("", redundant, "fault", "found a page that another fault had just brought");
        self.add_if("failed", failures, "fault", "without an answer");
        self.add("evicted", format!("{}, to make room on the device", counted(figures.evictions, "folio")));
        self.add_if("reclaimed", reclaims, "folio", "moved to the device, to make room in system memory");
        let smaller = "the next smaller folio was taken, as memory was short";
        self.add_if("smaller", figures.fallbacks, "time", smaller);
        self.add_if("split", figures.splits, "folio", "in place");
        self.add_if("joined", collapses, "time", "two halves of a folio became one again");
        self.add_if("retried", busy, "move", "of pages that were in use");
        let beyond = "over the limit of system memory, as both memories were full";
        self.add_if("beyond", beyond_ram, "page", beyond);
        if bytes_plain > 0 {
            self.add("plain", format!("{} stayed ordinary memory, for lack of room", bytes(bytes_plain)));
        }
    }

    /// Adds how often rules were judged, if they were.
    fn add_judged(&mut self, judged: &Judged) {
        if !judged.is_none() {
            let never = judged.never();
            self.add("", format!("{} judgements; never judged here: {never}", grouped(judged.total())));
        }
    }

    fn print(mut self, out: &mut impl Write, figures: &Figures) -> io::Result<()> {
        let broken = figures.violations > 0;
        let style = |line: &str| match broken && line.starts_with("rules") {
            true => Style::new().red(),
            false => Style::new(),
        };
        table::print(out, &mut self.0, style)
    }
}

fn order_name(order: usize) -> String {
    let order = u8::try_from(order).ok().and_then(Order::new);
    order.map_or_else(String::new, |order| bytes(order.pages() * bifolio_folio::PAGE_SIZE))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::figures;

    fn printed(figures: &Figures) -> String {
        let mut text = Vec::new();
        let setting = Setting { data: 4096, plain: Duration::from_millis(20), checked: false };
        print_job(&mut text, figures, &setting).expect("a vector takes all");
        String::from_utf8(text).expect("text")
    }

    #[test]
    fn report_of_a_job_fits_eighty_columns_and_explains_itself() {
        let text = printed(&figures());
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        assert!(text.contains("1.00 s; a plain run takes 0.020 s"), "{text}");
        assert!(text.contains("68 KiB to the device, 0 bytes back, 17 times the data"), "{text}");
        assert!(text.contains("folios to the device: 1 of 64 KiB, 1 of 4 KiB\n"), "{text}");
        assert!(text.contains("folios back: 1 of 2 MiB\n"), "{text}");
    }

    #[test]
    fn what_did_not_happen_has_no_line() {
        let text = printed(&figures());
        let labels: Vec<_> = text
            .lines()
            .filter_map(|line| line.split("  ").next())
            .filter(|label| !label.is_empty())
            .collect();
        assert_eq!(labels, ["time", "moved", "used", "faults", "evicted", "rules"]);
    }
}
