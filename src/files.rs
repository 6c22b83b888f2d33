//! How many files this process may have open: each connection is one, whoever opened it.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the limit to all that this process may have. Most systems give a process 1,024 at first and let it take many
/// more: the low figure is for programs that use `select`, which knows no higher ones
/// (<https://0pointer.net/blog/file-descriptor-limits.html>). We do not, and 1,024 are four slow endpoints' connections.
pub(crate) fn raise() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum {
        return;
    }
    let all = Rlimit {
        current: maximum,
        maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, all) {
        tracing::debug!(%error, "the limit of open files stays as it is");
    }
}

/// How many it may have open now.
pub(crate) fn max() -> usize {
    let limit = getrlimit(Resource::Nofile).current;
    // Nothing is no limit.
    limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX))
}
