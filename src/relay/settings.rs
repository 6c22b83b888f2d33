//! Who may post, who receives, and the bounds of both: [`Partner`], [`Endpoint`], [`RelaySettings`].
//!
//! They are made from configuration, are checked when they are made, all findings at once, and do not change after.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;

use model::{EVENT_TYPES, EventType};
use outbound::{Guard, Target};
use policy::SharingPolicy;

use crate::schedule::{RETRY_MS, Schedule};
use crate::{Secret, standard};

/// Characters that the name of a partner or an endpoint may have.
pub const NAME_CHARS_MAX: usize = 64;
/// Secrets at the same moment: the present one, and those that are being rotated out or in.
pub const SECRETS_MAX: usize = 4;
/// Patterns that an endpoint may subscribe to.
pub const SUBSCRIPTIONS_MAX: usize = 100;
/// Sends to one endpoint that may be in flight at once, at most.
pub const IN_FLIGHT_MAX: usize = 256;
/// What a deadline may be set to: Standard Webhooks 1.0.0 recommends 15 to 30 seconds.
pub const DEADLINE_MS: std::ops::RangeInclusive<u64> = 100..=60_000;

/// What is wrong with a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadSetting {
    /// The field, as it is called in the configuration.
    pub field: &'static str,
    /// Which of a list's elements, from 0.
    pub index: Option<usize>,
    /// What is wrong, and what to write instead.
    pub reason: String,
}

impl fmt::Display for BadSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.index {
            Some(index) => write!(f, "`{}[{index}]`: {}", self.field, self.reason),
            None => write!(f, "`{}`: {}", self.field, self.reason),
        }
    }
}

impl std::error::Error for BadSetting {}

#[derive(Default)]
struct Findings(Vec<BadSetting>);

impl Findings {
    fn add(&mut self, field: &'static str, reason: impl fmt::Display) {
        self.add_at(field, None, reason);
    }

    fn add_at(&mut self, field: &'static str, index: impl Into<Option<usize>>, reason: impl fmt::Display) {
        self.0.push(BadSetting {
            field,
            index: index.into(),
            reason: reason.to_string(),
        });
    }

    fn name(&mut self, field: &'static str, name: &str) {
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
        if name.is_empty() || name.len() > NAME_CHARS_MAX || !name.chars().all(fits) {
            self.add(
                field,
                format_args!("a name is up to {NAME_CHARS_MAX} of a-z, 0-9, `-` and `_`; `{name}` is not"),
            );
        }
    }

    fn secrets(&mut self, secrets: &[String]) -> Vec<Secret> {
        if secrets.is_empty() || secrets.len() > SECRETS_MAX {
            self.add(
                "secrets",
                format_args!(
                    "1 to {SECRETS_MAX} secrets are needed, here are {}",
                    secrets.len()
                ),
            );
        }
        let mut read = Vec::new();
        for (index, text) in secrets.iter().enumerate() {
            match text.parse() {
                Ok(secret) => read.push(secret),
                Err(bad) => self.add_at("secrets", index, bad),
            }
        }
        read
    }

    fn subscriptions(&mut self, patterns: &[String]) {
        if patterns.is_empty() || patterns.len() > SUBSCRIPTIONS_MAX {
            self.add(
                "subscriptions",
                format_args!(
                    "1 to {SUBSCRIPTIONS_MAX} patterns are needed, here are {}; `*` means all events",
                    patterns.len()
                ),
            );
        }
        for (index, pattern) in patterns.iter().enumerate() {
            if !means_something(pattern) {
                let known = EVENT_TYPES
                    .iter()
                    .map(|entry| entry.name)
                    .collect::<Vec<_>>()
                    .join(", ");
                self.add_at(
                    "subscriptions",
                    index,
                    format_args!("`{pattern}` means no event; there are {known}, `custom.…`, `deal.*` for a group and `*` for all"),
                );
            }
        }
    }

    fn range(&mut self, field: &'static str, value: u64, range: std::ops::RangeInclusive<u64>) {
        if !range.contains(&value) {
            self.add(
                field,
                format_args!("{value} is not between {} and {}", range.start(), range.end()),
            );
        }
    }
}

fn means_something(pattern: &str) -> bool {
    let group = pattern.strip_suffix('*').is_some_and(|group| {
        group.is_empty()
            || group.starts_with("custom.")
            || (group.ends_with('.') && EVENT_TYPES.iter().any(|entry| entry.name.starts_with(group)))
    });
    group || EventType::parse(pattern).is_ok()
}

/// Somebody who may post webhooks to us.
#[derive(Clone, Debug)]
pub struct Partner {
    /// The name: the last segment of the address they post to.
    pub(crate) name: String,
    /// What they may sign with.
    pub(crate) secrets: Vec<Secret>,
}

impl Partner {
    /// A partner with a name and 1 to [`SECRETS_MAX`] secrets, `whsec_…`.
    pub fn new(name: &str, secrets: &[String]) -> Result<Partner, Vec<BadSetting>> {
        let mut findings = Findings::default();
        findings.name("name", name);
        let partner = Partner {
            name: name.to_owned(),
            secrets: findings.secrets(secrets),
        };
        if findings.0.is_empty() {
            Ok(partner)
        } else {
            Err(findings.0)
        }
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// An endpoint as it is configured, before it is checked.
#[derive(Clone, Debug)]
pub struct EndpointSettings {
    /// Its name, unique among all endpoints.
    pub name: String,
    /// The partner that owns it; what they say is not sent back to it.
    pub partner: String,
    /// Where it is.
    pub url: String,
    /// Which events it gets: `deal.won`, `deal.*`, `*`.
    pub subscriptions: Vec<String>,
    /// What we sign with; each message carries a signature of every one.
    pub secrets: Vec<String>,
    /// What of an event may flow there.
    pub policy: SharingPolicy,
    /// Waits between the tries of a delivery, in milliseconds.
    pub retry_ms: Vec<u64>,
    /// Sends that may be in flight at once; 1 means one after the other, in the order of acceptance.
    pub in_flight_max: usize,
    /// From the first packet to the last byte of the answer, in milliseconds.
    pub deadline_ms: u64,
}

impl Default for EndpointSettings {
    fn default() -> EndpointSettings {
        EndpointSettings {
            name: String::new(),
            partner: String::new(),
            url: String::new(),
            subscriptions: vec!["*".into()],
            secrets: Vec::new(),
            policy: SharingPolicy::everything(),
            retry_ms: RETRY_MS.to_vec(),
            in_flight_max: 32,
            deadline_ms: 15_000,
        }
    }
}

/// A subscriber's URL, checked.
#[derive(Clone, Debug)]
pub struct Endpoint {
    pub(crate) name: String,
    pub(crate) partner: String,
    pub(crate) target: Target,
    pub(crate) subscriptions: Vec<String>,
    pub(crate) secrets: Vec<Secret>,
    pub(crate) policy: SharingPolicy,
    pub(crate) schedule: Schedule,
    pub(crate) in_flight_max: usize,
    pub(crate) deadline_ms: u64,
}

impl Endpoint {
    /// Checks an endpoint; every finding at once.
    pub fn new(settings: &EndpointSettings, guard: &Guard) -> Result<Endpoint, Vec<BadSetting>> {
        let mut findings = Findings::default();
        findings.name("name", &settings.name);
        findings.name("partner", &settings.partner);
        findings.subscriptions(&settings.subscriptions);
        findings.range(
            "in_flight_max",
            settings.in_flight_max as u64,
            1..=IN_FLIGHT_MAX as u64,
        );
        findings.range("deadline_ms", settings.deadline_ms, DEADLINE_MS);
        let secrets = findings.secrets(&settings.secrets);
        let target = Target::parse(&settings.url, guard).map_err(|bad| findings.add("url", bad));
        let schedule = Schedule::new(settings.retry_ms.clone()).map_err(|bad| findings.add("retry_ms", bad));
        match (target, schedule) {
            (Ok(target), Ok(schedule)) if findings.0.is_empty() => Ok(Endpoint {
                name: settings.name.clone(),
                partner: settings.partner.clone(),
                target,
                subscriptions: settings.subscriptions.clone(),
                secrets,
                policy: settings.policy.clone(),
                schedule,
                in_flight_max: settings.in_flight_max,
                deadline_ms: settings.deadline_ms,
            }),
            _ => Err(findings.0),
        }
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The partner that owns it.
    pub fn partner(&self) -> &str {
        &self.partner
    }

    fn wants(&self, event_type: &EventType, source: &str) -> bool {
        // A partner that hears its own words back would answer them, for ever.
        self.partner != source
            && self
                .subscriptions
                .iter()
                .any(|pattern| event_type.matches(pattern))
    }
}

/// The bounds of the relay itself.
#[derive(Clone, Debug)]
pub struct RelayLimits {
    /// How far the moment of a message may be off, both ways.
    pub tolerance_ms: u64,
    /// Deliveries that are read from the ledger at once, for an endpoint.
    pub batch_max: usize,
    /// For how long the right to send to an endpoint is taken; it is renewed at a third of it.
    pub lease_ms: u64,
    /// While an endpoint is sent to, the ledger is looked at again at least this often, for what other nodes accepted;
    /// with nothing to do for that long, sending ends.
    pub look_ms: u64,
    /// After this long, sending to an endpoint makes room for others that wait for their turn.
    pub run_ms_max: u64,
    /// Refusals that may wait to be written; what comes on top is counted and dropped.
    pub refusals_waiting_max: usize,
}

impl Default for RelayLimits {
    fn default() -> RelayLimits {
        RelayLimits {
            tolerance_ms: standard::TOLERANCE_MS,
            batch_max: 128,
            lease_ms: 30_000,
            look_ms: 200,
            run_ms_max: 30_000,
            refusals_waiting_max: 1024,
        }
    }
}

/// All partners and endpoints.
#[derive(Clone, Debug)]
pub struct RelaySettings {
    partners: HashMap<String, Partner>,
    endpoints: Vec<Arc<Endpoint>>,
    by_name: HashMap<String, Arc<Endpoint>>,
    pub(crate) limits: RelayLimits,
}

impl RelaySettings {
    /// Puts them together; names must be unique, and an endpoint's partner must be there. Every finding at once.
    pub fn new(
        partners: Vec<Partner>,
        endpoints: Vec<Endpoint>,
        limits: RelayLimits,
    ) -> Result<RelaySettings, Vec<BadSetting>> {
        let mut findings = Findings::default();
        let mut seen = BTreeSet::new();
        for (index, partner) in partners.iter().enumerate() {
            if !seen.insert(partner.name.as_str()) {
                findings.add_at(
                    "partners",
                    index,
                    format_args!("`{}` is there twice; name one otherwise", partner.name),
                );
            }
        }
        let mut names = BTreeSet::new();
        for (index, endpoint) in endpoints.iter().enumerate() {
            if !names.insert(endpoint.name.as_str()) {
                findings.add_at(
                    "endpoints",
                    index,
                    format_args!("`{}` is there twice; name one otherwise", endpoint.name),
                );
            }
            if !seen.contains(endpoint.partner.as_str()) {
                let known = seen.iter().copied().collect::<Vec<_>>().join(", ");
                findings.add_at(
                    "endpoints",
                    index,
                    format_args!(
                        "its partner `{}` is not configured; there are: {known}",
                        endpoint.partner
                    ),
                );
            }
        }
        for (field, value) in [
            ("batch_max", limits.batch_max as u64),
            ("look_ms", limits.look_ms),
            ("run_ms_max", limits.run_ms_max),
            ("refusals_waiting_max", limits.refusals_waiting_max as u64),
        ] {
            findings.range(field, value, 1..=1_000_000);
        }
        findings.range("tolerance_ms", limits.tolerance_ms, 1_000..=86_400_000);
        findings.range("lease_ms", limits.lease_ms, 1_000..=600_000);
        if !findings.0.is_empty() {
            return Err(findings.0);
        }
        let endpoints: Vec<Arc<Endpoint>> = endpoints.into_iter().map(Arc::new).collect();
        Ok(RelaySettings {
            partners: partners
                .into_iter()
                .map(|partner| (partner.name.clone(), partner))
                .collect(),
            by_name: endpoints
                .iter()
                .map(|endpoint| (endpoint.name.clone(), endpoint.clone()))
                .collect(),
            endpoints,
            limits,
        })
    }

    /// The partner of that name.
    pub fn partner(&self, name: &str) -> Option<&Partner> {
        self.partners.get(name)
    }

    /// The endpoint of that name.
    pub fn endpoint(&self, name: &str) -> Option<&Arc<Endpoint>> {
        self.by_name.get(name)
    }

    /// The endpoints that an event of this type is for, when `source` said it: all that subscribe to it, but for those
    /// of the partner that said it.
    pub fn subscribers(&self, event_type: &EventType, source: &str) -> impl Iterator<Item = &Arc<Endpoint>> {
        self.endpoints
            .iter()
            .filter(move |endpoint| endpoint.wants(event_type, source))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whsec(byte: u8) -> String {
        use base64::Engine;
        format!(
            "whsec_{}",
            base64::engine::general_purpose::STANDARD.encode([byte; 32])
        )
    }

    fn endpoint(name: &str, partner: &str, patterns: &[&str]) -> Endpoint {
        let settings = EndpointSettings {
            name: name.into(),
            partner: partner.into(),
            url: "https://partner.example/hooks".into(),
            subscriptions: patterns.iter().map(|&p| p.into()).collect(),
            secrets: vec![whsec(1)],
            ..EndpointSettings::default()
        };
        Endpoint::new(&settings, &Guard::public_only()).unwrap()
    }

    fn partners(names: &[&str]) -> Vec<Partner> {
        names
            .iter()
            .map(|name| Partner::new(name, &[whsec(2)]).unwrap())
            .collect()
    }

    fn told(findings: &[BadSetting]) -> String {
        findings.iter().map(|finding| format!("{finding}\n")).collect()
    }

    #[test]
    fn an_event_is_for_those_who_subscribe_but_not_for_who_said_it() {
        let endpoints = vec![
            endpoint("a-all", "acme", &["*"]),
            endpoint("b-won", "borealis", &["lead.*", "deal.won"]),
            endpoint("b-leads", "borealis", &["lead.*"]),
            endpoint("c-custom", "ceres", &["custom.*"]),
        ];
        let settings = RelaySettings::new(
            partners(&["acme", "borealis", "ceres"]),
            endpoints,
            RelayLimits::default(),
        );
        let settings = settings.unwrap();
        let names = |event_type: &str, source: &str| {
            let event_type = EventType::parse(event_type).unwrap();
            settings
                .subscribers(&event_type, source)
                .map(|e| e.name())
                .collect::<Vec<_>>()
        };
        assert_eq!(names("deal.won", "acme"), ["b-won"]);
        assert_eq!(names("deal.won", "borealis"), ["a-all"]);
        assert_eq!(names("deal.won", "interconnect"), ["a-all", "b-won"]);
        assert_eq!(names("custom.ceres.x", "ceres"), ["a-all"]);
        assert!(names("deal.lost", "acme").is_empty());
    }

    #[test]
    fn an_endpoint_tells_all_that_is_wrong_with_it() {
        let settings = EndpointSettings {
            name: "Bad name".into(),
            partner: "acme".into(),
            url: "http://127.0.0.1/hooks".into(),
            subscriptions: vec!["deal.won".into(), "deals.*".into(), "custom.x.*".into()],
            secrets: vec!["hunter2".into()],
            retry_ms: vec![1; 60],
            in_flight_max: 0,
            deadline_ms: 1,
            policy: SharingPolicy::everything(),
        };
        let findings = Endpoint::new(&settings, &Guard::public_only()).unwrap_err();
        insta::assert_snapshot!(told(&findings), @r"
        `name`: a name is up to 64 of a-z, 0-9, `-` and `_`; `Bad name` is not
        `subscriptions[1]`: `deals.*` means no event; there are partner.created, partner.updated, partner.deleted, lead.created, lead.updated, lead.converted, lead.deleted, deal.created, deal.updated, deal.stage_changed, deal.won, deal.lost, deal.deleted, `custom.…`, `deal.*` for a group and `*` for all
        `in_flight_max`: 0 is not between 1 and 256
        `deadline_ms`: 1 is not between 100 and 60000
        `secrets[0]`: a webhook secret begins with `whsec_`, this one does not
        `url`: `127.0.0.1` leads to 127.0.0.1, which is not a public address; allow it by name or block if that is meant
        `retry_ms`: a schedule may have 50 waits, this one has 60
        ");
    }

    #[test]
    fn names_are_unique_and_partners_known() {
        let endpoints = vec![endpoint("a", "acme", &["*"]), endpoint("a", "nobody", &["*"])];
        let findings = RelaySettings::new(partners(&["acme", "acme"]), endpoints, RelayLimits::default());
        insta::assert_snapshot!(told(&findings.unwrap_err()), @r"
        `partners[1]`: `acme` is there twice; name one otherwise
        `endpoints[1]`: `a` is there twice; name one otherwise
        `endpoints[1]`: its partner `nobody` is not configured; there are: acme
        ");
    }
}
