//! Logs: one line a unit of work on standard error, in fixed field names; JSON where nobody watches.

use tracing_subscriber::EnvFilter;

/// Starts logging. `quiet` is for commands that speak for themselves: only warnings are logged then.
pub(crate) fn init(filter: Option<&str>, quiet: bool) {
    let default = if quiet { "error" } else { "info" };
    let filter = EnvFilter::try_new(filter.unwrap_or(default)).unwrap_or_else(|_| EnvFilter::new(default));
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
