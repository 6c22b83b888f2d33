//! [`Held`]: a ledger that passes everything on, that a test can stop where it asks for links or commits, and that says
//! when nobody asks it anything.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use async_trait::async_trait;
use jiff::Timestamp;
use ledger::*;
use model::{ConflictId, DeliveryId, EventId, Kind, MatchKey, Record, RecordId, ReplayId};
use tokio::sync::{Notify, Semaphore};

/// A call that can be held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Links,
    Commit,
}

/// How a commit fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failing {
    /// Nothing is written.
    Unwritten,
    /// It is written, and nobody hears of it.
    Unheard,
}

/// The ledger, and a gate before one kind of call. Everybody else may go on before a call, which is carried out at once
/// then: nothing depends on how fast the store's threads are.
pub(crate) struct Held {
    ledger: Arc<dyn Ledger>,
    held: std::sync::Mutex<Option<Call>>,
    failing: std::sync::Mutex<Option<Failing>>,
    gate: Semaphore,
    asked: Notify,
    busy: AtomicUsize,
    forgetful: bool,
    careless: bool,
}

/// A call that is under way.
struct Busy<'h>(&'h AtomicUsize);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Carries a call out while nothing else happens.
fn at_once<C: Future>(call: C) -> C::Output {
    let mut call = std::pin::pin!(tokio::task::unconstrained(call));
    loop {
        match call.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(answer) => return answer,
            Poll::Pending => std::thread::yield_now(),
        }
    }
}

impl Held {
    pub(crate) fn over(ledger: Arc<dyn Ledger>) -> Held {
        Held {
            ledger,
            held: std::sync::Mutex::default(),
            failing: std::sync::Mutex::default(),
            gate: Semaphore::new(0),
            asked: Notify::new(),
            busy: AtomicUsize::new(0),
            forgetful: false,
            careless: false,
        }
    }

    /// A ledger that does not remember what was agreed on.
    pub(crate) fn forgetful(ledger: Arc<dyn Ledger>) -> Held {
        Held {
            forgetful: true,
            ..Held::over(ledger)
        }
    }

    /// A ledger that does not remember who made an object.
    pub(crate) fn careless(ledger: Arc<dyn Ledger>) -> Held {
        Held {
            careless: true,
            ..Held::over(ledger)
        }
    }

    /// Whether a call is under way.
    pub(crate) fn is_busy(&self) -> bool {
        self.busy.load(Ordering::SeqCst) > 0
    }

    async fn busy(&self) -> Busy<'_> {
        self.busy.fetch_add(1, Ordering::SeqCst);
        let busy = Busy(&self.busy);
        tokio::task::yield_now().await;
        busy
    }

    /// The next one of these calls waits.
    pub(crate) fn hold(&self, call: Call) {
        *self.held.lock().unwrap() = Some(call);
    }

    /// Waits until somebody calls what is held.
    pub(crate) async fn called(&self) {
        self.asked.notified().await;
    }

    pub(crate) fn go_on(&self) {
        self.gate.add_permits(1);
    }

    /// How the next commit fails, if it does.
    pub(crate) fn fail(&self, how: Option<Failing>) {
        *self.failing.lock().unwrap() = how;
    }

    async fn pass(&self, call: Call) {
        if self.held.lock().unwrap().take_if(|held| *held == call).is_some() {
            self.asked.notify_one();
            self.gate.acquire().await.unwrap().forget();
        }
    }
}

/// Passes methods on as they are.
macro_rules! pass_on {
    ($contract:ident { $($name:ident($($argument:ident: $kind:ty),*) -> $answer:ty;)* }) => {
        #[async_trait]
        impl $contract for Held {
            $(async fn $name(&self, $($argument: $kind),*) -> Result<$answer, LedgerError> {
                let _busy = self.busy().await;
                at_once(self.ledger.$name($($argument),*))
            })*
        }
    };
}

pass_on! { Leases {
    lease(key: &str, holder: &str, now: Timestamp, until: Timestamp) -> Option<Lease>;
    renew(lease: &Lease, until: Timestamp) -> bool;
    is_leased(key: &str, now: Timestamp) -> bool;
    release(lease: &Lease) -> ();
} }

pass_on! { Journal {
    actions(filter: &ActionFilter, limit: usize) -> Vec<Action>;
} }

#[async_trait]
impl Records for Held {
    async fn linked(
        &self,
        connection: &str,
        object: &str,
        external_ids: &[String],
    ) -> Result<Vec<Linked>, LedgerError> {
        let _busy = self.busy().await;
        let mut linked = at_once(self.ledger.linked(connection, object, external_ids))?;
        for known in linked.iter_mut().filter(|_| self.forgetful) {
            (known.link.base, known.link.wire) = (None, None);
        }
        Ok(linked)
    }

    async fn records(&self, ids: &[RecordId]) -> Result<Vec<Record>, LedgerError> {
        let _busy = self.busy().await;
        at_once(self.ledger.records(ids))
    }

    async fn links(&self, ids: &[RecordId]) -> Result<Vec<Link>, LedgerError> {
        self.pass(Call::Links).await;
        let _busy = self.busy().await;
        let mut links = at_once(self.ledger.links(ids))?;
        for link in links.iter_mut().filter(|_| self.careless) {
            link.made = false;
        }
        Ok(links)
    }

    async fn former(
        &self,
        connection: &str,
        object: &str,
        external_ids: &[String],
    ) -> Result<Vec<(String, RecordId)>, LedgerError> {
        let _busy = self.busy().await;
        at_once(self.ledger.former(connection, object, external_ids))
    }

    async fn linked_ids(
        &self,
        connection: &str,
        object: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>, LedgerError> {
        let _busy = self.busy().await;
        at_once(self.ledger.linked_ids(connection, object, after, limit))
    }

    async fn matching(
        &self,
        kind: Kind,
        keys: &[MatchKey],
    ) -> Result<Vec<(MatchKey, RecordId)>, LedgerError> {
        let _busy = self.busy().await;
        at_once(self.ledger.matching(kind, keys))
    }

    async fn list_records(
        &self,
        kind: Kind,
        after: Option<RecordId>,
        limit: usize,
    ) -> Result<Vec<Record>, LedgerError> {
        let _busy = self.busy().await;
        at_once(self.ledger.list_records(kind, after, limit))
    }

    async fn history(&self, id: RecordId) -> Result<Vec<Change>, LedgerError> {
        let _busy = self.busy().await;
        at_once(self.ledger.history(id))
    }

    async fn commit(&self, commit: SyncCommit) -> Result<(), LedgerError> {
        self.pass(Call::Commit).await;
        let _busy = self.busy().await;
        let failing = self.failing.lock().unwrap().take();
        if failing != Some(Failing::Unwritten) {
            at_once(self.ledger.commit(commit))?;
        }
        match failing {
            None => Ok(()),
            Some(_) => Err(LedgerError::Store("the line went dead".to_owned())),
        }
    }

    async fn pushes(
        &self,
        connection: &str,
        object: &str,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<Push>, LedgerError> {
        let _busy = self.busy().await;
        at_once(self.ledger.pushes(connection, object, now, limit))
    }

    async fn all_pushes(
        &self,
        connection: &str,
        object: &str,
        after: Option<RecordId>,
        limit: usize,
    ) -> Result<Vec<Push>, LedgerError> {
        let _busy = self.busy().await;
        at_once(self.ledger.all_pushes(connection, object, after, limit))
    }

    async fn sent(
        &self,
        connection: &str,
        object: &str,
        records: &[RecordId],
    ) -> Result<Vec<(RecordId, Vec<Sent>)>, LedgerError> {
        let _busy = self.busy().await;
        at_once(self.ledger.sent(connection, object, records))
    }

    async fn cursor(&self, connection: &str, object: &str) -> Result<Option<Cursor>, LedgerError> {
        let _busy = self.busy().await;
        at_once(self.ledger.cursor(connection, object))
    }

    async fn parked(&self, filter: &ParkedFilter, limit: usize) -> Result<Vec<Parked>, LedgerError> {
        let _busy = self.busy().await;
        at_once(self.ledger.parked(filter, limit))
    }

    async fn parked_causes(&self) -> Result<Vec<ParkedCause>, LedgerError> {
        let _busy = self.busy().await;
        at_once(self.ledger.parked_causes())
    }
}

pass_on! { Conflicts {
    list_conflicts(filter: &ConflictFilter, after: Option<ConflictId>, limit: usize) -> Vec<Conflict>;
    count_conflicts(filter: &ConflictFilter) -> u64;
    open_conflicts(records: &[RecordId]) -> Vec<Conflict>;
} }

pass_on! { Journeys {
    pushed(record: RecordId, limit: usize) -> Vec<Pushed>;
    owed_of(record: RecordId) -> Vec<Push>;
    event_named(source: &str, dedupe: &str) -> Option<EventId>;
} }

pass_on! { Deliveries {
    accept(events: Vec<NewEvent>) -> Vec<Accepted>;
    due(endpoint: &str, now: Timestamp, limit: usize) -> Vec<Due>;
    settle(lease: Option<&Lease>, attempts: Vec<Attempt>) -> ();
    endpoints_due() -> Vec<(String, Timestamp)>;
    endpoint_due(endpoint: &str) -> Option<Timestamp>;
    list_deliveries(filter: &DeliveryFilter, after: Option<DeliveryId>, limit: usize) -> Vec<Delivery>;
    sequences(endpoint: Option<&str>) -> Vec<EndpointSequence>;
    attempts(delivery: DeliveryId) -> Vec<Attempt>;
    retry(filter: &DeliveryFilter, at: Timestamp) -> u64;
    event(id: EventId) -> Option<NewEvent>;
    list_events(filter: &EventFilter, after: Option<EventId>, limit: usize) -> Vec<EventRow>;
    refuse(refusals: Vec<Refusal>) -> ();
    refusals(limit: usize) -> Vec<Refusal>;
} }

pass_on! { Endpoints {
    stop_endpoint(endpoint: &str, stop: Option<&Stop>) -> EndpointState;
    endpoint_states(endpoint: Option<&str>) -> Vec<EndpointState>;
} }

pass_on! { Turns {
    begin_turn(endpoint: &str, holder: &str, now: Timestamp, until: Timestamp, limit: usize) -> Option<Turn>;
    look(endpoint: &str, now: Timestamp, limit: usize) -> Look;
    keep_turn(lease: &Lease, endpoint: &str, until: Timestamp) -> Option<bool>;
    end_turn(lease: &Lease, endpoint: &str, note: Option<Note>) -> Option<Timestamp>;
    written_elsewhere() -> Option<u64>;
} }

pass_on! { Replays {
    count_wanted(wanted: &Wanted) -> u64;
    begin_replay(replay: &Replay) -> ();
    step_replay(lease: &Lease, id: ReplayId, limit: usize, at: Timestamp) -> ReplayStep;
    cancel_replay(id: ReplayId, at: Timestamp) -> bool;
    replay(id: ReplayId) -> Option<Replay>;
    replays(state: Option<ReplayState>, limit: usize) -> Vec<Replay>;
} }

pass_on! { Disclosures {
    keep_terms(terms: &Terms) -> ();
    note_pulled(pulled: Vec<(DeliveryId, About)>, at: Timestamp) -> ();
    disclosed(record: &str, partner: Option<&str>, limit: usize) -> Vec<Disclosed>;
    remembered(record: &str, partner: Option<&str>, limit: usize) -> Vec<Remembered>;
    told(asked: &BTreeSet<(String, String)>, source: &str) -> BTreeSet<(String, String)>;
} }

pass_on! { Feeds {
    feed(endpoint: &str, after: EventPlace, limit: usize) -> Feed;
    settle_pulled(deliveries: Vec<DeliveryId>) -> ();
    feed_end() -> EventPlace;
} }

pass_on! { Folds {
    fold(lease: &Lease, first: &[DeliveryId], in_flight: &[DeliveryId]) -> u64;
} }

pass_on! { Retention {
    forget_events(lease: &Lease, old: &OldEvents, after: EventPlace, limit: usize) -> Forgotten;
} }

pass_on! { Upkeep {
    owed() -> Owed;
    backlog(objects: &[(String, String)], endpoints: &[String], most: usize) -> Backlog;
    note_run(run: &Run) -> ();
    runs(limit: usize) -> Vec<Run>;
    note_standing(standing: &Standing) -> ();
    standings(connection: Option<&str>) -> Vec<Standing>;
    quarantine(field: &Quarantined) -> ();
    release_fields(connection: &str, object: &str, fields: &[String]) -> ();
    quarantined(of: Option<(&str, &str)>) -> Vec<Quarantined>;
    keep_sealed(name: &str, sealed: &[u8]) -> ();
    sealed(name: &str) -> Option<Vec<u8>>;
    check() -> ();
    row_counts() -> Vec<(String, u64)>;
} }
