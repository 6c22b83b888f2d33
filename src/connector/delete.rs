//! Deleting: one outcome for each object, however often it is asked for.
//!
//! What deleting means is the system's own: some rows go for good, others into a bin or an archive. An object that is not
//! there any more counts as deleted, so that a deletion whose answer was lost may be asked for again.

use crate::call::Repeat;
use crate::connection::{Connection, Outcome, Write};
use crate::failure::Failure;
use crate::outcome::Outcomes;
use crate::write::{decided, merged};

impl Connection {
    /// Whether objects of a kind can be deleted, see [`Connection::delete`].
    pub fn deletes(&self, object: &str) -> bool {
        self.caller.connector.deletes(object)
    }

    /// Deletes objects by their ids, under the version that each was seen with where the system heeds it; the values of
    /// the inputs do not count. One outcome for each, in their order: [`Outcome::Written`] and [`Outcome::Gone`] both mean
    /// that it is not there any more.
    ///
    /// Fails as a whole only when nothing was decided about any of them, or when the manifest says of no way.
    pub async fn delete(&self, object: &str, batch: &[Write]) -> Result<Vec<Outcome>, Failure> {
        let work = self.work(object)?;
        let step = work.write.delete.as_ref();
        let step = step.ok_or_else(|| {
            Failure::protocol(format!("the manifest does not say how to delete `{object}`"))
        })?;
        let (items, places) = merged(batch);
        let mut outcomes: Outcomes = items.iter().map(|_| None).collect();
        let ats = (0..items.len()).filter(|at| items[*at].id.is_some()).collect();
        let mut result = self
            .steps(&work, step, Repeat::Safe, ats, &items, &mut outcomes)
            .await;
        if result.is_ok() {
            result = self.verify_gone(&work, &items, &mut outcomes).await;
        }
        decided(result, &mut outcomes)?;
        let of = |at: &usize| outcomes[*at].clone().unwrap_or(Outcome::Unknown);
        Ok(places.iter().map(of).collect())
    }
}
