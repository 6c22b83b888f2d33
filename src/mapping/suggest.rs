//! [`Suggestion`]: which field of an object is probably which field of a record, by name, label and type.
//!
//! A guess for a person to accept: nothing is mapped by it. Likeness is between 0 and 1; types that cannot hold each
//! other are never suggested.

use model::{Field, FieldType, Kind};

/// A field of an object, as its system describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate<'a> {
    /// The name on the wire.
    pub name: &'a str,
    /// The name for people.
    pub label: &'a str,
    /// `text`, `decimal`, `integer`, `boolean`, `date`, `datetime`, `enum` or `reference`.
    pub kind: &'a str,
    /// The values of an `enum`, with their labels.
    pub options: &'a [(String, String)],
    /// Whether it can be written.
    pub writable: bool,
}

/// A field of a record, and the field of an object that it may be.
#[derive(Clone, Debug, PartialEq)]
pub struct Suggestion<'a> {
    /// The field of the record.
    pub field: &'static Field,
    /// The field of the object.
    pub candidate: &'a Candidate<'a>,
    /// How alike they are, in percent.
    pub percent: u8,
}

/// Below this nothing is suggested: tried on the shipped systems, what lies lower is chance.
const PERCENT_MIN: u8 = 55;
/// Fields of the object that are suggested for one field of a record.
const CANDIDATES_MAX: usize = 3;
/// Likeness of two words from which on they are taken for one word.
const SAME_WORD: f64 = 0.9;
/// Likeness of a word and an option from which on the word is written as that option.
const SAME_OPTION: f64 = 0.85;

/// Words that systems use for the same thing; the first of each is ours.
const SYNONYMS: &[&[&str]] = &[
    &["name", "title", "subject"],
    &["company", "account", "organisation", "organization"],
    &["customer", "account", "client"],
    &["stage", "status", "state", "phase"],
    &["status", "state", "stage"],
    &["amount", "value", "total", "revenue"],
    &["subdivision", "state", "province", "region"],
    &["postal", "zip", "postcode"],
    &["phone", "telephone", "tel"],
    &["website", "homepage", "web"],
    &["email", "mail"],
    &["description", "notes", "comment", "comments"],
    &["owner", "assignee", "salesperson"],
    &["partner", "account", "company", "party"],
    &["street", "address"],
    &["reason", "cause"],
    &["closed", "close", "won"],
];
/// Words that say nothing about which field is meant.
const EMPTY_WORDS: &[&str] = &[
    "id", "code", "the", "of", "a", "at", "field", "hs", "c", "display", "url",
];

/// Suggestions for the fields of a record that are not `mapped`, the likeliest first.
pub fn suggestions<'a>(kind: Kind, mapped: &[&str], candidates: &'a [Candidate<'a>]) -> Vec<Suggestion<'a>> {
    let mut found = Vec::new();
    for field in kind.fields().filter(|field| !mapped.contains(&field.path)) {
        let alike = candidates.iter().map(|candidate| Suggestion {
            field,
            candidate,
            percent: percent(field, candidate),
        });
        let mut alike: Vec<Suggestion> = alike.filter(|s| s.percent >= PERCENT_MIN).collect();
        alike.sort_by(|a, b| {
            b.percent
                .cmp(&a.percent)
                .then(a.candidate.name.cmp(b.candidate.name))
        });
        alike.truncate(CANDIDATES_MAX);
        found.extend(alike);
    }
    found.sort_by(|a, b| b.percent.cmp(&a.percent).then(a.field.path.cmp(b.field.path)));
    found
}

fn percent(field: &Field, candidate: &Candidate<'_>) -> u8 {
    let (group, last) = field.path.rsplit_once('.').unwrap_or(("", field.path));
    let whole = words(field.path);
    let last = words(last);
    let alike = [candidate.name, candidate.label].into_iter().map(|name| {
        let name = words(name);
        // A field of a group is also called by its last word alone, which says less; by the group alone never.
        let alone = likeness(&last, &name) * if group.is_empty() { 1.0 } else { 0.85 };
        let named = last.iter().any(|word| name.iter().any(|other| same(word, other)));
        let whole = if named { likeness(&whole, &name) } else { 0.0 };
        whole.max(alone)
    });
    let alike = alike.fold(0.0, f64::max) * fit(field.field_type, candidate.kind);
    (alike * 100.0).round() as u8
}

/// `customer.postal_code`, `PostalCode` and `Postal code` in lower-case words.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut after_lower = false;
    for character in name.chars() {
        if !character.is_alphanumeric() || (character.is_uppercase() && after_lower) {
            words.push(String::new());
        }
        after_lower = character.is_lowercase() || character.is_numeric();
        if let Some(word) = words.last_mut() {
            word.extend(character.to_lowercase().filter(|c| c.is_alphanumeric()));
        }
    }
    words.retain(|word| !word.is_empty());
    let telling = |word: &String| !EMPTY_WORDS.contains(&word.as_str());
    // A name of empty words only is taken as it is.
    if words.iter().any(telling) {
        words.retain(telling);
    }
    words
}

/// Which share of the words of two names are the same, where ours count more: theirs often have a prefix. Or how alike
/// the names are when written as one word.
fn likeness(ours: &[String], theirs: &[String]) -> f64 {
    if ours.is_empty() || theirs.is_empty() {
        return 0.0;
    }
    let matched = ours
        .iter()
        .filter(|word| theirs.iter().any(|other| same(word, other)));
    let matched = matched.count() as f64;
    let of_both = (2.0 * matched / (ours.len() + theirs.len()) as f64).min(1.0);
    let shared = (of_both + matched / ours.len() as f64) / 2.0;
    let squashed = strsim::normalized_levenshtein(&ours.concat(), &theirs.concat());
    shared.max(squashed)
}

fn same(ours: &str, theirs: &str) -> bool {
    let mut synonyms = SYNONYMS.iter().filter(|group| group[0] == ours);
    strsim::jaro_winkler(ours, theirs) >= SAME_WORD || synonyms.any(|group| group.contains(&theirs))
}

/// How well a field of the record is held by a field of this type.
fn fit(field_type: FieldType, kind: &str) -> f64 {
    let (good, fair): (&[&str], &[&str]) = match field_type {
        FieldType::Text { .. } | FieldType::Country | FieldType::Subdivision => (&["text"], &["enum"]),
        FieldType::Email | FieldType::Phone | FieldType::Domain | FieldType::Url => (&["text"], &[]),
        FieldType::Money | FieldType::Decimal => (&["decimal"], &["integer"]),
        FieldType::Integer => (&["integer"], &["decimal"]),
        FieldType::Bool => (&["boolean"], &["enum"]),
        FieldType::Date => (&["date"], &["datetime"]),
        FieldType::Instant => (&["datetime"], &["date"]),
        FieldType::Choice(_) | FieldType::Choices(_) => (&["enum"], &["text"]),
        FieldType::Set => (&["enum", "text"], &[]),
        FieldType::Reference(_) => (&["reference"], &["text", "integer"]),
    };
    match kind {
        kind if good.contains(&kind) => 1.0,
        kind if fair.contains(&kind) => 0.8,
        _ => 0.0,
    }
}

impl Suggestion<'_> {
    /// The line to write under `fields:`. What only a person knows stands in it as `…`.
    pub fn line(&self) -> String {
        let Suggestion { field, candidate, .. } = self;
        let name = candidate.name;
        let (object, lens) = match field.field_type {
            FieldType::Money => (
                name.to_owned(),
                "money: { currency: \"{connection}\" }".to_owned(),
            ),
            FieldType::Choices(_) | FieldType::Set => (name.to_owned(), "split: \";\"".to_owned()),
            FieldType::Reference(_) => (name.to_owned(), "reference: { object: … }".to_owned()),
            FieldType::Choice(words) => (name.to_owned(), choice(words, candidate.options)),
            FieldType::Date if candidate.kind == "datetime" => (
                name.to_owned(),
                "date: { wire: datetime_utc_midnight }".to_owned(),
            ),
            _ => (name.to_owned(), String::new()),
        };
        let lens = if lens.is_empty() {
            lens
        } else {
            format!(", lens: [ {lens} ]")
        };
        let direction = if candidate.writable { "" } else { ", direction: in" };
        format!(
            "- {{ record: {}, object: {object}{lens}{direction} }}",
            field.path
        )
    }
}

/// Each word with the option that is most like it.
fn choice(words: &[&str], options: &[(String, String)]) -> String {
    let squash = |text: &str| self::words(text).concat();
    let best = |word: &&str| {
        let alike = options.iter().map(|(value, label)| {
            let alike = |text: &str| strsim::jaro_winkler(&squash(word), &squash(text));
            (alike(value).max(alike(label)), value)
        });
        let (alike, value) = alike.max_by(|a, b| a.0.total_cmp(&b.0))?;
        (alike >= SAME_OPTION).then(|| format!("{word}: {}", quoted(value)))
    };
    let pairs: Vec<String> = words.iter().filter_map(best).collect();
    if pairs.is_empty() {
        return format!("enum: {{ {}: … }}", words.first().unwrap_or(&"word"));
    }
    format!("enum: {{ {} }}", pairs.join(", "))
}

/// A value that YAML reads as the text it is.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let is_plain = text.starts_with(|c: char| c.is_ascii_alphabetic()) && text.chars().all(plain);
    if is_plain && !["true", "false", "null"].contains(&text) {
        text.to_owned()
    } else {
        serde_json::Value::from(text).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate<'a>(name: &'a str, label: &'a str, kind: &'a str) -> Candidate<'a> {
        Candidate {
            name,
            label,
            kind,
            options: &[],
            writable: true,
        }
    }

    /// What the best field of the object is for a field of a record.
    fn best<'a>(kind: Kind, path: &str, candidates: &'a [Candidate<'a>]) -> Option<&'a str> {
        let all = suggestions(kind, &[], candidates);
        let best = all.into_iter().find(|s| s.field.path == path)?;
        Some(best.candidate.name)
    }

    #[test]
    fn fields_are_found_by_name_by_label_and_by_other_words_for_the_same() {
        let fields = [
            candidate("BillingPostalCode", "Billing Zip/Postal Code", "text"),
            candidate("StageName", "Stage", "enum"),
            candidate("Amount", "Amount", "decimal"),
            candidate("CloseDate", "Close Date", "date"),
            candidate("cf_117", "Deal title", "text"),
            candidate("x_email", "Contact e-mail", "text"),
        ];
        for (path, expected) in [
            ("stage", Some("StageName")),
            ("amount", Some("Amount")),
            ("expected_close_date", Some("CloseDate")),
            ("name", Some("cf_117")),
            ("customer.postal_code", Some("BillingPostalCode")),
            ("contact.email", Some("x_email")),
            ("probability", None),
        ] {
            assert_eq!(best(Kind::Deal, path, &fields), expected, "{path}");
        }
    }

    #[test]
    fn types_that_cannot_hold_each_other_are_not_suggested() {
        assert_eq!(
            best(Kind::Deal, "amount", &[candidate("amount", "Amount", "date")]),
            None
        );
        assert_eq!(
            best(Kind::Deal, "amount", &[candidate("amount", "Amount", "integer")]),
            Some("amount")
        );
    }

    #[test]
    fn what_is_mapped_is_not_suggested_again() {
        let fields = [candidate("amount", "Amount", "decimal")];
        assert!(
            suggestions(Kind::Deal, &["amount"], &fields)
                .iter()
                .all(|s| s.field.path != "amount")
        );
    }

    #[test]
    fn lines_are_ready_to_be_written_down() {
        let options = [
            ("Prospect".to_owned(), "Prospecting".to_owned()),
            ("closed lost".to_owned(), "Closed Lost".to_owned()),
        ];
        let fields = [
            Candidate {
                options: &options,
                ..candidate("stage", "Stage", "enum")
            },
            Candidate {
                writable: false,
                ..candidate("close_date", "Close date", "datetime")
            },
            candidate("amount", "Amount", "decimal"),
        ];
        let found = suggestions(Kind::Deal, &[], &fields);
        let line = |path: &str| found.iter().find(|s| s.field.path == path).unwrap().line();
        assert_eq!(
            line("stage"),
            "- { record: stage, object: stage, lens: [ enum: { prospect: Prospect, closed_lost: \"closed lost\" } ] }"
        );
        assert_eq!(
            line("expected_close_date"),
            "- { record: expected_close_date, object: close_date, lens: [ date: { wire: datetime_utc_midnight } ], \
             direction: in }"
        );
        assert_eq!(
            line("amount"),
            "- { record: amount, object: amount, lens: [ money: { currency: \"{connection}\" } ] }"
        );
    }
}
