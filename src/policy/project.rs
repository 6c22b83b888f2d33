//! [`project`]: what of an event may leave.

use std::collections::BTreeSet;

use model::EventType;
use serde_json::{Map, Value as Json};

use crate::path::Path;
use crate::{PathPattern, Rule, Share, SharingPolicy};

/// What stands in place of a masked value, whatever its type was.
pub const MASKED: &str = "***";

/// The parts of an event that are always shared beside its `data`; anything else at the top is shared only when
/// everything is.
const ENVELOPE: [&str; 3] = ["type", "version", "timestamp"];

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
/// A container that holds nothing after something was taken from it is left out too, so that its presence tells
/// nothing. An event whose body is no object has nothing that a policy could allow and comes out empty.
pub fn project(policy: &SharingPolicy, event_type: &EventType, body: &Json) -> Projected {
    if policy.shares_everything(event_type) {
        return Projected {
            body: body.clone(),
            removed: Vec::new(),
        };
    }
    let none = Rule {
        events: Vec::new(),
        share: Share::Only(Vec::new()),
        mask: Vec::new(),
    };
    let mut walk = Walk {
        rule: policy.rule(event_type).unwrap_or(&none),
        removed: Vec::new(),
    };
    let mut shared = Map::new();
    for (key, value) in body.as_object().into_iter().flatten() {
        if ENVELOPE.contains(&key.as_str()) {
            shared.insert(key.clone(), value.clone());
        } else if key == "data" {
            let data = walk.place(value, &mut Path::default());
            shared.insert(key.clone(), data.unwrap_or_else(|| Json::Object(Map::new())));
        } else {
            walk.removed.push(key.clone());
        }
    }
    Projected {
        body: Json::Object(shared),
        removed: walk
            .removed
            .into_iter()
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect(),
    }
}

struct Walk<'r> {
    rule: &'r Rule,
    removed: Vec<String>,
}

impl Walk<'_> {
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
        let shared = match &self.rule.share {
            Share::All => true,
            Share::Only(patterns) => any(patterns),
            Share::Except(patterns) => !any(patterns),
        };
        shared.then(|| {
            if any(&self.rule.mask) {
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

    #[test]
    fn only_what_is_listed_leaves() {
        let share = Share::Only(patterns(&["name", "amount.amount", "contacts.*.email"]));
        let projected = project(
            &SharingPolicy::of_all_events(share, vec![]),
            &EventType::DEAL_WON,
            &event(),
        );
        insta::assert_snapshot!(projected.body, @r#"{"data":{"amount":{"amount":"1200.50"},"contacts":[{"email":"a@acme.example"}],"name":"Solar park"},"timestamp":"2026-11-23T06:00:00Z","type":"deal.won"}"#);
        insta::assert_snapshot!(projected.removed.join(" "), @"data.amount.currency data.contacts.* data.contacts.*.phone data.customer data.tags internal");
    }

    #[test]
    fn all_but_what_is_listed_leaves_and_some_of_it_masked() {
        let share = Share::Except(patterns(&["customer.tax", "contacts.*.phone"]));
        let policy = SharingPolicy::of_all_events(share, patterns(&["amount.amount", "name"]));
        let projected = project(&policy, &EventType::DEAL_WON, &event());
        insta::assert_snapshot!(projected.body, @r#"{"data":{"amount":{"amount":"***","currency":"EUR"},"contacts":[{"email":"a@acme.example"}],"name":"***","tags":[]},"timestamp":"2026-11-23T06:00:00Z","type":"deal.won"}"#);
        insta::assert_snapshot!(projected.removed.join(" "), @"data.contacts.* data.contacts.*.phone data.customer internal");
    }

    #[test]
    fn the_first_rule_that_means_the_type_decides_and_without_one_nothing_leaves() {
        let rule = |events: &str, share| Rule {
            events: vec![events.into()],
            share,
            mask: vec![],
        };
        let policy = SharingPolicy {
            rules: vec![
                rule("deal.won", Share::Only(patterns(&["name"]))),
                rule("deal.*", Share::All),
            ],
        };
        let data = |event_type: EventType| project(&policy, &event_type, &event()).body["data"].clone();
        assert_eq!(data(EventType::DEAL_WON), json!({"name": "Solar park"}));
        assert_eq!(data(EventType::DEAL_LOST), event()["data"]);
        assert_eq!(data(EventType::LEAD_CREATED), json!({}));
    }

    #[test]
    fn keys_with_dots_and_bodies_that_are_no_object_hide_nothing() {
        let policy = SharingPolicy::of_all_events(Share::Except(patterns(&["customer.email"])), vec![]);
        let sly = json!({"data": {"customer.email": "a@acme.example", "customer": {"phone": 1}}});
        let projected = project(&policy, &EventType::DEAL_WON, &sly);
        assert_eq!(projected.body, json!({"data": {"customer": {"phone": 1}}}));
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

    proptest! {
        #[test]
        fn nothing_leaves_that_is_not_allowed_and_everything_that_is(
            data in any_json(), listed in any_patterns(), mask in any_patterns(), only in any::<bool>(),
        ) {
            let parse = |texts: &[String]| texts.iter().map(|text| text.parse().unwrap()).collect();
            let share = if only { Share::Only(parse(&listed)) } else { Share::Except(parse(&listed)) };
            let policy = SharingPolicy::of_all_events(share, parse(&mask));
            let body = json!({"type": "deal.won", "timestamp": "t", "data": data});
            let projected = project(&policy, &EventType::DEAL_WON, &body);

            let (mut before, mut after) = (Vec::new(), Vec::new());
            leaves(&body["data"], "", &mut before);
            leaves(&projected.body["data"], "", &mut after);
            let allowed = |path: &str| listed.iter().any(|p| means(p, path)) == only;
            let mut expected: Vec<(String, Json)> = before.into_iter().filter(|(path, _)| allowed(path)).collect();
            for (path, value) in &mut expected {
                if mask.iter().any(|p| means(p, path)) {
                    *value = Json::from(MASKED);
                }
            }
            if expected.is_empty() {
                expected.push((String::new(), json!({})));
            }
            prop_assert_eq!(after, expected);

            let again = project(&policy, &EventType::DEAL_WON, &projected.body);
            prop_assert_eq!(&again.body, &projected.body);
        }

        #[test]
        fn sharing_everything_is_the_identity(body in any_json()) {
            let policy = SharingPolicy::everything();
            prop_assert!(policy.shares_everything(&EventType::DEAL_WON));
            let projected = project(&policy, &EventType::DEAL_WON, &body);
            prop_assert_eq!((projected.body, projected.removed), (body, vec![]));
        }
    }
}
