//! `/v1/endpoints/{name}/events`: an endpoint's feed, for partners who would rather ask than be told.
//!
//! A page has what the endpoint was to be told after a cursor, each as it would be sent: `headers` with a signature of this
//! moment, and `body`, the text that is signed. `next_cursor` is always there: kept and sent again, it gives what came
//! since, and nothing is passed over. Open to the admin, and to whoever shows the endpoint's own `pull_key`.

use std::collections::BTreeMap;

use axum::extract::{FromRequestParts, Path};
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::{Extension, Json};
use jiff::Timestamp;
use ledger::EventPlace;
use relay::{NotPulled, Pulled, note_pulled, pull};
use serde::{Deserialize, Serialize};

use crate::key::{Admin, bearer};
use crate::query::{Asked, limit};
use crate::watch::Line;
use crate::{ErrorStatus, Hub, Problem};

/// Whoever may read the feed of an endpoint.
pub(crate) struct Puller {
    hub: Hub,
    endpoint: String,
    /// Whether it is the partner itself, by the endpoint's own key.
    theirs: bool,
}

impl FromRequestParts<Hub> for Puller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, hub: &Hub) -> Result<Puller, Problem> {
        let Path(endpoint) = Path::<String>::from_request_parts(parts, hub)
            .await
            .map_err(|_| Problem::not_found("there is nothing at this address"))?;
        let key = hub.settings.pull_keys.get(&endpoint);
        let shown = parts.headers.get(AUTHORIZATION).and_then(bearer);
        let theirs = key.zip(shown).is_some_and(|(key, shown)| key.is(shown));
        if !theirs {
            Admin::from_request_parts(parts, hub).await?;
        }
        Ok(Puller {
            hub: hub.clone(),
            endpoint,
            theirs,
        })
    }
}

/// Bytes that the bodies of a page have at most; one event is told however large it is.
const PAGE_BYTES_MAX: usize = 32 << 20;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FeedQuery {
    cursor: Option<String>,
    /// Where to begin without a cursor: `oldest` that is kept, or `now`.
    from: Option<String>,
    limit: Option<usize>,
}

#[derive(Serialize)]
pub(crate) struct PulledView {
    id: String,
    event_type: String,
    received_at: Timestamp,
    /// Its place in all that the endpoint is sent, without gaps; also in the header `webhook-sequence`.
    sequence: Option<u64>,
    headers: BTreeMap<String, String>,
    /// As text, so that it stays the bytes that are signed.
    body: String,
}

impl From<Pulled> for PulledView {
    fn from(pulled: Pulled) -> PulledView {
        PulledView {
            id: pulled.event.to_string(),
            event_type: pulled.event_type,
            received_at: pulled.received_at,
            sequence: pulled.sequence,
            headers: pulled.headers,
            body: String::from_utf8_lossy(&pulled.body).into_owned(),
        }
    }
}

#[derive(Serialize)]
pub(crate) struct FeedPage {
    data: Vec<PulledView>,
    next_cursor: String,
    /// Whether there is more already, so that asking again need not wait.
    more: bool,
}

/// What came after a cursor.
pub(crate) async fn list(
    Puller {
        hub,
        endpoint,
        theirs,
    }: Puller,
    Asked(query): Asked<FeedQuery>,
) -> Result<(Extension<Line>, Json<FeedPage>), Problem> {
    // A body may be as large as one that is taken: a page of the largest fits into memory, and there is more then.
    let fit = (PAGE_BYTES_MAX / hub.settings.body_bytes_max).max(1);
    let limit = limit(query.limit)?.min(fit);
    let mut at_end = None;
    let after = match (query.cursor.as_deref(), query.from.as_deref()) {
        (Some(cursor), None) => cursor.parse().map_err(|_| {
            Problem::bad_request(
                "`cursor` is not one that a page of this feed gave; leave it out to begin anew",
            )
        })?,
        (None, None | Some("oldest")) => EventPlace::default(),
        (None, Some("now")) => {
            let end = hub.ledger.feed_end().await?;
            at_end = Some(end);
            end
        }
        (Some(_), Some(_)) => {
            return Err(Problem::bad_request(
                "`cursor` and `from` say two places; leave one out",
            ));
        }
        (None, Some(_)) => return Err(Problem::bad_request("`from` is `oldest` or `now`")),
    };
    let now = (hub.clock)();
    let part = pull(&*hub.ledger, &hub.relay, &endpoint, after, limit, now).await?;
    // A ledger that was restored, or made anew, has not got so far: all until then would be passed over.
    if part.data.is_empty() && !part.more && at_end.is_none() && after > hub.ledger.feed_end().await? {
        return Err(Problem::bad_request(
            "`cursor` is beyond what this feed has; leave it out to begin anew",
        ));
    }
    if theirs && at_end.is_none() {
        note_pulled(&*hub.ledger, &hub.relay, &endpoint, &part, now).await?;
    }
    let line = Line {
        subject: endpoint,
        decision: "pulled",
        ..Line::default()
    };
    let page = match at_end {
        // What came while this was asked comes with the next page, like all that comes from now on.
        Some(end) => FeedPage {
            data: Vec::new(),
            next_cursor: end.to_string(),
            more: false,
        },
        None => FeedPage {
            data: part.data.into_iter().map(PulledView::from).collect(),
            next_cursor: part.place.to_string(),
            more: part.more,
        },
    };
    Ok((Extension(line), Json(page)))
}

impl From<NotPulled> for Problem {
    fn from(refused: NotPulled) -> Problem {
        match refused {
            NotPulled::Unknown(name) => Problem::not_found(format!("there is no endpoint `{name}`")),
            NotPulled::Paused(..) => Problem::new(ErrorStatus::CONFLICT, "paused", refused.to_string()),
            NotPulled::Ledger(error) => error.into(),
        }
    }
}
