//! What was promised, held against what the receivers saw and what the senders were told.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write;
use std::time::{Duration, Instant};

use crate::chaos::lives::Fault;
use crate::chaos::news::{News, news};
use crate::chaos::receiver::{Arrival, Receiver};
use crate::chaos::sender::{Book, Said, object, read};
use crate::harness::get;

/// What is wrong is shown as far as this.
const SHOWN: usize = 10;
/// Who gets the newest of several events for all of them.
pub(crate) const FOLDING: &str = "folding";
/// How long a receiver on a busy machine may leave unread what has arrived.
const READ_LATE: Duration = Duration::from_secs(1);

/// Everybody who receives, and when the ledger failed.
pub(crate) struct Known {
    /// Well at all times.
    pub(crate) steady: Receiver,
    /// Gets the events of a record in their order, and refuses some.
    pub(crate) ordered: Receiver,
    /// Gets the events of a record in their order, the newest for all that wait, and refuses half.
    pub(crate) folding: Receiver,
    /// Does whatever a receiver can do wrong.
    pub(crate) moody: Receiver,
    /// From when to when the ledger was not there, or could not write.
    pub(crate) outages: Vec<(Instant, Instant)>,
}

impl Known {
    pub(crate) fn receivers(&self) -> [(&'static str, &Receiver); 4] {
        [
            ("steady", &self.steady),
            ("ordered", &self.ordered),
            (FOLDING, &self.folding),
            ("moody", &self.moody),
        ]
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
    /// What did not arrive, because a newer one did that says that it stands for it.
    folded: usize,
    /// Accepted, and neither delivered to somebody nor stood for there.
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
    /// What became of the events as news of objects.
    pub(crate) news: News,
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
    for (name, receiver) in known.receivers() {
        let arrivals = receiver.arrivals();
        let mut there = verdict.taken(name, &arrivals, book);
        verdict.deliveries += there.len();
        let arrived = there.len();
        verdict.check_sequence(name, &arrivals, book.accepted.len());
        if name == FOLDING {
            verdict.add_folded(&mut there, &arrivals, &numbers(hub, book));
            verdict.folded += there.len() - arrived;
        }
        for (said, id) in &book.accepted {
            if !there.contains_key(said) {
                verdict.lost += 1;
                verdict.wrong.push(format!("{name} never got {said:?}, {id}"));
            }
        }
        let mut pairs: BTreeMap<(Instant, Instant), (&Arrival, &Arrival)> = BTreeMap::new();
        for times in there.values_mut() {
            times.sort_by_key(|arrival| arrival.at);
            let both = times.windows(2).map(|pair| (pair[0], pair[1]));
            pairs.extend(both.map(|(first, second)| ((first.at, second.at), (first, second))));
        }
        for (first, second) in pairs.into_values() {
            verdict.check_twice(name, (first, second), known, hub);
        }
    }
    verdict.check_order(&known.ordered.arrivals());
    verdict.check_order(&known.folding.arrivals());
    verdict.news = news(book, hub, &mut verdict.wrong);
    verdict
}

/// The events by their numbers at the endpoint that folds.
fn numbers(hub: &str, book: &Book) -> BTreeMap<u64, Said> {
    let said: HashMap<&str, Said> = book
        .accepted
        .iter()
        .map(|(said, id)| (id.as_str(), *said))
        .collect();
    let mut numbers = BTreeMap::new();
    let mut cursor = String::new();
    loop {
        let page = get(&format!(
            "{hub}/v1/deliveries?endpoint={FOLDING}&limit=200{cursor}"
        ));
        for delivery in page["data"].as_array().expect("a list") {
            let event = delivery["event"].as_str().expect("an id");
            let number = delivery["sequence"].as_u64().expect("a number");
            numbers.extend(said.get(event).map(|said| (number, *said)));
        }
        let Some(next) = page["next_cursor"].as_str() else {
            return numbers;
        };
        cursor = format!("&cursor={next}");
    }
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
    /// What got a good answer, by what was said; what nobody was told of is wrong.
    fn taken<'a>(
        &mut self,
        name: &str,
        arrivals: &'a [Arrival],
        book: &Book,
    ) -> BTreeMap<Said, Vec<&'a Arrival>> {
        let mut taken: BTreeMap<Said, Vec<&Arrival>> = BTreeMap::new();
        for arrival in arrivals {
            let said = read(&arrival.body);
            match said.filter(|said| book.accepted.get(said) == Some(&arrival.id)) {
                None => {
                    self.invented += 1;
                    let (id, body) = (&arrival.id, &arrival.body);
                    self.wrong
                        .push(format!("{name} got what nobody was told of: {id} {body}"));
                }
                Some(said) if arrival.taken => taken.entry(said).or_default().push(arrival),
                Some(_) => {}
            }
        }
        taken
    }

    /// Adds what did not arrive by itself, but by the number that a newer event about the same object says it stands for.
    fn add_folded<'a>(
        &mut self,
        there: &mut BTreeMap<Said, Vec<&'a Arrival>>,
        arrivals: &'a [Arrival],
        numbers: &BTreeMap<u64, Said>,
    ) {
        for arrival in arrivals.iter().filter(|arrival| arrival.taken) {
            let Some(newer) = read(&arrival.body) else {
                continue;
            };
            for number in &arrival.folded {
                let older = numbers.get(number);
                let fits = |older: &&Said| object(**older) == object(newer) && older.1 < newer.1;
                match older.filter(fits) {
                    Some(older) => there.entry(*older).or_default().push(arrival),
                    None => {
                        self.uncounted += 1;
                        self.wrong
                            .push(format!("{newer:?} stands for {number}, which is {older:?}"));
                    }
                }
            }
        }
    }

    /// What got there twice, by itself or by one that stands for it: over a crash, and not although it was written down.
    fn check_twice(&mut self, name: &str, (first, second): (&Arrival, &Arrival), known: &Known, hub: &str) {
        let attempts = attempts(hub, name, &first.id);
        let crashed = known.crashed_between(first, second);
        // What was folded into a newer one is never written down as arrived.
        let most = usize::from(first.id == second.id);
        if (crashed || told_late(&attempts)) && recorded(&attempts) <= most {
            self.twice += 1;
            return;
        }
        self.twice_wrongly += 1;
        let after = second.at - first.at;
        self.wrong.push(format!(
            "{name} got {} in life {} and {} in life {} after {after:?}, {}; written down of the first: {attempts:?}",
            first.id,
            first.life,
            second.id,
            second.life,
            if crashed {
                "over a crash"
            } else {
                "without a crash"
            },
        ));
    }

    /// In each line the next is sent when the one before it is written down as taken: so nothing overtakes, and what
    /// comes twice is the newest that came.
    fn check_order(&mut self, arrivals: &[Arrival]) {
        let mut newest: HashMap<String, usize> = HashMap::new();
        let mut seen: BTreeSet<Said> = BTreeSet::new();
        // In the order in which they were sent: one life after the other.
        let mut sent: Vec<&Arrival> = arrivals.iter().filter(|arrival| arrival.taken).collect();
        sent.sort_by_key(|arrival| arrival.life);
        for arrival in sent {
            let Some(said) = read(&arrival.body) else {
                continue;
            };
            let record = object(said);
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

    /// Each event has one number at a receiver, whoever sent it when; and from 1 to as many as were accepted none is missing
    /// that did not come or is stood for.
    fn check_sequence(&mut self, name: &str, arrivals: &[Arrival], accepted: usize) {
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
        let taken = arrivals.iter().filter(|arrival| arrival.taken);
        let come = taken.flat_map(|arrival| arrival.sequence.iter().chain(&arrival.folded));
        let come: BTreeSet<u64> = come.copied().collect();
        let all: BTreeSet<u64> = (1..=accepted as u64).collect();
        for number in come.symmetric_difference(&all) {
            wrong.push(format!(
                "{name}: of the numbers up to {accepted}, {number} is missing, or is not one"
            ));
        }
        self.uncounted += wrong.len();
        self.wrong.extend(wrong);
    }

    /// The heads of [`Verdict::line`].
    pub(crate) fn head() -> String {
        format!(
            "{:<18} {:>6} {:>9} {:>10} {:>7} | {:>5} {:>8} {:>13} {:>6} {:>8} | {:>16}",
            "ledger, queue",
            "kills",
            "accepted",
            "delivered",
            "folded",
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
            "{:<18} {:>6} {:>9} {:>10} {:>7} | {:>5} {:>8} {:>13} {:>6} {:>8} | {:>16}",
            self.ground,
            self.kills,
            self.accepted,
            self.deliveries,
            self.folded,
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
