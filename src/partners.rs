//! Partners and endpoints, from the configuration to what the relay works by.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use outbound::Guard;
use relay::{Authorize, Endpoint, EndpointSettings, Expiring, Expiry, Partner, RelayLimits, RelaySettings};
use serde_json::json;

use crate::catalogue::Catalogue;
use crate::config::{Config, EndpointAuth, EndpointConfig, MissingSecret, SecretRef};
use crate::guard::guard;
use crate::hub::StartError;
use crate::inlets;
use crate::receiver::Receiver;
use crate::world::RealWorld;

/// Where secrets come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lookup {
    /// From where the configuration says.
    Real,
    /// From there where it is there, else it is one that nobody knows: to see whether everything else is right.
    Here,
    /// From nowhere: each is one that nobody knows, for commands that need none.
    Nobodys,
}

impl Lookup {
    pub(crate) fn secret(self, reference: &SecretRef) -> Result<String, MissingSecret> {
        match self {
            Lookup::Real => reference.look_up(),
            Lookup::Here => Ok(reference.look_up().unwrap_or_else(|_| nobodys_secret())),
            Lookup::Nobodys => Ok(nobodys_secret()),
        }
    }
}

/// Partners and endpoints as they are configured, for a command that sends nothing and so needs no secret.
pub(crate) fn relay_shape(config: &Config, catalogue: &Catalogue) -> Result<RelaySettings, StartError> {
    let guard = guard(config, Lookup::Nobodys)?;
    relay_settings(config, catalogue, &guard, Lookup::Nobodys)
}

/// Partners and endpoints as they are configured; every secret is looked up.
pub(crate) fn relay_settings(
    config: &Config,
    catalogue: &Catalogue,
    guard: &Guard,
    lookup: Lookup,
) -> Result<RelaySettings, StartError> {
    let all = |bad: Vec<relay::BadSetting>| {
        let bad: Vec<String> = bad.iter().map(ToString::to_string).collect();
        StartError::Setting(bad.join("; "))
    };
    let (mut partners, mut endpoints) = (Vec::new(), Vec::new());
    for (name, partner) in &config.partners {
        let mut secrets = Vec::new();
        for secret in &partner.secrets {
            secrets.push(lookup.secret(secret)?);
        }
        if secrets.is_empty() {
            // A partner that only receives has a secret that nobody knows, so that nothing it posts is accepted.
            secrets.push(nobodys_secret());
        }
        let named = |bad| StartError::Setting(format!("partner `{name}`: {}", all(bad)));
        let read = Partner::new(name, &secrets).map_err(named)?;
        partners.push(read.taking(partner.takes.clone()).at_most(partner.posts_per_s));
        for endpoint in &partner.endpoints {
            let settings = endpoint_settings(name, endpoint, guard, lookup)?;
            let named = |bad| StartError::Setting(format!("endpoint `{}`: {}", endpoint.name, all(bad)));
            endpoints.push(Endpoint::new(&settings, guard).map_err(named)?);
        }
    }
    let limits = RelayLimits {
        tolerance_ms: config.limits.webhook_tolerance_ms,
        lease_ms: config.limits.endpoint_lease_ms,
        ..RelayLimits::default()
    };
    let settings = RelaySettings::new(partners, endpoints, limits).map_err(all)?;
    let settings = settings.with_inlets(inlets::inlets(config, catalogue));
    Ok(settings.with_events(catalogue.events().clone()))
}

/// Endpoints whose shape is made of none of the events that they hear of, as far as there are samples, and why.
pub(crate) fn shapeless(relay: &RelaySettings, catalogue: &Catalogue) -> Vec<String> {
    let failing = |endpoint: &Arc<Endpoint>| {
        let heard = |name: &str| {
            model::EventType::parse(name)
                .is_ok_and(|known| endpoint.patterns().any(|pattern| known.matches(pattern)))
        };
        let types = catalogue.events().types().filter(|known| heard(&known.name));
        let made = types.flat_map(|known| {
            let event = |data: &serde_json::Value| json!({"type": known.name, "timestamp": "2026-11-26T09:00:00Z", "data": data});
            let shaped = known.versions.iter().map(move |version| endpoint.shape().make("evt", event(&version.sample)));
            shaped.map(|made| made.err().map(|why| (known.name.clone(), why)))
        });
        let made: Vec<_> = made.collect();
        let (name, why) = made
            .iter()
            .all(Option::is_some)
            .then(|| made.into_iter().flatten().next())??;
        Some(format!(
            "`shape` of the endpoint `{}` makes nothing of any event that it hears of; of a `{name}`: {why}",
            endpoint.name()
        ))
    };
    relay.endpoints().filter_map(failing).collect()
}

/// All secrets of partners and endpoints that have an end, and certificates that we show.
pub(crate) fn expiries(config: &Config, relay: &RelaySettings) -> Vec<Expiry> {
    let of = |partner: &str, endpoint: Option<&str>, expires: &[Option<Timestamp>]| {
        let with_end = (1..).zip(expires).filter_map(|(number, at)| {
            Some(Expiry {
                what: Expiring::Secret,
                partner: partner.to_owned(),
                endpoint: endpoint.map(str::to_owned),
                number,
                at: (*at)?,
            })
        });
        with_end.collect::<Vec<_>>()
    };
    let mut all = Vec::new();
    for (name, partner) in &config.partners {
        all.extend(of(name, None, &partner.expires));
        for endpoint in &partner.endpoints {
            all.extend(of(name, Some(&endpoint.name), &endpoint.expires));
        }
    }
    all.extend(relay.endpoints().filter_map(|endpoint| {
        Some(Expiry {
            what: Expiring::Certificate,
            partner: endpoint.partner().to_owned(),
            endpoint: Some(endpoint.name().to_owned()),
            number: 1,
            at: endpoint.certificate_ends_at()?,
        })
    }));
    all
}

/// The keys of endpoints that have one, by the endpoints' names.
pub(crate) fn pull_keys(config: &Config) -> Result<BTreeMap<String, String>, MissingSecret> {
    let endpoints = config.partners.values().flat_map(|partner| &partner.endpoints);
    let keys = endpoints.filter_map(|endpoint| Some((endpoint.name.clone(), endpoint.pull_key.as_ref()?)));
    keys.map(|(name, key)| Ok((name, key.look_up()?))).collect()
}

/// The names of endpoints to which nothing is sent, because their partners pull what they are to be told.
pub(crate) fn only_pulled(config: &Config) -> Vec<String> {
    let endpoints = config.partners.values().flat_map(|partner| &partner.endpoints);
    let only_pulled = endpoints.filter(|endpoint| endpoint.url.is_empty());
    only_pulled.map(|endpoint| endpoint.name.clone()).collect()
}

fn nobodys_secret() -> String {
    format!(
        "{}{}",
        relay::SECRET_PREFIX,
        base64(&RealWorld::secret_bytes::<32>())
    )
}

fn endpoint_settings(
    partner: &str,
    endpoint: &EndpointConfig,
    guard: &Guard,
    lookup: Lookup,
) -> Result<EndpointSettings, StartError> {
    let secrets = endpoint
        .secrets
        .iter()
        .map(|secret| lookup.secret(secret))
        .collect::<Result<_, _>>()?;
    let mut headers = Vec::new();
    for (name, value) in &endpoint.headers {
        headers.push((name.clone(), lookup.secret(value)?));
    }
    let mut authorize: Option<Arc<dyn Authorize>> = None;
    let authorization = match &endpoint.auth {
        None => None,
        Some(EndpointAuth::OAuth2(client)) => {
            if lookup == Lookup::Real {
                authorize = Some(Arc::new(Receiver::open(&endpoint.name, client, guard)?));
            }
            None
        }
        Some(EndpointAuth::Bearer(token)) => Some(format!("Bearer {}", lookup.secret(token)?)),
        Some(EndpointAuth::Basic(user, password)) => {
            let pair = format!("{user}:{}", lookup.secret(password)?);
            Some(format!("Basic {}", base64(pair.as_bytes())))
        }
    };
    let says_who = |(name, _): &&(String, String)| name.eq_ignore_ascii_case("authorization");
    if endpoint.auth.is_some() && headers.iter().any(|header| says_who(&header)) {
        return Err(StartError::Setting(format!(
            "endpoint `{}`: `auth` and a header `authorization` both say who the hub is; leave one of them out",
            endpoint.name
        )));
    }
    let tls = match (&endpoint.tls, lookup) {
        (Some(tls), Lookup::Real) => Some(tls.open().map_err(|error| {
            StartError::Setting(format!("`tls` of the endpoint `{}`: {error}", endpoint.name))
        })?),
        _ => None,
    };
    headers.extend(authorization.map(|value| ("authorization".to_owned(), value)));
    let mut settings = EndpointSettings {
        name: endpoint.name.clone(),
        partner: partner.to_owned(),
        url: endpoint.url.clone(),
        subscriptions: endpoint.subscriptions.clone(),
        shape: endpoint.shape.clone(),
        secrets,
        headers,
        authorize,
        tls,
        policy: endpoint.share.clone(),
        in_flight_max: endpoint.in_flight_max,
        rate_per_s: endpoint.rate_per_s,
        order: endpoint.order,
        breaker: endpoint.breaker,
        deadline_ms: endpoint.timeout_ms,
        ..EndpointSettings::default()
    };
    if let Some(retry_ms) = &endpoint.retry_ms {
        settings.retry_ms.clone_from(retry_ms);
    }
    Ok(settings)
}

fn base64(bytes: &[u8]) -> String {
    use ::base64::Engine as _;
    ::base64::engine::general_purpose::STANDARD.encode(bytes)
}
