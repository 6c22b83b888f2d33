//! Any schema and any datum: a change event is read, or it is refused.
//!
//! An input is a schema in its first line, and behind it the datum.
#![no_main]

use connector::Hint;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let end = input.iter().position(|byte| *byte == b'\n').unwrap_or(input.len());
    let (schema, datum) = input.split_at(end);
    if let Ok(schema) = std::str::from_utf8(schema)
        && let Some(hints) = Hint::of_change_event(schema, datum.get(1..).unwrap_or_default())
    {
        assert!(!hints.is_empty(), "an event always says that something changed");
        assert!(hints.iter().all(|hint| !hint.id.contains('*')), "a wildcard is no id");
    }
});
