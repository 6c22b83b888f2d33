//! Writing a page or a batch.

use jiff::Timestamp;
use model::stored::{encode_fields, encode_provenance};
use rusqlite::{Connection, params};

use super::{accept, conflicts, journal, journeys, leases, records, rows};
use crate::fold::{Folded, Linking, Written};
use crate::stored::{
    big, encode_history, field_names_text, ids_text, json_text, micros, names_if_any, sent_text,
    waits_for_text,
};
use crate::{Cursor, LedgerError, Parked, Push, PushEnd, PushMark, Sought};

/// Writes all of a commit. On an error the caller takes everything back.
pub(super) fn write(connection: &Connection, commit: &Folded) -> Result<(), LedgerError> {
    leases::fence(connection, commit.lease.as_ref())?;
    look_again(connection, &commit.sought)?;
    write_records(connection, &commit.records)?;
    for written in &commit.records {
        write_history(connection, written)?;
        write_match_keys(connection, written)?;
    }
    forget_links(connection, &commit.forgotten)?;
    write_links(connection, &commit.links)?;
    wake(connection, &commit.links)?;
    conflicts::write(connection, &commit.conflicts)?;
    journeys::write(connection, &commit.pushed)?;
    write_ended(connection, &commit.ended)?;
    write_marks(connection, &commit.marks)?;
    if let Some((at, object, due_at)) = &commit.owe_linked {
        owe_linked(connection, at, object, *due_at)?;
    }
    write_sending(connection, &commit.sending)?;
    write_parked(connection, &commit.unparked, &commit.parked)?;
    accept::accept(connection, &commit.events)?;
    if let Some(action) = &commit.action {
        journal::write(connection, action)?;
    }
    if let Some((at, object, cursor)) = &commit.cursor {
        write_cursor(connection, at, object, cursor)?;
    }
    Ok(())
}

/// Under every key must be what was found there.
fn look_again(connection: &Connection, sought: &[Sought]) -> Result<(), LedgerError> {
    let mut stale = Vec::new();
    for one in sought {
        let found = records::matching_one(connection, one.kind, &one.key)?;
        stale.extend(found.into_iter().filter(|id| !one.found.contains(id)));
    }
    match stale.is_empty() {
        true => Ok(()),
        false => Err(LedgerError::Stale(stale)),
    }
}

/// Every record must be there at the version it was read at, or not be there when it is new.
fn write_records(connection: &Connection, records: &[Written]) -> Result<(), LedgerError> {
    let mut insert = connection.prepare_cached(
        "INSERT INTO records (kind, id, version, created_at, updated_at, deleted_at, fields, provenance, merged_into) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT DO NOTHING",
    )?;
    let mut update = connection.prepare_cached(
        "UPDATE records SET version = ?3, created_at = ?4, updated_at = ?5, deleted_at = ?6, fields = ?7, \
         provenance = ?8, merged_into = ?9 WHERE kind = ?1 AND id = ?2 AND version = ?10",
    )?;
    let mut stale = Vec::new();
    for Written {
        record, read_version, ..
    } in records
    {
        let (kind, id) = (record.id.kind.name(), record.id.uuid);
        let id = id.as_bytes();
        let version = big(record.version);
        let (created, updated) = (micros(record.created_at), micros(record.updated_at));
        let deleted = record.deleted_at.map(micros);
        let (fields, provenance) = (
            encode_fields(&record.fields),
            encode_provenance(&record.fields, &record.provenance),
        );
        let into = record.merged_into.map(|into| into.uuid);
        let into = into.as_ref().map(uuid::Uuid::as_bytes);
        let written = if *read_version == 0 {
            insert.execute(params![
                kind, id, version, created, updated, deleted, fields, provenance, into
            ])?
        } else {
            let read = big(*read_version);
            update.execute(params![
                kind, id, version, created, updated, deleted, fields, provenance, into, read
            ])?
        };
        if written == 0 {
            stale.push(record.id);
        }
    }
    if stale.is_empty() {
        Ok(())
    } else {
        Err(LedgerError::Stale(stale))
    }
}

fn write_history(connection: &Connection, written: &Written) -> Result<(), LedgerError> {
    let id = written.record.id;
    let mut insert = connection
        .prepare_cached("INSERT INTO history (kind, record, version, changes) VALUES (?1, ?2, ?3, ?4)")?;
    for (version, changes) in &written.history {
        insert.execute(params![
            id.kind.name(),
            id.uuid.as_bytes(),
            big(*version),
            encode_history(changes)
        ])?;
    }
    Ok(())
}

/// Most changes leave the keys as they are, so only the difference is written.
fn write_match_keys(connection: &Connection, written: &Written) -> Result<(), LedgerError> {
    let id = written.record.id;
    let key = params![id.kind.name(), id.uuid.as_bytes()];
    let old: std::collections::BTreeSet<String> = if written.read_version == 0 {
        Default::default()
    } else {
        let sql = "SELECT key FROM match_keys WHERE kind = ?1 AND record = ?2";
        let old = rows::all(connection, sql, key, |row| Ok(row.get(0)?))?;
        old.into_iter().collect()
    };
    for gone in old.difference(&written.match_keys) {
        connection
            .prepare_cached("DELETE FROM match_keys WHERE kind = ?1 AND record = ?2 AND key = ?3")?
            .execute(params![id.kind.name(), id.uuid.as_bytes(), gone])?;
    }
    for new in written.match_keys.difference(&old) {
        connection
            .prepare_cached("INSERT INTO match_keys (kind, record, key) VALUES (?1, ?2, ?3)")?
            .execute(params![id.kind.name(), id.uuid.as_bytes(), new])?;
    }
    Ok(())
}

fn forget_links(connection: &Connection, forgotten: &[(String, String, String)]) -> Result<(), LedgerError> {
    let mut delete = connection
        .prepare_cached("DELETE FROM links WHERE connection = ?1 AND object = ?2 AND external_id = ?3")?;
    for (at, object, external_id) in forgotten {
        delete.execute(params![at, object, external_id])?;
    }
    Ok(())
}

fn write_links(connection: &Connection, links: &[Linking]) -> Result<(), LedgerError> {
    let mut others = connection.prepare_cached(
        "SELECT external_id, gone FROM links WHERE kind = ?1 AND record = ?2 AND connection = ?3 AND object = ?4 \
         AND external_id <> ?5",
    )?;
    let mut replace = connection
        .prepare_cached("DELETE FROM links WHERE connection = ?1 AND object = ?2 AND external_id = ?3")?;
    let mut remember = connection.prepare_cached(
        "INSERT INTO former_objects (kind, record, connection, object, external_id) VALUES (?1, ?2, ?3, ?4, ?5) \
         ON CONFLICT (connection, object, external_id) DO UPDATE SET kind = excluded.kind, record = excluded.record",
    )?;
    let mut upsert = connection.prepare_cached(
        "INSERT INTO links (kind, record, connection, object, external_id, base, wire, external_version, seen_at, \
         gone, modified, ignored, made) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13) \
         ON CONFLICT (connection, object, external_id) DO UPDATE SET kind = excluded.kind, \
         record = excluded.record, base = excluded.base, wire = excluded.wire, \
         external_version = excluded.external_version, seen_at = excluded.seen_at, gone = excluded.gone, \
         modified = excluded.modified, ignored = excluded.ignored, made = excluded.made \
         WHERE CASE WHEN ?15 IS NULL THEN NOT ?14 OR links.gone ELSE links.seen_at = ?15 AND \
         (NOT ?14 OR (links.kind = excluded.kind AND links.record = excluded.record)) END",
    )?;
    let mut stale = Vec::new();
    // First all that goes, then all that comes: two records may trade their objects.
    for Linking { link, claimed } in links {
        let (kind, record) = (link.record.kind.name(), link.record.uuid);
        let (record, at, object) = (record.as_bytes(), &link.connection, &link.object);
        let mut former: Vec<(String, bool)> = Vec::new();
        rows::extend(
            &mut former,
            &mut others,
            params![kind, record, at, object, link.external_id],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        for (external_id, gone) in former {
            replace.execute(params![at, object, external_id])?;
            if *claimed && !gone {
                stale.push(link.record);
            }
            remember.execute(params![kind, record, at, object, external_id])?;
        }
    }
    for Linking { link, claimed } in links {
        let written = upsert.execute(params![
            link.record.kind.name(),
            link.record.uuid.as_bytes(),
            link.connection,
            link.object,
            link.external_id,
            link.base.as_ref().map(encode_fields),
            link.wire.as_ref().map(json_text),
            link.external_version,
            micros(link.seen_at),
            link.gone,
            link.modified.map(micros),
            link.ignored,
            link.made,
            claimed,
            link.replaces.map(micros)
        ])?;
        if written == 0 {
            stale.push(link.record);
        }
    }
    match stale.is_empty() {
        true => Ok(()),
        false => Err(LedgerError::Stale(stale)),
    }
}

/// A push that was marked again since it was read is left as it is.
fn write_sending(connection: &Connection, sending: &[Push]) -> Result<(), LedgerError> {
    let mut keep = connection.prepare_cached(
        "UPDATE pushes SET sent = ?5 WHERE connection = ?1 AND object = ?2 AND kind = ?3 AND record = ?4",
    )?;
    for push in sending {
        let (kind, record) = (push.record.kind.name(), push.record.uuid);
        let sent = sent_text(&push.sent);
        keep.execute(params![
            push.connection,
            push.object,
            kind,
            record.as_bytes(),
            sent
        ])?;
    }
    Ok(())
}

fn write_ended(connection: &Connection, ended: &[(Push, PushEnd)]) -> Result<(), LedgerError> {
    let mut done = connection.prepare_cached(
        "DELETE FROM pushes WHERE connection = ?1 AND object = ?2 AND kind = ?3 AND record = ?4 AND mark = ?5",
    )?;
    let mut later = connection.prepare_cached(
        "UPDATE pushes SET due_at = ?6, attempts = attempts + 1 \
         WHERE connection = ?1 AND object = ?2 AND kind = ?3 AND record = ?4 AND mark = ?5",
    )?;
    let mut heard = connection.prepare_cached(
        "UPDATE pushes SET sent = NULL WHERE connection = ?1 AND object = ?2 AND kind = ?3 AND record = ?4 \
         AND sent IS NOT NULL",
    )?;
    for (push, end) in ended {
        let (kind, record, mark) = (push.record.kind.name(), push.record.uuid, big(push.mark));
        let record = record.as_bytes();
        match end {
            PushEnd::Done => done.execute(params![push.connection, push.object, kind, record, mark])?,
            PushEnd::Later(at) => later.execute(params![
                push.connection,
                push.object,
                kind,
                record,
                mark,
                micros(*at)
            ])?,
        };
        if *end == PushEnd::Done {
            heard.execute(params![push.connection, push.object, kind, record])?;
        }
    }
    Ok(())
}

fn owe_linked(connection: &Connection, at: &str, object: &str, due_at: Timestamp) -> Result<(), LedgerError> {
    let sql = "INSERT INTO pushes (connection, object, kind, record, mark, due_at, attempts) \
               SELECT connection, object, kind, record, 1, ?3, 0 FROM links \
               WHERE connection = ?1 AND object = ?2 AND gone = 0 AND ignored = 0 \
               ON CONFLICT (connection, object, kind, record) \
               DO UPDATE SET mark = mark + 1, attempts = 0, due_at = min(due_at, excluded.due_at)";
    connection
        .prepare_cached(sql)?
        .execute(params![at, object, micros(due_at)])?;
    Ok(())
}

fn write_marks(connection: &Connection, marks: &[PushMark]) -> Result<(), LedgerError> {
    let mut upsert = connection.prepare_cached(
        "INSERT INTO pushes (connection, object, kind, record, mark, due_at, attempts) \
         VALUES (?1, ?2, ?3, ?4, 1, ?5, 0) ON CONFLICT (connection, object, kind, record) \
         DO UPDATE SET mark = mark + 1, attempts = 0, due_at = min(due_at, excluded.due_at)",
    )?;
    for mark in marks {
        upsert.execute(params![
            mark.connection,
            mark.object,
            mark.record.kind.name(),
            mark.record.uuid.as_bytes(),
            micros(mark.due_at)
        ])?;
    }
    Ok(())
}

/// What waits for objects that were linked is looked at again.
fn wake(connection: &Connection, links: &[Linking]) -> Result<(), LedgerError> {
    let sql = "UPDATE parked SET retry_at = min(retry_at, ?3) WHERE connection = ?1 AND waits_for = ?2 \
               AND retry_at IS NOT NULL";
    let mut statement = connection.prepare_cached(sql)?;
    for link in links
        .iter()
        .filter(|linking| linking.is_awaited())
        .map(|linking| &linking.link)
    {
        let waits_for = waits_for_text(&link.object, &link.external_id);
        statement.execute(params![link.connection, waits_for, micros(link.seen_at)])?;
    }
    Ok(())
}

fn write_parked(
    connection: &Connection,
    unparked: &[(String, String, String, bool)],
    parked: &[Parked],
) -> Result<(), LedgerError> {
    let mut remove = connection.prepare_cached(
        "DELETE FROM parked WHERE connection = ?1 AND object = ?2 AND key = ?3 AND inbound = ?4",
    )?;
    for (at, object, key, inbound) in unparked {
        remove.execute(params![at, object, key, inbound])?;
    }
    let mut upsert = connection.prepare_cached(
        "INSERT INTO parked (connection, object, key, inbound, code, reason, since, retry_at, records, fields, waits_for) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11) ON CONFLICT (connection, object, key, inbound) \
         DO UPDATE SET code = excluded.code, reason = excluded.reason, \
         since = CASE parked.code WHEN excluded.code THEN min(parked.since, excluded.since) ELSE excluded.since END, \
         retry_at = excluded.retry_at, records = excluded.records, fields = excluded.fields, \
         waits_for = excluded.waits_for",
    )?;
    for item in parked {
        upsert.execute(params![
            item.connection,
            item.object,
            item.key,
            item.inbound,
            item.code,
            item.reason,
            micros(item.since),
            item.retry_at.map(micros),
            ids_text(&item.records),
            names_if_any(&item.fields),
            item.waits_for
                .as_ref()
                .map(|of| waits_for_text(&of.object, &of.external_id))
        ])?;
    }
    Ok(())
}

fn write_cursor(connection: &Connection, at: &str, object: &str, cursor: &Cursor) -> Result<(), LedgerError> {
    connection
        .prepare_cached(
            "INSERT INTO cursors (connection, object, position, complete_at, round_at, fields_read, fields_asked, stored_at) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) \
             ON CONFLICT (connection, object) DO UPDATE SET position = excluded.position, \
             complete_at = excluded.complete_at, round_at = excluded.round_at, fields_read = excluded.fields_read, \
             fields_asked = excluded.fields_asked, stored_at = excluded.stored_at",
        )?
        .execute(params![
            at,
            object,
            json_text(&cursor.position),
            cursor.complete_at.map(micros),
            cursor.round_at.map(micros),
            field_names_text(cursor.fields_read.as_ref()),
            field_names_text(cursor.fields_asked.as_ref()),
            micros(cursor.stored_at)
        ])?;
    Ok(())
}
