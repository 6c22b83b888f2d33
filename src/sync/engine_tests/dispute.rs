//! [`Dispute`]: two systems that changed the same field of one partner, about which a person is to decide.

use std::sync::Arc;

use ledger::{Conflict, ConflictFilter};
use model::merge::Policy;
use serde_json::{Value as Json, json};

use super::shelf::{Key, Shelf};
use super::stage::Stage;
use crate::{Depth, Engine};

/// Two systems with one partner, whose note a person is to decide about: `first` was agreed on, and now both changed it.
pub(crate) struct Dispute {
    pub(crate) stage: Stage,
    pub(crate) engine: Arc<Engine>,
    pub(crate) here: Shelf,
    pub(crate) there: Shelf,
    pub(crate) id_here: String,
    pub(crate) id_there: String,
}

impl Dispute {
    pub(crate) async fn begin() -> Dispute {
        let (here, there) = (Shelf::start(Key::Read).await, Shelf::start(Key::Read).await);
        let mut stage = Stage::new(&[("here", &here), ("there", &there)]).await;
        stage.rule("description", Policy::Manual);
        let engine = stage.node("first", Arc::clone(&stage.ledger));
        engine.pull("there", "things", Depth::Changed).await.unwrap();
        let id_here = here.put(json!({"name": "Northwind", "note": "first"}));
        let mut dispute = Dispute {
            stage,
            engine,
            here,
            there,
            id_here,
            id_there: String::new(),
        };
        dispute.sync().await;
        dispute.id_there = dispute.there.rows()[0]["id"].as_str().unwrap().to_owned();
        dispute.here.edit(&dispute.id_here, "note", json!("ours"));
        dispute.there.edit(&dispute.id_there, "note", json!("theirs"));
        dispute.engine.pull("here", "things", Depth::All).await.unwrap();
        dispute.engine.pull("there", "things", Depth::All).await.unwrap();
        dispute.sync().await;
        dispute
    }

    /// Reads and writes until nothing is left to do.
    pub(crate) async fn sync(&self) {
        for connection in ["here", "there", "here", "there"] {
            self.engine.pull(connection, "things", Depth::All).await.unwrap();
            self.engine.push(connection, "things").await.unwrap();
        }
    }

    pub(crate) async fn conflicts(&self) -> Vec<Conflict> {
        let all = ConflictFilter::default();
        self.stage.ledger.list_conflicts(&all, None, 100).await.unwrap()
    }

    /// The one conflict about the note.
    pub(crate) async fn conflict(&self) -> Conflict {
        let mut conflicts = self.conflicts().await;
        assert_eq!(conflicts.len(), 1, "{conflicts:?}");
        conflicts.remove(0)
    }

    /// The note here, ours, and there.
    pub(crate) async fn notes(&self) -> [Json; 3] {
        let record = self.stage.partners().await.remove(0);
        [
            self.here.rows()[0]["note"].clone(),
            json!(record.fields.text("description")),
            self.there.rows()[0]["note"].clone(),
        ]
    }
}
