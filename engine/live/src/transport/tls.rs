//! TLS 1.3 with certificates on both sides.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::version::TLS13;
use rustls::{AlertDescription, CertificateError, ClientConfig, InvalidMessage, RootCertStore, ServerConfig};

use super::allow::Allowed;

/// The files of one side; [`keys`](super::keys) makes them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate of the CA that signed those of both sides.
    pub ca: PathBuf,
    /// The certificate of this side.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// TLS of a destination. Whoever has a certificate of the CA may connect, unless only some names are allowed.
#[derive(Clone, Debug)]
pub struct ServerTls(pub(super) Arc<ServerConfig>);

/// TLS of a source. The destination's certificate must be of the CA and bear the name or address that was connected to.
#[derive(Clone, Debug)]
pub struct ClientTls(pub(super) Arc<ClientConfig>);

/// What is wrong with TLS.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be used.
    #[error("read {path}: {why}; make the files with `pagesieve keys`")]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        why: String,
    },
    /// The host cannot stand in a certificate.
    #[error("use {0} with TLS: it is neither a DNS name nor an IP address")]
    Host(String),
    /// The other side does not accept us, or we do not accept it.
    #[error("set up TLS: {0}")]
    Problem(Problem),
    /// Anything else.
    #[error("set up TLS with the {peer}: {error}; make the files of both sides with the same `pagesieve keys`")]
    Other {
        /// Who is at the other end.
        peer: &'static str,
        /// What the library says.
        error: rustls::Error,
    },
}

/// What one side has against the other. `peer` is who is at the other end: `source` or `destination`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// Another CA.
    #[error("the {peer}'s certificate is not signed by the CA of this side; make both with the same `pagesieve keys`")]
    OtherCa {
        /// The other end.
        peer: &'static str,
    },
    /// Not valid any more.
    #[error("the {peer}'s certificate has expired; make a new one with `pagesieve keys`, and check the clocks of both machines")]
    Expired {
        /// The other end.
        peer: &'static str,
    },
    /// Not valid yet.
    #[error("the {peer}'s certificate is not valid yet; check the clocks of both machines")]
    NotYet {
        /// The other end.
        peer: &'static str,
    },
    /// A certificate for another host.
    #[error(
        "the {peer}'s certificate is not for the name that was connected to; make one that names it with `pagesieve keys`, or connect by a name in it"
    )]
    OtherName {
        /// The other end.
        peer: &'static str,
    },
    /// No certificate.
    #[error("the {peer} has shown no certificate; give it one from `pagesieve keys`")]
    Without {
        /// The other end.
        peer: &'static str,
    },
    /// The other side wants a certificate.
    #[error("the {peer} wants a certificate of this side; give it one from the same `pagesieve keys`")]
    Wanted {
        /// The other end.
        peer: &'static str,
    },
    /// A certificate without a name that is allowed.
    #[error("the {peer}'s certificate bears none of the names that are allowed here; if it is welcome, add one with --allow")]
    NotAllowed {
        /// The other end.
        peer: &'static str,
    },
    /// The other side does not allow any name in our certificate.
    #[error("the {peer} allows none of the names in the certificate of this side; have one added there with --allow")]
    OursNotAllowed {
        /// The other end.
        peer: &'static str,
    },
    /// The other side refuses our certificate.
    #[error("the {peer} does not accept the certificate of this side; make both with the same `pagesieve keys`")]
    Refused {
        /// The other end.
        peer: &'static str,
    },
    /// The other side finds our certificate expired.
    #[error(
        "the {peer} says that the certificate of this side has expired; make a new one with `pagesieve keys`, and check the clocks of both machines"
    )]
    OursExpired {
        /// The other end.
        peer: &'static str,
    },
    /// No TLS there.
    #[error("the {peer} does not speak TLS; start both sides with the same `--tls`")]
    NotTls {
        /// The other end.
        peer: &'static str,
    },
}

impl TlsError {
    /// The error of TLS inside an error of a stream, if that is what it is.
    pub(super) fn within(error: &io::Error, peer: &'static str) -> Option<Self> {
        let error = error.get_ref()?.downcast_ref::<rustls::Error>()?;
        Some(match problem(error, peer) {
            Some(problem) => Self::Problem(problem),
            None => Self::Other { peer, error: error.clone() },
        })
    }
}

fn problem(error: &rustls::Error, peer: &'static str) -> Option<Problem> {
    use rustls::Error;
    Some(match error {
        Error::InvalidCertificate(certificate) => match certificate {
            // All our CAs bear one name, so a foreign one shows as a wrong signature.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => Problem::OtherCa { peer },
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => Problem::Expired { peer },
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => Problem::NotYet { peer },
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => Problem::OtherName { peer },
            CertificateError::ApplicationVerificationFailure => Problem::NotAllowed { peer },
            _ => return None,
        },
        Error::NoCertificatesPresented => Problem::Without { peer },
        Error::AlertReceived(alert) => match alert {
            AlertDescription::CertificateRequired => Problem::Wanted { peer },
            AlertDescription::CertificateExpired => Problem::OursExpired { peer },
            AlertDescription::AccessDenied => Problem::OursNotAllowed { peer },
            AlertDescription::UnknownCA
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::DecryptError => Problem::Refused { peer },
            _ => return None,
        },
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => Problem::NotTls { peer },
        _ => return None,
    })
}

impl TlsFiles {
    /// The three files that [`keys`](super::keys) makes for `host` in a directory.
    #[must_use]
    pub fn in_directory(directory: &Path, host: &str) -> Self {
        let file = |name: String| directory.join(name);
        Self { ca: file("ca.pem".to_owned()), certificate: file(format!("{host}.pem")), key: file(format!("{host}.key")) }
    }

    /// For a destination that takes sources whose certificate bears one of these DNS names or IP addresses; all of the CA if there
    /// are none.
    ///
    /// # Errors
    /// A file is missing or not what it should be, or a name is none.
    pub fn server(&self, allowed: &[String]) -> Result<ServerTls, TlsError> {
        let (roots, chain, key) = self.load()?;
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider()).build();
        let mut verifier = verifier.map_err(|error| wrong(&self.ca, error))?;
        if !allowed.is_empty() {
            let names = allowed.iter().map(|name| ServerName::try_from(name.clone()).map_err(|_| TlsError::Host(name.clone())));
            verifier = Arc::new(Allowed { inner: verifier, names: names.collect::<Result<_, _>>()? });
        }
        let builder = ServerConfig::builder_with_provider(provider()).with_protocol_versions(&[&TLS13]);
        let builder = builder.map_err(|error| wrong(&self.certificate, error))?.with_client_cert_verifier(verifier);
        let mut config = builder.with_single_cert(chain, key).map_err(|error| wrong(&self.key, error))?;
        config.send_tls13_tickets = 0;
        Ok(ServerTls(Arc::new(config)))
    }

    /// For a source.
    ///
    /// # Errors
    /// A file is missing or not what it should be.
    pub fn client(&self) -> Result<ClientTls, TlsError> {
        let (roots, chain, key) = self.load()?;
        let builder = ClientConfig::builder_with_provider(provider()).with_protocol_versions(&[&TLS13]);
        let builder = builder.map_err(|error| wrong(&self.certificate, error))?.with_root_certificates(roots);
        let mut config = builder.with_client_auth_cert(chain, key).map_err(|error| wrong(&self.key, error))?;
        config.resumption = Resumption::disabled();
        Ok(ClientTls(Arc::new(config)))
    }

    fn load(&self) -> Result<(RootCertStore, Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), TlsError> {
        let mut roots = RootCertStore::empty();
        for certificate in certificates(&self.ca)? {
            roots.add(certificate).map_err(|error| wrong(&self.ca, error))?;
        }
        let key = PrivateKeyDer::from_pem_file(&self.key).map_err(|error| wrong(&self.key, error))?;
        Ok((roots, certificates(&self.certificate)?, key))
    }
}

pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// The certificates in a PEM file, at least one.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let found = found.map_err(|error| wrong(path, error))?;
    if found.is_empty() { Err(wrong(path, "there is no certificate in it")) } else { Ok(found) }
}

fn wrong(path: &Path, why: impl fmt::Display) -> TlsError {
    TlsError::File { path: path.to_owned(), why: why.to_string() }
}
