//! A wire between a source and a destination that breaks on demand.
//!
//! It forwards whole frames of the plain protocol, so a fault can be put at a frame of a kind, wherever in the stream that comes.

use std::collections::HashSet;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use pagesieve_live::wire::{Kind, Side};

/// Bytes of a Hello, of a Reply without its text, and of a frame without its body.
const HELLO: usize = 36;
const REPLY: usize = 20;
const FRAME: usize = 9;

/// A frame on its way, before any of it is forwarded.
pub struct Seen {
    /// Who sends it.
    pub from: Side,
    /// What it is; `None` for a greeting.
    pub kind: Option<Kind>,
    /// The how manieth of its kind this is, on all streams since the rule was set; the first one is 1.
    pub nth: u64,
    /// Bytes that this side has sent before it on all streams since the rule was set.
    pub before: u64,
    /// Its length.
    pub len: usize,
    /// It is a block that was sent before: precopy is in a later round.
    pub again: bool,
}

/// What becomes of a frame.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// It is forwarded.
    Pass,
    /// So many of its bytes are forwarded, then all connections are cut.
    Cut(usize),
    /// One bit of the byte at this place is turned round.
    Flip(usize),
    /// It waits until [`Wire::release`].
    Hold,
    /// It is swallowed, and so is all that follows on any stream: the link is dead, and nobody is told.
    Silence,
    /// A greeting of the version after ours.
    NextVersion,
}

/// Decides on each frame; once it says anything but `Pass`, all others pass.
type Rule = Box<dyn FnMut(&Seen) -> Act + Send>;

/// The wire. Its ends are this machine's loopback.
pub struct Wire {
    pub port: u16,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    rule: Option<Rule>,
    to: u16,
    /// All streams that were opened.
    open: Vec<TcpStream>,
    counts: Vec<(Side, Option<Kind>, u64)>,
    bytes: [u64; 2],
    /// Blocks of the session, by their first page.
    blocks: HashSet<u64>,
    fired: bool,
    held: bool,
    silent: bool,
    /// New connections are closed at once.
    down: bool,
}

impl Wire {
    /// A wire to this port.
    pub fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let here = listener.local_addr().expect("it is bound").port();
        let shared = Arc::new(Shared::default());
        shared.lock().to = port;
        let accepting = Arc::clone(&shared);
        // Ends with the test.
        thread::spawn(move || listener.incoming().flatten().for_each(|near| accepting.join(near)));
        Self { port: here, shared }
    }

    /// From now on this is the destination.
    pub fn redirect(&self, port: u16) {
        self.shared.lock().to = port;
    }

    /// Sets a rule, and mends what the last one broke.
    pub fn arm(&self, rule: impl FnMut(&Seen) -> Act + Send + 'static) {
        let mut state = self.shared.lock();
        *state = State { rule: Some(Box::new(rule)), to: state.to, open: std::mem::take(&mut state.open), ..State::default() };
    }

    /// Everything passes.
    pub fn mend(&self) {
        self.arm(|_| Act::Pass);
    }

    /// Cuts all connections now, and lets no other through until it is mended.
    pub fn down(&self) {
        let mut state = self.shared.lock();
        state.down = true;
        state.cut();
    }

    /// True if the rule has done what it is for.
    pub fn has_fired(&self) -> bool {
        self.shared.lock().fired
    }

    /// True while a frame is held.
    pub fn is_holding(&self) -> bool {
        self.shared.lock().held
    }

    /// Lets a held frame go on.
    pub fn release(&self) {
        self.shared.lock().held = false;
        self.shared.changed.notify_all();
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.down();
        self.release();
    }
}

/// Acts on the nth frame of a kind, counted on all streams.
pub fn at(kind: Kind, nth: u64, act: Act) -> impl FnMut(&Seen) -> Act + Send + 'static {
    move |seen| if seen.kind == Some(kind) && seen.nth == nth { act } else { Act::Pass }
}

/// Cuts after so many bytes of one side, wherever that is.
pub fn after_bytes(from: Side, bytes: u64) -> impl FnMut(&Seen) -> Act + Send + 'static {
    move |seen| {
        let there = seen.from == from && (seen.before..seen.before + seen.len as u64).contains(&bytes);
        if there { Act::Cut((bytes - seen.before) as usize) } else { Act::Pass }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Joins a new stream to one of the destination.
    fn join(self: &Arc<Self>, near: TcpStream) {
        let mut state = self.lock();
        if state.down {
            return;
        }
        // A destination that is gone closes this one as well.
        let Ok(far) = TcpStream::connect(("127.0.0.1", state.to)) else { return };
        for stream in [&near, &far] {
            let _ = stream.set_nodelay(true);
            state.open.extend(stream.try_clone());
        }
        drop(state);
        let (Ok(near_in), Ok(far_in)) = (near.try_clone(), far.try_clone()) else { return };
        for (from, input, output) in [(Side::Client, near_in, far), (Side::Server, far_in, near)] {
            let shared = Arc::clone(self);
            thread::spawn(move || {
                let mut output = output;
                let _ = shared.pump(from, input, &mut output);
                let _ = output.shutdown(Shutdown::Write);
            });
        }
    }

    fn pump(&self, from: Side, mut input: TcpStream, output: &mut TcpStream) -> io::Result<()> {
        let mut frame = greeting(from, &mut input)?;
        let mut kind = None;
        loop {
            self.forward(from, kind, &mut frame, output)?;
            frame.clear();
            frame.resize(FRAME - 4, 0);
            input.read_exact(&mut frame)?;
            let body = u32::from_le_bytes(frame[..4].try_into().expect("four bytes")) as usize;
            kind = Kind::ALL.iter().copied().find(|kind| *kind as u8 == frame[4]);
            frame.resize(FRAME + body, 0);
            input.read_exact(&mut frame[FRAME - 4..])?;
        }
    }

    fn forward(&self, from: Side, kind: Option<Kind>, frame: &mut [u8], output: &mut TcpStream) -> io::Result<()> {
        let mut state = self.lock();
        let act = state.judge(from, kind, frame);
        match act {
            Act::Pass => {}
            Act::Flip(at) => frame[at] ^= 1,
            Act::NextVersion => next_version(frame),
            Act::Cut(keep) => {
                output.write_all(&frame[..keep])?;
                state.cut();
            }
            Act::Silence => state.silent = true,
            Act::Hold => {
                state.held = true;
                while state.held {
                    state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
        let swallowed = state.silent;
        drop(state);
        match act {
            Act::Cut(_) => Err(io::ErrorKind::ConnectionAborted.into()),
            _ if swallowed => Ok(()),
            _ => output.write_all(frame),
        }
    }
}

impl State {
    fn judge(&mut self, from: Side, kind: Option<Kind>, frame: &[u8]) -> Act {
        let nth = match self.counts.iter_mut().find(|(side, other, _)| (*side, *other) == (from, kind)) {
            Some((.., count)) => {
                *count += 1;
                *count
            }
            None => {
                self.counts.push((from, kind, 1));
                1
            }
        };
        let sent = &mut self.bytes[usize::from(from == Side::Server)];
        let before = *sent;
        *sent += frame.len() as u64;
        let block =
            matches!(kind, Some(Kind::Put | Kind::Zero)).then(|| u64::from_le_bytes(frame[13..21].try_into().expect("8")));
        let again = block.is_some_and(|first| !self.blocks.insert(first));
        let Some(rule) = self.rule.as_mut().filter(|_| !self.fired) else { return Act::Pass };
        let act = rule(&Seen { from, kind, nth, before, len: frame.len(), again });
        self.fired = act != Act::Pass;
        act
    }

    fn cut(&mut self) {
        for stream in self.open.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

/// What a stream begins with.
fn greeting(from: Side, input: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; if from == Side::Client { HELLO } else { REPLY }];
    input.read_exact(&mut bytes)?;
    if from == Side::Server {
        let text = u16::from_le_bytes([bytes[14], bytes[15]]);
        bytes.resize(REPLY + usize::from(text), 0);
        input.read_exact(&mut bytes[REPLY..])?;
    }
    Ok(bytes)
}

/// Makes a Hello or a Reply one of the next major version.
fn next_version(greeting: &mut [u8]) {
    greeting[8] += 1;
    let end = greeting.len() - 4;
    let sum = crc32fast::hash(&greeting[..end]);
    greeting[end..].copy_from_slice(&sum.to_le_bytes());
}
