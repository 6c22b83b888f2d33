//! What may be sent again: never what is only pulled.
//!
//! Nothing is sent to an endpoint without a `url`. What it has had is behind its partner's place in the feed, so made due
//! again it would stay due; what it has not had is due already. Either way it is the partner that asks, by its cursor.

use ledger::{DeliveryFilter, Ledger, LedgerError};

/// Why nothing is sent again.
#[derive(Debug, thiserror::Error)]
pub enum NotAgain {
    /// It is to an endpoint to which nothing is sent.
    #[error(
        "nothing is sent to the endpoint `{0}`, which has no `url`: its partner pulls what it has not had, and what it \
         has had by going back in its feed, with an earlier `cursor` or without one"
    )]
    OnlyPulled(String),
    /// The ledger failed.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// A choice of deliveries without those to endpoints that are only pulled; refused where it names one of these, or a
/// delivery to one.
pub async fn sendable(
    ledger: &dyn Ledger,
    only_pulled: &[String],
    filter: &DeliveryFilter,
) -> Result<DeliveryFilter, NotAgain> {
    let mut named = filter.endpoint.clone().filter(|name| only_pulled.contains(name));
    if named.is_none() && !filter.ids.is_empty() && !only_pulled.is_empty() {
        let by_id = DeliveryFilter {
            ids: filter.ids.clone(),
            ..DeliveryFilter::default()
        };
        let found = ledger.list_deliveries(&by_id, None, filter.ids.len()).await?;
        let mut endpoints = found.into_iter().map(|delivery| delivery.endpoint);
        named = endpoints.find(|name| only_pulled.contains(name));
    }
    match named {
        Some(endpoint) => Err(NotAgain::OnlyPulled(endpoint)),
        None => Ok(DeliveryFilter {
            not_to: only_pulled.to_vec(),
            ..filter.clone()
        }),
    }
}
