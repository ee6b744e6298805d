//! Result rows, as a table and as JSON.

use std::fmt::Write;

/// One figure.
#[derive(Clone, Debug)]
pub struct Row {
    /// Its name.
    pub name: String,
    /// The figure itself, a median over the rounds.
    pub value: f64,
    /// What it counts.
    pub unit: &'static str,
    /// What it is compared with, in the same unit and from the same rounds.
    pub floor: Option<f64>,
    /// The median over the rounds of figure by floor.
    pub ratio: Option<f64>,
    /// The most that the ratio may be, or the figure where there is no ratio.
    pub goal: Option<f64>,
}

/// The middle one of some figures.
pub fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[middle] } else { f64::midpoint(sorted[middle - 1], sorted[middle]) }
}

impl Row {
    /// A figure on its own.
    pub fn alone(name: &str, figures: &[f64], unit: &'static str, goal: Option<f64>) -> Self {
        Self { name: name.into(), value: median(figures), unit, floor: None, ratio: None, goal }
    }

    /// A figure beside another one, measured in turns.
    pub fn beside(
        name: &str,
        figures: &[f64],
        floors: &[f64],
        unit: &'static str,
        goal: Option<f64>,
    ) -> Self {
        let ratios: Vec<f64> = figures.iter().zip(floors).map(|(figure, floor)| figure / floor).collect();
        let (floor, ratio) = (Some(median(floors)), Some(median(&ratios)));
        Self { name: name.into(), value: median(figures), unit, floor, ratio, goal }
    }

    /// Whether the goal is met, if there is one.
    pub fn met(&self) -> Option<bool> {
        self.goal.map(|goal| self.ratio.unwrap_or(self.value) <= goal)
    }
}

fn json_number(number: Option<f64>) -> String {
    number.map_or("null".into(), |number| format!("{number:.4}"))
}

/// An array of objects.
pub fn json(rows: &[Row]) -> String {
    let object = |row: &Row| {
        format!(
            "  {{\"name\":\"{}\",\"value\":{},\"unit\":\"{}\",\"floor\":{},\"ratio\":{},\"goal\":{},\"met\":{}}}",
            row.name,
            json_number(Some(row.value)),
            row.unit,
            json_number(row.floor),
            json_number(row.ratio),
            json_number(row.goal),
            row.met().map_or("null".into(), |met| met.to_string()),
        )
    };
    format!("[\n{}\n]\n", rows.iter().map(object).collect::<Vec<_>>().join(",\n"))
}

/// A Markdown table.
pub fn table(rows: &[Row]) -> String {
    let mut out = String::from(
        "| figure | value | unit | beside | ratio | goal | met |\n|---|---:|---|---:|---:|---:|---|\n",
    );
    let cell = |number: Option<f64>| number.map_or("-".into(), |number| format!("{number:.2}"));
    for row in rows {
        let met = row.met().map_or("-", |met| if met { "yes" } else { "no" });
        let Row { name, value, unit, floor, ratio, goal } = row;
        let (floor, ratio, goal) = (cell(*floor), cell(*ratio), cell(*goal));
        writeln!(out, "| {name} | {value:.2} | {unit} | {floor} | {ratio} | {goal} | {met} |")
            .expect("writing to a string cannot fail");
    }
    out
}
