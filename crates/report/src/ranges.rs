//! The table of the ranges that moved most: figures, then in words where they come from and what would help.

use maud::{Markup, html};

use crate::advice::{Hot, hottest};
use crate::analysis::{Analysis, BLOCK_PAGES};
use crate::sites::Sites;
use crate::units::{bytes, grouped};

const SITES: &str = "“Allocated by”: the functions that asked for most of the block, the innermost first; “touched by”: those \
                     whose touches faulted most often.";
/// How many blocks are listed.
const LISTED: usize = 12;

/// Draws the table; nothing if nothing moved.
pub(crate) fn ranges(analysis: &Analysis, sites: Option<&Sites>) -> Markup {
    let hot = hottest(analysis, LISTED);
    let alone = analysis.is_cpu_alone();
    let (figures, says) = if alone {
        let figures = &["2 MiB from", "times away", "moved", "CPU faults"][..];
        (figures, "“Times away”: how often each of their pages left system memory, on the average.")
    } else {
        let figures = &["2 MiB from", "times there", "moved", "device faults", "CPU faults", "evictions"][..];
        (figures, "“Times there”: how often each of their pages came to a device, on the average.")
    };
    let words: &[&str] =
        if sites.is_some() { &["allocated by", "touched by", "advice"] } else { &["advice"] };
    html! {
        @if !hot.is_empty() {
            section {
                h2 { "Hot ranges" }
                p {
                    "The blocks of 2 MiB that moved most. " (says)
                    @if sites.is_some() { " " (SITES) }
                }
                div.scroll {
                    table {
                        thead { tr {
                            @for head in figures { th scope="col" { (head) } }
                            @for head in words { th.words scope="col" { (head) } }
                        } }
                        tbody { @for hot in hot { (row(hot, alone, sites)) } }
                    }
                }
            }
        }
    }
}

fn row(hot: Hot, alone: bool, sites: Option<&Sites>) -> Markup {
    let Hot { address, block, times, says } = hot;
    let moved = bytes((block.pages_in + block.pages_out) * 4096);
    let mut figures = vec![format!("0x{address:x}"), format!("{times:.1}"), moved];
    if !alone {
        figures.push(grouped(block.device_faults));
    }
    figures.push(grouped(block.cpu_faults));
    if !alone {
        figures.push(grouped(block.evictions));
    }
    let range = address..address + BLOCK_PAGES * 4096;
    let places = sites.map(|sites| [sites.allocated_by(&range), sites.touched_by(&range)]);
    let words = places.into_iter().flatten().chain([says]);
    html! {
        tr {
            @for figure in figures { td { (figure) } }
            @for word in words { td.words { (word) } }
        }
    }
}
