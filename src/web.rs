//! The HTTP surface, wired to the hub's parts.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use connector::{Incoming, Received, Refusal};
use jiff::Timestamp;
use ledger::{Conflict, LedgerError};
use queue::{Nudge, Queue};
use server::{Decisions, HookAnswer, HookRefusal, HubParts, IncomingParts, ServerSettings, SystemHooks};
use sync::{Act, ActionError, Decision, Done, Engine, Retried, Unresolved, WhichParked};

use crate::config::Limits;
use crate::hub::{Hub, StartError};
use crate::metrics::Meter;
use crate::world::RealWorld;

/// Refused webhooks whose trace may wait to be written; what comes on top is counted and dropped.
const REFUSALS_WAITING_MAX: usize = 1_024;

/// The bounds of the surface, checked before a port is bound.
pub(crate) fn settings(
    bind: std::net::SocketAddr,
    admin_key: Option<String>,
    pull_keys: BTreeMap<String, String>,
    limits: &Limits,
) -> Result<ServerSettings, StartError> {
    let is_admins = |(_, key): &(&String, &String)| admin_key.as_ref() == Some(key);
    if let Some((endpoint, _)) = pull_keys.iter().find(is_admins) {
        return Err(StartError::Setting(format!(
            "`pull_key` of `{endpoint}` is the `admin_key`, by which its partner would have every right: give it one of its own"
        )));
    }
    let api_key = admin_key.map(|key| key.parse()).transpose();
    let api_key = api_key.map_err(|error| StartError::Setting(format!("`admin_key`: {error}")))?;
    let pull_keys = pull_keys.into_iter().map(|(endpoint, key)| {
        let key = key.parse();
        let key = key.map_err(|error| StartError::Setting(format!("`pull_key` of `{endpoint}`: {error}")))?;
        Ok((endpoint, key))
    });
    let defaults = ServerSettings::default();
    let settings = ServerSettings {
        bind,
        api_key,
        pull_keys: pull_keys.collect::<Result<_, StartError>>()?,
        body_bytes_max: limits.body_bytes_max,
        requests_max: limits.requests_max,
        request_timeout_ms: limits.request_timeout_ms,
        stop_timeout_ms: limits.stop_timeout_ms,
        // Whoever connects must not use up what deliveries and the ledger need.
        connections_max: defaults.connections_max.min(crate::files::max() / 2),
        ..defaults
    };
    settings.check().map_err(|findings| {
        let findings: Vec<String> = findings.iter().map(ToString::to_string).collect();
        StartError::Setting(findings.join("; "))
    })?;
    Ok(settings)
}

/// Why fewer connections are taken than could be, in a sentence.
pub(crate) fn connections_fewer(settings: &ServerSettings) -> Option<String> {
    let (most, files_max) = (settings.connections_max, crate::files::max());
    (most < ServerSettings::default().connections_max).then(|| {
        format!(
            "at most {most} connections are taken at a time, and endpoints that hang may keep others waiting: this process \
             may open only {files_max} files; raise its hard limit, as with `ulimit -Hn` or `LimitNOFILE=`"
        )
    })
}

/// Serves until it is told to stop.
pub(crate) async fn serve(
    hub: &Hub,
    listener: tokio::net::TcpListener,
    stop: impl Future<Output = ()> + Send,
) {
    let refusals = relay::Refusals::start(hub.ledger.clone(), REFUSALS_WAITING_MAX);
    let parts = HubParts {
        ledger: hub.ledger.clone(),
        intake: hub.intake.clone(),
        relay: hub.relay.clone(),
        systems: Arc::new(Hints {
            engine: hub.engine.clone(),
            queue: hub.queue.clone(),
        }),
        decisions: Arc::new(Desk {
            engine: hub.engine.clone(),
            queue: hub.queue.clone(),
        }),
        metrics: Arc::new(Meter {
            engine: hub.engine.clone(),
            ledger: hub.ledger.clone(),
            queue: hub.queue.clone(),
            endpoints: hub.endpoints.clone(),
        }),
        refusals: refusals.clone(),
        nudge: hub.look.clone(),
        switch: hub.switch.clone(),
        replayer: hub.replayer.clone(),
        clock: Arc::new(Timestamp::now),
        random: Arc::new(RealWorld::bytes::<10>),
        settings: hub.settings.clone(),
    };
    let router = server::router(server::Hub::new(parts));
    server::serve(listener, router, &hub.settings, stop).await;
    refusals.flush().await;
}

/// Webhooks of systems: hints that something changed there, which only shorten the wait for it to be read.
///
/// Nothing needs to be kept of a hint: what it speaks of is read from the system, and is read by the cursor even if the
/// hint is lost.
struct Hints {
    engine: Arc<Engine>,
    queue: Queue,
}

#[async_trait]
impl SystemHooks for Hints {
    async fn receive(
        &self,
        connection: &str,
        request: IncomingParts,
        body: Bytes,
    ) -> Result<Option<HookAnswer>, HookRefusal> {
        let system = self
            .engine
            .connection(connection)
            .filter(|system| system.connector().has_webhooks());
        let system = system.ok_or(HookRefusal::UnknownConnection)?;
        let headers: BTreeMap<String, String> = request
            .headers
            .iter()
            .filter_map(|(name, value)| Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned())))
            .collect();
        let url = public_url(&request, &headers);
        let incoming = Incoming {
            method: request.method.as_str().to_owned(),
            url,
            headers,
            body,
        };
        let received = system.receive(&incoming, request.received_at);
        let hints = match received.map_err(|refusal| refused(&refusal))? {
            Received::Hints(hints) => hints,
            Received::Challenge(answer) => {
                return Ok(Some(HookAnswer {
                    content_type: answer.content_type,
                    body: answer.body,
                }));
            }
        };
        let taken = crate::hints::take(&self.engine, &self.queue, connection, &hints, &request.trace).await;
        taken.map_err(|error| HookRefusal::Failed(error.to_string()))?;
        Ok(system.acknowledgement().map(|answer| HookAnswer {
            content_type: answer.content_type,
            body: answer.body,
        }))
    }
}

/// Decisions of persons: what they make owed is written at once.
struct Desk {
    engine: Arc<Engine>,
    queue: Queue,
}

impl Desk {
    async fn nudge(&self, nudges: &[Nudge]) {
        if let Err(error) = self.queue.nudge(nudges).await {
            // The ledger knows what is owed; the next sweep nudges again.
            tracing::warn!(%error, "the queue did not take a nudge");
        }
    }
}

#[async_trait]
impl Decisions for Desk {
    async fn decide(&self, decision: &Decision) -> Result<Conflict, Unresolved> {
        let run = self.engine.begin_resolving();
        let resolved = self.engine.resolve(decision, run).await?;
        if let Err(error) = self.engine.note_resolved(run, 1).await {
            // The decision is taken; only the row that counts it is missing.
            tracing::warn!(%error, "the run of a decision was not noted");
        }
        self.nudge(&crate::hints::nudges_of(&resolved)).await;
        Ok(resolved.conflict)
    }

    async fn act(&self, by: &str, act: &Act) -> Result<Done, ActionError> {
        let done = self.engine.act(by, act).await?;
        self.nudge(&crate::hints::nudges_after(&done.report)).await;
        Ok(done)
    }

    async fn retry_parked(&self, which: &WhichParked, dry_run: bool) -> Result<Retried, LedgerError> {
        let retried = self.engine.retry_parked(which, dry_run).await?;
        self.nudge(&crate::hints::nudges_after(&retried.report)).await;
        Ok(retried)
    }
}

/// The address as the system called it; behind a proxy, which is the only way to have TLS, its scheme is forwarded.
fn public_url(request: &IncomingParts, headers: &BTreeMap<String, String>) -> String {
    let header = |name: &str| headers.get(name).map(String::as_str);
    let host = header("x-forwarded-host").or(header("host")).unwrap_or_default();
    let scheme = header("x-forwarded-proto").unwrap_or("http");
    format!("{scheme}://{host}{}", request.uri)
}

fn refused(refusal: &Refusal) -> HookRefusal {
    match refusal {
        Refusal::NotExpected => HookRefusal::UnknownConnection,
        Refusal::CannotVerify(_) => HookRefusal::CannotVerify(refusal.to_string()),
        Refusal::Missing(_) => HookRefusal::Unsigned(refusal.to_string()),
        Refusal::Malformed { .. } => HookRefusal::Malformed(refusal.to_string()),
        Refusal::Bad => HookRefusal::WrongSignature,
        Refusal::Stale { .. } => HookRefusal::Stale(refusal.to_string()),
        Refusal::Future { .. } => HookRefusal::Future(refusal.to_string()),
        Refusal::NotUnderstood(_) => HookRefusal::Unreadable(refusal.to_string()),
    }
}
