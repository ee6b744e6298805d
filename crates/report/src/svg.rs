//! Drawing: a canvas of fixed width, axes with units, and marks that say their numbers when pointed at.
//!
//! Colours are classes, so that the page's style chooses them for light and dark. Texts are ours: figures and fixed words.

use std::fmt::Write;

use maud::{Markup, PreEscaped};

/// Width of every picture, in its own units.
pub(crate) const WIDTH: f64 = 900.0;
/// Where plots begin and end, left and right.
pub(crate) const LEFT: f64 = 128.0;
pub(crate) const RIGHT: f64 = WIDTH - 16.0;
/// Where plots begin, below the name of what goes upwards.
pub(crate) const TOP: f64 = 28.0;

/// A picture being drawn.
pub(crate) struct Canvas {
    height: f64,
    marks: String,
}

impl Canvas {
    /// A picture whose plot is so high; axes and labels come below it.
    pub(crate) fn new(plot_height: f64) -> Canvas {
        Canvas { height: TOP + plot_height + 44.0, marks: String::new() }
    }

    /// A filled rectangle. `said` is shown when it is pointed at.
    pub(crate) fn rect(&mut self, class: &str, (x, y): (f64, f64), (w, h): (f64, f64), said: &str) {
        let title = if said.is_empty() { String::new() } else { format!("<title>{said}</title>") };
        self.mark(format_args!(
            "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{w:.1}\" height=\"{h:.1}\">{title}</rect>"
        ));
    }

    /// A line through points.
    pub(crate) fn line(&mut self, class: &str, points: &[(f64, f64)]) {
        let mut text = String::new();
        for (x, y) in points {
            let _: std::fmt::Result = write!(text, "{x:.1},{y:.1} ");
        }
        self.mark(format_args!("<polyline class=\"{class}\" points=\"{}\"/>", text.trim_end()));
    }

    /// A text, anchored at its `start`, `middle` or `end`.
    pub(crate) fn text(&mut self, (x, y): (f64, f64), anchor: &str, text: &str) {
        self.mark(format_args!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>"));
    }

    /// The axis below a plot, from zero to `end`, with a label at each fifth.
    pub(crate) fn x_axis(&mut self, plot_height: f64, what: &str, label: impl Fn(f64) -> String) {
        let fifths = (0..=5).map(|fifth| f64::from(fifth) / 5.0);
        let labels: Vec<_> = fifths.map(|share| (share, label(share))).collect();
        self.x_labels(plot_height, what, &labels);
    }

    /// The same with labels at these shares of its length.
    pub(crate) fn x_labels(&mut self, plot_height: f64, what: &str, labels: &[(f64, String)]) {
        let y = TOP + plot_height;
        self.line("axis", &[(LEFT, y), (RIGHT, y)]);
        for (share, label) in labels {
            let x = LEFT + share * (RIGHT - LEFT);
            self.line("axis", &[(x, y), (x, y + 4.0)]);
            let anchor = if *share > 0.97 { "end" } else { "middle" };
            self.text((x, y + 18.0), anchor, label);
        }
        self.text((f64::midpoint(LEFT, RIGHT), y + 36.0), "middle", what);
    }

    /// Labels left of a plot, without lines across it, and above them what goes upwards or down.
    pub(crate) fn y_labels(&mut self, plot_height: f64, what: &str, labels: &[(f64, String)]) {
        self.text((0.0, 12.0), "start", what);
        self.line("axis", &[(LEFT, TOP), (LEFT, TOP + plot_height)]);
        for (share, label) in labels {
            self.text((LEFT - 8.0, TOP + plot_height * (1.0 - share) + 4.0), "end", label);
        }
    }

    /// The axis left of a plot, with labels at these heights above its foot, as shares of its height.
    pub(crate) fn y_axis(&mut self, plot_height: f64, what: &str, labels: &[(f64, String)]) {
        for (share, _) in labels {
            let y = TOP + plot_height * (1.0 - share);
            self.line("grid", &[(LEFT, y), (RIGHT, y)]);
        }
        self.y_labels(plot_height, what, labels);
    }

    /// The finished picture; `told` tells in words what is to be seen.
    pub(crate) fn finish(self, told: &str) -> Markup {
        let (height, marks) = (self.height, self.marks);
        maud::html! {
            svg viewBox=(format!("0 0 {WIDTH} {height:.0}")) role="img" aria-label=(told) { (PreEscaped(marks)) }
        }
    }

    fn mark(&mut self, mark: std::fmt::Arguments<'_>) {
        let _: std::fmt::Result = self.marks.write_fmt(mark);
    }
}

/// A picture as a file of its own, with the style of the page: to be shown on other pages, where nothing is pointed at.
pub(crate) fn alone(picture: &Markup, style: &str) -> String {
    let head = r#"<svg xmlns="http://www.w3.org/2000/svg" style="background:var(--ground)""#;
    let text = picture.0.replacen("<svg", head, 1);
    let without_titles: String = text
        .split("<title>")
        .enumerate()
        .map(|(part, text)| match text.split_once("</title>") {
            Some((_, rest)) if part > 0 => rest,
            _ => text,
        })
        .collect();
    without_titles.replacen('>', &format!("><style>{style}</style>"), 1)
}

/// Three labels of an axis from zero to `most`.
pub(crate) fn thirds(most: f64, label: impl Fn(f64) -> String) -> Vec<(f64, String)> {
    [0.0, 0.5, 1.0].map(|share| (share, label(share * most))).to_vec()
}

/// A legend: what all marks tell, and the classes of marks with what each stands for.
pub(crate) fn legend<'l>(what: &str, entries: impl IntoIterator<Item = (&'l str, String)>) -> Markup {
    maud::html! {
        ul.legend {
            @if !what.is_empty() { li { (what) ":" } }
            @for (class, name) in entries {
                li { svg viewBox="0 0 12 12" aria-hidden="true" { rect class=(class) width="12" height="12" {} } (name) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn picture_alone_has_its_marks_and_style_and_no_titles() {
        let mut canvas = Canvas::new(20.0);
        canvas.rect("h1", (1.0, 2.0), (3.0, 4.0), "one");
        canvas.rect("h2", (1.0, 2.0), (3.0, 4.0), "two");
        let text = alone(&canvas.finish("a picture"), ".h1 { fill: red; }");
        assert!(
            text.starts_with("<svg xmlns=") && text.contains("><style>.h1 { fill: red; }</style><rect"),
            "{text}"
        );
        assert_eq!((text.matches("<rect").count(), text.matches("</rect>").count()), (2, 2), "{text}");
        assert!(!text.contains("title") && !text.contains("one"), "{text}");
    }
}
