//! The page: head figures, advice, the pictures, the rules, the machine.

use bifolio_trace::Trace;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use serde_json::Value;

use crate::advice::overall;
use crate::analysis::Analysis;
use crate::picture::{Figure, address_space, bytes, device_memory, faults, latency, table};
use crate::ranges::ranges;
use crate::sites::Sites;
use crate::units::{bytes as in_bytes, grouped, time};
use crate::what_if::WhatIf;

pub(crate) const STYLE: &str = include_str!("style.css");

pub(crate) fn page(trace: &Trace, analysis: &Analysis) -> Markup {
    let what_if = WhatIf::of(trace);
    let command = trace.note("command").unwrap_or("an unknown command");
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'";
                meta name="color-scheme" content="light dark";
                title { "Bifolio: " (command) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    p.kind { "Bifolio report" }
                    h1 { code { (command) } }
                    (head_figures(trace, analysis))
                    (gaps(trace))
                }
                main {
                    (advice(trace, analysis, what_if.as_ref()))
                    @for figure in figures(trace, analysis) { (figure.markup()) }
                    @if let Some(what_if) = &what_if { (what_if.figure().markup()) }
                    (ranges(analysis, Sites::of(trace).as_ref()))
                    (rules(trace))
                    (machine(trace))
                }
            }
        }
    }
}

fn head_figures(trace: &Trace, analysis: &Analysis) -> Markup {
    let totals = &analysis.totals;
    let moved = totals.bytes_to_device + totals.bytes_to_ram;
    let mut figures = vec![
        (time(analysis.extent.end_ns), "recorded"),
        (grouped(analysis.device.total()), "faults of devices"),
        (grouped(analysis.cpu.total()), "faults of the CPU"),
        (in_bytes(moved), "moved both ways"),
        (grouped(totals.evictions), "evictions"),
        (grouped(trace.len()), "events"),
    ];
    if analysis.is_cpu_alone() {
        // Nothing but system memory is short.
        figures[1] = (grouped(totals.reclaims), "reclaims of system memory");
        figures.remove(4);
    }
    html! { dl.figures { @for (figure, name) in figures { div { dt { (name) } dd { (figure) } } } } }
}

/// What the trace does not have.
fn gaps(trace: &Trace) -> Markup {
    let mut gaps = Vec::new();
    if trace.lost() > 0 {
        gaps.push(format!(
            "{} events were lost as more happened at once than could be written.",
            grouped(trace.lost())
        ));
    }
    if trace.missing_blocks() > 0 {
        gaps.push("The trace was longer than its limit: it holds the newest events, and what is earlier is not shown.".to_owned());
    }
    if trace.note("figures").is_none() {
        gaps.push("The program did not come to its end, or a part of its trace was cut out.".to_owned());
    }
    html! { @for gap in gaps { p.gap { (gap) } } }
}

fn advice(trace: &Trace, analysis: &Analysis, what_if: Option<&WhatIf>) -> Markup {
    let mut advice = overall(trace, analysis);
    advice.extend(what_if.and_then(WhatIf::advice));
    html! {
        @if !advice.is_empty() {
            section { h2 { "Advice" } ul { @for line in advice { li { (line) } } } }
        }
    }
}

fn figures(trace: &Trace, analysis: &Analysis) -> Vec<Figure> {
    let mut figures = vec![address_space::heat(analysis), address_space::residency(analysis)];
    for (node, device) in &analysis.devices {
        figures.push(device_memory::map(analysis, *node, device));
        figures.push(device_memory::free(analysis, *node, device));
    }
    for (side, is_device) in [(&analysis.device, true), (&analysis.cpu, false)] {
        if side.total() > 0 {
            figures.push(faults::over_time(analysis, side, is_device));
        }
    }
    if analysis.device.total() + analysis.cpu.total() > 0 {
        figures.push(latency::waits(analysis));
    }
    figures.extend([bytes::time_split(trace, analysis), bytes::moved(analysis)]);
    figures
}

fn rules(trace: &Trace) -> Markup {
    let figures: Value =
        trace.note("figures").and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    let Some(broken) = figures["violations"].as_u64() else { return html! {} };
    let judged = figures["judged"].as_object();
    let rows: Vec<Vec<String>> = judged
        .into_iter()
        .flatten()
        .map(|(rule, times)| vec![rule.clone(), grouped(times.as_u64().unwrap_or(0))])
        .collect();
    html! {
        section {
            h2 { "Rules" }
            @if broken == 0 { p.good { "No rule broke." } } @else { p.bad { (grouped(broken)) " times a rule broke." } }
            @if rows.is_empty() {
                p { "They were judged at the end. With --checked they are judged after every move." }
            } @else {
                details { summary { "How often each was judged" } (table(&["rule", "judged"], &rows)) }
            }
        }
    }
}

/// A value as people read it: what is a number of bytes gets a unit.
fn value_of(name: &str, text: &str) -> String {
    let is_size = ["data", "device_memory", "system_memory"].contains(&name);
    text.parse().ok().filter(|_| is_size).map_or_else(|| text.to_owned(), in_bytes)
}

fn machine(trace: &Trace) -> Markup {
    let shown = trace.notes().iter().filter(|(name, _)| !["figures", "modules"].contains(&name.as_str()));
    let rows: Vec<Vec<String>> =
        shown.map(|(name, text)| vec![name.replace('_', " "), value_of(name, text)]).collect();
    html! { section { h2 { "The machine and the command" } div.left { (table(&["what", "value"], &rows)) } } }
}
