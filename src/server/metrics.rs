//! `GET /metrics`: what those who watch the hub are told, in the text format of Prometheus (version 0.0.4).
//!
//! The numbers come from [`Metrics`], which the hub hands in. A label names a connection, an object, a field or an endpoint as
//! the configuration and the mappings do: never a value, never a secret, and no more of them than there are in the files.

use std::fmt::Write;

use async_trait::async_trait;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use ledger::LedgerError;

use crate::Problem;
use crate::key::Admin;

/// The type of the answer.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Measures the hub.
#[async_trait]
pub trait Metrics: Send + Sync {
    /// Everything that is measured; asks the ledger a number of cheap questions that does not grow with what it holds.
    async fn measure(&self) -> Result<Vec<Metric>, LedgerError>;
}

/// What a number means over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// It goes up and down.
    Gauge,
    /// It only goes up; most begin anew with the process.
    Counter,
}

/// One thing that is measured, in every place where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metric {
    /// The name, of `[a-z_]`, with the unit in it.
    pub name: &'static str,
    /// What it tells, in a line.
    pub help: &'static str,
    /// What its numbers mean over time.
    pub kind: MetricKind,
    /// The numbers, each with what it is about: names and values of labels.
    pub samples: Vec<(Vec<(&'static str, String)>, u64)>,
}

pub(crate) async fn show(Admin(hub): Admin) -> Result<impl IntoResponse, Problem> {
    let metrics = hub.metrics.measure().await?;
    Ok(([(CONTENT_TYPE, TEXT)], text(&metrics)))
}

fn text(metrics: &[Metric]) -> String {
    let mut text = String::new();
    for metric in metrics.iter().filter(|metric| !metric.samples.is_empty()) {
        let kind = match metric.kind {
            MetricKind::Gauge => "gauge",
            MetricKind::Counter => "counter",
        };
        let Metric { name, help, .. } = metric;
        // Writing to a text cannot fail.
        let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
        for (labels, number) in &metric.samples {
            let labels: Vec<String> = labels
                .iter()
                .map(|(label, value)| format!("{label}=\"{}\"", escaped(value)))
                .collect();
            let _ = match labels.as_slice() {
                [] => writeln!(text, "{name} {number}"),
                labels => writeln!(text, "{name}{{{}}} {number}", labels.join(",")),
            };
        }
    }
    text
}

/// A label's value as it stands between quotation marks.
fn escaped(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_a_head_and_a_line_for_each_place() {
        let metrics = [
            Metric {
                name: "interconnect_owed_records",
                help: "Records that are owed.",
                kind: MetricKind::Gauge,
                samples: vec![
                    (
                        vec![("connection", "crm".into()), ("object", "a\\\"b\n".into())],
                        3,
                    ),
                    (vec![], 0),
                ],
            },
            Metric {
                name: "interconnect_nothing_total",
                help: "Nowhere.",
                kind: MetricKind::Counter,
                samples: vec![],
            },
        ];
        insta::assert_snapshot!(text(&metrics), @r#"
        # HELP interconnect_owed_records Records that are owed.
        # TYPE interconnect_owed_records gauge
        interconnect_owed_records{connection="crm",object="a\\\"b\n"} 3
        interconnect_owed_records 0
        "#);
    }
}
