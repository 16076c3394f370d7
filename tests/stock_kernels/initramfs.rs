//! Archives of files that a kernel unpacks as its first file system (cpio, "newc").

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Such an archive. Several may follow each other in one file.
#[derive(Default)]
pub(crate) struct Archive {
    bytes: Vec<u8>,
    folders: Vec<PathBuf>,
}

const FOLDER: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;

impl Archive {
    /// Adds an executable file, and the folders above it.
    pub(crate) fn program(&mut self, path: &str, content: &[u8]) {
        let path = Path::new(path.trim_start_matches('/'));
        let mut above: Vec<_> = path.ancestors().skip(1).filter(|folder| !folder.as_os_str().is_empty()).collect();
        above.reverse();
        for folder in above {
            if !self.folders.iter().any(|known| known == folder) {
                self.folders.push(folder.to_owned());
                self.entry(folder, FOLDER, &[]);
            }
        }
        self.entry(path, PROGRAM, content);
    }

    /// Adds a program of this machine without its debug information, and the libraries that it loads.
    pub(crate) fn host_program(&mut self, path: &str, from: &Path) {
        let stripped = tempfile::NamedTempFile::new().expect("a temporary file");
        let strip = Command::new("strip").arg("-o").args([stripped.path(), from]).status().expect("strip (binutils) is there");
        assert!(strip.success(), "strip {}", from.display());
        self.program(path, &fs::read(stripped.path()).expect("strip has written it"));
        let libraries = Command::new("ldd").arg(from).output().expect("ldd is there");
        // Such as `libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x...)`, or the path alone for the loader.
        for word in String::from_utf8_lossy(&libraries.stdout).split_whitespace().filter(|word| word.starts_with('/')) {
            self.program(word, &fs::read(word).expect("a library is readable"));
        }
    }

    /// The whole archive.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.entry(Path::new("TRAILER!!!"), 0, &[]);
        self.bytes
    }

    fn entry(&mut self, path: &Path, mode: u32, content: &[u8]) {
        let name = path.to_str().expect("paths are UTF-8");
        // Serial number, mode, owner, group, links, time, size, device (4 fields), length of the name, checksum.
        let size = u32::try_from(content.len()).expect("the format holds files up to 4 GiB");
        let fields = [0, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, name.len() as u32 + 1, 0];
        self.bytes.extend_from_slice(b"070701");
        fields.iter().for_each(|field| self.bytes.extend_from_slice(format!("{field:08x}").as_bytes()));
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}
