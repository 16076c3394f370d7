//! How often the programs ran and how long they took, by the kernel's own account.

use std::os::fd::OwnedFd;
use std::time::Duration;

use aya::programs::loaded_programs;
use aya::sys::{Stats, enable_stats};

use crate::Tracker;

/// The kernel's accounting, switched on while this lives. It costs every BPF program of the host two clock reads a run.
pub struct RunStats {
    _enabled: OwnedFd,
}

/// Runs of one program since it was loaded, counted only while accounting was on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramRuns {
    /// Name of the program, cut to 15 bytes by the kernel.
    pub program: String,
    /// Times it ran, for the target or not.
    pub runs: u64,
    /// Time spent in it.
    pub time: Duration,
}

impl ProgramRuns {
    /// Mean time of a run in nanoseconds; 0 if it never ran.
    #[must_use]
    pub fn nanos_per_run(&self) -> u64 {
        (self.time.as_nanos() as u64).checked_div(self.runs).unwrap_or(0)
    }
}

impl RunStats {
    /// Switches accounting on.
    ///
    /// # Errors
    /// Without `CAP_SYS_ADMIN`, or before Linux 5.8.
    pub fn enable() -> Result<Self, String> {
        enable_stats(Stats::RunTime).map(|fd| Self { _enabled: fd }).map_err(|error| error.to_string())
    }

    /// What the tracker's programs cost so far.
    #[must_use]
    pub fn of(&self, tracker: &Tracker) -> Vec<ProgramRuns> {
        let own: Vec<u32> =
            tracker.object().programs().filter_map(|(_, program)| program.info().ok()).map(|info| info.id()).collect();
        loaded_programs()
            .flatten()
            .filter(|info| own.contains(&info.id()))
            .map(|info| ProgramRuns {
                program: info.name_as_str().unwrap_or_default().to_owned(),
                runs: info.run_count(),
                time: info.run_time(),
            })
            .collect()
    }
}
