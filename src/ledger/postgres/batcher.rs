//! Group commit: whatever waits shares one transaction, one transaction at a time.

use std::panic::AssertUnwindSafe;

use async_trait::async_trait;
use futures_util::FutureExt;
use tokio::sync::{mpsc, oneshot};

use super::database::{Database, Failure, Work};
use crate::LedgerError;

/// Requests in one transaction at most: what is answered together must not wait long for each other.
const GROUP_REQUESTS_MAX: usize = 1_024;
/// Rows after which a transaction takes no further request.
const GROUP_ROWS_MAX: usize = 10_000;

/// What a batcher does.
#[async_trait]
pub(super) trait Batch: Send + Sync + 'static {
    /// What is asked.
    type Request: Send + Sync + 'static;
    /// What is answered.
    type Answer: Send + 'static;
    /// Whether a group may be done again although it may have been done.
    const REPEATABLE: bool;
    /// Roughly how much a request writes.
    fn rows(request: &Self::Request) -> usize;
    /// Does all requests in one transaction; one answer a request, in order. An error means that none was done.
    async fn run(
        client: &mut deadpool_postgres::Client,
        requests: &[Self::Request],
    ) -> Result<Vec<Result<Self::Answer, LedgerError>>, Failure>;
}

type Answered<B> = Result<<B as Batch>::Answer, LedgerError>;
type Waiting<B> = (<B as Batch>::Request, oneshot::Sender<Answered<B>>);

/// Gathers requests of one kind.
pub(super) struct Batcher<B: Batch> {
    requests: mpsc::Sender<Waiting<B>>,
}

impl<B: Batch> Batcher<B> {
    /// Starts the task that does what is asked; it ends, after what waits is done, when the batcher is dropped.
    pub(super) fn start(database: Database, waiting_max: usize) -> Batcher<B> {
        let (requests, waiting) = mpsc::channel(waiting_max);
        tokio::spawn(serve::<B>(database, waiting));
        Batcher { requests }
    }

    /// Has a request done with the next group; answers when it is on disk.
    pub(super) async fn ask(&self, request: B::Request) -> Answered<B> {
        let gone = || LedgerError::Store("a group of writes was broken off; see the log".into());
        let (caller, answer) = oneshot::channel();
        let sent = self.requests.try_send((request, caller));
        sent.map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => LedgerError::Busy {
                waiting: self.requests.max_capacity(),
            },
            mpsc::error::TrySendError::Closed(_) => gone(),
        })?;
        answer.await.unwrap_or_else(|_| Err(gone()))
    }
}

async fn serve<B: Batch>(database: Database, mut waiting: mpsc::Receiver<Waiting<B>>) {
    while let Some((first, caller)) = waiting.recv().await {
        let mut rows = B::rows(&first);
        let (mut requests, mut callers) = (vec![first], vec![caller]);
        while requests.len() < GROUP_REQUESTS_MAX && rows < GROUP_ROWS_MAX {
            let Ok((next, caller)) = waiting.try_recv() else {
                break;
            };
            rows += B::rows(&next);
            requests.push(next);
            callers.push(caller);
        }
        // A panic breaks off this group, whose callers are told, and no other.
        match AssertUnwindSafe(done::<B>(&database, &requests))
            .catch_unwind()
            .await
        {
            // Beside the next group, which would begin after all that they go on to do.
            Ok(answers) => drop(tokio::spawn(answer::<B>(callers, answers))),
            Err(_) => tracing::error!("a group of writes was broken off"),
        }
    }
}

async fn answer<B: Batch>(callers: Vec<oneshot::Sender<Answered<B>>>, answers: Vec<Answered<B>>) {
    for (caller, answer) in callers.into_iter().zip(answers) {
        // Nobody to answer: the caller went away.
        let _ = caller.send(answer);
    }
}

/// Does a group together; when the database refuses it, each request alone, so that one bad one fails only itself.
async fn done<B: Batch>(database: &Database, requests: &[B::Request]) -> Vec<Answered<B>> {
    match database.run(&Group::<B> { requests }).await {
        Ok(answers) => answers,
        Err(ended) if requests.len() > 1 && ended.divisible => {
            let mut answers = Vec::with_capacity(requests.len());
            for request in requests {
                answers.push(alone::<B>(database, request).await);
            }
            answers
        }
        Err(ended) => {
            let text = match ended.error {
                LedgerError::Store(text) => text,
                other => other.to_string(),
            };
            let failed = || Err(LedgerError::Store(text.clone()));
            requests.iter().map(|_| failed()).collect()
        }
    }
}

async fn alone<B: Batch>(database: &Database, request: &B::Request) -> Answered<B> {
    let requests = std::slice::from_ref(request);
    let mut answers = database.run(&Group::<B> { requests }).await?;
    let one = answers.pop();
    one.unwrap_or_else(|| Err(LedgerError::Store("a request got no answer".into())))
}

struct Group<'a, B: Batch> {
    requests: &'a [B::Request],
}

#[async_trait]
impl<B: Batch> Work for Group<'_, B> {
    const REPEATABLE: bool = B::REPEATABLE;
    type Answer = Vec<Result<B::Answer, LedgerError>>;

    async fn run(&self, client: &mut deadpool_postgres::Client) -> Result<Self::Answer, Failure> {
        B::run(client, self.requests).await
    }
}
