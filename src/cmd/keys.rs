//! `pagesieve keys`.

use pagesieve_live::transport::keys::{make_ca, make_host};

use super::network;
use crate::cli::Keys;
use crate::output;

pub(crate) fn run(options: &Keys) -> anyhow::Result<()> {
    let (folder, name) = network::split(&options.path)?;
    if !folder.join("ca.pem").exists() {
        make_ca(folder, options.days, false)?.iter().try_for_each(|path| output::line(path.display()))?;
    }
    let made = make_host(folder, name, &options.hosts, options.days, options.force)?;
    made.iter().try_for_each(|path| output::line(path.display()))
}
