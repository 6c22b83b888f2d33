//! Reads one entry of `fields:`.

use diagnostic::{Fields, Node, Place, Report, Source, suggestion};
use model::normalise::normalise;
use model::{Field, FieldType, Kind};

use program::Program;

use crate::derived::{Derived, INPUTS_MAX};
use crate::lens::{Codec, CurrencyFrom, Lens};
use crate::line::{Blank, Direction, Line};
use crate::steps::{self, Steps};
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
    let paths = path.map_or_else(Vec::new, |_| keys.texts("record", report));
    let object = keys.required("object", report);
    let wires = object.map_or_else(Vec::new, |_| keys.texts("object", report));
    let direction = keys
        .optional_choice("direction", DIRECTIONS, report)
        .unwrap_or(Direction::Both);
    let lens = keys.optional("lens");
    let jq = keys.optional("jq");
    let blank = keys.optional("blank");
    let coarse = keys.optional_bool("coarse", report).unwrap_or(false);
    let stated = keys.complete();
    keys.finish(report);
    let path = path?;
    let mut named = paths
        .iter()
        .map(|name| field(name, path.place, kind, source, report));
    let (field, second) = (named.next().flatten()?, named.next());
    let more = named.next().is_some();
    let blank = blank.map_or_else(Blank::default, |node| {
        blank_options(node, field, direction, source, report)
    });
    let place = object?.place;
    let way = Way {
        direction,
        place: node.place,
        source,
    };
    if let Some(jq) = jq {
        way.only_one(jq, lens, report);
    }
    // What an expression makes is what is written: there is nothing left to spell.
    let steps = match jq.filter(|_| direction != Direction::In) {
        Some(_) => Some(Steps::plain()),
        None => steps::read(lens, field, node.place, source, report),
    };
    let (wire, more_wires) = match (&steps, jq) {
        (Some(steps), Some(_)) => way.inputs(&wires, field, &steps.lens, place, report)?,
        _ => {
            let lens = steps.as_ref().map(|steps| &steps.lens);
            wire_fields(&wires, second.is_some(), field, lens, place, source, report)?
        }
    };
    let mut steps = steps?;
    let family_name = match second {
        None => None,
        Some(second) => {
            way.whole(second?, more, &mut steps.lens, report)?;
            Some(second?.path)
        }
    };
    let derived = match jq {
        None => None,
        Some(jq) => Some(way.derived(jq, &wires, report)?),
    };
    let second = more_wires.filter(|_| jq.is_none());
    if matches!(steps.lens.codec, Codec::WholeName) && blank.write.is_some() {
        let message = "`write` has no place in a name of two fields";
        report.error("IC0321", source, node.place, message, "remove `write`");
    }
    if matches!(steps.lens.codec, Codec::Part { .. }) && direction != Direction::In && stated {
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
        second,
        family_name,
        derived,
        direction,
        lens: steps.lens,
        blank,
        coarse,
        place: path.place,
    };
    (report.errors() == before).then_some(Entry {
        line,
        country: steps.country,
    })
}

/// Which way a line goes, and where it stands.
struct Way<'a> {
    direction: Direction,
    place: Place,
    source: &'a Source,
}

impl Way<'_> {
    /// An expression goes one way, and where it is written nothing else says how.
    fn only_one(&self, jq: &Node, lens: Option<&Node>, report: &mut Report) {
        if self.direction == Direction::Both {
            let message = "an expression goes one way: nothing shows how it is undone";
            let hint = "add `direction: in`, `out` or `create`";
            report.error("IC0322", self.source, jq.place, message, hint);
        } else if let Some(lens) = lens.filter(|_| self.direction != Direction::In) {
            let message = "the expression says already how the value is written";
            report.error("IC0322", self.source, lens.place, message, "remove `lens`");
        }
    }

    /// The fields that an expression is given, or the one that it is written to.
    fn inputs(
        &self,
        names: &[&str],
        field: &Field,
        lens: &Lens,
        place: Place,
        report: &mut Report,
    ) -> Option<(WireField, Option<WireField>)> {
        let most = if self.direction == Direction::In {
            INPUTS_MAX
        } else {
            1
        };
        let first = names.first()?;
        let path = field.path;
        let with_currency =
            matches!(&lens.codec, Codec::Money(money) if matches!(money.currency, CurrencyFrom::Field));
        let (message, hint) = match &lens.codec {
            _ if names.len() > most => (
                format!(
                    "an expression for `{path}` has {} fields of the object, {most} at most",
                    names.len()
                ),
                "name fewer",
            ),
            Codec::WholeName => (
                "an expression makes one value, and a whole name stands in two fields".to_owned(),
                "remove `whole_name`",
            ),
            _ if with_currency => (
                format!("the expression makes the amount of `{path}`, and nothing says its currency"),
                "write `money: { currency: \"{connection}\" }`, or a code",
            ),
            _ => return Some((WireField::new(first), None)),
        };
        report.error("IC0320", self.source, place, message, hint);
        None
    }

    fn derived(&self, jq: &Node, names: &[&str], report: &mut Report) -> Option<Derived> {
        let Some(text) = jq.text() else {
            let message = format!("`jq` is {}, expected an expression", jq.kind());
            let hint = "write an expression in quotes, such as '.Street | split(\"\\n\")[0]'";
            report.error("IC0323", self.source, jq.place, message, hint);
            return None;
        };
        match Program::compile(text, &[]) {
            Ok(program) => Some(Derived {
                program,
                inputs: names.iter().map(|name| WireField::new(name)).collect(),
            }),
            Err(broken) => {
                let place = broken.place(text, jq.place, self.source);
                report.error("IC0323", self.source, place, broken.message, broken.hint);
                None
            }
        }
    }

    /// A whole name that is written from two fields of the record.
    fn whole(&self, last: &Field, more: bool, lens: &mut Lens, report: &mut Report) -> Option<()> {
        let written = matches!(self.direction, Direction::Out | Direction::Create);
        let texts = matches!(last.field_type, FieldType::Text { .. });
        if matches!(lens.codec, Codec::WholeName) && written && texts && !more {
            // The object has it in one field: there it is a text as any other.
            lens.codec = Codec::Plain;
            return Some(());
        }
        let message = "two fields of the record are one of the object only where a whole name is written";
        let hint = "write `lens: [ whole_name ]` and `direction: out` or `create`, or name one field";
        report.error("IC0320", self.source, self.place, message, hint);
        None
    }
}

/// The field of the record that an entry names.
fn field(
    found: &str,
    place: Place,
    kind: Kind,
    source: &Source,
    report: &mut Report,
) -> Option<&'static Field> {
    let field = kind.field(found);
    if field.is_none() {
        let message = format!("`{found}` is not a field of a {kind}");
        let hint = suggestion(found, kind.fields().map(|field| field.path));
        report.error("IC0301", source, place, message, hint);
    }
    field
}

/// The fields of the object that an entry names: one, for an amount also that of its currency, unless the lens has it,
/// and for a whole name that of its second part, unless the record has it in two.
fn wire_fields(
    names: &[&str],
    parts_in_record: bool,
    field: &Field,
    lens: Option<&Lens>,
    place: Place,
    source: &Source,
    report: &mut Report,
) -> Option<(WireField, Option<WireField>)> {
    let path = field.path;
    let is_money = field.field_type == FieldType::Money;
    let is_name = lens.is_some_and(|lens| matches!(lens.codec, Codec::WholeName));
    let in_object = lens.map(|lens| match &lens.codec {
        Codec::Money(money) => matches!(money.currency, CurrencyFrom::Field),
        Codec::WholeName => !parts_in_record,
        _ => false,
    });
    let (message, hint) = match (names, in_object) {
        ([], _) => return None,
        ([wire], Some(false)) => return Some((WireField::new(wire), None)),
        ([wire, second], Some(true)) => {
            return Some((WireField::new(wire), Some(WireField::new(second))));
        }
        (_, None) => return None,
        (_, Some(true)) if is_name => (
            format!("`{path}` is a whole name, which the object has in two fields"),
            "write `object: [first_name, last_name]`, the given name first",
        ),
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
