//! Writing links: what is known of an object is replaced by who read it as it is, and claimed where there is none.

use std::collections::HashSet;

use deadpool_postgres::Transaction;
use model::RecordId;
use model::stored::encode_fields;
use tokio_postgres::types::ToSql;

use super::Params;
use super::commit::ids;
use super::database::Failure;
use super::rows::{column, text};
use crate::LedgerError;
use crate::fold::Linking;
use crate::stored::{json_text, micros};

/// Where a link may be put that replaces none that was read.
#[derive(Clone, Copy)]
enum Put {
    /// In the place of any other.
    Over,
    /// In the place of one that is gone.
    OverGone,
    /// Where there is none.
    Beside,
}

pub(super) async fn write(transaction: &Transaction<'_>, links: &[Linking]) -> Result<(), Failure> {
    let mut stale = HashSet::new();
    let here = |one: &Linking, next: &Linking| {
        (&one.link.connection, &one.link.object) == (&next.link.connection, &next.link.object)
    };
    for links in links.chunk_by(here) {
        write_here(transaction, links, &mut stale).await?;
    }
    match stale.is_empty() {
        true => Ok(()),
        false => Err(LedgerError::Stale(stale.into_iter().collect()).into()),
    }
}

/// Writes links of one object of one connection; tells the records of those that may not be written.
async fn write_here(
    transaction: &Transaction<'_>,
    links: &[Linking],
    stale: &mut HashSet<RecordId>,
) -> Result<(), Failure> {
    // First all that goes, then all that comes: two records may trade their objects.
    let sql = "WITH replaced AS (DELETE FROM links l \
               USING unnest($3::text[], $4::text[], $5::uuid[], $6::boolean[]) \
               AS n (external_id, kind, record, claimed) \
               WHERE l.kind = n.kind AND l.record = n.record AND l.connection = $1 \
               AND l.object = $2 AND l.external_id <> n.external_id \
               RETURNING l.connection, l.object, l.external_id, l.kind, l.record, \
               n.claimed AND NOT l.gone AS is_stale), \
               former AS (INSERT INTO former_objects SELECT connection, object, external_id, kind, record \
               FROM replaced ORDER BY connection, object, external_id \
               ON CONFLICT (connection, object, external_id) \
               DO UPDATE SET kind = excluded.kind, record = excluded.record) \
               SELECT kind, record FROM replaced WHERE is_stale";
    let all = || links.iter().map(|one| &one.link);
    let Some(first) = all().next() else {
        return Ok(());
    };
    let values: &Params<'_> = &[
        &text(&first.connection),
        &text(&first.object),
        &column(all(), |link| text(&link.external_id)),
        &column(all(), |link| link.record.kind.name()),
        &column(all(), |link| link.record.uuid),
        &column(links, |one| one.claimed),
    ];
    stale.extend(ids(transaction, sql, values).await?);
    let (read, unread): (Vec<&Linking>, Vec<&Linking>) =
        links.iter().partition(|one| one.link.replaces.is_some());
    let replaced = replace_links(transaction, &read).await?;
    // One that is there no more was replaced by this commit, or is gone with whoever forgot it.
    let left = read
        .into_iter()
        .filter(|one| !replaced.contains(&one.link.record));
    let (claimed, over): (Vec<&Linking>, Vec<&Linking>) = unread.into_iter().partition(|one| one.claimed);
    for (put, some) in [
        (Put::Beside, left.collect::<Vec<_>>()),
        (Put::Over, over),
        (Put::OverGone, claimed),
    ] {
        let written = put_links(transaction, &some, put).await?;
        let refused = some.iter().map(|one| one.link.record);
        stale.extend(refused.filter(|record| !written.contains(record)));
    }
    Ok(())
}

/// What is written of a link beside its place.
const VALUES: &str = "kind, record, base, wire, external_version, seen_at, gone, modified, ignored, made";

/// Replaces links that are still those that were read; gives their records.
async fn replace_links(
    transaction: &Transaction<'_>,
    links: &[&Linking],
) -> Result<HashSet<RecordId>, Failure> {
    let Some(first) = links.first() else {
        return Ok(HashSet::new());
    };
    let sql = format!(
        "UPDATE links l SET ({VALUES}) = (n.kind, n.record, n.base, n.wire, n.external_version, n.seen_at, n.gone, \
         n.modified, n.ignored, n.made) \
         FROM unnest($3::text[], $4::text[], $5::uuid[], $6::text[], $7::text[], $8::text[], $9::bigint[], \
         $10::boolean[], $11::bigint[], $12::boolean[], $13::boolean[], $14::bigint[], $15::boolean[]) \
         AS n (external_id, {VALUES}, replaces, claimed) \
         WHERE l.connection = $1 AND l.object = $2 AND l.external_id = n.external_id AND l.seen_at = n.replaces \
         AND (NOT n.claimed OR (l.kind, l.record) = (n.kind, n.record)) RETURNING l.kind, l.record"
    );
    let columns = columns(links);
    let (connection, object) = (text(&first.link.connection), text(&first.link.object));
    let replaces = column(links, |one| one.link.replaces.map(micros));
    let claimed = column(links, |one| one.claimed);
    let mut values: Vec<&(dyn ToSql + Sync)> = vec![&connection, &object];
    values.extend(columns.iter().map(|column| &**column as &(dyn ToSql + Sync)));
    values.extend([&replaces as &(dyn ToSql + Sync), &claimed]);
    ids(transaction, &sql, &values).await
}

/// Inserts links, or puts them in the place of others; gives the records of those that were.
async fn put_links(
    transaction: &Transaction<'_>,
    links: &[&Linking],
    put: Put,
) -> Result<HashSet<RecordId>, Failure> {
    let Some(first) = links.first() else {
        return Ok(HashSet::new());
    };
    let over = match put {
        Put::Over => "true",
        Put::OverGone => "links.gone",
        Put::Beside => "false",
    };
    let sql = format!(
        "INSERT INTO links (connection, object, external_id, {VALUES}) \
         SELECT $1, $2, n.* FROM unnest($3::text[], $4::text[], $5::uuid[], $6::text[], $7::text[], $8::text[], \
         $9::bigint[], $10::boolean[], $11::bigint[], $12::boolean[], $13::boolean[]) AS n (external_id) \
         ORDER BY n.external_id \
         ON CONFLICT (connection, object, external_id) DO UPDATE SET kind = excluded.kind, \
         record = excluded.record, base = excluded.base, wire = excluded.wire, \
         external_version = excluded.external_version, seen_at = excluded.seen_at, gone = excluded.gone, \
         modified = excluded.modified, ignored = excluded.ignored, made = excluded.made \
         WHERE {over} RETURNING kind, record"
    );
    let columns = columns(links);
    let (connection, object) = (text(&first.link.connection), text(&first.link.object));
    let mut values: Vec<&(dyn ToSql + Sync)> = vec![&connection, &object];
    values.extend(columns.iter().map(|column| &**column as &(dyn ToSql + Sync)));
    ids(transaction, &sql, &values).await
}

/// The ids of the objects and [`VALUES`] of links, each a column.
fn columns<'l>(links: &[&'l Linking]) -> [Box<dyn ToSql + Sync + Send + 'l>; 11] {
    let all = || links.iter().map(|one| &one.link);
    [
        Box::new(column(all(), |link| text(&link.external_id))),
        Box::new(column(all(), |link| link.record.kind.name())),
        Box::new(column(all(), |link| link.record.uuid)),
        Box::new(column(all(), |link| link.base.as_ref().map(encode_fields))),
        Box::new(column(all(), |link| link.wire.as_ref().map(json_text))),
        Box::new(column(all(), |link| link.external_version.as_deref().map(text))),
        Box::new(column(all(), |link| micros(link.seen_at))),
        Box::new(column(all(), |link| link.gone)),
        Box::new(column(all(), |link| link.modified.map(micros))),
        Box::new(column(all(), |link| link.ignored)),
        Box::new(column(all(), |link| link.made)),
    ]
}
