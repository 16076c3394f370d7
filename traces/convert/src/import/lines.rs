//! Reads lines of bounded length, and counts bytes for whoever waits.

use std::io::{self, BufRead, BufReader, Read};

use super::ImportError;

/// Longest line that is kept; the rest of a longer one is read past. A symbol of C++ can be long.
const LONGEST: u64 = 64 << 10;

/// Bytes between two reports of progress.
const STEP: u64 = 1 << 20;

/// Tells how many bytes were read.
pub(super) struct Counted<'a, R> {
    input: R,
    read: u64,
    told: u64,
    progress: &'a mut dyn FnMut(u64),
}

impl<'a, R: Read> Counted<'a, R> {
    /// `before` bytes were read in an earlier pass.
    pub(super) fn new(input: R, before: u64, progress: &'a mut dyn FnMut(u64)) -> Self {
        Self { input, read: before, told: before, progress }
    }
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let got = self.input.read(buffer)?;
        self.read += got as u64;
        if got == 0 || self.read >= self.told + STEP {
            self.told = self.read;
            (self.progress)(self.read);
        }
        Ok(got)
    }
}

/// Calls `each` with each line, without its end.
pub(super) fn for_each(input: impl Read, mut each: impl FnMut(&[u8]) -> Result<(), ImportError>) -> Result<(), ImportError> {
    let mut input = BufReader::with_capacity(1 << 17, input);
    let mut line = Vec::new();
    loop {
        line.clear();
        let got = input.by_ref().take(LONGEST).read_until(b'\n', &mut line).map_err(ImportError::Input)?;
        if got == 0 {
            return Ok(());
        }
        if line.last() == Some(&b'\n') {
            line.pop();
        } else if got as u64 == LONGEST {
            skip_line(&mut input).map_err(ImportError::Input)?;
        }
        each(&line)?;
    }
}

fn skip_line(input: &mut impl BufRead) -> io::Result<()> {
    loop {
        let bytes = input.fill_buf()?;
        if bytes.is_empty() {
            return Ok(());
        }
        let end = bytes.iter().position(|&byte| byte == b'\n');
        let used = end.map_or(bytes.len(), |at| at + 1);
        input.consume(used);
        if end.is_some() {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_without_end_costs_no_memory_and_hides_no_other() {
        let mut text = b"one\n".to_vec();
        text.resize(300_000, b'x');
        text.extend_from_slice(b"\nthree\n\nlast");
        let mut lines = Vec::new();
        for_each(&text[..], |line| {
            lines.push((line.len(), line.to_vec()));
            Ok(())
        })
        .unwrap();
        let lengths: Vec<_> = lines.iter().map(|line| line.0).collect();
        assert_eq!(lengths, [3, LONGEST as usize, 5, 0, 4]);
        assert_eq!((&lines[2].1[..], &lines[4].1[..]), (&b"three"[..], &b"last"[..]));
    }

    #[test]
    fn progress_counts_every_byte_and_begins_behind_the_first_pass() {
        let mut told = Vec::new();
        let mut progress = |bytes| told.push(bytes);
        let text = vec![b'\n'; 3 << 20];
        for_each(Counted::new(&text[..], 100, &mut progress), |_| Ok(())).unwrap();
        assert_eq!(told.last(), Some(&(100 + (3 << 20))));
        assert!(told.len() > 2 && told.is_sorted(), "{told:?}");
    }
}
