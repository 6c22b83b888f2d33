//! How many files this process may have open: each connection is one, whoever opened it.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What is taken where more is refused although nothing limits it: `OPEN_MAX` of macOS, by its setrlimit(2).
const OPEN_MAX: u64 = 10_240;

/// Raises the limit to all that this process may have. Most systems give a process 1,024 at first and let it take many
/// more: the low figure is for programs that use `select`, which knows no higher ones
/// (<https://0pointer.net/blog/file-descriptor-limits.html>). We do not, and 1,024 are four slow endpoints' connections.
pub(crate) fn raise() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    // Nothing is no limit.
    let is_more = |wanted: Option<u64>| current.is_some_and(|now| wanted.is_none_or(|wanted| wanted > now));
    let wanted = [maximum, Some(maximum.map_or(OPEN_MAX, |most| most.min(OPEN_MAX)))];
    let raised = wanted
        .into_iter()
        .filter(|wanted| is_more(*wanted))
        .any(|wanted| {
            let limit = Rlimit {
                current: wanted,
                maximum,
            };
            setrlimit(Resource::Nofile, limit).is_ok()
        });
    tracing::debug!(raised, files_max = max(), "open files");
}

/// How many it may have open now.
pub(crate) fn max() -> usize {
    let limit = getrlimit(Resource::Nofile).current;
    limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX))
}
