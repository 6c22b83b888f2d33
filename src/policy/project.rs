//! [`project`]: what of an event may leave.

use std::collections::BTreeSet;

use model::{EventType, Kind};
use serde_json::{Map, Value as Json};

use crate::path::Path;
use crate::{Allow, PathPattern, SharingPolicy};

/// What stands in place of a masked value, whatever its type was.
pub const MASKED: &str = "***";

/// The parts of an event that are always shared beside its `data`; anything else at the top is shared only when
/// everything is allowed.
const ENVELOPE: [&str; 3] = ["type", "version", "timestamp"];

/// The part of the `data` of an event about a record that tells by field what changed, and what it tells of each.
const CHANGED: &str = "changed";
const SIDES: [&str; 2] = ["before", "after"];

/// What may leave, and what was held back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Projected {
    /// The event that may be sent.
    pub body: Json,
    /// The highest places that were left out, `data.customer.email`; elements of arrays read `*`. Sorted, each once.
    pub removed: Vec<String>,
}

/// Applies a policy to an event `{type, timestamp, data}`.
///
/// What an event about a record tells of a change, `data.changed` by field, is what the field is: what is said of
/// `deal.amount` holds for `data.deal.amount`, and for what it was before.
/// A container that holds nothing after something was taken from it is left out too, so that its presence tells
/// nothing. An event whose body is no object has nothing that a policy could allow and comes out empty.
pub fn project(policy: &SharingPolicy, event_type: &EventType, body: &Json) -> Projected {
    if policy.shares_everything() {
        return Projected {
            body: body.clone(),
            removed: Vec::new(),
        };
    }
    let mut walk = Walk {
        policy,
        removed: Vec::new(),
    };
    let mut shared = Map::new();
    for (key, value) in body.as_object().into_iter().flatten() {
        if key == "data" {
            let data = walk.data(value, event_type);
            shared.insert(key.clone(), data.unwrap_or_else(|| Json::Object(Map::new())));
        } else if ENVELOPE.contains(&key.as_str()) || policy.allow == Allow::Everything {
            shared.insert(key.clone(), value.clone());
        } else {
            walk.removed.push(key.clone());
        }
    }
    let removed: BTreeSet<String> = walk.removed.into_iter().collect();
    Projected {
        body: Json::Object(shared),
        removed: removed.into_iter().collect(),
    }
}

struct Walk<'p> {
    policy: &'p SharingPolicy,
    removed: Vec<String>,
}

impl Walk<'_> {
    /// What is shared of an event's `data`.
    fn data(&mut self, data: &Json, event_type: &EventType) -> Option<Json> {
        let domain = event_type.name().split('.').next().unwrap_or_default();
        let kind = Kind::parse(domain);
        let (Some(kind), Json::Object(parts)) = (kind, data) else {
            return self.place(data, &mut Path::default());
        };
        let mut shared = Map::new();
        for (key, value) in parts {
            let part = match value {
                Json::Object(changes) if key == CHANGED => self.changed(changes, kind),
                _ => Path::default().at_key(key, |path| self.place(value, path)),
            };
            shared.extend(part.map(|part| (key.clone(), part)));
        }
        (!shared.is_empty()).then_some(Json::Object(shared))
    }

    /// What is shared of the changes of a record's fields.
    fn changed(&mut self, changes: &Map<String, Json>, kind: Kind) -> Option<Json> {
        let mut shared = Map::new();
        for (field, change) in changes {
            let mut path = Path::default();
            let told = path.at_key(kind.name(), |path| {
                path.at_key(field, |path| match change {
                    Json::Object(sides) => self.sides(sides, path),
                    other => self.place(other, path),
                })
            });
            shared.extend(told.map(|told| (field.clone(), told)));
        }
        (!shared.is_empty()).then_some(Json::Object(shared))
    }

    fn sides<'v>(&mut self, sides: &'v Map<String, Json>, path: &mut Path<'v>) -> Option<Json> {
        let mut shared = Map::new();
        for (side, value) in sides {
            let told = match SIDES.contains(&side.as_str()) {
                true => self.place(value, path),
                false => path.at_key(side, |path| self.place(value, path)),
            };
            shared.extend(told.map(|told| (side.clone(), told)));
        }
        (!shared.is_empty()).then_some(Json::Object(shared))
    }

    /// What is shared of a place; nothing when nothing is.
    fn place<'v>(&mut self, value: &'v Json, path: &mut Path<'v>) -> Option<Json> {
        let before = self.removed.len();
        let shared = match value {
            Json::Object(map) if !map.is_empty() => self.object(map, path),
            Json::Array(items) if !items.is_empty() => self.array(items, path),
            leaf => self.leaf(leaf, path),
        };
        if shared.is_none() {
            // The place itself says all that its parts would.
            self.removed.truncate(before);
            self.removed.push(path.to_string());
        }
        shared
    }

    fn object<'v>(&mut self, map: &'v Map<String, Json>, path: &mut Path<'v>) -> Option<Json> {
        let mut shared = Map::new();
        for (key, value) in map {
            if let Some(value) = path.at_key(key, |path| self.place(value, path)) {
                shared.insert(key.clone(), value);
            }
        }
        (!shared.is_empty()).then_some(Json::Object(shared))
    }

    fn array<'v>(&mut self, items: &'v [Json], path: &mut Path<'v>) -> Option<Json> {
        let mut shared = Vec::new();
        for item in items {
            shared.extend(path.at_element(|path| self.place(item, path)));
        }
        (!shared.is_empty()).then_some(Json::Array(shared))
    }

    fn leaf(&self, leaf: &Json, path: &Path<'_>) -> Option<Json> {
        let any = |patterns: &[PathPattern]| patterns.iter().any(|pattern| path.is_within(pattern));
        let allowed = match &self.policy.allow {
            Allow::Everything => true,
            Allow::Only(patterns) => any(patterns),
        };
        (allowed && !any(&self.policy.omit)).then(|| {
            if any(&self.policy.mask) {
                Json::String(MASKED.to_owned())
            } else {
                leaf.clone()
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn patterns(texts: &[&str]) -> Vec<PathPattern> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn event() -> Json {
        json!({"type": "deal.won", "timestamp": "2026-11-23T06:00:00Z", "internal": 7, "data": {
            "name": "Solar park", "amount": {"amount": "1200.50", "currency": "EUR"}, "tags": [],
            "contacts": [{"email": "a@acme.example", "phone": "+4930123"}, {"phone": "+4940123"}],
            "customer": {"tax": {"id": "DE1"}},
        }})
    }

    /// The event after a policy, and what was held back.
    fn projected(policy: &SharingPolicy, body: &Json) -> (String, String) {
        let projected = project(policy, &EventType::DEAL_WON, body);
        (projected.body.to_string(), projected.removed.join(" "))
    }

    #[test]
    fn only_what_is_listed_leaves() {
        let policy = SharingPolicy::only(patterns(&["name", "amount.amount", "contacts.*.email"]));
        let (body, removed) = projected(&policy, &event());
        insta::assert_snapshot!(body, @r#"{"data":{"amount":{"amount":"1200.50"},"contacts":[{"email":"a@acme.example"}],"name":"Solar park"},"timestamp":"2026-11-23T06:00:00Z","type":"deal.won"}"#);
        insta::assert_snapshot!(removed, @"data.amount.currency data.contacts.* data.contacts.*.phone data.customer data.tags internal");
        let (body, removed) = projected(&SharingPolicy::default(), &event());
        insta::assert_snapshot!(body, @r#"{"data":{},"timestamp":"2026-11-23T06:00:00Z","type":"deal.won"}"#);
        insta::assert_snapshot!(removed, @"data.amount data.contacts data.customer data.name data.tags internal");
    }

    #[test]
    fn what_forbids_beats_what_allows() {
        let policy = SharingPolicy {
            omit: patterns(&["customer.tax", "contacts.*.phone"]),
            mask: patterns(&["amount.amount", "name", "customer"]),
            ..SharingPolicy::only(patterns(&["*"]))
        };
        let (body, removed) = projected(&policy, &event());
        insta::assert_snapshot!(body, @r#"{"data":{"amount":{"amount":"***","currency":"EUR"},"contacts":[{"email":"a@acme.example"}],"name":"***","tags":[]},"timestamp":"2026-11-23T06:00:00Z","type":"deal.won"}"#);
        insta::assert_snapshot!(removed, @"data.contacts.* data.contacts.*.phone data.customer internal");
        let everything_but = SharingPolicy {
            omit: patterns(&["*"]),
            ..SharingPolicy::everything()
        };
        let (body, _) = projected(&everything_but, &event());
        insta::assert_snapshot!(body, @r#"{"data":{},"internal":7,"timestamp":"2026-11-23T06:00:00Z","type":"deal.won"}"#);
    }

    #[test]
    fn what_a_field_was_is_shared_as_what_it_is() {
        let policy = SharingPolicy {
            omit: patterns(&["deal.customer.name"]),
            mask: patterns(&["deal.owner_email"]),
            ..SharingPolicy::only(patterns(&[
                "id",
                "deal.amount.amount",
                "deal.owner_email",
                "deal.customer",
            ]))
        };
        let body = json!({"data": {
            "id": "D-1",
            "deal": {"name": "Solar park", "amount": {"amount": "2", "currency": "EUR"}, "owner_email": "a@acme.example"},
            "changed": {
                "name": {"before": "Wind", "after": "Solar park"},
                "amount": {"before": {"amount": "1", "currency": "EUR"}, "after": {"amount": "2", "currency": "EUR"}},
                "owner_email": {"before": null, "after": "a@acme.example", "why": "secret"},
                "customer.name": {"before": "A", "after": "B"},
                "customer.country": {"before": "ES", "after": "PT"},
                "margin": {"before": 3, "after": 4}, "customer": {"name": {"before": "A", "after": "B"}}, "stage": "x",
            },
        }});
        let (told, removed) = projected(&policy, &body);
        insta::assert_snapshot!(told, @r#"{"data":{"changed":{"amount":{"after":{"amount":"2"},"before":{"amount":"1"}},"customer.country":{"after":"PT","before":"ES"},"owner_email":{"after":"***","before":"***","why":"***"}},"deal":{"amount":{"amount":"2"},"owner_email":"***"},"id":"D-1"}}"#);
        insta::assert_snapshot!(removed, @"data.deal.amount.currency data.deal.customer.name data.deal.margin data.deal.name data.deal.stage");
        // What is about no record of ours has no such part.
        let custom = EventType::parse("custom.note").unwrap();
        let told = project(&SharingPolicy::only(patterns(&["changed.name"])), &custom, &body);
        insta::assert_snapshot!(told.body, @r#"{"data":{"changed":{"name":{"after":"Solar park","before":"Wind"}}}}"#);
    }

    #[test]
    fn keys_with_dots_and_bodies_that_are_no_object_hide_nothing() {
        let policy = SharingPolicy {
            omit: patterns(&["customer.email"]),
            ..SharingPolicy::only(patterns(&["*"]))
        };
        let sly = json!({"data": {"customer.email": "a@acme.example", "customer": {"phone": 1}}});
        let told = project(&policy, &EventType::DEAL_WON, &sly);
        assert_eq!(told.body, json!({"data": {"customer": {"phone": 1}}}));
        assert_eq!(
            project(&policy, &EventType::DEAL_WON, &json!(["x"])).body,
            json!({})
        );
    }

    /// The path of every leaf; elements read `*`.
    fn leaves(value: &Json, at: &str, found: &mut Vec<(String, Json)>) {
        let below = |key: &str| {
            if at.is_empty() {
                key.to_owned()
            } else {
                format!("{at}.{key}")
            }
        };
        match value {
            Json::Object(map) if !map.is_empty() => {
                map.iter()
                    .for_each(|(key, value)| leaves(value, &below(key), found));
            }
            Json::Array(items) if !items.is_empty() => {
                items.iter().for_each(|value| leaves(value, &below("*"), found));
            }
            leaf => found.push((at.to_owned(), leaf.clone())),
        }
    }

    /// An own, plain reading of a pattern, on the texts of paths.
    fn means(pattern: &str, path: &str) -> bool {
        let mut path = path.split('.').filter(|segment| !segment.is_empty());
        pattern
            .split('.')
            .all(|segment| path.next().is_some_and(|key| segment == "*" || segment == key))
    }

    fn any_json() -> impl Strategy<Value = Json> {
        let leaf = prop_oneof![
            Just(Json::Null),
            any::<bool>().prop_map(Json::from),
            any::<i32>().prop_map(Json::from),
            "[a-c*]{0,2}".prop_map(Json::from),
        ];
        leaf.prop_recursive(4, 40, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Json::from),
                prop::collection::btree_map("[a-c]{1}(\\.[a-c])?", inner, 0..4)
                    .prop_map(|map| Json::Object(map.into_iter().collect())),
            ]
        })
    }

    fn any_patterns() -> impl Strategy<Value = Vec<String>> {
        prop::collection::vec("([a-c]|\\*)(\\.([a-c]|\\*)){0,3}", 0..4)
    }

    fn parsed(texts: &[String]) -> Vec<PathPattern> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn any_policy() -> impl Strategy<Value = (Vec<String>, Vec<String>, Vec<String>)> {
        (any_patterns(), any_patterns(), any_patterns())
    }

    fn policy((allow, omit, mask): &(Vec<String>, Vec<String>, Vec<String>)) -> SharingPolicy {
        SharingPolicy {
            allow: Allow::Only(parsed(allow)),
            omit: parsed(omit),
            mask: parsed(mask),
        }
    }

    fn told(policy: &SharingPolicy, data: &Json) -> Vec<(String, Json)> {
        let body = json!({"type": "deal.won", "timestamp": "t", "data": data});
        let mut found = Vec::new();
        let projected = project(policy, &EventType::DEAL_WON, &body);
        leaves(&projected.body["data"], "", &mut found);
        found
    }

    proptest! {
        #[test]
        fn nothing_leaves_that_is_not_allowed_and_everything_that_is(data in any_json(), rules in any_policy()) {
            let mut before = Vec::new();
            leaves(&data, "", &mut before);
            let (allow, omit, mask) = &rules;
            let any = |patterns: &[String], path: &str| patterns.iter().any(|pattern| means(pattern, path));
            let mut expected: Vec<(String, Json)> =
                before.into_iter().filter(|(path, _)| any(allow, path) && !any(omit, path)).collect();
            for (path, value) in &mut expected {
                if any(mask, path) {
                    *value = Json::from(MASKED);
                }
            }
            if expected.is_empty() {
                expected.push((String::new(), json!({})));
            }
            prop_assert_eq!(told(&policy(&rules), &data), expected);
        }

        #[test]
        fn what_was_projected_stays_as_it_is(data in any_json(), rules in any_policy()) {
            let body = json!({"type": "deal.won", "timestamp": "t", "data": {"deal": data, "changed": {"b": data}}});
            let once = project(&policy(&rules), &EventType::DEAL_WON, &body).body;
            prop_assert_eq!(&project(&policy(&rules), &EventType::DEAL_WON, &once).body, &once);
        }

        #[test]
        fn a_rule_that_forbids_never_shows_more(data in any_json(), rules in any_policy(), one in any_patterns()) {
            let less = SharingPolicy { omit: parsed(&one), ..policy(&rules) };
            let mut stricter = policy(&rules);
            stricter.omit.extend(less.omit);
            let before = told(&policy(&rules), &data);
            for leaf in told(&stricter, &data) {
                prop_assert!(before.contains(&leaf) || leaf.1 == json!({}), "{leaf:?} is new");
            }
            let mut masked = policy(&rules);
            masked.mask.extend(parsed(&one));
            for (path, value) in told(&masked, &data) {
                let was = before.iter().any(|leaf| *leaf == (path.clone(), value.clone()));
                prop_assert!(was || value == json!(MASKED), "{path} is {value}");
            }
        }

        #[test]
        fn sharing_everything_is_the_identity(body in any_json()) {
            let policy = SharingPolicy::everything();
            prop_assert!(policy.shares_everything());
            let projected = project(&policy, &EventType::DEAL_WON, &body);
            prop_assert_eq!((projected.body, projected.removed), (body, vec![]));
        }
    }
}
