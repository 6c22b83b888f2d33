//! What was promised, held against what the receivers saw and what the senders were told.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write;
use std::time::{Duration, Instant};

use crate::chaos::lives::Fault;
use crate::chaos::receiver::{Arrival, Receiver};
use crate::chaos::sender::{Book, Said, read};
use crate::harness::get;

/// What is wrong is shown as far as this.
const SHOWN: usize = 10;
/// How long a receiver on a busy machine may leave unread what has arrived.
const READ_LATE: Duration = Duration::from_secs(1);

/// Everybody who receives, and when the ledger failed.
pub(crate) struct Known {
    /// Well at all times.
    pub(crate) steady: Receiver,
    /// Gets the events of a record in their order, and refuses some.
    pub(crate) ordered: Receiver,
    /// Does whatever a receiver can do wrong.
    pub(crate) moody: Receiver,
    /// From when to when the ledger was not there, or could not write.
    pub(crate) outages: Vec<(Instant, Instant)>,
}

impl Known {
    pub(crate) fn receivers(&self) -> [&Receiver; 3] {
        [&self.steady, &self.ordered, &self.moody]
    }

    /// Whether something died between two arrivals: the hub that sent the first of them, or its ledger.
    fn crashed_between(&self, first: &Arrival, second: &Arrival) -> bool {
        let late = first.at.checked_sub(READ_LATE).unwrap_or(first.at);
        let mut outages = self.outages.iter();
        first.life != second.life || outages.any(|(began, ended)| *began <= second.at && *ended >= late)
    }
}

/// What came of a world.
#[derive(Default)]
pub(crate) struct Verdict {
    pub(crate) ground: &'static str,
    pub(crate) kills: u64,
    pub(crate) faults: BTreeMap<Fault, usize>,
    accepted: usize,
    deliveries: usize,
    /// Accepted, and not delivered to somebody.
    lost: usize,
    /// Delivered, and not accepted.
    invented: usize,
    /// Delivered twice over a crash, under the same id.
    twice: usize,
    /// Delivered twice without one, or although the first time was written down, or under another id.
    twice_wrongly: usize,
    /// Delivered although something before it in its line was not.
    out_of_order: usize,
    /// Numbers of a receiver's sequence that are missing, or that two events had, or two of one event.
    uncounted: usize,
    /// What is wrong, in words.
    pub(crate) wrong: Vec<String>,
}

/// Holds the receivers' logs against the senders' book.
pub(crate) fn judge(known: &Known, book: &Book, hub: &str) -> Verdict {
    let mut verdict = Verdict {
        accepted: book.accepted.len(),
        ..Verdict::default()
    };
    for other in &book.other_id {
        verdict.twice_wrongly += 1;
        verdict.wrong.push(format!("accepted under two ids: {other}"));
    }
    for (name, receiver) in ["steady", "ordered", "moody"].into_iter().zip(known.receivers()) {
        let arrivals = receiver.arrivals();
        let mut taken: BTreeMap<Said, Vec<&Arrival>> = BTreeMap::new();
        for arrival in &arrivals {
            let said = read(&arrival.body).map(|(said, _)| said);
            match said.filter(|said| book.accepted.get(said) == Some(&arrival.id)) {
                None => {
                    verdict.invented += 1;
                    let (id, body) = (&arrival.id, &arrival.body);
                    verdict
                        .wrong
                        .push(format!("{name} got what nobody was told of: {id} {body}"));
                }
                Some(said) if arrival.taken => taken.entry(said).or_default().push(arrival),
                Some(_) => {}
            }
        }
        verdict.deliveries += taken.len();
        for (said, id) in &book.accepted {
            if !taken.contains_key(said) {
                verdict.lost += 1;
                verdict.wrong.push(format!("{name} never got {said:?}, {id}"));
            }
        }
        verdict.check_sequence(name, &arrivals);
        for (said, times) in &taken {
            for pair in times.windows(2) {
                let id = &pair[0].id;
                let attempts = attempts(hub, name, id);
                let crashed = known.crashed_between(pair[0], pair[1]);
                if (crashed || told_late(&attempts)) && recorded(&attempts) <= 1 {
                    verdict.twice += 1;
                } else {
                    verdict.twice_wrongly += 1;
                    let (first, second) = (pair[0], pair[1]);
                    let after = second.at - first.at;
                    verdict.wrong.push(format!(
                        "{name} got {said:?} in life {} and once more in life {} after {after:?}, {}; {id}, written down: {attempts:?}",
                        first.life,
                        second.life,
                        if crashed {
                            "over a crash"
                        } else {
                            "without a crash"
                        },
                    ));
                }
            }
        }
    }
    verdict.check_order(&known.ordered.arrivals());
    verdict
}

/// The attempts of an event's delivery, as the hub wrote them down.
fn attempts(hub: &str, endpoint: &str, event: &str) -> Vec<serde_json::Value> {
    let event = get(&format!("{hub}/v1/events/{event}"));
    let deliveries = event["deliveries"].as_array().expect("a list");
    let delivery = deliveries
        .iter()
        .find(|delivery| delivery["endpoint"] == endpoint);
    let id = delivery.expect("it was delivered")["id"].as_str().expect("an id");
    let page = get(&format!("{hub}/v1/deliveries/{id}"));
    page["attempts"].as_array().expect("a list").clone()
}

/// How often it is written down that a delivery arrived.
fn recorded(attempts: &[serde_json::Value]) -> usize {
    let arrived = |attempt: &&serde_json::Value| attempt["decision"] == "delivered";
    attempts.iter().filter(arrived).count()
}

/// Whether a good answer came too late for the hub, which wrote down that none came in time.
fn told_late(attempts: &[serde_json::Value]) -> bool {
    let late = |attempt: &serde_json::Value| {
        let error = attempt["error"].as_str();
        error.is_some_and(|error| error.contains("did not answer completely"))
    };
    attempts.iter().any(late)
}

impl Verdict {
    /// In each line the next is sent when the one before it is written down as taken: so nothing overtakes, and what
    /// comes twice is the newest that came.
    fn check_order(&mut self, arrivals: &[Arrival]) {
        let mut newest: HashMap<String, usize> = HashMap::new();
        let mut seen: BTreeSet<Said> = BTreeSet::new();
        // In the order in which they were sent: one life after the other.
        let mut sent: Vec<&Arrival> = arrivals.iter().filter(|arrival| arrival.taken).collect();
        sent.sort_by_key(|arrival| arrival.life);
        for arrival in sent {
            let Some((said, record)) = read(&arrival.body) else {
                continue;
            };
            let newest = newest.entry(record.clone()).or_insert(said.1);
            let again = !seen.insert(said);
            if said.1 < *newest || (again && said.1 != *newest) {
                self.out_of_order += 1;
                self.wrong
                    .push(format!("{record}: {} came after {newest}", said.1));
            }
            *newest = (*newest).max(said.1);
        }
    }

    /// Each event has one number at a receiver, whoever sent it when; and from 1 to the largest none is missing.
    fn check_sequence(&mut self, name: &str, arrivals: &[Arrival]) {
        let mut events: BTreeMap<Option<u64>, BTreeSet<&str>> = BTreeMap::new();
        let mut numbers: BTreeMap<&str, BTreeSet<Option<u64>>> = BTreeMap::new();
        for arrival in arrivals {
            events.entry(arrival.sequence).or_default().insert(&arrival.id);
            numbers.entry(&arrival.id).or_default().insert(arrival.sequence);
        }
        let mut wrong: Vec<String> = Vec::new();
        for (number, ids) in events
            .iter()
            .filter(|(number, ids)| number.is_none() || ids.len() > 1)
        {
            wrong.push(format!("{name}: number {number:?} for {ids:?}"));
        }
        for (id, numbers) in numbers.iter().filter(|(_, numbers)| numbers.len() > 1) {
            wrong.push(format!("{name}: {id} came under {numbers:?}"));
        }
        let largest = events.keys().next_back().copied().flatten().unwrap_or(0);
        let missing = (1..=largest).filter(|number| !events.contains_key(&Some(*number)));
        wrong.extend(missing.map(|number| format!("{name}: nothing came under number {number}")));
        self.uncounted += wrong.len();
        self.wrong.extend(wrong);
    }

    /// The heads of [`Verdict::line`].
    pub(crate) fn head() -> String {
        format!(
            "{:<18} {:>6} {:>9} {:>10} | {:>5} {:>8} {:>12} {:>9} {:>8} | {:>16}",
            "ledger, queue",
            "kills",
            "accepted",
            "delivered",
            "lost",
            "invented",
            "twice wrongly",
            "order",
            "sequence",
            "twice over crash"
        )
    }

    /// One line of the table.
    pub(crate) fn line(&self) -> String {
        format!(
            "{:<18} {:>6} {:>9} {:>10} | {:>5} {:>8} {:>13} {:>9} {:>8} | {:>16}",
            self.ground,
            self.kills,
            self.accepted,
            self.deliveries,
            self.lost,
            self.invented,
            self.twice_wrongly,
            self.out_of_order,
            self.uncounted,
            self.twice
        )
    }

    /// What failed beside the hub, and how often.
    pub(crate) fn faults(&self) -> String {
        let faults = self
            .faults
            .iter()
            .map(|(fault, times)| format!("{} {times}", fault.name()));
        faults.collect::<Vec<_>>().join(", ")
    }

    /// The beginning of what is wrong.
    pub(crate) fn told(&self) -> String {
        self.wrong
            .iter()
            .take(SHOWN)
            .fold(String::new(), |mut told, wrong| {
                let _written = writeln!(told, "  {}: {wrong}", self.ground);
                told
            })
    }
}
