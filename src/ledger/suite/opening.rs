//! Promises about opening.

use futures_util::future::join_all;

use model::{Kind, MatchKey, RecordId, Value};

use super::make::{deal, event, record_id, write};
use super::stand::Stand;
use crate::{OpenError, Settings, SyncCommit, open};

pub(super) async fn opening_twice_changes_nothing(stand: &Stand) {
    let ledger = stand.open().await;
    ledger.accept(vec![event(1, &["bolt"])]).await.unwrap();
    let second = stand.open().await;
    assert_eq!(
        second.row_counts().await.unwrap(),
        ledger.row_counts().await.unwrap()
    );
    // Both may write from now on, and see each other.
    second.accept(vec![event(2, &["bolt"])]).await.unwrap();
    ledger.accept(vec![event(3, &["bolt"])]).await.unwrap();
    assert_eq!(second.due("bolt", super::make::at(9), 9).await.unwrap().len(), 3);
}

pub(super) async fn many_may_open_a_new_database_at_once(stand: &Stand) {
    let opened = (0..6).map(|n| {
        let address = stand.address().to_owned();
        tokio::spawn(async move {
            let settings = Settings {
                connections_max: 4,
                ..Settings::default()
            };
            let ledger = open(&address, settings).await.unwrap();
            ledger.accept(vec![event(n, &["bolt"])]).await.unwrap();
        })
    });
    for opened in join_all(opened).await {
        opened.unwrap();
    }
    let due = stand
        .open()
        .await
        .due("bolt", super::make::at(99), 99)
        .await
        .unwrap();
    assert_eq!(due.len(), 6);
}

pub(super) async fn who_referred_before_it_was_kept_is_found(stand: &Stand) {
    let ledger = stand.open().await;
    let (partner, other) = (record_id(Kind::Partner, 1), record_id(Kind::Partner, 2));
    let referring = |number, to: Option<RecordId>| {
        let mut write = write(deal(number), 1);
        if let Some(to) = to {
            write.record.fields.set("partner", Value::Reference(to));
        }
        // Nothing in a text harms.
        write
            .record
            .fields
            .set("next_steps", Value::text("a\0b \"ptn_\""));
        write
    };
    let commit = SyncCommit {
        records: vec![
            referring(1, Some(partner)),
            referring(2, Some(other)),
            referring(3, None),
            referring(4, Some(partner)),
        ],
        ..SyncCommit::default()
    };
    ledger.commit(commit).await.unwrap();
    let key = MatchKey::refers_to(partner);
    let found = async || {
        let found = ledger
            .matching(Kind::Deal, std::slice::from_ref(&key))
            .await
            .unwrap();
        found.into_iter().map(|(_, record)| record).collect::<Vec<_>>()
    };
    assert_eq!(found().await, []);
    let sql = match stand.address().starts_with("sqlite:") {
        true => include_str!("../migrations/sqlite/V14__refers.sql"),
        false => include_str!("../migrations/postgres/V14__refers.sql"),
    };
    stand.meddle(sql).await;
    assert_eq!(found().await, [deal(1), deal(4)]);
}

pub(super) async fn a_newer_database_is_refused(stand: &Stand) {
    drop(stand.open().await);
    stand
        .meddle(
            "INSERT INTO refinery_schema_history (version, name, applied_on, checksum) \
             VALUES (999, 'later', '2030-01-01T00:00:00Z', '1')",
        )
        .await;
    let Err(error) = open(stand.address(), Settings::default()).await else {
        panic!("must be refused");
    };
    assert!(matches!(error, OpenError::Newer { found: 999, .. }), "{error}");
    let text = error.to_string();
    assert!(
        text.contains("has schema 999, this program knows up to 24; run the newer program"),
        "{text}"
    );
}

async fn refused(address: &str) -> String {
    match open(address, Settings::default()).await {
        Ok(_) => panic!("{address} must be refused"),
        Err(error) => error.to_string(),
    }
}

#[tokio::test]
async fn an_address_that_is_none_is_taught() {
    assert_eq!(
        refused("mysql://db/hub").await,
        "the ledger's address `mysql://db/hub` is not one; write `sqlite:path/to/file.db`, `sqlite::memory:` or \
         `postgres://user@host/database`"
    );
    assert_eq!(
        refused("sqlite:nowhere/at/all.db").await,
        "the ledger's folder `nowhere/at` does not exist; create it, or name another file"
    );
    let zero = Settings {
        readers_max: 0,
        ..Settings::default()
    };
    let error = open("sqlite::memory:", zero).await.err().unwrap().to_string();
    assert_eq!(error, "the ledger's `readers_max` is 0; it must be at least 1");
}

#[tokio::test]
async fn a_file_that_is_no_database_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes.txt");
    std::fs::write(
        &path,
        "a shopping list, long enough to be told apart from an empty file",
    )
    .unwrap();
    let text = refused(&format!("sqlite:{}", path.display())).await;
    assert!(
        text.ends_with("notes.txt cannot be opened: file is not a database"),
        "{text}"
    );
    assert!(
        std::fs::read_to_string(&path)
            .unwrap()
            .starts_with("a shopping list")
    );
}

/// Nobody listens on port 1; the text says where it tried and not the password.
#[tokio::test]
async fn a_password_is_never_told() {
    for address in [
        "postgres://hub:sesame@127.0.0.1:1/hub",
        "postgres://127.0.0.1:1/hub?user=hub&password=sesame",
        "postgres://hub:sesame@127.0.0.1:1/hub?sslmode=require",
        "postgres://hub:sesame@127.0.0.1:port/hub",
        "postgres://hub:ses?sesame@127.0.0.1:1/hub",
        "postgres://hub:se/sesame@127.0.0.1:1/hub",
        "mysql://hub:sesame@127.0.0.1:1/hub",
    ] {
        let text = refused(address).await;
        assert!(!text.contains("sesame"), "{text}");
    }
    let text = refused("postgres://hub:sesame@127.0.0.1:1/hub").await;
    assert!(
        text.starts_with("the ledger at 127.0.0.1:1/hub does not answer: "),
        "{text}"
    );
}

/// A server that takes a connection and says nothing holds nobody up for longer than was said.
#[tokio::test]
async fn a_server_that_hangs_does_not_answer() {
    let hangs = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("postgres://hub@{}/hub", hangs.local_addr().unwrap());
    let settings = Settings {
        connect_timeout_ms: 50,
        ..Settings::default()
    };
    let error = open(&address, settings).await.err().unwrap();
    assert!(matches!(error, OpenError::Unreachable { .. }), "{error}");
    assert!(
        error.to_string().ends_with("longer than `connect_timeout_ms`"),
        "{error}"
    );
}

#[cfg(unix)]
#[tokio::test]
async fn the_file_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let ledger = open(&format!("sqlite:{}", path.display()), Settings::default())
        .await
        .unwrap();
    ledger.check().await.unwrap();
    for name in ["ledger.db", "ledger.db-wal"] {
        let mode = std::fs::metadata(folder.path().join(name))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

/// What a restart of the server looks like from here. Answers that were given stay true, and nobody is answered with an
/// error who may be tried again.
#[test]
fn connections_that_the_server_ends_are_replaced() {
    const END_ALL: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                           WHERE datname = current_database() AND pid <> pg_backend_pid()";
    super::keep(super::Store::Postgres, async |stand: &Stand| {
        let ledger = stand.open().await;
        let progress = std::sync::Arc::new(tokio::sync::Semaphore::new(0));
        let tasks = (0..4_u32).map(|task| {
            let (ledger, progress) = (ledger.clone(), progress.clone());
            tokio::spawn(async move {
                for n in 0..50 {
                    ledger
                        .accept(vec![event(task * 100 + n, &["bolt"])])
                        .await
                        .unwrap();
                    ledger.due("bolt", super::make::at(999), 1).await.unwrap();
                    progress.add_permits(1);
                }
            })
        });
        let tasks: Vec<_> = tasks.collect();
        let (meddler, seen) = (stand.again(), progress.clone());
        let ends = tokio::spawn(async move {
            for _ in 0..5 {
                seen.acquire_many(40).await.unwrap().forget();
                meddler.meddle(END_ALL).await;
            }
        });
        for task in tasks {
            task.await.unwrap();
        }
        ends.await.unwrap();
        stand.meddle(END_ALL).await;
        let commit = crate::SyncCommit {
            records: vec![super::make::write(super::make::deal(1), 1)],
            ..crate::SyncCommit::default()
        };
        ledger.commit(commit).await.unwrap();
        assert_eq!(
            ledger.due("bolt", super::make::at(999), 999).await.unwrap().len(),
            200
        );
    });
}
