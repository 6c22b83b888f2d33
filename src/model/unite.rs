//! Two records that a person says are one, and two again.
//!
//! *Uniting* brings the values of the one that goes into the one that is kept, each as what its connection said when it said
//! so: blanks are filled, and where both have a value the policy of the field decides, as in any merge without a base.
//! *Parting* takes that back: what was said by an object of the one that went is its word again, and the other one has what
//! it had before, unless somebody else has changed it since.

use std::sync::Arc;

use jiff::Timestamp;

use crate::merge::{Change, Echoed, Merged, Policies, Policy, Reason, Theirs};
use crate::{Provenance, Record, Value, merge};

/// An object of a system: its connection and its id there.
pub type ObjectId = (String, String);

/// Brings the values of a record into the one that is kept. Its version grows by one if anything changes.
pub fn unite(keep: &mut Record, lose: &Record, policies: &Policies, now: Timestamp) -> Merged {
    let (version, updated_at) = (keep.version, keep.updated_at);
    let mut united = Merged::default();
    for (path, value) in lose.fields.iter() {
        let Some(said) = lose.provenance.get(path) else {
            continue;
        };
        // A blank takes nothing away from the one that is kept, but where that knows nothing it is one: an object of the one
        // that goes may still have what was there before.
        if value.is_blank() && keep.fields.get(path).is_none() {
            keep.fields.set(path, Value::Null);
            keep.provenance.insert(path, said.clone());
            continue;
        }
        let fields = [(path, value.clone())].into_iter().collect();
        let theirs = Theirs {
            connection: &said.connection,
            external_id: &said.external_id,
            fields: &fields,
            base: None,
            echoed: &Echoed::default(),
            changed_at: said.changed_at,
            observed_at: said.observed_at,
        };
        let merged = match owned_by_both(keep, path, said, policies) {
            true => merge(keep, &theirs, &Policies([(path, Policy::MostRecent)].into())),
            false => merge(keep, &theirs, policies),
        };
        united.changes.extend(merged.changes);
        united.conflicts.extend(merged.conflicts);
    }
    (keep.version, keep.updated_at) = match united.changes.is_empty() {
        true => (version, updated_at),
        false => (version + 1, now),
    };
    united
}

/// Whether both values are the owner's word: then owning decides nothing.
fn owned_by_both(keep: &Record, path: &str, said: &Provenance, policies: &Policies) -> bool {
    let Some(Policy::Owner { connection, .. }) = policies.0.get(path) else {
        return false;
    };
    let ours = keep.provenance.get(path);
    said.connection == *connection && ours.is_some_and(|ours| ours.connection == *connection)
}

/// Takes back what others have said in a record, by path and who said it: it has what it had in `before`. What was not known
/// then is blank, said by `by`. The version stays.
pub fn take_back(
    record: &mut Record,
    before: &Record,
    is_theirs: impl Fn(&str, &Provenance) -> bool,
    by: &Arc<Provenance>,
) -> Vec<Change> {
    let mut changes = Vec::new();
    for (path, value) in record.fields.clone().iter() {
        let Some(said) = record.provenance.get(path).filter(|said| is_theirs(path, said)) else {
            continue;
        };
        if before.provenance.get(path) == Some(said) {
            continue;
        }
        let (after, said) = match (before.fields.get(path), before.provenance.get(path)) {
            (Some(value), Some(said)) => (value.clone(), said.clone()),
            _ => (Value::Null, by.clone()),
        };
        set(record, path, after, said, value, &mut changes);
    }
    changes
}

/// Gives a record that was united with another one what its own objects have said since, in the other one. What it did not
/// know is blank, said by `by`: its objects have it from the other one. The version stays.
pub fn give_back(
    record: &mut Record,
    united: &Record,
    from: &[ObjectId],
    by: &Arc<Provenance>,
) -> Vec<Change> {
    let mut changes = Vec::new();
    for (path, value) in united.fields.iter() {
        let Some(said) = united.provenance.get(path).filter(|said| is_of(said, from)) else {
            if record.fields.get(path).is_none() {
                record.fields.set(path, Value::Null);
                record.provenance.insert(path, by.clone());
            }
            continue;
        };
        if record.provenance.get(path) == Some(said) {
            continue;
        }
        let ours = record.fields.get(path).cloned().unwrap_or(Value::Null);
        set(record, path, value.clone(), said.clone(), &ours, &mut changes);
    }
    changes
}

/// Lets a record refer to another one instead of one. The provenance stays: it is the same word, better understood. The
/// version stays.
pub fn refer(
    record: &mut Record,
    paths: &[&'static str],
    to: crate::RecordId,
    reason: Reason,
) -> Vec<Change> {
    let mut changes = Vec::new();
    for path in paths {
        let before = record.fields.get(path).cloned();
        let after = Value::Reference(to);
        record.fields.set(path, after.clone());
        changes.push(Change {
            path,
            before,
            after,
            reason,
        });
    }
    changes
}

/// Whether one of these objects has said it.
pub fn is_of(said: &Provenance, from: &[ObjectId]) -> bool {
    let mut from = from.iter();
    from.any(|(connection, id)| *connection == said.connection && *id == said.external_id)
}

fn set(
    record: &mut Record,
    path: &'static str,
    after: Value,
    said: Arc<Provenance>,
    before: &Value,
    changes: &mut Vec<Change>,
) {
    record.provenance.insert(path, said);
    // A blank is a word, too, where nothing was known.
    record.fields.set(path, after.clone());
    if after == *before {
        return;
    }
    changes.push(Change {
        path,
        before: Some(before.clone()),
        after,
        reason: Reason::Undone,
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Fields, Kind, RecordId, uuid_from};
    use proptest::prelude::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn said(connection: &str, id: &str, second: i64) -> Arc<Provenance> {
        Arc::new(Provenance {
            connection: connection.into(),
            external_id: id.into(),
            changed_at: at(second),
            observed_at: at(second),
        })
    }

    type Said<'a> = (&'static str, &'a str, &'a str, &'a str, i64);

    /// A partner of values: path, text (blank when empty), connection, id there, second.
    fn partner(number: u8, values: &[Said<'_>]) -> Record {
        let mut record = Record::empty(
            RecordId::new(Kind::Partner, uuid_from(at(0), [number; 10])),
            at(0),
        );
        record.version = 3;
        for (path, text, connection, id, second) in values {
            let value = if text.is_empty() {
                Value::Null
            } else {
                Value::text(*text)
            };
            record.fields.set(path, value);
            record.provenance.insert(path, said(connection, id, *second));
        }
        record
    }

    fn ids(ids: &[(&str, &str)]) -> Vec<ObjectId> {
        let owned = ids
            .iter()
            .map(|(connection, id)| ((*connection).to_owned(), (*id).to_owned()));
        owned.collect()
    }

    #[test]
    fn blanks_are_filled_and_the_later_word_stands() {
        let mut keep = partner(
            1,
            &[
                ("display_name", "Acme", "crm", "1", 10),
                ("domain", "", "crm", "1", 10),
                ("description", "old", "crm", "1", 10),
                ("phone", "+491", "crm", "1", 10),
            ],
        );
        let lose = partner(
            2,
            &[
                ("display_name", "ACME Inc", "erp", "7", 5),
                ("domain", "acme.com", "erp", "7", 5),
                ("description", "new", "erp", "7", 20),
                ("phone", "", "erp", "7", 20),
                ("industry", "", "erp", "7", 20),
            ],
        );
        let merged = unite(&mut keep, &lose, &Policies::default(), at(100));
        assert_eq!(keep.fields.text("display_name"), Some("Acme"));
        assert_eq!(keep.fields.text("domain"), Some("acme.com"));
        assert_eq!(keep.fields.text("description"), Some("new"));
        assert_eq!(
            keep.fields.text("phone"),
            Some("+491"),
            "a blank takes nothing away"
        );
        assert_eq!(
            keep.fields.get("industry"),
            Some(&Value::Null),
            "blank, so that it is taken away where it is still told"
        );
        assert_eq!((keep.version, keep.updated_at), (4, at(100)));
        assert_eq!(keep.provenance["domain"], said("erp", "7", 5));
        let told: Vec<_> = merged.conflicts.iter().map(|conflict| conflict.path).collect();
        assert_eq!(told, ["description", "display_name"]);
    }

    #[test]
    fn an_owner_decides_unless_it_said_both() {
        let owner = Policy::Owner {
            connection: "erp".into(),
            unless_blank: false,
        };
        let policies = Policies([("display_name", owner)].into());
        for (connection, second, stands) in [("crm", 30, "theirs"), ("erp", 30, "ours"), ("erp", 1, "theirs")]
        {
            let mut keep = partner(1, &[("display_name", "ours", connection, "1", second)]);
            let lose = partner(2, &[("display_name", "theirs", "erp", "7", 5)]);
            unite(&mut keep, &lose, &policies, at(100));
            assert_eq!(
                keep.fields.text("display_name"),
                Some(stands),
                "{connection} {second}"
            );
        }
    }

    #[test]
    fn what_was_said_since_goes_to_whose_object_said_it() {
        let before = partner(1, &[("display_name", "Acme", "crm", "1", 10)]);
        let mut lose = partner(
            2,
            &[
                ("domain", "acme.com", "erp", "7", 5),
                ("description", "d", "erp", "7", 5),
            ],
        );
        let mut keep = before.clone();
        unite(&mut keep, &lose, &Policies::default(), at(100));
        // Since then each object said something, and somebody else, too.
        keep.fields.set("description", Value::text("later"));
        keep.provenance.insert("description", said("erp", "7", 200));
        keep.fields.set("phone", Value::text("+491"));
        keep.provenance.insert("phone", said("crm", "1", 200));
        let objects = ids(&[("erp", "7")]);
        let by = said("interconnect", "act", 300);
        let given = give_back(&mut lose, &keep, &objects, &by);
        let taken = take_back(&mut keep, &before, |_, said| is_of(said, &objects), &by);
        assert_eq!(lose.fields.text("description"), Some("later"));
        assert_eq!(lose.fields.text("domain"), Some("acme.com"));
        assert_eq!(
            lose.fields.get("phone"),
            Some(&Value::Null),
            "blank, so that it is taken away where it was told"
        );
        assert_eq!(
            given.iter().map(|change| change.path).collect::<Vec<_>>(),
            ["description"]
        );
        assert_eq!(keep.fields.text("phone"), Some("+491"), "not theirs");
        assert_eq!(
            keep.fields.get("domain"),
            Some(&Value::Null),
            "blank, so that it is taken away elsewhere"
        );
        assert_eq!(keep.provenance["domain"], by);
        assert_eq!(taken.len(), 2);
    }

    fn fields(seed: &[(u8, u8)], connection: &'static str) -> Record {
        let paths = ["display_name", "domain", "description"];
        let mut record = partner(if connection == "a" { 1 } else { 2 }, &[]);
        for (path, (text, second)) in paths.iter().zip(seed) {
            let value = if *text == 0 {
                Value::Null
            } else {
                Value::text(text.to_string())
            };
            record.fields.set(path, value);
            record
                .provenance
                .insert(path, said(connection, "1", i64::from(*second)));
        }
        record
    }

    proptest! {
        #[test]
        fn nothing_is_invented_and_all_of_it_can_be_taken_back(
            a in proptest::collection::vec((0u8..4, 0u8..9), 0..4),
            b in proptest::collection::vec((0u8..4, 0u8..9), 0..4),
        ) {
            let (before, lose) = (fields(&a, "a"), fields(&b, "b"));
            let mut keep = before.clone();
            unite(&mut keep, &lose, &Policies::default(), at(100));
            for (path, value) in keep.fields.iter() {
                prop_assert!(before.fields.get(path) == Some(value) || lose.fields.get(path) == Some(value));
            }
            // Said once more, it changes nothing.
            let once = keep.clone();
            prop_assert!(unite(&mut keep, &lose, &Policies::default(), at(100)).changes.is_empty());
            prop_assert_eq!(&keep, &once);
            let objects = ids(&[("b", "1")]);
            let by = said("interconnect", "act", 300);
            take_back(&mut keep, &before, |_, said| is_of(said, &objects), &by);
            let filled = |record: &Record| -> Fields {
                let filled = record.fields.iter().filter(|(_, value)| !value.is_blank());
                filled.map(|(path, value)| (path, value.clone())).collect()
            };
            prop_assert_eq!(filled(&keep), filled(&before));
        }
    }
}
