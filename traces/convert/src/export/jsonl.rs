//! JSON lines: an object for each row, its keys the names of the columns. Cells without a value are `null`.

use std::io::{BufWriter, Write};

use super::{Cell, Column, ExportError, Row, RowWriter, Rows};

pub(super) struct JsonLines<W: Write> {
    output: BufWriter<W>,
    columns: &'static [Column],
    cells: Vec<Cell>,
}

impl<W: Write> JsonLines<W> {
    pub(super) fn new(rows: Rows, output: W) -> Self {
        Self { output: BufWriter::new(output), columns: rows.columns(), cells: Vec::new() }
    }
}

impl<W: Write + Send> RowWriter for JsonLines<W> {
    fn row(&mut self, row: &Row) -> Result<(), ExportError> {
        row.cells(&mut self.cells);
        for (at, (column, cell)) in self.columns.iter().zip(&self.cells).enumerate() {
            // Neither names nor words hold anything that JSON would have to escape.
            write!(self.output, "{}\"{}\":", if at == 0 { '{' } else { ',' }, column.name)?;
            match cell {
                Cell::Long(number) => write!(self.output, "{number}")?,
                Cell::Int(number) => write!(self.output, "{number}")?,
                Cell::Word(word) => write!(self.output, "\"{word}\"")?,
                Cell::Nothing => self.output.write_all(b"null")?,
            }
        }
        Ok(self.output.write_all(b"}\n")?)
    }

    fn finish(&mut self) -> Result<(), ExportError> {
        Ok(self.output.flush()?)
    }
}
