//! Apache Parquet. Rows are gathered into columns and leave as a row group when there are enough; only the list of row groups at the
//! end of the file grows with it, by some hundred bytes a column and group.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;

use ::parquet::basic::{Compression, ConvertedType, LogicalType, Repetition, Type as Physical};
use ::parquet::data_type::{ByteArray, ByteArrayType, Int32Type, Int64Type};
use ::parquet::file::properties::{EnabledStatistics, WriterProperties};
use ::parquet::file::writer::SerializedFileWriter;
use ::parquet::schema::types::{Type, TypePtr};

use super::{Cell, Column, ExportError, Kind, Row, RowWriter, Rows};

/// Rows in a row group. In memory a row takes 40 to 70 bytes.
const GROUP: usize = 1 << 17;

pub(super) struct Parquet<W: Write + Send> {
    writer: SerializedFileWriter<W>,
    columns: Vec<Values>,
    rows: usize,
    cells: Vec<Cell>,
    words: BTreeMap<&'static str, ByteArray>,
}

/// The cells of one column that wait for their row group.
enum Values {
    Long(Vec<i64>),
    Int(Vec<i32>),
    /// The words, and for an optional column for each row whether there is one.
    Word(Vec<ByteArray>, Option<Vec<i16>>),
}

impl<W: Write + Send> Parquet<W> {
    /// Writes the mark at the beginning of the file.
    pub(super) fn new(rows: Rows, output: W) -> Result<Self, ExportError> {
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(Default::default()))
            .set_statistics_enabled(EnabledStatistics::Chunk)
            .set_offset_index_disabled(true)
            .set_created_by(format!("pagesieve {}", crate::whole::TOOL))
            .build();
        let columns = rows.columns().iter().map(Values::of).collect();
        let writer = SerializedFileWriter::new(output, schema(rows)?, Arc::new(properties))?;
        Ok(Self { writer, columns, rows: 0, cells: Vec::new(), words: BTreeMap::new() })
    }

    fn write_group(&mut self) -> Result<(), ExportError> {
        let mut group = self.writer.next_row_group()?;
        for values in &mut self.columns {
            // There are as many columns as the schema has.
            let Some(mut column) = group.next_column()? else { break };
            match values {
                Values::Long(values) => {
                    column.typed::<Int64Type>().write_batch(values, None, None)?;
                    values.clear();
                }
                Values::Int(values) => {
                    column.typed::<Int32Type>().write_batch(values, None, None)?;
                    values.clear();
                }
                Values::Word(values, there) => {
                    column.typed::<ByteArrayType>().write_batch(values, there.as_deref(), None)?;
                    values.clear();
                    there.iter_mut().for_each(Vec::clear);
                }
            }
            column.close()?;
        }
        group.close()?;
        self.rows = 0;
        Ok(())
    }
}

impl<W: Write + Send> RowWriter for Parquet<W> {
    fn row(&mut self, row: &Row) -> Result<(), ExportError> {
        row.cells(&mut self.cells);
        for (values, cell) in self.columns.iter_mut().zip(&self.cells) {
            values.push(*cell, &mut self.words);
        }
        self.rows += 1;
        if self.rows < GROUP { Ok(()) } else { self.write_group() }
    }

    fn finish(&mut self) -> Result<(), ExportError> {
        if self.rows > 0 {
            self.write_group()?;
        }
        self.writer.finish()?;
        Ok(())
    }
}

impl Values {
    fn of(column: &Column) -> Self {
        match column.kind {
            Kind::Long => Values::Long(Vec::new()),
            Kind::Int => Values::Int(Vec::new()),
            Kind::Word => Values::Word(Vec::new(), None),
            Kind::OptionalWord => Values::Word(Vec::new(), Some(Vec::new())),
        }
    }

    /// Parquet has no types of its own for numbers without sign: the bits are the same, and the schema says how to read them.
    fn push(&mut self, cell: Cell, words: &mut BTreeMap<&'static str, ByteArray>) {
        match (self, cell) {
            (Values::Long(values), Cell::Long(number)) => values.push(number.cast_signed()),
            (Values::Int(values), Cell::Int(number)) => values.push(number.cast_signed()),
            (Values::Word(values, there), Cell::Word(word)) => {
                values.push(words.entry(word).or_insert_with(|| word.into()).clone());
                there.iter_mut().for_each(|there| there.push(1));
            }
            (Values::Word(_, Some(there)), Cell::Nothing) => there.push(0),
            (_, cell) => debug_assert!(false, "{cell:?} does not belong under this column"),
        }
    }
}

fn schema(rows: Rows) -> Result<TypePtr, ExportError> {
    let column = |column: &Column| {
        let (physical, logical) = match column.kind {
            Kind::Long => (Physical::INT64, LogicalType::integer(64, false)),
            Kind::Int => (Physical::INT32, LogicalType::integer(32, false)),
            Kind::Word | Kind::OptionalWord => (Physical::BYTE_ARRAY, LogicalType::String),
        };
        let optional = column.kind == Kind::OptionalWord;
        let repetition = if optional { Repetition::OPTIONAL } else { Repetition::REQUIRED };
        let built = Type::primitive_type_builder(column.name, physical)
            .with_repetition(repetition)
            .with_converted_type(ConvertedType::NONE)
            .with_logical_type(Some(logical))
            .build();
        built.map(Arc::new)
    };
    let name = match rows {
        Rows::Events => "events",
        Rows::Verdicts => "verdicts",
    };
    let fields = rows.columns().iter().map(column).collect::<Result<Vec<_>, _>>()?;
    Ok(Arc::new(Type::group_type_builder(name).with_fields(fields).build()?))
}
