//! What a migration has learnt about the use of the pages, saved and loaded. It orders and defers; whether a page may be skipped
//! has to be proven anew.

use alloc::vec::Vec;

use super::Migration;
use crate::Nanos;
use crate::history::{Cells, Column, Identity, LoadError, OwnedCells, file};

/// Tags of the columns.
const USAGE: u8 = 1;
const LAST_WRITE: u8 = 2;
const MEAN_INTERVAL: u8 = 3;
const LAST_INTERVAL: u8 = 4;

impl Migration {
    /// Everything that was learnt about the pages, as the bytes of a file. The slots of `identity` are not used; they are those
    /// of the migration.
    #[must_use]
    pub fn save_history(&self, identity: &Identity) -> Vec<u8> {
        let usage = self.tracker.saved(self.now, identity.saved_at);
        let (last, mean, previous) = self.redirty.saved(self.now, identity.saved_at);
        let mut columns = Vec::from([Column { tag: USAGE, cells: Cells::U64(&usage) }]);
        if self.policy.wants_redirty() {
            columns.push(Column { tag: LAST_WRITE, cells: Cells::U32(&last) });
            columns.push(Column { tag: MEAN_INTERVAL, cells: Cells::U16(mean) });
            columns.push(Column { tag: LAST_INTERVAL, cells: Cells::U16(previous) });
        }
        file::encode(&self.identified(identity), &columns)
    }

    /// Takes over what an earlier migration or tracker has learnt about the same memory. Pages that were seen since keep what is
    /// known of them; columns that mean nothing to this version are ignored.
    ///
    /// # Errors
    /// The bytes are no history, damaged, or of another boot, target or table of slots. Nothing is changed then.
    pub fn load_history(&mut self, now: Nanos, identity: &Identity, bytes: &[u8]) -> Result<(), LoadError> {
        self.pass(now);
        let loaded = file::decode(bytes, &self.identified(identity))?;
        let cells = |tag| loaded.columns.iter().find(|column| column.tag == tag).map(|column| &column.cells);
        if let Some(OwnedCells::U64(usage)) = cells(USAGE) {
            self.tracker.restore(usage, identity.saved_at, self.now);
        }
        if let (Some(OwnedCells::U32(last)), Some(OwnedCells::U16(mean)), Some(OwnedCells::U16(previous))) =
            (cells(LAST_WRITE), cells(MEAN_INTERVAL), cells(LAST_INTERVAL))
        {
            self.redirty.restore((last, mean, previous), identity.saved_at, self.now);
        }
        Ok(())
    }

    fn identified(&self, identity: &Identity) -> Identity {
        Identity { slots: self.slots.clone(), ..identity.clone() }
    }
}
