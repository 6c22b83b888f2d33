//! Any JSON as an object of the system and record that the first line names, `hubspot/deal.yaml`, read and written back.
#![no_main]

use std::collections::BTreeMap;
use std::sync::LazyLock;

use diagnostic::Report;
use interconnect_fuzz::{both_ways, headed, shipped};
use libfuzzer_sys::fuzz_target;
use mapping::Mapping;

static MAPPINGS: LazyLock<BTreeMap<String, Mapping>> = LazyLock::new(|| {
    let compiled = shipped("mappings", ".yaml").into_iter().map(|source| {
        let mapping = Mapping::compile(&source, &mut Report::new()).expect("what ships compiles");
        (source.file.to_string(), mapping)
    });
    compiled.collect()
});

fuzz_target!(|input: &str| {
    let Some((name, object)) = headed(input) else {
        return;
    };
    if let (Some(mapping), Ok(object)) = (MAPPINGS.get(name), serde_json::from_str(object)) {
        both_ways(mapping, &object);
    }
});
