//! The connectors of this repository: each compiles without findings and makes of its samples what they expect.
//! A new folder is found by itself.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use diagnostic::{Report, Source};

use crate::Connector;

fn folders() -> Vec<PathBuf> {
    let all = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../connectors");
    let mut folders: Vec<PathBuf> = std::fs::read_dir(all)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .collect();
    folders.sort();
    folders
}

pub(crate) fn source(path: &Path) -> Source {
    Source::new(path.to_string_lossy(), std::fs::read_to_string(path).unwrap())
}

#[test]
fn every_connector_compiles_and_agrees_with_its_samples() {
    let folders = folders();
    assert!(folders.len() >= 3, "{folders:?}");
    let mut complaints = Vec::new();
    for folder in folders {
        let manifest = source(&folder.join("connector.yaml"));
        let mut report = Report::new();
        let connector = Connector::compile(&manifest, &mut report);
        if let Some(connector) = connector {
            let name = folder.file_name().unwrap().to_string_lossy().into_owned();
            assert_eq!(connector.system(), name, "the folder is named after the system");
            let mut samples: Vec<PathBuf> = std::fs::read_dir(folder.join("samples"))
                .unwrap()
                .map(|entry| entry.unwrap().path())
                .collect();
            samples.sort();
            let samples: Vec<Source> = samples.iter().map(|path| source(path)).collect();
            report.merge(Arc::new(connector).lint(&manifest, &samples));
        }
        if !report.is_empty() {
            complaints.push(report.render(false));
        }
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n\n"));
}
