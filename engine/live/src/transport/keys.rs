//! Makes a CA and certificates for hosts.
//!
//! One certificate serves a source and a destination alike. Keys are files of mode 0600. `ca.key` is needed only to make more
//! certificates: keep it off the hosts.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};

use super::tls::{self, TlsFiles, provider};
use crate::wire::Name;

/// How many days certificates are valid unless said otherwise.
pub const DAYS: u32 = 3650;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeysError {
    /// They are there already.
    #[error("write {0}: it exists; choose another directory or name, or say `--force` to replace it")]
    Exists(PathBuf),
    /// A file cannot be read or written.
    #[error("use {path}: {error}")]
    File {
        /// Which.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// The name cannot be that of a file.
    #[error("make a certificate for {0:?}: take a name without / that does not begin with a dot and is not ca")]
    Name(String),
    /// Nobody could connect to it.
    #[error("make a certificate for {0} without a name or address: give those that it is connected to by")]
    NoNames(String),
    /// A certificate cannot hold that.
    #[error("make a certificate for {0:?}: it is neither a DNS name nor an IP address")]
    Host(String),
    /// The CA's files are not those of one CA that this module made.
    #[error("sign with {0}: it is not the key of the ca.pem beside it; make the CA anew with `pagesieve keys`")]
    OtherKey(PathBuf),
    /// The library fails.
    #[error("make a certificate: {0}")]
    Make(#[from] rcgen::Error),
}

/// Makes `ca.pem` and `ca.key` in a directory, which is made if it is not there. Gives both paths.
///
/// # Errors
/// One of them exists and `force` is false, or the directory cannot be written.
pub fn make_ca(directory: &Path, days: u32, force: bool) -> Result<[PathBuf; 2], KeysError> {
    let paths = ["ca.pem", "ca.key"].map(|name| directory.join(name));
    refuse_existing(&paths, force)?;
    let key = KeyPair::generate()?;
    let certificate = ca_params(days).self_signed(&key)?;
    fs::create_dir_all(directory).map_err(|error| KeysError::File { path: directory.to_owned(), error })?;
    write(&paths[1], &key.serialize_pem(), 0o600, force)?;
    write(&paths[0], &certificate.pem(), 0o644, force)?;
    Ok(paths)
}

/// Makes `NAME.pem` and `NAME.key`, signed by the CA in the directory, for a host that has these DNS names and IP addresses.
/// Gives both paths.
///
/// # Errors
/// One of them exists and `force` is false, the CA is missing, or a host is no name.
pub fn make_host(directory: &Path, name: &str, hosts: &[String], days: u32, force: bool) -> Result<[PathBuf; 2], KeysError> {
    let one_component = Name::new(name).is_ok_and(|name| name.components().count() == 1);
    if !one_component || name.starts_with('.') || name == "ca" {
        return Err(KeysError::Name(name.to_owned()));
    }
    let Some(first) = hosts.first() else { return Err(KeysError::NoNames(name.to_owned())) };
    let files = TlsFiles::in_directory(directory, name);
    let paths = [files.certificate, files.key];
    refuse_existing(&paths, force)?;
    let ca_key_path = directory.join("ca.key");
    let ca_key = fs::read_to_string(&ca_key_path).map_err(|error| KeysError::File { path: ca_key_path.clone(), error })?;
    let ca_key = KeyPair::from_pem(&ca_key)?;
    let key = KeyPair::generate()?;
    let certificate = host_params(name, hosts, days)?.signed_by(&key, &Issuer::new(ca_params(days), ca_key))?;
    if days > 0 && !is_signed_by(&files.ca, certificate.der(), first) {
        return Err(KeysError::OtherKey(ca_key_path));
    }
    write(&paths[1], &key.serialize_pem(), 0o600, force)?;
    write(&paths[0], &certificate.pem(), 0o644, force)?;
    Ok(paths)
}

fn ca_params(days: u32) -> CertificateParams {
    let mut params = common_params("pagesieve CA", days);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn host_params(name: &str, hosts: &[String], days: u32) -> Result<CertificateParams, KeysError> {
    let mut params = common_params(name, days);
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    for host in hosts {
        params.subject_alt_names.push(alternative_name(host)?);
    }
    Ok(params)
}

fn alternative_name(host: &str) -> Result<SanType, KeysError> {
    let wrong = || KeysError::Host(host.to_owned());
    match ServerName::try_from(host).map_err(|_| wrong())? {
        ServerName::IpAddress(_) => Ok(SanType::IpAddress(host.parse::<IpAddr>().map_err(|_| wrong())?)),
        _ => Ok(SanType::DnsName(host.try_into().map_err(|_| wrong())?)),
    }
}

/// From yesterday, since clocks differ, for so many days from now. With 0 days it has expired already.
fn common_params(common_name: &str, days: u32) -> CertificateParams {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let start = rcgen::date_time_ymd(1970, 1, 1) + now.saturating_sub(DAY);
    let mut params = CertificateParams::default();
    params.not_before = start;
    params.not_after = start + DAY * days + if days == 0 { Duration::from_secs(1) } else { DAY };
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params
}

/// Whether those who trust `ca` will trust the certificate.
fn is_signed_by(ca: &Path, certificate: &CertificateDer<'_>, host: &str) -> bool {
    let Ok(authorities) = tls::certificates(ca) else { return false };
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(authorities);
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider()).build();
    let (Ok(verifier), Ok(name)) = (verifier, ServerName::try_from(host)) else { return false };
    verifier.verify_server_cert(certificate, &[], &name, &[], UnixTime::now()).is_ok()
}

fn refuse_existing(paths: &[PathBuf], force: bool) -> Result<(), KeysError> {
    // A broken link counts: it would be written through.
    let existing = paths.iter().find(|path| path.symlink_metadata().is_ok());
    existing.filter(|_| !force).map_or(Ok(()), |path| Err(KeysError::Exists(path.clone())))
}

/// Writes a new file beside the old one and puts it in its place, so that there is no time at which a key can be read by others
/// or is half there.
fn write(path: &Path, content: &str, mode: u32, force: bool) -> Result<(), KeysError> {
    let failed = |path: &Path, error: io::Error| match error.kind() {
        io::ErrorKind::AlreadyExists => KeysError::Exists(path.to_owned()),
        _ => KeysError::File { path: path.to_owned(), error },
    };
    let create = |path: &Path| OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    let fill = |mut file: File| file.write_all(content.as_bytes()).and_then(|()| file.sync_all());
    if !force {
        return create(path).and_then(fill).map_err(|error| failed(path, error));
    }
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = PathBuf::from(new);
    let _ = fs::remove_file(&new);
    create(&new).and_then(fill).map_err(|error| failed(&new, error))?;
    fs::rename(&new, path).map_err(|error| failed(path, error))
}
