//! Reading a body: bounded in size and time, and never as anything but bytes.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::http::header::CONTENT_LENGTH;
use axum::http::request::Parts;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Frame;
use tokio::sync::OwnedSemaphorePermit;

use crate::bodies::OnItsWay;
use crate::{ErrorStatus, Hub, Problem};

/// A body that was not read, and how much of it came.
pub(crate) struct Unread {
    pub(crate) problem: Problem,
    pub(crate) read_bytes: u64,
}

/// The place of a request among those that are worked on; it has none while its body is on its way.
#[derive(Clone)]
pub(crate) struct Place(Arc<Mutex<Option<OwnedSemaphorePermit>>>);

impl Place {
    /// A place, if there is one.
    pub(crate) fn take(hub: &Hub) -> Result<Place, Problem> {
        Ok(Place(Arc::new(Mutex::new(Some(permit(hub)?)))))
    }

    fn set(&self, permit: Option<OwnedSemaphorePermit>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = permit;
    }
}

fn permit(hub: &Hub) -> Result<OwnedSemaphorePermit, Problem> {
    let permit = Arc::clone(hub.requests()).try_acquire_owned();
    permit.map_err(|_| Problem::busy("too many requests are being worked on; try again shortly"))
}

/// The whole body, or why not. Whoever has to wait for it gives its place back meanwhile.
pub(crate) async fn read(hub: &Hub, parts: &Parts, body: Body) -> Result<Bytes, Unread> {
    let max = hub.settings.body_bytes_max;
    let mut coming = Coming {
        body,
        max,
        read_bytes: 0,
        whole: BytesMut::new(),
    };
    let declared = parts
        .headers
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if declared.is_some_and(|length| length > max) {
        return Err(coming.too_large());
    }
    // Most bodies come with their headers.
    if coming.what_is_here().await? {
        return Ok(coming.whole.freeze());
    }
    let place = parts.extensions.get::<Place>();
    place.inspect(|place| place.set(None));
    let (on_its_way, stays) = hub.bodies().join(coming.whole.len());
    let deadline = Duration::from_millis(hub.settings.body_timeout_ms);
    let problem = tokio::select! {
        biased;
        read = coming.the_rest(&on_its_way) => match read.map(|()| permit(hub)) {
            Ok(Ok(permit)) => {
                place.inspect(|place| place.set(Some(permit)));
                return Ok(coming.whole.freeze());
            }
            Ok(Err(busy)) => busy,
            Err(unread) => return Err(unread),
        },
        _ = stays => Problem::busy(
            "too many bodies are on their way, and this one for the longest; send it again, faster",
        ),
        () = tokio::time::sleep(deadline) => Problem::new(
            ErrorStatus::REQUEST_TIMEOUT,
            "body_timeout",
            format!("the body did not arrive within {} ms", hub.settings.body_timeout_ms),
        ),
    };
    Err(coming.unread(problem))
}

/// A body of which not all is here yet.
struct Coming {
    body: Body,
    max: usize,
    read_bytes: u64,
    /// Copied, because a piece is a view into the connection's buffer: an event that waits would hold all of that, and the
    /// connection would need a new one for the next request.
    whole: BytesMut,
}

impl Coming {
    /// Takes what can be had without waiting; gives whether that is all.
    async fn what_is_here(&mut self) -> Result<bool, Unread> {
        loop {
            let polled = poll_fn(|context| Poll::Ready(Pin::new(&mut self.body).poll_frame(context)));
            match polled.await {
                Poll::Pending => return Ok(false),
                Poll::Ready(None) => return Ok(true),
                Poll::Ready(Some(frame)) => self.add(frame)?,
            }
        }
    }

    async fn the_rest(&mut self, on_its_way: &OnItsWay<'_>) -> Result<(), Unread> {
        while let Some(frame) = self.body.frame().await {
            let before = self.whole.len();
            self.add(frame)?;
            on_its_way.grow(self.whole.len() - before);
        }
        Ok(())
    }

    fn add(&mut self, frame: Result<Frame<Bytes>, axum::Error>) -> Result<(), Unread> {
        let frame = frame.map_err(|error| {
            let problem = Problem::new(ErrorStatus::BAD_REQUEST, "body_broken", "the body broke off");
            self.unread(problem.log(error.to_string()))
        })?;
        let Ok(data) = frame.into_data() else {
            return Ok(());
        };
        self.read_bytes += data.len() as u64;
        if self.read_bytes > self.max as u64 {
            return Err(self.too_large());
        }
        self.whole.extend_from_slice(&data);
        Ok(())
    }

    fn too_large(&self) -> Unread {
        let max = self.max;
        self.unread(Problem::new(
            ErrorStatus::PAYLOAD_TOO_LARGE,
            "too_large",
            format!("the body is larger than {max} bytes; send a reference to what is large"),
        ))
    }

    fn unread(&self, problem: Problem) -> Unread {
        Unread {
            problem,
            read_bytes: self.read_bytes,
        }
    }
}
