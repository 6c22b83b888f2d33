//! [`Others`]: whether other processes may have written.
//!
//! Every process draws a number when it opens the database, and all its connections bear it in their name. Whoever looks sees
//! which others are connected, and by the last number that was drawn also who came and went since the last look. So a
//! process that sees nobody, and the same number twice, was alone in between.

use super::database::Database;
use crate::LedgerError;
use crate::stored::count;

/// Draws a number.
pub(super) const DRAW: &str = "SELECT nextval('openings')";
/// What the names of all connections begin with.
pub(super) const NAME: &str = "interconnect";
/// The last number; nothing while others are connected, and where a pooler in between gives connections names of its own.
const LOOK: &str = "SELECT last_value FROM openings WHERE current_setting('application_name') = $1 AND NOT EXISTS ( \
    SELECT FROM pg_stat_activity WHERE datname = current_database() \
    AND application_name LIKE $2 AND application_name <> $1)";

/// All but the process with a number.
#[derive(Clone, Debug)]
pub(super) struct Others {
    /// What that one's connections are called.
    pub(super) than: String,
}

impl Others {
    pub(super) fn than(number: i64) -> Others {
        Others {
            than: format!("{NAME} {number}"),
        }
    }

    /// A number that stays the same as long as there is nobody; nothing while there is.
    pub(super) async fn look(&self, database: &Database) -> Result<Option<u64>, LedgerError> {
        let all = format!("{NAME}%");
        let rows = database.query(LOOK, &[&self.than, &all]).await?;
        rows.first().map(|row| count(row.get(0))).transpose()
    }
}
