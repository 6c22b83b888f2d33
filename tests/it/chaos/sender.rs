//! Partners that send as good senders do: under one id until it is accepted, and then the next.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::{Value as Json, json};

use crate::harness::try_exchange;
use crate::partners::{now, signed};

/// Partners' threads that send at the same time.
const SENDERS: usize = 4;
/// Records that each of them says something about, in turn.
const RECORDS: usize = 3;
/// Between a sender's tries, and between its events.
const PAUSE: Duration = Duration::from_millis(4);
/// One event in so many is sent once more after it was accepted, and one with a wrong signature before it.
const ODD_EVERY: usize = 8;

/// Which event: the sender's number, and its own count.
pub(crate) type Said = (usize, usize);

/// What the senders know.
#[derive(Default)]
pub(crate) struct Book {
    /// Under which id the hub accepted each event.
    pub(crate) accepted: BTreeMap<Said, String>,
    /// What was accepted under another id before.
    pub(crate) other_id: Vec<String>,
    /// Answers by status; 0 where none came.
    pub(crate) answers: BTreeMap<u16, usize>,
}

/// Everybody who sends.
pub(crate) struct Senders {
    hub: Arc<Mutex<Option<String>>>,
    book: Arc<Mutex<Book>>,
    enough: Arc<AtomicBool>,
    said: Arc<AtomicUsize>,
    threads: Vec<JoinHandle<()>>,
}

/// The object that an event is about.
pub(crate) fn object((sender, count): Said) -> String {
    format!("r{sender}-{}", count % RECORDS)
}

/// The body of an event that was said at a moment: the news of a lead, too.
fn body(said: Said, at: &str) -> String {
    let (object, (sender, count)) = (object(said), said);
    let lead = json!({
        "status": "open", "company": {"name": object}, "contact": {"email": format!("{object}@chaos.example")},
        "business_problem": count.to_string(),
    });
    let data = json!({"id": object, "sender": sender, "count": count, "lead": lead});
    json!({"type": "custom.chaos", "timestamp": at, "data": data}).to_string()
}

/// Which event a body is, if it is one of ours to the last byte.
pub(crate) fn read(text: &str) -> Option<Said> {
    let event: Json = serde_json::from_str(text).ok()?;
    let number = |name: &str| usize::try_from(event["data"][name].as_u64()?).ok();
    let said = (number("sender")?, number("count")?);
    (body(said, event["timestamp"].as_str()?) == text).then_some(said)
}

impl Senders {
    pub(crate) fn start() -> Senders {
        let mut senders = Senders {
            hub: Arc::default(),
            book: Arc::default(),
            enough: Arc::default(),
            said: Arc::default(),
            threads: Vec::new(),
        };
        for sender in 0..SENDERS {
            let one = One {
                sender,
                hub: Arc::clone(&senders.hub),
                book: Arc::clone(&senders.book),
            };
            let (enough, said) = (Arc::clone(&senders.enough), Arc::clone(&senders.said));
            senders.threads.push(thread::spawn(move || {
                for count in 0.. {
                    if enough.load(Ordering::SeqCst) {
                        return;
                    }
                    one.say(count);
                    said.fetch_add(1, Ordering::SeqCst);
                    thread::sleep(PAUSE);
                }
            }));
        }
        senders
    }

    /// Tells where the hub is, or that it is nowhere.
    pub(crate) fn hub_is_at(&self, url: Option<&str>) {
        *self.hub.lock().unwrap_or_else(PoisonError::into_inner) = url.map(str::to_owned);
    }

    /// Everybody ends what they are at; the hub must be there.
    pub(crate) fn finish(mut self) -> Book {
        self.enough.store(true, Ordering::SeqCst);
        for sender in self.threads.drain(..) {
            sender.join().expect("a sender ends");
        }
        std::mem::take(&mut self.book.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

struct One {
    sender: usize,
    hub: Arc<Mutex<Option<String>>>,
    book: Arc<Mutex<Book>>,
}

impl One {
    /// Says one event until it is accepted.
    fn say(&self, count: usize) {
        let odd = count % ODD_EVERY == ODD_EVERY - 1;
        let at = jiff::Timestamp::now().to_string();
        if odd {
            // Never accepted, so it must arrive nowhere: its body is none that is said otherwise.
            let body = body((self.sender + SENDERS, count), &at);
            self.post(&format!("forged_{}_{count}", self.sender), &body, "another body");
        }
        let (id, body) = (
            format!("msg_{}_{count}", self.sender),
            body((self.sender, count), &at),
        );
        let mut again = usize::from(odd);
        loop {
            match self.post(&id, &body, &body) {
                Some(event) => {
                    self.note((self.sender, count), &event);
                    if again == 0 {
                        return;
                    }
                    again -= 1;
                }
                None => thread::sleep(PAUSE),
            }
        }
    }

    /// One try; the event's id when it is accepted, now or before.
    fn post(&self, id: &str, body: &str, signed_body: &str) -> Option<String> {
        let url = self.hub.lock().unwrap_or_else(PoisonError::into_inner).clone()?;
        let headers = signed(id, now(), signed_body);
        let headers: Vec<(&str, &str)> = headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        let answer = try_exchange("POST", &format!("{url}/hooks/acme"), Some(body), &headers);
        let status = answer.as_ref().map_or(0, |(status, _)| *status);
        let mut book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        *book.answers.entry(status).or_default() += 1;
        drop(book);
        let (_, text) = answer.ok().filter(|(status, _)| matches!(status, 200 | 202))?;
        let answer: Json = serde_json::from_str(&text).ok()?;
        answer["id"].as_str().map(str::to_owned)
    }

    fn note(&self, said: Said, event: &str) {
        let mut book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        match book.accepted.insert(said, event.to_owned()) {
            Some(before) if before != event => book.other_id.push(format!("{said:?}: {before}, {event}")),
            _ => {}
        }
    }
}
