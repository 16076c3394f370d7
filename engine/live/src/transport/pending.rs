//! Sessions of which not all streams are there yet.

use std::collections::{BTreeMap, VecDeque};

use tokio::time::Instant;

use crate::wire::{Hello, MAX_STREAMS, Token, Verdict};

/// Sessions that are remembered after they were complete, so that no stream comes to them late.
const REMEMBERED: usize = 1024;

/// Streams on their way to become sessions. Pure: time is passed in; `C` is a connection.
#[derive(Debug)]
pub(super) struct Pending<C> {
    limit: usize,
    gathering: BTreeMap<Token, Gathering<C>>,
    complete: VecDeque<Token>,
}

#[derive(Debug)]
struct Gathering<C> {
    deadline: Instant,
    places: Vec<Place<C>>,
}

#[derive(Debug)]
enum Place<C> {
    Free,
    /// Its stream was let in and is about to be told so.
    Reserved,
    Taken(C),
}

impl<C> Pending<C> {
    /// At most `limit` sessions gather at a time.
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, gathering: BTreeMap::new(), complete: VecDeque::new() }
    }

    /// Keeps a place for a stream, or says why not. The first stream of a session sets the deadline for all.
    pub(super) fn reserve(&mut self, hello: &Hello, deadline: Instant) -> Result<(), Verdict> {
        if !(1..=MAX_STREAMS).contains(&hello.streams) || hello.stream >= hello.streams {
            return Err(Verdict::Streams);
        }
        if self.complete.contains(&hello.session) {
            return Err(Verdict::Duplicate);
        }
        if !self.gathering.contains_key(&hello.session) && self.gathering.len() >= self.limit {
            return Err(Verdict::Busy);
        }
        let streams = usize::from(hello.streams);
        let free = || Gathering { deadline, places: (0..streams).map(|_| Place::Free).collect() };
        let gathering = self.gathering.entry(hello.session).or_insert_with(free);
        if gathering.places.len() != streams {
            return Err(Verdict::Streams);
        }
        match &mut gathering.places[usize::from(hello.stream)] {
            place @ Place::Free => {
                *place = Place::Reserved;
                Ok(())
            }
            Place::Reserved | Place::Taken(_) => Err(Verdict::Duplicate),
        }
    }

    /// Puts the stream in its place. All streams in order, if it was the last. If its session has expired, it is dropped.
    pub(super) fn deliver(&mut self, hello: &Hello, connection: C) -> Option<Vec<C>> {
        let gathering = self.gathering.get_mut(&hello.session)?;
        *gathering.places.get_mut(usize::from(hello.stream))? = Place::Taken(connection);
        if !gathering.places.iter().all(|place| matches!(place, Place::Taken(_))) {
            return None;
        }
        let gathering = self.gathering.remove(&hello.session)?;
        self.complete.push_back(hello.session);
        if self.complete.len() > REMEMBERED {
            self.complete.pop_front();
        }
        let taken = gathering.places.into_iter().filter_map(|place| if let Place::Taken(one) = place { Some(one) } else { None });
        Some(taken.collect())
    }

    /// Gives up a session of which a stream broke.
    pub(super) fn give_up(&mut self, session: &Token) {
        self.gathering.remove(session);
    }

    /// Gives up what is past its deadline: the sessions, and how many streams did not come.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<(Token, usize)> {
        let late = self.gathering.extract_if(.., |_, gathering| gathering.deadline <= now);
        let missing = |places: &[Place<C>]| places.iter().filter(|place| !matches!(place, Place::Taken(_))).count();
        late.map(|(session, gathering)| (session, missing(&gathering.places))).collect()
    }

    /// When to look again.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.gathering.values().map(|gathering| gathering.deadline).min()
    }
}
