//! Who *named* an object: what refers to a record because an object of the same connection names one there. As long as it
//! names the same it says nothing new ([`crate::naming`]), whosever that is; but when a person has taken an object away from
//! its record and it is another one's, who named it means that one, and is read again as if it had named nobody.

use std::collections::BTreeMap;

use ledger::{LedgerError, Link, Linked, Parked};
use model::{FieldType, Kind, Record, RecordId};
use serde_json::Value as Json;

use crate::Engine;
use crate::action::ObjectAt;
use crate::linking::{UNLINKED, object_of};
use crate::parked::READ_AGAIN;

impl Engine {
    /// What named an object that was a record's, to be read again. What refers to the record by what was said elsewhere goes
    /// on to mean it.
    pub(crate) async fn named_by(&self, id: RecordId, at: &ObjectAt) -> Result<Vec<Parked>, LedgerError> {
        let referring = self.referring(&[id]).await?;
        let records = self.ledger.records(&referring).await?;
        let records: BTreeMap<RecordId, &Record> = records.iter().map(|record| (record.id, record)).collect();
        let links = self.ledger.links(&referring).await?;
        let there = links
            .iter()
            .filter(|link| link.connection == at.connection && !link.gone && !link.ignored);
        let named = there.filter_map(|link| {
            let (record, sync) = (
                records.get(&link.record)?,
                self.plan
                    .sync_for(&link.connection, &link.object, link.record.kind)?,
            );
            let references = record.fields.iter();
            let said_there = references.filter(|(path, value)| {
                let said = record
                    .provenance
                    .get(path)
                    .map(|said| (&said.connection, &said.external_id));
                value.as_reference() == Some(id) && said == Some((&link.connection, &link.external_id))
            });
            let fields = said_there.flat_map(|(path, _)| sync.mapping.wire_fields(path).map(str::to_owned));
            let fields: Vec<String> = fields.collect();
            let why = format!("it names {at}, which was the object of {id}");
            (!fields.is_empty()).then(|| Parked {
                fields,
                ..self.read_again(&ObjectAt::of(link), &why)
            })
        });
        Ok(named.collect())
    }

    /// What named objects of one kind that a person has taken away from their records, and that are other records' by these
    /// links now.
    pub(crate) async fn named_as_before(&self, now: &[Link]) -> Result<Vec<Parked>, LedgerError> {
        let mut named = Vec::new();
        let referred_to = now.iter().filter(|link| is_referred_to(link.record.kind));
        let marks: Vec<String> = referred_to
            .map(|link| format!("{}{UNLINKED}", link.external_id))
            .collect();
        let Some(Link {
            connection, object, ..
        }) = now.first().filter(|_| !marks.is_empty())
        else {
            return Ok(named);
        };
        for Linked { link, record } in self.ledger.linked(connection, object, &marks).await? {
            let at = ObjectAt {
                external_id: object_of(&link).0.to_owned(),
                ..ObjectAt::of(&link)
            };
            named.extend(self.named_by(record.id, &at).await?);
        }
        Ok(named)
    }
}

/// Whether records of some kind refer to those of another one.
fn is_referred_to(kind: Kind) -> bool {
    let mut fields = Kind::ALL.into_iter().flat_map(Kind::fields);
    fields.any(|field| field.field_type == FieldType::Reference(kind))
}

/// What was last seen of an object, without what it named that is another one's now.
pub(crate) fn without_named(linked: &mut Linked, parked: Option<&Parked>) {
    let anew = parked.filter(|parked| parked.code == READ_AGAIN);
    if let (Some(parked), Some(Json::Object(wire))) = (anew, &mut linked.link.wire) {
        wire.retain(|field, _| !parked.fields.contains(field));
    }
}
