//! The seam to apalis: a backend that only receives, and the service it feeds.
//!
//! apalis brings the worker loop, the concurrency limit, the panic catcher and the monitor.
//! It does not see the store: claims, leases and outcomes are the keeper's (`keeper.rs`).
//! One worker type serves all jobs, because every further generic worker costs minutes of release build.

use std::any::Any;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Instant;

use apalis::layers::catch_panic::CatchPanicLayer;
use apalis::prelude::{
    Backend, BoxDynError, Monitor, ParallelizeExt, Task, TaskBuilder, WorkerBuilder, WorkerBuilderExt,
    WorkerContext,
};
use apalis_core::backend::BackendConfig;
use apalis_core::backend::finalize::Ephemeral;
use futures_util::future::BoxFuture;
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinHandle};
use tower::layer::util::Identity;
use tower::{Layer, Service};

use crate::held::{Held, Ticket};
use crate::job::Job;
use crate::keeper::{End, Ended};
use crate::look::{Look, Verdict};

/// The receiving end of the claimer's channel, as apalis wants a source of tasks to look.
///
/// Clones share the channel, so that a worker the monitor starts anew goes on where the old one ended.
#[derive(Clone)]
pub(crate) struct Inbox {
    tickets: Arc<Mutex<mpsc::Receiver<Ticket>>>,
    held: Arc<Held>,
}

impl Inbox {
    pub(crate) fn new(tickets: mpsc::Receiver<Ticket>, held: Arc<Held>) -> Self {
        Self {
            tickets: Arc::new(Mutex::new(tickets)),
            held,
        }
    }

    /// Take back what no worker has begun, without waiting.
    pub(crate) fn unstarted(&self) -> Vec<Ticket> {
        let mut tickets = self.tickets.lock().unwrap_or_else(PoisonError::into_inner);
        std::iter::from_fn(|| tickets.try_recv().ok()).collect()
    }
}

impl Backend for Inbox {
    type Task = Task<Ticket>;
    type Error = Infallible;

    fn poll_ready(&mut self, _: &mut Context<'_>, _: &WorkerContext) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
        _: &WorkerContext,
    ) -> Poll<Option<Result<Self::Task, Infallible>>> {
        // Between the stop and the moment the worker hears of it, nothing more begins; the monitor wakes it.
        if self.held.is_stopping() {
            return Poll::Pending;
        }
        let mut tickets = self.tickets.lock().unwrap_or_else(PoisonError::into_inner);
        // The channel itself remembers who to wake: no timer, and so no wake-up to lose.
        tickets.poll_recv(cx).map(|received| {
            let ticket = received?;
            Some(Ok(TaskBuilder::new(ticket).build()))
        })
    }

    fn poll_close(&mut self, _: &mut Context<'_>, _: &WorkerContext) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }
}

impl BackendConfig for Inbox {
    type Args = Ticket;
    type Id = String;
    type Kind = Ephemeral;
    type Config = ();
    type Layer = Identity;

    fn config(&self) -> &Self::Config {
        &()
    }

    fn middleware(&mut self, _: &mut WorkerContext) -> Identity {
        Identity::new()
    }
}

/// A monitor with the one worker: limited, spread over the runtime's threads, reported, panics caught.
///
/// Of the layers, the one named first is the outermost.
pub(crate) fn monitor(
    name: &str,
    concurrency: usize,
    inbox: &Inbox,
    ends: mpsc::Sender<Ended>,
    look: Arc<dyn Look>,
) -> Monitor {
    let (name, inbox) = (name.to_owned(), inbox.clone());
    Monitor::new()
        .register(move |_restarts| {
            WorkerBuilder::new(name.as_str())
                .backend(inbox.clone())
                .concurrency(concurrency)
                .parallelize(spawn)
                .layer(ReportLayer { ends: ends.clone() })
                .layer(CatchPanicLayer::with_panic_handler(|payload| {
                    Panicked(text_of(payload.as_ref()))
                }))
                .build(LookService {
                    look: Arc::clone(&look),
                })
        })
        // Its tasks' panics are caught further in; should the loop itself fail, another takes over its inbox.
        .should_restart(|_, error| {
            tracing::error!(%error, "the worker's loop failed and starts anew");
            true
        })
}

/// The innermost service: hands a job to the hub.
#[derive(Clone)]
pub(crate) struct LookService {
    look: Arc<dyn Look>,
}

impl Service<Task<Ticket>> for LookService {
    type Response = Verdict;
    type Error = BoxDynError;
    type Future = BoxFuture<'static, Result<Verdict, BoxDynError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxDynError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, task: Task<Ticket>) -> Self::Future {
        let look = Arc::clone(&self.look);
        let Ticket { job, seen } = task.args;
        Box::pin(async move { Ok(look.look(job, seen).await) })
    }
}

/// What a look's panic said.
#[derive(Debug, thiserror::Error)]
#[error("panicked: {0}")]
struct Panicked(String);

fn text_of(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "without a text".to_owned())
}

/// Reports how each job left its worker: with a verdict, by a panic, or cut short.
///
/// It stands inside the spawned task, so that "cut short" is said when the look is really gone.
#[derive(Clone)]
struct ReportLayer {
    ends: mpsc::Sender<Ended>,
}

impl<S> Layer<S> for ReportLayer {
    type Service = Report<S>;

    fn layer(&self, inner: S) -> Report<S> {
        Report {
            inner,
            ends: self.ends.clone(),
        }
    }
}

#[derive(Clone)]
struct Report<S> {
    inner: S,
    ends: mpsc::Sender<Ended>,
}

impl<S> Service<Task<Ticket>> for Report<S>
where
    S: Service<Task<Ticket>, Response = Verdict, Error = BoxDynError>,
    S::Future: Send + 'static,
{
    type Response = ();
    type Error = BoxDynError;
    type Future = BoxFuture<'static, Result<(), BoxDynError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxDynError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, task: Task<Ticket>) -> Self::Future {
        let mut open = OpenReport {
            job: Some(task.args.job.clone()),
            attempt: task.args.seen.attempt,
            attempts_max: task.args.seen.attempts_max,
            begun: Instant::now(),
            ends: self.ends.clone(),
        };
        let look = self.inner.call(task);
        Box::pin(async move {
            let verdict = match look.await {
                Ok(verdict) => verdict,
                Err(panicked) => Verdict::Retry(panicked.to_string()),
            };
            open.log(&verdict);
            open.send(End::Verdict(verdict));
            Ok(())
        })
    }
}

/// A report that is still owed; it is made when it is dropped at the latest.
struct OpenReport {
    job: Option<Job>,
    attempt: u32,
    attempts_max: u32,
    begun: Instant,
    ends: mpsc::Sender<Ended>,
}

impl OpenReport {
    fn send(&mut self, end: End) {
        let Some(job) = self.job.take() else {
            return;
        };
        let ended = Ended {
            job,
            attempt: self.attempt,
            end,
        };
        // The channel has room for everything that is held. If its receiver is gone, the lease runs out instead.
        let _sent = self.ends.try_send(ended);
    }

    /// The one line per look.
    fn log(&self, verdict: &Verdict) {
        let job = self.job.as_ref().map(ToString::to_string);
        let (attempt, attempts_max) = (self.attempt, self.attempts_max);
        let duration_ms = self.begun.elapsed().as_millis();
        let decision = verdict.word();
        match verdict {
            Verdict::Done | Verdict::Again(_) => {
                tracing::debug!(job, attempt, attempts_max, duration_ms, decision, "looked");
            }
            Verdict::Retry(reason) | Verdict::Dead(reason) => {
                tracing::warn!(
                    job,
                    attempt,
                    attempts_max,
                    duration_ms,
                    decision,
                    reason,
                    "looked"
                );
            }
        }
    }
}

impl Drop for OpenReport {
    fn drop(&mut self) {
        self.send(End::CutShort);
    }
}

/// Run a look as a task of its own, which ends with whoever waits for it.
fn spawn<F>(look: F) -> Spawned<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    Spawned(tokio::spawn(look))
}

struct Spawned<T>(JoinHandle<T>);

impl<T> Future for Spawned<T> {
    type Output = Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx)
    }
}

impl<T> Drop for Spawned<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::look::Seen;

    #[tokio::test]
    async fn nothing_begins_between_the_stop_and_the_moment_the_worker_hears_of_it() {
        let held = Arc::new(Held::new(2, 1));
        let (tickets, received) = mpsc::channel(2);
        let mut inbox = Inbox::new(received, Arc::clone(&held));
        for _ in 0..2 {
            let (job, seen) = (Job::Sweep, Seen::alone());
            tickets.send(Ticket { job, seen }).await.unwrap();
        }
        let worker = WorkerContext::new("node");
        let mut cx = Context::from_waker(std::task::Waker::noop());
        assert!(inbox.poll_next(&mut cx, &worker).is_ready());
        held.stop();
        assert!(inbox.poll_next(&mut cx, &worker).is_pending());
        assert_eq!(inbox.unstarted().len(), 1);
    }
}
