//! Connections, syncs and the rules of records, as configured.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use diagnostic::{Fields, Node, Place, Report, Source, suggestion};
use model::merge::Policy;
use model::{Confidence, FieldType, Kind, MatchRule, normalise};
use relay::Subscription;
use sync::{Deletes, STOP_PER_MS, StopLimits};

use super::custom;
use super::inlets;
use super::partners::{is_name, own_name};
use super::secret::{self, Form, SecretRef};
use super::span_ms;

/// An account at a system.
#[derive(Clone, Debug)]
pub struct ConnectionConfig {
    /// Where it stands in the file.
    pub place: Place,
    /// Which connector.
    pub system: String,
    /// Which of its ways to sign in; its first when nothing is said.
    pub auth: Option<String>,
    /// The connector's own settings.
    pub config: serde_json::Map<String, serde_json::Value>,
    /// Secrets by the names that the connector asks for.
    pub secrets: BTreeMap<String, SecretRef>,
    /// The currency of amounts that come without one.
    pub currency: Option<String>,
    /// The country of phone numbers that come without one.
    pub country: Option<String>,
    /// How far behind now a read stays, in milliseconds; the connector's own when nothing is said.
    pub lag_ms: Option<u64>,
}

/// A connection's object ↔ a kind of record.
#[derive(Clone, Debug)]
pub struct SyncConfig {
    /// Where it stands in the file.
    pub place: Place,
    /// The connection.
    pub connection: String,
    /// The kind of record.
    pub record: Kind,
    /// How often it is looked at, in milliseconds.
    pub every_ms: u64,
    /// How often everything of it is compared once more, in milliseconds; never, when nothing is said.
    pub reconcile_every_ms: Option<u64>,
    /// Whether changes are read.
    pub pull: bool,
    /// Whether changes are written.
    pub push: bool,
    /// Whether missing records are created there.
    pub create: bool,
    /// What deletions mean.
    pub deletes: Deletes,
    /// How much may change before a person is asked.
    pub stop: StopLimits,
    /// The events of partners that its objects are cut from; nothing where a system is asked.
    pub events: Option<Vec<Subscription>>,
}

/// Rules of a kind of record.
#[derive(Clone, Debug, Default)]
pub struct RecordRules {
    /// The rules by which records meet.
    pub matching: Option<Vec<MatchRule>>,
    /// Who wins, by field.
    pub policies: BTreeMap<&'static str, Policy>,
}

/// What a stop limit may be, in objects.
const STOP_MAX: RangeInclusive<i64> = 0..=1_000_000_000;
/// The spans that stop limits may count in, in milliseconds: a minute to 30 days.
const STOP_PER_MS_ALLOWED: RangeInclusive<u64> = 60_000..=2_592_000_000;
/// How often a sync is looked at when nothing is said.
const EVERY_MS: u64 = 30_000;

pub(super) fn connections(
    fields: &mut Fields<'_>,
    report: &mut Report,
) -> BTreeMap<String, ConnectionConfig> {
    let source = fields.source();
    let mut connections = BTreeMap::new();
    for (name, place, node) in fields.map("connections", report) {
        own_name(name, *place, source, report);
        if !is_name(name) {
            report.error(
                "IC0105",
                source,
                *place,
                format!("`{name}` is not a name for a connection"),
                "use lower-case letters, digits and hyphens, 64 characters at most",
            );
        }
        if let Some(connection) = connection(node, source, report) {
            connections.insert(name.clone(), connection);
        }
    }
    connections
}

fn connection(node: &Node, source: &Source, report: &mut Report) -> Option<ConnectionConfig> {
    let mut fields = Fields::open(node, "a connection", source, report)?;
    let system = fields.text("system", report);
    let auth = fields.optional_text("auth", report).map(str::to_owned);
    let config = fields.map("config", report).iter();
    let config = config
        .map(|(key, _, node)| (key.clone(), node.to_json()))
        .collect();
    let secrets = fields.map("secrets", report).iter();
    let secrets = secrets
        .filter_map(|(key, _, node)| Some((key.clone(), secret::read(key, Form::Any, node, source, report)?)))
        .collect();
    let currency = fields.optional_text("currency", report).map(str::to_owned);
    let country = fields.optional_text("country", report).map(str::to_owned);
    if let Some(invalid) = currency
        .as_deref()
        .and_then(|code| model::Currency::parse(code).err())
    {
        let place = fields
            .optional("currency")
            .map_or(fields.place(), |node| node.place);
        report.error(
            "IC0109",
            source,
            place,
            invalid.to_string(),
            "write for example `currency: EUR`",
        );
    }
    if let Some(code) = country
        .as_deref()
        .filter(|code| normalise::country_name(code).is_none())
    {
        let place = fields
            .optional("country")
            .map_or(fields.place(), |node| node.place);
        let meant = normalise::normalise(FieldType::Country, code, None);
        let meant = meant.ok();
        let help = match meant.as_ref().and_then(|meant| meant.as_text()) {
            Some(meant) => format!("write `country: {meant}`"),
            None => "write the two capitals of ISO 3166, such as `country: DE`".to_owned(),
        };
        report.error("IC0159", source, place, format!("`{code}` is no country"), help);
    }
    let lag_ms = span(&mut fields, "lag", report);
    fields.finish(report);
    let system = system?.to_owned();
    Some(ConnectionConfig {
        place: node.place,
        system,
        auth,
        config,
        secrets,
        currency,
        country,
        lag_ms,
    })
}

pub(super) fn syncs(
    fields: &mut Fields<'_>,
    connections: &BTreeMap<String, ConnectionConfig>,
    partners: &[&str],
    report: &mut Report,
) -> Vec<SyncConfig> {
    let source = fields.source();
    let nodes = fields.list("syncs", report).iter();
    let mut syncs: Vec<SyncConfig> = Vec::new();
    for node in nodes {
        let Some(sync) = sync(node, source, (connections, partners), report) else {
            continue;
        };
        let is_same = |other: &SyncConfig| other.connection == sync.connection && other.record == sync.record;
        match syncs.iter().any(is_same) {
            true => report.error(
                "IC0160",
                source,
                sync.place,
                format!("{}s of `{}` have a sync already", sync.record, sync.connection),
                "take out one of the two, or make them one",
            ),
            false => syncs.push(sync),
        }
    }
    syncs
}

fn sync(
    node: &Node,
    source: &Source,
    (connections, partners): (&BTreeMap<String, ConnectionConfig>, &[&str]),
    report: &mut Report,
) -> Option<SyncConfig> {
    let mut fields = Fields::open(node, "a sync", source, report)?;
    let connection = fields.text("connection", report);
    if let Some(name) = connection.filter(|name| !connections.contains_key(*name)) {
        let place = fields
            .optional("connection")
            .map_or(fields.place(), |node| node.place);
        report.error(
            "IC0110",
            source,
            place,
            format!("there is no connection `{name}`"),
            suggestion(name, connections.keys().map(String::as_str)),
        );
    }
    let kinds = Kind::ALL.map(|kind| (kind.name(), kind));
    let record = fields.choice("record", &kinds, report);
    let every_ms = span(&mut fields, "every", report).unwrap_or(EVERY_MS);
    let reconcile_every_ms = span(&mut fields, "reconcile_every", report);
    let pull = fields.optional_bool("pull", report).unwrap_or(true);
    let events = inlets::events(&mut fields, partners, report);
    let push = fields.optional_bool("push", report).unwrap_or(events.is_none());
    let create = fields.optional_bool("create", report).unwrap_or(true);
    let on_delete = [("unlink", false), ("propagate", true)];
    let propagate = fields.optional_choice("on_delete", &on_delete, report);
    let follow = fields.optional_bool("delete", report);
    let deletes = Deletes {
        propagate: propagate.unwrap_or(false),
        follow: follow.unwrap_or(false),
    };
    for (key, said, way, reason) in [
        (
            "on_delete",
            deletes.propagate && !pull,
            "pull",
            "what is deleted there is not read",
        ),
        (
            "delete",
            deletes.follow && !push,
            "push",
            "nothing is written there",
        ),
    ] {
        if said {
            let place = fields.optional(key).map_or(fields.place(), |node| node.place);
            let what = format!("`{key}` and `{way}: false` exclude each other: {reason}");
            report.error("IC0126", source, place, what, "take out one of the two");
        }
    }
    let stop = fields
        .optional("stop")
        .and_then(|node| stop(node, source, report));
    fields.finish(report);
    Some(SyncConfig {
        place: node.place,
        connection: connection?.to_owned(),
        record: record?,
        every_ms,
        reconcile_every_ms,
        pull,
        push,
        create,
        deletes,
        stop: stop.unwrap_or_default(),
        events,
    })
}

/// How much may change within a span of time before a person is asked.
fn stop(node: &Node, source: &Source, report: &mut Report) -> Option<StopLimits> {
    let mut fields = Fields::open(node, "stop limits", source, report)?;
    let mut limit = |key, report: &mut Report| fields.optional_integer(key, STOP_MAX, report);
    let creates = limit("creates_max", report);
    let updates = limit("updates_max", report);
    let gone = limit("gone_max", report);
    let per_ms = span(&mut fields, "per", report);
    if per_ms.is_some_and(|per_ms| !STOP_PER_MS_ALLOWED.contains(&per_ms)) {
        let place = fields.optional("per").map_or(fields.place(), |node| node.place);
        report.error(
            "IC0125",
            source,
            place,
            "stop limits count in a span of 1m to 30d",
            "leave `per` out for a day",
        );
    }
    if [creates, updates, gone] == [None; 3] {
        report.error(
            "IC0125",
            source,
            node.place,
            "stop limits without a limit stop nothing",
            "write `creates_max`, `updates_max` or `gone_max`, each a number of objects",
        );
    }
    fields.finish(report);
    let number = |limit: Option<i64>| limit.and_then(|limit| u64::try_from(limit).ok());
    Some(StopLimits {
        creates_max: number(creates),
        updates_max: number(updates),
        gone_max: number(gone),
        per_ms: per_ms.unwrap_or(STOP_PER_MS),
    })
}

fn span(fields: &mut Fields<'_>, key: &'static str, report: &mut Report) -> Option<u64> {
    let bare = fields.bare_number(key).map(|number| number.to_string());
    let text = match &bare {
        Some(bare) => bare,
        None => fields.optional_text(key, report)?,
    };
    let ms = span_ms(text);
    if ms.is_none() {
        let place = fields.optional(key).map_or(fields.place(), |node| node.place);
        report.error(
            "IC0111",
            fields.source(),
            place,
            format!("`{text}` is not a span of time"),
            "write a number with ms, s, m, h or d behind it: 30s",
        );
    }
    ms
}

pub(super) fn records(
    fields: &mut Fields<'_>,
    connections: &BTreeMap<String, ConnectionConfig>,
    report: &mut Report,
) -> BTreeMap<Kind, RecordRules> {
    let source = fields.source();
    let mut rules = BTreeMap::new();
    for (name, place, node) in fields.map("records", report) {
        let Some(kind) = Kind::parse(name) else {
            report.error(
                "IC0112",
                source,
                *place,
                format!("`{name}` is not a kind of record"),
                suggestion(name, Kind::ALL.iter().map(|kind| kind.name())),
            );
            continue;
        };
        let Some(mut inner) = Fields::open(node, "rules of records", source, report) else {
            continue;
        };
        custom::declare(kind, &mut inner, report);
        let matching = inner
            .optional("match")
            .is_some()
            .then(|| matching(kind, &mut inner, report));
        let policies = inner.map("policies", report).iter();
        let policies = policies
            .filter_map(|(path, place, node)| {
                let path = field(kind, path, *place, source, report)?;
                Some((path, policy(node, (kind, path), source, connections, report)?))
            })
            .collect();
        inner.finish(report);
        rules.insert(kind, RecordRules { matching, policies });
    }
    rules
}

fn matching(kind: Kind, fields: &mut Fields<'_>, report: &mut Report) -> Vec<MatchRule> {
    let source = fields.source();
    let rules = fields.list("match", report).iter();
    rules
        .filter_map(|rule| match_rule(kind, rule, source, report))
        .collect()
}

/// A list of fields, or one, that are certain together; or both said by name.
fn match_rule(kind: Kind, rule: &Node, source: &Source, report: &mut Report) -> Option<MatchRule> {
    let paths = |node: &Node, report: &mut Report| {
        let paths = match &node.value {
            diagnostic::Value::List(paths) => paths.as_slice(),
            _ => std::slice::from_ref(node),
        };
        let paths = paths.iter();
        paths
            .filter_map(|node| field(kind, node.text().unwrap_or_default(), node.place, source, report))
            .collect()
    };
    let is_empty = match &rule.value {
        diagnostic::Value::List(paths) => paths.is_empty(),
        diagnostic::Value::Map(_) => {
            matches!(
                rule.get("fields").map(|fields| &fields.value),
                None | Some(diagnostic::Value::Null)
            ) || rule
                .get("fields")
                .is_some_and(|fields| fields.value == diagnostic::Value::List(Vec::new()))
        }
        _ => false,
    };
    if is_empty {
        report.error(
            "IC0128",
            source,
            rule.place,
            "a rule without fields meets nothing",
            "name what must be alike: `fields: [name, customer.domain]`",
        );
    }
    if !matches!(rule.value, diagnostic::Value::Map(_)) {
        return Some(MatchRule {
            fields: paths(rule, report),
            confidence: Confidence::Certain,
        });
    }
    let mut fields = Fields::open(rule, "a rule by which records meet", source, report)?;
    let words = [Confidence::Certain, Confidence::Probable].map(|one| (one.word(), one));
    let confidence = fields.optional_choice("confidence", &words, report);
    let named: Vec<Node> = fields.list("fields", report).to_vec();
    fields.finish(report);
    Some(MatchRule {
        fields: named
            .iter()
            .flat_map(|node| paths(node, report))
            .collect::<Vec<_>>(),
        confidence: confidence.unwrap_or(Confidence::Certain),
    })
}

fn field(kind: Kind, path: &str, place: Place, source: &Source, report: &mut Report) -> Option<&'static str> {
    let found = kind.field(path).map(|field| field.path);
    if found.is_none() {
        report.error(
            "IC0113",
            source,
            place,
            format!("`{path}` is not a field of a {kind}"),
            suggestion(path, kind.fields().map(|field| field.path)),
        );
    }
    found
}

fn policy(
    node: &Node,
    (kind, path): (Kind, &str),
    source: &Source,
    connections: &BTreeMap<String, ConnectionConfig>,
    report: &mut Report,
) -> Option<Policy> {
    match node.text() {
        Some("most_recent") => return Some(Policy::MostRecent),
        Some("merge_set") => return Some(Policy::MergeSet),
        Some("manual") => return Some(Policy::Manual),
        Some(word @ ("max" | "min")) => {
            if kind
                .field(path)
                .is_some_and(|field| field.field_type.is_ordered())
            {
                return Some(if word == "max" { Policy::Max } else { Policy::Min });
            }
            report.error(
                "IC0116",
                source,
                node.place,
                format!("`{word}` needs values of which one is larger, and `{path}` has none"),
                "numbers, amounts, days and moments have an order; write `most_recent` or an owner for others",
            );
            return None;
        }
        Some(other) => {
            report.error(
                "IC0114",
                source,
                node.place,
                format!("`{other}` is not a policy"),
                suggestion(
                    other,
                    [
                        "most_recent",
                        "merge_set",
                        "max",
                        "min",
                        "manual",
                        "{ owner: <connection> }",
                    ]
                    .into_iter(),
                ),
            );
            return None;
        }
        None => {}
    }
    let mut fields = Fields::open(node, "a policy", source, report)?;
    let owner = fields.text("owner", report);
    if let Some(owner) = owner.filter(|owner| !connections.contains_key(*owner)) {
        let place = fields.optional("owner").map_or(fields.place(), |node| node.place);
        report.error(
            "IC0110",
            source,
            place,
            format!("there is no connection `{owner}`"),
            suggestion(owner, connections.keys().map(String::as_str)),
        );
    }
    let unless_blank = fields.optional_bool("unless_blank", report).unwrap_or(false);
    fields.finish(report);
    Some(Policy::Owner {
        connection: owner?.to_owned(),
        unless_blank,
    })
}
