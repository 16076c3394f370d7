//! What `pagesieve record` and `pagesieve top` observe.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{ArgGroup, Args};
use pagesieve_recorder::Region;

// No doc comment: it would take the place of the verb's own.
#[derive(Args)]
#[command(group(ArgGroup::new("target").required(true).multiple(true)))]
pub(crate) struct TargetOptions {
    /// QMP socket of the guest. Give --pid as well if libvirt listens on it
    #[arg(long, value_name = "SOCKET", group = "target", conflicts_with_all = ["vm", "pid_file", "region", "command"])]
    pub(crate) qmp: Option<PathBuf>,
    /// Process. Of a QEMU its guest is taken, unless --region chooses mappings
    #[arg(long, group = "target", conflicts_with_all = ["vm", "pid_file", "command"])]
    pub(crate) pid: Option<u32>,
    /// File that holds the pid, as QEMU and libvirt write it
    #[arg(long, value_name = "FILE", group = "target", conflicts_with_all = ["vm", "command"])]
    pub(crate) pid_file: Option<PathBuf>,
    /// Name of the guest
    #[arg(long, value_name = "NAME", group = "target", conflicts_with = "command")]
    pub(crate) vm: Option<String>,
    /// Mappings to track: START-END in hexadecimal, or a part of the name. May be repeated. Default: every writable anonymous,
    /// memfd or shared-memory mapping of at least 1 MiB
    #[arg(long)]
    pub(crate) region: Vec<Region>,
    /// Command to start and observe
    #[arg(last = true, group = "target")]
    pub(crate) command: Vec<OsString>,
}
