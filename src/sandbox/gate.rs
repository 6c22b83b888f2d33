//! The gate every request of an emulated system passes: it is counted, and it may meet a fault.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{ConnectInfo, MatchedPath, Request, State};
use axum::http::{HeaderMap, Method};
use axum::middleware::Next;
use axum::response::Response;

use crate::calls::{Call, CallBook, Class};
use crate::clock::Clock;
use crate::faults::{Fault, FaultBook};
use crate::wire::Cut;

/// Something that can be told to go wrong.
pub(crate) trait Faulty: Send + Sync + 'static {
    /// Its switches.
    fn faults(&self) -> &FaultBook;
}

/// What the gate asks of a system.
pub(crate) trait Guarded: Faulty {
    /// What calls of this method and route pattern are for.
    fn classify(&self, method: &Method, route: &str) -> Class;
    /// How this system words a refusal. A fault that kills the token of the request kills it here.
    fn refuse(&self, fault: &Fault, request: &HeaderMap) -> Response;
    /// The system's counters.
    fn calls(&self) -> &CallBook;
    /// The system's clock.
    fn clock(&self) -> &dyn Clock;
}

/// Counts a request and lets the faults have their way with it.
pub(crate) async fn pass<S: Guarded>(State(system): State<Arc<S>>, request: Request, next: Next) -> Response {
    let method = request.method().clone();
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or("(no such route)", MatchedPath::as_str)
        .to_owned();
    let class = system.classify(&method, &route);
    let at_ms = system.clock().now_ms();
    let due = system.faults().due(class, &route);
    let cut = request
        .extensions()
        .get::<ConnectInfo<Cut>>()
        .map(|info| info.0.clone());

    let response = match &due.refuse {
        Some(fault) => system.refuse(fault, request.headers()),
        None => next.run(request).await,
    };
    let status = if due.cut { 0 } else { response.status().as_u16() };
    system.calls().record(Call {
        at_ms,
        method: method.to_string(),
        route,
        class,
        status,
    });
    if due.delay_ms > 0 {
        tokio::time::sleep(Duration::from_millis(due.delay_ms)).await;
    }
    if due.cut
        && let Some(cut) = cut
    {
        cut.throw();
    }
    response
}
