//! The Pub/Sub API as a client meets it.

use std::str::FromStr as _;

use axum::http::Uri;
use axum::http::uri::PathAndQuery;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Status, Streaming};
use tonic_prost::ProstCodec;

use super::message::{Delivered, FetchRequest, FetchResponse, Preset, SchemaInfo, SchemaRequest};
use crate::salesforce::tests::log_in;
use crate::testing::{Asker, start};
use crate::{Fault, Running, Switch};

const TOPIC: &str = "/data/LeadChangeEvent";

/// A client of a sandbox's Pub/Sub API.
struct Listener {
    grpc: tonic::client::Grpc<Client<HttpConnector, tonic::body::Body>>,
    headers: Vec<(&'static str, String)>,
}

/// A stream with the means to ask for more.
struct Heard {
    ask: mpsc::Sender<FetchRequest>,
    answers: Streaming<FetchResponse>,
}

impl Listener {
    async fn new(running: &Running) -> Listener {
        let url = running.salesforce.stream_url();
        let pool = Client::builder(TokioExecutor::new())
            .http2_only(true)
            .build_http();
        let token = log_in(running).await.token().to_owned();
        Listener {
            grpc: tonic::client::Grpc::with_origin(pool, Uri::from_str(&url).unwrap()),
            headers: vec![
                ("accesstoken", token),
                ("instanceurl", running.salesforce.url()),
                ("tenantid", running.salesforce.org_id().to_owned()),
            ],
        }
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        for (name, value) in &self.headers {
            request.metadata_mut().insert(*name, value.parse().unwrap());
        }
        request
    }

    async fn subscribe(&mut self, preset: Preset, replay_id: &[u8], credit: i32) -> Result<Heard, Status> {
        let (ask, asked) = mpsc::channel(4);
        let first = FetchRequest {
            topic_name: TOPIC.to_owned(),
            replay_preset: preset.into(),
            replay_id: replay_id.to_vec(),
            num_requested: credit,
        };
        ask.send(first).await.unwrap();
        let request = self.request(ReceiverStream::new(asked));
        let path = PathAndQuery::from_static("/eventbus.v1.PubSub/Subscribe");
        self.grpc.ready().await.unwrap();
        let codec: ProstCodec<FetchRequest, FetchResponse> = ProstCodec::default();
        let answers = self.grpc.streaming(request, path, codec).await?.into_inner();
        Ok(Heard { ask, answers })
    }

    async fn schema(&mut self, id: &str) -> Result<SchemaInfo, Status> {
        let message = SchemaRequest {
            schema_id: id.to_owned(),
        };
        let request = self.request(message);
        let path = PathAndQuery::from_static("/eventbus.v1.PubSub/GetSchema");
        self.grpc.ready().await.unwrap();
        let codec: ProstCodec<SchemaRequest, SchemaInfo> = ProstCodec::default();
        Ok(self.grpc.unary(request, path, codec).await?.into_inner())
    }
}

impl Heard {
    async fn next(&mut self) -> FetchResponse {
        self.answers.message().await.unwrap().unwrap()
    }

    async fn end(&mut self) -> Status {
        self.answers.message().await.unwrap_err()
    }
}

/// Waits until a stream is open, so that what comes later is news to it.
async fn open(running: &Running, streams: usize) {
    loop {
        let shown = Asker::at(&running.salesforce.url())
            .get("/_sandbox/stream")
            .await
            .json();
        let open = shown["subscriptions"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|s| s["open"] == true)
            .count();
        if open == streams {
            return;
        }
    }
}

fn lead(name: &str) -> Value {
    json!({ "LastName": name, "Company": "Fjord" })
}

fn code(status: &Status) -> String {
    let code = status
        .metadata()
        .get("error-code")
        .map(|code| code.to_str().unwrap().to_owned());
    code.unwrap_or_else(|| format!("{status:?}"))
        .replace("sfdc.platform.eventbus.grpc.", "")
}

/// The header of an event: entity, ids, kind of change, origin, bitmap of changed fields.
fn header(delivered: &Delivered) -> (String, Vec<String>, i64, String, Vec<String>) {
    struct Reader<'a>(&'a [u8]);
    impl Reader<'_> {
        fn long(&mut self) -> i64 {
            let (mut value, mut shift) = (0u64, 0);
            loop {
                let byte = self.0[0];
                self.0 = &self.0[1..];
                value |= u64::from(byte & 0x7f) << shift;
                shift += 7;
                if byte & 0x80 == 0 {
                    return (value >> 1).cast_signed() ^ -(value & 1).cast_signed();
                }
            }
        }
        fn text(&mut self) -> String {
            let length = usize::try_from(self.long()).unwrap();
            let (text, rest) = self.0.split_at(length);
            self.0 = rest;
            String::from_utf8(text.to_vec()).unwrap()
        }
        fn texts(&mut self) -> Vec<String> {
            let mut texts = Vec::new();
            loop {
                match self.long() {
                    0 => return texts,
                    count => texts.extend((0..count).map(|_| self.text())),
                }
            }
        }
    }
    let payload = &delivered.event.as_ref().unwrap().payload;
    let mut reader = Reader(payload);
    let (entity, ids, kind, origin) = (reader.text(), reader.texts(), reader.long(), reader.text());
    let (_transaction, _sequence, _at, _number, _user) = (
        reader.text(),
        reader.long(),
        reader.long(),
        reader.long(),
        reader.text(),
    );
    let (_nulled, _diff, changed) = (reader.texts(), reader.texts(), reader.texts());
    (entity, ids, kind, origin, changed)
}

#[tokio::test]
async fn changes_are_told_in_order_as_credit_allows() {
    let (running, _clock) = start().await;
    let org = &running.salesforce;
    let before = org.insert("Lead", &lead("Before")).unwrap();
    let mut listener = Listener::new(&running).await;
    let mut heard = listener.subscribe(Preset::Latest, &[], 2).await.unwrap();
    open(&running, 1).await;
    org.insert("Account", &json!({ "Name": "Not a lead" })).unwrap();
    org.update(
        "Lead",
        &before,
        &json!({ "City": "Oslo", "Company": null, "LastName": "After" }),
    )
    .unwrap_err();
    org.update("Lead", &before, &json!({ "City": "Oslo" })).unwrap();
    org.delete("Lead", &before).unwrap();
    let after = org.insert("Lead", &lead("After")).unwrap();

    let mut events = Vec::new();
    while events.len() < 2 {
        let answer = heard.next().await;
        events.extend(answer.events);
        assert_eq!(
            answer.pending_num_requested,
            2 - i32::try_from(events.len()).unwrap()
        );
    }
    let (entity, ids, kind, origin, changed) = header(&events[0]);
    assert_eq!((entity.as_str(), &ids, kind), ("Lead", &vec![before.clone()], 1));
    assert!(origin.ends_with("client=SfdcInternalAPI/"), "{origin}");
    assert!(
        changed.contains(&"2-0x02".to_owned()),
        "the city, within the address: {changed:?}"
    );
    assert_eq!(header(&events[1]).2, 2, "deleted");

    let more = FetchRequest {
        num_requested: 5,
        ..FetchRequest::default()
    };
    heard.ask.send(more).await.unwrap();
    let answer = heard.next().await;
    let (_, ids, kind, _, changed) = header(&answer.events[0]);
    assert_eq!(
        (ids, kind, changed.len(), answer.pending_num_requested),
        (vec![after], 0, 0, 4)
    );

    let schema = listener
        .schema(&events[0].event.as_ref().unwrap().schema_id)
        .await
        .unwrap();
    let read: Value = serde_json::from_str(&schema.schema_json).unwrap();
    assert_eq!(read["name"], "LeadChangeEvent");
    assert!(listener.schema("unknown").await.is_err());
}

#[tokio::test]
async fn a_stream_goes_on_behind_its_replay_id_unless_that_is_not_known_any_more() {
    let (running, _clock) = start().await;
    let mut listener = Listener::new(&running).await;
    let ids: Vec<String> = ["One", "Two"]
        .map(|name| running.salesforce.insert("Lead", &lead(name)).unwrap())
        .into();
    let mut heard = listener.subscribe(Preset::Earliest, &[], 1).await.unwrap();
    let first = heard.next().await;
    assert_eq!(header(&first.events[0]).1, ids[..1]);
    drop(heard);
    let place = &first.events[0].replay_id;
    let mut heard = listener.subscribe(Preset::Custom, place, 1).await.unwrap();
    assert_eq!(header(&heard.next().await.events[0]).1, ids[1..]);

    let mut foreign = place.clone();
    foreign[0] ^= 1;
    for (place, reason) in [
        (&foreign[..], "corrupted"),
        (&[], "validation.failed"),
        (&[7], "corrupted"),
    ] {
        let mut refused = listener.subscribe(Preset::Custom, place, 1).await.unwrap();
        assert_eq!(
            code(&refused.end().await),
            format!("subscription.fetch.replayid.{reason}")
        );
    }
    running
        .salesforce
        .faults()
        .add(Switch::times(Fault::ReplayExpired, 1))
        .unwrap();
    let mut refused = listener.subscribe(Preset::Custom, place, 1).await.unwrap();
    assert_eq!(
        code(&refused.end().await),
        "subscription.fetch.replayid.corrupted"
    );
}

#[tokio::test]
async fn who_may_not_listen_is_told_why() {
    let (running, _clock) = start().await;
    for (at, value, reason) in [
        (0, "nobody", "service.auth.error"),
        (1, "", "service.auth.headers.invalid"),
        (2, "00D000000000000EAA", "service.auth.headers.invalid"),
    ] {
        let mut listener = Listener::new(&running).await;
        listener.headers[at].1 = value.to_owned();
        let refused = listener.subscribe(Preset::Latest, &[], 1).await;
        assert_eq!(code(&refused.err().unwrap()), reason);
    }
    let mut listener = Listener::new(&running).await;
    for credit in [0, 101] {
        let mut heard = listener.subscribe(Preset::Latest, &[], credit).await.unwrap();
        assert_eq!(
            code(&heard.end().await),
            "subscription.fetch.requested.events.invalid"
        );
    }
    let fault = Fault::NoTopic {
        object: Some("Lead".into()),
    };
    running.salesforce.faults().add(Switch::always(fault)).unwrap();
    let mut heard = listener.subscribe(Preset::Latest, &[], 1).await.unwrap();
    assert_eq!(code(&heard.end().await), "topic.not.found");
}

#[tokio::test]
async fn an_idle_stream_is_told_the_newest_place_and_a_broken_one_ends() {
    let (running, _clock) = start().await;
    let asker = Asker::at(&running.salesforce.url());
    asker
        .send("PUT", "/_sandbox/stream", &[], r#"{"keep_alive_ms": 20}"#)
        .await;
    let mut listener = Listener::new(&running).await;
    let mut heard = listener.subscribe(Preset::Latest, &[], 1).await.unwrap();
    let idle = heard.next().await;
    assert!(idle.events.is_empty() && !idle.latest_replay_id.is_empty());
    asker.send("DELETE", "/_sandbox/stream", &[], "").await;
    let end = loop {
        match heard.answers.message().await {
            Ok(idle) => assert!(idle.unwrap().events.is_empty()),
            Err(status) => break status,
        }
    };
    assert_eq!(code(&end), "service.unavailable");
    open(&running, 0).await;
}

#[tokio::test]
async fn gaps_name_the_row_and_overflows_only_the_object() {
    let (running, _clock) = start().await;
    let faults = running.salesforce.faults();
    faults
        .add(Switch::times(
            Fault::Gap {
                object: Some("Lead".into()),
            },
            1,
        ))
        .unwrap();
    let id = running.salesforce.insert("Lead", &lead("Gap")).unwrap();
    let mut listener = Listener::new(&running).await;
    let mut heard = listener.subscribe(Preset::Earliest, &[], 5).await.unwrap();
    let (_, ids, kind, _, changed) = header(&heard.next().await.events[0]);
    assert_eq!((ids, kind, changed.len()), (vec![id], 4, 0), "GAP_CREATE");
    faults
        .add(Switch::times(Fault::Overflow { object: None }, 1))
        .unwrap();
    running.salesforce.insert("Lead", &lead("Overflow")).unwrap();
    let (_, ids, kind, ..) = header(&heard.next().await.events[0]);
    assert_eq!((ids, kind), (vec!["00Q*".to_owned()], 8), "GAP_OVERFLOW");
}
