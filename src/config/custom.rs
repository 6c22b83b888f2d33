//! `custom:` of a kind of record: the fields that a customer's systems have beside those of every record.

use diagnostic::{Fields, Place, Report};
use model::{FieldType, Kind};

/// Characters of a custom text, where the configuration says nothing.
const CHARS_USUAL: usize = 2_000;
/// Characters that a custom text may have at most.
const CHARS_MAX: i64 = 131_072;

/// A type as the configuration names it.
#[derive(Clone, Copy)]
enum Type {
    Text,
    Choice,
    Choices,
    /// Says everything by its name.
    Plain(FieldType),
}

const TYPES: [(&str, Type); 16] = [
    ("text", Type::Text),
    ("choice", Type::Choice),
    ("choices", Type::Choices),
    ("set", Type::Plain(FieldType::Set)),
    ("integer", Type::Plain(FieldType::Integer)),
    ("decimal", Type::Plain(FieldType::Decimal)),
    ("money", Type::Plain(FieldType::Money)),
    ("bool", Type::Plain(FieldType::Bool)),
    ("date", Type::Plain(FieldType::Date)),
    ("datetime", Type::Plain(FieldType::Instant)),
    ("email", Type::Plain(FieldType::Email)),
    ("phone", Type::Plain(FieldType::Phone)),
    ("url", Type::Plain(FieldType::Url)),
    ("domain", Type::Plain(FieldType::Domain)),
    ("country", Type::Plain(FieldType::Country)),
    ("subdivision", Type::Plain(FieldType::Subdivision)),
];

/// Declares the custom fields of a kind, so that what is read behind them may name them.
pub(super) fn declare(kind: Kind, rules: &mut Fields<'_>, report: &mut Report) {
    let source = rules.source();
    for (name, place, node) in rules.map("custom", report) {
        let Some(mut field) = Fields::open(node, "a custom field", source, report) else {
            continue;
        };
        let of_type = field.choice("type", &TYPES, report);
        let words = words(&mut field, report);
        let chars_max = field.optional_integer("chars_max", 1..=CHARS_MAX, report);
        let doc = field.optional_text("doc", report).unwrap_or_default();
        let said = Said {
            whole: field.place(),
            of: field.key_place("of"),
            chars: field.key_place("chars_max"),
        };
        let is_read = field.complete();
        field.finish(report);
        let mut refuse = |place: Place, message: String, hint: &str| {
            report.error("IC0156", source, place, message, hint);
        };
        let Some(of_type) = of_type else { continue };
        if let Some((place, is_wrong, hint)) = said.misfit(of_type, words) {
            refuse(place, format!("`{name}` {is_wrong}"), hint);
            continue;
        }
        let field_type = match of_type {
            Type::Choice => FieldType::Choice(words),
            Type::Choices => FieldType::Choices(words),
            Type::Text => FieldType::Text {
                chars_max: chars_max
                    .and_then(|chars| usize::try_from(chars).ok())
                    .unwrap_or(CHARS_USUAL),
            },
            Type::Plain(field_type) => field_type,
        };
        if is_read && let Err(not) = kind.declare(name, field_type, doc) {
            refuse(
                *place,
                not.to_string(),
                "give it another name; mappings call it `custom.<name>`",
            );
        }
    }
}

/// Where a field says what.
struct Said {
    whole: Place,
    of: Option<Place>,
    chars: Option<Place>,
}

impl Said {
    /// What does not fit the field's type: where it stands, what is wrong and what helps.
    fn misfit(&self, of_type: Type, words: &[&str]) -> Option<(Place, String, &'static str)> {
        let chooses = matches!(of_type, Type::Choice | Type::Choices);
        let mut twice = words
            .iter()
            .enumerate()
            .filter(|(at, word)| words[..*at].contains(word));
        match (chooses, self.of, self.chars, twice.next()) {
            (true, of, _, _) if words.is_empty() => Some((
                of.unwrap_or(self.whole),
                "has no words to choose from".to_owned(),
                "name them: `of: [north, south]`",
            )),
            (false, Some(of), _, _) => Some((
                of,
                "is not chosen from words".to_owned(),
                "remove `of`, or write `type: choice`, or `choices` where several may be chosen",
            )),
            (_, Some(of), _, Some((_, word))) => {
                Some((of, format!("names `{word}` twice"), "name each word once"))
            }
            (_, _, Some(chars), _) if !matches!(of_type, Type::Text) => Some((
                chars,
                "is no text".to_owned(),
                "remove `chars_max`, or write `type: text`",
            )),
            _ => None,
        }
    }
}

/// The words to choose from; they stay for as long as the process runs, as the field does.
fn words(field: &mut Fields<'_>, report: &mut Report) -> &'static [&'static str] {
    let words = field.texts("of", report).into_iter();
    let words: Vec<&'static str> = words.map(|word| &*word.to_owned().leak()).collect();
    words.leak()
}
