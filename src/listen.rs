//! Streams of systems, listened to beside the workers.
//!
//! A [`Listener`] looks after one topic. Among all nodes one of them does at a time, by a lease.
//! What it hears are hints ([`crate::hints`]); when they are handed over, the *place* of the stream is stored, so that
//! the next one to listen goes on behind it. It lies in the ledger like the cursor of an object, under the topic's name.
//!
//! A stream only makes things faster. One that cannot be listened to is told of once, in the log and in
//! `interconnect status`, and changes are read by the schedule as ever.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use connector::{Class, Connection, Failure, Hint};
use jiff::{SignedDuration, Timestamp};
use ledger::{Cursor, Lease, Ledger, LedgerError, SyncCommit};
use queue::{Queue, QueueError};
use serde_json::{Value as Json, json};
use sync::Engine;
use tokio::sync::watch;

/// How long the lease on a topic is held before it must be renewed.
const LEASE_MS: u64 = 20_000;
/// How often the lease is renewed, and how often others ask for it.
const RENEW_MS: u64 = 6_000;
/// How long until it is looked again whether the connection may be used.
const STANDING_MS: u64 = 2_000;
/// The first wait after a stream broke; it doubles with each that breaks before it told anything.
const BACKOFF_BASE_MS: u64 = 1_000;
/// The longest of these waits.
const BACKOFF_MAX_MS: u64 = 300_000;
/// How long until a topic that cannot be listened to is tried again.
const REFUSED_MS: u64 = 3_600_000;
/// How long until a stream with refused credentials is tried again, if they did not stop the connection meanwhile.
const REVOKED_MS: u64 = 10_000;
/// Added to the lag of an object before what was not named is looked for once more.
const VISIBLE_MS: u64 = 5_000;

/// Where a stream stands, as it is stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stand {
    /// The place to go on behind; nothing when there is none yet, or none that the system knows.
    place: Option<Json>,
    /// Why it cannot be listened to, for a person; empty when it can.
    pub(crate) refused: String,
}

impl Stand {
    /// What is stored of a topic.
    pub(crate) fn of(cursor: &Cursor) -> Stand {
        let position = &cursor.position;
        Stand {
            place: Some(position["place"].clone()).filter(|place| !place.is_null()),
            refused: position["refused"].as_str().unwrap_or_default().to_owned(),
        }
    }

    fn position(&self) -> Json {
        json!({"place": self.place, "refused": self.refused})
    }
}

/// Why a stream came to its end.
#[derive(Debug, thiserror::Error)]
enum Ended {
    /// The system ended or refused it.
    #[error(transparent)]
    System(#[from] Failure),
    /// The ledger did not take its place.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The queue did not take a nudge.
    #[error(transparent)]
    Queue(#[from] QueueError),
}

/// Listens to a topic.
#[derive(Clone)]
pub(crate) struct Listener {
    connection: Arc<Connection>,
    object: String,
    topic: String,
    engine: Arc<Engine>,
    queue: Queue,
    ledger: Arc<dyn Ledger>,
    /// This process, in leases.
    holder: String,
    /// Changes without a name that are to be looked for once more.
    unnamed: Arc<AtomicU64>,
}

/// One listener for each object that is read and has a topic.
pub(crate) fn listeners(
    engine: &Arc<Engine>,
    queue: &Queue,
    ledger: &Arc<dyn Ledger>,
    holder: &str,
) -> Vec<Listener> {
    let mut listeners = Vec::new();
    for (name, object) in engine.plan().objects() {
        let read = engine.plan().of(name, object).any(|sync| sync.pull);
        let Some(connection) = engine.connection(name).filter(|_| read) else {
            continue;
        };
        match connection.topic(object) {
            Ok(Some(topic)) => listeners.push(Listener {
                connection: connection.clone(),
                object: object.to_owned(),
                topic: topic.to_owned(),
                engine: engine.clone(),
                queue: queue.clone(),
                ledger: ledger.clone(),
                holder: holder.to_owned(),
                unnamed: Arc::default(),
            }),
            Ok(None) => {}
            Err(error) => {
                tracing::error!(connection = name, object, %error, "a stream cannot be listened to");
            }
        }
    }
    listeners
}

impl Listener {
    /// Listens until it is told to stop, whatever happens meanwhile.
    pub(crate) async fn run(self, mut stopped: watch::Receiver<bool>) {
        let mut broken = 0;
        loop {
            let wait_ms = match self.turn(&mut stopped, &mut broken).await {
                Ok(wait_ms) => wait_ms,
                Err(error) => {
                    tracing::warn!(connection = self.connection.name(), topic = self.topic, %error, "the ledger failed");
                    RENEW_MS
                }
            };
            // A sender that is gone means stop, too.
            tokio::select! {
                biased;
                _ = stopped.wait_for(|stopped| *stopped) => return,
                () = tokio::time::sleep(Duration::from_millis(wait_ms)) => {}
            }
        }
    }

    /// Listens for as long as the lease is held and the stream goes on; after how long to try again.
    async fn turn(&self, stopped: &mut watch::Receiver<bool>, broken: &mut u32) -> Result<u64, LedgerError> {
        let standing = self.ledger.standings(Some(self.connection.name())).await?.pop();
        // The first pull of a connection finds out whose account it is.
        let account = standing.filter(|standing| !standing.is_stopped());
        let Some(account) = account.and_then(|standing| standing.account) else {
            return Ok(STANDING_MS);
        };
        let key = format!("stream:{}:{}", self.connection.name(), self.topic);
        let lease = self
            .ledger
            .lease(&key, &self.holder, Timestamp::now(), after_ms(LEASE_MS));
        let Some(lease) = lease.await? else {
            return Ok(RENEW_MS);
        };
        let told = AtomicBool::new(false);
        let ended = tokio::select! {
            ended = self.hear(&lease, &account, &told) => Some(ended),
            lost = self.keep(&lease) => {
                lost?;
                None
            }
            _ = stopped.wait_for(|stopped| *stopped) => None,
        };
        if told.into_inner() {
            *broken = 0;
        }
        let wait_ms = match ended {
            None => 0,
            Some(Ok(never)) => match never {},
            Some(Err(Ended::Ledger(error))) => return Err(error),
            Some(Err(Ended::System(failure))) => self.refused(&lease, &failure, broken).await?,
            Some(Err(Ended::Queue(error))) => {
                tracing::warn!(connection = self.connection.name(), topic = self.topic, %error, "a hint was not taken");
                backoff_ms(broken)
            }
        };
        self.ledger.release(&lease).await?;
        Ok(wait_ms)
    }

    /// Keeps the lease; returns when it is lost.
    async fn keep(&self, lease: &Lease) -> Result<(), LedgerError> {
        loop {
            tokio::time::sleep(Duration::from_millis(RENEW_MS)).await;
            if !self.ledger.renew(lease, after_ms(LEASE_MS)).await? {
                return Ok(());
            }
        }
    }

    /// Listens from where the stream stood, and hands over what it hears.
    async fn hear(&self, lease: &Lease, account: &str, told: &AtomicBool) -> Result<Infallible, Ended> {
        let mut stand = self.stand().await?;
        if stand.place.is_none() {
            // Nobody knows what happened before.
            self.take(&[Hint::of_something(&self.object)]).await?;
        }
        let key = self.connection.connector().key_field(&self.object);
        let fields = self
            .engine
            .plan()
            .object_fields(self.connection.name(), &self.object, key);
        let place = stand.place.clone();
        let mut listening = self
            .connection
            .listen(&self.object, &fields, account, place.as_ref())
            .await?;
        loop {
            let heard = listening.next().await?;
            if !told.swap(true, Ordering::Relaxed) {
                tracing::info!(
                    connection = self.connection.name(),
                    topic = self.topic,
                    "listening"
                );
            }
            self.take(&heard.hints).await?;
            let now = Stand {
                place: heard.place.or(stand.place.clone()),
                refused: String::new(),
            };
            if now != stand {
                self.store(lease, &now).await?;
                stand = now;
            }
        }
    }

    /// Hands hints over. What is not named may become visible only after a while, so it is looked for once more then.
    async fn take(&self, hints: &[Hint]) -> Result<(), QueueError> {
        let name = self.connection.name();
        crate::hints::take(&self.engine, &self.queue, name, hints, &self.engine.new_trace()).await?;
        let unnamed = hints.iter().any(|hint| hint.id.is_empty());
        if unnamed && self.unnamed.fetch_add(1, Ordering::Relaxed) == 0 {
            tokio::spawn(self.clone().look_again());
        }
        Ok(())
    }

    /// Looks for what was not named once more when it must be visible, until nothing came meanwhile.
    async fn look_again(self) {
        let wait_ms = self.connection.lag_ms(&self.object).saturating_add(VISIBLE_MS);
        loop {
            let seen = self.unnamed.load(Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(wait_ms)).await;
            let hint = Hint::of_something(&self.object);
            let name = self.connection.name();
            let trace = self.engine.new_trace();
            if let Err(error) = crate::hints::take(&self.engine, &self.queue, name, &[hint], &trace).await {
                // The schedule reads it all the same.
                tracing::warn!(%error, "the queue did not take a nudge");
            }
            let done = self
                .unnamed
                .compare_exchange(seen, 0, Ordering::Relaxed, Ordering::Relaxed);
            if done.is_ok() {
                return;
            }
        }
    }

    /// What to do about a stream that ended: after how long to try again.
    async fn refused(&self, lease: &Lease, failure: &Failure, broken: &mut u32) -> Result<u64, LedgerError> {
        let mut stand = self.stand().await?;
        let (said, wait_ms) = match failure.class {
            Class::CursorExpired => {
                // One that expires without a place has another reason, and waits.
                let known = stand.place.take().is_some();
                self.store(lease, &stand).await?;
                (false, if known { 0 } else { backoff_ms(broken) })
            }
            Class::RateLimited { until } => (false, until_ms(until)),
            Class::QuotaExhausted { until } => (true, until_ms(until)),
            Class::Permission | Class::NotFound | Class::Settings | Class::Protocol | Class::Validation => {
                (true, REFUSED_MS)
            }
            // A pull finds out the same, and stops the connection.
            Class::AuthRevoked => {
                let hint = Hint::of_something(&self.object);
                if let Err(error) = self.take(&[hint]).await {
                    tracing::warn!(%error, "the queue did not take a nudge");
                }
                (false, REVOKED_MS)
            }
            _ => (false, backoff_ms(broken)),
        };
        let (connection, topic) = (self.connection.name(), self.topic.as_str());
        let text = failure.to_string();
        if !said {
            tracing::debug!(connection, topic, failure = text, "a stream ended");
        } else if stand.refused != text {
            tracing::error!(
                connection,
                topic,
                failure = text,
                "a stream cannot be listened to; changes are read by the schedule"
            );
            stand.refused = text;
            self.store(lease, &stand).await?;
        }
        Ok(wait_ms)
    }

    async fn stand(&self) -> Result<Stand, LedgerError> {
        let cursor = self.ledger.cursor(self.connection.name(), &self.topic).await?;
        Ok(cursor.as_ref().map(Stand::of).unwrap_or_default())
    }

    async fn store(&self, lease: &Lease, stand: &Stand) -> Result<(), LedgerError> {
        let cursor = Cursor::at(stand.position(), Timestamp::now());
        let commit = SyncCommit {
            lease: Some(lease.clone()),
            cursor: Some((self.connection.name().to_owned(), self.topic.clone(), cursor)),
            ..SyncCommit::default()
        };
        self.ledger.commit(commit).await
    }
}

fn backoff_ms(broken: &mut u32) -> u64 {
    *broken = broken.saturating_add(1);
    let wait_ms = BACKOFF_BASE_MS << (*broken - 1).min(16);
    wait_ms.min(BACKOFF_MAX_MS)
}

fn until_ms(until: Timestamp) -> u64 {
    let wait = until
        .as_millisecond()
        .saturating_sub(Timestamp::now().as_millisecond());
    u64::try_from(wait)
        .unwrap_or(0)
        .clamp(BACKOFF_BASE_MS, REFUSED_MS)
}

fn after_ms(wait_ms: u64) -> Timestamp {
    let wait = SignedDuration::from_millis(i64::try_from(wait_ms).unwrap_or(i64::MAX));
    Timestamp::now().checked_add(wait).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_and_have_an_end() {
        let mut broken = 0;
        let waits: Vec<u64> = (0..12).map(|_| backoff_ms(&mut broken)).collect();
        assert_eq!(waits[..4], [1_000, 2_000, 4_000, 8_000]);
        assert_eq!(waits[9..], [BACKOFF_MAX_MS; 3]);
    }

    #[test]
    fn a_stand_is_read_as_it_was_stored() {
        for stand in [
            Stand::default(),
            Stand {
                place: Some(json!("bm9uZQ==")),
                refused: "no right".to_owned(),
            },
        ] {
            let cursor = Cursor::at(stand.position(), Timestamp::UNIX_EPOCH);
            assert_eq!(Stand::of(&cursor), stand);
        }
    }
}
