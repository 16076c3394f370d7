//! Lines of `valgrind --tool=lackey --trace-mem=yes`.
//!
//! A line is a letter in one of the first two columns, an address in hexadecimal digits, a comma, and a length in bytes:
//!
//! ```text
//! I  04001090,3
//!  S 1ffefffe38,8
//!  L 0402ce80,8
//!  M 04024e48,8
//! ```
//!
//! `I` is an instruction, `L` a load, `S` a store, `M` a load and a store at the same place. There is no time: instructions are
//! counted, one for a nanosecond. Threads are not told apart. Lines of valgrind itself begin with `==` or `--`.

use std::io::Read;

use pagesieve_core::{AccessKind, Origin};

use super::{Counts, ImportError, Seen, Sink, Told, lines};

/// One line: the letter, the address, the length.
fn parse(line: &[u8]) -> Option<(u8, u64, u64)> {
    let (kind, rest) = match line {
        [b'I', b' ', b' ', rest @ ..] => (b'I', rest),
        [b' ', kind @ (b'L' | b'S' | b'M'), b' ', rest @ ..] => (*kind, rest),
        _ => return None,
    };
    let rest = rest.trim_ascii();
    let comma = rest.iter().position(|&byte| byte == b',')?;
    let address = number(&rest[..comma], 16)?;
    let length = number(&rest[comma + 1..], 10).filter(|length| (1..=4096).contains(length))?;
    Some((kind, address, length))
}

fn number(digits: &[u8], radix: u32) -> Option<u64> {
    // `from_str_radix` would take a sign.
    digits.first().filter(|first| first.is_ascii_hexdigit())?;
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, radix).ok()
}

/// True if only lackey writes such a line.
pub(super) fn is_access(line: &[u8]) -> bool {
    parse(line).is_some()
}

/// Reads the whole output.
pub(super) fn read(input: impl Read, sink: Sink<'_>) -> Result<Counts, ImportError> {
    let mut counts = Counts { hooks: vec!["valgrind/lackey".to_owned()], ..Counts::default() };
    let mut instructions = 0;
    lines::for_each(input, |line| {
        counts.lines += 1;
        let Some((kind, start, length)) = parse(line) else {
            let valgrind = line.is_empty() || line.starts_with(b"==") || line.starts_with(b"--");
            *(if valgrind { &mut counts.other } else { &mut counts.malformed }) += 1;
            if let Some(command) = line.starts_with(b"==").then(|| command(line)).flatten() {
                counts.command.get_or_insert(command);
            }
            return Ok(());
        };
        counts.used += 1;
        let mut access = |kind| {
            let seen = Seen { time: instructions, start, length, kind, origin: Origin::User, cpu: 0, tid: 0 };
            sink(Told::Access(seen))
        };
        match kind {
            b'I' => {
                access(AccessKind::Exec)?;
                instructions += 1;
            }
            b'L' => access(AccessKind::Read)?,
            b'S' => access(AccessKind::Write)?,
            _ => {
                access(AccessKind::Read)?;
                access(AccessKind::Write)?;
            }
        }
        Ok(())
    })?;
    counts.end = Some(instructions);
    Ok(counts)
}

/// The program, from valgrind's line `==123== Command: ./program --flag`.
fn command(line: &[u8]) -> Option<String> {
    let line = String::from_utf8_lossy(line);
    let (_, command) = line.split_once("== Command: ")?;
    Some(command.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> (Vec<(u64, u64, AccessKind)>, Counts) {
        let mut told = Vec::new();
        let counts = read(text.as_bytes(), &mut |access| {
            if let Told::Access(seen) = access {
                told.push((seen.time, seen.start, seen.kind));
            }
            Ok(())
        });
        (told, counts.unwrap())
    }

    #[test]
    fn instructions_are_the_clock() {
        let text = "==7== Command: ls -l\nI  04001090,3\n S 1ffefffe38,8\nI  04001093,5\n M 04024e48,4\n\n";
        let (told, counts) = told(text);
        use AccessKind::{Exec, Read, Write};
        let expected = [
            (0, 0x400_1090, Exec),
            (1, 0x1f_fefffe38, Write),
            (1, 0x400_1093, Exec),
            (2, 0x402_4e48, Read),
            (2, 0x402_4e48, Write),
        ];
        assert_eq!(told, expected);
        assert_eq!((counts.lines, counts.used, counts.other, counts.malformed, counts.end), (6, 4, 2, 0, Some(2)));
        assert_eq!(counts.command.as_deref(), Some("ls -l"));
    }

    #[test]
    fn lines_that_make_no_sense_are_counted() {
        let wrong = [
            "hello",
            " X 04001090,3",
            " L 04001090",
            " L ,8",
            " L xyz,8",
            " L 1,0",
            " L 1,5000",
            " L +1,8",
            " L 11112222333344445,8",
            "I 04001090,3",
        ];
        let (told, counts) = told(&wrong.join("\n"));
        assert_eq!((told.len(), counts.malformed), (0, wrong.len() as u64));
        assert!(wrong.iter().all(|line| !is_access(line.as_bytes())));
    }
}
