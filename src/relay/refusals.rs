//! [`Refusals`]: every webhook that is refused leaves a trace, and none of them slows anybody down.
//!
//! A *refusal* is put into a bounded line and written by a task in the background, many at a time.
//! When more come than are written, the rest is counted and dropped: a flood of bad requests must not cost more than
//! refusing them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ledger::{Ledger, Refusal};
use tokio::sync::{mpsc, oneshot};

/// Refusals that are written at once.
const BATCH_MAX: usize = 256;

enum Line {
    Refusal(Refusal),
    Flush(oneshot::Sender<()>),
}

/// Where refusals are noted. Cheap to clone; the background task ends when the last clone is gone.
#[derive(Clone, Debug)]
pub struct Refusals {
    line: mpsc::Sender<Line>,
    dropped: Arc<AtomicU64>,
}

impl Refusals {
    /// Starts the background task; needs a runtime. At most `waiting_max` refusals wait to be written.
    pub fn start(ledger: Arc<dyn Ledger>, waiting_max: usize) -> Refusals {
        let (line, lines) = mpsc::channel(waiting_max);
        let dropped = Arc::new(AtomicU64::new(0));
        tokio::spawn(write(ledger, lines, dropped.clone()));
        Refusals { line, dropped }
    }

    /// Notes a refusal; never waits.
    pub fn note(&self, refusal: Refusal) {
        if self.line.try_send(Line::Refusal(refusal)).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many left no trace, because too many came or because the ledger failed.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Waits until what was noted before is written, or is counted as dropped.
    pub async fn flush(&self) {
        let (done, written) = oneshot::channel();
        if self.line.send(Line::Flush(done)).await.is_ok() {
            // An error means that the task is gone, and with it everything that could be waited for.
            let _ = written.await;
        }
    }
}

async fn write(ledger: Arc<dyn Ledger>, mut lines: mpsc::Receiver<Line>, dropped: Arc<AtomicU64>) {
    let mut read = Vec::with_capacity(BATCH_MAX);
    while lines.recv_many(&mut read, BATCH_MAX).await > 0 {
        let (mut refusals, mut waiting) = (Vec::new(), Vec::new());
        for line in read.drain(..) {
            match line {
                Line::Refusal(refusal) => refusals.push(refusal),
                Line::Flush(done) => waiting.push(done),
            }
        }
        let count = refusals.len() as u64;
        if count > 0
            && let Err(error) = ledger.refuse(refusals).await
        {
            dropped.fetch_add(count, Ordering::Relaxed);
            tracing::warn!(%error, count, "refusals were not written");
        }
        for done in waiting {
            // Whoever waited may have gone.
            let _ = done.send(());
        }
    }
}
