//! Where the paths of a configuration lead: from the folder that the configuration lies in, wherever the command runs.

use std::path::{Component, Path, PathBuf};

use diagnostic::Source;

/// A path that a file names, from the folder of that file. What is absolute, or named by a file of this folder, stays
/// as it is written.
pub(super) fn beside(source: &Source, path: &str) -> String {
    let Some(folder) = folder(source).filter(|_| Path::new(path).is_relative()) else {
        return path.to_owned();
    };
    let parts = Path::new(path)
        .components()
        .filter(|part| *part != Component::CurDir);
    parts.fold(folder, |at, part| at.join(part)).display().to_string()
}

/// A ledger's address, whose file lies beside the configuration too.
pub(super) fn ledger(source: &Source, address: &str) -> String {
    match address.strip_prefix("sqlite:") {
        None | Some("" | ":memory:") => address.to_owned(),
        Some(path) => {
            let path = path.strip_prefix("//").unwrap_or(path);
            format!("sqlite:{}", beside(source, path))
        }
    }
}

/// The folder of a file, nothing where that is the folder that the command runs in.
fn folder(source: &Source) -> Option<PathBuf> {
    let folder = Path::new(source.file.as_ref()).parent()?;
    (!folder.as_os_str().is_empty()).then(|| folder.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_from_the_folder_of_the_file() {
        for (file, path, expected) in [
            ("interconnect.yaml", "./connectors", "./connectors"),
            ("etc/hub.yaml", "./connectors", "etc/connectors"),
            ("etc/hub.yaml", "../own", "etc/../own"),
            ("/etc/hub.yaml", "own/mappings", "/etc/own/mappings"),
            ("/etc/hub.yaml", "/srv/own", "/srv/own"),
        ] {
            assert_eq!(beside(&Source::new(file, ""), path), expected, "{file} {path}");
        }
    }

    #[test]
    fn only_a_ledger_that_is_a_file_has_a_folder() {
        let source = Source::new("/etc/hub.yaml", "");
        for (address, expected) in [
            ("sqlite:hub.db", "sqlite:/etc/hub.db"),
            ("sqlite://data/hub.db", "sqlite:/etc/data/hub.db"),
            ("sqlite:///data/hub.db", "sqlite:/data/hub.db"),
            ("sqlite::memory:", "sqlite::memory:"),
            ("postgres://db/hub", "postgres://db/hub"),
        ] {
            assert_eq!(ledger(&source, address), expected, "{address}");
        }
    }
}
