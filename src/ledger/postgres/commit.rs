//! Writing a page or a batch: one transaction, a statement a table.
//!
//! Locks are taken in one order: the lease, the kinds that new records are of, the records by id, then the tables in the order below, each by its key. Two
//! commits that meet all the same (one ends a push that the other marks) are told apart by the database, and one of
//! them runs again.

use std::collections::{BTreeSet, HashSet};

use async_trait::async_trait;
use deadpool_postgres::{Client, GenericClient, Transaction};
use jiff::Timestamp;
use model::stored::{encode_fields, encode_provenance};
use model::{Kind, RecordId};

use super::accept::accept;
use super::conflicts;
use super::database::{Failure, Work, finish};
use super::leases::held;
use super::records::MATCHING;
use super::rows::{self, column, text};
use super::{Params, journal, journeys, links};
use crate::fold::{Folded, Linking, Written};
use crate::stored::{
    big, encode_history, field_names_text, ids_text, json_text, micros, names_if_any, sent_text,
    waits_for_text,
};
use crate::{Cursor, LedgerError, Link, NewEvent, Parked, Push, PushEnd, PushMark, Sought};

/// A commit to be written.
pub(super) struct Commit(pub(super) Folded);

#[async_trait]
impl Work for Commit {
    /// A second time it would find its own records changed and call them stale.
    const REPEATABLE: bool = false;
    type Answer = ();

    async fn run(&self, client: &mut Client) -> Result<(), Failure> {
        let commit = &self.0;
        let transaction = client.transaction().await?;
        if let Some(lease) = &commit.lease
            && held(&transaction, &[lease]).await? != [true]
        {
            return Err(LedgerError::LeaseLost(lease.key.clone()).into());
        }
        look_again(&transaction, &commit.sought).await?;
        write_records(&transaction, &commit.records).await?;
        write_history(&transaction, &commit.records).await?;
        write_match_keys(&transaction, &commit.records).await?;
        forget_links(&transaction, &commit.forgotten).await?;
        links::write(&transaction, &commit.links).await?;
        wake(&transaction, &commit.links).await?;
        conflicts::write(&transaction, &commit.conflicts).await?;
        journeys::write(&transaction, &commit.pushed).await?;
        write_ended(&transaction, &commit.ended).await?;
        write_marks(&transaction, &commit.marks).await?;
        if let Some((at, object, due_at)) = &commit.owe_linked {
            owe_linked(&transaction, at, object, *due_at).await?;
        }
        write_sending(&transaction, &commit.sending).await?;
        write_parked(&transaction, &commit.unparked, &commit.parked).await?;
        let events: Vec<&NewEvent> = commit.events.iter().collect();
        accept(&transaction, &events).await?;
        if let Some(action) = &commit.action {
            journal::write(&transaction, action).await?;
        }
        if let Some((at, object, cursor)) = &commit.cursor {
            write_cursor(&transaction, at, object, cursor).await?;
        }
        finish(transaction).await
    }
}

pub(super) async fn execute(
    transaction: &Transaction<'_>,
    sql: &str,
    params: &Params<'_>,
) -> Result<(), Failure> {
    let statement = transaction.prepare_cached(sql).await?;
    transaction.execute(&statement, params).await?;
    Ok(())
}

/// Records that a statement tells of, by kind and id.
pub(super) async fn ids(
    transaction: &Transaction<'_>,
    sql: &str,
    params: &Params<'_>,
) -> Result<HashSet<RecordId>, Failure> {
    let statement = transaction.prepare_cached(sql).await?;
    let rows = transaction.query(&statement, params).await?;
    let ids = rows.iter().map(|row| rows::id(row, 0));
    Ok(ids.collect::<Result<_, LedgerError>>()?)
}

/// Names our locks on kinds among the database's advisory locks.
const KIND_LOCKS: i32 = 0x1C_0001;

/// Under every key must be what was found there. Who makes new records of a kind waits for whoever else does, until they
/// have committed: two that look at the same time would not see each other.
async fn look_again(transaction: &Transaction<'_>, sought: &[Sought]) -> Result<(), Failure> {
    let mut stale = Vec::new();
    for sought in sought.chunk_by(|one, next| one.kind == next.kind) {
        let kind = sought[0].kind;
        let number = Kind::ALL
            .iter()
            .position(|other| *other == kind)
            .unwrap_or_default() as i32;
        execute(
            transaction,
            "SELECT pg_advisory_xact_lock($1, $2)",
            &[&KIND_LOCKS, &number],
        )
        .await?;
        let keys = column(sought, |one| text(&one.key.0));
        let statement = transaction.prepare_cached(MATCHING).await?;
        for row in transaction.query(&statement, &[&kind.name(), &keys]).await? {
            let (key, id): (&str, _) = (row.try_get(0)?, RecordId::new(kind, row.try_get(1)?));
            let mut looked = sought.iter().filter(|one| text(&one.key.0) == key);
            if looked.any(|one| !one.found.contains(&id)) {
                stale.push(id);
            }
        }
    }
    match stale.is_empty() {
        true => Ok(()),
        false => Err(LedgerError::Stale(stale).into()),
    }
}

/// Every record must be there at the version it was read at, or not be there when it is new.
async fn write_records(transaction: &Transaction<'_>, records: &[Written]) -> Result<(), Failure> {
    let (new, old): (Vec<&Written>, Vec<&Written>) = records.iter().partition(|one| one.read_version == 0);
    let mut found = HashSet::new();
    if !old.is_empty() {
        let sql = "SELECT r.kind, r.id FROM unnest($1::text[], $2::uuid[], $3::bigint[]) AS n (kind, id, version) \
                   JOIN records r ON r.kind = n.kind AND r.id = n.id AND r.version = n.version \
                   ORDER BY r.kind, r.id FOR UPDATE OF r";
        let kinds = column(old.iter().copied(), |one| one.record.id.kind.name());
        let uuids = column(old.iter().copied(), |one| one.record.id.uuid);
        let versions = column(old.iter().copied(), |one| big(one.read_version));
        found.extend(ids(transaction, sql, &[&kinds, &uuids, &versions]).await?);
    }
    if !new.is_empty() {
        let sql = "INSERT INTO records (kind, id, version, created_at, updated_at, deleted_at, fields, provenance, \
                   merged_into) \
                   SELECT * FROM unnest($1::text[], $2::uuid[], $3::bigint[], $4::bigint[], $5::bigint[], \
                   $6::bigint[], $7::text[], $8::text[], $9::uuid[]) AS n (kind, id) ORDER BY n.kind, n.id \
                   ON CONFLICT DO NOTHING RETURNING kind, id";
        found.extend(with_columns(transaction, sql, &new).await?);
    }
    let stale = records
        .iter()
        .map(|one| one.record.id)
        .filter(|id| !found.contains(id));
    let stale: Vec<RecordId> = stale.collect();
    if !stale.is_empty() {
        return Err(LedgerError::Stale(stale).into());
    }
    if !old.is_empty() {
        let sql = "UPDATE records r SET version = n.version, created_at = n.created_at, updated_at = n.updated_at, \
                   deleted_at = n.deleted_at, fields = n.fields, provenance = n.provenance, \
                   merged_into = n.merged_into \
                   FROM unnest($1::text[], $2::uuid[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], \
                   $7::text[], $8::text[], $9::uuid[]) \
                   AS n (kind, id, version, created_at, updated_at, deleted_at, fields, provenance, merged_into) \
                   WHERE r.kind = n.kind AND r.id = n.id RETURNING r.kind, r.id";
        with_columns(transaction, sql, &old).await?;
    }
    Ok(())
}

async fn with_columns(
    transaction: &Transaction<'_>,
    sql: &str,
    written: &[&Written],
) -> Result<HashSet<RecordId>, Failure> {
    let records = || written.iter().map(|one| &one.record);
    ids(
        transaction,
        sql,
        &[
            &column(records(), |record| record.id.kind.name()),
            &column(records(), |record| record.id.uuid),
            &column(records(), |record| big(record.version)),
            &column(records(), |record| micros(record.created_at)),
            &column(records(), |record| micros(record.updated_at)),
            &column(records(), |record| record.deleted_at.map(micros)),
            &column(records(), |record| encode_fields(&record.fields)),
            &column(records(), |record| {
                encode_provenance(&record.fields, &record.provenance)
            }),
            &column(records(), |record| record.merged_into.map(|into| into.uuid)),
        ],
    )
    .await
}

async fn write_history(transaction: &Transaction<'_>, records: &[Written]) -> Result<(), Failure> {
    let versions = records.iter().flat_map(|one| {
        one.history
            .iter()
            .map(|(version, changes)| (one.record.id, *version, changes))
    });
    let versions: Vec<_> = versions.collect();
    if versions.is_empty() {
        return Ok(());
    }
    let sql = "INSERT INTO history (kind, record, version, changes) \
               SELECT * FROM unnest($1::text[], $2::uuid[], $3::bigint[], $4::text[])";
    execute(
        transaction,
        sql,
        &[
            &column(&versions, |(id, ..)| id.kind.name()),
            &column(&versions, |(id, ..)| id.uuid),
            &column(&versions, |(_, version, _)| big(*version)),
            &column(&versions, |(.., changes)| encode_history(changes)),
        ],
    )
    .await
}

/// Most changes leave the keys as they are, so only the difference is written.
async fn write_match_keys(transaction: &Transaction<'_>, records: &[Written]) -> Result<(), Failure> {
    let old = present_keys(transaction, records).await?;
    let mut new = BTreeSet::new();
    for one in records {
        new.extend(
            one.match_keys
                .iter()
                .map(|key| (one.record.id, text(key).into_owned())),
        );
    }
    for (sql, keys) in [
        (
            "DELETE FROM match_keys m USING unnest($1::text[], $2::uuid[], $3::text[]) AS n (kind, record, key) \
             WHERE m.kind = n.kind AND m.record = n.record AND m.key = n.key",
            old.difference(&new).collect::<Vec<_>>(),
        ),
        (
            "INSERT INTO match_keys (kind, record, key) \
             SELECT * FROM unnest($1::text[], $2::uuid[], $3::text[]) ON CONFLICT DO NOTHING",
            new.difference(&old).collect(),
        ),
    ] {
        if !keys.is_empty() {
            let values: &Params<'_> = &[
                &column(&keys, |(id, _)| id.kind.name()),
                &column(&keys, |(id, _)| id.uuid),
                &column(&keys, |(_, key)| key),
            ];
            execute(transaction, sql, values).await?;
        }
    }
    Ok(())
}

/// The keys that records have before they are written.
async fn present_keys(
    transaction: &Transaction<'_>,
    records: &[Written],
) -> Result<BTreeSet<(RecordId, String)>, Failure> {
    let old: Vec<&Written> = records.iter().filter(|one| one.read_version != 0).collect();
    if old.is_empty() {
        return Ok(BTreeSet::new());
    }
    let sql = "SELECT m.kind, m.record, m.key FROM unnest($1::text[], $2::uuid[]) AS r (kind, id) \
               JOIN match_keys m ON m.kind = r.kind AND m.record = r.id";
    let statement = transaction.prepare_cached(sql).await?;
    let kinds = column(&old, |one| one.record.id.kind.name());
    let uuids = column(&old, |one| one.record.id.uuid);
    let rows = transaction.query(&statement, &[&kinds, &uuids]).await?;
    let mut keys = BTreeSet::new();
    for row in &rows {
        keys.insert((rows::id(row, 0)?, row.try_get(2)?));
    }
    Ok(keys)
}

async fn forget_links(
    transaction: &Transaction<'_>,
    forgotten: &[(String, String, String)],
) -> Result<(), Failure> {
    for (at, object, external_id) in forgotten {
        let sql = "DELETE FROM links WHERE connection = $1 AND object = $2 AND external_id = $3";
        execute(transaction, sql, &[&text(at), &text(object), &text(external_id)]).await?;
    }
    Ok(())
}

/// A claim replaces neither another living link of its record nor one that gives its object to another record.
async fn write_sending(transaction: &Transaction<'_>, sending: &[Push]) -> Result<(), Failure> {
    if sending.is_empty() {
        return Ok(());
    }
    let sql = "UPDATE pushes p SET sent = n.sent \
               FROM unnest($1::text[], $2::text[], $3::text[], $4::uuid[], $5::text[]) \
               AS n (connection, object, kind, record, sent) \
               WHERE p.connection = n.connection AND p.object = n.object AND p.kind = n.kind \
               AND p.record = n.record";
    let sent = |push: &Push| sent_text(&push.sent);
    let values: &Params<'_> = &[
        &column(sending, |push| text(&push.connection)),
        &column(sending, |push| text(&push.object)),
        &column(sending, |push| push.record.kind.name()),
        &column(sending, |push| push.record.uuid),
        &column(sending, sent),
    ];
    execute(transaction, sql, values).await
}

/// Ends pushes that nobody has marked since.
pub(super) const PUSHED: &str = "\
DELETE FROM pushes p
USING unnest($1::text[], $2::text[], $3::text[], $4::uuid[], $5::bigint[]) AS n (connection, object, kind, record, mark)
WHERE p.connection = n.connection AND p.object = n.object AND p.kind = n.kind AND p.record = n.record AND p.mark = n.mark";

/// A push that was marked again since it was read is left as it is, but for what was sent: that was heard of.
async fn write_ended(transaction: &Transaction<'_>, ended: &[(Push, PushEnd)]) -> Result<(), Failure> {
    let done: Vec<&(Push, PushEnd)> = ended.iter().filter(|(_, end)| *end == PushEnd::Done).collect();
    let later: Vec<(&Push, i64)> = ended
        .iter()
        .filter_map(|(push, end)| match end {
            PushEnd::Done => None,
            PushEnd::Later(at) => Some((push, micros(*at))),
        })
        .collect();
    if !done.is_empty() {
        let pushes = || done.iter().map(|(push, _)| push);
        let values: &Params<'_> = &[
            &column(pushes(), |push| text(&push.connection)),
            &column(pushes(), |push| text(&push.object)),
            &column(pushes(), |push| push.record.kind.name()),
            &column(pushes(), |push| push.record.uuid),
            &column(pushes(), |push| big(push.mark)),
        ];
        execute(transaction, PUSHED, values).await?;
        // Marked again since: still owed, but what was sent of it was heard of.
        let sql = "UPDATE pushes p SET sent = NULL \
                   FROM unnest($1::text[], $2::text[], $3::text[], $4::uuid[]) \
                   AS n (connection, object, kind, record) \
                   WHERE p.connection = n.connection AND p.object = n.object AND p.kind = n.kind \
                   AND p.record = n.record AND p.sent IS NOT NULL";
        execute(transaction, sql, &values[..4]).await?;
    }
    if !later.is_empty() {
        let sql = "UPDATE pushes p SET due_at = n.due_at, attempts = p.attempts + 1 \
                   FROM unnest($1::text[], $2::text[], $3::text[], $4::uuid[], $5::bigint[], $6::bigint[]) \
                   AS n (connection, object, kind, record, mark, due_at) \
                   WHERE p.connection = n.connection AND p.object = n.object AND p.kind = n.kind \
                   AND p.record = n.record AND p.mark = n.mark";
        let values: &Params<'_> = &[
            &column(&later, |(push, _)| text(&push.connection)),
            &column(&later, |(push, _)| text(&push.object)),
            &column(&later, |(push, _)| push.record.kind.name()),
            &column(&later, |(push, _)| push.record.uuid),
            &column(&later, |(push, _)| big(push.mark)),
            &column(&later, |(_, at)| *at),
        ];
        execute(transaction, sql, values).await?;
    }
    Ok(())
}

async fn owe_linked(
    transaction: &Transaction<'_>,
    at: &str,
    object: &str,
    due_at: Timestamp,
) -> Result<(), Failure> {
    let sql = "INSERT INTO pushes AS p (connection, object, kind, record, mark, due_at, attempts) \
               SELECT connection, object, kind, record, 1, $3::bigint, 0 FROM links \
               WHERE connection = $1 AND object = $2 AND NOT gone AND NOT ignored ORDER BY kind, record \
               ON CONFLICT (connection, object, kind, record) \
               DO UPDATE SET mark = p.mark + 1, attempts = 0, due_at = least(p.due_at, excluded.due_at)";
    let values: &Params<'_> = &[&text(at), &text(object), &micros(due_at)];
    execute(transaction, sql, values).await
}

async fn write_marks(transaction: &Transaction<'_>, marks: &[PushMark]) -> Result<(), Failure> {
    if marks.is_empty() {
        return Ok(());
    }
    let sql = "INSERT INTO pushes (connection, object, kind, record, due_at, mark, attempts) \
               SELECT n.*, 1, 0 FROM unnest($1::text[], $2::text[], $3::text[], $4::uuid[], $5::bigint[]) \
               AS n (connection, object, kind, record, due_at) ORDER BY n.connection, n.object, n.kind, n.record \
               ON CONFLICT (connection, object, kind, record) DO UPDATE SET mark = pushes.mark + 1, attempts = 0, \
               due_at = least(pushes.due_at, excluded.due_at)";
    let values: &Params<'_> = &[
        &column(marks, |mark| text(&mark.connection)),
        &column(marks, |mark| text(&mark.object)),
        &column(marks, |mark| mark.record.kind.name()),
        &column(marks, |mark| mark.record.uuid),
        &column(marks, |mark| micros(mark.due_at)),
    ];
    execute(transaction, sql, values).await
}

/// What waits for objects that were linked is looked at again.
async fn wake(transaction: &Transaction<'_>, links: &[Linking]) -> Result<(), Failure> {
    let awaited = links.iter().filter(|linking| linking.is_awaited());
    let awaited: Vec<&Link> = awaited.map(|linking| &linking.link).collect();
    if awaited.is_empty() {
        return Ok(());
    }
    let sql = "UPDATE parked p SET retry_at = least(p.retry_at, n.seen_at) \
               FROM unnest($1::text[], $2::text[], $3::bigint[]) AS n (connection, waits_for, seen_at) \
               WHERE p.connection = n.connection AND p.waits_for = n.waits_for AND p.retry_at IS NOT NULL";
    let values: &Params<'_> = &[
        &column(&awaited, |link| text(&link.connection)),
        &column(&awaited, |link| {
            text(&waits_for_text(&link.object, &link.external_id)).into_owned()
        }),
        &column(&awaited, |link| micros(link.seen_at)),
    ];
    execute(transaction, sql, values).await
}

async fn write_parked(
    transaction: &Transaction<'_>,
    unparked: &[(String, String, String, bool)],
    parked: &[Parked],
) -> Result<(), Failure> {
    if !unparked.is_empty() {
        let sql = "DELETE FROM parked p USING unnest($1::text[], $2::text[], $3::text[], $4::boolean[]) \
                   AS n (connection, object, key, inbound) \
                   WHERE p.connection = n.connection AND p.object = n.object AND p.key = n.key \
                   AND p.inbound = n.inbound";
        let values: &Params<'_> = &[
            &column(unparked, |(at, ..)| text(at)),
            &column(unparked, |(_, object, ..)| text(object)),
            &column(unparked, |(_, _, key, _)| text(key)),
            &column(unparked, |(.., inbound)| *inbound),
        ];
        execute(transaction, sql, values).await?;
    }
    if parked.is_empty() {
        return Ok(());
    }
    let sql = "INSERT INTO parked (connection, object, key, inbound, code, reason, since, retry_at, records, fields, \
               waits_for) SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::boolean[], $5::text[], $6::text[], \
               $7::bigint[], $8::bigint[], $9::text[], $10::text[], $11::text[]) AS n (connection, object, key, inbound) \
               ORDER BY n.connection, n.object, n.key, n.inbound \
               ON CONFLICT (connection, object, key, inbound) DO UPDATE SET code = excluded.code, \
               reason = excluded.reason, since = CASE parked.code WHEN excluded.code \
               THEN least(parked.since, excluded.since) ELSE excluded.since END, \
               retry_at = excluded.retry_at, records = excluded.records, fields = excluded.fields, \
               waits_for = excluded.waits_for";
    let values: &Params<'_> = &[
        &column(parked, |item| text(&item.connection)),
        &column(parked, |item| text(&item.object)),
        &column(parked, |item| text(&item.key)),
        &column(parked, |item| item.inbound),
        &column(parked, |item| text(&item.code)),
        &column(parked, |item| text(&item.reason)),
        &column(parked, |item| micros(item.since)),
        &column(parked, |item| item.retry_at.map(micros)),
        &column(parked, |item| ids_text(&item.records)),
        &column(parked, |item| names_if_any(&item.fields)),
        &column(parked, |item| {
            let waits_for = item.waits_for.as_ref();
            waits_for.map(|of| text(&waits_for_text(&of.object, &of.external_id)).into_owned())
        }),
    ];
    execute(transaction, sql, values).await
}

async fn write_cursor(
    transaction: &Transaction<'_>,
    at: &str,
    object: &str,
    cursor: &Cursor,
) -> Result<(), Failure> {
    let sql = "INSERT INTO cursors (connection, object, position, complete_at, round_at, fields_read, fields_asked, stored_at) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8) \
               ON CONFLICT (connection, object) DO UPDATE SET position = excluded.position, \
               complete_at = excluded.complete_at, round_at = excluded.round_at, fields_read = excluded.fields_read, \
               fields_asked = excluded.fields_asked, stored_at = excluded.stored_at";
    let position = json_text(&cursor.position);
    let values: &Params<'_> = &[
        &text(at),
        &text(object),
        &position,
        &cursor.complete_at.map(micros),
        &cursor.round_at.map(micros),
        &field_names_text(cursor.fields_read.as_ref()),
        &field_names_text(cursor.fields_asked.as_ref()),
        &micros(cursor.stored_at),
    ];
    execute(transaction, sql, values).await
}
