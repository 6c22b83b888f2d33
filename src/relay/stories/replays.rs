//! Deliveries that are sent again.

use std::sync::{Arc, Mutex};

use ledger::DeliveryState::{Delivered, Due};
use ledger::{DeliveryFilter, EventPlace, ReplayState, Wanted};

use super::stage::{Answer, Sink, Stage, endpoint, limits, random};
use crate::{NotAgain, Replayer, note_pulled, pull, sendable};

/// A replayer, and the endpoints that it asked to be looked at.
fn replayer(stage: &Stage) -> (Replayer, Arc<Mutex<Vec<String>>>) {
    let looked = Arc::new(Mutex::new(Vec::new()));
    let noted = looked.clone();
    let look = Arc::new(move |endpoint: &str| noted.lock().unwrap().push(endpoint.to_owned()));
    let replayer = Replayer::new(
        stage.ledger.clone(),
        stage.settings.only_pulled(),
        look,
        stage.clock.clock(),
        random(9),
        "here",
        30_000,
    );
    (replayer, looked)
}

fn at(endpoint: &str, arrived: bool) -> Wanted {
    Wanted {
        filter: DeliveryFilter {
            endpoint: Some(endpoint.into()),
            ..DeliveryFilter::default()
        },
        arrived,
    }
}

#[tokio::test]
async fn what_a_partner_lost_is_sent_again_from_a_moment_on_under_the_same_ids() {
    let folder = tempfile::tempdir().unwrap();
    let sink = Sink::start().await;
    let endpoints = [endpoint("b", "borealis", &sink), endpoint("c", "ceres", &sink)];
    let stage = Stage::open(folder.path(), &endpoints[..1], limits()).await;
    for n in 0..500 {
        stage.clock.forward_s(1);
        stage.post(&format!("m{n}"), "deal.won").await.unwrap();
    }
    assert_eq!(stage.deliver("b").await, None);
    let mut first: Vec<String> = sink.received().iter().map(|one| one.id().to_owned()).collect();
    // Ids are of the order of acceptance; what arrives is not.
    first.sort();
    let since = stage.clock.now() - jiff::SignedDuration::from_secs(449);
    stage.clock.forward_s(1);

    let (replayer, looked) = replayer(&stage);
    let wanted = Wanted {
        filter: DeliveryFilter {
            since: Some(since),
            ..at("b", true).filter
        },
        arrived: true,
    };
    assert_eq!(
        replayer.count(&at("b", false)).await.unwrap(),
        0,
        "all has arrived"
    );
    assert_eq!(replayer.count(&wanted).await.unwrap(), 450);
    let replay = replayer.begin(&wanted).await.unwrap();
    assert_eq!((replay.total, replay.begun), (450, 0));
    // What is posted from now on is not part of it.
    stage.clock.forward_s(1);
    stage.post("later", "deal.won").await.unwrap();
    let mut rounds = 0;
    while stage.ledger.replay(replay.id).await.unwrap().unwrap().state == ReplayState::Running {
        replayer.round().await.unwrap();
        assert!(
            !replayer.round().await.unwrap(),
            "the next bite waits for this one"
        );
        stage.deliver("b").await;
        rounds += 1;
    }
    assert_eq!(rounds, 4, "200, 200, 50, and nothing more");
    assert_eq!(*looked.lock().unwrap(), ["b", "b", "b"]);
    let told = stage.ledger.replay(replay.id).await.unwrap().unwrap();
    assert_eq!((told.state, told.begun), (ReplayState::Done, 450));
    let mut again: Vec<String> = sink.received()[500..]
        .iter()
        .map(|one| one.id().to_owned())
        .collect();
    again.retain(|id| first.contains(id));
    let wanted = first[50..].to_vec();
    again.sort();
    assert!(again == wanted, "each once more, under its id");
    assert_eq!(sink.count(), 500 + 450 + 1);
}

#[tokio::test]
async fn dead_letters_come_back_and_a_cancelled_replay_stops_between_two_bites() {
    let folder = tempfile::tempdir().unwrap();
    let sink = Sink::start().await;
    sink.answer_always(Answer::Status(400));
    let mut to = endpoint("b", "borealis", &sink);
    to.retry_ms = vec![];
    let stage = Stage::open(folder.path(), &[to], limits()).await;
    for n in 0..450 {
        stage.post(&format!("m{n}"), "deal.won").await.unwrap();
    }
    assert_eq!(stage.deliver("b").await, None);
    assert_eq!(stage.deliveries("b").await[0].last_error, "answered 400: said so");
    sink.answer_always(Answer::Status(200));
    stage.clock.forward_s(1);
    let (replayer, _) = replayer(&stage);
    let replay = replayer.begin(&at("b", false)).await.unwrap();
    assert_eq!(replay.total, 450);
    assert!(replayer.round().await.unwrap());
    stage.deliver("b").await;
    assert!(replayer.cancel(replay.id).await.unwrap());
    assert!(!replayer.round().await.unwrap());
    let arrived = |states: &[(ledger::DeliveryState, u32)]| {
        states.iter().filter(|(state, _)| *state == Delivered).count()
    };
    assert_eq!(arrived(&stage.states("b").await), 200);

    let rest = replayer.begin(&at("b", false)).await.unwrap();
    assert_eq!(rest.total, 250);
    // Another node works at it: this one leaves it alone.
    let now = stage.clock.now();
    let until = now + jiff::SignedDuration::from_secs(30);
    let theirs = stage
        .ledger
        .lease("replay", "there", now, until)
        .await
        .unwrap()
        .unwrap();
    assert!(!replayer.round().await.unwrap());
    stage.ledger.release(&theirs).await.unwrap();
    while stage.ledger.replay(rest.id).await.unwrap().unwrap().state == ReplayState::Running {
        replayer.round().await.unwrap();
        stage.deliver("b").await;
    }
    assert_eq!(arrived(&stage.states("b").await), 450);
}

#[tokio::test]
async fn what_is_only_pulled_is_not_sent_again() {
    let folder = tempfile::tempdir().unwrap();
    let sink = Sink::start().await;
    let (to, mut reader) = (endpoint("b", "borealis", &sink), endpoint("r", "borealis", &sink));
    reader.url = String::new();
    let stage = Stage::open(folder.path(), &[to, reader], limits()).await;
    stage.post("m1", "deal.won").await.unwrap();
    assert_eq!(stage.deliver("b").await, None);
    let part = pull(
        &*stage.ledger,
        &stage.settings,
        "r",
        EventPlace::default(),
        9,
        stage.clock.now(),
    );
    let part = part.await.unwrap();
    note_pulled(&*stage.ledger, &stage.settings, "r", &part, stage.clock.now())
        .await
        .unwrap();
    stage.clock.forward_s(1);

    let (replayer, _) = replayer(&stage);
    let refused = replayer.begin(&at("r", true)).await.unwrap_err();
    insta::assert_snapshot!(refused, @"nothing is sent to the endpoint `r`, which has no `url`: its partner pulls what it has not had, and what it has had by going back in its feed, with an earlier `cursor` or without one");
    let by_id = |endpoint: &'static str| async {
        let ids = stage
            .deliveries(endpoint)
            .await
            .iter()
            .map(|one| one.id)
            .collect();
        let filter = DeliveryFilter {
            ids,
            ..DeliveryFilter::default()
        };
        sendable(&*stage.ledger, &stage.settings.only_pulled(), &filter).await
    };
    assert!(matches!(by_id("r").await, Err(NotAgain::OnlyPulled(_))));
    assert!(by_id("b").await.is_ok());

    // Who names neither means what is sent.
    let all = Wanted {
        filter: DeliveryFilter {
            state: Some(Delivered),
            ..DeliveryFilter::default()
        },
        arrived: true,
    };
    assert_eq!(replayer.count(&all).await.unwrap(), 1);
    replayer.begin(&all).await.unwrap();
    assert!(replayer.round().await.unwrap());
    assert_eq!(stage.states("r").await, [(Delivered, 0)]);
    assert_eq!(stage.states("b").await, [(Due, 0)]);
}
