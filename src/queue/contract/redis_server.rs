//! A private Redis server for one test, on a socket in a folder of its own, gone with the test.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use redis::aio::MultiplexedConnection;
use tempfile::TempDir;

use super::stage::until;

/// Whether a server remembers anything after a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Memory {
    Forgets,
    AppendsToFile,
}

/// Ends the server when the pipe from the test closes: so it goes even if the test itself is killed.
const GUARDED: &str = r#"redis-server "$@" & server=$!; read -r _; kill -9 $server; wait $server"#;

pub(super) struct RedisServer {
    folder: TempDir,
    memory: Memory,
    process: Option<Child>,
}

impl RedisServer {
    pub(super) async fn start(memory: Memory) -> Self {
        Command::new("redis-server")
            .arg("--version")
            .stdout(Stdio::null())
            .status()
            .expect("redis-server is needed for these tests: `make test` installs it");
        let mut server = Self {
            folder: TempDir::new().expect("a folder for the test's Redis"),
            memory,
            process: None,
        };
        server.restart().await;
        server
    }

    /// Start again after [`RedisServer::kill`], at the same address.
    pub(super) async fn restart(&mut self) {
        assert!(self.process.is_none(), "kill it first");
        let append = match self.memory {
            Memory::Forgets => "no",
            Memory::AppendsToFile => "yes",
        };
        let process = Command::new("sh")
            .args(["-c", GUARDED, "sh"])
            .args(["--port", "0", "--save", "", "--daemonize", "no"])
            .args(["--appendonly", append, "--appendfsync", "always"])
            .arg("--unixsocket")
            .arg(self.socket())
            .arg("--dir")
            .arg(self.folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("a shell starts the test's Redis");
        self.process = Some(process);
        until("the test's Redis answers", async || {
            match self.try_connect().await {
                Ok(mut connection) => redis::cmd("PING")
                    .query_async::<String>(&mut connection)
                    .await
                    .is_ok(),
                Err(_) => false,
            }
        })
        .await;
    }

    /// End it at once, as a crash would.
    pub(super) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            drop(process.stdin.take());
            process.wait().expect("our own child can be waited for");
        }
    }

    pub(super) fn url(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("redis.sock")
    }

    async fn try_connect(&self) -> redis::RedisResult<MultiplexedConnection> {
        redis::Client::open(self.url())?
            .get_multiplexed_async_connection()
            .await
    }

    /// A connection that knows nothing of queues.
    pub(super) async fn raw(&self) -> MultiplexedConnection {
        self.try_connect().await.expect("the test's Redis runs")
    }

    pub(super) async fn flush_all(&self) {
        redis::cmd("FLUSHALL")
            .exec_async(&mut self.raw().await)
            .await
            .expect("FLUSHALL");
    }

    pub(super) async fn keys(&self) -> Vec<String> {
        redis::cmd("KEYS")
            .arg("*")
            .query_async(&mut self.raw().await)
            .await
            .expect("KEYS")
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}
