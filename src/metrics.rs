//! [`Meter`]: what the hub measures of itself for `GET /metrics`.
//!
//! Everything it tells is known already or counted up to a limit: a scrape asks the ledger one question for all backlogs, one
//! for what all endpoints were given, and two small rows for each object that is synchronised, however much lies there.
//! Labels are names of the configuration.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use connector::Lane;
use ledger::{Backlog, EndpointSequence, Ledger, LedgerError};
use queue::Queue;
use server::{Metric, MetricKind, Metrics};
use sync::{Engine, Reconciled};

/// How far backlogs are counted; a number that has come so far means as many or more.
const COUNTED_MAX: usize = 10_000;

/// Measures a hub.
pub(crate) struct Meter {
    pub(crate) engine: Arc<Engine>,
    pub(crate) ledger: Arc<dyn Ledger>,
    pub(crate) queue: Queue,
    /// Names of all endpoints.
    pub(crate) endpoints: Vec<String>,
}

type Samples = Vec<(Vec<(&'static str, String)>, u64)>;

fn gauge(name: &'static str, help: &'static str, samples: Samples) -> Metric {
    Metric {
        name,
        help,
        kind: MetricKind::Gauge,
        samples,
    }
}

fn counter(name: &'static str, help: &'static str, samples: Samples) -> Metric {
    Metric {
        kind: MetricKind::Counter,
        ..gauge(name, help, samples)
    }
}

/// The labels of an object of a connection.
fn at((connection, object): &(String, String)) -> Vec<(&'static str, String)> {
    vec![("connection", connection.clone()), ("object", object.clone())]
}

fn with(
    mut labels: Vec<(&'static str, String)>,
    label: &'static str,
    value: &str,
) -> Vec<(&'static str, String)> {
    labels.push((label, value.to_owned()));
    labels
}

#[async_trait]
impl Metrics for Meter {
    async fn measure(&self) -> Result<Vec<Metric>, LedgerError> {
        let objects = self.engine.plan().objects().into_iter();
        let objects: Vec<(String, String)> = objects
            .map(|(connection, object)| (connection.to_owned(), object.to_owned()))
            .collect();
        let backlog = self
            .ledger
            .backlog(&objects, &self.endpoints, COUNTED_MAX)
            .await?;
        let mut metrics = self.waiting(&objects, &backlog);
        metrics.extend(self.told().await?);
        metrics.extend(self.compared(&objects).await?);
        metrics.extend(self.stopped(&objects).await?);
        metrics.extend(self.worked());
        metrics.extend(self.jobs().await);
        Ok(metrics)
    }
}

impl Meter {
    fn waiting(&self, objects: &[(String, String)], backlog: &Backlog) -> Vec<Metric> {
        let by_object = || objects.iter().zip(&backlog.objects);
        let owed = by_object().map(|(object, backlog)| (at(object), backlog.owed));
        let parked = by_object().flat_map(|(object, backlog)| {
            [
                (with(at(object), "way", "in"), backlog.parked_in),
                (with(at(object), "way", "out"), backlog.parked_out),
            ]
        });
        let by_endpoint = || self.endpoints.iter().zip(&backlog.endpoints);
        let endpoint = |name: &String| vec![("endpoint", name.clone())];
        let waiting = by_endpoint().map(|(name, backlog)| (endpoint(name), backlog.waiting));
        let dead = by_endpoint().map(|(name, backlog)| (endpoint(name), backlog.dead));
        vec![
            gauge(
                "interconnect_owed_records",
                "Records that are to be written to an object of a connection, counted up to 10000.",
                owed.collect(),
            ),
            gauge(
                "interconnect_parked",
                "What is kept with a reason on its way in or out, counted up to 10000.",
                parked.collect(),
            ),
            gauge(
                "interconnect_deliveries_waiting",
                "Deliveries that are to be sent to an endpoint, counted up to 10000 of each sort.",
                waiting.collect(),
            ),
            gauge(
                "interconnect_deliveries_dead",
                "Deliveries to an endpoint that were given up, counted up to 10000.",
                dead.collect(),
            ),
            gauge(
                "interconnect_conflicts_open",
                "Conflicts that wait for a person, counted up to 10000.",
                vec![(Vec::new(), backlog.open_conflicts)],
            ),
        ]
    }

    /// How much endpoints were to be told so far, since the ledger counts that.
    async fn told(&self) -> Result<Vec<Metric>, LedgerError> {
        let sequences = self.ledger.sequences(None).await?;
        let names: BTreeSet<&String> = self.endpoints.iter().collect();
        let configured = || sequences.iter().filter(|one| names.contains(&one.endpoint));
        let endpoint = |one: &EndpointSequence| vec![("endpoint", one.endpoint.clone())];
        Ok(vec![
            counter(
                "interconnect_deliveries_total",
                "Deliveries that an endpoint was given; goes on after a restart.",
                configured().map(|one| (endpoint(one), one.last)).collect(),
            ),
            counter(
                "interconnect_deliveries_folded_total",
                "Deliveries instead of which a newer one about the same record went; goes on after a restart.",
                configured().map(|one| (endpoint(one), one.folded)).collect(),
            ),
        ])
    }

    /// What the last reconciliations found.
    async fn compared(&self, objects: &[(String, String)]) -> Result<Vec<Metric>, LedgerError> {
        let (mut drift, mut ended) = (Samples::new(), Samples::new());
        for object in objects {
            let last = sync::reconciled(&*self.ledger, &object.0, &object.1).await?;
            let Some(Reconciled {
                at: moment,
                drift: found,
            }) = last
            else {
                continue;
            };
            drift.push((with(at(object), "field", ""), found.values().sum()));
            drift.extend(
                found
                    .iter()
                    .map(|(field, number)| (with(at(object), "field", field), *number)),
            );
            let seconds = u64::try_from(moment.as_second()).unwrap_or(0);
            ended.push((at(object), seconds));
        }
        Ok(vec![
            gauge(
                "interconnect_drift",
                "What the last reconciliation found that nobody had told of, by field; of all fields where none is named.",
                drift,
            ),
            gauge(
                "interconnect_reconciled_timestamp_seconds",
                "When the last reconciliation ended.",
                ended,
            ),
        ])
    }

    async fn stopped(&self, objects: &[(String, String)]) -> Result<Vec<Metric>, LedgerError> {
        let mut halted = Samples::new();
        for object in objects {
            let reason = sync::halted(&*self.ledger, &object.0, &object.1).await?;
            halted.push((at(object), u64::from(reason.is_some())));
        }
        let standings = self.ledger.standings(None).await?;
        let configured = standings
            .iter()
            .filter(|standing| self.engine.connection(&standing.connection).is_some());
        let stopped = configured.map(|standing| {
            let labels = vec![("connection", standing.connection.clone())];
            (labels, u64::from(standing.is_stopped()))
        });
        Ok(vec![
            gauge(
                "interconnect_halted",
                "1 where reading or writing waits for a person, 0 elsewhere.",
                halted,
            ),
            gauge(
                "interconnect_connection_stopped",
                "1 where a connection must not be used until a person has looked after it, 0 elsewhere.",
                stopped.collect(),
            ),
        ])
    }

    fn worked(&self) -> Vec<Metric> {
        let mut names: Vec<&str> = self
            .engine
            .plan()
            .syncs
            .iter()
            .map(|sync| sync.connection.as_str())
            .collect();
        names.sort_unstable();
        names.dedup();
        let systems = names
            .into_iter()
            .filter_map(|name| Some((name, self.engine.connection(name)?.all_calls())));
        let calls = systems.flat_map(|(name, calls)| {
            let of = |lane: Lane| {
                let labels = vec![("connection", name.to_owned()), ("lane", lane.word().to_owned())];
                (labels, calls.of(lane))
            };
            Lane::ALL.map(of)
        });
        vec![
            counter(
                "interconnect_calls_total",
                "Requests that this process sent to a system, each try.",
                calls.collect(),
            ),
            counter(
                "interconnect_objects_read_total",
                "Objects that this process read.",
                vec![(Vec::new(), self.engine.read_so_far())],
            ),
            counter(
                "interconnect_pushes_total",
                "Owed records that this process tried to write.",
                vec![(Vec::new(), self.engine.pushed_so_far())],
            ),
        ]
    }

    /// The queue; nothing of it while it cannot be reached, which is no reason to tell nothing at all.
    async fn jobs(&self) -> Vec<Metric> {
        let counts = match self.queue.counts().await {
            Ok(counts) => counts,
            Err(error) => {
                tracing::warn!(%error, "the queue did not tell how much it holds");
                return Vec::new();
            }
        };
        let states = [
            ("ready", counts.ready),
            ("delayed", counts.delayed),
            ("running", counts.running),
            ("dead", counts.dead),
        ];
        let states = states.map(|(state, jobs)| (vec![("state", state.to_owned())], jobs));
        vec![gauge("interconnect_jobs", "Jobs in the queue.", states.into())]
    }
}
