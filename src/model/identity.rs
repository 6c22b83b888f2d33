//! Identity rules: when two objects of different systems are the same record although nothing links them yet.
//!
//! A rule is a list of fields; two records of a kind fit when all fields of one rule are filled and alike. What fits by a
//! rule that is [`Confidence::Certain`] is the same; what fits by one that is [`Confidence::Probable`] is for a person to
//! decide.
//! Names are compared without case, punctuation and doubled blanks, nothing cleverer: likeness alone confuses
//! "United Airlines" with "United Rentals".

use std::collections::BTreeSet;
use std::sync::LazyLock;

use crate::{Fields, Kind, RecordId, Value};

/// What two records that meet by a rule have in common, so that equal keys mean the same record; or to whom a record
/// refers ([`MatchKey::refers_to`]).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MatchKey(pub String);

impl MatchKey {
    /// The key of those that refer to a record.
    pub fn refers_to(record: RecordId) -> MatchKey {
        MatchKey(format!("refers={record}"))
    }
}

/// What it means that two records fit by a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confidence {
    /// They are the same.
    Certain,
    /// They may be the same; a person decides.
    Probable,
}

impl Confidence {
    /// The confidence as a word, for configuration, API and command line.
    pub fn word(self) -> &'static str {
        match self {
            Confidence::Certain => "certain",
            Confidence::Probable => "probable",
        }
    }
}

/// A rule by which records of a kind fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MatchRule {
    /// The fields that must be filled and alike.
    pub fields: Vec<&'static str>,
    /// What it means then.
    pub confidence: Confidence,
}

/// The rules of a kind where the configuration names none, the surest first. What names one company, person or deal is
/// certain; names beside a place, or of a person at a company, are only probable.
pub fn default_match_rules(kind: Kind) -> &'static [MatchRule] {
    static RULES: LazyLock<[Vec<MatchRule>; 3]> = LazyLock::new(|| Kind::ALL.map(built_in));
    let at = Kind::ALL.iter().position(|known| *known == kind);
    at.map_or(&[], |at| &RULES[at])
}

fn built_in(kind: Kind) -> Vec<MatchRule> {
    let rules: [(&[&'static str], Confidence); 2] = match kind {
        Kind::Partner => [
            (&["domain"], Confidence::Certain),
            (&["display_name", "headquarters.country"], Confidence::Probable),
        ],
        Kind::Lead => [
            (&["contact.email"], Confidence::Certain),
            (&["company.name", "contact.last_name"], Confidence::Probable),
        ],
        Kind::Deal => [
            (&["name", "partner"], Confidence::Certain),
            (&["name", "customer.domain"], Confidence::Probable),
        ],
    };
    let rule = |(fields, confidence): (&[&'static str], Confidence)| MatchRule {
        fields: fields.to_vec(),
        confidence,
    };
    rules.map(rule).into()
}

/// The keys under which a record of these fields can be met, in the order of the rules, each with its rule.
/// A rule with a field that is blank or not known gives none.
pub fn match_keys<'r>(
    fields: &Fields,
    rules: &'r [MatchRule],
) -> impl Iterator<Item = (MatchKey, &'r MatchRule)> {
    rules
        .iter()
        .filter_map(|rule| Some((key(fields, &rule.fields)?, rule)))
}

/// The keys under which a record of these fields is found by those to whom it refers, each once.
pub fn reference_keys(fields: &Fields) -> BTreeSet<MatchKey> {
    let references = fields.iter().filter_map(|(_, value)| value.as_reference());
    references.map(MatchKey::refers_to).collect()
}

fn key(fields: &Fields, rule: &[&'static str]) -> Option<MatchKey> {
    // A rule of nothing would find everything.
    rule.first()?;
    let mut key = rule.join("+");
    for path in rule {
        let value = fields.filled(path)?;
        key.push('=');
        match value {
            Value::Text(text) => key.push_str(&plain(text)?),
            Value::Reference(id) => key.push_str(&id.to_string()),
            other => key.push_str(&format!("{other:?}")),
        }
    }
    Some(MatchKey(key))
}

fn plain(text: &str) -> Option<String> {
    let lower = text.to_lowercase();
    let words: Vec<&str> = lower
        .split(|c: char| !c.is_alphanumeric() && c != '@')
        .filter(|w| !w.is_empty())
        .collect();
    (!words.is_empty()).then(|| words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(name: &str, country: &str) -> Vec<MatchKey> {
        let fields = [
            ("display_name", Value::text(name)),
            ("headquarters.country", Value::text(country)),
        ];
        match_keys(&fields.into_iter().collect(), default_match_rules(Kind::Partner))
            .map(|(key, _)| key)
            .collect()
    }

    #[test]
    fn spelling_does_not_part_what_belongs_together() {
        assert_eq!(
            keys("Acme  Resellers, Inc.", "DE"),
            keys("ACME resellers inc", "DE")
        );
        assert_ne!(keys("Acme Resellers", "DE"), keys("Acme Resellers", "FR"));
        assert_ne!(keys("United Airlines", "US"), keys("United Rentals", "US"));
    }

    #[test]
    fn a_rule_with_a_blank_gives_no_key() {
        assert!(keys("Acme", "").is_empty());
        assert!(keys("…", "DE").is_empty());
    }

    #[test]
    fn rules_name_fields_that_exist() {
        for kind in Kind::ALL {
            for path in default_match_rules(kind)
                .iter()
                .flat_map(|rule| rule.fields.iter())
            {
                assert!(kind.field(path).is_some(), "{kind}: {path}");
            }
        }
    }
}
