//! [`Kind`] and [`Field`]: what each kind of record can hold.
//!
//! Paths are dotted; a path's first part groups what belongs together, as in a nested document
//! (`customer.country`). An organisation and a person are the same groups of fields wherever they occur.

use std::fmt;
use std::sync::LazyLock;

use crate::EventType;
use crate::custom::{self, CUSTOM};

/// The kinds of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// An organisation or person in the ecosystem.
    Partner,
    /// A possible customer, before it is known to be a deal.
    Lead,
    /// A sale in progress, won or lost.
    Deal,
}

/// What a field's values look like, and how they are normalised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldType {
    /// Text of at most so many characters; blanks around it are cut.
    Text {
        /// Characters at most.
        chars_max: usize,
    },
    /// An e-mail address, lower-case.
    Email,
    /// A phone number, E.164.
    Phone,
    /// A registrable domain by the public suffix list, lower-case ASCII.
    Domain,
    /// A web address with scheme.
    Url,
    /// A country, ISO 3166-1 alpha-2.
    Country,
    /// A subdivision, ISO 3166-2 (`DE-BE`).
    Subdivision,
    /// An amount with its currency.
    Money,
    /// An exact decimal.
    Decimal,
    /// A whole number.
    Integer,
    /// True or false.
    Bool,
    /// A day without time and zone.
    Date,
    /// A moment in UTC.
    Instant,
    /// One of a closed set of words.
    Choice(&'static [&'static str]),
    /// Several of a closed set of words.
    Choices(&'static [&'static str]),
    /// Texts without order.
    Set,
    /// Another record of a kind.
    Reference(Kind),
}

impl FieldType {
    /// Whether one value of it can be larger than another.
    pub fn is_ordered(self) -> bool {
        matches!(
            self,
            FieldType::Money | FieldType::Decimal | FieldType::Integer | FieldType::Date | FieldType::Instant
        )
    }
}

/// One field of a kind of record.
#[derive(Debug, PartialEq, Eq)]
pub struct Field {
    /// Where it stands in the record: `customer.country`.
    pub path: &'static str,
    /// What it holds.
    pub field_type: FieldType,
    /// Whether a record without it is refused.
    pub required: bool,
    /// What it means.
    pub doc: &'static str,
}

const SHORT: FieldType = FieldType::Text { chars_max: 255 };
const LONG: FieldType = FieldType::Text { chars_max: 2000 };

const fn field(path: &'static str, field_type: FieldType, doc: &'static str) -> Field {
    Field {
        path,
        field_type,
        required: false,
        doc,
    }
}

const fn required(path: &'static str, field_type: FieldType, doc: &'static str) -> Field {
    Field {
        path,
        field_type,
        required: true,
        doc,
    }
}

/// The fields of an address under a prefix.
macro_rules! address {
    ($prefix:literal) => {
        [
            field(
                concat!($prefix, ".street"),
                SHORT,
                "street and number, lines joined by a line feed",
            ),
            field(
                concat!($prefix, ".city"),
                FieldType::Text { chars_max: 100 },
                "city",
            ),
            field(
                concat!($prefix, ".subdivision"),
                FieldType::Subdivision,
                "state or province, ISO 3166-2",
            ),
            field(
                concat!($prefix, ".postal_code"),
                FieldType::Text { chars_max: 20 },
                "postal code",
            ),
            field(
                concat!($prefix, ".country"),
                FieldType::Country,
                "country, ISO 3166-1 alpha-2",
            ),
        ]
    };
}

/// The fields of a person under a prefix.
macro_rules! person {
    ($prefix:literal) => {
        [
            field(
                concat!($prefix, ".first_name"),
                FieldType::Text { chars_max: 80 },
                "given name",
            ),
            field(
                concat!($prefix, ".last_name"),
                FieldType::Text { chars_max: 80 },
                "family name",
            ),
            field(concat!($prefix, ".email"), FieldType::Email, "e-mail address"),
            field(
                concat!($prefix, ".phone"),
                FieldType::Phone,
                "phone number, E.164",
            ),
            field(
                concat!($prefix, ".job_title"),
                FieldType::Text { chars_max: 128 },
                "job title",
            ),
        ]
    };
}

const PARTNER: &[&[Field]] = &[
    &[
        required("display_name", SHORT, "the name people use"),
        field("legal_name", SHORT, "the registered name"),
        field(
            "kind",
            FieldType::Choice(&["organization", "individual"]),
            "what the partner is",
        ),
        field(
            "status",
            FieldType::Choice(&[
                "prospect",
                "applicant",
                "invited",
                "active",
                "suspended",
                "terminated",
                "declined",
            ]),
            "where the partnership stands",
        ),
        field(
            "types",
            FieldType::Choices(&["sales", "service", "technology", "influence", "strategic"]),
            "what the partner does; several at once are usual",
        ),
        field("domain", FieldType::Domain, "primary domain"),
        field("website_url", FieldType::Url, "website"),
        field("email", FieldType::Email, "general e-mail address"),
        field("phone", FieldType::Phone, "general phone number"),
        field("description", LONG, "description"),
        field(
            "industry",
            FieldType::Text { chars_max: 100 },
            "industry, as the source names it",
        ),
        field(
            "tier",
            FieldType::Text { chars_max: 60 },
            "tier in the partner programme",
        ),
    ],
    &address!("headquarters"),
    &person!("contact"),
];

const LEAD: &[&[Field]] = &[
    &[
        required(
            "status",
            FieldType::Choice(&[
                "open",
                "working",
                "qualified",
                "converted",
                "disqualified",
                "closed",
            ]),
            "where the lead stands",
        ),
        field(
            "qualification",
            FieldType::Choice(&[
                "none",
                "direct",
                "marketing_qualified",
                "sales_qualified",
                "disqualified",
            ]),
            "how far it is qualified",
        ),
        required("company.name", SHORT, "the company that may buy"),
        field("company.domain", FieldType::Domain, "its domain"),
        field("company.website_url", FieldType::Url, "its website"),
        field(
            "company.industry",
            FieldType::Text { chars_max: 100 },
            "its industry",
        ),
        field(
            "source.kind",
            FieldType::Choice(&[
                "event",
                "website",
                "referral",
                "campaign",
                "marketplace",
                "partner",
                "account_mapping",
                "other",
            ]),
            "where the lead came from",
        ),
        field("source.name", SHORT, "the event, campaign or page by name"),
        field("business_problem", LONG, "what the company wants solved"),
        field("estimated_value", FieldType::Money, "what it may be worth"),
        field(
            "partner",
            FieldType::Reference(Kind::Partner),
            "the partner that works on it",
        ),
        field("owner_email", FieldType::Email, "our person for it"),
    ],
    &address!("company"),
    &person!("contact"),
];

const DEAL: &[&[Field]] = &[
    &[
        required("name", SHORT, "what the deal is called"),
        required(
            "stage",
            FieldType::Choice(&[
                "prospect",
                "qualified",
                "technical_validation",
                "business_validation",
                "committed",
                "launched",
                "closed_lost",
            ]),
            "where the sale stands; won from `committed` on",
        ),
        field("amount", FieldType::Money, "total value"),
        field(
            "expected_close_date",
            FieldType::Date,
            "the day it is expected to close",
        ),
        field("closed_at", FieldType::Instant, "when it was won or lost"),
        field("probability", FieldType::Decimal, "0 to 1"),
        field(
            "partner",
            FieldType::Reference(Kind::Partner),
            "the partner that sells or buys",
        ),
        field("customer.name", SHORT, "the end customer"),
        field("customer.domain", FieldType::Domain, "its domain"),
        field(
            "deal_type",
            FieldType::Choice(&["net_new", "expansion", "renewal"]),
            "what is sold to whom",
        ),
        field(
            "origin",
            FieldType::Choice(&["partner", "vendor", "joint"]),
            "who brought it",
        ),
        field("product_lines", FieldType::Set, "what is sold"),
        field("lost_reason", SHORT, "why it was lost"),
        field("next_steps", SHORT, "what comes next"),
        field("description", LONG, "description"),
        field("owner_email", FieldType::Email, "our person for it"),
    ],
    &address!("customer"),
    &person!("contact"),
];

impl Kind {
    /// All kinds, parents before those that refer to them.
    pub const ALL: [Kind; 3] = [Kind::Partner, Kind::Lead, Kind::Deal];

    /// The kind's name in files, API and events: `partner`.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Partner => "partner",
            Kind::Lead => "lead",
            Kind::Deal => "deal",
        }
    }

    /// The kind of that name.
    pub fn parse(name: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// The prefix of its ids: `ptn`.
    pub fn prefix(self) -> &'static str {
        match self {
            Kind::Partner => "ptn",
            Kind::Lead => "led",
            Kind::Deal => "dea",
        }
    }

    /// Every field that records of this kind can hold, in the order they are shown; those that are declared come last.
    pub fn fields(self) -> impl Iterator<Item = &'static Field> {
        let own = custom::declared(self).iter().copied();
        self.built_in().chain(own)
    }

    /// The fields that records of this kind have everywhere.
    fn built_in(self) -> impl Iterator<Item = &'static Field> {
        let groups = match self {
            Kind::Partner => PARTNER,
            Kind::Lead => LEAD,
            Kind::Deal => DEAL,
        };
        groups.iter().flat_map(|group| group.iter())
    }

    /// The field at a path.
    pub fn field(self, path: &str) -> Option<&'static Field> {
        static BY_PATH: LazyLock<[Vec<&'static Field>; 3]> = LazyLock::new(|| {
            Kind::ALL.map(|kind| {
                let mut fields: Vec<&'static Field> = kind.built_in().collect();
                fields.sort_unstable_by_key(|field| field.path);
                fields
            })
        });
        let by_path = &BY_PATH[self as usize];
        match by_path.binary_search_by(|field| field.path.cmp(path)) {
            Ok(at) => Some(by_path[at]),
            Err(_) if path.starts_with(CUSTOM) => custom::at(self, path),
            Err(_) => None,
        }
    }

    /// The events that a new record of this kind, and a changed one, cause.
    pub fn events(self) -> (EventType, EventType) {
        match self {
            Kind::Partner => (EventType::PARTNER_CREATED, EventType::PARTNER_UPDATED),
            Kind::Lead => (EventType::LEAD_CREATED, EventType::LEAD_UPDATED),
            Kind::Deal => (EventType::DEAL_CREATED, EventType::DEAL_UPDATED),
        }
    }

    /// The event that a deleted record of this kind causes.
    pub fn deleted_event(self) -> EventType {
        match self {
            Kind::Partner => EventType::PARTNER_DELETED,
            Kind::Lead => EventType::LEAD_DELETED,
            Kind::Deal => EventType::DEAL_DELETED,
        }
    }

    /// The events that two records of this kind cause that become one, or two again.
    pub fn union_events(self) -> (EventType, EventType) {
        match self {
            Kind::Partner => (EventType::PARTNER_MERGED, EventType::PARTNER_UNMERGED),
            Kind::Lead => (EventType::LEAD_MERGED, EventType::LEAD_UNMERGED),
            Kind::Deal => (EventType::DEAL_MERGED, EventType::DEAL_UNMERGED),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_unique_and_well_formed() {
        for kind in Kind::ALL {
            let mut seen = std::collections::BTreeSet::new();
            for field in kind.built_in() {
                assert!(seen.insert(field.path), "{kind}: {} stands twice", field.path);
                assert!(
                    field
                        .path
                        .chars()
                        .all(|c| c.is_ascii_lowercase() || "._".contains(c)),
                    "{}",
                    field.path
                );
                assert!(!field.doc.is_empty());
            }
            // A path is a leaf or a group, never both, so that records can be served as nested documents.
            for path in &seen {
                assert!(
                    !seen.iter().any(|other| other.starts_with(&format!("{path}."))),
                    "{kind}: {path}"
                );
            }
        }
    }
}
