//! Addresses as people write them.

use crate::transport::{Address, AddressError, Encryption};

#[test]
fn addresses_are_read_and_written() {
    let cases = [
        ("host:7000", "host", 7000, None, false),
        ("host.example:1/vm/disk.img", "host.example", 1, Some("vm/disk.img"), false),
        ("127.0.0.1:7000", "127.0.0.1", 7000, None, true),
        ("127.9.9.9:7000/a", "127.9.9.9", 7000, Some("a"), true),
        ("[::1]:7000/a:b", "::1", 7000, Some("a:b"), true),
        ("[fe80::1]:7000", "fe80::1", 7000, None, false),
        ("LOCALHOST:7000", "LOCALHOST", 7000, None, true),
        ("10.0.0.1:65535", "10.0.0.1", 65535, None, false),
    ];
    for (text, host, port, name, loopback) in cases {
        let address: Address = text.parse().unwrap();
        let got = (address.host.as_str(), address.port, address.name.as_ref().map(|name| name.as_str()), address.is_loopback());
        assert_eq!(got, (host, port, name, loopback));
        assert_eq!(address.to_string(), text);
    }
    for wrong in
        ["", "host", "host:", ":7", "host:0", "host:65536", "host:+7", "host:7:8", "::1:7", "[::1]", "[host]:7", "a b:7", "/a"]
    {
        assert!(matches!(wrong.parse::<Address>(), Err(AddressError::Form(_))), "{wrong}");
    }
    let error = "host:7/../a".parse::<Address>().unwrap_err().to_string();
    assert!(error.contains("below its own directory"), "{error}");
    assert!(matches!("host:7/".parse::<Address>(), Err(AddressError::Name { .. })));
}

#[test]
fn tls_is_on_unless_it_stays_here() {
    let wants = |mode: Encryption| (mode.wants_tls(true), mode.wants_tls(false));
    assert_eq!(wants(Encryption::default()), (false, true));
    assert_eq!(wants(Encryption::On), (true, true));
    assert_eq!(wants(Encryption::Off), (false, false));
}
