//! Cost against scale as an SVG picture.

use std::fmt::Write;

/// One line of the plot: a name, a colour, and a cost for each size.
pub struct Series {
    /// The name in the legend.
    pub name: String,
    /// An SVG colour.
    pub color: &'static str,
    /// Orders of the pool sizes and nanoseconds per call.
    pub points: Vec<(u32, f64)>,
}

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 400.0;
const LEFT: f64 = 60.0;
const BOTTOM: f64 = 350.0;
const TOP: f64 = 40.0;
const RIGHT: f64 = 520.0;

/// Draws the series over a logarithmic axis of pool sizes.
pub fn svg(series: &[Series]) -> String {
    let points = || series.iter().flat_map(|line| &line.points);
    let highest = points().map(|(_, cost)| *cost).fold(1.0, f64::max);
    let top = (highest / 10.0).ceil() * 10.0;
    let (low, high) =
        points().fold((u32::MAX, 0), |(low, high), (order, _)| (low.min(*order), high.max(*order)));
    let x = |order: u32| LEFT + (RIGHT - LEFT) * f64::from(order - low) / f64::from((high - low).max(1));
    let y = |cost: f64| BOTTOM - (BOTTOM - TOP) * cost / top;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{HEIGHT}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"{LEFT}\" y=\"20\" font-size=\"14\">Cost of a call against the size of the pool (mixed orders 0..9)</text>\n"
    );
    for step in 0..=5 {
        let cost = top * f64::from(step) / 5.0;
        line(&mut out, (LEFT, y(cost)), (RIGHT, y(cost)), "#ddd");
        text(&mut out, (LEFT - 40.0, y(cost) + 4.0), "black", &format!("{cost:.0} ns"));
    }
    for order in (low..=high).step_by(2) {
        text(&mut out, (x(order) - 12.0, BOTTOM + 18.0), "black", &format!("2^{order}"));
    }
    text(&mut out, (LEFT, BOTTOM + 38.0), "black", "pages in the pool");
    for (at, series) in (0..).zip(series) {
        let path: Vec<String> =
            series.points.iter().map(|(order, cost)| format!("{:.1},{:.1}", x(*order), y(*cost))).collect();
        writeln!(
            out,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"2\"><title>{}</title></polyline>",
            path.join(" "),
            series.color,
            series.name
        )
        .expect("writing to a string cannot fail");
        text(&mut out, (RIGHT + 10.0, TOP + 20.0 * f64::from(at)), series.color, &series.name);
    }
    out + "</svg>\n"
}

fn line(out: &mut String, from: (f64, f64), to: (f64, f64), color: &str) {
    let ((x1, y1), (x2, y2)) = (from, to);
    writeln!(out, "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" stroke=\"{color}\"/>")
        .expect("writing to a string cannot fail");
}

fn text(out: &mut String, (x, y): (f64, f64), color: &str, words: &str) {
    writeln!(out, "<text x=\"{x:.1}\" y=\"{y:.1}\" fill=\"{color}\">{words}</text>")
        .expect("writing to a string cannot fail");
}
