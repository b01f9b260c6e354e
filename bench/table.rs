//! Tables for a terminal: each column is as wide as what stands in it.

use std::fmt;

/// What lines should fit into.
#[cfg(test)]
pub(crate) const TERMINAL_WIDTH: usize = 100;

/// A column's heading, of which each line is a line of its own, and the side at which its cells stand.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Column {
    Left(&'static str),
    Right(&'static str),
}

#[derive(Debug)]
pub(crate) struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<String>>,
}

impl Column {
    fn heading(self) -> &'static str {
        match self {
            Column::Left(heading) | Column::Right(heading) => heading,
        }
    }
}

impl Table {
    pub(crate) fn new(columns: Vec<Column>) -> Table {
        Table { columns, rows: Vec::new() }
    }

    /// A row has a cell for each column.
    pub(crate) fn row(&mut self, cells: Vec<String>) {
        assert_eq!(cells.len(), self.columns.len(), "a cell for each column");
        self.rows.push(cells);
    }

    fn width(&self, index: usize) -> usize {
        let heading = self.columns[index].heading().lines();
        let cells = self.rows.iter().map(|row| row[index].as_str());
        heading.chain(cells).map(|text| text.chars().count()).max().unwrap_or(0)
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widths: Vec<usize> = (0..self.columns.len()).map(|index| self.width(index)).collect();
        let mut line = |cells: &mut dyn Iterator<Item = &str>| {
            let mut text = String::new();
            for ((cell, column), &width) in cells.zip(&self.columns).zip(&widths) {
                match column {
                    Column::Left(_) => text.push_str(&format!("{cell:<width$} ")),
                    Column::Right(_) => text.push_str(&format!("{cell:>width$} ")),
                }
            }
            writeln!(f, "{}", text.trim_end())
        };
        let headings = self.columns.iter().map(|column| column.heading().lines().count());
        let depth = headings.max().unwrap_or(0);
        for level in 0..depth {
            // Headings of fewer lines stand at the bottom.
            line(&mut self.columns.iter().map(|column| {
                let missing = depth - column.heading().lines().count();
                level.checked_sub(missing).and_then(|line| column.heading().lines().nth(line)).unwrap_or("")
            }))?;
        }
        for row in &self.rows {
            line(&mut row.iter().map(String::as_str))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_what_stands_in_them() {
        let mut table =
            Table::new(vec![Column::Left("user"), Column::Right("cached\ntext"), Column::Left("state")]);
        table.row(vec!["alice".into(), "12".into(), "ok".into()]);
        table.row(vec!["bo".into(), "1234567".into(), String::new()]);
        assert_eq!(
            table.to_string(),
            "       cached\nuser     text state\nalice      12 ok\nbo    1234567\n"
        );
    }
}
