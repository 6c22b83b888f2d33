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
        let chars = field.key_place("chars_max").filter(|_| chars_max.is_some());
        let of = field.key_place("of").filter(|_| !words.is_empty());
        let whole = field.place();
        let is_read = field.complete();
        field.finish(report);
        let mut refuse = |place: Place, message: String, hint: &str| {
            report.error("IC0156", source, place, message, hint);
        };
        let field_type = match (of_type, of, chars) {
            (None, _, _) => continue,
            (Some(Type::Choice | Type::Choices), None, _) => {
                refuse(
                    whole,
                    format!("`{name}` has no words to choose from"),
                    "name them: `of: [north, south]`",
                );
                continue;
            }
            (Some(Type::Text | Type::Plain(_)), Some(of), _) => {
                refuse(
                    of,
                    format!("`{name}` is not chosen from words"),
                    "remove `of`, or write `type: choice`, or `choices` where several may be chosen",
                );
                continue;
            }
            (Some(Type::Choice | Type::Choices | Type::Plain(_)), _, Some(chars)) => {
                refuse(
                    chars,
                    format!("`{name}` is no text"),
                    "remove `chars_max`, or write `type: text`",
                );
                continue;
            }
            (Some(Type::Choice), Some(_), None) => FieldType::Choice(words),
            (Some(Type::Choices), Some(_), None) => FieldType::Choices(words),
            (Some(Type::Text), None, _) => FieldType::Text {
                chars_max: chars_max
                    .and_then(|chars| usize::try_from(chars).ok())
                    .unwrap_or(CHARS_USUAL),
            },
            (Some(Type::Plain(field_type)), None, None) => field_type,
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

/// The words to choose from; they stay for as long as the process runs, as the field does.
fn words(field: &mut Fields<'_>, report: &mut Report) -> &'static [&'static str] {
    let words = field.texts("of", report).into_iter();
    let words: Vec<&'static str> = words.map(|word| &*word.to_owned().leak()).collect();
    words.leak()
}
