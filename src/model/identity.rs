//! Identity rules: when two objects of different systems are the same record although nothing links them yet.
//!
//! A rule is a list of fields; two records of a kind meet when all fields of one rule are filled and alike.
//! Names are compared without case, punctuation and doubled blanks, nothing cleverer: likeness alone confuses
//! "United Airlines" with "United Rentals".

use crate::{Fields, Kind, Value};

/// What two records that meet by a rule have in common; equal keys mean the same record.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MatchKey(pub String);

/// The rules of a kind where the configuration names none, the surest first.
pub fn default_match_rules(kind: Kind) -> &'static [&'static [&'static str]] {
    match kind {
        Kind::Partner => &[&["domain"], &["display_name", "headquarters.country"]],
        Kind::Lead => &[&["contact.email"], &["company.name", "contact.last_name"]],
        Kind::Deal => &[&["name", "partner"], &["name", "customer.domain"]],
    }
}

/// The keys under which a record of these fields can be met, in the order of the rules.
/// A rule with a field that is blank or not known gives none.
pub fn match_keys<R: AsRef<[&'static str]>>(fields: &Fields, rules: &[R]) -> Vec<MatchKey> {
    rules
        .iter()
        .filter_map(|rule| key(fields, rule.as_ref()))
        .collect()
}

fn key(fields: &Fields, rule: &[&'static str]) -> Option<MatchKey> {
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
            for path in default_match_rules(kind).iter().flat_map(|rule| rule.iter()) {
                assert!(kind.field(path).is_some(), "{kind}: {path}");
            }
        }
    }
}
