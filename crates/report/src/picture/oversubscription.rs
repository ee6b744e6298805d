//! Times of policies, by the size of the data over that of the memory: a panel for each pattern.

use maud::Markup;

use crate::svg::{Canvas, LEFT, RIGHT, TOP};

/// Classes of the curves, in their order.
const CLASSES: [&str; 8] = ["cold", "warm", "o4", "o6", "o1", "o9", "o2", "o7"];
/// Panels beside each other.
const COLUMNS: usize = 3;
/// Height of a panel's plot, and of what is between two of them.
const HEIGHT: f64 = 150.0;
const GAP: f64 = 46.0;
/// From one panel to the next, across.
const GUTTER: f64 = 44.0;

/// What the policies of one panel did.
pub struct Panel {
    /// What is compared.
    pub name: String,
    /// Policies and their times, one for each size.
    pub curves: Vec<(String, Vec<f64>)>,
}

/// Where a panel is, and the largest time in it.
struct Place {
    left: f64,
    top: f64,
    width: f64,
    most: f64,
}

/// Draws panels with one scale of sizes. Times are on a logarithmic scale from 1 on, of each panel its own.
pub(crate) fn draw(sizes: &[f64], panels: &[Panel]) -> Markup {
    let rows = panels.len().div_ceil(COLUMNS);
    let names = panels.first().map_or(&[][..], |panel| &panel.curves);
    let legend = 24.0 * names.len().div_ceil(4) as f64;
    let mut canvas = Canvas::new(legend + rows as f64 * (HEIGHT + GAP));
    for (number, (name, _)) in names.iter().enumerate() {
        let (x, y) = (40.0 + (number % 4) as f64 * 200.0, TOP + (number / 4) as f64 * 24.0);
        canvas.rect(class(number), (x, y), (12.0, 12.0), name);
        canvas.text((x + 18.0, y + 10.0), "start", name);
    }
    let across = RIGHT - LEFT + 88.0;
    let width = (across - GUTTER * (COLUMNS - 1) as f64) / COLUMNS as f64;
    for (number, panel) in panels.iter().enumerate() {
        let times = panel.curves.iter().flat_map(|(_, times)| times).copied();
        let place = Place {
            left: 40.0 + (number % COLUMNS) as f64 * (width + GUTTER),
            top: TOP + legend + 20.0 + (number / COLUMNS) as f64 * (HEIGHT + GAP),
            width,
            most: times.fold(2.0, f64::max),
        };
        place.draw(&mut canvas, sizes, panel);
    }
    canvas.finish("Time over that with all data there, by the size of the data over that of the memory")
}

fn class(number: usize) -> &'static str {
    CLASSES[number % CLASSES.len()]
}

impl Place {
    fn draw(&self, canvas: &mut Canvas, sizes: &[f64], panel: &Panel) {
        let (foot, right) = (self.top + HEIGHT, self.left + self.width);
        canvas.text((self.left, self.top - 6.0), "start", &panel.name);
        canvas.line("axis", &[(self.left, self.top), (self.left, foot), (right, foot)]);
        for (at, size) in sizes.iter().enumerate() {
            canvas.text((self.x(at, sizes.len()), foot + 14.0), "middle", &size.to_string());
        }
        for time in decades(self.most) {
            let y = self.y(time);
            canvas.line("grid", &[(self.left, y), (right, y)]);
            canvas.text((self.left - 4.0, y + 4.0), "end", &time.to_string());
        }
        // The first is drawn last, so that it is seen where curves meet.
        for (number, (_, times)) in panel.curves.iter().enumerate().rev() {
            let points = times.iter().enumerate().map(|(at, time)| (self.x(at, times.len()), self.y(*time)));
            canvas.line(&format!("curve {}", class(number)), &points.collect::<Vec<_>>());
        }
    }

    fn x(&self, at: usize, count: usize) -> f64 {
        self.left + self.width * (at as f64 + 0.5) / count.max(1) as f64
    }

    fn y(&self, time: f64) -> f64 {
        self.top + HEIGHT * (1.0 - time.max(1.0).ln() / self.most.ln())
    }
}

/// 1, 10, 100 and so on, up to `most`.
fn decades(most: f64) -> impl Iterator<Item = f64> {
    std::iter::successors(Some(1.0), |time| Some(time * 10.0)).take_while(move |time| *time <= most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_policy_has_a_curve_in_each_panel() {
        let panel = |name: &str| Panel {
            name: name.to_owned(),
            curves: vec![("one".to_owned(), vec![1.0, 20.0]), ("two".to_owned(), vec![1.5, 300.0])],
        };
        let text = draw(&[1.0, 2.0], &[panel("a"), panel("b")]).into_string();
        assert_eq!(text.matches("<polyline class=\"curve").count(), 4);
        assert_eq!(text.matches(">100<").count(), 2, "the scale of each goes beyond 100: {text}");
        let outside =
            |text: &str| text.split('"').filter_map(|part| part.parse::<f64>().ok()).any(|n| n < 0.0);
        assert!(!outside(&text), "{text}");
    }
}
