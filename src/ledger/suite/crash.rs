//! What was acknowledged survives SIGKILL.

use std::collections::HashSet;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use model::{EventId, uuid_from};

use super::make::{at, event};
use super::stand::Stand;
use crate::{NewEvent, Settings, open};

/// Tells the process of a test that it is the child: the ledger's address and the round.
const CHILD: &str = "LEDGER_SUITE_CHILD";
const ROUNDS: u32 = 6;
const TASKS: u32 = 8;
/// The second at which a turn that a child has begun is over.
const FOR_EVER: i64 = 1_000_000;

/// The number-th event of a task in a round.
fn told(round: u32, task: u32, number: u32) -> NewEvent {
    let mut random = [0; 10];
    random[2..6].copy_from_slice(&number.to_be_bytes());
    random[8..].copy_from_slice(&[u8::try_from(round).unwrap(), u8::try_from(task).unwrap()]);
    let mut told = event(1, &["bolt"]);
    told.id = EventId::from(uuid_from(at(i64::from(number)), random));
    told.deliveries[0].id = told.id.uuid().into();
    told.source = format!("{round}/{task}");
    told.dedupe = number.to_string();
    told
}

/// No test of its own: what the child of the test below runs, which is killed. Elsewhere it has nothing to do.
#[test]
fn child_that_accepts_until_it_is_killed() {
    let Ok(orders) = std::env::var(CHILD) else { return };
    let (round, address) = orders.split_once(' ').unwrap();
    let round: u32 = round.parse().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let ledger = open(address, Settings::default()).await.unwrap();
        // Where the one before it is dead and has it for ever, there is none to have.
        ledger
            .begin_turn("bolt", "child", at(0), at(FOR_EVER), 0)
            .await
            .unwrap();
        let tasks = (0..TASKS).map(|task| {
            let ledger = ledger.clone();
            tokio::spawn(async move {
                for number in 0.. {
                    let event = told(round, task, number);
                    let id = event.id;
                    ledger.accept(vec![event]).await.unwrap();
                    // A line is written in one go, so whatever is read was acknowledged.
                    println!("accepted {id}");
                }
            })
        });
        futures_util::future::join_all(tasks).await;
    });
}

/// Starts a child, reads so many acknowledgements, kills it, and reads what it had still said.
fn accepted_before_death(round: u32, address: &str) -> HashSet<String> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "suite::crash::child_that_accepts_until_it_is_killed",
            "--nocapture",
        ])
        .env(CHILD, format!("{round} {address}"))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let mut accepted = HashSet::new();
    let enough = (round * 97 % 311) as usize;
    let mut killed = false;
    let mut line = String::new();
    while lines.read_line(&mut line).unwrap() > 0 {
        // The last line may be cut off where the child died.
        if let Some(id) = line
            .strip_prefix("accepted ")
            .and_then(|rest| rest.strip_suffix('\n'))
        {
            accepted.insert(id.to_owned());
        }
        if accepted.len() > enough && !killed {
            child.kill().unwrap();
            killed = true;
        }
        line.clear();
    }
    child.wait().unwrap();
    assert!(
        killed,
        "the child ended by itself after {} events",
        accepted.len()
    );
    accepted
}

pub(super) async fn what_was_acknowledged_survives_being_killed(stand: &Stand) {
    let mut accepted = HashSet::new();
    for round in 1..=ROUNDS {
        let address = stand.address().to_owned();
        let before = tokio::task::spawn_blocking(move || accepted_before_death(round, &address)).await;
        accepted.extend(before.unwrap());

        let ledger = stand.open().await;
        let due = ledger.due("bolt", at(FOR_EVER), 10_000_000).await.unwrap();
        let there: HashSet<String> = due.iter().map(|due| due.event.to_string()).collect();
        assert_eq!(accepted.difference(&there).count(), 0, "lost in round {round}");
        // Each task went on only when it was answered, so its events stand in its order.
        for task in 0..TASKS {
            let source = format!("{round}/{task}");
            let of_task: Vec<EventId> = due
                .iter()
                .filter(|due| due.source == source)
                .map(|due| due.event)
                .collect();
            let in_order: Vec<EventId> = (0..)
                .zip(&of_task)
                .map(|(number, _)| told(round, task, number).id)
                .collect();
            assert_eq!(of_task, in_order, "{source}");
        }
        let numbers: Vec<u64> = due.iter().filter_map(|due| due.sequence).collect();
        let counted: Vec<u64> = (1..=due.len() as u64).collect();
        assert!(numbers == counted, "a gap in round {round}: {numbers:?}");
        // And the next process goes on, at once where it can know that nobody else does.
        ledger.check().await.unwrap();
        let other = stand.open().await;
        let in_a_file = stand.address().starts_with("sqlite:");
        let turn = other
            .begin_turn("bolt", "heir", at(0), at(FOR_EVER), 0)
            .await
            .unwrap();
        assert_eq!(turn.is_some(), in_a_file, "round {round}");
        // What somebody has who lives is not given away by opening.
        let late = stand.open().await;
        let turn = late
            .begin_turn("bolt", "late", at(0), at(FOR_EVER), 0)
            .await
            .unwrap();
        assert_eq!(turn, None, "round {round}");
    }
}
