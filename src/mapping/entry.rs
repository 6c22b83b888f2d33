//! Reads one entry of `fields:`.

use diagnostic::{Fields, Node, Place, Report, Source, suggestion};
use model::normalise::normalise;
use model::{Field, FieldType, Kind};

use crate::lens::{Codec, CurrencyFrom, Lens};
use crate::line::{Blank, Direction, Line};
use crate::steps;
use crate::wire::{WireField, scalar};

const DIRECTIONS: &[(&str, Direction)] = &[
    ("both", Direction::Both),
    ("in", Direction::In),
    ("out", Direction::Out),
    ("create", Direction::Create),
];

/// A line, and the record's path of the country that its lens names.
pub(crate) struct Entry<'a> {
    pub(crate) line: Line,
    pub(crate) country: Option<(&'a str, Place)>,
}

/// Reads an entry; notes what is wrong and returns nothing then.
pub(crate) fn entry<'a>(
    node: &'a Node,
    kind: Kind,
    source: &'a Source,
    report: &mut Report,
) -> Option<Entry<'a>> {
    let before = report.errors();
    let mut keys = Fields::open(node, "a field", source, report)?;
    let path = keys.required("record", report);
    let object = keys.required("object", report);
    let wires = object.map_or_else(Vec::new, |_| keys.texts("object", report));
    let direction = keys
        .optional_choice("direction", DIRECTIONS, report)
        .unwrap_or(Direction::Both);
    let lens = keys.optional("lens");
    let blank = keys.optional("blank");
    let coarse = keys.optional_bool("coarse", report).unwrap_or(false);
    let stated = keys.complete();
    keys.finish(report);
    let field = field(path?, kind, source, report)?;
    let blank = blank.map_or_else(Blank::default, |node| {
        blank_options(node, field, direction, source, report)
    });
    let steps = steps::read(lens, field, node.place, source, report);
    let place = object?.place;
    let wires = wire_fields(
        &wires,
        field,
        steps.as_ref().map(|steps| &steps.lens),
        place,
        source,
        report,
    );
    let (steps, (wire, currency)) = (steps?, wires?);
    if matches!(steps.lens.codec, Codec::Part(_)) && direction != Direction::In && stated {
        let message = format!(
            "`part` can only be read: half a name cannot be written to `{}`",
            wire.name
        );
        report.error("IC0312", source, node.place, message, "add `direction: in`");
    }
    let line = Line {
        path: field.path,
        field_type: field.field_type,
        wire,
        currency,
        direction,
        lens: steps.lens,
        blank,
        coarse,
        place: path?.place,
    };
    (report.errors() == before).then_some(Entry {
        line,
        country: steps.country,
    })
}

/// The field of the record that an entry names.
fn field(path: &Node, kind: Kind, source: &Source, report: &mut Report) -> Option<&'static Field> {
    let found = path.text().unwrap_or_default();
    let field = kind.field(found);
    if field.is_none() {
        let message = format!("`{found}` is not a field of a {kind}");
        let hint = suggestion(found, kind.fields().map(|field| field.path));
        report.error("IC0301", source, path.place, message, hint);
    }
    field
}

/// The fields of the object that an entry names: one, and for an amount that of its currency, unless the lens has it.
fn wire_fields(
    names: &[&str],
    field: &Field,
    lens: Option<&Lens>,
    place: Place,
    source: &Source,
    report: &mut Report,
) -> Option<(WireField, Option<WireField>)> {
    let path = field.path;
    let is_money = field.field_type == FieldType::Money;
    let in_object = lens.map(|lens| match &lens.codec {
        Codec::Money(money) => matches!(money.currency, CurrencyFrom::Field),
        _ => false,
    });
    let (message, hint) = match (names, in_object) {
        ([], _) => return None,
        ([wire], Some(false)) => return Some((WireField::new(wire), None)),
        ([wire, currency], Some(true)) => {
            return Some((WireField::new(wire), Some(WireField::new(currency))));
        }
        (_, None) if is_money || names.len() == 1 => return None,
        (_, Some(true)) => (
            format!("`{path}` needs the object's amount and its currency"),
            "write `object: [Amount, Currency]`, or `money: { currency: \"{connection}\" }`",
        ),
        _ if is_money => (
            format!("`{path}` has its currency twice: in the lens and in the object"),
            "name only the amount's field, or leave `currency` out of the lens",
        ),
        _ => (
            format!(
                "`{path}` stands in one field of the object, found {}",
                names.len()
            ),
            "name one field",
        ),
    };
    report.error("IC0320", source, place, message, hint);
    None
}

/// Reads what blank means for a line.
fn blank_options(
    node: &Node,
    field: &'static Field,
    direction: Direction,
    source: &Source,
    report: &mut Report,
) -> Blank {
    let mut blank = Blank::default();
    let Some(mut options) = Fields::open(node, "`blank`", source, report) else {
        return blank;
    };
    let read = options.optional("read");
    let write = options.optional("write");
    blank.ignore = options.optional_bool("ignore", report).unwrap_or(false);
    options.finish(report);
    if let Some(node) = read {
        let json = node.to_json();
        match normalise(field.field_type, scalar(&json).unwrap_or_default(), None) {
            Ok(value) if !value.is_blank() && field.required => blank.read = Some(value),
            Ok(_) => {
                let message = format!(
                    "`{}` may be blank, so a blank cannot stand for a value of it",
                    field.path
                );
                report.error(
                    "IC0321",
                    source,
                    node.place,
                    message,
                    "use `read` for required fields only",
                );
            }
            Err(invalid) => report.error(
                "IC0321",
                source,
                node.place,
                format!("`read`: {invalid}"),
                "name a value of the record's field",
            ),
        }
    }
    if let Some(node) = write {
        let json = node.to_json();
        if scalar(&json).is_none() || crate::wire::blank(&json) {
            let message = match scalar(&json) {
                Some(_) => "`write` is blank itself, which no system tells from nothing".to_owned(),
                None => format!(
                    "`write` is {}, expected text, a number or true/false",
                    node.kind()
                ),
            };
            report.error(
                "IC0321",
                source,
                node.place,
                message,
                "write `write: \"[not provided]\"`",
            );
        }
        blank.write = Some(json);
    }
    if blank.ignore && direction != Direction::In {
        let message = "a blank that says nothing cannot be written";
        report.error(
            "IC0321",
            source,
            node.place,
            message,
            "add `direction: in`, or remove `ignore`",
        );
    }
    blank
}
