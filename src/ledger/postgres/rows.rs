//! Values to columns of a batch, rows to values.

use std::borrow::Cow;

use model::{Record, RecordId};
use tokio_postgres::Row;

use crate::stored::{count, damaged, moment, moment_if, numbers, record_id};
use crate::{Delivery, DeliveryState, Due, EventRow, LedgerError, Link};

/// One column of a batch.
pub(super) fn column<R: IntoIterator, T>(rows: R, of: impl Fn(R::Item) -> T) -> Vec<T> {
    rows.into_iter().map(of).collect()
}

/// Text as PostgreSQL can keep it: U+0000 becomes U+FFFD.
pub(super) fn text(text: &str) -> Cow<'_, str> {
    if text.contains('\0') {
        Cow::Owned(text.replace('\0', "\u{FFFD}"))
    } else {
        Cow::Borrowed(text)
    }
}

/// A record's id from the column of its kind and the one after it.
pub(super) fn id(row: &Row, column: usize) -> Result<RecordId, LedgerError> {
    record_id(row.try_get(column)?, row.try_get(column + 1)?)
}

/// The columns that [`record`] reads, of a table `r`.
pub(super) const RECORD_COLUMNS: &str = "r.kind, r.id, r.version, r.created_at, r.updated_at, r.deleted_at, r.fields, r.provenance, \
     r.merged_into";

/// A record from nine columns, the first of which is `from`.
pub(super) fn record(row: &Row, from: usize) -> Result<Record, LedgerError> {
    let id = id(row, from)?;
    let fields = model::stored::decode_fields(id.kind, row.try_get(from + 6)?)?;
    Ok(Record {
        id,
        version: count(row.try_get(from + 2)?)?,
        created_at: moment(row.try_get(from + 3)?)?,
        updated_at: moment(row.try_get(from + 4)?)?,
        deleted_at: moment_if(row.try_get(from + 5)?)?,
        merged_into: row
            .try_get::<_, Option<uuid::Uuid>>(from + 8)?
            .map(|uuid| RecordId::new(id.kind, uuid)),
        provenance: model::stored::decode_provenance(id.kind, &fields, row.try_get(from + 7)?)?,
        fields,
    })
}

/// The columns that [`link`] reads, of a table `l`.
pub(super) const LINK_COLUMNS: &str = "l.connection, l.object, l.external_id, l.kind, l.record, l.base, l.wire, \
                                       l.external_version, l.seen_at, l.gone, l.modified, \
                                       l.ignored, l.made";
/// How many they are.
pub(super) const LINK_COLUMNS_COUNT: usize = 13;

/// A link from the first columns of a row.
pub(super) fn link(row: &Row) -> Result<Link, LedgerError> {
    let record = id(row, 3)?;
    let base: Option<&str> = row.try_get(5)?;
    let wire: Option<&str> = row.try_get(6)?;
    let seen_at = moment(row.try_get(8)?)?;
    Ok(Link {
        connection: row.try_get(0)?,
        object: row.try_get(1)?,
        external_id: row.try_get(2)?,
        record,
        base: base
            .map(|text| model::stored::decode_fields(record.kind, text))
            .transpose()?,
        wire: wire.map(crate::stored::json).transpose()?,
        external_version: row.try_get(7)?,
        seen_at,
        replaces: Some(seen_at),
        gone: row.try_get(9)?,
        modified: moment_if(row.try_get(10)?)?,
        ignored: row.try_get(11)?,
        made: row.try_get(12)?,
    })
}

/// A due delivery from the columns of `due`.
pub(super) fn due(row: &Row) -> Result<Due, LedgerError> {
    Ok(Due {
        delivery: row.try_get::<_, uuid::Uuid>(0)?.into(),
        event: row.try_get::<_, uuid::Uuid>(1)?.into(),
        event_type: row.try_get(2)?,
        source: row.try_get(3)?,
        body: row.try_get::<_, Vec<u8>>(4)?.into(),
        received_at: moment(row.try_get(5)?)?,
        attempts: count(row.try_get(6)?)?,
        trace: row.try_get(7)?,
        line: row.try_get(8)?,
        hops: row.try_get::<_, Option<String>>(9)?.unwrap_or_default(),
        sequence: row.try_get::<_, Option<i64>>(10)?.map(count).transpose()?,
        stands_for: numbers(row.try_get(11)?)?,
    })
}

/// An event from the columns of `list_events`.
pub(super) fn event(row: &Row) -> Result<EventRow, LedgerError> {
    Ok(EventRow {
        id: row.try_get::<_, uuid::Uuid>(0)?.into(),
        event_type: row.try_get(1)?,
        source: row.try_get(2)?,
        received_at: moment(row.try_get(3)?)?,
        trace: row.try_get(4)?,
        waiting: count(row.try_get(5)?)?,
        delivered: count(row.try_get(6)?)?,
        dead: count(row.try_get(7)?)?,
        folded: count(row.try_get(8)?)?,
    })
}

/// A delivery from the columns of `list_deliveries`.
pub(super) fn delivery(row: &Row) -> Result<Delivery, LedgerError> {
    let word: &str = row.try_get(5)?;
    let state = DeliveryState::parse(word).ok_or_else(|| damaged("a state", word))?;
    let last_status: Option<i64> = row.try_get(9)?;
    Ok(Delivery {
        id: row.try_get::<_, uuid::Uuid>(0)?.into(),
        event: row.try_get::<_, uuid::Uuid>(1)?.into(),
        event_type: row.try_get(2)?,
        source: row.try_get(3)?,
        endpoint: row.try_get(4)?,
        state,
        attempts: count(row.try_get(6)?)?,
        received_at: moment(row.try_get(7)?)?,
        next_at: match state {
            DeliveryState::Due => Some(moment(row.try_get(8)?)?),
            DeliveryState::Held | DeliveryState::Delivered | DeliveryState::Dead | DeliveryState::Folded => {
                None
            }
        },
        last_status: last_status.map(count).transpose()?,
        last_error: row.try_get(10)?,
        sequence: row.try_get::<_, Option<i64>>(11)?.map(count).transpose()?,
        stands_for: numbers(row.try_get(12)?)?,
        folded_into: row.try_get::<_, Option<uuid::Uuid>>(13)?.map(Into::into),
    })
}

/// Reads every row.
pub(super) fn all<T>(
    rows: &[Row],
    read: impl FnMut(&Row) -> Result<T, LedgerError>,
) -> Result<Vec<T>, LedgerError> {
    rows.iter().map(read).collect()
}

/// A place among `of`, from an ordinal, which counts from 1.
pub(super) fn place(row: &Row, column: usize, of: usize) -> Result<usize, LedgerError> {
    let n: i64 = row.try_get(column)?;
    let place = usize::try_from(n - 1).ok().filter(|place| *place < of);
    place.ok_or_else(|| damaged("an ordinal", &n.to_string()))
}
