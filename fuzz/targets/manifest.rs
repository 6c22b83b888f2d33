//! Any text as a connector's manifest: it is compiled and checked, or refused with findings that can be shown.
#![no_main]

use std::sync::Arc;

use connector::Connector;
use diagnostic::{Report, Source};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &str| {
    let source = Source::new("connector.yaml", input);
    let mut report = Report::new();
    if let Some(connector) = Connector::compile(&source, &mut report) {
        assert!(!report.has_errors(), "compiled with an error");
        report.merge(Arc::new(connector).lint(&source, &[]));
    } else {
        assert!(report.has_errors(), "refused without a reason");
    }
    report.render(false);
});
