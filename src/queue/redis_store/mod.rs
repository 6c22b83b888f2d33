//! The queue in Redis.
//!
//! Each operation is one script, so that it happens whole or not at all; `jobs.lua` has the layout.
//! Promised: scripts are bounded, time is the server's (a node's clock may be hours off), a stale token is refused, a finished job leaves no key behind,
//! and after a flush or a restart without persistence a running job goes on under its old lease.
//! Not promised: Redis Cluster. Put the prefix in braces (`{interconnect}`) to keep all keys in one slot.

mod link;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt;
use jiff::Timestamp;
use redis::{Script, ScriptInvocation};
use tokio::sync::watch;

use crate::job::{Job, Nudge, Priority};
use crate::queue::{Counts, Listed, QueueError, State};
use crate::settings::Settings;
use crate::store::{
    AbortOnDrop, Ask, Claim, Claimed, Lease, Outcome, SOLO_AFTER_LOSSES, STEP_MAX, Settle, Store, Wakes,
    bounded, due_ms,
};
use link::Link;

/// How long a silent subscription is trusted, in milliseconds: then it is opened anew, in case the connection is half
/// open.
const SUBSCRIPTION_MAX_MS: u64 = 60_000;

/// The wait before a lost subscription is opened again, in milliseconds.
const RESUBSCRIBE_MS: u64 = 250;

/// The Redis backend.
pub(crate) struct RedisStore {
    settings: Arc<Settings>,
    link: Arc<Link>,
    scripts: Scripts,
}

struct Scripts {
    nudge: Script,
    claim: Script,
    renew: Script,
    settle: Script,
    release: Script,
    counts: Script,
    list: Script,
}

impl Scripts {
    fn new() -> Self {
        let script = |own: &str| {
            let jobs = include_str!("jobs.lua");
            Script::new(&format!(
                "local SOLO_AFTER_LOSSES, STEP_MAX = {SOLO_AFTER_LOSSES}, {STEP_MAX}\n{jobs}\n{own}"
            ))
        };
        Self {
            nudge: script(include_str!("nudge.lua")),
            claim: script(include_str!("claim.lua")),
            renew: script(include_str!("renew.lua")),
            settle: script(include_str!("settle.lua")),
            release: script(include_str!("release.lua")),
            counts: script(include_str!("counts.lua")),
            list: script(include_str!("list.lua")),
        }
    }
}

impl RedisStore {
    pub(crate) async fn open(url: &str, settings: Arc<Settings>) -> Result<Self, QueueError> {
        let store = Self {
            link: Arc::new(Link::new(url, &settings)?),
            scripts: Scripts::new(),
            settings,
        };
        // Fail at start, not at the first job, if the server is not there or cannot run scripts.
        store.counts().await?;
        Ok(store)
    }

    fn call<'a>(&self, script: &'a Script) -> ScriptInvocation<'a> {
        script.key(self.settings.redis_prefix.as_str())
    }

    /// How long from now until a moment that the caller's clock told; the server's clock may say something else.
    fn wait_ms(&self, due_ms: i64) -> i64 {
        due_ms - self.settings.clock.now().as_millisecond()
    }

    /// Jobs that a newer version queued: let them come back later, when that version may pick them up.
    async fn put_off(&self, unknown: &[(String, u64, u32)]) -> Result<(), QueueError> {
        let mut call = self.call(&self.scripts.settle);
        call.arg(self.settings.attempts_max);
        for (key, token, attempt) in unknown {
            tracing::warn!(job = key, "this version does not know the job");
            let wait_ms = self.settings.backoff().wait_ms(&Job::Sweep, *attempt);
            call.arg(key).arg(token).arg("retry").arg(wait_ms);
            call.arg("this version does not know the job");
        }
        let _: Vec<u8> = self.link.run("put off jobs", &call).await?;
        Ok(())
    }
}

/// Key, token, priority, attempt, solo.
type ClaimedRow = (String, u64, u8, u32, u8);

/// Key, priority, time, attempts, holder, reason.
type ListedRow = (String, u8, i64, u32, String, String);

#[async_trait]
impl Store for RedisStore {
    async fn nudge(&self, nudges: &[Nudge]) -> Result<(), QueueError> {
        let mut call = self.call(&self.scripts.nudge);
        for nudge in nudges {
            call.arg(nudge.job.key()).arg(nudge.priority.rank());
            match nudge.at {
                Some(at) => call.arg(self.wait_ms(due_ms(at))),
                None => call.arg(""),
            };
        }
        let _: u8 = self.link.run_again("queue jobs", &call).await?;
        Ok(())
    }

    async fn claim(&self, ask: &Ask) -> Result<Claimed, QueueError> {
        let mut call = self.call(&self.scripts.claim);
        call.arg(ask.max)
            .arg(u8::from(ask.solo))
            .arg(self.settings.lease_ms)
            .arg(&ask.by)
            .arg(self.settings.attempts_max);
        let (next_due_ms, epoch, rows): (i64, u64, Vec<ClaimedRow>) =
            self.link.run("claim jobs", &call).await?;
        let mut claimed = Claimed {
            claims: Vec::with_capacity(rows.len()),
            next_due_ms: u64::try_from(next_due_ms).ok(),
        };
        let mut unknown = Vec::new();
        for (key, token, priority, attempt, solo) in rows {
            let Ok(job) = key.parse::<Job>() else {
                unknown.push((key, token, attempt));
                continue;
            };
            claimed.claims.push(Claim {
                lease: Lease {
                    job,
                    token,
                    epoch,
                    priority: Priority::from_rank(priority),
                    attempt,
                },
                solo: solo == 1,
            });
        }
        // If this fails, their leases run out; the jobs we know must not be lost over it.
        if !unknown.is_empty()
            && let Err(error) = self.put_off(&unknown).await
        {
            tracing::warn!(%error, "unknown jobs stay leased until their leases end");
        }
        Ok(claimed)
    }

    async fn renew(&self, leases: &[Lease]) -> Result<Vec<bool>, QueueError> {
        let mut call = self.call(&self.scripts.renew);
        call.arg(self.settings.lease_ms);
        for lease in leases {
            call.arg(lease.job.key())
                .arg(lease.token)
                .arg(lease.epoch)
                .arg(lease.priority.rank())
                .arg(lease.attempt);
        }
        self.link.run_again("renew leases", &call).await
    }

    async fn settle(&self, settles: &[Settle]) -> Result<Vec<bool>, QueueError> {
        let mut call = self.call(&self.scripts.settle);
        call.arg(self.settings.attempts_max);
        for settle in settles {
            call.arg(settle.lease.job.key()).arg(settle.lease.token);
            let (verb, number, why) = match &settle.outcome {
                Outcome::Done => ("done", 0, ""),
                Outcome::Again { due_ms } => ("again", self.wait_ms(*due_ms), ""),
                Outcome::Retry { wait_ms, why } => {
                    ("retry", i64::try_from(*wait_ms).unwrap_or(i64::MAX), why.as_str())
                }
                Outcome::Dead { why } => ("dead", 0, why.as_str()),
                Outcome::Back => ("back", 0, ""),
            };
            call.arg(verb).arg(number).arg(bounded(why));
        }
        self.link.run("settle jobs", &call).await
    }

    async fn counts(&self) -> Result<Counts, QueueError> {
        let call = self.call(&self.scripts.counts);
        let (ready, delayed, running, dead) = self.link.run_again("count jobs", &call).await?;
        Ok(Counts {
            ready,
            delayed,
            running,
            dead,
        })
    }

    async fn list(&self, state: State, limit: usize) -> Result<Vec<Listed>, QueueError> {
        let mut call = self.call(&self.scripts.list);
        call.arg(limit);
        match state {
            State::Ready => call.arg("solo").arg("ready"),
            State::Delayed => call.arg("delayed"),
            State::Running => call.arg("running"),
            State::Dead => call.arg("dead"),
        };
        let rows: Vec<ListedRow> = self.link.run_again("list jobs", &call).await?;
        let some = |text: String| (!text.is_empty()).then_some(text);
        let listed = |(key, priority, at, attempts, by, why): ListedRow| {
            Some(Listed {
                // A job that only a newer version knows cannot be shown by this one.
                job: key.parse().ok()?,
                priority: Priority::from_rank(priority),
                at: Timestamp::from_millisecond(at).ok()?,
                attempts,
                held_by: some(by),
                reason: some(why),
            })
        };
        Ok(rows.into_iter().filter_map(listed).collect())
    }

    async fn release_dead(&self, job: &Job) -> Result<bool, QueueError> {
        let mut call = self.call(&self.scripts.release);
        call.arg(job.key());
        let released: u8 = self.link.run("release a dead job", &call).await?;
        Ok(released == 1)
    }

    fn wakes(&self) -> Wakes {
        let (wake, signal) = watch::channel(0);
        let channel = format!("{}:wake", self.settings.redis_prefix);
        let link = Arc::clone(&self.link);
        Wakes {
            signal,
            _feeder: Some(AbortOnDrop(tokio::spawn(listen(link, channel, wake)))),
        }
    }
}

/// Pass on what is published, for ever. A wake-up that falls into a gap is made good by the idle poll.
async fn listen(link: Arc<Link>, channel: String, wake: watch::Sender<u64>) {
    'subscription: loop {
        match link.subscribe(&channel).await {
            Ok(listener) => {
                // Something may have been published before the subscription stood.
                wake.send_modify(|version| *version += 1);
                let mut published = listener.into_on_message();
                let patience = Duration::from_millis(SUBSCRIPTION_MAX_MS);
                loop {
                    match tokio::time::timeout(patience, published.next()).await {
                        Ok(Some(_)) => wake.send_modify(|version| *version += 1),
                        Ok(None) => break,
                        Err(_silent) => continue 'subscription,
                    }
                }
            }
            Err(error) => tracing::debug!(%error, "no wake-ups for now"),
        }
        tokio::time::sleep(Duration::from_millis(RESUBSCRIBE_MS)).await;
    }
}
