//! Which runs are worth noting.

use std::sync::Arc;

use jiff::Timestamp;

use super::stage::Stage;
use crate::Report;

/// What `interconnect status` shows of a pull that changed nothing, and found our clock so far ahead of the system's.
async fn noted(clock_ahead_ms: u64) -> Vec<String> {
    let stage = Stage::new(&[]).await;
    let engine = stage.node("first", Arc::clone(&stage.ledger));
    let mut report = Report::default();
    report.counts.clock_ahead_ms = clock_ahead_ms;
    let of = ("here", "things", "pull");
    let noted = engine.note(engine.new_run(), of, Timestamp::UNIX_EPOCH, &report, &Ok(()));
    noted.await.unwrap();
    let runs = stage.ledger.runs(10).await.unwrap().into_iter();
    runs.map(|run| run.error).collect()
}

#[tokio::test]
async fn a_run_that_changed_nothing_is_noted_where_clocks_hold_it_up() {
    assert_eq!(noted(299_999).await, [] as [&str; 0]);
    assert_eq!(
        noted(7_200_000).await,
        [
            "our clock is 7200 s ahead of what the system's answers tell in `Date`, and nothing later is read before that \
         moment comes there: set right whichever of the two clocks is wrong"
        ]
    );
}
