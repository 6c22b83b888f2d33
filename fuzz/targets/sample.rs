//! Any answer of a system, as the body of a sample: the connector that the first line names makes something of it, or
//! says why it cannot.
#![no_main]

use std::collections::BTreeMap;
use std::sync::Arc;

use connector::{Connector, Linter};
use diagnostic::{Report, Source};
use interconnect_fuzz::{headed, shipped};
use libfuzzer_sys::fuzz_target;

thread_local! {
    /// By system; made once, so that an input costs what its own part of the manifest costs.
    static LINTERS: BTreeMap<String, Linter> = shipped("connectors", "connector.yaml")
        .into_iter()
        .map(|source| {
            let connector = Connector::compile(&source, &mut Report::new()).expect("what ships compiles");
            let system = connector.system().to_owned();
            (system, Linter::new(&Arc::new(connector)).expect("a client that is never used"))
        })
        .collect();
}

fuzz_target!(|input: &str| {
    let Some((system, sample)) = headed(input) else {
        return;
    };
    LINTERS.with(|linters| {
        if let Some(linter) = linters.get(system) {
            let mut report = Report::new();
            linter.run(&Source::new("sample.json", sample), &mut report);
            report.render(false);
        }
    });
});
