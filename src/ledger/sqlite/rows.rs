//! Rows to values.

use rusqlite::{Connection, Params, Row};
use uuid::Uuid;

use crate::stored::{count, moment, moment_if, numbers, record_id};
use crate::{Delivery, DeliveryState, Due, EventRow, LedgerError, Link};
use model::{Record, RecordId};

/// All rows of a statement, each read by `read`.
pub(super) fn all<T>(
    connection: &Connection,
    sql: &str,
    params: impl Params,
    mut read: impl FnMut(&Row<'_>) -> Result<T, LedgerError>,
) -> Result<Vec<T>, LedgerError> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(params)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(read(row)?);
    }
    Ok(found)
}

/// Adds the rows of a statement that is run for many keys.
pub(super) fn extend<T>(
    found: &mut Vec<T>,
    statement: &mut rusqlite::Statement<'_>,
    params: impl Params,
    mut read: impl FnMut(&Row<'_>) -> Result<T, LedgerError>,
) -> Result<(), LedgerError> {
    let mut rows = statement.query(params)?;
    while let Some(row) = rows.next()? {
        found.push(read(row)?);
    }
    Ok(())
}

/// A UUID from a column of 16 bytes.
pub(super) fn uuid(row: &Row<'_>, column: usize) -> Result<Uuid, LedgerError> {
    Ok(Uuid::from_bytes(row.get(column)?))
}

/// A UUID from a column of 16 bytes that may be empty.
pub(super) fn uuid_if(row: &Row<'_>, column: usize) -> Result<Option<Uuid>, LedgerError> {
    Ok(row.get::<_, Option<[u8; 16]>>(column)?.map(Uuid::from_bytes))
}

/// A text column without a copy.
pub(super) fn text<'r>(row: &'r Row<'_>, column: usize) -> Result<&'r str, LedgerError> {
    let text = row.get_ref(column)?.as_str();
    text.map_err(|error| LedgerError::Store(error.to_string()))
}

/// A text column that may be empty, without a copy.
fn text_if<'r>(row: &'r Row<'_>, column: usize) -> Result<Option<&'r str>, LedgerError> {
    let text = row.get_ref(column)?.as_str_or_null();
    text.map_err(|error| LedgerError::Store(error.to_string()))
}

/// A record's id from the column of its kind and the one after it.
pub(super) fn id(row: &Row<'_>, column: usize) -> Result<RecordId, LedgerError> {
    record_id(text(row, column)?, uuid(row, column + 1)?)
}

/// The columns that [`record`] reads.
macro_rules! record_columns {
    ($table:literal) => {
        concat!(
            $table,
            ".kind, ",
            $table,
            ".id, ",
            $table,
            ".version, ",
            $table,
            ".created_at, ",
            $table,
            ".updated_at, ",
            $table,
            ".deleted_at, ",
            $table,
            ".fields, ",
            $table,
            ".provenance, ",
            $table,
            ".merged_into"
        )
    };
}
pub(super) use record_columns;

/// A record from nine columns, the first of which is `from`.
pub(super) fn record(row: &Row<'_>, from: usize) -> Result<Record, LedgerError> {
    let id = id(row, from)?;
    let fields = model::stored::decode_fields(id.kind, text(row, from + 6)?)?;
    Ok(Record {
        id,
        version: count(row.get(from + 2)?)?,
        created_at: moment(row.get(from + 3)?)?,
        updated_at: moment(row.get(from + 4)?)?,
        deleted_at: moment_if(row.get(from + 5)?)?,
        merged_into: uuid_if(row, from + 8)?.map(|uuid| RecordId::new(id.kind, uuid)),
        provenance: model::stored::decode_provenance(id.kind, &fields, text(row, from + 7)?)?,
        fields,
    })
}

/// The columns that [`link`] reads.
pub(super) const LINK_COLUMNS: &str = "links.connection, links.object, links.external_id, links.kind, links.record, \
     links.base, links.wire, links.external_version, links.seen_at, links.gone, \
     links.modified, links.ignored, links.made";
/// How many they are.
pub(super) const LINK_COLUMNS_COUNT: usize = 13;

/// A link from the first columns of a row.
pub(super) fn link(row: &Row<'_>) -> Result<Link, LedgerError> {
    let record = id(row, 3)?;
    let seen_at = moment(row.get(8)?)?;
    Ok(Link {
        connection: row.get(0)?,
        object: row.get(1)?,
        external_id: row.get(2)?,
        record,
        base: text_if(row, 5)?
            .map(|text| model::stored::decode_fields(record.kind, text))
            .transpose()?,
        wire: text_if(row, 6)?.map(crate::stored::json).transpose()?,
        external_version: row.get(7)?,
        seen_at,
        replaces: Some(seen_at),
        gone: row.get(9)?,
        modified: moment_if(row.get(10)?)?,
        ignored: row.get(11)?,
        made: row.get(12)?,
    })
}

/// A due delivery from the columns of `due`.
pub(super) fn due(row: &Row<'_>) -> Result<Due, LedgerError> {
    Ok(Due {
        delivery: uuid(row, 0)?.into(),
        event: uuid(row, 1)?.into(),
        event_type: row.get(2)?,
        source: row.get(3)?,
        body: row.get::<_, Vec<u8>>(4)?.into(),
        received_at: moment(row.get(5)?)?,
        attempts: count(row.get(6)?)?,
        trace: row.get(7)?,
        line: row.get(8)?,
        hops: row.get::<_, Option<String>>(9)?.unwrap_or_default(),
        sequence: row.get::<_, Option<i64>>(10)?.map(count).transpose()?,
        stands_for: numbers(row.get(11)?)?,
    })
}

/// An event from the columns of `list_events`.
pub(super) fn event(row: &Row<'_>) -> Result<EventRow, LedgerError> {
    Ok(EventRow {
        id: uuid(row, 0)?.into(),
        event_type: row.get(1)?,
        source: row.get(2)?,
        received_at: moment(row.get(3)?)?,
        trace: row.get(4)?,
        waiting: count(row.get(5)?)?,
        delivered: count(row.get(6)?)?,
        dead: count(row.get(7)?)?,
        folded: count(row.get(8)?)?,
    })
}

/// A delivery from the columns of `list_deliveries`.
pub(super) fn delivery(row: &Row<'_>) -> Result<Delivery, LedgerError> {
    let word = text(row, 5)?;
    let state = DeliveryState::parse(word).ok_or_else(|| crate::stored::damaged("a state", word))?;
    let last_status: Option<i64> = row.get(9)?;
    Ok(Delivery {
        id: uuid(row, 0)?.into(),
        event: uuid(row, 1)?.into(),
        event_type: row.get(2)?,
        source: row.get(3)?,
        endpoint: row.get(4)?,
        state,
        attempts: count(row.get(6)?)?,
        received_at: moment(row.get(7)?)?,
        next_at: match state {
            DeliveryState::Due => Some(moment(row.get(8)?)?),
            DeliveryState::Held | DeliveryState::Delivered | DeliveryState::Dead | DeliveryState::Folded => {
                None
            }
        },
        last_status: last_status.map(count).transpose()?,
        last_error: row.get(10)?,
        sequence: row.get::<_, Option<i64>>(11)?.map(count).transpose()?,
        stands_for: numbers(row.get(12)?)?,
        folded_into: uuid_if(row, 13)?.map(Into::into),
    })
}
