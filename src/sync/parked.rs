//! What is parked: an object on its way in, or a record on its way out, that could not go on, with its code and reason. It
//! blocks nothing else.
//!
//! Parked things that are about the same fields of the same object, with the same code, have one *cause*: what a person
//! corrects is that, and not one record after the other. What was corrected at a system is read by itself, as any change is;
//! what a mapping could make no sense of is tried again when a process begins with another mapping;
//! and what was corrected elsewhere (a rule of the system that refused) when a person says so.

use std::collections::{BTreeMap, BTreeSet};

use connector::RecordError;
use ledger::{Cursor, Ledger, LedgerError, Link, Parked, ParkedCause, ParkedFilter, PushMark, SyncCommit};
use model::RecordId;
use serde_json::{Value as Json, json};

use crate::absorb::Place;
use crate::action::ObjectAt;
use crate::review::{DUPLICATE, is_for_review};
use crate::{Engine, Report};

/// Nothing can be made of an object, or written of a record, because values make no sense on the other side.
pub(crate) const MAPPING: &str = "mapping";
/// Some fields of an object were left out, because their values make no sense here.
pub(crate) const FIELD: &str = "field";
/// What something refers to is not known on the other side yet.
pub(crate) const UNRESOLVED: &str = "unresolved_reference";
/// An event from which no object can be cut.
pub(crate) const UNREADABLE: &str = "unreadable";
/// An event that names a record of ours of which its partner was not told.
pub(crate) const UNTOLD: &str = "untold";
/// An object has a record, and what it says is to be read.
pub(crate) const UNREAD: &str = "unread";
/// An object is to be read again, because a person did something with it.
pub(crate) const READ_AGAIN: &str = "read_again";

/// Behind the name of an object, where it is kept among the cursors which mappings it was last read and written by.
const MAPPED_BY: &str = "#mapped_by";

/// Parked things that are looked through for those of one record.
const PARKED_OF_ONE_MAX: usize = 1_000;

/// Parked things that are tried again in one commit.
const RETRIED_AT_A_TIME: usize = 500;

/// Which of what is parked; what is left out asks nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WhichParked {
    /// At this connection.
    pub connection: Option<String>,
    /// Of this object.
    pub object: Option<String>,
    /// On its way in (true) or out (false).
    pub inbound: Option<bool>,
    /// With this code.
    pub code: Option<String>,
    /// About this field, and maybe others.
    pub field: Option<String>,
    /// Under this key: the id of an object on its way in, of a record on its way out, or of an event.
    pub key: Option<String>,
}

impl WhichParked {
    /// Whether things with a cause may be among them.
    pub fn admits(&self, cause: &ParkedCause) -> bool {
        let is = |asked: &Option<String>, found: &String| asked.as_ref().is_none_or(|asked| asked == found);
        is(&self.connection, &cause.connection)
            && is(&self.object, &cause.object)
            && is(&self.code, &cause.code)
            && self.inbound.is_none_or(|inbound| inbound == cause.inbound)
            && self
                .field
                .as_ref()
                .is_none_or(|field| cause.fields.contains(field))
    }

    /// Those of them that have a cause.
    pub fn of(&self, cause: &ParkedCause) -> ParkedFilter {
        ParkedFilter {
            of: Some((cause.connection.clone(), cause.object.clone())),
            inbound: Some(cause.inbound),
            codes: Some(vec![cause.code.clone()]),
            fields: Some(cause.fields.clone()),
            keys: self.key.clone().map(|key| vec![key]),
            ..ParkedFilter::default()
        }
    }
}

/// What is parked of a record: on its way out anywhere, and on its way in at its objects; oldest first.
pub async fn parked_of_record(
    ledger: &dyn Ledger,
    record: RecordId,
    links: &[Link],
) -> Result<Vec<Parked>, LedgerError> {
    let mut keys = vec![record.to_string()];
    keys.extend(links.iter().map(|link| link.external_id.clone()));
    let filter = ParkedFilter {
        keys: Some(keys),
        ..ParkedFilter::default()
    };
    let mut parked = ledger.parked(&filter, PARKED_OF_ONE_MAX).await?;
    // Two systems may give the same id to different things.
    let is_its = |parked: &Parked, link: &Link| {
        (&link.connection, &link.object, &link.external_id)
            == (&parked.connection, &parked.object, &parked.key)
    };
    parked.retain(|parked| !parked.inbound || links.iter().any(|link| is_its(parked, link)));
    Ok(parked)
}

/// What a person can do about a cause, in a sentence.
pub fn advice(cause: &ParkedCause) -> &'static str {
    match (cause.inbound, cause.code.as_str()) {
        (true, code) if is_for_review(code) => "a person decides: see `interconnect review list`",
        (true, MAPPING) => {
            "nothing was made of it: correct the value at the system, or the mapping: either goes on by itself"
        }
        (true, FIELD) => {
            "all but these fields was taken: correct the value at the system, or the mapping: either goes on by itself"
        }
        (true, UNRESOLVED) => {
            "it is read again by itself until what it refers to is here: see that this is read, and not parked either"
        }
        (true, UNREADABLE) => {
            "correct what posts it, or how the connector cuts it, then: interconnect delivery retry --state dead"
        }
        (true, UNTOLD) => {
            "share the record with the partner by its policy, then: interconnect delivery retry --state dead"
        }
        (true, _) => "it is read again by itself",
        (false, UNRESOLVED) => {
            "it is written by itself when what it refers to is there: see that this is written, and not parked either"
        }
        (false, MAPPING) => {
            "it was not written: correct the value where it is kept, or the mapping: either goes on by itself"
        }
        (false, DUPLICATE) => {
            "what it is at its system is another record: make the two one with `interconnect record merge`, or make them \
             differ, and retry"
        }
        (false, _) => {
            "the system refused it: correct the value where it is kept, which is written by itself, or what refuses it there, \
             and retry"
        }
    }
}

/// What became of trying again.
#[derive(Debug, Default)]
pub struct Retried {
    /// How many are tried again, or would be.
    pub count: u64,
    /// Causes of which nothing is tried again, and why.
    pub left: Vec<(ParkedCause, &'static str)>,
    /// What is to be read and written now.
    pub report: Report,
}

/// What is parked on its way in of one object.
pub async fn parked_at(ledger: &dyn Ledger, at: &ObjectAt) -> Result<Option<Parked>, LedgerError> {
    let filter = ParkedFilter {
        of: Some((at.connection.clone(), at.object.clone())),
        inbound: Some(true),
        keys: Some(vec![at.external_id.clone()]),
        ..ParkedFilter::default()
    };
    Ok(ledger.parked(&filter, 1).await?.pop())
}

impl Engine {
    /// Makes what is parked due at once: what is on its way in is read again, and what is on its way out is written again.
    /// It stays parked until that went well. With `dry_run` it is only counted.
    pub async fn retry_parked(&self, which: &WhichParked, dry_run: bool) -> Result<Retried, LedgerError> {
        let mut retried = Retried::default();
        for cause in self.ledger.parked_causes().await? {
            if !which.admits(&cause) {
                continue;
            }
            match self.left_why(&cause) {
                Some(why) => retried.left.push((cause, why)),
                None if dry_run && which.key.is_none() => retried.count += cause.count,
                None => self.retry_cause(which.of(&cause), dry_run, &mut retried).await?,
            }
        }
        Ok(retried)
    }

    /// Tries again what a mapping could make no sense of, where the mapping is another one now: that may be why. To be called
    /// when a process begins, before it asks what is owed.
    pub async fn heed_corrections(&self) -> Result<(), LedgerError> {
        let mut corrected = BTreeMap::new();
        for (connection, object) in self.plan.objects() {
            let mapped_by = self.mapped_by(connection, object);
            let known = self.ledger.cursor(connection, &marked(object)).await?;
            if known.is_none_or(|known| known.position != mapped_by) {
                corrected.insert((connection, object), mapped_by);
            }
        }
        if corrected.is_empty() {
            return Ok(());
        }
        for cause in self.ledger.parked_causes().await? {
            let is_corrected = corrected.contains_key(&(cause.connection.as_str(), cause.object.as_str()));
            let is_by_mapping = [MAPPING, FIELD].contains(&cause.code.as_str());
            if is_corrected && is_by_mapping && self.left_why(&cause).is_none() {
                let of = WhichParked::default().of(&cause);
                self.retry_cause(of, false, &mut Retried::default()).await?;
                let ParkedCause {
                    connection,
                    object,
                    count,
                    ..
                } = &cause;
                tracing::info!(connection, object, count, "tried again by another mapping");
            }
        }
        for ((connection, object), mapped_by) in corrected {
            let cursor = Cursor::at(mapped_by, self.world.now());
            let commit = SyncCommit {
                cursor: Some((connection.to_owned(), marked(object), cursor)),
                ..SyncCommit::default()
            };
            self.ledger.commit(commit).await?;
        }
        Ok(())
    }

    /// By what an object is mapped: what changes when its mappings, currencies or countries are others.
    fn mapped_by(&self, connection: &str, object: &str) -> Json {
        let mapped_by = self.plan.of(connection, object).map(|sync| {
            let currency = sync.currency.map(|currency| currency.code());
            json!([sync.mapping.fingerprint(), currency, sync.country])
        });
        mapped_by.collect()
    }

    /// Why nothing of a cause can be tried again by us, if so.
    fn left_why(&self, cause: &ParkedCause) -> Option<&'static str> {
        let system = self.connections.get(&cause.connection);
        let mut syncs = self.plan.of(&cause.connection, &cause.object);
        let is_configured = syncs.any(|sync| if cause.inbound { sync.pull } else { sync.push });
        match system.filter(|_| is_configured) {
            _ if cause.inbound && is_for_review(&cause.code) => {
                Some("a person decides: see `interconnect review list`")
            }
            None if cause.inbound => Some("no sync of the configuration reads it"),
            None => Some("no sync of the configuration writes it"),
            Some(_) if !cause.inbound => None,
            Some(_) if self.is_posted(&cause.connection) => Some(
                "nobody can be asked for it: see `interconnect delivery retry` for the events that are dead",
            ),
            Some(system) if !system.reads_by_id(&cause.object) => Some(
                "the system cannot be asked for one object: read everything again with `interconnect sync run --full`",
            ),
            Some(_) => None,
        }
    }

    async fn retry_cause(
        &self,
        mut filter: ParkedFilter,
        dry_run: bool,
        retried: &mut Retried,
    ) -> Result<(), LedgerError> {
        loop {
            let parked = self.ledger.parked(&filter, RETRIED_AT_A_TIME).await?;
            retried.count += parked.len() as u64;
            let last = parked.len() < RETRIED_AT_A_TIME;
            filter.after = parked.last().map(Parked::at);
            if !dry_run && !parked.is_empty() {
                let commit = self.due_again(parked);
                let reads = commit
                    .parked
                    .iter()
                    .map(|parked| (&parked.connection, &parked.object));
                let writes = commit.marks.iter().map(|mark| (&mark.connection, &mark.object));
                let owed: BTreeSet<_> = reads.chain(writes).map(|(c, o)| (c.clone(), o.clone())).collect();
                retried.report.owed.extend(owed);
                self.ledger.commit(commit).await?;
            }
            if last {
                return Ok(());
            }
        }
    }

    /// A commit that makes parked things due.
    fn due_again(&self, parked: Vec<Parked>) -> SyncCommit {
        let now = self.world.now();
        let mut commit = SyncCommit::default();
        for one in parked {
            match one.key.parse::<RecordId>() {
                Ok(record) if !one.inbound => commit.marks.push(PushMark {
                    connection: one.connection,
                    object: one.object,
                    record,
                    due_at: now,
                }),
                _ => commit.parked.push(Parked {
                    retry_at: Some(now),
                    ..one
                }),
            }
        }
        commit
    }

    /// An object, or what it was cut from, parked on its way in.
    pub(crate) fn parks(&self, place: Place<'_>, key: &str, code: &str, reason: String) -> Parked {
        Parked {
            connection: place.connection.to_owned(),
            object: place.object.to_owned(),
            key: key.to_owned(),
            inbound: true,
            code: code.to_owned(),
            fields: Vec::new(),
            reason,
            records: Vec::new(),
            since: self.world.now(),
            retry_at: None,
            waits_for: None,
        }
    }

    /// A record parked on its way out.
    pub(crate) fn parks_out(&self, place: Place<'_>, record: RecordId, code: &str, reason: String) -> Parked {
        Parked {
            inbound: false,
            ..self.parks(place, &record.to_string(), code, reason)
        }
    }

    /// A record that its system refused, parked on its way out.
    pub(crate) fn refuses(
        &self,
        place: Place<'_>,
        record: RecordId,
        error: &RecordError,
        reason: String,
    ) -> Parked {
        let code = match error.code.as_str() {
            "" => error.class.name(),
            code => code,
        };
        Parked {
            fields: about(error.fields.iter().map(String::as_str)),
            ..self.parks_out(place, record, code, reason)
        }
    }

    /// A record is not parked any more on its way out.
    pub(crate) fn unpark(&self, place: Place<'_>, record: RecordId, commit: &mut SyncCommit) {
        let (connection, object) = (place.connection.to_owned(), place.object.to_owned());
        commit
            .unparked
            .push((connection, object, record.to_string(), false));
    }
}

/// Where it is kept by what an object is mapped.
fn marked(object: &str) -> String {
    format!("{object}{MAPPED_BY}")
}

/// The names of fields as parked things keep them.
pub(crate) fn about<'a>(fields: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let fields: BTreeSet<&str> = fields.into_iter().collect();
    fields.into_iter().map(str::to_owned).collect()
}
