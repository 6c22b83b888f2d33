//! [`Engine`]: the plan, the connections and the ledger together.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use connector::{Connection, Failure};
use jiff::{SignedDuration, Timestamp};
use ledger::{Lease, Ledger, LedgerError};
use model::{RunId, uuid_from};
use tokio::sync::{Mutex, MutexGuard};

use crate::{Plan, PostedBy, Report};

/// How long the lease on an object is held before it must be renewed, when nobody says; renewed with every page and batch.
const LEASE: SignedDuration = SignedDuration::from_secs(60);
/// How long, in milliseconds, a pull or a push waits at most for a person who wants an object to be still.
const STILL_MS_MAX: i64 = 2_000;
/// How long it waits, in milliseconds, before it looks again.
const STILL_STEP_MS: u64 = 50;
/// From how many milliseconds on that our clock is ahead of a system's a run that changed nothing is noted for it.
const CLOCK_AHEAD_TOLD_MS: u64 = 300_000;
/// How often a page is merged again because somebody else changed a record meanwhile.
pub(crate) const STALE_TRIES_MAX: u32 = 8;

/// Time and randomness, handed in.
#[async_trait]
pub trait World: Send + Sync {
    /// Now, in UTC.
    fn now(&self) -> Timestamp;
    /// Returns after this many milliseconds.
    async fn sleep(&self, ms: u64);
    /// Ten random bytes, for ids; they may begin with a count, so that ids grow ([`model::counted`]).
    fn random(&self) -> [u8; 10];
}

/// Says which endpoints are to hear of an event of a type.
pub type FanOut = Arc<dyn Fn(&Announced<'_>) -> Addressed + Send + Sync>;

/// Whom an event is for.
#[derive(Clone, Debug, Default)]
pub struct Addressed {
    /// Endpoints, each with the line that it stands in.
    pub deliveries: Vec<(String, Option<String>)>,
    /// Why it is said, as whoever sends it on keeps that.
    pub arrival: String,
    /// Through whom what it tells of came, as whoever sends it on keeps that; empty for most.
    pub hops: String,
}

/// An event that the engine says about a record, before it is on disk.
#[derive(Clone, Copy, Debug)]
pub struct Announced<'a> {
    /// Its type.
    pub event_type: &'a model::EventType,
    /// Which record it is about.
    pub record: &'a str,
    /// The connection where what it tells of was changed first, if it was at one and not by a person here.
    pub connection: Option<&'a str>,
    /// Who posted what it tells of, if a partner did.
    pub posted: Option<&'a PostedBy>,
    /// The whole event.
    pub body: &'a [u8],
}

/// The key of the lease that a person holds who wants an object to be still: nobody begins to read or write it.
pub(crate) fn still_key(connection: &str, object: &str) -> String {
    format!("still:{connection}:{object}")
}

/// Why a pull or a push stopped.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    /// The configuration has no such connection or object.
    #[error("`{connection}` has no sync of `{object}`; see `interconnect check`")]
    Unknown {
        /// The connection asked for.
        connection: String,
        /// The object asked for.
        object: String,
    },
    /// Another worker is at it.
    #[error("another worker is at it")]
    Taken,
    /// The system did not answer as needed.
    #[error("{connection}: {failure}")]
    System {
        /// The connection.
        connection: String,
        /// What went wrong; says itself what to do.
        failure: Failure,
    },
    /// It waits for a person.
    #[error("`{connection}` is stopped: {reason}")]
    Stopped {
        /// The connection.
        connection: String,
        /// Why, and what lets it go on.
        reason: String,
    },
    /// It ended early; [`Report::halted`] tells it.
    #[error("{reason}")]
    Halted {
        /// Why, and what lets it go on.
        reason: String,
    },
    /// The ledger did not take it.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// Carries the plan out.
pub struct Engine {
    pub(crate) ledger: Arc<dyn Ledger>,
    pub(crate) plan: Plan,
    pub(crate) connections: BTreeMap<String, Arc<Connection>>,
    pub(crate) world: Arc<dyn World>,
    pub(crate) fan_out: FanOut,
    /// What is being created at an object of a connection can be read there before its link is committed: a pull that
    /// looked at it in between would take it for a stranger.
    creating: BTreeMap<(String, String), Mutex<()>>,
    /// Objects that readings of everything will bring, by connection and object.
    pub(crate) expected: std::sync::Mutex<BTreeMap<(String, String), u64>>,
    /// Until when a census of an object rests, by its name.
    pub(crate) resting: std::sync::Mutex<BTreeMap<(String, String), Timestamp>>,
    pub(crate) hinted: crate::hints::Hinted,
    pub(crate) standing: crate::standing::Known,
    pub(crate) looked_for_missing: crate::missing::Looked,
    /// Whether pulls and pushes are to end.
    pub(crate) ending: AtomicBool,
    /// What is foreseen, where nothing is to be written.
    pub(crate) rehearsal: Option<crate::rehearsal::Rehearsal>,
    pub(crate) read: AtomicU64,
    pub(crate) pushed: AtomicU64,
    holder: String,
    lease: SignedDuration,
}

impl Engine {
    /// Puts the parts together. `holder` names this process in leases.
    pub fn new(
        ledger: Arc<dyn Ledger>,
        plan: Plan,
        connections: BTreeMap<String, Arc<Connection>>,
        world: Arc<dyn World>,
        fan_out: FanOut,
        holder: String,
    ) -> Engine {
        let creating = plan
            .objects()
            .into_iter()
            .map(|(connection, object)| ((connection.to_owned(), object.to_owned()), Mutex::new(())))
            .collect();
        Engine {
            ledger,
            plan,
            connections,
            world,
            fan_out,
            creating,
            expected: std::sync::Mutex::default(),
            resting: std::sync::Mutex::default(),
            hinted: crate::hints::Hinted::default(),
            standing: crate::standing::Known::default(),
            looked_for_missing: crate::missing::Looked::default(),
            ending: AtomicBool::new(false),
            rehearsal: None,
            read: AtomicU64::new(0),
            pushed: AtomicU64::new(0),
            holder,
            lease: LEASE,
        }
    }

    /// With leases on objects that are over so many milliseconds after they were last renewed.
    #[must_use]
    pub fn leasing(mut self, lease_ms: u64) -> Engine {
        self.lease = SignedDuration::from_millis(i64::try_from(lease_ms).unwrap_or(i64::MAX));
        self
    }

    /// The plan.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Objects that it has read, for those who watch it work.
    pub fn read_so_far(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }

    /// Owed pushes that it has tried, for those who watch it work.
    pub fn pushed_so_far(&self) -> u64 {
        self.pushed.load(Ordering::Relaxed)
    }

    /// A connection by name.
    pub fn connection(&self, name: &str) -> Option<&Arc<Connection>> {
        self.connections.get(name)
    }

    pub(crate) fn known(&self, connection: &str, object: &str) -> Result<&Arc<Connection>, SyncError> {
        let unknown = || SyncError::Unknown {
            connection: connection.to_owned(),
            object: object.to_owned(),
        };
        self.plan.of(connection, object).next().ok_or_else(unknown)?;
        self.connections.get(connection).ok_or_else(unknown)
    }

    pub(crate) fn new_run(&self) -> RunId {
        RunId::from_uuid(uuid_from(self.world.now(), self.world.random()))
    }

    pub(crate) fn after(&self, wait: Duration) -> Timestamp {
        let wait = SignedDuration::try_from(wait).unwrap_or(SignedDuration::from_hours(24));
        self.world.now().checked_add(wait).unwrap_or(Timestamp::MAX)
    }

    /// Holds creating and meeting at an object apart for as long as the guard lives.
    pub(crate) async fn creating(&self, connection: &str, object: &str) -> Option<MutexGuard<'_, ()>> {
        let mutex = self.creating.get(&(connection.to_owned(), object.to_owned()))?;
        Some(mutex.lock().await)
    }

    /// Takes the lease on reading (`pull`) or writing (`push`) an object. A person who waits for it to be still goes first.
    pub(crate) async fn turn(&self, way: &str, connection: &str, object: &str) -> Result<Lease, SyncError> {
        let until = self.in_ms(STILL_MS_MAX);
        while self.is_wanted_still(connection, object).await? {
            if self.world.now() >= until {
                return Err(SyncError::Taken);
            }
            self.world.sleep(STILL_STEP_MS).await;
        }
        self.take(&format!("{way}:{connection}:{object}")).await
    }

    /// Whether a person waits for an object to be still, so that nothing goes on after this page or batch.
    pub(crate) async fn is_wanted_still(&self, connection: &str, object: &str) -> Result<bool, LedgerError> {
        let key = still_key(connection, object);
        self.ledger.is_leased(&key, self.world.now()).await
    }

    pub(crate) async fn take(&self, key: &str) -> Result<Lease, SyncError> {
        let now = self.world.now();
        let lease = self
            .ledger
            .lease(key, &self.holder, now, self.lease_end(now))
            .await?;
        lease.ok_or(SyncError::Taken)
    }

    pub(crate) async fn keep(&self, lease: &Lease) -> Result<(), SyncError> {
        if self.ledger.renew(lease, self.lease_end(self.world.now())).await? {
            return Ok(());
        }
        Err(LedgerError::LeaseLost(lease.key.clone()).into())
    }

    fn lease_end(&self, now: Timestamp) -> Timestamp {
        now.checked_add(self.lease).unwrap_or(Timestamp::MAX)
    }

    /// Writes down a run that did something or failed; one that found nothing to do leaves no row.
    pub(crate) async fn note(
        &self,
        run: RunId,
        (connection, object, direction): (&str, &str, &str),
        started_at: Timestamp,
        report: &Report,
        result: &Result<(), SyncError>,
    ) -> Result<(), SyncError> {
        let error = match result {
            Ok(()) if report.halted.is_some() => report.halted.clone().unwrap_or_default(),
            Ok(()) if report.counts.changed_anything() || direction == "reconcile" => String::new(),
            // Who only ever sees nothing change would not find out why.
            Ok(()) if report.counts.clock_ahead_ms >= CLOCK_AHEAD_TOLD_MS => format!(
                "our clock is {} s ahead of what the system's answers tell in `Date`, and nothing later is read before that \
                 moment comes there: set right whichever of the two clocks is wrong",
                report.counts.clock_ahead_ms / 1_000
            ),
            Ok(()) => return Ok(()),
            // The standing of the connection tells it once, not every look a run.
            Err(SyncError::Taken | SyncError::Stopped { .. }) => return Ok(()),
            Err(error) => error.to_string(),
        };
        let mut counts = report.counts.to_json();
        if !report.drift.is_empty() {
            counts["drift"] = serde_json::json!(report.drift);
        }
        let run = ledger::Run {
            id: run,
            connection: connection.to_owned(),
            object: object.to_owned(),
            direction: direction.to_owned(),
            started_at,
            ended_at: Some(self.world.now()),
            counts,
            error,
        };
        Ok(self.ledger.note_run(&run).await?)
    }
}
