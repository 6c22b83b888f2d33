//! `interconnect fields`: the fields of an object as its system describes them now, and what they are mapped to.

use clap::Args;
use connector::FieldInfo;
use serde_json::{Value as Json, json};

use super::account::{Account, Of};
use super::out::table;
use super::{Common, Exit, Out};

/// Which object.
#[derive(Args)]
#[command(after_help = "Examples:\n  interconnect fields crm.Opportunity\n  \
    interconnect fields crm.Opportunity --json   with every option of every field\n\n\
    Exits 1 when the system refuses or is not reached.")]
pub(crate) struct FieldsArgs {
    /// The connection and the object, as its connector names it.
    #[arg(value_name = "CONNECTION.OBJECT")]
    of: Of,
    /// Options of a field that the table shows at most.
    #[arg(long, value_name = "COUNT", default_value_t = 4)]
    options: usize,
}

pub(crate) async fn run(args: &FieldsArgs, common: &Common, out: &Out) -> Exit {
    let Of { connection, object } = &args.of;
    let account = match Account::open(common, connection, out).await {
        Ok(account) => account,
        Err(exit) => return exit,
    };
    let fields = match account.fields(object, out).await {
        Ok(fields) => fields,
        Err(exit) => return exit,
    };
    let mapped = Mapped::of(&account, object);
    let data: Vec<Json> = fields
        .iter()
        .map(|field| json_of(field, &mapped.to(&field.name)))
        .collect();
    let missing = mapped.missing(&fields);
    let missing_json: Vec<Json> = missing
        .iter()
        .map(|(wire, to)| json!({"name": wire, "mapped_to": to}))
        .collect();
    out.data(json!({"data": data, "missing": missing_json}), || {
        let row = |field: &FieldInfo| {
            vec![
                field.name.clone(),
                field.label.clone(),
                kind(field),
                traits(field),
                mapped.to(&field.name).join(", "),
                options(field, args.options),
            ]
        };
        let rows: Vec<Vec<String>> = fields.iter().map(row).collect();
        table(&["name", "label", "type", "", "mapped to", "options"], &rows)
    });
    for (wire, to) in missing {
        out.note(&format!(
            "{object} has no field `{wire}`, which is mapped to {to}"
        ));
    }
    Exit::Ok
}

/// What the mappings of an object say of its fields: (wire field, `deal.name`).
struct Mapped(Vec<(String, String)>);

impl Mapped {
    fn of(account: &Account, object: &str) -> Mapped {
        let mut found = Vec::new();
        for mapping in account.mappings_of(object) {
            for line in mapping.mapped() {
                let to = format!("{}.{}", mapping.kind(), line.path);
                let to = match (line.reads, line.writes) {
                    (true, false) => format!("{to} (in)"),
                    (false, true) => format!("{to} (out)"),
                    _ => to,
                };
                found.extend(line.wire.into_iter().map(|wire| (wire.to_owned(), to.clone())));
            }
        }
        Mapped(found)
    }

    /// What a field is mapped to. A dotted wire field walks into the field of its first part.
    fn to(&self, field: &str) -> Vec<&str> {
        let at = |wire: &str| wire == field || wire.split_once('.').is_some_and(|(first, _)| first == field);
        let mapped = self.0.iter().filter(|(wire, _)| at(wire));
        mapped.map(|(_, to)| to.as_str()).collect()
    }

    /// What is mapped and does not exist. Of a dotted wire field nobody can say: a system lists references under other
    /// names than those that walk into them.
    fn missing(&self, fields: &[FieldInfo]) -> Vec<(&str, &str)> {
        let mapped = self
            .0
            .iter()
            .filter(|(wire, _)| !wire.contains('.') && !fields.iter().any(|field| field.name == *wire));
        mapped.map(|(wire, to)| (wire.as_str(), to.as_str())).collect()
    }
}

fn kind(field: &FieldInfo) -> String {
    if field.multiple {
        format!("several {}", field.kind)
    } else {
        field.kind.clone()
    }
}

/// The first options, and how many more there are.
fn options(field: &FieldInfo, shown_max: usize) -> String {
    let values: Vec<&str> = field.options.iter().map(|(value, _)| value.as_str()).collect();
    let shown = values[..values.len().min(shown_max)].join(", ");
    match values.len().saturating_sub(shown_max) {
        0 => shown,
        more => format!("{shown} … {more} more").trim_start().to_owned(),
    }
}

/// What is special about a field, in words.
fn traits(field: &FieldInfo) -> String {
    let traits = [
        (field.required, "required"),
        (field.unique, "unique"),
        (!field.writable, "read only"),
        (field.volatile, "volatile"),
    ];
    let holding = traits.into_iter().filter(|(holds, _)| *holds);
    holding.map(|(_, word)| word).collect::<Vec<_>>().join(", ")
}

fn json_of(field: &FieldInfo, mapped_to: &[&str]) -> Json {
    let options = field.options.iter();
    let options: Vec<Json> = options
        .map(|(value, label)| json!({"value": value, "label": label}))
        .collect();
    json!({
        "name": field.name, "label": field.label, "type": field.kind, "multiple": field.multiple, "options": options,
        "required": field.required, "unique": field.unique, "writable": field.writable, "volatile": field.volatile,
        "mapped_to": mapped_to,
    })
}
