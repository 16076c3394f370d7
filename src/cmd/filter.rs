//! The recorder's view of a file as the page filter of a sync.

use std::cell::RefCell;
use std::rc::Rc;

use pagesieve_core::Epoch;
use pagesieve_core::ports::{ClosedEpoch, DirtyLog};
use pagesieve_live::sync::Filter;
use pagesieve_recorder::TargetSpec;
use pagesieve_recorder::live::{FileLog, LiveOptions};

use crate::cli::Sync;

/// A file that a process has mapped, tracked for as long as the command runs.
#[derive(Clone)]
pub(super) struct Tracked(Rc<RefCell<FileLog>>);

/// What the sync is told of it.
pub(super) struct FileFilter(Tracked);

impl Tracked {
    /// Arms what the process has mapped of the source.
    pub(super) fn open(options: &Sync) -> anyhow::Result<Self> {
        let spec = match (&options.qmp, options.pid) {
            (Some(qmp), pid) => TargetSpec::Guest { qmp: qmp.clone(), pid },
            (None, pid) => TargetSpec::Pid(pid.unwrap_or_default()),
        };
        let settings = LiveOptions { require_ebpf: options.require_ebpf, ..LiveOptions::default() };
        Ok(Self(Rc::new(RefCell::new(FileLog::open(&options.source, &spec, &settings)?))))
    }

    /// Why it is not tracked as well as it could be.
    pub(super) fn fallbacks(&self) -> Vec<String> {
        self.0.borrow().status().fallbacks().cloned().collect()
    }

    /// Takes in what the kernel has reported.
    pub(super) fn drain(&self) {
        self.0.borrow().drain();
    }
}

impl FileFilter {
    pub(super) fn boxed(tracked: &Tracked) -> Box<dyn Filter> {
        Box::new(Self(tracked.clone()))
    }
}

impl Filter for FileFilter {
    fn close(&mut self, epoch: Epoch) -> Result<ClosedEpoch, String> {
        let mut log = self.0.0.borrow_mut();
        let closed = log.close(epoch).map_err(|error| error.to_string())?;
        match log.doubt() {
            Some(why) => Err(why.to_owned()),
            None => Ok(closed),
        }
    }

    fn ebpf_enabled(&self) -> bool {
        self.0.0.borrow().status().ebpf_enabled
    }

    fn fallback(&self) -> Option<String> {
        self.0.fallbacks().into_iter().next()
    }
}
