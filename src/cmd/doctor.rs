//! `pagesieve doctor`.

use crate::cli::Doctor;
use crate::output;

pub(crate) fn run(options: &Doctor) -> anyhow::Result<()> {
    let found = pagesieve_recorder::doctor();
    if options.json { output::json(&found) } else { output::line(&found) }
}
