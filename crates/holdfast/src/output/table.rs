//! Rows in aligned columns.

use super::{Look, Tone, printable};

/// A piece of a row.
#[derive(Debug)]
pub(crate) struct Cell {
    text: String,
    tone: Tone,
}

/// Column heads and rows.
#[derive(Debug)]
pub(crate) struct Table {
    heads: Vec<&'static str>,
    rows: Vec<Vec<Cell>>,
    empty: &'static str,
}

impl Cell {
    /// A text with a meaning.
    pub(crate) fn toned(text: &str, tone: Tone) -> Self {
        Self { text: printable(text), tone }
    }
}

impl<T: AsRef<str>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::toned(text.as_ref(), Tone::Plain)
    }
}

impl Table {
    /// A table with these heads; `empty` is what is said when there are no rows.
    pub(crate) fn new(heads: &[&'static str], empty: &'static str) -> Self {
        Self { heads: heads.to_vec(), rows: Vec::new(), empty }
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// The lines. The last column is not padded, so that no line ends in blanks.
    pub(crate) fn render(&self, look: &Look) -> String {
        if self.rows.is_empty() {
            return format!("{}\n", self.empty);
        }
        let widths = self.widths();
        let heads: Vec<Cell> =
            self.heads.iter().map(|head| Cell::toned(head, Tone::Strong)).collect();
        let mut text = line(&heads, &widths, look);
        for row in &self.rows {
            text.push_str(&line(row, &widths, look));
        }
        text
    }

    fn widths(&self) -> Vec<usize> {
        let mut widths: Vec<usize> = self.heads.iter().map(|head| head.len()).collect();
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.text.chars().count());
            }
        }
        widths
    }
}

fn line(cells: &[Cell], widths: &[usize], look: &Look) -> String {
    let mut text = String::new();
    let last = cells.len().saturating_sub(1);
    for (index, (cell, width)) in cells.iter().zip(widths).enumerate() {
        text.push_str(&look.paint(cell.tone, &cell.text));
        if index < last {
            let blanks = width + 2 - cell.text.chars().count();
            text.extend(std::iter::repeat_n(' ', blanks));
        }
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::test_look;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(&["HOST", "STATE"], "No hosts.");
        table.row(["web-1".into(), Cell::toned("online", Tone::Good)]);
        table.row(["ü".into(), "offline".into()]);
        assert_eq!(table.render(&test_look()), "HOST   STATE\nweb-1  online\nü      offline\n");
    }

    #[test]
    fn colour_does_not_move_columns() {
        let mut table = Table::new(&["A", "B"], "");
        table.row([Cell::toned("x", Tone::Bad), "y".into()]);
        let look = Look { colour: true, ..test_look() };
        assert!(table.render(&look).ends_with("\x1b[31mx\x1b[0m  y\n"));
    }

    #[test]
    fn an_empty_table_says_so() {
        assert_eq!(Table::new(&["HOST"], "No hosts.").render(&test_look()), "No hosts.\n");
    }

    #[test]
    fn a_cell_cannot_break_the_table() {
        let mut table = Table::new(&["A"], "");
        table.row(["two\nlines".into()]);
        assert_eq!(table.render(&test_look()), "A\ntwo\\nlines\n");
    }
}
