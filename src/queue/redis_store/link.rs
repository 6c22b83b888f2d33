//! The connection to Redis, which repairs itself.
//!
//! One multiplexed connection is shared by all callers.
//! When it breaks or stops answering it is dropped, and the next caller opens another;
//! after a failed try, callers are told so at once for a moment instead of queueing up behind one timeout each.

use std::time::{Duration, Instant};

use redis::aio::{MultiplexedConnection, PubSub};
use redis::{AsyncConnectionConfig, Client, FromRedisValue, RedisError, ScriptInvocation};
use tokio::sync::Mutex;

use crate::queue::QueueError;
use crate::settings::Settings;

/// How long a failed try to connect answers for the next callers, in milliseconds.
const RECONNECT_PAUSE_MS: u64 = 100;

/// A connection to one Redis server.
pub(super) struct Link {
    client: Client,
    address: String,
    connect_timeout: Duration,
    response_timeout: Duration,
    line: Mutex<Line>,
}

#[derive(Default)]
struct Line {
    open: Option<MultiplexedConnection>,
    /// Which connection `open` is, so that only the one that broke is dropped.
    number: u64,
    failed_at: Option<Instant>,
}

impl Link {
    pub(super) fn new(url: &str, settings: &Settings) -> Result<Self, QueueError> {
        let client = Client::open(url).map_err(|source| QueueError::Url {
            source: source.into(),
        })?;
        Ok(Self {
            address: client.get_connection_info().addr().to_string(),
            client,
            connect_timeout: Duration::from_millis(settings.redis_connect_timeout_ms),
            response_timeout: Duration::from_millis(settings.redis_response_timeout_ms),
            line: Mutex::default(),
        })
    }

    /// Run a script. What it did is unknown after an error.
    pub(super) async fn run<T: FromRedisValue>(
        &self,
        doing: &'static str,
        call: &ScriptInvocation<'_>,
    ) -> Result<T, QueueError> {
        let fail = |source| self.error(doing, source);
        let (mut connection, number) = self.connection().await.map_err(fail)?;
        let answer = call.invoke_async(&mut connection).await;
        if let Err(error) = &answer
            && is_broken(error)
        {
            self.drop_line(number).await;
        }
        answer.map_err(fail)
    }

    /// Run a script that may run twice: if it fails, once more after a moment, over a new connection if need be.
    /// So a restart of the server, or a connection that went stale, is not the caller's concern.
    pub(super) async fn run_again<T: FromRedisValue>(
        &self,
        doing: &'static str,
        call: &ScriptInvocation<'_>,
    ) -> Result<T, QueueError> {
        if let Ok(answer) = self.run(doing, call).await {
            return Ok(answer);
        }
        tokio::time::sleep(Duration::from_millis(RECONNECT_PAUSE_MS)).await;
        self.run(doing, call).await
    }

    /// A connection of its own that hears one channel.
    pub(super) async fn subscribe(&self, channel: &str) -> Result<PubSub, QueueError> {
        let open = async {
            let mut listener = self.client.get_async_pubsub().await?;
            listener.subscribe(channel).await?;
            Ok::<_, RedisError>(listener)
        };
        match tokio::time::timeout(self.connect_timeout, open).await {
            Ok(opened) => opened.map_err(|source| self.error("open a subscription", source)),
            Err(elapsed) => Err(QueueError::Redis {
                address: self.address.clone(),
                doing: "open a subscription",
                source: elapsed.into(),
            }),
        }
    }

    async fn connection(&self) -> Result<(MultiplexedConnection, u64), RedisError> {
        let mut line = self.line.lock().await;
        if let Some(open) = &line.open {
            return Ok((open.clone(), line.number));
        }
        let pause = Duration::from_millis(RECONNECT_PAUSE_MS);
        if line.failed_at.is_some_and(|at| at.elapsed() < pause) {
            let busy = std::io::Error::new(
                std::io::ErrorKind::NotConnected,
                "it could not be reached a moment ago",
            );
            return Err(busy.into());
        }
        // The client's own default of 500 ms for an answer would turn a busy server into a broken one.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.connect_timeout))
            .set_response_timeout(Some(self.response_timeout));
        let opened = self
            .client
            .get_multiplexed_async_connection_with_config(&config)
            .await;
        match opened {
            Ok(open) => {
                line.number += 1;
                line.failed_at = None;
                line.open = Some(open.clone());
                Ok((open, line.number))
            }
            Err(error) => {
                line.failed_at = Some(Instant::now());
                Err(error)
            }
        }
    }

    async fn drop_line(&self, number: u64) {
        let mut line = self.line.lock().await;
        if line.number == number {
            line.open = None;
        }
    }

    fn error(&self, doing: &'static str, source: RedisError) -> QueueError {
        QueueError::Redis {
            address: self.address.clone(),
            doing,
            source: source.into(),
        }
    }
}

/// Whether the connection is to blame, not the command.
/// A server that does not answer counts: the connection may be half open, and a new one shows which it is.
fn is_broken(error: &RedisError) -> bool {
    error.is_io_error() || error.is_timeout() || error.is_unrecoverable_error()
}
