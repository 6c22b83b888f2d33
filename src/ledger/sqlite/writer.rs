//! Writing: one thread, group commit.
//!
//! Requests come through a bounded channel. The thread takes everything that waits, up to named limits, runs all of it
//! in one transaction, commits, and only then answers each. When one of a group fails, the transaction is taken back and
//! the group runs once more, each request in a savepoint of its own, so that a failure takes back only itself: failures
//! are rare, and a savepoint costs a copy of every page that its request touches.
//! A caller that goes away while it waits has still written.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::JoinHandle;

use rusqlite::{Connection, ErrorCode};
use tokio::sync::{mpsc, oneshot};

use crate::LedgerError;

/// Requests in one transaction at most: what is answered together must not wait long for each other.
const GROUP_REQUESTS_MAX: usize = 1_024;
/// Rows, as the requests say, after which a transaction takes no further request.
const GROUP_ROWS_MAX: usize = 10_000;

/// A request before and after it ran, with the place to answer to.
trait Request: Send {
    /// Roughly how much it writes.
    fn rows(&self) -> usize;
    /// Runs it, or runs it again after its writes were taken back; whether its writes are to be kept.
    fn run(&mut self, connection: &Connection) -> bool;
    /// What it would have answered is void, for the whole group failed.
    fn void(&mut self, reason: &str);
    /// Answers.
    fn answer(self: Box<Self>);
}

struct Job<T, F> {
    rows: usize,
    work: F,
    result: Result<T, LedgerError>,
    caller: oneshot::Sender<Result<T, LedgerError>>,
}

impl<T, F> Request for Job<T, F>
where
    T: Send,
    F: FnMut(&Connection) -> Result<T, LedgerError> + Send,
{
    fn rows(&self) -> usize {
        self.rows
    }

    fn run(&mut self, connection: &Connection) -> bool {
        // What a panic leaves half done is taken back like that of any other failure.
        self.result = catch_unwind(AssertUnwindSafe(|| (self.work)(connection)))
            .unwrap_or_else(|panic| Err(LedgerError::Store(panicked(panic.as_ref()))));
        self.result.is_ok()
    }

    fn void(&mut self, reason: &str) {
        self.result = Err(LedgerError::Store(reason.to_owned()));
    }

    fn answer(self: Box<Self>) {
        // Nobody to answer: the caller went away.
        let _ = self.caller.send(self.result);
    }
}

fn panicked(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    format!("a write panicked: {}", text.unwrap_or("no reason given"))
}

/// The writing thread. Ends, after what waits is written, when it is dropped.
pub(crate) struct Writer {
    requests: Option<mpsc::Sender<Box<dyn Request>>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    pub(crate) fn start(connection: Connection, waiting_max: usize) -> std::io::Result<Writer> {
        let (requests, waiting) = mpsc::channel(waiting_max);
        let thread = std::thread::Builder::new()
            .name("ledger-writer".into())
            .spawn(move || serve(&connection, waiting))?;
        Ok(Writer {
            requests: Some(requests),
            thread: Some(thread),
        })
    }

    /// Runs a write in the next group and answers when it is on disk. The work may run a second time after all that it
    /// wrote was taken back, so it must not use up what it is given.
    pub(crate) async fn run<T, F>(&self, rows: usize, work: F) -> Result<T, LedgerError>
    where
        T: Send + 'static,
        F: FnMut(&Connection) -> Result<T, LedgerError> + Send + 'static,
    {
        let gone = || LedgerError::Store("the ledger's writer has ended; restart the program".into());
        let requests = self.requests.as_ref().ok_or_else(gone)?;
        let (caller, answer) = oneshot::channel();
        let job = Job {
            rows,
            work,
            result: Err(gone()),
            caller,
        };
        requests.try_send(Box::new(job)).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => LedgerError::Busy {
                waiting: requests.max_capacity(),
            },
            mpsc::error::TrySendError::Closed(_) => gone(),
        })?;
        answer.await.unwrap_or_else(|_| Err(gone()))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // Without a sender the thread ends; waiting for it lets the next opener find the file closed.
        self.requests = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(connection: &Connection, mut waiting: mpsc::Receiver<Box<dyn Request>>) {
    let mut group = Vec::new();
    while let Some(first) = waiting.blocking_recv() {
        let mut rows = first.rows();
        group.push(first);
        while group.len() < GROUP_REQUESTS_MAX && rows < GROUP_ROWS_MAX {
            let Ok(next) = waiting.try_recv() else { break };
            rows += next.rows();
            group.push(next);
        }
        if let Err(reason) = write(connection, &mut group) {
            tracing::error!(requests = group.len(), reason, "the ledger could not commit");
            group.iter_mut().for_each(|request| request.void(&reason));
        }
        group.drain(..).for_each(Request::answer);
    }
    // Lets SQLite note what it learned about its indexes; without it plans get worse as tables grow.
    let _ = connection.execute_batch("PRAGMA optimize");
}

/// Runs a group in one transaction. An error means that nothing of it was written.
fn write(connection: &Connection, group: &mut [Box<dyn Request>]) -> Result<(), String> {
    begin(connection)?;
    let all = group.iter_mut().all(|request| request.run(connection));
    still_open(connection)?;
    if all {
        return step(connection, "COMMIT");
    }
    step(connection, "ROLLBACK")?;
    // One alone has its answer: it failed, and it took back only itself.
    if group.len() > 1 {
        begin(connection)?;
        for request in group {
            step(connection, "SAVEPOINT request")?;
            if !request.run(connection) {
                still_open(connection)?;
                step(connection, "ROLLBACK TO request")?;
            }
            step(connection, "RELEASE request")?;
        }
        step(connection, "COMMIT")?;
    }
    Ok(())
}

fn begin(connection: &Connection) -> Result<(), String> {
    run(connection, "BEGIN IMMEDIATE").map_err(|error| match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy) => {
            "another process kept the file locked for longer than `busy_timeout_ms`; nothing was written"
                .into()
        }
        _ => error.to_string(),
    })
}

/// SQLite gives up the whole transaction by itself when the disk is full or fails.
fn still_open(connection: &Connection) -> Result<(), String> {
    if connection.is_autocommit() {
        return Err("the disk is full or failed; nothing was written".into());
    }
    Ok(())
}

fn step(connection: &Connection, sql: &str) -> Result<(), String> {
    run(connection, sql).map_err(|error| {
        // A transaction that cannot be committed must not be left open for the next group.
        let _ = connection.execute_batch("ROLLBACK");
        error.to_string()
    })
}

fn run(connection: &Connection, sql: &str) -> rusqlite::Result<()> {
    connection.prepare_cached(sql)?.execute([]).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn writer(waiting_max: usize) -> Writer {
        let connection = Connection::open_in_memory().unwrap();
        connection
            .execute_batch("CREATE TABLE t (n INTEGER PRIMARY KEY)")
            .unwrap();
        Writer::start(connection, waiting_max).unwrap()
    }

    fn insert(connection: &Connection, n: i64) -> Result<(), LedgerError> {
        connection.execute("INSERT INTO t VALUES (?1)", [n])?;
        Ok(())
    }

    async fn rows(writer: &Writer) -> Vec<i64> {
        let read = |connection: &Connection| {
            let mut statement = connection.prepare("SELECT n FROM t ORDER BY n")?;
            let rows = statement.query_map([], |row| row.get(0))?;
            Ok(rows.collect::<rusqlite::Result<Vec<i64>>>()?)
        };
        writer.run(1, read).await.unwrap()
    }

    /// Polls once; whether it waits.
    async fn pending<F: Future>(mut future: std::pin::Pin<&mut F>) -> bool {
        std::future::poll_fn(|context| std::task::Poll::Ready(future.as_mut().poll(context).is_pending()))
            .await
    }

    /// Holds the writer until it is dropped, so that what is sent meanwhile becomes one group.
    async fn hold(writer: &Writer) -> (std::sync::mpsc::Sender<()>, impl Future<Output = ()> + use<'_>) {
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let (started, running) = oneshot::channel();
        let mut started = Some(started);
        let mut held = Box::pin(writer.run(1, move |_| {
            // When its group runs a second time, it holds nobody up again.
            let Some(started) = started.take() else {
                return Ok(());
            };
            let _ = started.send(());
            let _ = wait.recv();
            Ok(())
        }));
        // The first poll sends it; the writer runs it on its own thread.
        assert!(pending(held.as_mut()).await);
        running.await.unwrap();
        (go, async move { held.await.unwrap() })
    }

    #[tokio::test]
    async fn one_bad_request_takes_back_only_itself() {
        let writer = writer(100);
        let (go, held) = hold(&writer).await;
        let bad = writer.run(1, |connection| {
            insert(connection, 10)?;
            insert(connection, 1)
        });
        let panics = writer.run(1, |connection| -> Result<(), LedgerError> {
            insert(connection, 20)?;
            panic!("on purpose")
        });
        let all = async {
            tokio::join!(
            biased;
                writer.run(1, |connection| insert(connection, 1)),
                bad,
                panics,
                writer.run(1, |connection| insert(connection, 2)),
                async { drop(go) },
                held,
            )
        };
        let (first, bad, panics, last, (), ()) = all.await;
        assert!(first.is_ok() && last.is_ok());
        assert_eq!(
            bad.unwrap_err().to_string(),
            "the ledger's database failed: UNIQUE constraint failed: t.n"
        );
        assert_eq!(
            panics.unwrap_err().to_string(),
            "the ledger's database failed: a write panicked: on purpose"
        );
        assert_eq!(rows(&writer).await, [1, 2]);
    }

    #[tokio::test]
    async fn a_full_channel_is_busy_and_not_a_wait() {
        let writer = writer(2);
        let (go, held) = hold(&writer).await;
        let (first, second, third, (), ()) = tokio::join!(
            biased;
            writer.run(1, |connection| insert(connection, 1)),
            writer.run(1, |connection| insert(connection, 2)),
            writer.run(1, |connection| insert(connection, 3)),
            async { drop(go) },
            held,
        );
        assert!(first.is_ok() && second.is_ok());
        assert!(matches!(third, Err(LedgerError::Busy { waiting: 2 })));
        assert_eq!(rows(&writer).await, [1, 2]);
    }

    #[tokio::test]
    async fn a_writer_that_died_answers_everybody() {
        struct Deadly;
        impl Request for Deadly {
            fn rows(&self) -> usize {
                panic!("kills the thread")
            }
            fn run(&mut self, _: &Connection) -> bool {
                true
            }
            fn void(&mut self, _: &str) {}
            fn answer(self: Box<Self>) {}
        }
        let writer = writer(10);
        let (go, held) = hold(&writer).await;
        writer
            .requests
            .as_ref()
            .unwrap()
            .try_send(Box::new(Deadly))
            .ok()
            .unwrap();
        let waits = writer.run(1, |connection| insert(connection, 1));
        let (waits, (), ()) = tokio::join!(biased; waits, async { drop(go) }, held);
        assert!(waits.is_err());
        assert!(writer.run(1, |connection| insert(connection, 1)).await.is_err());
    }

    #[tokio::test]
    async fn another_process_that_holds_the_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.db");
        let connection = Connection::open(&path).unwrap();
        connection
            .execute_batch("CREATE TABLE t (n INTEGER PRIMARY KEY)")
            .unwrap();
        connection.busy_timeout(std::time::Duration::ZERO).unwrap();
        let writer = Writer::start(connection, 10).unwrap();
        let other = Connection::open(&path).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        let error = writer
            .run(1, |connection| insert(connection, 1))
            .await
            .unwrap_err();
        assert!(
            error.to_string().contains("longer than `busy_timeout_ms`"),
            "{error}"
        );
        other.execute_batch("ROLLBACK").unwrap();
        writer.run(1, |connection| insert(connection, 1)).await.unwrap();
        assert_eq!(rows(&writer).await, [1]);
    }

    #[tokio::test]
    async fn what_waits_is_written_before_the_writer_ends() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.db");
        let connection = Connection::open(&path).unwrap();
        connection
            .execute_batch("CREATE TABLE t (n INTEGER PRIMARY KEY)")
            .unwrap();
        let writer = Writer::start(connection, 10).unwrap();
        let (go, held) = hold(&writer).await;
        let mut left = Box::pin(writer.run(1, |connection| insert(connection, 7)));
        assert!(pending(left.as_mut()).await);
        drop(left);
        drop(go);
        held.await;
        drop(writer);
        let connection = Connection::open(&path).unwrap();
        let found: i64 = connection
            .query_row("SELECT n FROM t", [], |row| row.get(0))
            .unwrap();
        assert_eq!(found, 7);
    }
}
