//! What a property is: its type, its options, whether its values are unique.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// One choice of an enumeration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Choice {
    pub(crate) label: String,
    pub(crate) value: String,
    #[serde(default)]
    pub(crate) description: String,
    #[serde(default)]
    pub(crate) display_order: i64,
    #[serde(default)]
    pub(crate) hidden: bool,
}

/// One property of a kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Property {
    pub(crate) name: String,
    pub(crate) label: String,
    /// `string`, `number`, `bool`, `enumeration`, `date` or `datetime`.
    pub(crate) kind: String,
    pub(crate) field_kind: String,
    pub(crate) description: String,
    pub(crate) group: String,
    pub(crate) choices: Vec<Choice>,
    pub(crate) unique: bool,
    pub(crate) read_only: bool,
    /// Whether HubSpot made it, and not the portal's people.
    pub(crate) native: bool,
    /// Whether its choices live elsewhere, as owners do.
    pub(crate) external_choices: bool,
}

/// A property as a client asks for it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PropertyForm {
    pub(crate) name: String,
    pub(crate) label: String,
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) field_type: String,
    pub(crate) group_name: String,
    #[serde(default)]
    pub(crate) description: String,
    #[serde(default)]
    pub(crate) options: Vec<Choice>,
    #[serde(default)]
    pub(crate) has_unique_value: bool,
}

/// The types a property may have.
pub(crate) const KINDS: [&str; 6] = ["string", "number", "bool", "enumeration", "date", "datetime"];

impl Property {
    fn native(name: &str, label: &str, kind: &str, field_kind: &str) -> Self {
        Self {
            name: name.to_owned(),
            label: label.to_owned(),
            kind: kind.to_owned(),
            field_kind: field_kind.to_owned(),
            description: String::new(),
            group: String::new(),
            choices: Vec::new(),
            unique: false,
            read_only: false,
            native: true,
            external_choices: false,
        }
    }

    pub(crate) fn text(name: &str, label: &str) -> Self {
        Self::native(name, label, "string", "text")
    }

    pub(crate) fn long_text(name: &str, label: &str) -> Self {
        Self::native(name, label, "string", "textarea")
    }

    pub(crate) fn number(name: &str, label: &str) -> Self {
        Self::native(name, label, "number", "number")
    }

    pub(crate) fn moment(name: &str, label: &str) -> Self {
        Self::native(name, label, "datetime", "date")
    }

    pub(crate) fn flag(name: &str, label: &str) -> Self {
        Self {
            choices: choices(&[("True", "true"), ("False", "false")]),
            ..Self::native(name, label, "bool", "booleancheckbox")
        }
    }

    pub(crate) fn choice(name: &str, label: &str, of: &[(&str, &str)]) -> Self {
        Self {
            choices: choices(of),
            ..Self::native(name, label, "enumeration", "select")
        }
    }

    pub(crate) fn read_only(self) -> Self {
        Self {
            read_only: true,
            ..self
        }
    }

    pub(crate) fn unique(self) -> Self {
        Self { unique: true, ..self }
    }

    /// Made by the portal's people rather than by HubSpot.
    pub(crate) fn custom(self) -> Self {
        Self {
            native: false,
            ..self
        }
    }

    pub(crate) fn with_choices_elsewhere(self) -> Self {
        Self {
            external_choices: true,
            ..self
        }
    }

    pub(crate) fn of(form: PropertyForm) -> Self {
        let mut choices = form.options;
        for (order, choice) in choices.iter_mut().enumerate() {
            if choice.display_order == 0 {
                choice.display_order = i64::try_from(order).unwrap_or(i64::MAX);
            }
        }
        Self {
            label: form.label,
            kind: form.kind,
            field_kind: form.field_type,
            description: form.description,
            group: form.group_name,
            choices,
            unique: form.has_unique_value,
            read_only: false,
            native: false,
            external_choices: false,
            name: form.name,
        }
    }

    /// The property as the API shows it.
    pub(crate) fn shown(&self) -> Value {
        let mut shown = json!({
            "name": self.name, "label": self.label, "type": self.kind, "fieldType": self.field_kind,
            "description": self.description, "groupName": self.group, "options": self.choices, "displayOrder": -1,
            "calculated": false, "externalOptions": self.external_choices, "hasUniqueValue": self.unique, "hidden": false,
            "modificationMetadata": {
                "archivable": !self.native, "readOnlyDefinition": self.native, "readOnlyValue": self.read_only,
            },
            "formField": !self.read_only, "dataSensitivity": "non_sensitive", "archived": false,
        });
        if self.native {
            shown["hubspotDefined"] = json!(true);
        }
        if self.external_choices {
            shown["referencedObjectType"] = json!("OWNER");
        }
        shown
    }
}

fn choices(of: &[(&str, &str)]) -> Vec<Choice> {
    let choice = |(order, (label, value)): (usize, &(&str, &str))| Choice {
        label: (*label).to_owned(),
        value: (*value).to_owned(),
        description: String::new(),
        display_order: i64::try_from(order).unwrap_or(i64::MAX),
        hidden: false,
    };
    of.iter().enumerate().map(choice).collect()
}
