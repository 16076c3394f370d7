//! All drawings in one type, so that a figure can be kept and drawn again in another format.

use plotters::coord::Shift;
use plotters::prelude::{DrawingArea, DrawingBackend};

use super::{
    Cost, DirtyRate, DrawResult, Drawing, Format, Links, PageHeatmap, PolicyBars, RedirtyBars, SkipBars, SkipGrid, Table,
    WorkingSet,
};

macro_rules! pictures {
    ($($kind:ident),*) => {
        /// One of the drawings.
        #[derive(Clone, Debug, PartialEq)]
        #[allow(missing_docs, reason = "each variant is the drawing of its name")]
        pub enum Picture {
            $($kind($kind)),*
        }

        $(impl From<$kind> for Picture {
            fn from(drawing: $kind) -> Self {
                Self::$kind(drawing)
            }
        })*

        impl Drawing for Picture {
            fn title(&self) -> String {
                match self { $(Self::$kind(drawing) => drawing.title()),* }
            }

            fn description(&self) -> String {
                match self { $(Self::$kind(drawing) => drawing.description()),* }
            }

            fn table(&self) -> Table {
                match self { $(Self::$kind(drawing) => drawing.table()),* }
            }

            fn time_axis(&self, format: Format) -> Option<(i32, i32)> {
                match self { $(Self::$kind(drawing) => drawing.time_axis(format)),* }
            }

            fn height(&self, format: Format) -> u32 {
                match self { $(Self::$kind(drawing) => drawing.height(format)),* }
            }

            fn draw<DB: DrawingBackend>(&self, area: &DrawingArea<DB, Shift>, format: Format) -> DrawResult<DB> {
                match self { $(Self::$kind(drawing) => drawing.draw(area, format)),* }
            }
        }
    };
}

pictures!(Cost, DirtyRate, Links, PageHeatmap, PolicyBars, RedirtyBars, SkipBars, SkipGrid, WorkingSet);
