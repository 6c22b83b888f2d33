//! *Custom fields*: what a customer keeps of its records beside the fields that every record can hold.
//!
//! They stand under `custom.` and are *declared* by the configuration, before anything is mapped, stored or shown; from
//! then on they are fields of their kind like any other. What is declared is known to the whole process and stays so: a
//! field is a `&'static` wherever it occurs, so its memory is never given back. Where a process reads two configurations, to
//! compare them, the later one says what a field is.
//!
//! A value whose field is declared no more is left out when its record is read, as that of any unknown field; one that
//! does not fit what is declared now is refused, see [`Unreadable::Value`](crate::stored::Unreadable::Value).

use std::sync::{PoisonError, RwLock};

use crate::{Field, FieldType, Kind};

/// The group that custom fields stand in.
pub const CUSTOM: &str = "custom";
/// How many custom fields a kind may have.
pub const CUSTOM_FIELDS_MAX: usize = 200;
/// Characters of a custom field's name.
pub const CUSTOM_NAME_CHARS_MAX: usize = 60;

/// The custom fields of a kind.
#[derive(Clone, Copy)]
struct Declared {
    /// In the order of their declaration.
    in_order: &'static [&'static Field],
    by_path: &'static [&'static Field],
}

impl Declared {
    const NONE: Declared = Declared {
        in_order: &[],
        by_path: &[],
    };

    fn of(in_order: Vec<&'static Field>) -> Declared {
        let mut by_path = in_order.clone();
        by_path.sort_unstable_by_key(|field| field.path);
        Declared {
            in_order: in_order.leak(),
            by_path: by_path.leak(),
        }
    }
}

/// By kind.
static DECLARED: RwLock<[Declared; Kind::ALL.len()]> = RwLock::new([Declared::NONE; Kind::ALL.len()]);

/// Why a custom field is not declared.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotDeclared {
    /// Its name cannot be part of a path.
    #[error(
        "`{0}` cannot be the name of a custom field: small letters, digits and underscores, a letter first, at most {CUSTOM_NAME_CHARS_MAX}"
    )]
    Name(String),
    /// More than [`CUSTOM_FIELDS_MAX`].
    #[error("a {0} can have {CUSTOM_FIELDS_MAX} custom fields at most")]
    TooMany(Kind),
}

fn of(kind: Kind) -> Declared {
    DECLARED.read().unwrap_or_else(PoisonError::into_inner)[kind as usize]
}

/// The custom fields of a kind, in the order of their declaration.
pub(crate) fn declared(kind: Kind) -> &'static [&'static Field] {
    of(kind).in_order
}

/// The custom field of a kind at a path.
pub(crate) fn at(kind: Kind, path: &str) -> Option<&'static Field> {
    let by_path = of(kind).by_path;
    let found = by_path.binary_search_by(|field| field.path.cmp(path));
    found.ok().map(|at| by_path[at])
}

impl Kind {
    /// Declares the custom field `custom.<name>` of this kind. The same again is the same field; another of its name takes
    /// its place.
    pub fn declare(
        self,
        name: &str,
        field_type: FieldType,
        doc: &str,
    ) -> Result<&'static Field, NotDeclared> {
        let is_name = name.starts_with(|c: char| c.is_ascii_lowercase())
            && name.len() <= CUSTOM_NAME_CHARS_MAX
            && name
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        if !is_name {
            return Err(NotDeclared::Name(name.to_owned()));
        }
        let path = format!("{CUSTOM}.{name}");
        let mut declared = DECLARED.write().unwrap_or_else(PoisonError::into_inner);
        let known = &mut declared[self as usize];
        let place = known.in_order.iter().position(|field| field.path == path);
        if let Some(same) = place.map(|at| known.in_order[at])
            && (same.field_type, same.doc) == (field_type, doc)
        {
            return Ok(same);
        }
        if place.is_none() && known.in_order.len() >= CUSTOM_FIELDS_MAX {
            return Err(NotDeclared::TooMany(self));
        }
        let field: &'static Field = Box::leak(Box::new(Field {
            path: path.leak(),
            field_type,
            required: false,
            doc: doc.to_owned().leak(),
        }));
        let mut fields = known.in_order.to_vec();
        match place {
            Some(at) => fields[at] = field,
            None => fields.push(field),
        }
        *known = Declared::of(fields);
        Ok(field)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stored::{Unreadable, decode_fields, encode_fields};
    use crate::{Fields, Value};

    #[test]
    fn a_declared_field_is_a_field_of_its_kind_alone() {
        assert_eq!(Kind::Deal.field("custom.seats"), None);
        let seats = Kind::Deal
            .declare("seats", FieldType::Integer, "how many")
            .unwrap();
        assert_eq!((seats.path, seats.required), ("custom.seats", false));
        assert_eq!(Kind::Deal.field("custom.seats"), Some(seats));
        assert_eq!(Kind::Deal.fields().last(), Some(seats));
        assert_eq!(Kind::Lead.field("custom.seats"), None);
        // The same again is the same one; another takes its place.
        assert!(std::ptr::eq(
            Kind::Deal
                .declare("seats", FieldType::Integer, "how many")
                .unwrap(),
            seats
        ));
        let otherwise = Kind::Deal
            .declare("seats", FieldType::Decimal, "how many")
            .unwrap();
        assert_eq!(Kind::Deal.field("custom.seats"), Some(otherwise));
        let of_that_name = Kind::Deal.fields().filter(|field| field.path == "custom.seats");
        assert_eq!(of_that_name.count(), 1);
        // A kind of its own has its own of that name.
        assert!(
            Kind::Lead
                .declare("seats", FieldType::Bool, "whether it sits")
                .is_ok()
        );
        assert_eq!(Kind::Deal.field("custom.seats"), Some(otherwise));
    }

    #[test]
    fn names_that_are_no_part_of_a_path_and_one_field_too_many_are_refused() {
        let long = "a".repeat(CUSTOM_NAME_CHARS_MAX + 1);
        for name in ["", "Region", "1st", "a.b", "größe", "a-b", long.as_str()] {
            let refused = Kind::Partner.declare(name, FieldType::Bool, "");
            assert_eq!(refused, Err(NotDeclared::Name(name.to_owned())));
        }
        for n in Kind::Partner
            .fields()
            .filter(|field| field.path.starts_with(CUSTOM))
            .count()..CUSTOM_FIELDS_MAX
        {
            Kind::Partner
                .declare(&format!("n{n}"), FieldType::Bool, "")
                .unwrap();
        }
        let refused = Kind::Partner.declare("one_more", FieldType::Bool, "");
        assert_eq!(refused, Err(NotDeclared::TooMany(Kind::Partner)));
    }

    #[test]
    fn a_record_keeps_it_and_what_it_is_not_is_refused() {
        let field = Kind::Lead.declare("region", FieldType::Set, "where").unwrap();
        let mut fields = Fields::new();
        fields.set(field.path, Value::Set(["north".to_owned()].into()));
        fields.set("status", Value::text("open"));
        let text = encode_fields(&fields);
        assert_eq!(decode_fields(Kind::Lead, &text).unwrap(), fields);
        // Not declared for a deal: it is left out there.
        let of_deal = decode_fields(
            Kind::Deal,
            r#"{"v":1,"f":{"custom.region":["north"],"name":"a"}}"#,
        );
        assert_eq!(of_deal.unwrap().len(), 1);
        let text = text.replace(r#"["north"]"#, "7");
        let refused = decode_fields(Kind::Lead, &text);
        assert!(
            matches!(
                refused,
                Err(Unreadable::Value {
                    path: "custom.region",
                    ..
                })
            ),
            "{refused:?}"
        );
    }
}
