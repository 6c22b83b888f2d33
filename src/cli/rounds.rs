//! Rounds of pulling and pushing, until nothing is owed any more: what `sync run` does, and what `plan` rehearses.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use ledger::Ledger;
use sync::{Counts, Depth, Engine, SyncError};

use super::progress::{Far, Progress, span};

/// Rounds of pulling and pushing after which the systems are said not to settle.
pub(super) const ROUNDS_MAX: u32 = 20;
/// How long a push that has to wait is waited for.
const WAIT_MS_MAX: i64 = 5_000;

/// What rounds came to, by connection and object.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) objects: BTreeMap<(String, String), Counts>,
    pub(super) errors: Vec<String>,
    /// Objects that nothing was written to, because they are to be read completely first.
    pub(super) unread: BTreeSet<(String, String)>,
}

impl Tally {
    pub(super) fn add(&mut self, connection: &str, object: &str, counts: &Counts) {
        self.objects
            .entry((connection.to_owned(), object.to_owned()))
            .or_default()
            .add(counts);
    }

    pub(super) fn total(&self) -> Counts {
        let mut total = Counts::default();
        self.objects.values().for_each(|counts| total.add(counts));
        total
    }
}

/// What a round, or the writing in it, came to.
#[derive(Default)]
struct Went {
    /// Whether anything changed, here or elsewhere.
    changed: bool,
    /// Whether there is more to write of what was owed already.
    goes_on: bool,
    /// How long the rest has to wait, if that is not long.
    waits: Option<Duration>,
}

/// Rounds over an engine and its ledger.
pub(super) struct Rounds<'e> {
    engine: &'e Engine,
    ledger: &'e dyn Ledger,
    /// The one connection that is read, where it is not all of them.
    only: Option<&'e str>,
    progress: Progress,
    tally: Tally,
}

impl<'e> Rounds<'e> {
    pub(super) fn over(engine: &'e Engine, ledger: &'e dyn Ledger, only: Option<&'e str>) -> Rounds<'e> {
        Rounds {
            engine,
            ledger,
            only,
            progress: Progress::begin(),
            tally: Tally::default(),
        }
    }

    /// Goes on until nothing is owed, or something fails; says what it came to, and whether nothing is owed. `full` reads
    /// everything again.
    pub(super) async fn run(mut self, full: bool) -> (Tally, bool) {
        let mut settled = false;
        if let Err(error) = self.engine.heed_corrections().await {
            self.tally.errors.push(error.to_string());
            return (self.tally, false);
        }
        for round in 0..ROUNDS_MAX {
            let went = self.round(full && round == 0).await;
            if !self.tally.errors.is_empty() || self.engine.is_ending() {
                break;
            }
            if !went.changed {
                let Some(wait) = went.waits else {
                    settled = true;
                    break;
                };
                tokio::time::sleep(wait).await;
            }
        }
        self.progress.end();
        (self.tally, settled)
    }

    /// Reads everything, and writes what was owed then. Where that is more than is written at once, what changed is read
    /// between, for nobody writes for hours what is long changed again.
    async fn round(&mut self, from_start: bool) -> Went {
        let mut went = Went::default();
        let (mut from_start, mut owed_by) = (from_start, None);
        loop {
            let changed = self.pull(std::mem::take(&mut from_start)).await;
            let owed_by = *owed_by.get_or_insert_with(Timestamp::now);
            let pushed = self.push(owed_by).await;
            went.changed |= changed || pushed.changed;
            went.waits = pushed.waits;
            if !pushed.goes_on || !self.tally.errors.is_empty() || self.engine.is_ending() {
                return went;
            }
        }
    }

    /// Reads every object once; says whether anything changed.
    async fn pull(&mut self, from_start: bool) -> bool {
        let mut changed = false;
        let (engine, objects) = (self.engine, pulled(self.engine, self.only));
        for (index, (connection, object)) in objects.iter().enumerate() {
            // How many rows an object has is known when a reading of everything has begun.
            let what = format!(
                "reading {object} of {connection} ({} of {})",
                index + 1,
                objects.len()
            );
            self.progress.step(what, None);
            let before = engine.read_so_far();
            let primed = self.is_primed(connection, object).await;
            let mut depth = if from_start { Depth::All } else { Depth::Changed };
            loop {
                let pull = Box::pin(engine.pull(connection, object, depth));
                let everything = depth == Depth::All || !primed;
                let far = || Far {
                    done: engine.read_so_far() - before,
                    of: everything
                        .then(|| engine.expected_objects(connection, object))
                        .flatten(),
                };
                match self.progress.during(pull, far).await {
                    Ok(report) => {
                        self.tally.add(connection, object, &report.counts);
                        if engine.is_ending() {
                            return changed;
                        }
                        if let Some(reason) = report.halted {
                            self.tally.errors.push(reason);
                            break;
                        }
                        let counts = report.counts;
                        changed |= counts.created + counts.updated + counts.met + counts.gone > 0;
                        if report.again.is_none_or(|again| again > Timestamp::now()) {
                            break;
                        }
                        depth = Depth::Changed;
                    }
                    Err(error) => {
                        self.tally.errors.push(explain(connection, object, &error));
                        break;
                    }
                }
            }
        }
        changed
    }

    /// Whether everything of an object was read once.
    async fn is_primed(&self, connection: &str, object: &str) -> bool {
        let cursor = self.ledger.cursor(connection, object).await;
        cursor.is_ok_and(|cursor| cursor.is_some_and(|cursor| cursor.complete_at.is_some()))
    }

    /// Whether an object is not read in these rounds, although nothing can be written there before it was read.
    async fn stays_unread(&self, connection: &str, object: &str) -> bool {
        let reads = self.engine.plan().of(connection, object).any(|sync| sync.pull);
        let left_out = self.only.is_some_and(|only| only != connection);
        reads && left_out && !self.is_primed(connection, object).await
    }

    /// Writes to every object what it is owed, up to a bound.
    async fn push(&mut self, owed_by: Timestamp) -> Went {
        let mut went = Went::default();
        let mut next: Option<Timestamp> = None;
        let engine = self.engine;
        if engine.is_ending() {
            return went;
        }
        for (connection, object) in engine.plan().objects() {
            if self.stays_unread(connection, object).await {
                let unread = (connection.to_owned(), object.to_owned());
                self.tally.unread.insert(unread);
                continue;
            }
            let owed = self.owed(connection, object).await;
            self.progress
                .step(format!("writing {object} to {connection}"), owed);
            let before = engine.pushed_so_far();
            let push = Box::pin(engine.push(connection, object));
            match self
                .progress
                .during(push, || engine.pushed_so_far() - before)
                .await
            {
                Ok(report) => {
                    self.tally.add(connection, object, &report.counts);
                    if engine.is_ending() {
                        return went;
                    }
                    self.tally.errors.extend(report.halted);
                    went.changed |= report.counts.written > 0 || !report.owed.is_empty();
                    let at_its_bound = report.again.is_some_and(|again| again <= Timestamp::now());
                    went.goes_on |= at_its_bound
                        && engine.pushed_so_far() > before
                        && self.is_left(connection, object, owed_by).await;
                    next = [next, report.again].into_iter().flatten().min();
                }
                Err(error) => self.tally.errors.push(explain(connection, object, &error)),
            }
        }
        let wait = next.map(|at| at.duration_since(Timestamp::now()).as_millis());
        let soon = wait.filter(|wait| *wait <= i128::from(WAIT_MS_MAX));
        went.waits = soon.map(|wait| Duration::from_millis(u64::try_from(wait).unwrap_or(0)));
        went
    }

    /// Whether an object is still owed what it was owed at a moment.
    async fn is_left(&self, connection: &str, object: &str, owed_by: Timestamp) -> bool {
        let left = self.ledger.pushes(connection, object, owed_by, 1).await;
        left.is_ok_and(|left| !left.is_empty())
    }

    /// How many pushes an object is owed; nothing when there are none.
    async fn owed(&self, connection: &str, object: &str) -> Option<u64> {
        let place = (connection.to_owned(), object.to_owned());
        let backlog = self.ledger.backlog(&[place], &[], usize::MAX).await.ok()?;
        let owed = backlog.objects.first().map(|backlog| backlog.owed);
        owed.filter(|owed| *owed > 0)
    }
}

/// What is read of a connection, or of all of them.
pub(super) fn pulled<'e>(engine: &'e Engine, only: Option<&str>) -> Vec<(&'e str, &'e str)> {
    let plan = engine.plan();
    let mut objects = plan.objects();
    objects.retain(|(connection, object)| {
        only.is_none_or(|only| only == *connection) && plan.of(connection, object).any(|sync| sync.pull)
    });
    objects
}

/// What is read of a connection, or of all of them, by asking: what is posted is not.
pub(super) fn asked<'e>(engine: &'e Engine, only: Option<&str>) -> Vec<(&'e str, &'e str)> {
    let mut objects = pulled(engine, only);
    objects.retain(|(connection, _)| {
        let connection = engine.connection(connection);
        connection.is_none_or(|connection| !connection.connector().is_posted())
    });
    objects
}

/// What changed too lately to be read, in a sentence: systems show a change some time after it was made.
pub(super) fn not_read_yet(engine: &Engine, only: Option<&str>) -> Option<String> {
    let mut lags: BTreeMap<&str, u64> = BTreeMap::new();
    for (connection, object) in asked(engine, only) {
        let lag_ms = engine
            .connection(connection)
            .map_or(0, |connection| connection.lag_ms(object));
        let longest = lags.entry(connection).or_default();
        *longest = lag_ms.max(*longest);
    }
    lags.retain(|_, lag_ms| *lag_ms >= 1_000);
    let lags = lags
        .into_iter()
        .map(|(connection, lag_ms)| format!("{} at {connection}", span(Duration::from_millis(lag_ms))));
    let lags: Vec<String> = lags.collect();
    (!lags.is_empty()).then(|| format!("what changed in the last {} is read later", lags.join(", ")))
}

/// What went wrong with an object, which it names.
pub(super) fn explain(connection: &str, object: &str, error: &SyncError) -> String {
    match error {
        SyncError::Taken => format!(
            "{connection}/{object}: {error}: a hub is running on this ledger and keeps it up to date itself"
        ),
        _ => format!("{connection}/{object}: {error}"),
    }
}
