//! The demo, unattended.

use crate::harness::{interconnect, json_of};

#[test]
fn the_demo_ends_in_agreement() {
    let output = interconnect(&["demo", "--check", "--json"], &[]);
    let report = json_of(&output);
    assert_eq!(output.status.code(), Some(0), "{report:#}");
    for bad in ["lost", "duplicated", "echoed"] {
        assert_eq!(report[bad], 0, "{report:#}");
    }
    assert!(
        report["changes"].as_u64() > Some(0) && report["webhooks"]["received"].as_u64() > Some(0),
        "{report:#}"
    );
    assert_eq!(
        report["disagreements"].as_array().map(Vec::len),
        Some(0),
        "{report:#}"
    );
}
