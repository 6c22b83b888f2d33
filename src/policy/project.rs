//! [`project`]: what of an event may leave.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use model::{EventType, Kind};
use serde_json::{Map, Value as Json};

use crate::path::Path;
use crate::{Allow, Rules, SharingPolicy, Shown, Withheld};

/// The parts of an event that are always shared beside its `data`; anything else at the top is shared only when
/// everything is allowed.
const ENVELOPE: [&str; 3] = ["type", "version", "timestamp"];

/// What the `data` of a test event says: that is shared whatever is allowed, so that nobody takes it for real.
const TEST: &str = "test";

/// The part of the `data` of an event about a record that tells by field what changed, and what it tells of each.
const CHANGED: &str = "changed";
const SIDES: [&str; 2] = ["before", "after"];

/// What a partner is told of an event, and what is held back: the places and nothing that stands there.
///
/// Elements of arrays read `*`, and what a change tells stands under its field, as in the policy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Disclosure {
    /// The lowest places that are shared, `data.deal.name`, and how.
    pub shared: BTreeMap<String, Shown>,
    /// The highest places that are not.
    pub held: BTreeSet<String>,
}

/// Applies a policy to an event `{type, timestamp, data}` at a moment: what may be sent of it.
///
/// What an event about a record tells of a change, `data.changed` by field, is what the field is: what is said of
/// `deal.amount` holds for `data.deal.amount`, and for what it was before.
/// That an event is a test, `data.test`, is always told.
/// A container that holds nothing after something was taken from it is left out too, so that its presence tells
/// nothing. An event whose body is no object has nothing that a policy could allow and comes out empty.
pub fn project(
    policy: &SharingPolicy,
    event_type: &EventType,
    body: &Json,
    now: Timestamp,
) -> Result<Json, Withheld> {
    let (rules, people) = policy.rules_for(body, now)?;
    if people && rules.are_everything() {
        return Ok(body.clone());
    }
    let walk = Walk {
        rules,
        people,
        notes: None,
    };
    Ok(walk.event(event_type, body).0)
}

/// What [`project`] tells a partner of an event.
pub fn disclose(
    policy: &SharingPolicy,
    event_type: &EventType,
    body: &Json,
    now: Timestamp,
) -> Result<Disclosure, Withheld> {
    let (rules, people) = policy.rules_for(body, now)?;
    let walk = Walk {
        rules,
        people,
        notes: Some(Notes::default()),
    };
    let notes = walk.event(event_type, body).1.unwrap_or_default();
    Ok(Disclosure {
        held: notes.held.into_iter().collect(),
        shared: notes.shared,
    })
}

#[derive(Default)]
struct Notes {
    shared: BTreeMap<String, Shown>,
    held: Vec<String>,
}

struct Walk<'p> {
    rules: &'p Rules,
    /// Whether what is people's is shared.
    people: bool,
    /// What was seen on the way, when somebody wants to know.
    notes: Option<Notes>,
}

impl Walk<'_> {
    fn event(mut self, event_type: &EventType, body: &Json) -> (Json, Option<Notes>) {
        let mut shared = Map::new();
        for (key, value) in body.as_object().into_iter().flatten() {
            if key == "data" {
                let mut data = match self.data(value, event_type) {
                    Some(Json::Object(data)) => data,
                    Some(other) => {
                        shared.insert(key.clone(), other);
                        continue;
                    }
                    None => Map::new(),
                };
                if value.get(TEST) == Some(&Json::Bool(true)) {
                    data.insert(TEST.to_owned(), Json::Bool(true));
                    if let Some(notes) = &mut self.notes {
                        let place = format!("data.{TEST}");
                        notes.held.retain(|held| *held != place);
                        notes.shared.insert(place, Shown::Plainly);
                    }
                }
                shared.insert(key.clone(), Json::Object(data));
            } else if ENVELOPE.contains(&key.as_str()) || self.rules.allow == Allow::Everything {
                shared.insert(key.clone(), value.clone());
            } else if let Some(notes) = &mut self.notes {
                notes.held.push(key.clone());
            }
        }
        (Json::Object(shared), self.notes)
    }

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
        let before = self.notes.as_ref().map_or(0, |notes| notes.held.len());
        let shared = match value {
            Json::Object(map) if !map.is_empty() => self.object(map, path),
            Json::Array(items) if !items.is_empty() => self.array(items, path),
            leaf => self.leaf(leaf, path),
        };
        if let (None, Some(notes)) = (&shared, &mut self.notes) {
            // The place itself says all that its parts would.
            notes.held.truncate(before);
            notes.held.push(path.to_string());
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

    fn leaf(&mut self, leaf: &Json, path: &Path<'_>) -> Option<Json> {
        if !self.people && path.is_of_a_person() {
            return None;
        }
        let (told, shown) = self.rules.tell(leaf, path)?;
        if let Some(notes) = &mut self.notes {
            notes.shared.insert(path.to_string(), shown);
        }
        Some(told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Acceptance, Bucket, Consent, MASKED, PathPattern, Preset};
    use program::Program;
    use proptest::prelude::*;
    use serde_json::json;
    use std::sync::Arc;

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

    fn now() -> Timestamp {
        "2026-11-26T12:00:00Z".parse().unwrap()
    }

    /// Rules that people agree to.
    fn agreed(rules: Rules) -> SharingPolicy {
        SharingPolicy {
            consent: Consent::Given,
            ..SharingPolicy::of("test", rules)
        }
    }

    /// The event after a policy, and what was held back.
    fn told_and_held(policy: &SharingPolicy, body: &Json) -> (String, String) {
        let told = project(policy, &EventType::DEAL_WON, body, now()).unwrap();
        let disclosure = disclose(policy, &EventType::DEAL_WON, body, now()).unwrap();
        let held: Vec<&str> = disclosure.held.iter().map(String::as_str).collect();
        (told.to_string(), held.join(" "))
    }

    fn projected(rules: Rules, body: &Json) -> (String, String) {
        told_and_held(&agreed(rules), body)
    }

    #[test]
    fn that_it_is_a_test_is_told_whatever_is_allowed() {
        let only = |path: &str| Rules::only(vec![path.parse().unwrap()]);
        let test =
            json!({"type": "deal.won", "data": {"id": "test", "test": true, "deal": {"name": "Solar"}}});
        let (told, held) = projected(only("deal.stage"), &test);
        assert_eq!(told, r#"{"data":{"test":true},"type":"deal.won"}"#);
        assert!(!held.split(' ').any(|held| held == "data.test"), "{held}");
        // Only that, and not what somebody says under that name.
        let said = json!({"type": "deal.won", "data": {"id": "D-1", "test": "a secret"}});
        assert_eq!(
            projected(only("deal.stage"), &said).0,
            r#"{"data":{},"type":"deal.won"}"#
        );
    }

    #[test]
    fn only_what_is_listed_leaves() {
        let policy = Rules::only(patterns(&["name", "amount.amount", "contacts.*.email"]));
        let (body, removed) = projected(policy, &event());
        insta::assert_snapshot!(body, @r#"{"data":{"amount":{"amount":"1200.50"},"contacts":[{"email":"a@acme.example"}],"name":"Solar park"},"timestamp":"2026-11-23T06:00:00Z","type":"deal.won"}"#);
        insta::assert_snapshot!(removed, @"data.amount.currency data.contacts.* data.contacts.*.phone data.customer data.tags internal");
        let (body, removed) = projected(Rules::default(), &event());
        insta::assert_snapshot!(body, @r#"{"data":{},"timestamp":"2026-11-23T06:00:00Z","type":"deal.won"}"#);
        insta::assert_snapshot!(removed, @"data.amount data.contacts data.customer data.name data.tags internal");
    }

    #[test]
    fn what_forbids_beats_what_allows() {
        let policy = Rules {
            omit: patterns(&["customer.tax", "contacts.*.phone"]),
            mask: patterns(&["amount.amount", "name", "customer"]),
            ..Rules::only(patterns(&["*"]))
        };
        let (body, removed) = projected(policy, &event());
        insta::assert_snapshot!(body, @r#"{"data":{"amount":{"amount":"***","currency":"EUR"},"contacts":[{"email":"a@acme.example"}],"name":"***","tags":[]},"timestamp":"2026-11-23T06:00:00Z","type":"deal.won"}"#);
        insta::assert_snapshot!(removed, @"data.contacts.* data.contacts.*.phone data.customer internal");
        let everything_but = Rules {
            omit: patterns(&["*"]),
            ..Rules::everything()
        };
        let (body, _) = projected(everything_but, &event());
        insta::assert_snapshot!(body, @r#"{"data":{},"internal":7,"timestamp":"2026-11-23T06:00:00Z","type":"deal.won"}"#);
    }

    #[test]
    fn what_a_field_was_is_shared_as_what_it_is() {
        let policy = Rules {
            omit: patterns(&["deal.customer.name"]),
            mask: patterns(&["deal.owner_email"]),
            ..Rules::only(patterns(&[
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
        let (told, removed) = projected(policy, &body);
        insta::assert_snapshot!(told, @r#"{"data":{"changed":{"amount":{"after":{"amount":"2"},"before":{"amount":"1"}},"customer.country":{"after":"PT","before":"ES"},"owner_email":{"after":"***","before":"***","why":"***"}},"deal":{"amount":{"amount":"2"},"owner_email":"***"},"id":"D-1"}}"#);
        insta::assert_snapshot!(removed, @"data.deal.amount.currency data.deal.customer.name data.deal.margin data.deal.name data.deal.stage");
        // What is about no record of ours has no such part.
        let custom = EventType::parse("custom.note").unwrap();
        let rules = Rules::only(patterns(&["changed.name"]));
        let told = project(&agreed(rules), &custom, &body, now()).unwrap();
        insta::assert_snapshot!(told, @r#"{"data":{"changed":{"name":{"after":"Solar park","before":"Wind"}}}}"#);
    }

    #[test]
    fn keys_with_dots_and_bodies_that_are_no_object_hide_nothing() {
        let policy = Rules {
            omit: patterns(&["customer.email"]),
            ..Rules::only(patterns(&["*"]))
        };
        let sly = json!({"data": {"customer.email": "a@acme.example", "customer": {"phone": 1}}});
        let told = |body: &Json| project(&agreed(policy.clone()), &EventType::DEAL_WON, body, now()).unwrap();
        assert_eq!(told(&sly), json!({"data": {"customer": {"phone": 1}}}));
        assert_eq!(told(&json!(["x"])), json!({}));
    }

    fn program(text: &str) -> Arc<Program> {
        Arc::new(Program::compile(text, &[]).unwrap())
    }

    #[test]
    fn what_is_peoples_needs_their_consent() {
        let rules = || Rules::only(patterns(&["deal", "contact", "people"]));
        let body = json!({"data": {
            "consent": true, "agreed": "true",
            "deal": {"contact": {"email": "a@acme.example", "job_title": "Buyer"}, "name": "Solar park"},
            "changed": {"contact.email": {"before": "b@acme.example", "after": "a@acme.example"}},
            "contact": "Ann", "people": {"contacts": [{"name": "Ann", "job_title": "Buyer"}]},
        }});
        let nobody = |consent| {
            let policy = SharingPolicy {
                consent,
                ..agreed(rules())
            };
            let told = told_and_held(&policy, &body).0;
            assert!(told.contains("Buyer") && told.contains("Solar park"), "{told}");
            !told.contains("Ann") && !told.contains("@acme.example")
        };
        assert!(nobody(Consent::Unsaid));
        assert!(!nobody(Consent::Given));
        assert!(!nobody(Consent::ToldBy(program(".data.consent"))));
        for no in [".data.agreed", ".data.nothing", ".data.consent.of", ".data.deal"] {
            assert!(nobody(Consent::ToldBy(program(no))), "{no}");
        }
        let everything = SharingPolicy::everything();
        assert_eq!(told_and_held(&everything, &body).0, body.to_string());
    }

    #[test]
    fn before_acceptance_there_is_less_to_know_and_after_its_end_nothing() {
        let policy = SharingPolicy {
            acceptance: Some(Acceptance {
                when: program(r#".data.lead.status != "open""#),
                before: Preset::Teaser.rules(),
            }),
            when: Some(program(r#".data.lead.company.country == "ES""#)),
            until: Some("2026-12-31T00:00:00Z".parse().unwrap()),
            consent: Consent::Given,
            ..SharingPolicy::from(Preset::CoSell)
        };
        let told = |status: &str, country: &str, at: &str| {
            let body = json!({"type": "lead.updated", "data": {"id": "L-1", "lead": {
                "status": status, "estimated_value": {"amount": "9", "currency": "EUR"},
                "company": {"name": "Sun City", "country": country, "industry": "Solar", "street": "Calle 1"},
                "contact": {"email": "a@acme.example", "job_title": "Buyer"},
            }}});
            match project(&policy, &EventType::LEAD_UPDATED, &body, at.parse().unwrap()) {
                Ok(told) => told.to_string(),
                Err(withheld) => withheld.to_string(),
            }
        };
        let before = "2026-12-30T23:59:59Z";
        insta::assert_snapshot!(told("open", "ES", before), @r#"{"data":{"id":"L-1","lead":{"company":{"country":"ES","industry":"Solar"},"contact":{"job_title":"Buyer"}}},"type":"lead.updated"}"#);
        insta::assert_snapshot!(told("working", "ES", before), @r#"{"data":{"id":"L-1","lead":{"company":{"country":"ES","industry":"Solar","name":"Sun City"},"contact":{"email":"a@acme.example","job_title":"Buyer"},"estimated_value":{"amount":"9","currency":"EUR"},"status":"working"}},"type":"lead.updated"}"#);
        insta::assert_snapshot!(told("working", "PT", before), @"the sharing policy `co_sell` shares nothing of this event: its `when` is not true of it");
        insta::assert_snapshot!(told("working", "ES", "2026-12-31T00:00:00Z"), @"the sharing policy `co_sell` ended at 2026-12-31T00:00:00Z, and nothing is shared by it any more");
    }

    #[test]
    fn all_there_is_is_passed_on_unread_only_while_nothing_has_to_be_asked() {
        let all = SharingPolicy::everything;
        assert!(all().shares_everything(now()));
        let until = Some("2026-11-26T12:00:00Z".parse().unwrap());
        let before: Timestamp = "2026-11-26T11:59:59Z".parse().unwrap();
        assert!(SharingPolicy { until, ..all() }.shares_everything(before));
        for asks in [
            SharingPolicy { until, ..all() },
            SharingPolicy {
                when: Some(program(".data")),
                ..all()
            },
            SharingPolicy {
                consent: Consent::ToldBy(program(".data")),
                ..all()
            },
            Preset::Fulfilment.into(),
            SharingPolicy::default(),
        ] {
            assert!(!asks.shares_everything(now()), "{asks:?}");
        }
    }

    #[test]
    fn the_most_specific_range_holds() {
        let bucket = |path: &str, bounds: Vec<i64>| (path.parse().unwrap(), Bucket::bands(bounds).unwrap());
        let rules = Rules {
            bucket: vec![
                bucket("deal.amount.amount", vec![10]),
                bucket("deal.*.amount", vec![20]),
                bucket("deal", vec![30]),
                bucket("deal.amount.amount", vec![40]),
            ],
            ..Rules::only(patterns(&["deal"]))
        };
        let body = json!({"data": {"deal": {"amount": {"amount": "12", "currency": "EUR"}, "tax": {"amount": 12},
            "count": 12, "name": "x"}}});
        let (told, held) = projected(rules, &body);
        insta::assert_snapshot!(told, @r#"{"data":{"deal":{"amount":{"amount":"10.."},"count":"..30","tax":{"amount":"..20"}}}}"#);
        insta::assert_snapshot!(held, @"data.deal.amount.currency data.deal.name");
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

    fn rules((allow, omit, mask): &(Vec<String>, Vec<String>, Vec<String>)) -> Rules {
        Rules {
            allow: Allow::Only(parsed(allow)),
            omit: parsed(omit),
            mask: parsed(mask),
            bucket: vec![("*.b".parse().unwrap(), Bucket::bands(vec![0, 9]).unwrap())],
        }
    }

    fn plain(given: &(Vec<String>, Vec<String>, Vec<String>)) -> Rules {
        Rules {
            bucket: Vec::new(),
            ..rules(given)
        }
    }

    fn told(rules: Rules, data: &Json) -> Vec<(String, Json)> {
        let body = json!({"type": "deal.won", "timestamp": "t", "data": data});
        let mut found = Vec::new();
        let projected = project(&agreed(rules), &EventType::DEAL_WON, &body, now()).unwrap();
        leaves(&projected["data"], "", &mut found);
        found
    }

    proptest! {
        #[test]
        fn nothing_leaves_that_is_not_allowed_and_everything_that_is(data in any_json(), given in any_policy()) {
            let mut before = Vec::new();
            leaves(&data, "", &mut before);
            let (allow, omit, mask) = &given;
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
            prop_assert_eq!(told(plain(&given), &data), expected);
        }

        #[test]
        fn what_was_projected_stays_as_it_is(data in any_json(), given in any_policy()) {
            let body = json!({"type": "deal.won", "timestamp": "t", "data": {"deal": data, "changed": {"b": data}}});
            let policy = agreed(rules(&given));
            let once = project(&policy, &EventType::DEAL_WON, &body, now()).unwrap();
            prop_assert_eq!(&project(&policy, &EventType::DEAL_WON, &once, now()).unwrap(), &once);
        }

        #[test]
        fn a_rule_that_forbids_never_shows_more(data in any_json(), given in any_policy(), one in any_patterns()) {
            let before = told(rules(&given), &data);
            let mut stricter = rules(&given);
            stricter.omit.extend(parsed(&one));
            for leaf in told(stricter, &data) {
                prop_assert!(before.contains(&leaf) || leaf.1 == json!({}), "{leaf:?} is new");
            }
            let mut masked = rules(&given);
            masked.mask.extend(parsed(&one));
            for (path, value) in told(masked, &data) {
                let was = before.iter().any(|leaf| *leaf == (path.clone(), value.clone()));
                prop_assert!(was || value == json!(MASKED), "{path} is {value}");
            }
        }

        #[test]
        fn sharing_everything_is_the_identity(body in any_json()) {
            let policy = SharingPolicy::everything();
            prop_assert!(policy.shares_everything(now()));
            prop_assert_eq!(project(&policy, &EventType::DEAL_WON, &body, now()).unwrap(), body);
        }

        #[test]
        fn what_is_said_to_be_shared_is_what_is_shared(data in any_json(), given in any_policy()) {
            let body = json!({"data": data});
            let policy = agreed(rules(&given));
            let disclosure = disclose(&policy, &EventType::DEAL_WON, &body, now()).unwrap();
            let mut left: BTreeSet<String> = BTreeSet::new();
            for (path, value) in told(rules(&given), &data) {
                if !(path.is_empty() && value == json!({})) {
                    left.insert(if path.is_empty() { "data".to_owned() } else { format!("data.{path}") });
                }
            }
            let said: BTreeSet<String> = disclosure.shared.into_keys().collect();
            prop_assert!(said == left || (left.is_empty() && said == BTreeSet::from(["data".to_owned()])), "{said:?} {left:?}");
        }
    }
}
