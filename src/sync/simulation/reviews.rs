//! Partners that may be one: two systems have one each, of the same company as it is registered and under domains of its
//! own, and which of them the hub met first is up to it. The other one waits for a person, who says that it is the same
//! partner, or another one.
//!
//! Until that is said nobody does anything else with either of them, so what people said of them is known only then.

use ledger::{Parked, ParkedFilter, Records};
use serde_json::{Value as Json, json};

use super::hands::{Acting, Deed, Place};
use super::run::{NAMES, NODES, Run};
use super::system::THINGS;
use crate::review::{DUPLICATE, PROBABLE};
use crate::{ObjectAt, Settle};

/// The field of partners by which two may be one; nobody edits it.
pub(super) const REGISTERED: &str = "registered";

/// One of the two.
#[derive(Clone, Debug)]
pub(super) struct Namesake {
    place: Place,
    domain: String,
    name: Json,
}

/// Whether two partners are one.
pub(super) type Question = [Namesake; 2];

impl Run {
    /// People of two systems learn of partners that may be one.
    pub(super) fn make_namesakes(&mut self) {
        let first = self.chance.below(NAMES.len());
        let registered = self.value();
        let both = [0, 1].map(|offset| {
            let at = (first + offset) % NAMES.len();
            let (domain, name) = (self.new_domain(), self.value());
            let values = json!({"domain": domain, "name": name, REGISTERED: registered});
            let now = self.network.now_ms();
            let id = self.systems[at].make(THINGS, values, now, &mut self.chance);
            self.tell(&format!(
                "{id} is made: {domain}, {name}, registered as {registered}"
            ));
            self.hints.push((NAMES[at], THINGS, id.clone(), "create"));
            Namesake {
                place: (NAMES[at], id),
                domain,
                name,
            }
        });
        self.questions.push(both);
    }

    /// A row that was taken for another partner's is not registered as that one is.
    pub(super) fn register_anew(&mut self, name: &'static str, id: &str) {
        let at = NAMES.iter().position(|known| *known == name).unwrap();
        let registered = self.systems[at].rows[id].values.get(REGISTERED);
        if registered.is_none_or(Json::is_null) {
            return;
        }
        let (now, value) = (self.network.now_ms(), self.value());
        self.systems[at].edit(id, REGISTERED, value, now, &mut self.chance);
    }

    /// Whether it is open which partner a name stands for.
    pub(super) fn is_in_question(&self, name: &str) -> bool {
        let mut namesakes = self.questions.iter().flatten();
        namesakes.any(|namesake| namesake.domain == name)
    }

    async fn asked_about(&self, (connection, id): &Place) -> Option<Parked> {
        let parked = self.ledger.parked(&ParkedFilter::default(), 1_000).await.unwrap();
        let mut parked = parked.into_iter().filter(|parked| parked.inbound);
        parked.find(|parked| {
            let is_asked = [PROBABLE, DUPLICATE].contains(&parked.code.as_str());
            is_asked && parked.connection == *connection && parked.key == *id
        })
    }

    /// A person decides whether two partners are one, if the hub has asked.
    pub(super) async fn review(&mut self) {
        if self.questions.is_empty() || self.acting.is_some() {
            return;
        }
        let number = self.chance.below(self.questions.len());
        let [a, b] = self.questions[number].clone();
        let (waits, known, parked) =
            match (self.asked_about(&a.place).await, self.asked_about(&b.place).await) {
                (Some(parked), None) => (a, b, parked),
                (None, Some(parked)) => (b, a, parked),
                (None, None) => return,
                // Each waits for the other one: nobody has a record, and there is nothing to decide between.
                (Some(_), Some(_)) => panic!("{} and {} wait for each other", a.domain, b.domain),
            };
        let at = ObjectAt {
            connection: waits.place.0.to_owned(),
            object: THINGS.to_owned(),
            external_id: waits.place.1.clone(),
        };
        let settle = match self.chance.percent(50) {
            true => {
                // They say so in the row as well, and from then on it is the same partner's for everybody.
                self.questions.swap_remove(number);
                self.say_of(&known, &known.domain);
                self.rename(waits.place.0, &waits.place.1, &known.domain);
                if parked.code == DUPLICATE {
                    return;
                }
                Settle::Record(parked.records[0], Vec::new())
            }
            false => Settle::New,
        };
        let deed = Deed::Review {
            place: waits.place.clone(),
            is_own: settle == Settle::New,
        };
        let node = self.chance.below(NODES);
        self.actions += 1;
        let by = format!("person {}", self.actions);
        self.tell(&format!("{by} asks node {node} for {settle:?}: {deed:?}"));
        let engine = std::sync::Arc::clone(&self.nodes[node].engine);
        let who = by.clone();
        let job = tokio::spawn(async move { engine.decide(&who, &at, &settle).await.map(drop) });
        self.acting = Some(Acting::new(node, by, deed, job));
    }

    /// A partner is another one than that which it may have been.
    pub(super) fn tell_apart(&mut self, place: &Place) {
        let is_about = |question: &Question| question.iter().any(|namesake| namesake.place == *place);
        let Some(number) = self.questions.iter().position(is_about) else {
            return;
        };
        for namesake in self.questions.swap_remove(number) {
            self.say_of(&namesake, &namesake.domain.clone());
        }
    }

    fn say_of(&mut self, namesake: &Namesake, domain: &str) {
        let (system, id) = &namesake.place;
        let now = self.network.now_ms();
        self.truth
            .edited((system, id), domain, ("name", namesake.name.clone()), now);
    }
}
