//! A row as answers show it, and the query parameters that choose what is shown.

use serde_json::{Map, Value, json};

use super::PORTAL_ID;
use super::kind::Kind;
use super::rows::{Portal, Row};
use super::value::moment;

/// What an answer shows of a row's properties.
#[derive(Debug, Clone)]
pub(crate) enum Wanted {
    /// The kind's own selection, as reads without a wish give it.
    Defaults,
    /// Everything that has a value, as writes give it.
    Everything,
    /// These, and the few that are always told.
    Named(Vec<String>),
}

impl Wanted {
    /// What a read asked for; nothing asked means the defaults.
    pub(crate) fn named(names: Vec<String>) -> Self {
        if names.is_empty() {
            Self::Defaults
        } else {
            Self::Named(names)
        }
    }
}

/// The parameters of a query; a name may come more than once.
pub(crate) struct Parameters(pub(crate) Vec<(String, String)>);

impl Parameters {
    /// The last value of a parameter.
    pub(crate) fn one(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .rev()
            .find(|(key, value)| key == name && !value.is_empty())
            .map(|(_, value)| value.as_str())
    }

    /// All values of a parameter, repeated (`p=a&p=b`) or with commas (`p=a,b`).
    pub(crate) fn many(&self, name: &str) -> Vec<String> {
        let values = self
            .0
            .iter()
            .filter(|(key, _)| key == name)
            .flat_map(|(_, value)| value.split(','));
        values
            .map(str::trim)
            .filter(|value| !value.is_empty())
            .map(str::to_owned)
            .collect()
    }

    pub(crate) fn flag(&self, name: &str) -> bool {
        self.one(name) == Some("true")
    }
}

/// A row.
pub(crate) fn row(portal: &Portal, kind: Kind, id: u64, row: &Row, wanted: &Wanted) -> Value {
    let value = |name: &str| row.properties.get(name).map_or(Value::Null, |value| json!(value));
    let properties: Map<String, Value> = match wanted {
        Wanted::Everything => row
            .properties
            .iter()
            .map(|(name, value)| (name.clone(), json!(value)))
            .collect(),
        Wanted::Defaults => kind
            .defaults()
            .iter()
            .map(|name| ((*name).to_owned(), value(name)))
            .collect(),
        Wanted::Named(names) => {
            let always = ["createdate", "hs_object_id", kind.modified()].into_iter();
            let asked = names
                .iter()
                .map(String::as_str)
                .filter(|name| portal.property(kind, name).is_some());
            always
                .chain(asked)
                .map(|name| (name.to_owned(), value(name)))
                .collect()
        }
    };
    let mut shown = json!({
        "id": id.to_string(), "properties": properties, "createdAt": moment(row.created_ms),
        "updatedAt": moment(row.updated_ms), "archived": row.archived_ms.is_some(),
        "url": format!("https://app.hubspot.com/contacts/{PORTAL_ID}/record/{}/{id}", kind.type_id()),
    });
    if let Some(archived_ms) = row.archived_ms {
        shown["archivedAt"] = json!(moment(archived_ms));
    }
    shown
}

/// The associations of a row with some kinds, as reads add them on request.
pub(crate) fn associations(portal: &Portal, kind: Kind, id: u64, to: &[Kind]) -> Option<Value> {
    let mut shown = Map::new();
    for to in to {
        let results: Vec<Value> = portal
            .links
            .of((kind, id), *to)
            .flat_map(|(other, types)| {
                types.iter().map(move |type_id| {
                    let label = if super::associations::is_primary(*type_id) { "" } else { "_unlabeled" };
                    json!({ "id": other.to_string(), "type": format!("{}_to_{}{label}", kind.singular(), to.singular()) })
                })
            })
            .collect();
        if !results.is_empty() {
            shown.insert(to.plural().to_owned(), json!({ "results": results }));
        }
    }
    (!shown.is_empty()).then_some(Value::Object(shown))
}
