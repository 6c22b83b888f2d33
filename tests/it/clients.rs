//! The sandbox is held to by the vendors' own client libraries.

use crate::harness::{Sandbox, client};

#[test]
fn jsforce_finds_nothing_wrong_with_the_sandbox() {
    let sandbox = Sandbox::start(&[]);
    client("salesforce.mjs", &["check", "--url", &sandbox.url("salesforce")]);
}

#[test]
fn the_hubspot_client_finds_nothing_wrong_with_the_sandbox() {
    let sandbox = Sandbox::start(&[]);
    client("hubspot.mjs", &["check", "--url", &sandbox.url("hubspot")]);
}
