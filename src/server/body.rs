//! Reading a body: bounded in size and time, and never as anything but bytes.

use std::time::Duration;

use axum::body::Body;
use axum::http::HeaderMap;
use axum::http::header::CONTENT_LENGTH;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;

use crate::{ErrorStatus, Problem, ServerSettings};

/// A body that was not read, and how much of it came.
pub(crate) struct Unread {
    pub(crate) problem: Problem,
    pub(crate) read_bytes: u64,
}

/// The whole body, or why not.
pub(crate) async fn read(
    body: Body,
    headers: &HeaderMap,
    settings: &ServerSettings,
) -> Result<Bytes, Unread> {
    let max = settings.body_bytes_max;
    let declared = headers
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if declared.is_some_and(|length| length > max) {
        return Err(too_large(max, 0));
    }
    let deadline = Duration::from_millis(settings.body_timeout_ms);
    let mut read_bytes = 0;
    match tokio::time::timeout(deadline, collect(body, max, &mut read_bytes)).await {
        Ok(result) => result,
        Err(_) => Err(Unread {
            problem: Problem::new(
                ErrorStatus::REQUEST_TIMEOUT,
                "body_timeout",
                format!("the body did not arrive within {} ms", settings.body_timeout_ms),
            ),
            read_bytes,
        }),
    }
}

async fn collect(mut body: Body, max: usize, read_bytes: &mut u64) -> Result<Bytes, Unread> {
    // Copied, because a piece is a view into the connection's buffer: an event that waits would hold all of that, and
    // the connection would need a new one for the next request.
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Unread {
            problem: Problem::new(ErrorStatus::BAD_REQUEST, "body_broken", "the body broke off")
                .log(error.to_string()),
            read_bytes: *read_bytes,
        })?;
        let Ok(data) = frame.into_data() else { continue };
        *read_bytes += data.len() as u64;
        if *read_bytes > max as u64 {
            return Err(too_large(max, *read_bytes));
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole.freeze())
}

fn too_large(max: usize, read_bytes: u64) -> Unread {
    Unread {
        problem: Problem::new(
            ErrorStatus::PAYLOAD_TOO_LARGE,
            "too_large",
            format!("the body is larger than {max} bytes; send a reference to what is large"),
        ),
        read_bytes,
    }
}
