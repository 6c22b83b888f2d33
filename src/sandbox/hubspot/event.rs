//! What happened in a portal, and how a webhook tells it.

use serde_json::{Value, json};

use super::kind::Kind;

/// Who caused a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// An app, by its id.
    App(u64),
    /// A person at the screen, by their user id.
    Person(u64),
}

impl Source {
    fn change_source(self) -> &'static str {
        match self {
            Self::App(_) => "INTEGRATION",
            Self::Person(_) => "CRM_UI",
        }
    }

    fn id(self) -> String {
        match self {
            Self::App(id) => id.to_string(),
            Self::Person(id) => format!("userId:{id}"),
        }
    }

    /// The properties that tell a row's origin.
    pub(crate) fn properties(self) -> [(&'static str, String); 3] {
        let source = self.change_source().to_owned();
        [
            ("hs_object_source", source.clone()),
            ("hs_object_source_id", self.id()),
            ("hs_object_source_label", source),
        ]
    }
}

/// What happened to a row.
#[derive(Debug, Clone, PartialEq, Eq)]
enum What {
    Created,
    Deleted,
    Property {
        name: String,
        value: String,
    },
    Association {
        to: Kind,
        to_id: u64,
        removed: bool,
        primary: bool,
    },
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    kind: Kind,
    id: u64,
    what: What,
    source: Source,
    at_ms: i64,
}

impl Change {
    pub(crate) fn created(kind: Kind, id: u64, source: Source, at_ms: i64) -> Self {
        Self {
            kind,
            id,
            what: What::Created,
            source,
            at_ms,
        }
    }

    pub(crate) fn deleted(kind: Kind, id: u64, source: Source, at_ms: i64) -> Self {
        Self {
            kind,
            id,
            what: What::Deleted,
            source,
            at_ms,
        }
    }

    pub(crate) fn property(
        kind: Kind,
        id: u64,
        name: String,
        value: String,
        source: Source,
        at_ms: i64,
    ) -> Self {
        Self {
            kind,
            id,
            what: What::Property { name, value },
            source,
            at_ms,
        }
    }

    pub(crate) fn association(
        from: (Kind, u64),
        to: (Kind, u64),
        removed: bool,
        primary: bool,
        source: Source,
        at_ms: i64,
    ) -> Self {
        let what = What::Association {
            to: to.0,
            to_id: to.1,
            removed,
            primary,
        };
        Self {
            kind: from.0,
            id: from.1,
            what,
            source,
            at_ms,
        }
    }

    /// The event as it stands in a webhook's list.
    pub(crate) fn event(&self, event_id: u64, attempt: u32) -> Value {
        let (what, more, subscription) = match &self.what {
            What::Created => ("creation", json!({ "objectId": self.id, "changeFlag": "NEW" }), 1),
            What::Deleted => (
                "deletion",
                json!({ "objectId": self.id, "changeFlag": "DELETED" }),
                2,
            ),
            What::Property { name, value } => (
                "propertyChange",
                json!({ "objectId": self.id, "propertyName": name, "propertyValue": value }),
                3,
            ),
            What::Association {
                to,
                to_id,
                removed,
                primary,
            } => {
                let both = format!("{}_TO_{}", self.kind.singular(), to.singular()).to_uppercase();
                let more = json!({
                    "associationType": both, "fromObjectId": self.id, "toObjectId": to_id,
                    "associationRemoved": removed, "isPrimaryAssociation": primary,
                });
                ("associationChange", more, 4)
            }
        };
        let mut event = json!({
            "eventId": event_id, "subscriptionId": 100 * (self.kind.at() + 1) + subscription,
            "portalId": super::PORTAL_ID, "appId": super::APP_ID, "occurredAt": self.at_ms,
            "subscriptionType": format!("{}.{what}", self.kind.singular()), "attemptNumber": attempt,
            "changeSource": self.source.change_source(), "sourceId": self.source.id(),
        });
        for (key, value) in more.as_object().into_iter().flatten() {
            event[key] = value.clone();
        }
        event
    }
}
