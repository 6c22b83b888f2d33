//! Webhooks pass while everything dies: the hub, its stores, the receivers; and nothing is lost.
//!
//! Senders send each event until it is accepted. Receivers write down what they got. In between a hub is killed again and
//! again, on each ledger and each queue, while those fail too, the disk is full, or its clock is stepped. In the end the
//! two logs are held against each other:
//!
//! - *lost*: accepted, and neither delivered to somebody who was to get it nor, where events are folded, stood for by a newer
//!   one about the same record that was;
//! - *invented*: delivered, and not accepted, or not as it was accepted;
//! - *twice wrongly*: delivered twice under two ids, or without a crash between, or although the first time was written down;
//! - *order*: delivered before an earlier event about the same record, where order is promised;
//! - *sequence*: a number of a receiver's sequence that neither came nor is stood for, or that two have.
//!
//! What the senders say is the news of objects, too, through a connection of what is posted; what the hub made of it is held
//! against the newest that was accepted of each: *lost updates*, records *twice*, and what is *left due* at the inlet.
//!
//! All of them must be 0. *Twice over crash* is what at-least-once means: the same event under the same id, where a crash
//! fell between the arrival and the note of it. Beside it stand the probes at which the best open sender fails.
//! `make chaos` kills two hundred hubs on each ground; `KILLS` and `SEED` say otherwise.

mod judge;
mod lives;
mod news;
mod probes;
mod receiver;
mod sender;

use std::thread;

use crate::harness::number;
use judge::Verdict;
use lives::{Ground, World};
use news::News;

/// Kills on each ground when nobody says.
const KILLS: u64 = 3;

const GROUNDS: [Ground; 4] = [
    Ground {
        postgres: false,
        redis: false,
    },
    Ground {
        postgres: false,
        redis: true,
    },
    Ground {
        postgres: true,
        redis: false,
    },
    Ground {
        postgres: true,
        redis: true,
    },
];

#[test]
fn whatever_dies_what_was_accepted_arrives() {
    let (kills, seed) = (number("KILLS", KILLS), number("SEED", 7));
    let live = |ground: Ground| World::new(ground, seed).run(kills, seed);
    let verdicts: Vec<Verdict> = thread::scope(|scope| {
        let worlds = GROUNDS.map(|ground| scope.spawn(move || live(ground)));
        worlds.map(|world| world.join().expect("a world ends")).into()
    });
    println!("seed {seed}\n{}", Verdict::head());
    for verdict in &verdicts {
        println!("{}", verdict.line());
    }
    println!("{}", News::head());
    for verdict in &verdicts {
        println!("{}", verdict.news.line(verdict.ground));
    }
    for verdict in &verdicts {
        println!("{}: kills with {}", verdict.ground, verdict.faults());
    }
    let wrong: String = verdicts.iter().map(Verdict::told).collect();
    assert!(wrong.is_empty(), "what was promised does not hold:\n{wrong}");
}

#[test]
fn where_the_best_open_sender_fails() {
    // Times count where nothing else is going on: by `make chaos`, which says how many kills it wants.
    let found = probes::all(number("KILLS", 0) > 0);
    for one in &found {
        println!("{}", one.line());
    }
    assert!(found.iter().all(|one| one.good), "a probe found what must not be");
}
