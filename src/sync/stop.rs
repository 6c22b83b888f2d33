//! Stopping: when more is about to change than was expected, a person is asked before it does.
//!
//! A sync may have *stop limits* ([`StopLimits`]): how much may be created and updated at its object, and how much of it may
//! be gone, within a span of time. What is about to go beyond one *halts* the writing (or, for what is gone, the reading) of
//! that object before it happens. Nothing is lost: pushes stay owed, the cursor stays where it is, and nothing is asked of
//! the system until a person resumes it, whichever process looks and however often. A person may halt an object, too, which
//! is how a first reading is cancelled.
//!
//! Where deletions are passed on (see [`crate::Deletes`]), and no limit says otherwise, much that is gone at once halts, too:
//! more than [`GONE_FREE`] objects and more than one in [`GONE_PART`] of those that are linked. This *brake* stands where
//! deletions are heard, and again where they are carried out.
//!
//! Both are kept among the cursors: what was written within the span behind `#written`, what halts it behind `#halt`.

use std::sync::atomic::Ordering;

use jiff::{SignedDuration, Timestamp};
use ledger::{Cursor, Ledger, LedgerError, SyncCommit};
use serde_json::{Value as Json, json};

use crate::absorb::Place;
use crate::engine::SyncError;
use crate::rehearsal::Way;
use crate::{Engine, Report};

/// Behind the object's name where it is kept what was written lately.
const WRITTEN: &str = "#written";
/// Behind the object's name where it is kept what halts it.
const HALT: &str = "#halt";
/// Owed pushes that are counted for the person that is asked.
const OWED_COUNTED_MAX: usize = 100_000;
/// The span that stop limits count in, unless the configuration says otherwise.
pub const STOP_PER_MS: u64 = 86_400_000;

/// Objects that may be gone within the span, whatever their part of all, where deletions are passed on and no limit is set.
pub const GONE_FREE: u64 = 10;
/// One in so many linked objects may be gone within the span there, where that is more.
pub const GONE_PART: u64 = 50;
/// Links that are counted for that at most.
const LINKS_COUNTED_MAX: u64 = 100_000;

/// How much may change within a span of time before a person is asked; nothing where there is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StopLimits {
    /// Objects created at the system.
    pub creates_max: Option<u64>,
    /// Objects updated at the system.
    pub updates_max: Option<u64>,
    /// Objects that are gone at the system; and, counted by themselves, objects that are deleted there with their records.
    pub gone_max: Option<u64>,
    /// The span, in milliseconds; it begins with the first change that is counted.
    pub per_ms: u64,
}

impl Default for StopLimits {
    fn default() -> StopLimits {
        StopLimits {
            creates_max: None,
            updates_max: None,
            gone_max: None,
            per_ms: STOP_PER_MS,
        }
    }
}

impl StopLimits {
    /// Where an object holds several kinds of records, the smallest limit counts for all of them together.
    fn with(self, other: StopLimits) -> StopLimits {
        let least = |a: Option<u64>, b: Option<u64>| a.into_iter().chain(b).min();
        StopLimits {
            creates_max: least(self.creates_max, other.creates_max),
            updates_max: least(self.updates_max, other.updates_max),
            gone_max: least(self.gone_max, other.gone_max),
            per_ms: self.per_ms.max(other.per_ms),
        }
    }

    fn of(&self, what: What) -> Option<u64> {
        match what {
            What::Creates => self.creates_max,
            What::Updates => self.updates_max,
            What::Gone | What::Deletes => self.gone_max,
        }
    }
}

/// What stop limits count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// Objects created at the system.
    Creates,
    /// Objects updated at the system.
    Updates,
    /// Objects gone at the system.
    Gone,
    /// Objects deleted at the system with their records.
    Deletes,
}

impl What {
    /// All of them.
    pub const ALL: [What; 4] = [What::Creates, What::Updates, What::Gone, What::Deletes];

    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            What::Creates => "creates",
            What::Updates => "updates",
            What::Gone => "gone",
            What::Deletes => "deletes",
        }
    }

    /// What a word means.
    pub fn parse(word: &str) -> Option<What> {
        What::ALL.into_iter().find(|what| what.word() == word)
    }

    fn way(self) -> Way {
        match self {
            What::Creates | What::Updates | What::Deletes => Way::Out,
            What::Gone => Way::In,
        }
    }
}

/// What was counted since a moment, and how much a person allowed for as long as the span lasts.
struct Written {
    since: Timestamp,
    counts: [u64; 4],
    allowed: [Option<u64>; 4],
}

impl Written {
    fn begin(now: Timestamp) -> Written {
        Written {
            since: now,
            counts: [0; 4],
            allowed: [None; 4],
        }
    }

    fn read(cursor: &Cursor, per_ms: u64, now: Timestamp) -> Option<Written> {
        let position = &cursor.position;
        let since: Timestamp = position["since"].as_str()?.parse().ok()?;
        let per = SignedDuration::from_millis(i64::try_from(per_ms).unwrap_or(i64::MAX));
        let lasts = since.checked_add(per).is_ok_and(|end| end > now);
        lasts.then(|| Written {
            since,
            counts: What::ALL.map(|what| position[what.word()].as_u64().unwrap_or(0)),
            allowed: What::ALL.map(|what| position["allowed"][what.word()].as_u64()),
        })
    }

    fn position(&self) -> Json {
        let mut position = json!({"since": self.since.to_string(), "allowed": {}});
        for what in What::ALL {
            position[what.word()] = json!(self.counts[what as usize]);
            position["allowed"][what.word()] = json!(self.allowed[what as usize]);
        }
        position
    }
}

/// What halts an object.
struct Halt {
    /// Nothing when a person did.
    what: Option<What>,
    /// How much it would have come to.
    would: u64,
    reason: String,
}

fn cursor(object: &str, kept: &str, position: Json, now: Timestamp) -> (String, Cursor) {
    (format!("{object}{kept}"), Cursor::at(position, now))
}

/// What halts an object, for a person: the reason with the fix.
///
/// # Errors
/// When the ledger cannot be read.
pub async fn halted(
    ledger: &dyn Ledger,
    connection: &str,
    object: &str,
) -> Result<Option<String>, LedgerError> {
    let cursor = ledger.cursor(connection, &format!("{object}{HALT}")).await?;
    Ok(cursor.and_then(|cursor| Some(cursor.position["reason"].as_str()?.to_owned())))
}

impl Engine {
    /// The stop limits of an object.
    pub fn stop_limits(&self, connection: &str, object: &str) -> StopLimits {
        let limits = self.plan.of(connection, object).map(|sync| sync.stop);
        limits.reduce(StopLimits::with).unwrap_or_default()
    }

    /// Whether there may be too much of something at an object.
    fn is_limited(&self, connection: &str, object: &str, what: What) -> bool {
        self.stop_limits(connection, object).of(what).is_some() || self.has_brake(connection, object, what)
    }

    fn has_brake(&self, connection: &str, object: &str, what: What) -> bool {
        let mut syncs = self.plan.of(connection, object);
        syncs.any(|sync| match what {
            What::Gone => sync.deletes.propagate,
            What::Deletes => sync.deletes.follow,
            What::Creates | What::Updates => false,
        })
    }

    /// How much there may be of something within the span, when it would come to so much; nothing when that does not matter.
    async fn limit(
        &self,
        (connection, object): (&str, &str),
        written: &Written,
        what: What,
        would: u64,
    ) -> Result<Option<u64>, LedgerError> {
        let limit = self.stop_limits(connection, object).of(what);
        if !self.is_limited(connection, object, what) {
            return Ok(None);
        }
        if let Some(limit) = written.allowed[what as usize].or(limit) {
            return Ok(Some(limit));
        }
        let enough = would.saturating_mul(GONE_PART).min(LINKS_COUNTED_MAX);
        let enough = usize::try_from(enough).unwrap_or(usize::MAX);
        let linked = self.ledger.linked_ids(connection, object, None, enough).await?;
        Ok(Some(GONE_FREE.max(linked.len() as u64 / GONE_PART)))
    }

    async fn halt_of(&self, connection: &str, object: &str) -> Result<Option<Halt>, LedgerError> {
        let cursor = self.ledger.cursor(connection, &format!("{object}{HALT}")).await?;
        Ok(cursor.and_then(|cursor| {
            Some(Halt {
                what: cursor.position["what"].as_str().and_then(What::parse),
                would: cursor.position["would"].as_u64().unwrap_or(0),
                reason: cursor.position["reason"].as_str()?.to_owned(),
            })
        }))
    }

    async fn written(
        &self,
        connection: &str,
        object: &str,
        limits: &StopLimits,
    ) -> Result<Written, LedgerError> {
        let now = self.world.now();
        let cursor = self
            .ledger
            .cursor(connection, &format!("{object}{WRITTEN}"))
            .await?;
        let written = cursor.and_then(|cursor| Written::read(&cursor, limits.per_ms, now));
        Ok(written.unwrap_or_else(|| Written::begin(now)))
    }

    /// Whether an object may be read or written. What halted it does so no more when its limit has been raised since.
    pub(crate) async fn may_go_on(&self, connection: &str, object: &str, way: Way) -> Result<(), SyncError> {
        if self.rehearsal.is_some() {
            return Ok(());
        }
        let Some(halt) = self.halt_of(connection, object).await? else {
            return Ok(());
        };
        let halts = match halt.what {
            None => true,
            Some(what) if what.way() == way => {
                let limits = self.stop_limits(connection, object);
                let written = self.written(connection, object, &limits).await?;
                let limit = self
                    .limit((connection, object), &written, what, halt.would)
                    .await?;
                limit.is_some_and(|limit| limit < halt.would)
            }
            Some(_) => false,
        };
        match halts {
            false => Ok(()),
            true => Err(SyncError::Stopped {
                connection: connection.to_owned(),
                reason: halt.reason,
            }),
        }
    }

    /// Between two pages or batches: whether this process or a person wants it to end here.
    pub(crate) async fn keep_going(&self, place: Place<'_>, way: Way) -> Result<(), SyncError> {
        if self.ending.load(Ordering::Relaxed) {
            let reason = "it was interrupted; the next run goes on where this one stopped".to_owned();
            return Err(SyncError::Halted { reason });
        }
        match self.may_go_on(place.connection, place.object, way).await {
            Err(SyncError::Stopped { reason, .. }) => Err(SyncError::Halted { reason }),
            other => other,
        }
    }

    /// Ends every pull and push of this engine when its page or batch is done.
    pub fn end_soon(&self) {
        self.ending.store(true, Ordering::Relaxed);
    }

    /// Whether it was told to end.
    pub fn is_ending(&self) -> bool {
        self.ending.load(Ordering::Relaxed)
    }

    /// Halts an object when so much more would go beyond its limit.
    pub(crate) async fn stop_before(&self, place: Place<'_>, what: What, more: u64) -> Result<(), SyncError> {
        let (connection, object) = (place.connection, place.object);
        let limits = self.stop_limits(connection, object);
        if more == 0 || !self.is_limited(connection, object, what) || self.rehearsal.is_some() {
            return Ok(());
        }
        let written = self.written(connection, object, &limits).await?;
        let would = written.counts[what as usize] + more;
        let limit = self.limit((connection, object), &written, what, would).await?;
        let Some(limit) = limit.filter(|limit| would > *limit) else {
            return Ok(());
        };
        let now = self.world.now();
        let (waits, allow) = match what.way() {
            Way::Out => {
                let owed = self
                    .ledger
                    .pushes(connection, object, now, OWED_COUNTED_MAX)
                    .await?
                    .len() as u64;
                (format!("{owed} records are owed to it and stay so"), owed)
            }
            Way::In => ("it is not read any further".to_owned(), more),
        };
        let (word, since) = (what.word(), written.since);
        let reason = format!(
            "{object} of {connection} would come to {would} {word} since {since}, more than its limit of {limit}: {waits}. \
             Look at it with `interconnect plan --connection {connection}`, then let it go on with `interconnect sync \
             resume --connection {connection} --object {object} --allow {word}={allow}`"
        );
        tracing::error!(connection, object, reason, "a sync is stopped");
        let halt = json!({"what": word, "would": would, "reason": reason});
        let (name, cursor) = cursor(object, HALT, halt, now);
        let commit = SyncCommit {
            lease: Some(place.lease.clone()),
            cursor: Some((connection.to_owned(), name, cursor)),
            ..SyncCommit::default()
        };
        self.ledger.commit(commit).await?;
        Err(SyncError::Halted { reason })
    }

    /// What is counted by now, to be stored with what was done; nothing where nothing limits it.
    pub(crate) async fn counted(
        &self,
        place: Place<'_>,
        more: &[(What, u64)],
    ) -> Result<Option<(String, String, Cursor)>, LedgerError> {
        let limits = self.stop_limits(place.connection, place.object);
        let limited = |what| self.is_limited(place.connection, place.object, what);
        if self.rehearsal.is_some()
            || !What::ALL.into_iter().any(limited)
            || more.iter().all(|(_, more)| *more == 0)
        {
            return Ok(None);
        }
        let mut written = self.written(place.connection, place.object, &limits).await?;
        for (what, more) in more {
            written.counts[*what as usize] += more;
        }
        let (name, cursor) = cursor(place.object, WRITTEN, written.position(), self.world.now());
        Ok(Some((place.connection.to_owned(), name, cursor)))
    }

    /// Lets an object go on. What is counted begins anew, with limits of its own for as long as the span lasts. Says
    /// whether it was halted.
    pub async fn resume(
        &self,
        connection: &str,
        object: &str,
        allow: &[(What, u64)],
    ) -> Result<bool, LedgerError> {
        let now = self.world.now();
        let was_halted = self.halt_of(connection, object).await?.is_some();
        let mut written = Written::begin(now);
        for (what, most) in allow {
            written.allowed[*what as usize] = Some(*most);
        }
        for (kept, position) in [(WRITTEN, written.position()), (HALT, Json::Null)] {
            let (name, cursor) = cursor(object, kept, position, now);
            let commit = SyncCommit {
                cursor: Some((connection.to_owned(), name, cursor)),
                ..SyncCommit::default()
            };
            self.ledger.commit(commit).await?;
        }
        Ok(was_halted)
    }

    /// Halts an object by hand: whoever is at it ends with its page or batch, and nobody begins again.
    pub async fn cancel(&self, connection: &str, object: &str) -> Result<(), LedgerError> {
        let now = self.world.now();
        let reason = format!(
            "{object} of {connection} was cancelled by hand at {now}; what was done stays, and it goes on from there with \
             `interconnect sync resume --connection {connection} --object {object}`"
        );
        let (name, cursor) = cursor(
            object,
            HALT,
            json!({"what": null, "would": 0, "reason": reason}),
            now,
        );
        let commit = SyncCommit {
            cursor: Some((connection.to_owned(), name, cursor)),
            ..SyncCommit::default()
        };
        self.ledger.commit(commit).await
    }

    /// Whether nobody is reading or writing an object.
    pub async fn is_at_rest(&self, connection: &str, object: &str) -> Result<bool, SyncError> {
        for way in ["pull", "push"] {
            match self.take(&format!("{way}:{connection}:{object}")).await {
                Ok(lease) => self.ledger.release(&lease).await?,
                Err(SyncError::Taken) => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// What would halt an object that comes to so much more, for a person.
    pub async fn would_halt(
        &self,
        connection: &str,
        object: &str,
        more: &[(What, u64)],
    ) -> Result<Vec<String>, LedgerError> {
        let limits = self.stop_limits(connection, object);
        let written = self.written(connection, object, &limits).await?;
        let mut over = Vec::new();
        for (what, more) in more.iter().filter(|(_, more)| *more > 0) {
            let would = written.counts[*what as usize] + more;
            let limit = self.limit((connection, object), &written, *what, would).await?;
            if let Some(limit) = limit.filter(|limit| would > *limit) {
                let word = what.word();
                over.push(format!(
                    "{object} of {connection} halts before it comes to more than {limit} {word}, of {would}; let it go on \
                     with `interconnect sync run --allow {word}={would}`"
                ));
            }
        }
        Ok(over)
    }

    /// A pull or a push that was halted is a run that ended early, with the reason.
    pub(crate) fn ended_early(result: Result<(), SyncError>, report: &mut Report) -> Result<(), SyncError> {
        match result {
            Err(SyncError::Halted { reason }) => {
                report.halted = Some(reason);
                Ok(())
            }
            other => other,
        }
    }
}
