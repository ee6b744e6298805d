//! How many touches miss, by the size of the memory.

use maud::Markup;

use crate::svg::{Canvas, LEFT, RIGHT, TOP, thirds};
use crate::units::bytes;

const HEIGHT: f64 = 200.0;
/// Classes of the curves, in their order.
const CLASSES: [&str; 6] = ["cold", "warm", "o4", "o6", "o1", "o9"];

/// Misses of a policy.
pub struct Curve {
    /// The policy.
    pub name: String,
    /// Bytes of memory, and the share of the touches that miss in as much, from less memory to more.
    pub points: Vec<(u64, f64)>,
}

/// Draws curves, with their names, and marks sizes with words.
pub(crate) fn draw(curves: &[Curve], marks: &[(u64, &str)]) -> Markup {
    let sizes = curves.iter().flat_map(|curve| curve.points.iter().map(|(memory, _)| *memory));
    let most = sizes.chain(marks.iter().map(|mark| mark.0)).max().unwrap_or(1).max(1);
    let x = |memory: u64| LEFT + memory as f64 / most as f64 * (RIGHT - LEFT);
    let top = top(curves, most);
    let mut canvas = Canvas::new(HEIGHT);
    canvas.y_axis(HEIGHT, "touches that miss", &thirds(top * 100.0, |percent| format!("{percent:.1} %")));
    for (number, (curve, class)) in curves.iter().zip(CLASSES.into_iter().cycle()).enumerate() {
        let points: Vec<(f64, f64)> = curve
            .points
            .iter()
            .map(|(memory, share)| (x(*memory), TOP + HEIGHT * (1.0 - share.min(top) / top)))
            .collect();
        canvas.line(&format!("curve {class}"), &points);
        let y = TOP + 10.0 + number as f64 * 18.0;
        canvas.rect(class, (RIGHT - 130.0, y), (12.0, 12.0), &curve.name);
        canvas.text((RIGHT - 112.0, y + 10.0), "start", &curve.name);
    }
    for (memory, word) in marks {
        let x = x(*memory);
        canvas.line("axis", &[(x, TOP), (x, TOP + HEIGHT)]);
        let (at, anchor) = if x > f64::midpoint(LEFT, RIGHT) { (x - 6.0, "end") } else { (x + 6.0, "start") };
        canvas.text((at, TOP + HEIGHT - 8.0), anchor, word);
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a size")]
    canvas.x_axis(HEIGHT, "memory", |share| bytes((share * most as f64) as u64));
    canvas.finish("Share of touches that find no page, by the size of the memory")
}

/// The share at the top of the picture: almost no memory misses almost always, which is left out.
fn top(curves: &[Curve], most: u64) -> f64 {
    let points = curves.iter().flat_map(|curve| &curve.points);
    let shares = points.filter(|(memory, _)| *memory >= most / 16).map(|(_, share)| *share);
    shares.fold(0.001, f64::max)
}
