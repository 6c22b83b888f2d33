//! What a field of an object is: its type, its length, what may be written to it.

/// Types of fields, as far as the emulated objects use them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Id,
    Text,
    TextArea,
    Email,
    Phone,
    Url,
    Picklist,
    Reference,
    Boolean,
    Int,
    Double,
    Percent,
    Currency,
    Date,
    DateTime,
    Address,
}

impl Kind {
    /// The name describe gives it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::Text => "string",
            Self::TextArea => "textarea",
            Self::Email => "email",
            Self::Phone => "phone",
            Self::Url => "url",
            Self::Picklist => "picklist",
            Self::Reference => "reference",
            Self::Boolean => "boolean",
            Self::Int => "int",
            Self::Double => "double",
            Self::Percent => "percent",
            Self::Currency => "currency",
            Self::Date => "date",
            Self::DateTime => "datetime",
            Self::Address => "address",
        }
    }

    /// The name describe gives it in SOAP terms.
    pub(crate) fn soap_name(self) -> &'static str {
        match self {
            Self::Id | Self::Reference => "tns:ID",
            Self::Boolean => "xsd:boolean",
            Self::Int => "xsd:int",
            Self::Double | Self::Percent | Self::Currency => "xsd:double",
            Self::Date => "xsd:date",
            Self::DateTime => "xsd:dateTime",
            Self::Address => "urn:address",
            _ => "xsd:string",
        }
    }

    /// Whether its values are texts with a length.
    pub(crate) fn is_text(self) -> bool {
        matches!(
            self,
            Self::Text | Self::TextArea | Self::Email | Self::Phone | Self::Url | Self::Picklist
        )
    }

    /// Whether its values are ids.
    pub(crate) fn is_id(self) -> bool {
        matches!(self, Self::Id | Self::Reference)
    }

    /// Whether its values are numbers.
    pub(crate) fn is_number(self) -> bool {
        matches!(self, Self::Int | Self::Double | Self::Percent | Self::Currency)
    }
}

/// One field of an object.
#[derive(Debug, Clone)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) label: String,
    pub(crate) kind: Kind,
    /// Characters a text may have.
    pub(crate) length: usize,
    /// Digits a number may have, and how many of them stand behind the point.
    pub(crate) precision: u32,
    pub(crate) scale: u32,
    pub(crate) required: bool,
    pub(crate) writable: bool,
    pub(crate) unique: bool,
    pub(crate) external_id: bool,
    pub(crate) restricted: bool,
    pub(crate) name_field: bool,
    pub(crate) values: Vec<&'static str>,
    /// The object a reference points at, and the name of the way there in SOQL.
    pub(crate) refers_to: Option<(&'static str, &'static str)>,
    /// Another object that a reference may point at; no way in SOQL leads there.
    pub(crate) or_refers_to: Option<&'static str>,
    /// What a new row gets when the field is not given.
    pub(crate) default: Option<&'static str>,
}

impl Field {
    fn new(name: impl Into<String>, kind: Kind) -> Self {
        let name = name.into();
        Self {
            label: label_of(&name),
            name,
            kind,
            length: 0,
            precision: 0,
            scale: 0,
            required: false,
            writable: true,
            unique: false,
            external_id: false,
            restricted: false,
            name_field: false,
            values: Vec::new(),
            refers_to: None,
            or_refers_to: None,
            default: None,
        }
    }

    pub(crate) fn text(name: impl Into<String>, length: usize) -> Self {
        Self {
            length,
            ..Self::new(name, Kind::Text)
        }
    }

    pub(crate) fn text_area(name: impl Into<String>, length: usize) -> Self {
        Self {
            length,
            ..Self::new(name, Kind::TextArea)
        }
    }

    pub(crate) fn email(name: &str) -> Self {
        Self {
            length: 80,
            ..Self::new(name, Kind::Email)
        }
    }

    pub(crate) fn phone(name: &str) -> Self {
        Self {
            length: 40,
            ..Self::new(name, Kind::Phone)
        }
    }

    pub(crate) fn url(name: &str) -> Self {
        Self {
            length: 255,
            ..Self::new(name, Kind::Url)
        }
    }

    pub(crate) fn picklist(name: impl Into<String>, values: &[&'static str]) -> Self {
        Self {
            length: 255,
            values: values.to_vec(),
            ..Self::new(name, Kind::Picklist)
        }
    }

    pub(crate) fn reference(name: &str, to: &'static str, relation: &'static str) -> Self {
        Self {
            length: 18,
            refers_to: Some((to, relation)),
            ..Self::new(name, Kind::Reference)
        }
    }

    pub(crate) fn or(self, to: &'static str) -> Self {
        Self {
            or_refers_to: Some(to),
            ..self
        }
    }

    pub(crate) fn id() -> Self {
        Self {
            length: 18,
            ..Self::new("Id", Kind::Id)
        }
        .read_only()
    }

    pub(crate) fn boolean(name: &str) -> Self {
        Self {
            default: Some("false"),
            ..Self::new(name, Kind::Boolean)
        }
    }

    pub(crate) fn int(name: &str, digits: u32) -> Self {
        Self {
            precision: digits,
            ..Self::new(name, Kind::Int)
        }
    }

    pub(crate) fn number(name: &str, kind: Kind, precision: u32, scale: u32) -> Self {
        Self {
            precision,
            scale,
            ..Self::new(name, kind)
        }
    }

    pub(crate) fn date(name: &str) -> Self {
        Self::new(name, Kind::Date)
    }

    pub(crate) fn date_time(name: &str) -> Self {
        Self::new(name, Kind::DateTime)
    }

    /// A compound of the fields that begin with the same word. Read-only, and never part of a row.
    pub(crate) fn address(name: impl Into<String>) -> Self {
        Self::new(name, Kind::Address).read_only()
    }

    pub(crate) fn required(self) -> Self {
        Self {
            required: true,
            ..self
        }
    }

    pub(crate) fn read_only(self) -> Self {
        Self {
            writable: false,
            ..self
        }
    }

    pub(crate) fn restricted(self) -> Self {
        Self {
            restricted: true,
            ..self
        }
    }

    pub(crate) fn unique_external_id(self) -> Self {
        Self {
            unique: true,
            external_id: true,
            ..self
        }
    }

    pub(crate) fn naming(self) -> Self {
        Self {
            name_field: true,
            ..self
        }
    }

    pub(crate) fn labelled(self, label: &str) -> Self {
        Self {
            label: label.to_owned(),
            ..self
        }
    }

    pub(crate) fn or_else(self, default: &'static str) -> Self {
        Self {
            default: Some(default),
            ..self
        }
    }

    /// Whether an administrator of the organisation added it.
    pub(crate) fn is_custom(&self) -> bool {
        self.name.ends_with("__c")
    }

    /// Whether it may be empty.
    pub(crate) fn is_nillable(&self) -> bool {
        !self.required && !matches!(self.kind, Kind::Id | Kind::Boolean) && self.default.is_none()
    }
}

/// `AnnualRevenue` reads "Annual Revenue", `AccountId` reads "Account ID", `Partner_Type__c` reads "Partner Type".
fn label_of(name: &str) -> String {
    let mut label = String::with_capacity(name.len() + 4);
    let mut before = ' ';
    for letter in name.trim_end_matches("__c").chars() {
        if letter == '_' {
            label.push(' ');
        } else {
            if letter.is_ascii_uppercase() && before.is_ascii_lowercase() {
                label.push(' ');
            }
            label.push(letter);
        }
        before = letter;
    }
    if label.ends_with(" Id") {
        label.replace(" Id", " ID")
    } else {
        label
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_read_like_the_setup_screens() {
        for (name, label) in [
            ("LastName", "Last Name"),
            ("AccountId", "Account ID"),
            ("Partner_Type__c", "Partner Type"),
            ("Name", "Name"),
            ("Interconnect_Id__c", "Interconnect ID"),
        ] {
            assert_eq!(label_of(name), label);
        }
    }
}
