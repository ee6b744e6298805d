//! The address space over time: how often its pages moved, and where they were.

use maud::Markup;

use crate::analysis::{Analysis, ORDERS, Share};
use crate::extent::COLUMNS;
use crate::picture::{Figure, ORDER_CLASSES, most, orders_legend, sum};
use crate::svg::{Canvas, LEFT, RIGHT, TOP, legend};
use crate::units::{bytes, grouped, time};

/// Heat is how often a page of the row moved in a column's time, on the average: these are the steps of the scale.
const STEPS: [(f64, &str, &str); 6] = [
    (0.125, "h1", "up to 1/8 times"),
    (0.5, "h2", "up to 1/2"),
    (1.0, "h3", "up to once"),
    (2.0, "h4", "up to twice"),
    (4.0, "h5", "up to 4 times"),
    (f64::INFINITY, "h6", "more often"),
];

const HEIGHT: f64 = 360.0;

pub(crate) fn heat(analysis: &Analysis) -> Figure {
    let rows = &analysis.extent.rows;
    let interval = time(analysis.extent.end_ns / COLUMNS as u64);
    let picture = map(analysis, "How often pages moved, by address and time", |row, column| {
        let moved = analysis.moved[row][column];
        let heat = moved as f64 / rows.pages(row) as f64;
        let step = STEPS.iter().find(|(most, ..)| heat <= *most).filter(|_| moved > 0)?;
        Some((step.1, format!("{} pages moved, {heat:.2} times each", grouped(moved))))
    });
    let entries = STEPS.iter().map(|(_, class, name)| (*class, (*name).to_owned()));
    let numbers = (0..rows.count).map(|row| {
        let moved: u64 = analysis.moved[row].iter().sum();
        let each = moved as f64 / rows.pages(row) as f64;
        vec![address(analysis, row), bytes(rows.pages(row) * 4096), grouped(moved), format!("{each:.1}")]
    });
    Figure {
        title: "What moved: the address space over time",
        says: format!(
            "A cell is a part of the address space in {interval}. Its colour says how often each of its pages moved to a \
             device or back in that time, on the average: the scale is the same in every report. Addresses that were \
             never touched are left out."
        ),
        picture,
        legend: legend("how often each page moved in the time of a cell", entries),
        numbers: (vec!["from address", "length", "pages moved", "times each"], numbers.collect()),
    }
}

pub(crate) fn residency(analysis: &Analysis) -> Figure {
    let picture = map(analysis, "Where pages were, by address and time", |row, column| {
        cell(&analysis.resident[column][row])
    });
    let all = sum(analysis.resident.iter().flatten().map(|share| &share.device));
    let mut entries = vec![("ram", "system memory".to_owned())];
    entries.extend(orders_legend(&all));
    let last = analysis.resident.last();
    let numbers = last.into_iter().flatten().enumerate().map(|(row, share)| {
        let device: u64 = share.device.iter().sum();
        vec![address(analysis, row), bytes(share.ram * 4096), bytes(device * 4096)]
    });
    Figure {
        title: "Where pages were: residency over time",
        says: "The same cells, coloured by where most of their pages were as the time ended: in system memory, or on a \
               device, by the size of the folios there. Empty cells are on neither side yet."
            .to_owned(),
        picture,
        legend: legend("most pages are in", entries),
        numbers: (vec!["from address", "in system memory at the end", "on devices at the end"], numbers.collect()),
    }
}

/// The class of a cell and what it says, if any page is there.
fn cell(share: &Share) -> Option<(&'static str, String)> {
    let device: u64 = share.device.iter().sum();
    if device + share.ram == 0 {
        return None;
    }
    let by_order: Vec<String> = (0..ORDERS)
        .filter(|order| share.device[*order] > 0)
        .map(|order| format!("{} pages in folios of {}", share.device[order], bytes(4096 << order)))
        .collect();
    let said = format!("system memory: {} pages; device: {device} pages; {}", share.ram, by_order.join(", "));
    let class = if device > share.ram { ORDER_CLASSES[most(&share.device)?] } else { "ram" };
    Some((class, said.trim_end_matches("; ").to_owned()))
}

/// A map of rows of addresses and columns of time.
fn map(
    analysis: &Analysis,
    told: &str,
    cell: impl Fn(usize, usize) -> Option<(&'static str, String)>,
) -> Markup {
    let rows = &analysis.extent.rows;
    let (width, height) = ((RIGHT - LEFT) / COLUMNS as f64, HEIGHT / rows.count.max(1) as f64);
    let mut canvas = Canvas::new(HEIGHT);
    for row in 0..rows.count {
        for column in 0..COLUMNS {
            let Some((class, said)) = cell(row, column) else { continue };
            let at = (LEFT + column as f64 * width, TOP + row as f64 * height);
            let when = time(analysis.extent.column_end_ns(column));
            let said = format!("{} until {when}: {said}", address(analysis, row));
            canvas.rect(class, at, (width + 0.1, height + 0.1), &said);
        }
    }
    let labelled: Vec<usize> = (0..rows.count).step_by((rows.count / 6).max(1)).collect();
    for row in labelled {
        canvas.text((LEFT - 8.0, TOP + row as f64 * height + 10.0), "end", &address(analysis, row));
    }
    canvas.y_labels(HEIGHT, "address, downwards", &[]);
    canvas.x_axis(HEIGHT, "time", |share| time_at(analysis, share));
    canvas.finish(told)
}

fn address(analysis: &Analysis, row: usize) -> String {
    format!("0x{:x}", analysis.extent.rows.address(row))
}

/// The label of a share of the time.
pub(crate) fn time_at(analysis: &Analysis, share: f64) -> String {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a time, rounded")]
    let nanoseconds = (share * analysis.extent.end_ns as f64) as u64;
    if nanoseconds == 0 { "0".to_owned() } else { time(nanoseconds) }
}
