//! A change is followed from what brought it to every system that it reached.

use std::sync::Arc;

use connector::Hint;
use ledger::PushOutcome;
use model::RecordId;
use serde_json::json;

use super::dispute::Dispute;
use super::shelf::{Key, Shelf};
use super::stage::Stage;
use crate::{Decision, Depth, Journey, Reached, Take, Which, journeys};

/// How a journey ended at each system, with the versions that were written there.
fn ends(journey: &Journey) -> Vec<(&str, Reached, Vec<u64>)> {
    let stops = journey.stops.iter();
    stops
        .map(|stop| {
            let versions = stop.writes.iter().map(|write| write.version).collect();
            (stop.connection.as_str(), stop.end, versions)
        })
        .collect()
}

#[tokio::test]
async fn what_a_hint_named_keeps_the_trace_of_the_hint() {
    let (here, there) = (Shelf::start(Key::Read).await, Shelf::start(Key::Read).await);
    let stage = Stage::new(&[("here", &here), ("there", &there)]).await;
    let engine = stage.node("first", Arc::clone(&stage.ledger));
    engine.pull("there", "things", Depth::Changed).await.unwrap();
    let id = here.put(json!({"name": "Northwind"}));
    here.put(json!({"name": "Fabrikam"}));
    engine.pull("here", "things", Depth::Changed).await.unwrap();
    engine.push("there", "things").await.unwrap();
    let northwind = stage.partners().await[0].id;
    let of = async |record: RecordId, which: Which| journeys(&*stage.ledger, record, &which).await.unwrap();

    // What a page brought has the page's trace, the event too.
    let first = of(northwind, Which::Last).await.remove(0);
    let neighbour = of(stage.partners().await[1].id, Which::Last).await.remove(0);
    assert_eq!(first.trace.len(), 32);
    assert_eq!(first.trace, neighbour.trace, "one page, one trace");
    let (event, _) = first.event.clone().unwrap();
    assert_eq!(
        stage.ledger.event(event).await.unwrap().unwrap().trace,
        first.trace
    );
    assert_eq!(
        ends(&first),
        [
            ("here", Reached::Source, vec![]),
            ("there", Reached::Written, vec![1])
        ]
    );
    assert_eq!(first.stops[1].writes[0].outcome, PushOutcome::Created);

    here.edit(&id, "name", json!("Northwind Traders"));
    let hint = Hint {
        object: "things".to_owned(),
        id: id.clone(),
        op: "update".to_owned(),
        ..Hint::of_something("things")
    };
    let trace = "0af7651916cd43dd8448eb211c80319c";
    engine.hint("here", &hint, trace);
    engine.pull("here", "things", Depth::Named).await.unwrap();
    let second = of(northwind, Which::Trace(trace.to_owned())).await.remove(0);
    assert_eq!((second.version, second.stops[1].end), (2, Reached::Owed));
    engine.push("there", "things").await.unwrap();
    let second = of(northwind, Which::Trace(trace.to_owned())).await.remove(0);
    assert_eq!(
        ends(&second),
        [
            ("here", Reached::Source, vec![]),
            ("there", Reached::Written, vec![2])
        ]
    );
    assert_eq!(second.stops[1].before, Some(1));
    // The older one still ends where it did.
    assert_eq!(ends(&of(northwind, Which::Version(1)).await[0]), ends(&first));
    assert!(of(northwind, Which::Version(3)).await.is_empty());
}

#[tokio::test]
async fn a_decision_goes_to_every_system_that_differs() {
    let dispute = Dispute::begin().await;
    let conflict = dispute.conflict().await;
    assert_eq!(conflict.trace.len(), 32);
    let decision = Decision {
        conflict: conflict.id,
        take: Take::Theirs,
        by: "Ada".to_owned(),
        revision: None,
    };
    let run = dispute.engine.begin_resolving();
    let resolved = dispute.engine.resolve(&decision, run).await.unwrap();
    dispute.sync().await;
    let told = journeys(
        &*dispute.stage.ledger,
        conflict.record,
        &Which::Version(resolved.version),
    )
    .await
    .unwrap();
    assert_eq!(
        ends(&told[0]),
        [
            ("here", Reached::Written, vec![resolved.version]),
            ("there", Reached::Nothing, vec![])
        ]
    );
    assert_eq!(
        (told[0].changes[0].external_id.as_str(), told[0].changes[0].run),
        ("Ada", run)
    );
}
