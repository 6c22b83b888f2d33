//! How a file is named where others read the report: from the root of their checkout.

use std::path::Path;

/// The path from `root`, without a leading `./`; a file outside of `root` keeps its name.
pub(crate) fn relative(file: &str, root: &Path) -> String {
    let path = Path::new(file);
    let path = path.strip_prefix(root).unwrap_or(path);
    let path = path.strip_prefix(".").unwrap_or(path);
    path.display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_named_from_the_root() {
        let root = Path::new("/ci");
        for (file, expected) in [
            ("/ci/mappings/crm/deal.yaml", "mappings/crm/deal.yaml"),
            ("./connectors/crm/connector.yaml", "connectors/crm/connector.yaml"),
            ("interconnect.yaml", "interconnect.yaml"),
            ("/etc/interconnect.yaml", "/etc/interconnect.yaml"),
        ] {
            assert_eq!(relative(file, root), expected);
        }
    }
}
