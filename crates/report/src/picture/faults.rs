//! Faults over time, by side and by the order of the folio that answered.

use crate::analysis::{Analysis, ORDERS, Side};
use crate::extent::COLUMNS;
use crate::picture::address_space::time_at;
use crate::picture::{Figure, ORDER_CLASSES, orders_legend, sum};
use crate::svg::{Canvas, LEFT, RIGHT, TOP, legend, thirds};
use crate::units::{bytes, grouped, time};

const HEIGHT: f64 = 130.0;

pub(crate) fn over_time(analysis: &Analysis, side: &Side, is_device: bool) -> Figure {
    let most = side.faults.iter().map(|counts| counts.iter().sum()).max().unwrap_or(0_u64).max(1) as f64;
    let step = (RIGHT - LEFT) / COLUMNS as f64;
    let mut canvas = Canvas::new(HEIGHT);
    canvas.y_axis(HEIGHT, "faults in the time of a bar", &thirds(most, |count| grouped(whole(count))));
    for (column, counts) in side.faults.iter().enumerate() {
        let mut foot = TOP + HEIGHT;
        for order in (0..ORDERS).filter(|order| counts[*order] > 0) {
            let height = counts[order] as f64 / most * HEIGHT;
            foot -= height;
            let when = time(analysis.extent.column_end_ns(column));
            let said = format!(
                "until {when}: {} faults, folios of {}",
                grouped(counts[order]),
                bytes(4096 << order)
            );
            canvas.rect(
                ORDER_CLASSES[order],
                (LEFT + column as f64 * step, foot),
                (step - 0.6, height),
                &said,
            );
        }
    }
    canvas.x_axis(HEIGHT, "time", |share| time_at(analysis, share));
    let all = sum(&side.faults);
    let numbers = (0..ORDERS).filter(|order| all[*order] > 0);
    let numbers = numbers.map(|order| vec![bytes(4096 << order), grouped(all[order])]);
    let (title, told) = if is_device {
        ("Faults of devices over time", "Faults of devices by time")
    } else {
        ("Faults of the CPU over time", "Faults of the CPU by time")
    };
    Figure {
        title,
        says: format!(
            "{} in all. A bar is {}; its colours are the sizes of the folios that answered.",
            grouped(side.total()),
            time(analysis.extent.end_ns / COLUMNS as u64)
        ),
        picture: canvas.finish(told),
        legend: legend("answered by", orders_legend(&all)),
        numbers: (vec!["folios of", "faults"], numbers.collect()),
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
fn whole(count: f64) -> u64 {
    count as u64
}
