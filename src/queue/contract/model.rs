//! The two backends side by side: whatever is done to both, they answer the same.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::stage::{Kind, Stage, in_ms, job};
use crate::store::{Ask, Lease, Outcome, Settle};
use crate::{Counts, Nudge, Priority, Settings, State};

#[derive(Debug, Clone)]
enum Step {
    Nudge { name: u8, priority: u8, later: bool },
    Claim { max: usize },
    Settle { which: usize, outcome: u8, stale: bool },
    Renew { which: usize },
    Release { name: u8 },
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0u8..5, 0u8..3, any::<bool>())
            .prop_map(|(name, priority, later)| Step::Nudge { name, priority, later }),
        3 => (0usize..3).prop_map(|max| Step::Claim { max }),
        4 => (any::<usize>(), 0u8..6, prop::bool::weighted(0.1))
            .prop_map(|(which, outcome, stale)| Step::Settle { which, outcome, stale }),
        1 => any::<usize>().prop_map(|which| Step::Renew { which }),
        1 => (0u8..5).prop_map(|name| Step::Release { name }),
    ]
}

/// One backend and the leases it gave, in the order of their jobs.
struct Side {
    stage: Stage,
    leases: Vec<Lease>,
}

/// What both sides must agree on: everything but exact times and tokens.
#[derive(Debug, PartialEq, Eq)]
struct View {
    answer: Vec<String>,
    counts: Counts,
    jobs: BTreeSet<String>,
}

impl Side {
    async fn take(&mut self, step: &Step) -> View {
        let answer = match step {
            Step::Nudge {
                name,
                priority,
                later,
            } => {
                let nudge = Nudge {
                    job: job(&name.to_string()),
                    priority: Priority::from_rank(*priority),
                    at: later.then(|| in_ms(3_600_000)),
                };
                self.stage.queue.nudge(&[nudge]).await.unwrap();
                Vec::new()
            }
            Step::Claim { max } => self.claim(*max).await,
            Step::Settle {
                which,
                outcome,
                stale,
            } => self.settle(*which, *outcome, *stale).await,
            Step::Renew { which } => match self.leases.get(which % self.leases.len().max(1)) {
                Some(lease) => {
                    let kept = self.stage.queue.store.renew(std::slice::from_ref(lease)).await;
                    vec![format!("{:?}", kept.unwrap())]
                }
                None => Vec::new(),
            },
            Step::Release { name } => {
                let released = self.stage.queue.release_dead(&job(&name.to_string())).await;
                vec![released.unwrap().to_string()]
            }
        };
        self.view(answer).await
    }

    async fn claim(&mut self, max: usize) -> Vec<String> {
        let ask = Ask {
            max,
            solo: true,
            by: "both".to_owned(),
        };
        let claimed = self.stage.queue.store.claim(&ask).await.unwrap();
        let mut answer = vec![format!("next due: {}", claimed.next_due_ms.is_some())];
        for claim in claimed.claims {
            let lease = claim.lease;
            answer.push(format!("{} {} {:?}", lease.job, lease.attempt, lease.priority));
            self.leases.push(lease);
        }
        answer
    }

    async fn settle(&mut self, which: usize, outcome: u8, stale: bool) -> Vec<String> {
        if self.leases.is_empty() {
            return Vec::new();
        }
        let which = which % self.leases.len();
        let mut lease = self.leases[which].clone();
        if stale {
            lease.token -= 1;
        } else {
            self.leases.remove(which);
        }
        let why = "because".to_owned();
        let outcome = match outcome {
            0 => Outcome::Done,
            1 => Outcome::Again {
                due_ms: in_ms(3_600_000).as_millisecond(),
            },
            2 => Outcome::Retry { wait_ms: 0, why },
            3 => Outcome::Retry {
                wait_ms: 3_600_000,
                why,
            },
            4 => Outcome::Dead { why },
            _ => Outcome::Back,
        };
        let settles = [Settle { lease, outcome }];
        let ours = self.stage.queue.store.settle(&settles).await.unwrap();
        vec![format!("{ours:?}")]
    }

    async fn view(&self, answer: Vec<String>) -> View {
        let mut jobs = BTreeSet::new();
        for state in [State::Ready, State::Delayed, State::Running, State::Dead] {
            for listed in self.stage.queue.list(state, 100).await.unwrap() {
                jobs.insert(format!(
                    "{} {state:?} {:?} {} {:?} {:?}",
                    listed.job, listed.priority, listed.attempts, listed.held_by, listed.reason
                ));
            }
        }
        View {
            answer,
            counts: self.stage.counts().await,
            jobs,
        }
    }
}

/// Nudges come apart by at least a millisecond, so that both sides order by the same due times.
async fn next_millisecond() {
    let now = jiff::Timestamp::now().as_millisecond();
    while jiff::Timestamp::now().as_millisecond() == now {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_and_redis_answer_the_same() {
    // No lease ends and no wait is over while this runs.
    let settings = Settings {
        lease_ms: 3_600_000,
        attempts_max: 3,
        ..Settings::default()
    };
    let redis = Kind::Redis.stage(settings.clone()).await;
    let mut redis = Side {
        stage: redis,
        leases: Vec::new(),
    };
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let stories = prop::collection::vec(any_step(), 40);
    for story in 0..30 {
        let steps = stories.new_tree(&mut runner).unwrap().current();
        let memory = Kind::Memory.stage(settings.clone()).await;
        let mut memory = Side {
            stage: memory,
            leases: Vec::new(),
        };
        redis.leases.clear();
        redis.stage.server.as_ref().unwrap().flush_all().await;
        for (n, step) in steps.iter().enumerate() {
            next_millisecond().await;
            let (left, right) = (memory.take(step).await, redis.take(step).await);
            assert_eq!(left, right, "story {story}, after step {n} of {steps:#?}");
        }
    }
}
