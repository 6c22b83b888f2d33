//! The memory backend under a clock that the test moves: hours pass in no time.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::Instant;

use super::stage::{Crew, Recorder, job, nudge};
use crate::{Clock, Nudge, Priority, Queue, Settings, State, Verdict};

/// Follows tokio's clock, which jumps to the next timer while a paused test has nothing to do.
struct Jumping {
    began: Timestamp,
    zero: Instant,
}

impl Jumping {
    fn start() -> Arc<Self> {
        Arc::new(Self {
            began: "2026-11-23T09:00:00Z".parse().unwrap(),
            zero: Instant::now(),
        })
    }
}

impl Clock for Jumping {
    fn now(&self) -> Timestamp {
        self.began + SignedDuration::try_from(self.zero.elapsed()).unwrap()
    }
}

fn stage() -> (Queue, Arc<Jumping>) {
    let clock = Jumping::start();
    let settings = Settings {
        clock: Arc::clone(&clock) as Arc<dyn Clock>,
        seed: 3,
        ..Settings::default()
    };
    (Queue::memory(settings).unwrap(), clock)
}

/// A look that tells when it ran. Awaiting that, unlike polling for it, lets the clock jump.
fn telling(clock: &Arc<Jumping>, verdict: Verdict) -> (Arc<Recorder>, UnboundedReceiver<Timestamp>) {
    let (tell, told) = unbounded_channel();
    let clock = Arc::clone(clock);
    let look = Recorder::new(move |_, _| {
        let _told = tell.send(clock.now());
        std::future::ready(verdict.clone())
    });
    (look, told)
}

#[tokio::test(start_paused = true)]
async fn a_job_due_tomorrow_runs_tomorrow_to_the_millisecond() {
    let (queue, clock) = stage();
    let (look, mut told) = telling(&clock, Verdict::Done);
    let workers = Crew::with(&queue, &look, 1);
    let due = clock.now() + SignedDuration::from_hours(24);
    queue
        .nudge(&[nudge("a", Priority::Live, Some(due))])
        .await
        .unwrap();
    let late = told.recv().await.unwrap() - due;
    let late_ms = late.total(jiff::Unit::Millisecond).unwrap();
    assert!((0.0..=2.0).contains(&late_ms), "{late_ms} ms");
    workers.stop().await;
}

#[tokio::test(start_paused = true)]
async fn twelve_attempts_take_the_better_part_of_a_quarter_of_an_hour() {
    let (queue, clock) = stage();
    let began = clock.now();
    let (look, mut told) = telling(&clock, Verdict::Retry("no".into()));
    let workers = Crew::with(&queue, &look, 1);
    queue.nudge(&[Nudge::now(job("a"))]).await.unwrap();
    let mut last = began;
    for _ in 1..=12 {
        last = told.recv().await.unwrap();
    }
    workers.stop().await;
    let dead = queue.list(State::Dead, 1).await.unwrap();
    assert_eq!((dead.len(), look.attempts()), (1, (1..=12).collect()));
    // 1 s doubled up to 300 s, eleven waits, each between half and all of its step.
    let all_s = 1 + 2 + 4 + 8 + 16 + 32 + 64 + 128 + 256 + 300 + 300;
    let took_s = (last - began).total(jiff::Unit::Second).unwrap();
    let bounds = f64::from(all_s) / 2.0..f64::from(all_s) + 1.0;
    assert!(bounds.contains(&took_s), "{took_s} s");
}
