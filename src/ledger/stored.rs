//! What both stores write alike: moments, counts, the words in rows, and the history of a record.
//!
//! Moments are kept to the microsecond and the rest is cut off, the same way in both stores. Only the moments inside a
//! record's own provenance and fields keep all their digits: those are JSON, written by [`model::stored`].

use std::borrow::Cow;
use std::collections::BTreeSet;

use jiff::Timestamp;
use model::{Kind, RecordId, RunId};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value as Json;
use uuid::Uuid;

use crate::{
    About, Change, ConflictState, DeliveryFilter, DeliveryState, LedgerError, Next, Numbers, ParkedCause,
    PushOutcome, Sent, Stop, StopKind, WaitsFor, Wanted,
};

/// The version of the history's form that is written. In version 1 each change was an object with its keys.
const HISTORY_VERSION: u8 = 2;

/// A moment as rows keep it: microseconds since 1970.
pub(crate) fn micros(at: Timestamp) -> i64 {
    at.as_microsecond()
}

/// A moment from a row.
pub(crate) fn moment(micros: i64) -> Result<Timestamp, LedgerError> {
    Timestamp::from_microsecond(micros).map_err(|_| damaged("a moment", &micros.to_string()))
}

/// A moment from a row, if there is one.
pub(crate) fn moment_if(micros: Option<i64>) -> Result<Option<Timestamp>, LedgerError> {
    micros.map(moment).transpose()
}

/// What was sent, from a row.
pub(crate) fn sent(text: Option<&str>) -> Result<Vec<Sent>, LedgerError> {
    let Some(text) = text else {
        return Ok(Vec::new());
    };
    let Json::Array(sent) = json(text)? else {
        return Err(damaged("what was sent", text));
    };
    let one = |mut sent: Json| {
        let at = moment(sent["at"].as_i64()?).ok()?;
        Some(Sent {
            at,
            values: sent["values"].take(),
            creates: sent["creates"] == true,
        })
    };
    let read = sent.into_iter().map(one).collect::<Option<_>>();
    read.ok_or_else(|| damaged("what was sent", text))
}

/// What was sent, for a row.
pub(crate) fn sent_text(sent: &[Sent]) -> String {
    let one = |sent: &Sent| {
        let mut row = serde_json::json!({"at": micros(sent.at), "values": sent.values});
        if sent.creates {
            row["creates"] = Json::Bool(true);
        }
        row
    };
    json_text(&sent.iter().map(one).collect())
}

/// A count as rows keep it; both databases have signed numbers only.
pub(crate) fn big(count: impl TryInto<i64>) -> i64 {
    count.try_into().unwrap_or(i64::MAX)
}

/// A count from a row.
pub(crate) fn count<N: TryFrom<i64>>(stored: i64) -> Result<N, LedgerError> {
    N::try_from(stored).map_err(|_| damaged("a count", &stored.to_string()))
}

/// A limit as `LIMIT` takes it.
pub(crate) fn limit(at_most: usize) -> i64 {
    big(at_most)
}

/// A record's id from its two columns.
pub(crate) fn record_id(kind: &str, uuid: Uuid) -> Result<RecordId, LedgerError> {
    let kind = Kind::parse(kind).ok_or_else(|| damaged("a kind of record", kind))?;
    Ok(RecordId::new(kind, uuid))
}

/// JSON as rows keep it.
pub(crate) fn json_text(json: &Json) -> String {
    json.to_string()
}

/// JSON from a row.
pub(crate) fn json(text: &str) -> Result<Json, LedgerError> {
    serde_json::from_str(text).map_err(|error| LedgerError::Unreadable(error.into()))
}

/// What a row of an attempt keeps of [`Next`]: a word, and the moment of a retry.
pub(crate) fn next_columns(next: Next) -> (&'static str, Option<i64>) {
    match next {
        Next::Delivered => ("delivered", None),
        Next::Retry(at) => ("retry", Some(micros(at))),
        Next::Dead => ("dead", None),
    }
}

/// What an attempt told about, from its columns.
pub(crate) fn about(record: Option<String>, terms: Option<String>) -> Option<About> {
    record.zip(terms).map(|(record, terms)| About { record, terms })
}

/// [`Next`] from the columns of an attempt.
pub(crate) fn next(word: &str, retry_at: Option<i64>) -> Result<Next, LedgerError> {
    match (word, retry_at) {
        ("delivered", _) => Ok(Next::Delivered),
        ("retry", Some(at)) => Ok(Next::Retry(moment(at)?)),
        ("dead", _) => Ok(Next::Dead),
        _ => Err(damaged("the end of an attempt", word)),
    }
}

/// [`Numbers`] from their column.
pub(crate) fn numbers(text: Option<String>) -> Result<Numbers, LedgerError> {
    let text = text.unwrap_or_default();
    text.parse().map_err(|_| damaged("numbers", &text))
}

/// How a delivery stands after an attempt: the columns `state` and `next_at`.
pub(crate) fn delivery_columns(attempt: &crate::Attempt) -> (&'static str, i64) {
    match attempt.next {
        Next::Delivered => ("delivered", micros(attempt.at)),
        Next::Retry(at) => ("due", micros(at)),
        Next::Dead => ("dead", micros(attempt.at)),
    }
}

/// A stop from its columns.
pub(crate) fn stop(kind: Option<&str>, reason: &str, at: Option<i64>) -> Result<Option<Stop>, LedgerError> {
    let Some(word) = kind else {
        return Ok(None);
    };
    let kind = StopKind::parse(word).ok_or_else(|| damaged("why an endpoint is stopped", word))?;
    let at = moment_if(at)?.ok_or_else(|| damaged("since when an endpoint is stopped", ""))?;
    Ok(Some(Stop {
        kind,
        reason: reason.to_owned(),
        at,
    }))
}

/// Text that most rows have none of, as rows keep it: nothing where it is empty.
pub(crate) fn unless_empty(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

/// What the ids of all that was made since a moment are not below.
pub(crate) fn first_id(since: Timestamp) -> uuid::Uuid {
    model::uuid_from(since, [0; 10])
}

/// Names as rows keep them.
pub(crate) fn names_text(names: &[String]) -> String {
    json_text(&Json::from(names))
}

/// Names as rows keep them that mostly have none: nothing then.
pub(crate) fn names_if_any(names: &[String]) -> Option<String> {
    (!names.is_empty()).then(|| names_text(names))
}

/// Names from a row that may have none.
pub(crate) fn names_or_none(text: Option<&str>) -> Result<Vec<String>, LedgerError> {
    text.map_or_else(|| Ok(Vec::new()), names)
}

/// What something parked waits for, as its row keeps it: no name of an object has a slash in it.
pub(crate) fn waits_for_text(object: &str, external_id: &str) -> String {
    format!("{object}/{external_id}")
}

/// What something parked waits for, from its row.
pub(crate) fn waits_for(text: Option<&str>) -> Option<WaitsFor> {
    let (object, external_id) = text?.split_once('/')?;
    Some(WaitsFor {
        object: object.to_owned(),
        external_id: external_id.to_owned(),
    })
}

/// The fields of a cursor as its row keeps them.
pub(crate) fn field_names_text(fields: Option<&BTreeSet<String>>) -> Option<String> {
    fields.map(|fields| json_text(&fields.iter().cloned().collect::<Json>()))
}

/// The fields of a cursor from its row.
pub(crate) fn field_names(text: Option<&str>) -> Result<Option<BTreeSet<String>>, LedgerError> {
    let read = text.map(|text| names(text).map(BTreeSet::from_iter));
    read.transpose()
}

/// Everything that is parked, by cause, with the newest of each. Both databases read it alike, and sort it in their own ways.
pub(crate) const CAUSES: &str = "SELECT connection, object, inbound, code, fields, number, first, last, retry, reason, key FROM \
    (SELECT connection, object, inbound, code, fields, reason, key, count(*) OVER cause AS number, \
    min(since) OVER cause AS first, max(since) OVER cause AS last, min(retry_at) OVER cause AS retry, \
    row_number() OVER (PARTITION BY connection, object, inbound, code, fields ORDER BY since DESC, key) AS place \
    FROM parked WINDOW cause AS (PARTITION BY connection, object, inbound, code, fields)) AS placed WHERE place = 1";

/// Causes in their order.
pub(crate) fn in_order(mut causes: Vec<ParkedCause>) -> Vec<ParkedCause> {
    fn key(cause: &ParkedCause) -> impl Ord + use<'_> {
        (
            &cause.connection,
            &cause.object,
            !cause.inbound,
            &cause.code,
            &cause.fields,
        )
    }
    causes.sort_by(|a, b| key(a).cmp(&key(b)));
    causes
}

/// Names from a row.
pub(crate) fn names(text: &str) -> Result<Vec<String>, LedgerError> {
    serde_json::from_str(text).map_err(|error| LedgerError::Unreadable(error.into()))
}

/// What a replay means, as its row keeps it. Keys that are left out ask nothing.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredWanted {
    v: u8,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    ids: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    endpoint: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    not_to: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    state: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    since: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    until: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    event_type: Option<String>,
    arrived: bool,
}

/// The version of the form of what a replay means.
const WANTED_VERSION: u8 = 1;

/// What a replay means, for a row.
pub(crate) fn wanted_text(wanted: &Wanted) -> String {
    let filter = &wanted.filter;
    let stored = StoredWanted {
        v: WANTED_VERSION,
        ids: filter.ids.iter().map(ToString::to_string).collect(),
        endpoint: filter.endpoint.clone(),
        not_to: filter.not_to.clone(),
        state: filter.state.map(|state| state.word().to_owned()),
        since: filter.since.map(micros),
        until: filter.until.map(micros),
        event_type: filter.event_type.clone(),
        arrived: wanted.arrived,
    };
    serde_json::to_string(&stored).expect("text and numbers serialise")
}

/// What a replay means, from a row.
pub(crate) fn wanted(text: &str) -> Result<Wanted, LedgerError> {
    let stored: StoredWanted =
        serde_json::from_str(text).map_err(|error| LedgerError::Unreadable(error.into()))?;
    let state = stored
        .state
        .as_deref()
        .map(|word| DeliveryState::parse(word).ok_or_else(|| damaged("the state of deliveries", word)));
    let ids = stored
        .ids
        .iter()
        .map(|id| model::read_id(id).ok_or_else(|| damaged("the id of a delivery", id)));
    Ok(Wanted {
        filter: DeliveryFilter {
            ids: ids.collect::<Result<_, _>>()?,
            endpoint: stored.endpoint,
            not_to: stored.not_to,
            state: state.transpose()?,
            since: moment_if(stored.since)?,
            until: moment_if(stored.until)?,
            event_type: stored.event_type,
        },
        arrived: stored.arrived,
    })
}

/// Ids of records as rows keep them; none are nothing.
pub(crate) fn ids_text(ids: &[RecordId]) -> Option<String> {
    (!ids.is_empty()).then(|| ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
}

/// Ids of records from a row.
pub(crate) fn ids(text: Option<&str>) -> Result<Vec<RecordId>, LedgerError> {
    let words = text.unwrap_or_default().split_whitespace();
    words
        .map(|word| word.parse().map_err(|_| damaged("the id of a record", word)))
        .collect()
}

/// How a conflict stands, from a row.
pub(crate) fn conflict_state(word: &str) -> Result<ConflictState, LedgerError> {
    ConflictState::parse(word).ok_or_else(|| damaged("the state of a conflict", word))
}

/// How a write ended, from a row.
pub(crate) fn push_outcome(word: &str) -> Result<PushOutcome, LedgerError> {
    PushOutcome::parse(word).ok_or_else(|| damaged("the end of a write", word))
}

/// A row that says what cannot be.
pub(crate) fn damaged(what: &str, found: &str) -> LedgerError {
    LedgerError::Store(format!(
        "a row holds `{found}` where {what} should be; restore the database from a backup"
    ))
}

/// All changes of one version of a record. What several have in common is written once.
#[derive(Serialize, Deserialize)]
struct StoredHistory<'a> {
    v: u8,
    #[serde(borrow)]
    said: Vec<Said<'a>>,
    changed: Vec<StoredChange<'a>>,
}

/// Who said something, and when.
#[derive(PartialEq, Serialize, Deserialize)]
struct Said<'a> {
    connection: Cow<'a, str>,
    external_id: Cow<'a, str>,
    changed_at: i64,
    committed_at: i64,
    run: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "str::is_empty")]
    trace: Cow<'a, str>,
}

/// A change, in this order as a list; it reads as an object, too, as version 1 has it.
#[derive(Deserialize)]
struct StoredChange<'a> {
    path: Cow<'a, str>,
    before: Cow<'a, Json>,
    after: Cow<'a, Json>,
    reason: Cow<'a, str>,
    /// Which of `said`.
    by: usize,
}

impl Serialize for StoredChange<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let StoredChange {
            path,
            before,
            after,
            reason,
            by,
        } = self;
        (path, before, after, reason, by).serialize(serializer)
    }
}

/// The changes of one version as a row keeps them.
pub(crate) fn encode_history(changes: &[Change]) -> String {
    let mut said: Vec<Said<'_>> = Vec::new();
    let mut changed = Vec::with_capacity(changes.len());
    for change in changes {
        let who = Said {
            connection: Cow::Borrowed(&change.connection),
            external_id: Cow::Borrowed(&change.external_id),
            changed_at: micros(change.changed_at),
            committed_at: micros(change.committed_at),
            run: change.run.to_string().into(),
            trace: Cow::Borrowed(&change.trace),
        };
        let by = said.iter().position(|known| *known == who).unwrap_or_else(|| {
            said.push(who);
            said.len() - 1
        });
        changed.push(StoredChange {
            path: Cow::Borrowed(&change.path),
            before: Cow::Borrowed(&change.before),
            after: Cow::Borrowed(&change.after),
            reason: Cow::Borrowed(&change.reason),
            by,
        });
    }
    let stored = StoredHistory {
        v: HISTORY_VERSION,
        said,
        changed,
    };
    serde_json::to_string(&stored).expect("text, numbers and JSON values serialise")
}

/// The changes of one version from a row.
pub(crate) fn decode_history(version: u64, text: &str) -> Result<Vec<Change>, LedgerError> {
    let stored: StoredHistory<'_> =
        serde_json::from_str(text).map_err(|error| LedgerError::Unreadable(error.into()))?;
    if stored.v > HISTORY_VERSION {
        return Err(model::stored::Unreadable::Newer(stored.v).into());
    }
    let StoredHistory { said, changed, .. } = stored;
    let changes = changed.into_iter().map(|change| {
        let who = said
            .get(change.by)
            .ok_or_else(|| damaged("who said a change", &change.by.to_string()))?;
        let run: RunId = who
            .run
            .parse()
            .map_err(|_| damaged("the id of a run", &who.run))?;
        Ok(Change {
            version,
            path: change.path.into_owned(),
            before: change.before.into_owned(),
            after: change.after.into_owned(),
            reason: change.reason.into_owned(),
            connection: who.connection.clone().into_owned(),
            external_id: who.external_id.clone().into_owned(),
            changed_at: moment(who.changed_at)?,
            committed_at: moment(who.committed_at)?,
            run,
            trace: who.trace.clone().into_owned(),
        })
    });
    changes.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn history_reads_back_and_so_does_that_of_version_1() {
        let change = |path: &str, by: &str| Change {
            version: 3,
            path: path.to_owned(),
            before: Json::Null,
            after: Json::from("x"),
            reason: "theirs".to_owned(),
            connection: "crm".to_owned(),
            external_id: by.to_owned(),
            changed_at: Timestamp::from_microsecond(1).unwrap(),
            committed_at: Timestamp::from_microsecond(2).unwrap(),
            run: "run_00000000000000000000000001".parse().unwrap(),
            trace: String::new(),
        };
        let changes = [change("name", "1"), change("phone", "2"), change("stage", "1")];
        let row = encode_history(&changes);
        let changed = r#""changed":[["name",null,"x","theirs",0],["phone",null,"x","theirs",1],["stage",null,"x","theirs",0]]}"#;
        assert!(row.ends_with(changed), "{row}");
        assert_eq!(decode_history(3, &row).unwrap(), changes);
        let first = r#"{"v":1,"said":[{"connection":"crm","external_id":"1","changed_at":1,"committed_at":2,"run":"run_00000000000000000000000001"}],"changed":[{"path":"name","before":null,"after":"x","reason":"theirs","by":0}]}"#;
        assert_eq!(decode_history(3, first).unwrap(), changes[..1]);
        assert!(decode_history(3, &row.replace("\"v\":2", "\"v\":3")).is_err());
    }
}
