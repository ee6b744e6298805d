//! Tables without lines: names to the left, figures to the right; and lists in columns.

use std::io::{self, Write};

use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets};
use console::{Style, measure_text_width, pad_str};

/// Widest line of a table whose texts wrap, and of a list.
const COLUMNS_MAX: u16 = 80;

/// Makes a table whose columns are as wide as their longest cell.
pub fn plain() -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table
}

/// Makes a table whose long texts wrap.
pub fn wrapped() -> Table {
    let mut table = plain();
    table.set_content_arrangement(ContentArrangement::Dynamic).set_width(COLUMNS_MAX);
    table
}

/// Makes a row of a name and its figures.
pub fn row<T: ToString, const N: usize>(cells: [T; N]) -> Vec<Cell> {
    let align = |column| if column == 0 { CellAlignment::Left } else { CellAlignment::Right };
    cells.into_iter().enumerate().map(|(column, text)| Cell::new(text).set_alignment(align(column))).collect()
}

/// Writes a table without blanks at the ends of lines, each in the style that `style` gives it, where standard output
/// has colours.
///
/// # Errors
///
/// If writing fails.
pub fn print(out: &mut impl Write, table: &mut Table, style: impl Fn(&str) -> Style) -> io::Result<()> {
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    for line in table.lines() {
        let line = line.trim_end();
        writeln!(out, "{}", style(line).apply_to(line))?;
    }
    Ok(())
}

/// Writes pairs of a name and a figure, as many beside each other as fit.
///
/// # Errors
///
/// If writing fails.
pub fn print_list(out: &mut impl Write, pairs: &[(String, String)]) -> io::Result<()> {
    const GAP: usize = 3;
    let width = |pick: fn(&(String, String)) -> &str| {
        pairs.iter().map(|pair| measure_text_width(pick(pair))).max().unwrap_or(0)
    };
    let (names, figures) = (width(|pair| &pair.0), width(|pair| &pair.1));
    let in_a_row = ((usize::from(COLUMNS_MAX) - 2 + GAP) / (names + 1 + figures + GAP)).max(1);
    for row in pairs.chunks(in_a_row) {
        let cells: Vec<String> = row
            .iter()
            .map(|(name, figure)| {
                format!("{} {figure:>figures$}", pad_str(name, names, console::Alignment::Left, None))
            })
            .collect();
        writeln!(out, "  {}", cells.join("   "))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(pairs: &[(&str, &str)]) -> String {
        let pairs: Vec<_> =
            pairs.iter().map(|(name, figure)| (name.to_string(), figure.to_string())).collect();
        let mut text = Vec::new();
        print_list(&mut text, &pairs).expect("a vector takes all");
        String::from_utf8(text).expect("text")
    }

    #[test]
    fn list_has_as_many_columns_as_fit() {
        let pairs = [("a", "1"), ("long name", "20")];
        assert_eq!(list(&pairs), "  a          1   long name 20\n");
        let long = "x".repeat(40);
        assert_eq!(list(&[(&long, "1"), ("b", "2")]).lines().count(), 2);
        assert_eq!(list(&[]), "");
    }
}
