//! What two documents say about a recording. If they disagree, they were made from different recordings, and a comparison of the
//! two says more about the recordings than about the program.

use serde::{Deserialize, Serialize};

use crate::format::{count, date, duration};

/// Facts of a recording that no version of the program computes differently.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recording {
    /// Name and value of each fact that the document has.
    facts: Vec<(&'static str, String)>,
    /// What was seen in each epoch; empty if the document does not say.
    epochs: Vec<EpochFacts>,
}

/// What was seen in an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct EpochFacts {
    end_ns: u64,
    dirty_pages: u64,
    events: u64,
    lost: u64,
    resident_pages: u64,
}

/// A fact on which two documents disagree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// What it is about.
    pub fact: &'static str,
    /// What the base says.
    pub base: String,
    /// What the new document says.
    pub new: String,
}

impl Recording {
    pub(super) fn add(&mut self, fact: &'static str, value: impl Into<String>) {
        self.facts.push((fact, value.into()));
    }

    pub(super) fn add_count(&mut self, fact: &'static str, value: Option<u64>) {
        self.facts.extend(value.map(|value| (fact, count(value))));
    }

    /// When it was made; nobody knows of traces that no machine made.
    pub(super) fn add_date(&mut self, fact: &'static str, unix: u64) {
        self.add(fact, if unix == 0 { "never".to_owned() } else { format!("{} ({unix})", date(unix)) });
    }

    pub(super) fn add_length(&mut self, fact: &'static str, ns: u64) {
        self.add(fact, format!("{} ({ns} ns)", duration(ns)).replace('\u{a0}', " "));
    }

    pub(super) fn set_epochs(&mut self, epochs: Vec<EpochFacts>) {
        self.epochs = epochs;
    }

    /// The facts on which both have something to say, and say different things.
    #[must_use]
    pub fn differences(&self, new: &Self) -> Vec<Difference> {
        let other = |fact| new.facts.iter().find(|(name, _)| *name == fact).map(|(_, value)| value);
        let told = self.facts.iter().filter_map(|(fact, base)| Some((*fact, base, other(*fact)?)));
        let differ = told.filter(|(_, base, new)| base != new);
        let mut found: Vec<_> =
            differ.map(|(fact, base, new)| Difference { fact, base: base.clone(), new: new.clone() }).collect();
        if found.is_empty() && !self.epochs.is_empty() && !new.epochs.is_empty() {
            let first = self.epochs.iter().zip(&new.epochs).position(|(one, other)| one != other);
            found.extend(first.map(|at| Difference {
                fact: "epoch",
                base: self.epochs[at].words(at),
                new: new.epochs[at].words(at),
            }));
        }
        found
    }
}

impl EpochFacts {
    fn words(&self, at: usize) -> String {
        let Self { end_ns, dirty_pages, events, lost, resident_pages } = self;
        format!("{at}: to {end_ns} ns, {dirty_pages} dirty, {events} events, {lost} lost, {resident_pages} resident")
    }
}
