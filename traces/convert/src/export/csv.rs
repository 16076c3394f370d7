//! Comma-separated values. No cell ever needs quotes: they are numbers and words of letters and underscores.

use std::io::{BufWriter, Write};

use super::{Cell, ExportError, Row, RowWriter, Rows};

pub(super) struct Csv<W: Write> {
    output: BufWriter<W>,
    cells: Vec<Cell>,
}

impl<W: Write> Csv<W> {
    /// Writes the line of names.
    pub(super) fn new(rows: Rows, output: W) -> Result<Self, ExportError> {
        let mut output = BufWriter::new(output);
        let names: Vec<_> = rows.columns().iter().map(|column| column.name).collect();
        writeln!(output, "{}", names.join(","))?;
        Ok(Self { output, cells: Vec::new() })
    }
}

impl<W: Write + Send> RowWriter for Csv<W> {
    fn row(&mut self, row: &Row) -> Result<(), ExportError> {
        row.cells(&mut self.cells);
        for (at, cell) in self.cells.iter().enumerate() {
            if at > 0 {
                self.output.write_all(b",")?;
            }
            match cell {
                Cell::Long(number) => write!(self.output, "{number}")?,
                Cell::Int(number) => write!(self.output, "{number}")?,
                Cell::Word(word) => self.output.write_all(word.as_bytes())?,
                Cell::Nothing => {}
            }
        }
        Ok(self.output.write_all(b"\n")?)
    }

    fn finish(&mut self) -> Result<(), ExportError> {
        Ok(self.output.flush()?)
    }
}
