//! The three-way merge: what we know, what a connection says, and what both last agreed on (the base).
//!
//! A value that equals the base is no change, whoever wrote it: that is how our own writes end, instead of coming
//! back as changes. Only where both sides left the base does a [`Policy`] decide, and every such decision is told
//! as a [`Conflict`].
//!
//! Promised: the same inputs give the same result; merging the same again changes nothing; without a base a blank
//! never overwrites a value.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::{Fields, Provenance, Record, Value};

/// Who wins when both sides changed a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Policy {
    /// The later change, by the systems' own times; of two at the same moment the connection that sorts first.
    MostRecent,
    /// One connection's word is final; what others write is replaced by it.
    Owner {
        /// The connection that owns the field.
        connection: String,
        /// Whether others may fill the field while it is blank.
        unless_blank: bool,
    },
    /// Sets: what either side added is in, what either side removed is out. Other values: the later change.
    MergeSet,
    /// A person decides; until then ours stays.
    Manual,
}

/// Policies by field path; a path that is not named has [`Policy::MergeSet`], which is the later change for
/// everything but sets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policies(pub BTreeMap<&'static str, Policy>);

impl Policies {
    fn of(&self, path: &str) -> &Policy {
        self.0.get(path).unwrap_or(&Policy::MergeSet)
    }
}

/// What a connection says about a record.
#[derive(Clone, Copy, Debug)]
pub struct Theirs<'a> {
    /// The connection.
    pub connection: &'a str,
    /// The object's id there.
    pub external_id: &'a str,
    /// The mapped values of the object.
    pub fields: &'a Fields,
    /// What that connection and we last agreed on; nothing when the two meet for the first time.
    pub base: Option<&'a Fields>,
    /// Fields whose value there is one that we wrote, or may have written, without hearing that it arrived: they said
    /// nothing.
    pub echoed: &'a BTreeSet<&'static str>,
    /// When the object changed there.
    pub changed_at: Timestamp,
    /// When we saw it.
    pub observed_at: Timestamp,
}

/// Why a value was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Only they changed it, or we did not know it yet.
    Theirs,
    /// Both changed it and theirs is later.
    MostRecent,
    /// Their connection owns the field.
    Owner,
    /// Both changed a set; this is the union of the changes.
    Merged,
}

impl Reason {
    /// The reason as one word, for history rows.
    pub fn word(self) -> &'static str {
        match self {
            Reason::Theirs => "theirs",
            Reason::MostRecent => "most_recent",
            Reason::Owner => "owner",
            Reason::Merged => "merged",
        }
    }
}

/// One field that takes a new value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The field.
    pub path: &'static str,
    /// What it was; nothing when it was not known.
    pub before: Option<Value>,
    /// What it becomes.
    pub after: Value,
    /// Why.
    pub reason: Reason,
}

/// One field on which both sides differ from what they last agreed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The field.
    pub path: &'static str,
    /// What both last agreed on.
    pub base: Option<Value>,
    /// What we have.
    pub ours: Value,
    /// What they have.
    pub theirs: Value,
    /// What was kept, or stays until a person decides.
    pub kept: Value,
    /// Whether a person must decide.
    pub open: bool,
}

/// What a merge comes to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Merged {
    /// Fields that change in the record.
    pub changes: Vec<Change>,
    /// Fields that both sides changed.
    pub conflicts: Vec<Conflict>,
}

/// Merges what a connection says into a record: the record itself is changed and its version counted up by one
/// if anything changes. See the module for the rules.
pub fn merge(record: &mut Record, theirs: &Theirs<'_>, policies: &Policies) -> Merged {
    let mut merged = Merged::default();
    for (path, value) in theirs.fields.iter() {
        let ours = record.fields.get(path);
        if ours == Some(value) {
            continue;
        }
        let base = theirs.base.and_then(|base| base.get(path));
        if base == Some(value) {
            continue; // They did not change it: ours goes to them with the next push.
        }
        if theirs.echoed.contains(path) {
            continue; // Nor did they here: it is what we wrote, and heard nothing of.
        }
        let verdict = decide(
            policies.of(path),
            base,
            ours,
            value,
            theirs,
            record.provenance.get(path),
        );
        if let Some(conflict) = verdict.conflict(path, base, ours, value) {
            merged.conflicts.push(conflict);
        }
        if let Verdict::Take(after, reason, _) = verdict
            && ours != Some(&after)
        {
            merged.changes.push(Change {
                path,
                before: ours.cloned(),
                after,
                reason,
            });
        }
    }
    apply(record, &merged.changes, theirs);
    merged
}

fn apply(record: &mut Record, changes: &[Change], theirs: &Theirs<'_>) {
    for change in changes {
        record.fields.set(change.path, change.after.clone());
        record.provenance.insert(
            change.path,
            Provenance {
                connection: theirs.connection.to_owned(),
                external_id: theirs.external_id.to_owned(),
                changed_at: theirs.changed_at,
                observed_at: theirs.observed_at,
            },
        );
    }
    if !changes.is_empty() {
        record.version += 1;
        record.updated_at = theirs.observed_at;
    }
}

enum Verdict {
    /// Take this value; the flag says that both sides had changed.
    Take(Value, Reason, bool),
    /// Keep ours; the flags say that both sides had changed, and that a person must decide.
    Keep { both: bool, open: bool },
}

impl Verdict {
    fn conflict(
        &self,
        path: &'static str,
        base: Option<&Value>,
        ours: Option<&Value>,
        theirs: &Value,
    ) -> Option<Conflict> {
        let ours = ours.cloned().unwrap_or(Value::Null);
        let (kept, open) = match self {
            Verdict::Take(value, _, true) => (value.clone(), false),
            Verdict::Keep { both: true, open } => (ours.clone(), *open),
            _ => return None,
        };
        Some(Conflict {
            path,
            base: base.cloned(),
            ours,
            theirs: theirs.clone(),
            kept,
            open,
        })
    }
}

fn decide(
    policy: &Policy,
    base: Option<&Value>,
    ours: Option<&Value>,
    value: &Value,
    theirs: &Theirs<'_>,
    said: Option<&Provenance>,
) -> Verdict {
    let Some(ours) = ours else {
        return Verdict::Take(value.clone(), Reason::Theirs, false);
    };
    if let Policy::Owner {
        connection,
        unless_blank,
    } = policy
    {
        return if connection == theirs.connection {
            Verdict::Take(value.clone(), Reason::Owner, false)
        } else if *unless_blank && ours.is_blank() {
            Verdict::Take(value.clone(), Reason::Theirs, false)
        } else {
            Verdict::Keep {
                both: true,
                open: false,
            }
        };
    }
    if base == Some(ours) {
        return Verdict::Take(value.clone(), Reason::Theirs, false);
    }
    if base.is_none() && value.is_blank() {
        return Verdict::Keep {
            both: false,
            open: false,
        };
    }
    if base.is_none() && ours.is_blank() {
        return Verdict::Take(value.clone(), Reason::Theirs, false);
    }
    match (policy, ours, value) {
        (Policy::Manual, _, _) => Verdict::Keep {
            both: true,
            open: true,
        },
        (Policy::MergeSet, Value::Set(o), Value::Set(t)) => {
            let empty = std::collections::BTreeSet::new();
            let b = if let Some(Value::Set(b)) = base { b } else { &empty };
            let kept = o.iter().filter(|item| t.contains(*item) || !b.contains(*item));
            let added = t.iter().filter(|item| !b.contains(*item));
            Verdict::Take(
                Value::Set(kept.chain(added).cloned().collect()),
                Reason::Merged,
                true,
            )
        }
        _ if later(theirs, said) => Verdict::Take(value.clone(), Reason::MostRecent, true),
        _ => Verdict::Keep {
            both: true,
            open: false,
        },
    }
}

fn later(theirs: &Theirs<'_>, said: Option<&Provenance>) -> bool {
    said.is_none_or(|said| {
        (theirs.changed_at, said.connection.as_str()) > (said.changed_at, theirs.connection)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Kind, RecordId};
    use proptest::prelude::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn fields(values: &[(&'static str, Value)]) -> Fields {
        values.iter().cloned().collect()
    }

    fn record(values: &[(&'static str, Value)], said_by: &str, changed: i64) -> Record {
        let id = RecordId::new(Kind::Deal, crate::uuid_from(at(0), [1; 10]));
        let mut record = Record::empty(id, at(0));
        let said = fields(values);
        let theirs = Theirs {
            connection: said_by,
            external_id: "x",
            fields: &said,
            base: None,
            echoed: &BTreeSet::new(),
            changed_at: at(changed),
            observed_at: at(changed),
        };
        merge(&mut record, &theirs, &Policies::default());
        record
    }

    fn say<'a>(fields: &'a Fields, base: Option<&'a Fields>, changed: i64) -> Theirs<'a> {
        Theirs {
            connection: "crm",
            external_id: "006",
            fields,
            base,
            echoed: &NOTHING,
            changed_at: at(changed),
            observed_at: at(100),
        }
    }

    static NOTHING: BTreeSet<&'static str> = BTreeSet::new();

    fn text(text: &str) -> Value {
        Value::text(text)
    }

    #[test]
    fn what_we_wrote_before_is_not_their_word() {
        let before = record(&[("name", text("new"))], "erp", 20);
        let agreed = fields(&[("name", text("old"))]);
        let said = fields(&[("name", text("ours of before"))]);
        let heard = |echoed: &BTreeSet<&'static str>| {
            let mut record = before.clone();
            let theirs = Theirs {
                echoed,
                ..say(&said, Some(&agreed), 30)
            };
            let merged = merge(&mut record, &theirs, &Policies::default());
            (
                record.fields.text("name").map(str::to_owned),
                merged.conflicts.len(),
            )
        };
        assert_eq!(heard(&BTreeSet::from(["name"])), (Some("new".to_owned()), 0));
        assert_eq!(heard(&NOTHING), (Some("ours of before".to_owned()), 1));
    }

    #[test]
    fn an_echo_is_no_change() {
        let mut known = record(&[("name", text("A"))], "erp", 1);
        known.fields.set("name", text("B"));
        let base = fields(&[("name", text("B"))]);
        let before = known.clone();
        assert_eq!(
            merge(&mut known, &say(&base, Some(&base), 50), &Policies::default()),
            Merged::default()
        );
        assert_eq!(known, before);
    }

    #[test]
    fn a_stale_side_does_not_undo_ours() {
        let mut known = record(&[("name", text("new"))], "erp", 10);
        let base = fields(&[("name", text("old"))]);
        assert_eq!(
            merge(&mut known, &say(&base, Some(&base), 50), &Policies::default()),
            Merged::default()
        );
        assert_eq!(known.fields.text("name"), Some("new"));
    }

    #[test]
    fn the_later_of_two_changes_wins_and_the_conflict_is_told() {
        for (changed, wins) in [(5, "ours"), (15, "theirs")] {
            let mut known = record(&[("name", text("ours"))], "erp", 10);
            let (base, said) = (
                fields(&[("name", text("old"))]),
                fields(&[("name", text("theirs"))]),
            );
            let merged = merge(
                &mut known,
                &say(&said, Some(&base), changed),
                &Policies::default(),
            );
            assert_eq!(known.fields.text("name"), Some(wins));
            assert_eq!(merged.conflicts.len(), 1);
            assert_eq!(
                (&merged.conflicts[0].kept, merged.conflicts[0].open),
                (&text(wins), false)
            );
        }
    }

    #[test]
    fn an_owner_has_the_last_word() {
        let owner = |unless_blank| {
            Policies(
                [(
                    "name",
                    Policy::Owner {
                        connection: "erp".into(),
                        unless_blank,
                    },
                )]
                .into(),
            )
        };
        let (base, said) = (
            fields(&[("name", text("ours"))]),
            fields(&[("name", text("theirs"))]),
        );
        let mut known = record(&[("name", text("ours"))], "erp", 1);
        assert_eq!(
            merge(&mut known, &say(&said, Some(&base), 50), &owner(false))
                .conflicts
                .len(),
            1
        );
        assert_eq!(known.fields.text("name"), Some("ours"));
        let mut blank = record(&[("name", Value::Null)], "erp", 1);
        merge(&mut blank, &say(&said, None, 50), &owner(true));
        assert_eq!(blank.fields.text("name"), Some("theirs"));
    }

    #[test]
    fn a_manual_field_waits_for_a_person() {
        let manual = Policies([("name", Policy::Manual)].into());
        let mut known = record(&[("name", text("ours"))], "erp", 1);
        let (base, said) = (
            fields(&[("name", text("old"))]),
            fields(&[("name", text("theirs"))]),
        );
        let merged = merge(&mut known, &say(&said, Some(&base), 50), &manual);
        assert!(merged.conflicts[0].open && merged.changes.is_empty());
    }

    #[test]
    fn sets_take_both_sides_additions_and_removals() {
        let set = |items: &str| Value::Set(items.chars().map(String::from).collect());
        let mut known = record(&[("product_lines", set("abx"))], "erp", 10);
        let (base, said) = (
            fields(&[("product_lines", set("abc"))]),
            fields(&[("product_lines", set("acy"))]),
        );
        merge(&mut known, &say(&said, Some(&base), 5), &Policies::default());
        assert_eq!(known.fields.get("product_lines"), Some(&set("axy")));
    }

    #[test]
    fn a_blank_clears_only_what_was_agreed() {
        let blank = fields(&[("name", Value::Null)]);
        let mut known = record(&[("name", text("A"))], "erp", 1);
        merge(&mut known, &say(&blank, None, 50), &Policies::default());
        assert_eq!(known.fields.text("name"), Some("A"), "first meeting");
        let base = fields(&[("name", text("A"))]);
        merge(&mut known, &say(&blank, Some(&base), 50), &Policies::default());
        assert_eq!(known.fields.get("name"), Some(&Value::Null), "cleared there");
    }

    fn any_value() -> impl Strategy<Value = Value> {
        prop_oneof![
            Just(Value::Null),
            "[ab]".prop_map(Value::text),
            Just(Value::Set(["a".into()].into()))
        ]
    }

    fn any_policy() -> impl Strategy<Value = Policy> {
        prop_oneof![
            Just(Policy::MostRecent),
            Just(Policy::MergeSet),
            Just(Policy::Manual),
            any::<bool>().prop_map(|unless_blank| Policy::Owner {
                connection: "crm".into(),
                unless_blank
            }),
            any::<bool>().prop_map(|unless_blank| Policy::Owner {
                connection: "erp".into(),
                unless_blank
            }),
        ]
    }

    proptest! {
        #[test]
        fn merging_again_changes_nothing(
            ours in any_value(), theirs in any_value(), base in proptest::option::of(any_value()),
            policy in any_policy(), changed in 0i64..20,
        ) {
            let mut known = record(&[("name", ours)], "erp", 10);
            let said = fields(&[("name", theirs)]);
            let base = base.map(|value| fields(&[("name", value)]));
            let policies = Policies([("name", policy)].into());
            merge(&mut known, &say(&said, base.as_ref(), changed), &policies);
            // What was said is the new base, and saying it once more is no news.
            let once = known.clone();
            prop_assert!(merge(&mut known, &say(&said, Some(&said), changed), &policies).changes.is_empty());
            prop_assert_eq!(known, once);
        }

        #[test]
        fn the_order_in_which_two_systems_are_heard_does_not_matter(
            a in "[ab]", b in "[cd]", at_a in 11i64..20, at_b in 11i64..20,
        ) {
            let agreed = fields(&[("name", text("old"))]);
            let say_as = |connection, said, changed| Theirs {
                connection, external_id: "1", fields: said, base: Some(&agreed), echoed: &NOTHING, changed_at: at(changed), observed_at: at(100),
            };
            let (said_a, said_b) = (fields(&[("name", text(&a))]), fields(&[("name", text(&b))]));
            let mut first = record(&[("name", text("old"))], "old", 1);
            let mut second = first.clone();
            merge(&mut first, &say_as("a", &said_a, at_a), &Policies::default());
            merge(&mut first, &say_as("b", &said_b, at_b), &Policies::default());
            merge(&mut second, &say_as("b", &said_b, at_b), &Policies::default());
            merge(&mut second, &say_as("a", &said_a, at_a), &Policies::default());
            prop_assert_eq!(first.fields, second.fields);
        }
    }
}
