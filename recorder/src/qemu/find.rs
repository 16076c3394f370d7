//! Finding the process of a guest by its name or by a pid file.

use std::fs;
use std::path::{Path, PathBuf};

/// Where pid files of guests lie, in the order in which they are tried; `{}` is the guest's name.
const PID_FILES: [&str; 5] =
    ["/run/libvirt/qemu/{}.pid", "/var/run/libvirt/qemu/{}.pid", "/run/qemu-server/{}.pid", "/run/qemu/{}.pid", "/run/{}.pid"];

/// Why no process was found.
#[derive(Debug, thiserror::Error)]
pub enum FindError {
    /// A pid file that cannot be used.
    #[error("read a pid from {}: {reason}; give the process itself with --pid", path.display())]
    PidFile {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Nothing has that name.
    #[error("find a guest named {name}: no pid file in {looked} and no QEMU with -name {name}; give --pid, --pid-file or --qmp")]
    NoGuest {
        /// The name.
        name: String,
        /// The places looked in.
        looked: String,
    },
}

/// How to find the process of a guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Find {
    /// A pid file, as QEMU (`-pidfile`) and libvirt write it.
    PidFile(PathBuf),
    /// The name of the guest: pid files of libvirt, Proxmox and QEMU, then the `-name` of all QEMU processes.
    Name(String),
}

/// Finds the process.
///
/// # Errors
/// See [`FindError`]. A pid file whose process has ended is not found out here but when it is recorded.
pub fn find(what: &Find) -> Result<u32, FindError> {
    match what {
        Find::PidFile(path) => read(path),
        Find::Name(name) => by_name(name),
    }
}

fn read(path: &Path) -> Result<u32, FindError> {
    let failed = |reason: String| FindError::PidFile { path: path.to_owned(), reason };
    let text = fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
    let first = text.lines().next().unwrap_or_default().trim();
    first.parse().ok().filter(|&pid| pid > 0).ok_or_else(|| failed(format!("its first line is `{first}`, which is no pid")))
}

fn by_name(name: &str) -> Result<u32, FindError> {
    // A name with a slash in it would lead to other files.
    if !name.contains('/') {
        for path in PID_FILES.map(|pattern| PathBuf::from(pattern.replace("{}", name))) {
            // It may be the file of something else with that name, or of a guest that has ended.
            if let Some(pid) = read(&path).ok().filter(|&pid| super::guess::is_qemu(&crate::process::arguments(pid))) {
                return Ok(pid);
            }
        }
    }
    let folders = PID_FILES.map(|pattern| pattern.replace("{}", "NAME")).join(", ");
    let no_guest = || FindError::NoGuest { name: name.to_owned(), looked: folders };
    named_processes(name).next().ok_or_else(no_guest)
}

/// QEMU processes with this `-name`.
fn named_processes(name: &str) -> impl Iterator<Item = u32> {
    let pids = fs::read_dir("/proc").into_iter().flatten().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(move |&pid| {
        let arguments = crate::process::arguments(pid);
        super::guess::is_qemu(&arguments) && has_name(&arguments, name)
    })
}

/// True if the arguments hold `-name NAME` or `-name guest=NAME,...`.
fn has_name(arguments: &[String], name: &str) -> bool {
    arguments.windows(2).filter(|pair| pair[0] == "-name" || pair[0] == "--name").any(|pair| {
        let mut parts = pair[1].split(',');
        let first = parts.clone().next().unwrap_or_default();
        first == name || parts.any(|part| part.strip_prefix("guest=") == Some(name))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pid_file_holds_a_pid_or_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.pid");
        fs::write(&path, "4711\n").unwrap();
        assert_eq!(find(&Find::PidFile(path.clone())).unwrap(), 4711);
        for nonsense in ["", "x", "0", "-3"] {
            fs::write(&path, nonsense).unwrap();
            let error = find(&Find::PidFile(path.clone())).unwrap_err().to_string();
            assert!(error.contains("a.pid") && error.contains("no pid"), "{error}");
        }
        let error = find(&Find::Name("no-guest-of-that-name".into())).unwrap_err().to_string();
        assert!(error.contains("/run/libvirt/qemu/NAME.pid"), "{error}");
    }

    #[test]
    fn names_are_read_as_qemu_and_libvirt_write_them() {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert!(has_name(&words("qemu -name web"), "web"));
        assert!(has_name(&words("qemu -name guest=web,debug-threads=on"), "web"));
        assert!(has_name(&words("qemu -name debug-threads=on,guest=web"), "web"));
        assert!(!has_name(&words("qemu -name guest=web2 -m web"), "web"));
    }
}
