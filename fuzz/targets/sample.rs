//! Any answer of a system, as the body of a sample: the connector that the first line names makes something of it, or
//! says why it cannot.
#![no_main]

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use connector::Connector;
use diagnostic::{Report, Source};
use interconnect_fuzz::{headed, shipped};
use libfuzzer_sys::fuzz_target;

static CONNECTORS: LazyLock<BTreeMap<String, (Source, Arc<Connector>)>> = LazyLock::new(|| {
    let compiled = shipped("connectors", "connector.yaml").into_iter().map(|source| {
        let connector = Connector::compile(&source, &mut Report::new()).expect("what ships compiles");
        (connector.system().to_owned(), (source, Arc::new(connector)))
    });
    compiled.collect()
});

fuzz_target!(|input: &str| {
    let Some((system, sample)) = headed(input) else {
        return;
    };
    if let Some((manifest, connector)) = CONNECTORS.get(system) {
        let sample = Source::new("sample.json", sample);
        connector.lint(manifest, &[sample]).render(false);
    }
});
