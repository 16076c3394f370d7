//! A pulse for whoever watches from outside: how long the guest stood still can be read off it.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::thread;
use std::time::Duration;

/// Numbers before they begin again at the first.
pub(crate) const NUMBERS: u8 = 64;
/// The first one's byte: from here on 64 bytes are plain characters, which no terminal changes.
const FIRST: u8 = b'0';

/// The byte of a number.
pub(crate) fn byte(number: u8) -> u8 {
    FIRST + number % NUMBERS
}

/// Writes a byte to a file again and again, from a thread of its own: numbers from 0 to 63, each as a plain character.
///
/// # Errors
/// The file cannot be opened. If it cannot be written to later, the pulse ends.
pub(crate) fn start(path: &Path, period: Duration) -> io::Result<()> {
    let mut file = File::options().write(true).open(path)?;
    thread::spawn(move || {
        let mut number = 0;
        while file.write_all(&[byte(number)]).is_ok() {
            number = (number + 1) % NUMBERS;
            thread::sleep(period);
        }
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_are_printable_and_none_is_used_twice() {
        let bytes: Vec<u8> = (0..NUMBERS).map(byte).collect();
        assert!(bytes.iter().all(u8::is_ascii_graphic) && bytes.windows(2).all(|pair| pair[0] < pair[1]), "{bytes:?}");
        assert_eq!(byte(NUMBERS), byte(0));
    }
}
