//! Any text as a mapping file, and any object behind a line of `---`, read by it and written back.
#![no_main]

use diagnostic::{Report, Source};
use interconnect_fuzz::both_ways;
use libfuzzer_sys::fuzz_target;
use mapping::Mapping;

fuzz_target!(|input: &str| {
    let (text, object) = input.split_once("\n---\n").unwrap_or((input, "{}"));
    let source = Source::new("deal.yaml", text);
    let mut report = Report::new();
    match Mapping::compile(&source, &mut report) {
        Some(mapping) => {
            assert!(!report.has_errors(), "compiled with an error");
            if let Ok(object) = serde_json::from_str(object) {
                both_ways(&mapping, &object);
            }
        }
        None => assert!(report.has_errors(), "refused without a reason"),
    }
    report.render(false);
});
