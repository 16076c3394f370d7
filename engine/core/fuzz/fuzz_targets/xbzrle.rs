//! XBZRLE: what is encoded comes back, and what is not an encoding is refused and harmless.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pagesieve_core::delta::xbzrle;

fuzz_target!(|data: &[u8]| {
    decode(data);
    round_trip(data);
});

/// Decodes the input over a page whose length the first two bytes choose.
fn decode(data: &[u8]) {
    let Some((&length, delta)) = data.split_first_chunk() else { return };
    let old: Vec<u8> = (0..usize::from(u16::from_le_bytes(length)) % 4200).map(|at| at as u8).collect();
    let mut page = old.clone();
    let result = xbzrle::decode(delta, &mut page);
    assert_eq!(result, xbzrle::check(delta, page.len()));
    if result.is_err() {
        assert!(page == old, "a delta that is refused changes nothing");
        return;
    }
    // Ours may be longer: the input may call bytes changed that are not, and save the lengths of a pair.
    let mut again = vec![];
    xbzrle::encode(&old, &page, &mut again, usize::MAX).expect("there is always a delta");
    let mut decoded = old;
    xbzrle::decode(&again, &mut decoded).expect("a delta of ours is well-formed");
    assert!(decoded == page);
}

/// Takes the two halves of the input for two versions of a page, with a limit from the first bytes.
fn round_trip(data: &[u8]) {
    let Some((&limit, pair)) = data.split_first_chunk() else { return };
    let limit = usize::from(u16::from_le_bytes(limit)) % 4200;
    let (old, new) = pair.split_at(pair.len() / 2);
    let new = &new[..old.len()];
    let mut out = vec![7; 3];
    let length = xbzrle::encode(old, new, &mut out, limit);
    assert_eq!(length, xbzrle::encoded_len(old, new, limit));
    assert_eq!(out.len(), 3 + length.unwrap_or(0));
    assert_eq!(out[..3], [7; 3]);
    if length.is_none() {
        let real = xbzrle::encoded_len(old, new, usize::MAX).expect("there is always a delta");
        assert!(real > limit, "a delta that fits is given");
        return;
    }
    let mut page = old.to_vec();
    xbzrle::decode(&out[3..], &mut page).expect("a delta of ours is well-formed");
    assert!(page == new);
}
