//! What undoing needs, as JSON in the row of an action.

use ledger::{Link, Parked, Sent};
use model::{Kind, Record, RecordId, stored};
use serde_json::{Value as Json, json};

use crate::parked::about;

/// A row that cannot be read back, of a later version or meddled with.
pub(crate) type Unreadable = String;

fn text<'j>(kept: &'j Json, key: &str) -> Result<&'j str, Unreadable> {
    kept[key].as_str().ok_or_else(|| format!("`{key}` is missing"))
}

fn read<T: std::str::FromStr>(kept: &Json, key: &str) -> Result<T, Unreadable> {
    let word = text(kept, key)?;
    word.parse().map_err(|_| format!("`{key}` is `{word}`"))
}

fn read_if<T: std::str::FromStr>(kept: &Json, key: &str) -> Result<Option<T>, Unreadable> {
    match &kept[key] {
        Json::Null => Ok(None),
        _ => read(kept, key).map(Some),
    }
}

/// A record's id under a key.
pub(crate) fn id(kept: &Json, key: &str) -> Result<RecordId, Unreadable> {
    read(kept, key)
}

/// A link as it was.
pub(crate) fn link(link: &Link) -> Json {
    json!({
        "connection": link.connection, "object": link.object, "external_id": link.external_id,
        "record": link.record.to_string(), "base": link.base.as_ref().map(stored::encode_fields), "wire": link.wire,
        "external_version": link.external_version, "modified": link.modified.map(|at| at.to_string()),
        "seen_at": link.seen_at.to_string(), "gone": link.gone, "ignored": link.ignored, "made": link.made,
    })
}

/// A link from what was kept of it.
pub(crate) fn read_link(kept: &Json) -> Result<Link, Unreadable> {
    let record: RecordId = read(kept, "record")?;
    let base = kept["base"].as_str();
    let base = base
        .map(|base| stored::decode_fields(record.kind, base))
        .transpose();
    Ok(Link {
        connection: text(kept, "connection")?.to_owned(),
        object: text(kept, "object")?.to_owned(),
        external_id: text(kept, "external_id")?.to_owned(),
        record,
        base: base.map_err(|error| error.to_string())?,
        wire: Some(kept["wire"].clone()).filter(|wire| !wire.is_null()),
        external_version: kept["external_version"].as_str().map(str::to_owned),
        modified: read_if(kept, "modified")?,
        seen_at: read(kept, "seen_at")?,
        replaces: None,
        gone: kept["gone"] == true,
        ignored: kept["ignored"] == true,
        made: kept["made"] == true,
    })
}

/// Links from what was kept of them under a key.
pub(crate) fn read_links(kept: &Json, key: &str) -> Result<Vec<Link>, Unreadable> {
    kept[key]
        .as_array()
        .into_iter()
        .flatten()
        .map(read_link)
        .collect()
}

/// The values of a record, and who said each.
pub(crate) fn record(record: &Record) -> Json {
    json!({
        "id": record.id.to_string(), "fields": stored::encode_fields(&record.fields),
        "provenance": stored::encode_provenance(&record.fields, &record.provenance),
    })
}

/// Values over a record, from what was kept of it.
pub(crate) fn read_record(kept: &Json, now: &Record) -> Result<Record, Unreadable> {
    let kind: Kind = now.kind();
    let unreadable = |error: stored::Unreadable| error.to_string();
    let fields = stored::decode_fields(kind, text(kept, "fields")?).map_err(unreadable)?;
    let provenance = text(kept, "provenance")?;
    Ok(Record {
        provenance: stored::decode_provenance(kind, &fields, provenance).map_err(unreadable)?,
        fields,
        ..now.clone()
    })
}

/// What was written without being heard of.
pub(crate) fn sent(sent: &Sent) -> Json {
    json!({"at": sent.at.to_string(), "values": sent.values, "creates": sent.creates})
}

/// What was written, from what was kept of it; nothing in what was kept before there was any.
pub(crate) fn read_sent(kept: &Json) -> Result<Vec<Sent>, Unreadable> {
    let all = kept["sent"].as_array().into_iter().flatten();
    let each = all.map(|sent| {
        Ok(Sent {
            at: read(sent, "at")?,
            values: sent["values"].clone(),
            creates: sent["creates"] == true,
        })
    });
    each.collect()
}

/// Something parked as it was.
pub(crate) fn parked(parked: &Parked) -> Json {
    json!({
        "connection": parked.connection, "object": parked.object, "key": parked.key, "inbound": parked.inbound,
        "code": parked.code, "fields": parked.fields, "reason": parked.reason, "since": parked.since.to_string(),
        "records": parked.records.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "retry_at": parked.retry_at.map(|at| at.to_string()),
    })
}

/// Something parked, from what was kept of it; nothing where nothing was.
pub(crate) fn read_parked(kept: &Json) -> Result<Option<Parked>, Unreadable> {
    if kept.is_null() {
        return Ok(None);
    }
    let records = kept["records"].as_array().into_iter().flatten();
    let records = records.map(|id| {
        id.as_str()
            .and_then(|id| id.parse().ok())
            .ok_or("`records` are no ids")
    });
    Ok(Some(Parked {
        connection: text(kept, "connection")?.to_owned(),
        object: text(kept, "object")?.to_owned(),
        key: text(kept, "key")?.to_owned(),
        inbound: kept["inbound"] == true,
        code: text(kept, "code")?.to_owned(),
        // What was kept before there were any names none.
        fields: about(
            kept["fields"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Json::as_str),
        ),
        reason: text(kept, "reason")?.to_owned(),
        records: records.collect::<Result<_, _>>()?,
        since: read(kept, "since")?,
        retry_at: read_if(kept, "retry_at")?,
        waits_for: None,
    }))
}
