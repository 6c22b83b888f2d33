//! The three-way merge: what we know, what a connection says, and what both last agreed on (the base).
//!
//! A value that equals the base is no change, whoever wrote it: that is how our own writes end, instead of coming
//! back as changes. Only where both sides left the base does a [`Policy`] decide, and every such decision is told
//! as a [`Conflict`]: with both values, the base, the [`Rule`] that decided and who won.
//!
//! Promised: the same inputs give the same result; merging the same again changes nothing; two systems told in either
//! order come to the same values, unless a person is to decide; without a base a blank never overwrites a value, and where
//! nothing is known it is no news, unless the field is theirs to say; no value is invented: what comes out is the base,
//! ours, theirs, or a set of their members.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

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
    /// The larger of the two: numbers, days, moments, and amounts of one currency; a blank is smaller than anything. What
    /// has no order is the later change.
    Max,
    /// The smaller of the two, as [`Policy::Max`] orders them; here, too, a value wins over a blank.
    Min,
    /// A person decides; until then ours stays.
    Manual,
}

/// What decided between two values: the policy that applied. A policy that cannot tell two values apart (the union of what
/// is no set, the larger of two currencies) leaves it to [`Rule::MostRecent`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// [`Policy::MostRecent`].
    MostRecent,
    /// [`Policy::Owner`].
    Owner,
    /// [`Policy::MergeSet`].
    MergeSet,
    /// [`Policy::Max`].
    Max,
    /// [`Policy::Min`].
    Min,
    /// [`Policy::Manual`].
    Manual,
}

impl Rule {
    /// The rule as one word: how its policy is spelled in the configuration.
    pub fn word(self) -> &'static str {
        match self {
            Rule::MostRecent => "most_recent",
            Rule::Owner => "owner",
            Rule::MergeSet => "merge_set",
            Rule::Max => "max",
            Rule::Min => "min",
            Rule::Manual => "manual",
        }
    }
}

/// Whose value was kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Winner {
    /// Ours.
    Ours,
    /// Theirs.
    Theirs,
    /// A set of both, or both are the same.
    Both,
    /// Another value, which a person gave.
    Neither,
    /// Nobody yet: a person decides.
    Nobody,
}

impl Winner {
    /// The winner as one word, for rows.
    pub fn word(self) -> &'static str {
        match self {
            Winner::Ours => "ours",
            Winner::Theirs => "theirs",
            Winner::Both => "both",
            Winner::Neither => "neither",
            Winner::Nobody => "nobody",
        }
    }
}

impl Policy {
    fn is_owned_by(&self, connection: &str) -> bool {
        matches!(self, Policy::Owner { connection: owner, .. } if owner == connection)
    }
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

/// What we wrote, or may have written, without hearing that it arrived: it is not what they say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Echoed {
    /// Fields whose whole value there is one that we wrote.
    pub fields: BTreeSet<&'static str>,
    /// Of fields that are sets, the members that we wrote.
    pub members: BTreeMap<&'static str, BTreeSet<String>>,
}

impl Echoed {
    /// A value that they say, without the members of a set that were only ours: what we took out since is not added by
    /// them. Nothing when there are none.
    fn left(&self, path: &str, said: &Value, base: Option<&Value>, ours: Option<&Value>) -> Option<Value> {
        let (wrote, Value::Set(said)) = (self.members.get(path)?, said) else {
            return None;
        };
        let holds = |value: Option<&Value>, item: &String| matches!(value, Some(Value::Set(items)) if items.contains(item));
        let is_ours = |item: &String| wrote.contains(item) && !holds(base, item) && !holds(ours, item);
        if !said.iter().any(is_ours) {
            return None;
        }
        let left = said.iter().filter(|item| !is_ours(item)).cloned().collect();
        Some(of_members(left))
    }
}

/// A set as a value: one without members is blank.
fn of_members(items: BTreeSet<String>) -> Value {
    match items.is_empty() {
        true => Value::Null,
        false => Value::Set(items),
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
    /// What we wrote there, or may have written, without hearing that it arrived.
    pub echoed: &'a Echoed,
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
    /// Both changed it and theirs is larger.
    Max,
    /// Both changed it and theirs is smaller.
    Min,
    /// A person decided a conflict.
    ByHand,
    /// A person made two records one: what referred to one refers to the other.
    Moved,
    /// A person took something back.
    Undone,
}

impl Reason {
    /// The reason as one word, for history rows.
    pub fn word(self) -> &'static str {
        match self {
            Reason::Theirs => "theirs",
            Reason::MostRecent => "most_recent",
            Reason::Owner => "owner",
            Reason::Merged => "merged",
            Reason::Max => "max",
            Reason::Min => "min",
            Reason::ByHand => "by_hand",
            Reason::Moved => "moved",
            Reason::Undone => "undone",
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
    /// The connection that said ours, or [`crate::BY_HAND`]; nothing while nobody is known.
    pub ours_by: Option<String>,
    /// What they have.
    pub theirs: Value,
    /// What was kept, or stays until a person decides.
    pub kept: Value,
    /// What decided, or hands it to a person.
    pub rule: Rule,
    /// Whose value was kept; [`Winner::Nobody`] while a person must decide.
    pub winner: Winner,
}

impl Conflict {
    /// Whether a person must decide.
    pub fn is_open(&self) -> bool {
        self.winner == Winner::Nobody
    }
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
        if theirs.echoed.fields.contains(path) {
            continue; // Nor did they here: it is what we wrote, and heard nothing of.
        }
        let left = theirs.echoed.left(path, value, base, ours);
        let value = left.as_ref().unwrap_or(value);
        if left.is_some() && [base, ours].contains(&Some(value)) {
            continue; // Nor here, as far as it is not what we wrote.
        }
        let policy = policies.of(path);
        if ours.is_none() && value.is_blank() && !policy.is_owned_by(theirs.connection) {
            continue; // Nothing is known, and they know nothing; only an owner's blank is a word.
        }
        let verdict = decide(
            policy,
            base,
            ours,
            value,
            theirs,
            record.provenance.get(path).map(Arc::as_ref),
        );
        if let Some(mut conflict) = verdict.conflict(path, base, ours, value) {
            let said = record.provenance.get(path);
            conflict.ours_by = said.map(|said| said.connection.clone());
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
    if changes.is_empty() {
        return;
    }
    let said = Arc::new(Provenance {
        connection: theirs.connection.to_owned(),
        external_id: theirs.external_id.to_owned(),
        changed_at: theirs.changed_at,
        observed_at: theirs.observed_at,
    });
    for change in changes {
        record.fields.set(change.path, change.after.clone());
        record.provenance.insert(change.path, said.clone());
    }
    record.version += 1;
    record.updated_at = theirs.observed_at;
}

/// What becomes of one field; with the rule that decided where both sides had changed it.
enum Verdict {
    /// Take this value.
    Take(Value, Reason, Option<Rule>),
    /// Keep ours.
    Keep(Option<Rule>),
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
        let (kept, rule) = match self {
            Verdict::Take(value, _, rule) => (value, (*rule)?),
            Verdict::Keep(rule) => (&ours, (*rule)?),
        };
        let winner = match rule {
            Rule::Manual => Winner::Nobody,
            _ if *kept == ours => Winner::Ours,
            _ if kept == theirs => Winner::Theirs,
            _ => Winner::Both,
        };
        Some(Conflict {
            path,
            base: base.cloned(),
            kept: kept.clone(),
            ours,
            ours_by: None,
            theirs: theirs.clone(),
            rule,
            winner,
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
        return Verdict::Take(value.clone(), Reason::Theirs, None);
    };
    let we_changed = match base {
        Some(base) => base != ours,
        None => !ours.is_blank(),
    };
    if let Policy::Owner {
        connection,
        unless_blank,
    } = policy
    {
        return if connection == theirs.connection {
            Verdict::Take(value.clone(), Reason::Owner, we_changed.then_some(Rule::Owner))
        } else if *unless_blank && ours.is_blank() {
            Verdict::Take(value.clone(), Reason::Theirs, None)
        } else {
            Verdict::Keep(Some(Rule::Owner))
        };
    }
    if base == Some(ours) {
        return Verdict::Take(value.clone(), Reason::Theirs, None);
    }
    if base.is_none() && value.is_blank() {
        return Verdict::Keep(None);
    }
    if base.is_none() && ours.is_blank() {
        return Verdict::Take(value.clone(), Reason::Theirs, None);
    }
    let extreme = |wanted, reason, rule| {
        let order = order(value, ours, wanted)?;
        Some(match order == wanted {
            true => Verdict::Take(value.clone(), reason, Some(rule)),
            false => Verdict::Keep(Some(rule)),
        })
    };
    let decided = match (policy, ours, value) {
        (Policy::Manual, ..) => Some(Verdict::Keep(Some(Rule::Manual))),
        (Policy::MergeSet, ours, theirs) => merge_sets(base, ours, theirs)
            .map(|union| Verdict::Take(union, Reason::Merged, Some(Rule::MergeSet))),
        (Policy::Max, ..) => extreme(Ordering::Greater, Reason::Max, Rule::Max),
        (Policy::Min, ..) => extreme(Ordering::Less, Reason::Min, Rule::Min),
        _ => None,
    };
    decided.unwrap_or_else(|| match later(theirs, said) {
        true => Verdict::Take(value.clone(), Reason::MostRecent, Some(Rule::MostRecent)),
        false => Verdict::Keep(Some(Rule::MostRecent)),
    })
}

/// How two values of a field stand to each other; nothing where they have no order. Whatever is wanted, a blank is not it.
fn order(one: &Value, other: &Value, wanted: Ordering) -> Option<Ordering> {
    match (one, other) {
        (Value::Integer(one), Value::Integer(other)) => Some(one.cmp(other)),
        (Value::Decimal(one), Value::Decimal(other)) => Some(one.cmp(other)),
        (Value::Date(one), Value::Date(other)) => Some(one.cmp(other)),
        (Value::Instant(one), Value::Instant(other)) => Some(one.cmp(other)),
        (Value::Money(one), Value::Money(other)) if one.currency == other.currency => {
            Some(one.amount.cmp(&other.amount))
        }
        (Value::Null, other) if !other.is_blank() => Some(wanted.reverse()),
        (one, Value::Null) if !one.is_blank() => Some(wanted),
        _ => None,
    }
}

/// What either side added is in, what either side removed is out; a blank has no members. Nothing where neither is a set.
fn merge_sets(base: Option<&Value>, ours: &Value, theirs: &Value) -> Option<Value> {
    let nothing = BTreeSet::new();
    let members = |value| match value {
        &Value::Null => Some(&nothing),
        Value::Set(items) => Some(items),
        _ => None,
    };
    if !matches!((ours, theirs), (Value::Set(_), _) | (_, Value::Set(_))) {
        return None;
    }
    let (ours, theirs) = (members(ours)?, members(theirs)?);
    let base = base.and_then(members).unwrap_or(&nothing);
    let kept = ours
        .iter()
        .filter(|item| theirs.contains(*item) || !base.contains(*item));
    let added = theirs.iter().filter(|item| !base.contains(*item));
    Some(of_members(kept.chain(added).cloned().collect()))
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
        let said = Arc::new(Provenance {
            connection: said_by.to_owned(),
            external_id: "x".to_owned(),
            changed_at: at(changed),
            observed_at: at(changed),
        });
        for (path, value) in values {
            record.fields.set(path, value.clone());
            record.provenance.insert(path, said.clone());
        }
        record.version = 1;
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

    static NOTHING: Echoed = Echoed {
        fields: BTreeSet::new(),
        members: BTreeMap::new(),
    };

    fn text(text: &str) -> Value {
        Value::text(text)
    }

    #[test]
    fn what_we_wrote_before_is_not_their_word() {
        let before = record(&[("name", text("new"))], "erp", 20);
        let agreed = fields(&[("name", text("old"))]);
        let said = fields(&[("name", text("ours of before"))]);
        let heard = |echoed: &Echoed| {
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
        let wrote = Echoed {
            fields: BTreeSet::from(["name"]),
            ..Echoed::default()
        };
        assert_eq!(heard(&wrote), (Some("new".to_owned()), 0));
        assert_eq!(heard(&NOTHING), (Some("ours of before".to_owned()), 1));
    }

    #[test]
    fn members_that_only_we_wrote_are_no_additions_of_theirs() {
        let set = |items: &str| Value::Set(items.chars().map(String::from).collect());
        let wrote = Echoed {
            members: [("product_lines", ["a", "b"].map(String::from).into())].into(),
            ..Echoed::default()
        };
        let agreed = fields(&[("product_lines", set("a"))]);
        for (ours, said, expected) in [
            // b was taken out here after it was written there, and they added c.
            (set("a"), set("abc"), set("ac")),
            (set("a"), set("ab"), set("a")),
            (set("ad"), set("abc"), set("acd")),
            // It is ours still.
            (set("ab"), set("abc"), set("abc")),
            // What they took out is out, and what may only not have arrived stays.
            (set("ab"), set("c"), set("bc")),
            (Value::Null, set("ab"), Value::Null),
        ] {
            let mut known = record(&[("product_lines", ours.clone())], "erp", 20);
            let said = fields(&[("product_lines", said)]);
            let theirs = Theirs {
                echoed: &wrote,
                ..say(&said, Some(&agreed), 30)
            };
            merge(&mut known, &theirs, &Policies::default());
            assert_eq!(
                known.fields.get("product_lines"),
                Some(&expected),
                "{ours:?}, {said:?}"
            );
        }
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
                (
                    &merged.conflicts[0].kept,
                    merged.conflicts[0].winner.word(),
                    merged.conflicts[0].rule
                ),
                (&text(wins), wins, Rule::MostRecent)
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
        assert!(merged.conflicts[0].is_open() && merged.changes.is_empty());
        assert_eq!(merged.conflicts[0].rule, Rule::Manual);
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
    fn a_set_that_one_side_cleared_keeps_what_the_other_one_added() {
        let set = |items: &str| Value::Set(items.chars().map(String::from).collect());
        for (base, ours, theirs, expected) in [
            (set("a"), set("ab"), Value::Null, set("b")),
            (set("a"), Value::Null, set("ab"), set("b")),
            (set("ab"), set("a"), Value::Null, Value::Null),
            (set("ab"), Value::Null, set("b"), Value::Null),
        ] {
            // Whoever changed it last.
            for at in [5, 50] {
                let mut known = record(&[("product_lines", ours.clone())], "erp", 10);
                let (base, said) = (
                    fields(&[("product_lines", base.clone())]),
                    fields(&[("product_lines", theirs.clone())]),
                );
                merge(&mut known, &say(&said, Some(&base), at), &Policies::default());
                assert_eq!(
                    known.fields.get("product_lines"),
                    Some(&expected),
                    "{ours:?} {theirs:?}"
                );
            }
        }
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

    #[test]
    fn a_blank_where_nothing_is_known_is_no_news_unless_its_owner_says_so() {
        let blank = fields(&[("name", Value::Null)]);
        let owned_by = |connection: &str| {
            let owner = Policy::Owner {
                connection: connection.into(),
                unless_blank: false,
            };
            Policies([("name", owner)].into())
        };
        for (policies, taken) in [
            (Policies::default(), false),
            (owned_by("erp"), false),
            (owned_by("crm"), true),
        ] {
            let mut known = record(&[], "erp", 1);
            let merged = merge(&mut known, &say(&blank, None, 50), &policies);
            assert_eq!(
                (merged.changes.len(), known.version),
                (usize::from(taken), 1 + u64::from(taken))
            );
            assert_eq!(known.fields.get("name").is_some(), taken);
        }
    }

    #[test]
    fn an_owners_change_over_ours_is_told() {
        let policies = Policies(
            [(
                "name",
                Policy::Owner {
                    connection: "crm".into(),
                    unless_blank: false,
                },
            )]
            .into(),
        );
        let said = fields(&[("name", text("theirs"))]);
        let told = |base: &str| {
            let (base, mut known) = (
                fields(&[("name", text(base))]),
                record(&[("name", text("ours"))], "erp", 90),
            );
            let merged = merge(&mut known, &say(&said, Some(&base), 50), &policies);
            assert_eq!(known.fields.text("name"), Some("theirs"));
            merged.conflicts.into_iter().next()
        };
        let both = told("old").unwrap();
        assert_eq!((both.rule, both.winner), (Rule::Owner, Winner::Theirs));
        assert_eq!(told("ours"), None, "only they changed it");
    }

    #[test]
    fn the_larger_or_the_smaller_of_what_has_an_order_wins() {
        let money = |amount, code| {
            let currency = crate::Currency::parse(code).unwrap();
            Value::Money(crate::Money::parse(amount, currency).unwrap())
        };
        let day = |day: i8| Value::Date(jiff::civil::date(2026, 11, day));
        let merged = |policy: &Policy, path, base: Value, ours: Value, theirs: Value| {
            let policies = Policies([(path, policy.clone())].into());
            // Ours is later, so that the time alone would keep it.
            let mut known = record(&[(path, ours)], "erp", 90);
            let (base, said) = (fields(&[(path, base)]), fields(&[(path, theirs)]));
            let conflict = merge(&mut known, &say(&said, Some(&base), 50), &policies)
                .conflicts
                .remove(0);
            assert_eq!(known.fields.get(path), Some(&conflict.kept));
            (conflict.rule.word(), conflict.winner.word())
        };
        let (max, min) = (&Policy::Max, &Policy::Min);
        let eur = |amount| money(amount, "EUR");
        for (policy, path, base, ours, theirs, expected) in [
            (max, "amount", eur("1"), eur("10"), eur("9.99"), ("max", "ours")),
            (max, "amount", eur("1"), eur("9.99"), eur("10"), ("max", "theirs")),
            (min, "amount", eur("1"), eur("9.99"), eur("10"), ("min", "ours")),
            (
                min,
                "expected_close_date",
                day(1),
                day(9),
                day(2),
                ("min", "theirs"),
            ),
            (max, "amount", eur("1"), eur("3"), Value::Null, ("max", "ours")),
            (min, "amount", eur("1"), Value::Null, eur("3"), ("min", "theirs")),
            // A dollar is neither more nor less than a euro.
            (
                max,
                "amount",
                eur("1"),
                eur("3"),
                money("4", "USD"),
                ("most_recent", "ours"),
            ),
        ] {
            let shown = format!("{policy:?} of {ours:?} and {theirs:?}");
            assert_eq!(merged(policy, path, base, ours, theirs), expected, "{shown}");
        }
    }

    /// Values of one field: all of one sort, or blank.
    fn any_values() -> impl Strategy<Value = [Value; 3]> {
        fn three(value: impl Strategy<Value = Value> + 'static) -> impl Strategy<Value = [Value; 3]> {
            let value = prop_oneof![1 => Just(Value::Null), 5 => value].boxed();
            [value.clone(), value.clone(), value]
        }
        let money = (0i64..4, prop_oneof![Just("EUR"), Just("USD")]).prop_map(|(cents, code)| {
            Value::Money(crate::Money {
                amount: rust_decimal::Decimal::new(cents, 2),
                currency: crate::Currency::parse(code).unwrap(),
            })
        });
        let set = proptest::collection::btree_set("[abcd]", 0..4).prop_map(Value::Set);
        prop_oneof![
            three("[abc]".prop_map(Value::text)),
            three((0i64..4).prop_map(Value::Integer)),
            three((1i8..5).prop_map(|day| Value::Date(jiff::civil::date(2026, 11, day)))),
            three(money),
            three(set),
        ]
    }

    fn any_policy() -> impl Strategy<Value = Policy> {
        let owner = |connection: &'static str| {
            any::<bool>().prop_map(move |unless_blank| Policy::Owner {
                connection: connection.into(),
                unless_blank,
            })
        };
        prop_oneof![
            any_common_policy(),
            Just(Policy::Manual),
            owner("crm"),
            owner("erp")
        ]
    }

    /// The policies under which it does not matter who was heard first.
    fn any_common_policy() -> impl Strategy<Value = Policy> {
        prop_oneof![
            Just(Policy::MostRecent),
            Just(Policy::MergeSet),
            Just(Policy::Max),
            Just(Policy::Min),
        ]
    }

    fn members(value: &Value) -> BTreeSet<String> {
        match value {
            Value::Set(items) => items.clone(),
            _ => BTreeSet::new(),
        }
    }

    proptest! {
        #[test]
        fn merging_again_changes_nothing(
            [ours, theirs, base] in any_values(), met in any::<bool>(), policy in any_policy(), changed in 0i64..20,
        ) {
            let mut known = record(&[("name", ours)], "erp", 10);
            let said = fields(&[("name", theirs)]);
            let base = met.then(|| fields(&[("name", base)]));
            let policies = Policies([("name", policy)].into());
            merge(&mut known, &say(&said, base.as_ref(), changed), &policies);
            // What was said is the new base, and saying it once more is no news.
            let once = known.clone();
            prop_assert!(merge(&mut known, &say(&said, Some(&said), changed), &policies).changes.is_empty());
            prop_assert_eq!(known, once);
        }

        #[test]
        fn no_value_is_invented(
            [ours, theirs, base] in any_values(), met in any::<bool>(), policy in any_policy(), changed in 0i64..20,
        ) {
            let mut known = record(&[("name", ours.clone())], "erp", 10);
            let (said, agreed) = (fields(&[("name", theirs.clone())]), fields(&[("name", base.clone())]));
            let policies = Policies([("name", policy.clone())].into());
            let merged = merge(&mut known, &say(&said, met.then_some(&agreed), changed), &policies);
            let kept = known.fields.get("name").unwrap();
            // A set is made of what either has and keeps what both have: where each side took away
            // what the other one has left, nothing is left.
            let (all, common) = (&members(&ours) | &members(&theirs), &members(&ours) & &members(&theirs));
            let made_of_both = policy == Policy::MergeSet
                && !all.is_empty()
                && members(kept).is_subset(&all)
                && members(kept).is_superset(&common);
            prop_assert!(*kept == ours || *kept == theirs || made_of_both, "{:?}", kept);
            for conflict in &merged.conflicts {
                prop_assert_eq!(&conflict.kept, kept);
                let of = match conflict.winner {
                    Winner::Ours | Winner::Nobody => Some(&ours),
                    Winner::Theirs => Some(&theirs),
                    Winner::Both | Winner::Neither => None,
                };
                prop_assert!(of.is_none_or(|of| of == kept));
                prop_assert_eq!(conflict.is_open(), policy == Policy::Manual);
            }
        }

        #[test]
        fn the_order_in_which_two_systems_are_heard_does_not_matter(
            [old, a, b] in any_values(), policy in any_common_policy(), at_a in 11i64..20, at_b in 11i64..20,
        ) {
            let agreed = fields(&[("name", old.clone())]);
            let policies = Policies([("name", policy)].into());
            let say_as = |connection, said, changed| Theirs {
                connection, external_id: "1", fields: said, base: Some(&agreed), echoed: &NOTHING, changed_at: at(changed), observed_at: at(100),
            };
            let (said_a, said_b) = (fields(&[("name", a)]), fields(&[("name", b)]));
            let mut first = record(&[("name", old)], "old", 1);
            let mut second = first.clone();
            merge(&mut first, &say_as("a", &said_a, at_a), &policies);
            merge(&mut first, &say_as("b", &said_b, at_b), &policies);
            merge(&mut second, &say_as("b", &said_b, at_b), &policies);
            merge(&mut second, &say_as("a", &said_a, at_a), &policies);
            prop_assert_eq!(first.fields, second.fields);
        }
    }
}
