//! All addresses, on one screen.

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};

use crate::{Hub, Problem, health, hooks, metrics, v1, watch};

/// The whole surface, over one hub.
pub fn router(hub: Hub) -> Router {
    Router::new()
        .route("/livez", get(health::livez))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(metrics::show))
        .route("/hooks/{partner}", post(hooks::partner))
        .route(
            "/hooks/connections/{connection}",
            get(hooks::connection).post(hooks::connection),
        )
        .route("/v1/records", get(v1::records::list))
        .route("/v1/records/{id}", get(v1::records::show))
        .route("/v1/records/{id}/journey", get(v1::journeys::show))
        .route("/v1/records/{id}/told", get(v1::told::list))
        .route("/v1/records/{id}/link", post(v1::actions::link))
        .route("/v1/records/{id}/unlink", post(v1::actions::unlink))
        .route("/v1/records/{id}/merge", post(v1::actions::merge))
        .route("/v1/records/{id}/unmerge", post(v1::actions::unmerge))
        .route("/v1/actions", get(v1::actions::list))
        .route("/v1/actions/{id}/undo", post(v1::actions::undo))
        .route("/v1/reviews", get(v1::actions::reviews))
        .route(
            "/v1/reviews/{connection}/{object}/{key}/decide",
            post(v1::actions::decide),
        )
        .route("/v1/errors", get(v1::errors::list))
        .route("/v1/errors/retry", post(v1::errors::retry))
        .route("/v1/errors/{connection}/{object}", get(v1::errors::show))
        .route("/v1/conflicts", get(v1::conflicts::list))
        .route("/v1/conflicts/{id}", get(v1::conflicts::show))
        .route("/v1/conflicts/{id}/resolve", post(v1::conflicts::resolve))
        .route("/v1/deliveries", get(v1::deliveries::list))
        .route("/v1/deliveries/{id}", get(v1::deliveries::show))
        .route("/v1/deliveries/{id}/retry", post(v1::deliveries::retry))
        .route("/v1/endpoints", get(v1::endpoints::list))
        .route("/v1/endpoints/{name}", get(v1::endpoints::show))
        .route("/v1/endpoints/{name}/events", get(v1::feed::list))
        .route("/v1/endpoints/{name}/pause", post(v1::endpoints::pause))
        .route("/v1/endpoints/{name}/resume", post(v1::endpoints::resume))
        .route("/v1/events", get(v1::events::list).post(v1::events::publish))
        .route("/v1/events/{id}", get(v1::events::show))
        .route("/v1/event-types", get(v1::event_types::list))
        .route("/v1/event-types/{type}", get(v1::event_types::show))
        .route("/v1/asyncapi.json", get(v1::event_types::asyncapi))
        .route("/v1/replays", get(v1::replays::list).post(v1::replays::begin))
        .route("/v1/replays/{id}", get(v1::replays::show))
        .route("/v1/replays/{id}/cancel", post(v1::replays::cancel))
        .route("/v1/refusals", get(v1::refusals::list))
        .fallback(async || Problem::not_found("there is nothing at this address"))
        .method_not_allowed_fallback(async || Problem::method_not_allowed())
        .layer(from_fn_with_state(hub.clone(), watch::watch))
        .with_state(hub)
}
