//! `pubsub`: gRPC by `eventbus.v1.PubSub`, whose payloads are change events in Avro.
//!
//! A [`Subscription`] has *credit*: how many events the other side may still send. It is renewed as events are taken,
//! never beyond what the protocol allows at a time, so that a slow reader is sent no more than it takes.
//! A stream on which nothing happens is told so from time to time; one that is silent for longer is given up.
//!
//! Messages and numbers are those of the published `pubsub_api.proto` (forcedotcom/pub-sub-api, CC0-1.0); only what is
//! used is written down here.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use outbound::Url;
use serde_json::Value as Json;
use tokio::sync::mpsc;
use tonic::body::Body;
use tonic::metadata::MetadataValue;
use tonic::{Code, Request, Status, Streaming};
use tonic_prost::ProstCodec;

use crate::avro::Schema;
use crate::change_event::ChangeEvent;
use crate::clock::{Clock, later};
use crate::failure::{Class, Failure};
use crate::secret::Secret;
use crate::stream::Heard;

/// Events that may be asked for at a time, as the protocol has it.
const CREDIT_MAX: i32 = 100;
/// With so little credit left, more is asked for.
const CREDIT_LOW: i32 = 50;
/// How long a stream may be silent. The system says within 270 seconds that it is still there.
const SILENCE_MAX_MS: u64 = 330_000;
/// How long one answer to one question may take.
const ANSWER_MAX_MS: u64 = 30_000;
/// Bytes of one message. An event has at most 1 MB, and several come together.
const MESSAGE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Schemas that are remembered; a topic has one at a time, which changes with the fields of its object.
const SCHEMAS_MAX: usize = 16;
/// What every error code begins with.
const ERROR_PREFIX: &str = "sfdc.platform.eventbus.grpc.";
/// How long to wait when the system protects itself.
const PROTECTED_MS: u64 = 60_000;
/// How long to wait when the events of a day are used up.
const SPENT_MS: u64 = 3_600_000;

/// Where to listen, and what shows who we are.
pub(crate) struct Target {
    pub(crate) address: Url,
    pub(crate) headers: Vec<(String, Secret)>,
}

/// What to listen to.
pub(crate) struct Wanted {
    pub(crate) topic: String,
    /// The object that it tells of.
    pub(crate) object: String,
    /// The fields that are read; a change of others is passed over.
    pub(crate) fields: Vec<String>,
    pub(crate) after: Option<Json>,
}

/// Where a stream begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
enum Preset {
    Latest = 0,
    Custom = 2,
}

#[derive(Clone, PartialEq, prost::Message)]
struct FetchRequest {
    #[prost(string, tag = "1")]
    topic_name: String,
    #[prost(enumeration = "Preset", tag = "2")]
    replay_preset: i32,
    #[prost(bytes = "vec", tag = "3")]
    replay_id: Vec<u8>,
    #[prost(int32, tag = "4")]
    num_requested: i32,
}

#[derive(Clone, PartialEq, prost::Message)]
struct FetchResponse {
    #[prost(message, repeated, tag = "1")]
    events: Vec<Delivered>,
    #[prost(bytes = "vec", tag = "2")]
    latest_replay_id: Vec<u8>,
}

/// `ConsumerEvent`.
#[derive(Clone, PartialEq, prost::Message)]
struct Delivered {
    #[prost(message, optional, tag = "1")]
    event: Option<Event>,
    #[prost(bytes = "vec", tag = "2")]
    replay_id: Vec<u8>,
}

/// `ProducerEvent`.
#[derive(Clone, PartialEq, prost::Message)]
struct Event {
    #[prost(string, tag = "1")]
    id: String,
    #[prost(string, tag = "2")]
    schema_id: String,
    #[prost(bytes = "vec", tag = "3")]
    payload: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct SchemaRequest {
    #[prost(string, tag = "1")]
    schema_id: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct SchemaInfo {
    #[prost(string, tag = "1")]
    schema_json: String,
}

type Grpc = tonic::client::Grpc<outbound::Channel<Body>>;

/// A stream that is open.
pub(crate) struct Subscription {
    grpc: Grpc,
    headers: Vec<(String, Secret)>,
    ask: mpsc::Sender<FetchRequest>,
    answers: Streaming<FetchResponse>,
    /// Events that may still come.
    credit: i32,
    object: String,
    fields: Vec<String>,
    schemas: HashMap<String, Arc<Schema>>,
    place: Option<Json>,
}

impl Subscription {
    /// Asks for a topic. That it is refused may turn out here or with the first answer.
    pub(crate) async fn open(
        http: &outbound::Client,
        target: Target,
        wanted: Wanted,
        clock: &dyn Clock,
    ) -> Result<Subscription, Failure> {
        let channel = http.channel::<Body>();
        let channel = channel.map_err(|error| Failure::new(Class::Settings, error.to_string()))?;
        let origin = target.address.as_str().trim_end_matches('/').parse();
        let origin =
            origin.map_err(|_| Failure::new(Class::Settings, "the address of the stream is not one"))?;
        let mut grpc = Grpc::with_origin(channel, origin).max_decoding_message_size(MESSAGE_BYTES_MAX);
        let (ask, asked) = mpsc::channel(1);
        let replay_id = wanted.after.as_ref().map(replay_id).transpose()?;
        let first = FetchRequest {
            topic_name: wanted.topic,
            replay_preset: match replay_id {
                Some(_) => Preset::Custom.into(),
                None => Preset::Latest.into(),
            },
            replay_id: replay_id.unwrap_or_default(),
            num_requested: CREDIT_MAX,
        };
        let asked = futures_util::stream::unfold((Some(first), asked), async |(first, mut asked)| {
            let next = match first {
                Some(first) => first,
                None => asked.recv().await?,
            };
            Some((next, (None, asked)))
        });
        let request = request(asked, &target.headers)?;
        let path = "/eventbus.v1.PubSub/Subscribe".parse().expect("a path");
        let codec: ProstCodec<FetchRequest, FetchResponse> = ProstCodec::default();
        // Some answer with the headers of the stream only when there is something to tell.
        let answers = bounded(SILENCE_MAX_MS, clock, grpc.streaming(request, path, codec)).await?;
        Ok(Subscription {
            grpc,
            headers: target.headers,
            ask,
            answers: answers.into_inner(),
            credit: CREDIT_MAX,
            object: wanted.object,
            fields: wanted.fields,
            schemas: HashMap::new(),
            place: wanted.after,
        })
    }

    /// Waits for the next answer.
    pub(crate) async fn next(&mut self, clock: &dyn Clock) -> Result<Heard, Failure> {
        if self.credit <= CREDIT_LOW {
            let more = FetchRequest {
                num_requested: CREDIT_MAX - self.credit,
                ..FetchRequest::default()
            };
            // When the stream has ended, the next answer says why.
            if self.ask.try_send(more).is_ok() {
                self.credit = CREDIT_MAX;
            }
        }
        let answer = bounded(SILENCE_MAX_MS, clock, self.answers.message()).await?;
        let answer = answer.ok_or_else(|| Failure::new(Class::Transient, "the system ended the stream"))?;
        let count = i32::try_from(answer.events.len()).unwrap_or(CREDIT_MAX);
        self.credit = self.credit.saturating_sub(count).max(0);
        let mut heard = Heard {
            hints: Vec::new(),
            place: None,
        };
        let mut last = answer.latest_replay_id;
        for delivered in answer.events {
            if let Some(event) = delivered.event {
                let told = self.told(&event, clock).await?;
                if told.concerns(&self.fields) {
                    heard.hints.extend(told.hints.into_iter().map(|mut hint| {
                        hint.object.clone_from(&self.object);
                        hint.dedupe = Some(event.id.clone());
                        hint
                    }));
                }
            }
            last = delivered.replay_id;
        }
        let place = (!last.is_empty()).then(|| Json::from(STANDARD.encode(last)));
        if place.is_some() && place != self.place {
            self.place.clone_from(&place);
            heard.place = place;
        }
        Ok(heard)
    }

    /// What an event says. One that cannot be read says that something changed.
    async fn told(&mut self, event: &Event, clock: &dyn Clock) -> Result<ChangeEvent, Failure> {
        let schema = self.schema(&event.schema_id, clock).await?;
        let told = match &schema {
            Some(schema) => ChangeEvent::read(schema, &event.payload).map_err(|error| error.to_string()),
            None => Err("its schema cannot be read".to_owned()),
        };
        Ok(told.unwrap_or_else(|error| {
            tracing::warn!(
                event = event.id,
                error,
                "a change event could not be read: what changed is read instead"
            );
            ChangeEvent::of_something(&self.object)
        }))
    }

    /// The schema of an id; nothing if it is none that we can read.
    async fn schema(&mut self, id: &str, clock: &dyn Clock) -> Result<Option<Arc<Schema>>, Failure> {
        if let Some(known) = self.schemas.get(id) {
            return Ok(Some(Arc::clone(known)));
        }
        let message = SchemaRequest {
            schema_id: id.to_owned(),
        };
        let request = request(message, &self.headers)?;
        let path = "/eventbus.v1.PubSub/GetSchema".parse().expect("a path");
        let codec: ProstCodec<SchemaRequest, SchemaInfo> = ProstCodec::default();
        let answer = bounded(ANSWER_MAX_MS, clock, self.grpc.unary(request, path, codec)).await;
        let answer = match answer {
            Ok(answer) => answer.into_inner(),
            // One event that nobody can read must not hold up the others.
            Err(refused)
                if matches!(
                    refused.class,
                    Class::NotFound | Class::Permission | Class::Protocol
                ) =>
            {
                return Ok(None);
            }
            Err(failure) => return Err(failure),
        };
        let Ok(schema) = Schema::parse(&answer.schema_json) else {
            return Ok(None);
        };
        if self.schemas.len() >= SCHEMAS_MAX {
            self.schemas.clear();
        }
        let schema = Arc::new(schema);
        self.schemas.insert(id.to_owned(), Arc::clone(&schema));
        Ok(Some(schema))
    }
}

fn replay_id(place: &Json) -> Result<Vec<u8>, Failure> {
    let bytes = place.as_str().and_then(|text| STANDARD.decode(text).ok());
    bytes.ok_or_else(|| Failure::new(Class::CursorExpired, "the stored place is not one"))
}

fn request<T>(message: T, headers: &[(String, Secret)]) -> Result<Request<T>, Failure> {
    let mut request = Request::new(message);
    for (name, value) in headers {
        let wrong = || {
            Failure::new(
                Class::Settings,
                format!("the header `{name}` of the stream cannot be sent"),
            )
        };
        let name = tonic::metadata::AsciiMetadataKey::from_bytes(name.as_bytes()).map_err(|_| wrong())?;
        let mut value = MetadataValue::try_from(value.expose()).map_err(|_| wrong())?;
        value.set_sensitive(true);
        request.metadata_mut().insert(name, value);
    }
    Ok(request)
}

/// Waits for an answer, but not for ever.
async fn bounded<T>(
    bound_ms: u64,
    clock: &dyn Clock,
    answer: impl Future<Output = Result<T, Status>>,
) -> Result<T, Failure> {
    match tokio::time::timeout(Duration::from_millis(bound_ms), answer).await {
        Ok(answer) => answer.map_err(|status| failure(&status, clock)),
        Err(_) => {
            let text = format!("the stream was silent for {bound_ms} ms");
            Err(Failure::new(Class::Network, text))
        }
    }
}

/// What a refusal means: by its own code, or by gRPC's where it has none.
fn failure(status: &Status, clock: &dyn Clock) -> Failure {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = std::error::Error::source(status);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<outbound::Error>() {
            return crate::call::unanswered(error);
        }
        cause = error.source();
    }
    let code = status
        .metadata()
        .get("error-code")
        .and_then(|code| code.to_str().ok());
    let code = code.unwrap_or_default();
    let code = code.strip_prefix(ERROR_PREFIX).unwrap_or(code);
    let until = |ms| later(clock.now(), ms);
    let class = match code {
        "service.auth.error" => Class::AuthExpired,
        "service.auth.headers.invalid" | "service.auth.refresh.invalid" => Class::Settings,
        "service.protection.triggered" | "service.protection.stream.limit.triggered" => Class::RateLimited {
            until: until(PROTECTED_MS),
        },
        "subscription.limit.exceeded" => Class::QuotaExhausted {
            until: until(SPENT_MS),
        },
        "topic.not.found" => Class::NotFound,
        "topic.meta.permission"
        | "subscription.topic.cannot.subscribe"
        | "concurrent.client.limit.exceeded"
        | "service.tenant.license" => Class::Permission,
        "subscription.fetch.replayid.corrupted" | "subscription.fetch.replayid.validation.failed" => {
            Class::CursorExpired
        }
        "subscription.fetch.requested.events.invalid"
        | "subscription.fetch.overflow"
        | "subscription.fetch.topic.mismatch" => Class::Protocol,
        "service.unavailable"
        | "topic.api.unavailable"
        | "schema.api.unavailable"
        | "subscription.internal.error"
        | "subscription.fetch.replay.repeated" => Class::Transient,
        _ => match status.code() {
            Code::Unauthenticated => Class::AuthExpired,
            Code::PermissionDenied => Class::Permission,
            Code::NotFound => Class::NotFound,
            Code::ResourceExhausted => Class::RateLimited {
                until: until(PROTECTED_MS),
            },
            Code::InvalidArgument | Code::Unimplemented | Code::OutOfRange | Code::FailedPrecondition => {
                Class::Protocol
            }
            _ => Class::Transient,
        },
    };
    let detail = match code {
        "" => format!("{:?}: {}", status.code(), status.message()),
        code => format!("{code}: {}", status.message()),
    };
    Failure::new(class, detail)
}

#[cfg(test)]
mod tests {
    use tonic::metadata::MetadataMap;

    use super::*;
    use crate::testing::ManualClock;

    fn class(code: Code, error: &str) -> Class {
        let mut trailers = MetadataMap::new();
        if !error.is_empty() {
            trailers.insert("error-code", format!("{ERROR_PREFIX}{error}").parse().unwrap());
        }
        let status = Status::with_metadata(code, "as the system says it", trailers);
        let failure = failure(&status, &ManualClock::default());
        assert!(failure.detail.contains("as the system says it"), "{failure:?}");
        failure.class
    }

    /// The table of the fact sheet on Salesforce, section 14.3.
    #[test]
    fn the_code_in_the_trailers_decides_what_to_do() {
        let clock = ManualClock::default();
        let until = |ms| later(clock.now(), ms);
        for (error, expected) in [
            ("service.unavailable", Class::Transient),
            ("topic.api.unavailable", Class::Transient),
            ("schema.api.unavailable", Class::Transient),
            ("subscription.internal.error", Class::Transient),
            ("service.auth.error", Class::AuthExpired),
            ("service.auth.headers.invalid", Class::Settings),
            ("service.auth.refresh.invalid", Class::Settings),
            (
                "service.protection.triggered",
                Class::RateLimited {
                    until: until(PROTECTED_MS),
                },
            ),
            (
                "service.protection.stream.limit.triggered",
                Class::RateLimited {
                    until: until(PROTECTED_MS),
                },
            ),
            ("concurrent.client.limit.exceeded", Class::Permission),
            ("service.tenant.license", Class::Permission),
            ("topic.not.found", Class::NotFound),
            ("topic.meta.permission", Class::Permission),
            ("subscription.topic.cannot.subscribe", Class::Permission),
            ("subscription.fetch.replayid.corrupted", Class::CursorExpired),
            (
                "subscription.fetch.replayid.validation.failed",
                Class::CursorExpired,
            ),
            ("subscription.fetch.replay.repeated", Class::Transient),
            ("subscription.fetch.requested.events.invalid", Class::Protocol),
            ("subscription.fetch.overflow", Class::Protocol),
            ("subscription.fetch.topic.mismatch", Class::Protocol),
            (
                "subscription.limit.exceeded",
                Class::QuotaExhausted {
                    until: until(SPENT_MS),
                },
            ),
        ] {
            assert_eq!(class(Code::Internal, error), expected, "{error}");
        }
    }

    #[test]
    fn without_a_code_the_status_decides() {
        for (code, expected) in [
            (Code::Unavailable, Class::Transient),
            (Code::Internal, Class::Transient),
            (Code::Unauthenticated, Class::AuthExpired),
            (Code::PermissionDenied, Class::Permission),
            (Code::NotFound, Class::NotFound),
            (Code::InvalidArgument, Class::Protocol),
        ] {
            assert_eq!(class(code, ""), expected);
        }
        assert_eq!(class(Code::Unavailable, "a.code.of.tomorrow"), Class::Transient);
    }

    #[test]
    fn a_connection_that_does_not_come_about_is_told_as_one() {
        let refused = outbound::Error::Connect {
            host: "stream.example".to_owned(),
            reason: "refused".to_owned(),
        };
        let failure = failure(&Status::from_error(refused.into()), &ManualClock::default());
        assert_eq!(failure.class, Class::Network, "{failure:?}");
    }
}
