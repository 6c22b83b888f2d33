//! One subscription: what happened since a replay id, told as credit allows.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::response::Response;
use tokio::sync::mpsc;
use tonic::{Code, Status, Streaming};
use tonic_prost::ProstCodec;

use super::event::{Form, Schema};
use super::message::{Delivered, Event, FetchRequest, FetchResponse, Preset};
use super::{SUBSCRIPTIONS_MAX, Subscription, authorised, grpc, of, refusal, topic, valid};
use crate::faults::Fault;
use crate::salesforce::System;

/// Events that may be asked for at once.
const REQUESTED_MAX: i32 = 100;
/// Answers that wait for a slow reader.
const WAITING_MAX: usize = 4;

/// Answers of a stream, as they come.
type Answers = Pin<Box<dyn tokio_stream::Stream<Item = Result<FetchResponse, Status>> + Send>>;

struct Subscribe(Arc<System>);

impl tonic::server::StreamingService<FetchRequest> for Subscribe {
    type Response = FetchResponse;
    type ResponseStream = Answers;
    type Future = Pin<Box<dyn Future<Output = Result<tonic::Response<Answers>, Status>> + Send>>;

    fn call(&mut self, request: tonic::Request<Streaming<FetchRequest>>) -> Self::Future {
        let system = Arc::clone(&self.0);
        Box::pin(async move {
            let token = authorised(&system, request.metadata())?;
            let (say, answers) = mpsc::channel(WAITING_MAX);
            tokio::spawn(async move {
                if let Err(status) = run(&system, &token, request.into_inner(), &say).await {
                    // A reader that is gone does not need the reason.
                    let _gone = say.send(Err(status)).await;
                }
            });
            let answers: Answers = Box::pin(tokio_stream::wrappers::ReceiverStream::new(answers));
            Ok(tonic::Response::new(answers))
        })
    }
}

pub(super) async fn subscribe(State(system): State<Arc<System>>, request: Request) -> Response {
    let mut server = tonic::server::Grpc::new(ProstCodec::default());
    grpc(server.streaming(Subscribe(system), request).await)
}

/// The opaque replay id of a place before the change of a number; it names the organisation.
fn replay_id(system: &System, number: u64) -> Vec<u8> {
    let salt = system.users.org.bytes().fold(0u8, u8::wrapping_add);
    // Not contiguous, as real ones are not.
    [&[salt][..], &(number * 8 + 5).to_be_bytes()].concat()
}

fn number(system: &System, replay_id: &[u8]) -> Option<u64> {
    let bytes = replay_id.get(1..)?;
    let number = u64::from_be_bytes(bytes.try_into().ok()?).checked_sub(5)? / 8;
    (self::replay_id(system, number) == replay_id).then_some(number)
}

/// Where a stream begins: the number of the first change to tell.
fn start(system: &System, first: &FetchRequest) -> Result<u64, Status> {
    let (oldest, next) = {
        let org = system.org();
        (org.changes.first(), org.changes.next())
    };
    let invalid = |code: &str, message: &str| refusal(&system.streams, Code::InvalidArgument, code, message);
    match first.replay_preset() {
        Preset::Latest => Ok(next),
        Preset::Earliest => Ok(oldest),
        Preset::Custom if first.replay_id.is_empty() => Err(invalid(
            "subscription.fetch.replayid.validation.failed",
            "The Replay ID is missing.",
        )),
        Preset::Custom => {
            let expired = system.faults.meets(|fault| *fault == Fault::ReplayExpired);
            let number =
                number(system, &first.replay_id).filter(|at| (oldest..=next).contains(at) && !expired);
            number.ok_or_else(|| {
                invalid(
                    "subscription.fetch.replayid.corrupted",
                    "The Replay ID validation failed. Ensure that the Replay ID is valid. rpcId: 0",
                )
            })
        }
    }
}

/// The credit that a request adds.
fn credit(system: &System, request: &FetchRequest, topic: &str) -> Result<i32, Status> {
    let invalid = |code: &str, message: &str| refusal(&system.streams, Code::InvalidArgument, code, message);
    if !request.topic_name.is_empty() && request.topic_name != topic {
        let message = "The topic of a stream cannot change.";
        return Err(invalid("subscription.fetch.topic.mismatch", message));
    }
    if !(1..=REQUESTED_MAX).contains(&request.num_requested) {
        let message = "The number of requested events must be greater than zero and at most 100.";
        return Err(invalid("subscription.fetch.requested.events.invalid", message));
    }
    Ok(request.num_requested)
}

/// Writes itself down as open, and as closed when it ends.
struct Noted<'a>(&'a System, usize);

impl<'a> Noted<'a> {
    fn new(system: &'a System, first: &FetchRequest) -> Self {
        let mut subscriptions = system.streams.subscriptions();
        if subscriptions.len() == SUBSCRIPTIONS_MAX {
            subscriptions.clear();
        }
        subscriptions.push(Subscription {
            topic: first.topic_name.clone(),
            from: match first.replay_preset() {
                Preset::Latest => "latest",
                Preset::Earliest => "earliest",
                Preset::Custom => "custom",
            },
            open: true,
        });
        Self(system, subscriptions.len() - 1)
    }
}

impl Drop for Noted<'_> {
    fn drop(&mut self) {
        if let Some(subscription) = self.0.streams.subscriptions().get_mut(self.1) {
            subscription.open = false;
        }
    }
}

/// Serves a subscription until it is refused, broken, or its reader has gone.
async fn run(
    system: &System,
    token: &str,
    mut requests: Streaming<FetchRequest>,
    say: &mpsc::Sender<Result<FetchResponse, Status>>,
) -> Result<(), Status> {
    let Some(first) = requests.message().await? else {
        return Ok(());
    };
    let (table, schema) = topic(system, &first.topic_name)?;
    let mut at = start(system, &first)?;
    let mut pending = credit(system, &first, &first.topic_name)?;
    let _noted = Noted::new(system, &first);
    let mut news = system.org().changes.listen();
    let mut breaks = system.streams.breaks.subscribe();
    // It may end while others go on to be asked for.
    let mut asked = true;
    loop {
        let events = told(system, table, &schema, &mut at, pending);
        valid(system, token)?;
        if !events.is_empty() {
            pending -= i32::try_from(events.len()).unwrap_or(pending);
            if say.send(Ok(answer(system, events, at, pending))).await.is_err() {
                return Ok(());
            }
            continue;
        }
        let keep_alive = Duration::from_millis(system.streams.keep_alive_ms.load(Ordering::Relaxed));
        tokio::select! {
            request = requests.message(), if asked => match request? {
                Some(request) => pending += credit(system, &request, &first.topic_name)?,
                None => asked = false,
            },
            _ = news.changed() => {}
            _ = breaks.changed() => return Err(refusal(
                &system.streams, Code::Unavailable, "service.unavailable", "The service is not available.",
            )),
            () = tokio::time::sleep(keep_alive) => {
                if say.send(Ok(answer(system, Vec::new(), at, pending))).await.is_err() {
                    return Ok(());
                }
            }
            () = say.closed() => return Ok(()),
        }
    }
}

fn answer(system: &System, events: Vec<Delivered>, at: u64, pending: i32) -> FetchResponse {
    FetchResponse {
        events,
        latest_replay_id: replay_id(system, at),
        rpc_id: system.streams.rpc_id(),
        pending_num_requested: pending,
    }
}

/// The next events of an object, as many as there is credit for; moves on behind what was looked at.
fn told(system: &System, table: usize, schema: &Schema, at: &mut u64, credit: i32) -> Vec<Delivered> {
    let mut events = Vec::new();
    let org = system.org();
    let object = org.schema.objects[table].name;
    for (number, change) in org.changes.from(*at) {
        if events.len() >= usize::try_from(credit).unwrap_or(0) {
            break;
        }
        *at = number + 1;
        if change.table != table {
            continue;
        }
        let meets = |is: fn(&Fault) -> Option<&Option<String>>| {
            system
                .faults
                .meets(|fault| is(fault).is_some_and(|only| of(only.as_deref(), object)))
        };
        let form = if meets(|fault| match fault {
            Fault::Overflow { object } => Some(object),
            _ => None,
        }) {
            Form::Overflow
        } else if meets(|fault| match fault {
            Fault::Gap { object } => Some(object),
            _ => None,
        }) {
            Form::Gap
        } else {
            Form::Whole
        };
        events.push(Delivered {
            event: Some(Event {
                id: format!("{number:08x}-0000-4000-9000-000000000000"),
                schema_id: schema.id.clone(),
                payload: schema.write(change, number, form),
            }),
            replay_id: replay_id(system, number + 1),
        });
    }
    events
}
