//! Any text as CSV, as a job of the sandbox reads it: all rows have the columns of the first, or it is refused.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &str| {
    match sandbox::salesforce::read_csv(input) {
        Ok(rows) => assert!(rows.iter().all(|row| row.len() == rows[0].len()), "{rows:?}"),
        Err(reason) => assert!(!reason.is_empty(), "refused without a reason"),
    }
});
