//! The memory of a device over time: which folios are where, and what is left free.

use crate::analysis::{Analysis, DeviceMap, ORDERS};
use crate::extent::COLUMNS;
use crate::picture::address_space::time_at;
use crate::picture::{Figure, ORDER_CLASSES, most, orders_legend, sum};
use crate::svg::{Canvas, LEFT, RIGHT, TOP, legend, thirds};
use crate::units::{bytes, grouped, time};

const MAP_HEIGHT: f64 = 240.0;
const FREE_HEIGHT: f64 = 90.0;

pub(crate) fn map(analysis: &Analysis, node: u8, device: &DeviceMap) -> Figure {
    let rows = device.columns.first().map_or(1, Vec::len).max(1);
    let (width, height) = ((RIGHT - LEFT) / COLUMNS as f64, MAP_HEIGHT / rows as f64);
    let mut canvas = Canvas::new(MAP_HEIGHT);
    for (column, cells) in device.columns.iter().enumerate() {
        for (row, counts) in cells.iter().enumerate() {
            let Some(order) = most(counts) else { continue };
            let used: u64 = counts.iter().sum();
            let first = row as u64 * device.row_pages;
            let when = time(analysis.extent.column_end_ns(column));
            let pages = device.row_pages;
            let said =
                format!("device page {first} and {pages} on, at {when}: {used} used, {}", by_order(counts));
            let at = (LEFT + column as f64 * width, TOP + row as f64 * height);
            canvas.rect(ORDER_CLASSES[order], at, (width + 0.1, height + 0.1), &said);
        }
    }
    let end = device.row_pages as f64 * rows as f64 * 4096.0;
    let labels: Vec<(f64, String)> =
        [0.0, 0.5, 1.0].map(|share| (1.0 - share, rounded_bytes(share * end))).to_vec();
    canvas.y_labels(MAP_HEIGHT, "place in device memory, downwards", &labels);
    canvas.x_axis(MAP_HEIGHT, "time", |share| time_at(analysis, share));
    let all = sum(device.columns.iter().flatten());
    Figure {
        title: "Device memory: which folios are where",
        says: format!(
            "Device {node}: each row is {} of its memory, from its first page down. The colour is the size of the folios \
             that fill most of the cell; what is free is left empty.{}",
            bytes(device.row_pages * 4096),
            not_shown(analysis, node)
        ),
        picture: canvas.finish("Folios in device memory, by place and time"),
        legend: legend("most of the cell is", orders_legend(&all)),
        numbers: (
            vec!["from", "length", "used, on average", "mostly by folios of"],
            (0..rows).map(|row| row_numbers(device, row)).collect(),
        ),
    }
}

/// What there is of a device's memory beside what is drawn.
fn not_shown(analysis: &Analysis, node: u8) -> String {
    let shown = analysis.extent.devices.get(&node).map_or(0, |range| range.end - range.start);
    let all = analysis.extent.device_pages.unwrap_or(0);
    if all <= shown {
        return String::new();
    }
    format!(
        " The first {} of its {} are shown: no more was ever used.",
        bytes(shown * 4096),
        bytes(all * 4096)
    )
}

/// How much of a row was used, over all columns.
fn row_numbers(device: &DeviceMap, row: usize) -> Vec<String> {
    let columns = device.columns.iter().filter_map(|cells| cells.get(row));
    let used = sum(columns);
    let pages = used.iter().sum::<u64>() / device.columns.len().max(1) as u64;
    let mostly = most(&used).map_or("none".to_owned(), |order| bytes(4096 << order));
    let first = row as u64 * device.row_pages * 4096;
    vec![bytes(first), bytes(device.row_pages * 4096), bytes(pages * 4096), mostly]
}

/// How much is free, and in which blocks.
pub(crate) fn free(analysis: &Analysis, node: u8, device: &DeviceMap) -> Figure {
    let most_free = device.free.iter().copied().max().unwrap_or(0).max(1) as f64;
    let step = (RIGHT - LEFT) / COLUMNS as f64;
    let mut canvas = Canvas::new(FREE_HEIGHT);
    canvas.y_axis(FREE_HEIGHT, "free", &thirds(most_free, |pages| rounded_bytes(pages * 4096.0)));
    for (column, (free, largest)) in device.free.iter().zip(&device.largest_free).enumerate() {
        let height = *free as f64 / most_free * FREE_HEIGHT;
        let at = (LEFT + column as f64 * step, TOP + FREE_HEIGHT - height);
        let when = time(analysis.extent.column_end_ns(column));
        let block = largest
            .map_or("no free block".to_owned(), |order| format!("largest block {}", bytes(4096 << order)));
        let class = largest.map_or("o0", |order| ORDER_CLASSES[order]);
        canvas.rect(
            class,
            at,
            (step + 0.1, height),
            &format!("{when}: {} free, {block}", bytes(free * 4096)),
        );
    }
    canvas.x_axis(FREE_HEIGHT, "time", |share| time_at(analysis, share));
    let seen = (0..ORDERS).filter(|order| device.largest_free.contains(&Some(*order)));
    let entries =
        seen.map(|order| (ORDER_CLASSES[order], format!("largest free block {}", bytes(4096 << order))));
    let numbers = (0..COLUMNS).step_by(8).map(|column| {
        let largest = device.largest_free[column].map_or("none".to_owned(), |order| bytes(4096 << order));
        vec![time(analysis.extent.column_end_ns(column)), bytes(device.free[column] * 4096), largest]
    });
    Figure {
        title: "Device memory: free, and how fragmented",
        says: format!(
            "Device {node}: the height is what is free, the colour the largest aligned block of it. Much free memory in \
             small blocks is fragmented: large folios find no room.{}",
            not_shown(analysis, node)
        ),
        picture: canvas.finish("Free device memory over time"),
        legend: legend("", entries),
        numbers: (vec!["at", "free", "largest free block"], numbers.collect()),
    }
}

fn by_order(counts: &[u64; ORDERS]) -> String {
    let used = (0..ORDERS).filter(|order| counts[*order] > 0);
    let texts: Vec<String> = used
        .map(|order| format!("{} in folios of {}", grouped(counts[order]), bytes(4096 << order)))
        .collect();
    texts.join(", ")
}

fn rounded_bytes(value: f64) -> String {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a label, not negative")]
    bytes(value as u64)
}
