//! What two QEMUs must have in common so that the RAM of one can become that of the other.

use std::fmt;

use serde_json::{Value, json};

use super::error::StateError;
use super::memory;
use super::qmp::Qmp;

/// The RAM of a guest, without regard to where a QEMU has it mapped. Two that are equal hold the same bytes at the same places.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RamLayout {
    /// The parts, by guest address.
    pub parts: Vec<RamPart>,
}

/// A contiguous part of guest RAM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RamPart {
    /// Name of the memory backend.
    pub backend: String,
    /// Physical address in the guest, in bytes.
    pub gpa: u64,
    /// Length in bytes.
    pub len: u64,
}

impl fmt::Display for RamLayout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, part) in self.parts.iter().enumerate() {
            let comma = if index > 0 { ", " } else { "" };
            write!(f, "{comma}{} KiB of {} at {:#x}", part.len >> 10, part.backend, part.gpa)?;
        }
        Ok(())
    }
}

impl RamLayout {
    /// Asks a QEMU. Memory that QEMU would put into the device state is refused.
    pub(super) fn ask(qmp: &mut Qmp) -> Result<Self, StateError> {
        if let Some(backend) = private_backend(&qmp.execute("query-memdev", json!({}))?) {
            return Err(StateError::PrivateRam { backend });
        }
        let ram = memory::ask(qmp)?;
        let parts = ram.iter().map(|part| RamPart { backend: part.backend.clone(), gpa: part.gpa, len: part.len() }).collect();
        Ok(Self { parts })
    }
}

/// A backend that is not shared, or does not say.
fn private_backend(answer: &Value) -> Option<String> {
    let mut all = answer.as_array().into_iter().flatten();
    let private = all.find(|backend| backend.get("share") != Some(&Value::Bool(true)))?;
    Some(private.get("id").and_then(Value::as_str).unwrap_or("without a name").to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backend_that_is_not_known_to_be_shared_is_private() {
        assert_eq!(private_backend(&json!([{ "id": "a", "share": true }, { "id": "b", "share": true }])), None);
        assert_eq!(private_backend(&json!([{ "id": "a", "share": true }, { "id": "b", "share": false }])), Some("b".to_owned()));
        assert_eq!(private_backend(&json!([{ "id": "a" }])), Some("a".to_owned()));
    }
}
