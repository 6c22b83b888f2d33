//! The checkout as the rules see it: text files with their paths, and how findings are told.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use crate::code::Code;

/// Folders that hold nothing written by hand, at any depth.
const SKIPPED_FOLDERS: &[&str] = &[".git", "target", "node_modules", "dist", "__pycache__"];

/// Endings of the files that the rules read; everything else is taken for data in bytes.
const TEXT_ENDINGS: &[&str] = &[
    "rs", "toml", "md", "yaml", "yml", "json", "py", "sh", "js", "mjs", "ts", "svelte", "sql", "txt", "run",
];

/// Files without an ending that are text all the same.
const TEXT_NAMES: &[&str] = &["Makefile", "Dockerfile", "run"];

/// One file of the checkout.
pub(crate) struct File {
    /// From the root, with `/` between folders.
    pub(crate) path: String,
    pub(crate) text: String,
    /// What is code in it, for Rust files.
    pub(crate) code: Option<Code>,
    /// Whether all of it is compiled for tests only.
    pub(crate) is_test: bool,
}

impl File {
    /// The code and whether it is test code, line by line, starting at 1.
    pub(crate) fn code_lines(&self) -> impl Iterator<Item = (usize, &str, bool)> {
        let code = self.code.as_ref();
        code.into_iter()
            .flat_map(Code::lines)
            .map(|(line, text, in_test)| (line, text, in_test || self.is_test))
    }

    /// The file's own folder, or the empty path at the root.
    pub(crate) fn folder(&self) -> &str {
        self.path.rsplit_once('/').map_or("", |(folder, _)| folder)
    }
}

/// Where the workspace begins.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every path in the checkout, folders (ending in `/`) and files, sorted.
pub(crate) fn paths() -> &'static [String] {
    static PATHS: LazyLock<Vec<String>> = LazyLock::new(|| {
        let mut found = Vec::new();
        walk(root(), "", &mut found);
        found.sort();
        found
    });
    &PATHS
}

/// Every text file.
pub(crate) fn files() -> &'static [File] {
    static FILES: LazyLock<Vec<File>> = LazyLock::new(|| {
        let mut files: Vec<File> = paths()
            .iter()
            .filter(|path| is_text(path))
            .map(|path| read(path))
            .collect();
        let test_modules: Vec<String> = files.iter().flat_map(test_modules).collect();
        for file in &mut files {
            let module = file.path.trim_end_matches(".rs").trim_end_matches("/mod");
            // Beside modules under `#[cfg(test)]`: integration tests and examples of a crate, and files named as tests.
            let folder = ["/tests/", "/examples/"]
                .iter()
                .any(|folder| file.path.contains(folder));
            file.is_test = file.path.starts_with("tests/")
                || folder
                || module.ends_with("_tests")
                || test_modules
                    .iter()
                    .any(|test| module == test || module.starts_with(&format!("{test}/")));
        }
        files
    });
    &FILES
}

/// Every Rust file.
pub(crate) fn rust() -> impl Iterator<Item = &'static File> {
    files().iter().filter(|file| file.code.is_some())
}

/// Fails with every finding and the fix that they have in common; passes when there are none.
pub(crate) fn verdict(fix: &str, findings: &[String]) {
    assert!(
        findings.is_empty(),
        "\n{}\n\n{} found. {fix}\n",
        findings.join("\n"),
        findings.len()
    );
}

fn walk(folder: &Path, prefix: &str, found: &mut Vec<String>) {
    let entries =
        fs::read_dir(folder).unwrap_or_else(|error| panic!("cannot list {}: {error}", folder.display()));
    for entry in entries {
        let entry = entry.expect("a folder that could be opened can be read");
        // An entry with a name that is no UTF-8 would be a finding of its own in any review.
        let name = entry.file_name().into_string().expect("file names are UTF-8");
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_dir() && !SKIPPED_FOLDERS.contains(&name.as_str()) {
            let path = format!("{prefix}{name}/");
            walk(&entry.path(), &path, found);
            found.push(path);
        } else if kind.is_file() {
            found.push(format!("{prefix}{name}"));
        }
    }
}

fn is_text(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending);
    TEXT_ENDINGS.contains(&ending) || TEXT_NAMES.contains(&name)
}

fn read(path: &str) -> File {
    let full: PathBuf = root().join(path);
    let bytes = fs::read(&full).unwrap_or_else(|error| panic!("cannot read {path}: {error}"));
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let code = path.ends_with(".rs").then(|| Code::new(&text));
    File {
        path: path.to_owned(),
        text,
        code,
        is_test: false,
    }
}

/// Paths, without ending, of the modules that a file declares under `#[cfg(test)]`.
fn test_modules(file: &File) -> Vec<String> {
    let name = file.path.rsplit('/').next().unwrap_or_default();
    // `src/relay/lib.rs` declares children in its own folder, `src/relay/intake.rs` in `src/relay/intake/`.
    let home = match name {
        "lib.rs" | "main.rs" | "mod.rs" => file.folder().to_owned(),
        _ => file.path.trim_end_matches(".rs").to_owned(),
    };
    let declared = file.code.iter().flat_map(Code::test_modules);
    declared.map(|module| format!("{home}/{module}")).collect()
}
