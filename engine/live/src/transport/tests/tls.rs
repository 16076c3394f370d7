//! Mutual TLS, and everything that can be wrong with it.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::sessions::exchange;
use super::{LONG, connector, fail, listen, listen_plain, meet, plain};
use crate::transport::keys::{make_ca, make_host};
use crate::transport::{ClientSecurity, ClientTls, Connector, Listener, ListenerLimits, ServerSecurity, TlsFiles};

const HERE: [&str; 2] = ["127.0.0.1", "localhost"];

/// A directory with a CA and certificates `server` and `client`.
pub(super) fn keys() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    make_ca(directory.path(), 30, false).unwrap();
    host(directory.path(), "server", &HERE, 30);
    host(directory.path(), "client", &["client.example"], 30);
    directory
}

fn host(directory: &Path, name: &str, hosts: &[&str], days: u32) {
    let hosts: Vec<_> = hosts.iter().map(|&host| host.to_owned()).collect();
    make_host(directory, name, &hosts, days, true).unwrap();
}

pub(super) async fn listener(directory: &Path, name: &str) -> Listener {
    listener_for(directory, name, &[]).await
}

/// One that takes only sources with these names.
async fn listener_for(directory: &Path, name: &str, allowed: &[&str]) -> Listener {
    let allowed: Vec<_> = allowed.iter().map(|&name| name.to_owned()).collect();
    let tls = TlsFiles::in_directory(directory, name).server(&allowed).unwrap();
    listen(ServerSecurity::Tls(tls), LONG, ListenerLimits::default()).await.0
}

pub(super) fn client(directory: &Path, name: &str) -> Connector {
    connector(ClientSecurity::Tls(TlsFiles::in_directory(directory, name).client().unwrap()))
}

/// One that trusts the CA and has no certificate.
fn without_certificate(directory: &Path) -> Connector {
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(crate::transport::tls::certificates(&directory.join("ca.pem")).unwrap());
    let builder = rustls::ClientConfig::builder_with_provider(crate::transport::tls::provider());
    let builder = builder.with_protocol_versions(&[&rustls::version::TLS13]).unwrap();
    let config = builder.with_root_certificates(roots).with_no_client_auth();
    connector(ClientSecurity::Tls(ClientTls(std::sync::Arc::new(config))))
}

#[tokio::test]
async fn mutual_tls_by_address_and_by_name() {
    let keys = keys();
    let mut listener = listener(keys.path(), "server").await;
    for (host, streams) in [("127.0.0.1", 1), ("localhost", 8)] {
        let (mut near, mut far) = meet(&mut listener, &client(keys.path(), "client"), host, streams).await;
        exchange(&mut near, &mut far).await;
    }
}

#[tokio::test]
async fn another_ca_is_refused_on_both_sides() {
    let (ours, theirs) = (keys(), keys());
    let mut listener = listener(ours.path(), "server").await;
    let (near, _) = fail(&mut listener, &client(theirs.path(), "client"), "127.0.0.1").await;
    assert!(near.contains("the destination's certificate is not signed by the CA of this side"), "{near}");
    assert!(near.contains("same `pagesieve keys`"), "{near}");
    // A client that trusts the server, with a certificate of another CA.
    fs::copy(ours.path().join("ca.pem"), theirs.path().join("ca.pem")).unwrap();
    let (near, far) = fail(&mut listener, &client(theirs.path(), "client"), "127.0.0.1").await;
    assert!(near.contains("the destination does not accept the certificate of this side"), "{near}");
    assert!(far.contains("the source's certificate is not signed by the CA of this side"), "{far}");
}

#[tokio::test]
async fn only_names_that_are_allowed_come_in() {
    let keys = keys();
    host(keys.path(), "other", &["other.example", "10.0.0.7"], 30);
    for allowed in [&["client.example"][..], &["other.example", "client.example"]] {
        let mut listener = listener_for(keys.path(), "server", allowed).await;
        let (mut near, mut far) = meet(&mut listener, &client(keys.path(), "client"), "127.0.0.1", 2).await;
        exchange(&mut near, &mut far).await;
    }
    for allowed in [&["other.example"][..], &["10.0.0.7", "CLIENT"], &["example"]] {
        let mut listener = listener_for(keys.path(), "server", allowed).await;
        let (near, far) = fail(&mut listener, &client(keys.path(), "client"), "127.0.0.1").await;
        assert!(near.contains("the destination allows none of the names in the certificate of this side"), "{near}");
        assert!(far.contains("the source's certificate bears none of the names that are allowed here"), "{far}");
    }
    let mut listener = listener_for(keys.path(), "server", &["10.0.0.7"]).await;
    meet(&mut listener, &client(keys.path(), "other"), "127.0.0.1", 1).await;
    // The CA is looked at as well: a name alone is no proof.
    let foreign = super::tls::keys();
    fs::copy(keys.path().join("ca.pem"), foreign.path().join("ca.pem")).unwrap();
    let (near, _) = fail(&mut listener, &client(foreign.path(), "client"), "127.0.0.1").await;
    assert!(near.contains("does not accept the certificate of this side"), "{near}");
    let wrong = TlsFiles::in_directory(keys.path(), "server").server(&["no name".to_owned()]).unwrap_err();
    assert!(wrong.to_string().contains("neither a DNS name nor an IP address"), "{wrong}");
}

#[tokio::test]
async fn a_client_without_a_certificate_is_refused() {
    let keys = keys();
    let mut listener = listener(keys.path(), "server").await;
    let (near, far) = fail(&mut listener, &without_certificate(keys.path()), "127.0.0.1").await;
    assert!(near.contains("the destination wants a certificate of this side"), "{near}");
    assert!(far.contains("the source has shown no certificate"), "{far}");
}

#[tokio::test]
async fn old_certificates_are_refused() {
    let keys = keys();
    host(keys.path(), "old", &HERE, 0);
    let mut old = listener(keys.path(), "old").await;
    let (near, _) = fail(&mut old, &client(keys.path(), "client"), "127.0.0.1").await;
    assert!(near.contains("the destination's certificate has expired"), "{near}");
    let mut listener = listener(keys.path(), "server").await;
    let (near, far) = fail(&mut listener, &client(keys.path(), "old"), "127.0.0.1").await;
    assert!(near.contains("the certificate of this side has expired"), "{near}");
    assert!(far.contains("the source's certificate has expired"), "{far}");
}

#[tokio::test]
async fn a_certificate_for_another_host_is_refused() {
    let keys = keys();
    host(keys.path(), "elsewhere", &["elsewhere.example", "10.1.2.3"], 30);
    let mut listener = listener(keys.path(), "elsewhere").await;
    for host in HERE {
        let (near, _) = fail(&mut listener, &client(keys.path(), "client"), host).await;
        assert!(near.contains("the destination's certificate is not for the name"), "{near}");
    }
}

#[tokio::test]
async fn plain_and_tls_tell_each_other() {
    let keys = keys();
    let mut tls = listener(keys.path(), "server").await;
    let (near, far) = fail(&mut tls, &plain(), "127.0.0.1").await;
    assert!(near.contains("it wants TLS"), "{near}");
    assert!(far.contains("the source does not speak TLS"), "{far}");
    let (mut without, _) = listen_plain().await;
    let (near, far) = fail(&mut without, &client(keys.path(), "client"), "127.0.0.1").await;
    assert!(near.contains("the destination does not speak TLS"), "{near}");
    assert!(far.contains("it has no TLS"), "{far}");
}

#[test]
fn files_that_are_none_are_named() {
    let keys = keys();
    let files = TlsFiles::in_directory(keys.path(), "client");
    let missing = TlsFiles { ca: keys.path().join("no.pem"), ..files.clone() };
    let swapped = TlsFiles { certificate: files.key.clone(), ..files.clone() };
    let mixed = TlsFiles { key: keys.path().join("server.key"), ..files };
    for (files, name) in [(missing, "no.pem"), (swapped, "client.key"), (mixed, "server.key")] {
        let error = files.client().unwrap_err().to_string();
        assert!(error.contains(name) && error.contains("pagesieve keys"), "{error}");
        assert_eq!(files.server(&[]).unwrap_err().to_string(), error);
    }
}
