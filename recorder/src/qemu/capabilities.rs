//! What QEMU's own migration must and must not do when it only carries the state of the devices.

use serde_json::{Value, json};

use super::qmp::{Qmp, QmpError};

/// The capability that leaves shared RAM out.
pub(super) const IGNORE_SHARED: &str = "x-ignore-shared";
/// The capability of a destination that leaves the disks to the source until `cont`.
pub(super) const LATE_DISKS: &str = "late-block-activate";

/// Capabilities that somebody's earlier migration may have left on, and with which a state cannot go through one socket while
/// the guest stands still: more connections, answers, pages that follow later, a stop for a word that nobody will say.
const IN_THE_WAY: [&str; 11] = [
    "multifd",
    "compress",
    "xbzrle",
    "rdma-pin-all",
    "zero-copy-send",
    "return-path",
    "postcopy-ram",
    "postcopy-preempt",
    "background-snapshot",
    "pause-before-switchover",
    "x-colo",
];

/// Sets capabilities, and takes those back that are in the way.
pub(super) fn set(qmp: &mut Qmp, names: &[&str]) -> Result<(), QmpError> {
    let known = qmp.execute("query-migrate-capabilities", json!({}))?;
    qmp.execute("migrate-set-capabilities", json!({ "capabilities": changes(&known, names) })).map(drop)
}

/// Only what is on is taken back: a QEMU that does not know a name refuses it.
fn changes(known: &Value, names: &[&str]) -> Vec<Value> {
    let on = |name: &&str| {
        let is = |known: &Value| known["capability"] == **name && known["state"] == true;
        known.as_array().is_some_and(|all| all.iter().any(is))
    };
    let change = |name: &&str, state: bool| json!({ "capability": name, "state": state });
    let back = IN_THE_WAY.iter().filter(|name| on(name)).map(|name| change(name, false));
    back.chain(names.iter().map(|name| change(name, true))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_the_way_is_taken_back_and_nothing_else() {
        let known = json!([
            { "capability": "multifd", "state": true },
            { "capability": "xbzrle", "state": false },
            { "capability": "events", "state": true },
        ]);
        let expected = json!([
            { "capability": "multifd", "state": false },
            { "capability": "x-ignore-shared", "state": true },
        ]);
        assert_eq!(json!(changes(&known, &[IGNORE_SHARED])), expected);
    }
}
