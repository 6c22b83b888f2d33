//! Any text as SOQL: the sandbox reads it, or refuses it.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &str| {
    if let Err(reason) = sandbox::salesforce::read_soql(input) {
        assert!(!reason.is_empty(), "refused without a reason");
    }
});
