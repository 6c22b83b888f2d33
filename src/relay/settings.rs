//! Who may post, who receives, and the bounds of both: [`Partner`], [`Endpoint`], [`RelaySettings`].
//!
//! They are made from configuration, are checked when they are made, all findings at once, and do not change after.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use event::Catalogue;
use ledger::NewEvent;
use model::EventType;
use outbound::header::HeaderValue;
use program::Program;

use crate::finding::{BadSetting, Findings};
use crate::hops::{self, Hops};
use crate::quota::Quota;
use crate::whom::Whom;
use crate::{Arrival, Endpoint, Said, Secret, Subscription, standard};

/// Somebody who may post webhooks to us.
#[derive(Clone, Debug)]
pub struct Partner {
    /// The name: the last segment of the address they post to.
    pub(crate) name: String,
    /// What they may sign with, or the public halves of it.
    pub(crate) secrets: Vec<Secret>,
    /// Their mark among hops, one for each secret; the first is the present one.
    pub(crate) marks: Vec<String>,
    /// The header of what they said first.
    pub(crate) hop: Option<HeaderValue>,
    /// What makes an event of what they post, when that is none.
    pub(crate) takes: Option<Arc<Program>>,
    /// How many messages are taken in a second.
    pub(crate) quota: Option<Arc<Quota>>,
}

impl Partner {
    /// A partner with a name and 1 to [`SECRETS_MAX`] secrets, `whsec_…`, or `whpk_…` of those who sign with a key pair.
    ///
    /// Whoever knows a public key can tell the partner's mark among hops.
    pub fn new(name: &str, secrets: &[String]) -> Result<Partner, Vec<BadSetting>> {
        let mut findings = Findings::default();
        findings.name("name", name);
        let secrets = findings.secrets(secrets);
        let marks: Vec<String> = secrets.iter().map(|secret| hops::mark(name, secret)).collect();
        let partner = Partner {
            name: name.to_owned(),
            hop: marks.first().and_then(|mark| Hops::default().header(mark)),
            secrets,
            marks,
            takes: None,
            quota: None,
        };
        if findings.0.is_empty() {
            Ok(partner)
        } else {
            Err(findings.0)
        }
    }

    /// With a program that makes an event of what they post: of JSON that is none, of a form, of XML.
    pub fn taking(mut self, takes: Option<Arc<Program>>) -> Partner {
        self.takes = takes;
        self
    }

    /// With so many messages that are taken in a second, by each process; no limit when nothing is said.
    pub fn at_most(mut self, per_s: Option<u32>) -> Partner {
        self.quota = per_s.map(|per_s| Arc::new(Quota::new(per_s)));
        self
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// The bounds of the relay itself.
#[derive(Clone, Debug)]
pub struct RelayLimits {
    /// How far the moment of a message may be off, both ways.
    pub tolerance_ms: u64,
    /// Deliveries that are read from the ledger at once, for an endpoint.
    pub batch_max: usize,
    /// Deliveries that may wait in memory, for all endpoints together: where many are sent to, fewer wait for each, and the
    /// rest is read when there is room. Two may wait for each in any case.
    pub waiting_max: usize,
    /// Bytes of bodies that may wait in memory, for all endpoints together, shared and counted like the deliveries. What a
    /// first look brings may be more: how large they are is known after it.
    pub waiting_bytes_max: usize,
    /// For how long the right to send to an endpoint is taken; it is renewed at a third of it.
    pub lease_ms: u64,
    /// While an endpoint is sent to, the ledger is looked at again at least this often, for what other nodes accepted;
    /// with nothing to do for that long, sending ends.
    pub look_ms: u64,
    /// While nobody else writes to the ledger, sending to an endpoint ends after this long with nothing to do.
    pub stay_ms: u64,
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
            waiting_max: 65_536,
            waiting_bytes_max: 128 * 1024 * 1024,
            lease_ms: 30_000,
            look_ms: 200,
            stay_ms: 3_000,
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
    whom: Whom,
    by_name: HashMap<String, Arc<Endpoint>>,
    /// Names of inlets, and what they hear of.
    pub(crate) inlets: Vec<(String, Vec<Subscription>)>,
    pub(crate) limits: RelayLimits,
    /// What events look like.
    pub(crate) events: Arc<Catalogue>,
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
            ("waiting_max", limits.waiting_max as u64),
            ("look_ms", limits.look_ms),
            ("stay_ms", limits.stay_ms),
            ("run_ms_max", limits.run_ms_max),
            ("refusals_waiting_max", limits.refusals_waiting_max as u64),
        ] {
            findings.range(field, value, 1..=1_000_000);
        }
        findings.range("waiting_bytes_max", limits.waiting_bytes_max as u64, 1..=1 << 40);
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
            whom: Whom::new(&endpoints),
            inlets: Vec::new(),
            endpoints,
            limits,
            events: Catalogue::own(),
        })
    }

    /// With the types of events that events are held against; the hub's own alone otherwise.
    pub fn with_events(mut self, events: Arc<Catalogue>) -> RelaySettings {
        self.events = events;
        self
    }

    /// What events look like.
    pub fn events(&self) -> &Arc<Catalogue> {
        &self.events
    }

    /// The partner of that name.
    pub fn partner(&self, name: &str) -> Option<&Partner> {
        self.partners.get(name)
    }

    /// The endpoint of that name.
    pub fn endpoint(&self, name: &str) -> Option<&Arc<Endpoint>> {
        self.by_name.get(name)
    }

    /// Whether an event came through a partner.
    pub(crate) fn came_through(&self, partner: &str, hops: &Hops) -> bool {
        let partner = self.partners.get(partner);
        partner.is_some_and(|partner| hops.through(&partner.marks))
    }

    /// The header that tells through whom an event has come, its source included; none for what the hub says itself.
    pub(crate) fn hops_header(&self, source: &str, hops: &str) -> Option<HeaderValue> {
        let partner = self.partners.get(source)?;
        match hops {
            "" => partner.hop.clone(),
            _ => Hops::kept(hops).header(partner.marks.first()?),
        }
    }

    /// Through whom something came that the hub says because a partner said what was kept with these hops.
    pub fn hops_behind(&self, source: &str, hops: &str) -> String {
        let mark = self
            .partners
            .get(source)
            .and_then(|partner| partner.marks.first());
        Hops::kept(hops).behind(mark).to_kept()
    }

    /// The endpoints that an event is for which came through these hops: those of whom it came through are left out, unless
    /// they ask by name for what is said because of the connection.
    pub fn subscribers_beyond<'a>(&'a self, said: &'a Said<'_>, hops: &str) -> Vec<&'a Arc<Endpoint>> {
        let hops = Hops::kept(hops);
        let all = self.subscribers(said);
        all.filter(|endpoint| !self.came_through(&endpoint.partner, &hops) || endpoint.asks_by_name(said))
            .collect()
    }

    /// All endpoints, in the order of the configuration.
    pub fn endpoints(&self) -> impl Iterator<Item = &Arc<Endpoint>> {
        self.endpoints.iter()
    }

    /// The names of those to which nothing is sent; see [`Endpoint::is_only_pulled`].
    pub fn only_pulled(&self) -> Vec<String> {
        let only_pulled = self.endpoints().filter(|endpoint| endpoint.is_only_pulled());
        only_pulled.map(|endpoint| endpoint.name.clone()).collect()
    }

    /// The endpoints that an event which is kept would be for, if it came now.
    pub fn addressed(&self, event_type: &EventType, event: &NewEvent) -> Vec<&Arc<Endpoint>> {
        let arrival = Arrival::kept(&event.arrival);
        let said = Said::new(
            event_type,
            &event.source,
            arrival.connection.as_deref(),
            &event.body,
        );
        let hops = Hops::kept(&event.hops);
        let others = |endpoint: &&Arc<Endpoint>| !self.came_through(&endpoint.partner, &hops);
        self.subscribers(&said).filter(others).collect()
    }

    /// The endpoints that an event is for: all with a subscription that it fits, but for those of the partner that said it.
    pub fn subscribers(&self, said: &Said<'_>) -> impl Iterator<Item = &Arc<Endpoint>> {
        let may = self.whom.may_want(said.event_type()).into_iter();
        may.map(move |place| &self.endpoints[place])
            .filter(move |endpoint| endpoint.wants(said))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::EndpointSettings;
    use outbound::Guard;
    use policy::SharingPolicy;

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
                .subscribers(&Said::new(&event_type, source, None, b"{}"))
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
            secrets: vec![
                "hunter2".into(),
                "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=".into(),
            ],
            retry_ms: vec![1; 60],
            in_flight_max: 0,
            deadline_ms: 1,
            rate_per_s: Some(0),
            headers: vec![
                ("Webhook-Id".into(), "x".into()),
                ("x y".into(), "x".into()),
                ("x".into(), "hunter2\n".into()),
            ],
            policy: SharingPolicy::everything(),
            ..EndpointSettings::default()
        };
        let findings = Endpoint::new(&settings, &Guard::public_only()).unwrap_err();
        insta::assert_snapshot!(told(&findings), @r"
        `name`: a name is up to 64 of a-z, 0-9, `-` and `_`; `Bad name` is not
        `subscriptions[1]`: `deals.*` means no event; there are partner.created, partner.updated, partner.merged, partner.unmerged, partner.deleted, lead.created, lead.updated, lead.converted, lead.merged, lead.unmerged, lead.deleted, deal.created, deal.updated, deal.stage_changed, deal.won, deal.lost, deal.merged, deal.unmerged, deal.deleted, endpoint.failing, endpoint.recovered, endpoint.disabled, secret.expiring, `custom.…`, `deal.*` for a group and `*` for all
        `in_flight_max`: 0 is not between 1 and 256
        `rate_per_s`: 0 is not between 1 and 1000
        `deadline_ms`: 1 is not between 100 and 60000
        `secrets[0]`: a webhook secret begins with `whsec_`, or `whsk_` or `whpk_` for half of a key pair; this one does not
        `secrets[1]`: `whpk_` cannot sign; the hub needs the private half, `whsk_…`, and the endpoint has the public one
        `headers`: `Webhook-Id` is set by the hub itself
        `headers`: `x y` cannot be the name of a header
        `headers`: the value of `x` has characters that a header cannot
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

    /// Whoever is found by the type is whoever would be found by asking all.
    #[test]
    fn nobody_is_passed_over_who_would_want_an_event() {
        let patterns = [
            "*",
            "deal.*",
            "deal.won",
            "custom.*",
            "custom.a.*",
            "custom.a.b",
            "custom.a",
            "endpoint.*",
            "secret.expiring",
            "lead.updated",
        ];
        let mut endpoints = Vec::new();
        for (n, first) in patterns.iter().enumerate() {
            for (m, second) in patterns.iter().enumerate() {
                endpoints.push(endpoint(
                    &format!("e-{n}-{m}"),
                    "borealis",
                    &[first, second, first],
                ));
            }
        }
        let settings =
            RelaySettings::new(partners(&["borealis"]), endpoints, RelayLimits::default()).unwrap();
        for name in [
            "deal.won",
            "deal.lost",
            "custom.a",
            "custom.a.b",
            "custom.a.b.c",
            "custom.ab",
            "endpoint.failing",
            "secret.expiring",
            "lead.updated",
            "partner.created",
        ] {
            let event_type = EventType::parse(name).unwrap();
            let said = Said::new(&event_type, "acme", None, b"{}");
            let found: Vec<&str> = settings.subscribers(&said).map(|one| one.name()).collect();
            let all = settings.endpoints().filter(|one| one.wants(&said));
            assert_eq!(found, all.map(|one| one.name()).collect::<Vec<_>>(), "{name}");
        }
    }
}
