//! [`Clock`]: the wall clock of hubs, which a story may set to another time.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::Folder;

/// The wall clock of the hubs, in a file that they look at.
pub(crate) struct Clock {
    file: PathBuf,
    library: PathBuf,
}

impl Clock {
    pub(crate) fn new(folder: &Folder) -> Clock {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/services/clock.c");
        let library = folder.path("clock.so");
        // Rust links by it, so it is there.
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-o"])
            .arg(&library)
            .arg(source)
            .status();
        assert!(built.expect("cc runs").success(), "the clock was not built");
        let file = folder.path("clock");
        std::fs::write(&file, 0_i64.to_ne_bytes()).expect("the story's folder can be written");
        Clock { file, library }
    }

    /// From now on it is so many seconds ahead of the machine's.
    pub(crate) fn set(&self, ahead_s: i64) {
        // In place: the hub has the file in its memory.
        let mut file = std::fs::File::options()
            .write(true)
            .open(&self.file)
            .expect("it is there");
        file.write_all(&ahead_s.to_ne_bytes())
            .expect("the story's folder can be written");
    }

    /// What makes a hub look at it.
    pub(crate) fn environment(&self) -> [(&'static str, String); 2] {
        let path = |path: &Path| path.to_str().expect("a path of text").to_owned();
        [
            ("LD_PRELOAD", path(&self.library)),
            ("STEPPED_CLOCK", path(&self.file)),
        ]
    }
}
