//! A table of formatted text.

/// A column of a [`Table`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// What stands in the head.
    pub head: String,
    /// True for numbers, which are aligned to the right.
    pub numeric: bool,
}

/// Rows of formatted text; every row has one entry for each column.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// What the table holds, as a sentence.
    pub caption: String,
    /// The columns.
    pub columns: Vec<Column>,
    /// The rows.
    pub rows: Vec<Vec<String>>,
}

impl Table {
    /// A table without rows: the first column holds text, the others numbers.
    #[must_use]
    pub fn new(caption: impl Into<String>, heads: &[&str]) -> Self {
        let columns = heads.iter().enumerate().map(|(at, head)| Column { head: (*head).into(), numeric: at > 0 }).collect();
        Self { caption: caption.into(), columns, rows: Vec::new() }
    }

    /// The entries of a row together with their columns.
    pub fn cells<'a>(&'a self, row: &'a [String]) -> impl Iterator<Item = (&'a Column, &'a String)> {
        self.columns.iter().zip(row)
    }
}
