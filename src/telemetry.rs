//! Logs: one line a unit of work on standard error, in fixed field names; JSON where nobody watches.

use tracing_subscriber::EnvFilter;

/// What a directive of a filter may say of how much is logged.
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// Reads a filter: a level for all, or levels for parts of the hub, separated by commas. What is neither would log nothing, or
/// everything, and nobody would know why.
pub(crate) fn read_filter(text: &str) -> Result<String, String> {
    let text: String = text.split_whitespace().collect();
    // An empty variable says nothing.
    if text.is_empty() {
        return Ok(text);
    }
    for directive in text.split(',') {
        let level = directive.rsplit('=').next().unwrap_or(directive);
        if !LEVELS.contains(&level.to_lowercase().as_str()) {
            return Err(format!(
                "`{level}` is no level; there are: {}; for one part of the hub: relay=debug",
                LEVELS.join(", ")
            ));
        }
    }
    let read = EnvFilter::try_new(&text);
    read.map(|_| text).map_err(|error| error.to_string())
}

/// Starts logging, by a filter that [was read](read_filter). `quiet` is for commands that speak for themselves: only errors
/// are logged then, when nobody says otherwise.
pub(crate) fn init(filter: Option<&str>, quiet: bool) {
    let default = if quiet { "error" } else { "info" };
    let filter = EnvFilter::new(filter.filter(|filter| !filter.is_empty()).unwrap_or(default));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    // A second call (tests) keeps the first one's choice.
    let _already = if crate::cli::watched() {
        builder.compact().try_init()
    } else {
        builder.json().flatten_event(true).try_init()
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_says_a_level_or_a_level_for_a_part() {
        for right in ["", "debug", "WARN", "info,relay=debug", "relay=trace,sync=off"] {
            assert_eq!(read_filter(right).as_deref(), Ok(right));
        }
        assert_eq!(read_filter("info, sync=off").as_deref(), Ok("info,sync=off"));
        for (wrong, about) in [
            ("debgu", "debgu"),
            ("nonsense=foo", "foo"),
            ("info,relay", "relay"),
        ] {
            let told = read_filter(wrong).unwrap_err();
            assert!(
                told.starts_with(&format!("`{about}` is no level; there are: off, error")),
                "{told}"
            );
        }
    }
}
