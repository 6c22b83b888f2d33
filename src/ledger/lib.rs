//! The one source of truth, in SQLite or PostgreSQL.

mod contract;

pub use contract::*;
