//! Text of `perf script` over page faults: the software events `page-faults`, `minor-faults` and `major-faults`, and the tracepoints
//! `exceptions:page_fault_user` and `page_fault_kernel`.
//!
//! perf prints the fields that it was asked for, always in this order:
//!
//! ```text
//! comm  pid/tid [cpu] seconds.fraction:  period  event:  addr symbol (dso)  ip symbol (dso)
//! comm  tid     [cpu] seconds.fraction:          event: address=0x7f.. ip=0x.. error_code=0x6
//! ```
//!
//! All but the thread, the time and the address may be missing. Software events do not tell reads from writes: their kind stands as
//! read. The tracepoints do, by the error code of the processor (bit 1 a write, bit 4 an instruction). A fault whose instruction
//! lies in the kernel is one that the kernel took for the process.
//!
//! Two layouts look alike: an address with its symbol, and (if perf recorded no addresses) an instruction with its symbol. Such a line
//! counts only if a stack follows, for then the instruction would stand there.

use std::io::Read;

use pagesieve_core::{AccessKind, Origin};

use super::{Counts, ImportError, Seen, Sink, Told, lines};

/// From here on an address is the kernel's.
const KERNEL: u64 = 1 << 63;
/// Bits of the error code of a page fault on x86.
const WRITE: u64 = 1 << 1;
const FETCH: u64 = 1 << 4;

/// What a line is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Line {
    Fault(Fault),
    /// Events that perf lost.
    Lost(u64),
    /// A fault without an address, or not of memory.
    Addressless,
    /// Of another event, a comment, or empty.
    Other,
    /// A line of a stack.
    Stack,
    Malformed,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Fault {
    seen: Seen,
    pid: Option<u32>,
    comm: String,
    event: &'static str,
    /// False if the address could be that of the instruction.
    certain: bool,
}

/// True if only perf writes such a line.
pub(super) fn is_fault(line: &[u8]) -> bool {
    matches!(parse(line), Line::Fault(_) | Line::Addressless)
}

/// Reads the whole text. With `pid` only faults of that process are handed on.
pub(super) fn read(input: impl Read, pid: Option<u32>, sink: Sink<'_>) -> Result<Counts, ImportError> {
    let mut gathered = Gathered { counts: Counts::default(), pid, sink, doubtful: None };
    lines::for_each(input, |line| gathered.line(parse(line)))?;
    gathered.counts.addressless += u64::from(gathered.doubtful.is_some());
    Ok(gathered.counts)
}

struct Gathered<'a> {
    counts: Counts,
    pid: Option<u32>,
    sink: Sink<'a>,
    /// The line before, if the next one decides about it.
    doubtful: Option<Fault>,
}

impl Gathered<'_> {
    fn line(&mut self, line: Line) -> Result<(), ImportError> {
        self.counts.lines += 1;
        match (self.doubtful.take(), &line) {
            (Some(fault), Line::Stack) => self.fault(fault)?,
            (Some(_), _) => self.counts.addressless += 1,
            (None, _) => {}
        }
        match line {
            Line::Fault(fault) if fault.certain => self.fault(fault)?,
            Line::Fault(fault) => self.doubtful = Some(fault),
            Line::Lost(events) => {
                self.counts.other += 1;
                (self.sink)(Told::Lost(events))?;
            }
            Line::Addressless => self.counts.addressless += 1,
            Line::Other | Line::Stack => self.counts.other += 1,
            Line::Malformed => self.counts.malformed += 1,
        }
        Ok(())
    }

    fn fault(&mut self, fault: Fault) -> Result<(), ImportError> {
        if let Some(pid) = fault.pid {
            *self.counts.processes.entry(pid).or_default() += 1;
        }
        if self.pid.is_some() && self.pid != fault.pid {
            self.counts.other += 1;
            return Ok(());
        }
        self.counts.used += 1;
        // The last name counts: a process begins with that of perf.
        self.counts.command = Some(fault.comm);
        let hook = format!("perf/{}", fault.event);
        if !self.counts.hooks.contains(&hook) {
            self.counts.hooks.push(hook);
        }
        (self.sink)(Told::Access(fault.seen))
    }
}

fn parse(line: &[u8]) -> Line {
    let text = String::from_utf8_lossy(line);
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    match words.first() {
        None => return Line::Other,
        Some(first) if first.starts_with('#') => return Line::Other,
        Some(first)
            if hex(first).is_some() && text.starts_with(['\t', ' ']) && !words.iter().any(|word| time(word).is_some()) =>
        {
            return Line::Stack;
        }
        _ => {}
    }
    fault(&words).unwrap_or(Line::Malformed)
}

fn fault(words: &[&str]) -> Option<Line> {
    // Words before the time: the name, which may have several, then the thread, then perhaps the CPU.
    let (at, time) = words.iter().enumerate().find_map(|(at, word)| Some((at, time(word)?)))?;
    let (before, rest) = (&words[..at], &words[at + 1..]);
    let (cpu, before) = match before.split_last() {
        Some((last, before)) if last.starts_with('[') => (last.trim_matches(['[', ']']).parse().ok()?, before),
        _ => (0, before),
    };
    let (thread, comm) = before.split_last()?;
    let (pid, tid) = match thread.split_once('/') {
        Some((pid, tid)) => (Some(pid.parse().ok()?), tid.parse().ok()?),
        None => (None, thread.parse().ok()?),
    };
    if let ["PERF_RECORD_LOST", "lost", events, ..] = rest {
        return events.parse().ok().map(Line::Lost);
    }
    let (event, rest) = match rest.iter().take(2).position(|word| word.ends_with(':')) {
        Some(at) => match event(rest[at]) {
            Some(event) => (event, &rest[at + 1..]),
            None => return Some(Line::Other),
        },
        None => ("page-faults", rest),
    };
    let Some(place) = place(event, rest) else { return Some(Line::Addressless) };
    let Place { address, kind, origin, certain } = place;
    let seen = Seen { time, start: address, length: 1, kind, origin, cpu, tid };
    Some(Line::Fault(Fault { seen, pid, comm: comm.join(" "), event, certain }))
}

/// The name of an event of page faults, without its modifiers such as `:u`.
fn event(word: &str) -> Option<&'static str> {
    const TRACEPOINTS: [&str; 2] = ["exceptions:page_fault_user", "exceptions:page_fault_kernel"];
    let word = word.strip_suffix(':')?;
    if let Some(name) = TRACEPOINTS.into_iter().find(|name| *name == word) {
        return Some(name);
    }
    match word.split(':').next()? {
        "page-faults" | "faults" => Some("page-faults"),
        "minor-faults" => Some("minor-faults"),
        "major-faults" => Some("major-faults"),
        _ => None,
    }
}

/// Where and how.
struct Place {
    address: u64,
    kind: AccessKind,
    origin: Origin,
    certain: bool,
}

fn place(event: &str, rest: &[&str]) -> Option<Place> {
    if event.starts_with("exceptions:") {
        return traced(event, rest);
    }
    let (first, others) = rest.split_first()?;
    let address = hex(first)?;
    let ip = others.iter().find_map(|word| hex(word).filter(|_| word.len() > 4));
    let origin = if ip.is_some_and(|ip| ip >= KERNEL) { Origin::Kernel } else { Origin::User };
    Some(Place { address, kind: AccessKind::Read, origin, certain: others.is_empty() || ip.is_some() })
}

fn traced(event: &str, rest: &[&str]) -> Option<Place> {
    let value = |key: &str| rest.iter().find_map(|word| hex(word.strip_prefix(key)?.strip_prefix("=0x")?));
    let kind = match value("error_code") {
        Some(code) if code & FETCH != 0 => AccessKind::Exec,
        Some(code) if code & WRITE != 0 => AccessKind::Write,
        _ => AccessKind::Read,
    };
    let origin = if event.ends_with("_kernel") { Origin::Kernel } else { Origin::User };
    Some(Place { address: value("address")?, kind, origin, certain: true })
}

/// `63048.089820351:` in nanoseconds.
fn time(word: &str) -> Option<u64> {
    let (seconds, fraction) = word.strip_suffix(':')?.split_once('.')?;
    let digits = |text: &str| !text.is_empty() && text.len() < 12 && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(seconds) || !digits(fraction) || fraction.len() > 9 {
        return None;
    }
    let nanos: u64 = format!("{fraction:0<9}").parse().ok()?;
    seconds.parse::<u64>().ok()?.checked_mul(1_000_000_000)?.checked_add(nanos)
}

/// A number in hexadecimal digits alone, as perf prints addresses.
fn hex(word: &str) -> Option<u64> {
    if word.bytes().all(|byte| byte.is_ascii_hexdigit()) { u64::from_str_radix(word, 16).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(line: &str) -> Fault {
        match parse(line.as_bytes()) {
            Line::Fault(fault) => fault,
            other => panic!("{other:?} is {line}"),
        }
    }

    #[test]
    fn layouts_of_software_events() {
        let explicit = one("       pagesieve 10960/10968 [001] 63048.166845849: page-faults:     7f0282d17000     563f3665321f ");
        let seen = Seen {
            time: 63_048_166_845_849,
            start: 0x7f02_82d1_7000,
            length: 1,
            kind: AccessKind::Read,
            origin: Origin::User,
            cpu: 1,
            tid: 10968,
        };
        let comm = "pagesieve".to_owned();
        let expected = Fault { seen, pid: Some(10960), comm, event: "page-faults", certain: true };
        assert_eq!(explicit, expected);
        let short = one("pagesieve 10968 63048.166845: 7f0282d17000");
        let time = 63_048_166_845_000;
        assert_eq!(short, Fault { seen: Seen { time, cpu: 0, ..seen }, pid: None, ..expected.clone() });
        let default = one(
            "pool 3 of x 10968 [001] 63048.166845:   1 page-faults:u:   7f0282d17000 [unknown] (//anon)  563f3665321f Map<I, F>::fold+0x6f (/bin/x)",
        );
        assert_eq!(default, Fault { seen: Seen { time, ..seen }, pid: None, comm: "pool 3 of x".to_owned(), ..expected.clone() });
        let kernel = one("x 1 1.5: minor-faults: 563f3695c108 ffffffff8175336a");
        assert_eq!((kernel.seen.origin, kernel.event, kernel.seen.time), (Origin::Kernel, "minor-faults", 1_500_000_000));
    }

    #[test]
    fn tracepoints_tell_the_kind() {
        let traced = |event: &str, code: &str| {
            let fault =
                one(&format!("x 7 [000] 2.000000: exceptions:page_fault_{event}: address=0x7fa0 ip=elf_load error_code={code}"));
            (fault.seen.start, fault.seen.kind, fault.seen.origin)
        };
        assert_eq!(traced("user", "0x6"), (0x7fa0, AccessKind::Write, Origin::User));
        assert_eq!(traced("user", "0x4"), (0x7fa0, AccessKind::Read, Origin::User));
        assert_eq!(traced("user", "0x14"), (0x7fa0, AccessKind::Exec, Origin::User));
        assert_eq!(traced("kernel", "0x2"), (0x7fa0, AccessKind::Write, Origin::Kernel));
    }

    #[test]
    fn lines_that_cannot_be_used_are_told_apart() {
        let addressless = ["x 1 1.5: page-faults:", "x 1 1.5: exceptions:page_fault_user: ip=0x5 error_code=0x4"];
        let other =
            ["", "# captured on: today", "x 1 1.5: sched:sched_switch: prev_comm=a", "x 1 1.5: 1000 cycles: 55d5 main (/bin/x)"];
        let malformed =
            ["hello", "x 1 [abc] 1.5: page-faults: 5000", "x 1.5: page-faults: 5000", "x 1 1.5 page-faults: 5000", "1.5:"];
        for (lines, kind) in [(&addressless[..], Line::Addressless), (&other, Line::Other), (&malformed, Line::Malformed)] {
            lines.iter().for_each(|line| assert_eq!(parse(line.as_bytes()), kind, "{line}"));
        }
        assert_eq!(parse(b"x 1 [000] 1.5: PERF_RECORD_LOST lost 26"), Line::Lost(26));
        assert_eq!(parse(b"\tffffffff8175336a elf_load+0x28a ([kernel.kallsyms])"), Line::Stack);
    }

    fn starts(text: &str, pid: Option<u32>) -> (Vec<u64>, Counts) {
        let mut starts = Vec::new();
        let counts = read(text.as_bytes(), pid, &mut |told| {
            if let Told::Access(seen) = told {
                starts.push(seen.start);
            }
            Ok(())
        });
        (starts, counts.unwrap())
    }

    #[test]
    fn an_address_with_a_symbol_counts_if_a_stack_follows() {
        let line = "x 1 1.5: 1 page-faults: 7000 main+0x1 (/bin/x)\n";
        let (found, counts) = starts(&format!("{line}\t    55d5 main+0x1 (/bin/x)\n\n{line}{line}"), None);
        assert_eq!((found, counts.addressless, counts.used, counts.lines), (vec![0x7000], 2, 1, 5));
    }

    #[test]
    fn processes_are_counted_and_one_can_be_chosen() {
        let text = "a 1/1 1.0: page-faults: 1000\nb 2/3 1.1: page-faults: 2000\nb 2/2 1.2: page-faults: 3000\nc 4 1.3: page-faults: 4000\n";
        let (found, counts) = starts(text, None);
        assert_eq!((found.len(), counts.processes.into_iter().collect::<Vec<_>>()), (4, vec![(1, 1), (2, 2)]));
        let (found, counts) = starts(text, Some(2));
        assert_eq!((found, counts.used, counts.other, counts.command.as_deref()), (vec![0x2000, 0x3000], 2, 2, Some("b")));
    }
}
