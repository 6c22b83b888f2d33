//! Puts the shipped connectors and mappings into the binary: found by listing their folders, so that adding a system
//! needs no Rust.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let mut table = String::from("&[\n");
    for folder in ["connectors", "mappings"] {
        println!("cargo::rerun-if-changed={folder}");
        list(&root, &root.join(folder), &mut table)?;
    }
    table.push(']');
    let out = PathBuf::from(env::var("OUT_DIR").expect("cargo sets it"));
    fs::write(out.join("shipped.rs"), table)
}

fn list(root: &Path, folder: &Path, table: &mut String) -> io::Result<()> {
    println!("cargo::rerun-if-changed={}", folder.display());
    let mut entries: Vec<PathBuf> = fs::read_dir(folder)?
        .map(|e| Ok(e?.path()))
        .collect::<io::Result<_>>()?;
    entries.sort();
    for path in entries {
        if path.is_dir() {
            list(root, &path, table)?;
        } else if path.extension().is_some_and(|e| e == "yaml" || e == "json") {
            let name = path
                .strip_prefix(root)
                .expect("listed below the root")
                .display()
                .to_string();
            writeln!(table, "    ({name:?}, include_str!({path:?})),").expect("strings take all text");
        }
    }
    Ok(())
}
