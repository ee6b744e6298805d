//! Tables without lines: names to the left, figures to the right.

use std::io::{self, Write};

use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets};

/// Widest line of a table whose texts wrap.
const COLUMNS_MAX: u16 = 100;

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

/// Writes a table, without blanks at the ends of lines.
///
/// # Errors
///
/// If writing fails.
pub fn print(out: &mut impl Write, table: &mut Table) -> io::Result<()> {
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    for line in table.lines() {
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}
