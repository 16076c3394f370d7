//! Options of the verbs that talk to other machines: how a connection is protected, and `pagesieve serve` and `pagesieve keys`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::units;

/// How a connection is protected.
#[derive(Args)]
pub(crate) struct Security {
    /// TLS: auto (unless both ends are on this machine), on, or off (whoever is on the network can read and change everything)
    #[arg(long, default_value = "auto", value_name = "WHEN")]
    pub(crate) tls: Tls,
    /// Certificate of this side, as `pagesieve keys` made it: DIR/NAME.pem, DIR/NAME.key and DIR/ca.pem
    #[arg(long, value_name = "DIR/NAME")]
    pub(crate) keys: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Tls {
    Auto,
    On,
    Off,
}

/// Take files and guests from other machines
#[derive(Args)]
#[command(after_help = "\
Examples:
  pagesieve serve --listen 127.0.0.1:7447 --dir /backup
  pagesieve serve --listen 0.0.0.0:7447 --dir /backup --keys keys/backup1

Who may connect: whoever has a certificate of the same CA, and one of the names in --allow if there are any. On a loopback address \
without TLS, everybody on this machine. \
Names that a client sends cannot lead out of the folder, not even by a symbolic link in it.")]
pub(crate) struct Serve {
    /// Address to listen on; with port 0 the system chooses one. The address is printed
    #[arg(long, value_name = "ADDR:PORT")]
    pub(crate) listen: std::net::SocketAddr,
    /// Folder to write below
    #[arg(long)]
    pub(crate) dir: PathBuf,
    #[command(flatten)]
    pub(crate) security: Security,
    /// Take only sources whose certificate bears this name, one of those that `pagesieve keys` was given. May be repeated
    #[arg(long, value_name = "NAME")]
    pub(crate) allow: Vec<String>,
    /// Threads that make the fingerprints of a file
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) hash_workers: u16,
    /// Take a guest of this name into the QEMU that waits behind this monitor. May be repeated
    #[arg(long = "guest", value_name = "NAME=SOCKET", value_parser = units::named_path)]
    pub(crate) guests: Vec<(String, PathBuf)>,
    /// End after the first session. Not with guests: a source whose connection broke asks on another one whether its guest runs
    #[arg(long, conflicts_with = "guests")]
    pub(crate) once: bool,
}

/// Make the certificates that `sync` and `serve` show each other
#[derive(Args)]
#[command(after_help = "\
Examples:
  pagesieve keys keys/backup1 backup1.example 192.0.2.7
  pagesieve keys keys/web1 web1.example

The first certificate in a folder makes a CA there as well: ca.pem, which both sides need, and ca.key, which is needed only here to \
make more certificates. Copy NAME.pem, NAME.key and ca.pem to the machine of that name.")]
pub(crate) struct Keys {
    /// Folder and name of the certificate
    #[arg(value_name = "DIR/NAME")]
    pub(crate) path: PathBuf,
    /// Names and addresses by which the machine is connected to
    #[arg(required = true, value_name = "HOST")]
    pub(crate) hosts: Vec<String>,
    /// Days for which the certificate is good
    #[arg(long, default_value_t = 3650)]
    pub(crate) days: u32,
    /// Replace the certificate if it exists; the CA stays
    #[arg(long)]
    pub(crate) force: bool,
}
