//! The probes at which the best open sender of webhooks fails, each against a hub of its own.
//!
//! What that sender did was measured with svix-server 1.100.0 and is told in the table beside what the hub does.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};

use crate::chaos::lives::{Postgres, flush};
use crate::chaos::receiver::{Manner, Receiver};
use crate::harness::{Folder, Hub, Redis, eventually, expect, get, try_exchange};
use crate::partners::{acme_secret, now, signed};

/// Who posts at the same time, where it does not matter how many.
const AT_ONCE: usize = 8;
/// What a probe's endpoint may take, in milliseconds.
const DEADLINE_MS: u64 = 1_000;
/// "At once", where an endpoint that hangs beside it does so for fifteen seconds.
const AT_ONCE_MS: u128 = 1_000;
/// What half of the deliveries to a healthy endpoint may take, whoever is slow beside it.
const HEALTHY_P50_MS: u128 = 50;
/// What an answer may take while Redis says nothing.
const ANSWER_MS: u128 = 2_000;

/// What a probe found.
pub(crate) struct Found {
    name: &'static str,
    elsewhere: &'static str,
    here: String,
    /// Whether it is what was promised.
    pub(crate) good: bool,
}

impl Found {
    pub(crate) fn line(&self) -> String {
        let mark = if self.good { "good" } else { "BAD" };
        format!(
            "{mark:<5} {}\n      the best open sender: {}\n      here: {}",
            self.name, self.elsewhere, self.here
        )
    }
}

/// A hub with a partner who posts, on these stores, and its folder.
struct Place {
    folder: Folder,
    hub: Hub,
}

/// An endpoint that gets one type of event: its name, where it is, and more of its configuration.
type To<'a> = (&'a str, &'a Receiver, &'a str);

fn place(folder: Folder, stores: Option<&str>, endpoints: &[To<'_>]) -> Place {
    let own = format!("ledger: sqlite:{}", folder.path("hub.db").display());
    let stores = stores.unwrap_or(&own);
    let endpoints: String = endpoints
        .iter()
        .map(|(name, receiver, more)| {
            format!(
                "      - {{ name: {name}, url: \"{}\", secret: \"${{env:SECRET}}\", events: [custom.{name}], share: everything{more} }}\n",
                receiver.url
            )
        })
        .collect();
    let text = format!(
        "listen: 127.0.0.1:0\n{stores}\noutbound: {{ allow: [127.0.0.0/8] }}\n\
         limits: {{ sweep_every_ms: 1000, endpoint_lease_ms: 1000 }}\n\
         partners:\n  acme: {{ secrets: [\"${{env:SECRET}}\"] }}\n  globex:\n    endpoints:\n{endpoints}"
    );
    folder.write("interconnect.yaml", &text);
    let hub = start(&folder);
    Place { folder, hub }
}

fn start(folder: &Folder) -> Hub {
    Hub::start(&folder.path("interconnect.yaml"), &[("SECRET", acme_secret())])
}

/// Posts one event to those of a name; the status, and the event's id if it was accepted.
fn post(hub: &str, id: &str, to: &str) -> (u16, String) {
    let data = json!({"id": id});
    let body = json!({"type": format!("custom.{to}"), "timestamp": "2026-11-23T10:00:00Z", "data": data})
        .to_string();
    let headers = signed(id, now(), &body);
    let headers: Vec<(&str, &str)> = headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    let Ok((status, text)) = try_exchange("POST", &format!("{hub}/hooks/acme"), Some(&body), &headers) else {
        return (0, String::new());
    };
    let answer: Json = serde_json::from_str(&text).unwrap_or_default();
    (status, answer["id"].as_str().unwrap_or_default().to_owned())
}

/// Posts so many, so many at once; the ids under which they were accepted.
fn post_many(hub: &str, count: usize, at_once: usize, to: &str) -> Vec<String> {
    let (next, accepted) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..at_once {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::SeqCst);
                    if number >= count {
                        return;
                    }
                    let (status, event) = post(hub, &format!("{to}_{number}"), to);
                    if matches!(status, 200 | 202) {
                        accepted.lock().expect("no poster panics").push(event);
                    }
                }
            });
        }
    });
    accepted.into_inner().expect("no poster panics")
}

/// Posts so many one after the other; how long each took until it arrived, in milliseconds, sorted. Those that do not
/// arrive are left out.
fn timed(hub: &str, count: usize, to: &str, receiver: &Receiver) -> Vec<u128> {
    let mut posted = Vec::new();
    for number in 0..count {
        let began = Instant::now();
        let (status, event) = post(hub, &format!("timed_{to}_{number}"), to);
        assert_eq!(status, 202);
        posted.push((event, began));
    }
    eventually("all that were posted arrive", || {
        let (_, taken) = receiver.counts();
        expect(taken >= count, format!("{taken} of {count}"))
    });
    let arrivals = receiver.arrivals();
    let took = posted.iter().filter_map(|(event, began)| {
        let arrival = arrivals.iter().find(|arrival| arrival.id == *event)?;
        Some((arrival.at - *began).as_millis())
    });
    let mut took: Vec<u128> = took.collect();
    took.sort_unstable();
    took
}

/// Waits until so many different ones were taken.
fn arrive(receiver: &Receiver, count: usize) {
    eventually("everything to arrive", || {
        let (_, taken) = receiver.counts();
        expect(taken >= count, format!("{taken} of {count}"))
    });
}

/// All probes; `in_time` says whether times count, which they do not on a machine that is busy with other tests.
pub(crate) fn all(in_time: bool) -> Vec<Found> {
    vec![
        one_byte_and_then_nothing(),
        many_that_hang(in_time),
        many_that_are_slow(in_time),
        silent_redis(in_time),
        the_same_again_after_an_outage(),
        flushed_under_load(),
        killed_under_load(),
    ]
}

fn one_byte_and_then_nothing() -> Found {
    let receiver = Receiver::start(&[Manner::Begins], 1);
    let more = format!(", timeout_ms: {DEADLINE_MS}, retry_ms: [500, 500]");
    let place = place(Folder::new(), None, &[("bad", &receiver, &more)]);
    let (_, event) = post(&place.hub.url, "m", "bad");
    let delivery = eventually("the last try to end", || {
        let event = get(&format!("{}/v1/events/{event}", place.hub.url));
        let delivery = event["deliveries"][0].clone();
        expect(delivery["state"] == "dead", delivery["state"].to_string()).map(|()| delivery)
    });
    let id = delivery["id"].as_str().expect("an id");
    let page = get(&format!("{}/v1/deliveries/{id}", place.hub.url));
    let attempts = page["attempts"].as_array().expect("a list");
    let ms = |attempt: &Json| attempt["duration_ms"].as_u64().expect("a number");
    let at = |attempt: &Json, name: &str| -> i64 {
        let moment: jiff::Timestamp = attempt[name]
            .as_str()
            .expect("a moment")
            .parse()
            .expect("a moment");
        moment.as_millisecond()
    };
    let ended = attempts.iter().filter(|attempt| {
        ms(attempt) >= DEADLINE_MS
            && attempt["error"]
                .as_str()
                .is_some_and(|e| e.contains("did not answer completely"))
    });
    let kept = attempts
        .windows(2)
        .filter(|two| at(&two[1], "at") >= at(&two[0], "next_at"));
    let (ended, kept) = (ended.count(), kept.count());
    let longest = attempts.iter().map(ms).max().unwrap_or(0);
    Found {
        name: "headers and one byte, and then nothing",
        elsewhere: "never ends, is not written down, is sent again every 45 s",
        here: format!(
            "{} tries, {ended} ended at the deadline of {DEADLINE_MS} ms and are written down (longest {longest} ms), \
             {kept} of 2 retries on schedule",
            attempts.len()
        ),
        good: (attempts.len(), ended, kept) == (3, 3, 2),
    }
}

fn many_that_hang(in_time: bool) -> Found {
    const HANGING: usize = 510;
    const HEALTHY: usize = 20;
    let (hanging, healthy) = (
        Receiver::start(&[Manner::Begins], 1),
        Receiver::start(&[Manner::Answers(200)], 1),
    );
    let place = place(
        Folder::new(),
        None,
        &[("hanging", &hanging, ""), ("healthy", &healthy, "")],
    );
    assert_eq!(
        post_many(&place.hub.url, HANGING, AT_ONCE, "hanging").len(),
        HANGING
    );
    eventually("some to hang", || {
        expect(hanging.counts().0 > 1, hanging.counts().0)
    });
    let took = timed(&place.hub.url, HEALTHY, "healthy", &healthy);
    let slowest = took.last().copied().unwrap_or(0);
    Found {
        name: "510 such deliveries beside a healthy endpoint",
        elsewhere: "0 of 20 healthy ones arrive in 180 s",
        here: format!(
            "{} of {HEALTHY} healthy ones arrive, the slowest after {slowest} ms",
            took.len()
        ),
        good: took.len() == HEALTHY && (!in_time || slowest < AT_ONCE_MS),
    }
}

fn many_that_are_slow(in_time: bool) -> Found {
    const SLOW: usize = 1_500;
    const HEALTHY: usize = 100;
    let slow = Receiver::start(&[Manner::TakesItsTime(Duration::from_secs(20))], 1);
    let healthy = Receiver::start(&[Manner::Answers(200)], 1);
    let place = place(
        Folder::new(),
        None,
        &[("slow", &slow, ", timeout_ms: 30000"), ("healthy", &healthy, "")],
    );
    assert_eq!(post_many(&place.hub.url, SLOW, AT_ONCE, "slow").len(), SLOW);
    let took = timed(&place.hub.url, HEALTHY, "healthy", &healthy);
    let (p50, p99) = (took[took.len() / 2], took[took.len() * 99 / 100]);
    Found {
        name: "1,500 deliveries to an endpoint that takes 20 s, beside a healthy one",
        elsewhere: "the healthy p50 goes from 13 ms to 38,791 ms",
        here: format!(
            "{} of {HEALTHY} healthy ones arrive, p50 {p50} ms, p99 {p99} ms",
            took.len()
        ),
        good: took.len() == HEALTHY && (!in_time || p50 < HEALTHY_P50_MS),
    }
}

fn silent_redis(in_time: bool) -> Found {
    const POSTS: usize = 8;
    let folder = Folder::new();
    let redis = Redis::start(&folder);
    let stores = format!(
        "ledger: sqlite:{}\nqueue: {}",
        folder.path("hub.db").display(),
        redis.url
    );
    let receiver = Receiver::start(&[Manner::Answers(200)], 1);
    let place = place(folder, Some(&stores), &[("good", &receiver, "")]);
    redis.running.signal("STOP");
    let mut slowest = 0;
    let mut accepted = 0;
    for number in 0..POSTS {
        let began = Instant::now();
        accepted += usize::from(post(&place.hub.url, &format!("m{number}"), "good").0 == 202);
        slowest = slowest.max(began.elapsed().as_millis());
    }
    arrive(&receiver, accepted);
    let (_, while_silent) = receiver.counts();
    redis.running.signal("CONT");
    Found {
        name: "Redis says nothing during a POST",
        elsewhere: "the call hangs for 60 s and more; what was written is never sent",
        here: format!(
            "{accepted} of {POSTS} answered 202, the slowest after {slowest} ms; {while_silent} delivered before Redis was back"
        ),
        good: (accepted, while_silent) == (POSTS, POSTS) && (!in_time || slowest < ANSWER_MS),
    }
}

fn the_same_again_after_an_outage() -> Found {
    const POSTS: usize = 16;
    let folder = Folder::new();
    let redis = Redis::start(&folder);
    let postgres = Postgres::start();
    let stores = format!("ledger: {}\nqueue: {}", postgres.url, redis.url);
    let receiver = Receiver::start(&[Manner::Answers(200)], 1);
    let place = place(folder, Some(&stores), &[("good", &receiver, "")]);
    redis.running.signal("STOP");
    // Some of these are written, and some of those are not answered so.
    let mut first = Vec::new();
    thread::scope(|scope| {
        let url = &place.hub.url;
        let posts = thread::Builder::new().spawn_scoped(scope, move || {
            let posts = (0..POSTS).map(|number| post(url, &format!("m{number}"), "good"));
            posts.collect::<Vec<_>>()
        });
        postgres.crash();
        first = posts.expect("a thread").join().expect("it ends");
    });
    redis.running.signal("CONT");
    let answered = first
        .iter()
        .filter(|(status, _)| matches!(status, 200 | 202))
        .count();
    let again: Vec<(u16, String)> = (0..POSTS)
        .map(|number| {
            eventually("an answer after the outage", || {
                let (status, event) = post(&place.hub.url, &format!("m{number}"), "good");
                expect(matches!(status, 200 | 202), status).map(|()| (status, event))
            })
        })
        .collect();
    let original = first
        .iter()
        .zip(&again)
        .filter(|((status, event), (_, later))| !matches!(status, 200 | 202) || event == later);
    let original = original.count();
    arrive(&receiver, POSTS);
    let (all, taken) = receiver.counts();
    Found {
        name: "the same event id sent again after PostgreSQL crashed and Redis was silent",
        elsewhere: "409, one message kept, no attempt, ever",
        here: format!(
            "{answered} of {POSTS} accepted during the outage; again, {original} of {POSTS} get the original result; \
             {taken} delivered, {} of them twice",
            all - taken
        ),
        good: (original, taken) == (POSTS, POSTS),
    }
}

fn flushed_under_load() -> Found {
    const POSTS: usize = 1_000;
    const FLUSHES: usize = 5;
    let folder = Folder::new();
    let redis = Redis::start(&folder);
    let stores = format!(
        "ledger: sqlite:{}\nqueue: {}",
        folder.path("hub.db").display(),
        redis.url
    );
    // Some fail at first, so that jobs for later are in Redis when it forgets them.
    let receiver = Receiver::start(
        &[Manner::Answers(200), Manner::Answers(200), Manner::Answers(500)],
        1,
    );
    let more = ", retry_ms: [100, 100, 100, 100, 100, 100, 100, 100, 100, 100, 100, 100]";
    let place = place(folder, Some(&stores), &[("good", &receiver, more)]);
    let url = &place.hub.url;
    let accepted = thread::scope(|scope| {
        let posts = scope.spawn(|| post_many(url, POSTS, AT_ONCE, "good").len());
        for flush_number in 1..=FLUSHES {
            eventually("some more to arrive", || {
                let (_, taken) = receiver.counts();
                expect(taken >= flush_number * POSTS / (FLUSHES + 2), taken)
            });
            flush(&redis);
        }
        posts.join().expect("the posters end")
    });
    arrive(&receiver, accepted);
    let (_, taken) = receiver.counts();
    Found {
        name: "Redis flushed five times under load",
        elsewhere: "answers 202 and delivers nothing until it is restarted; 1,271 errors in 15 s",
        here: format!("{accepted} of {POSTS} accepted, {taken} delivered, no restart"),
        good: (accepted, taken) == (POSTS, POSTS),
    }
}

fn killed_under_load() -> Found {
    const SENDERS: usize = 32;
    const ACCEPTED_MIN: usize = 500;
    let receiver = Receiver::start(&[Manner::Answers(200)], 1);
    let Place { folder, hub } = place(Folder::new(), None, &[("good", &receiver, "")]);
    let accepted = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for sender in 0..SENDERS {
            let (url, accepted) = (hub.url.clone(), &accepted);
            scope.spawn(move || {
                for number in 0.. {
                    let (status, event) = post(&url, &format!("m{sender}_{number}"), "good");
                    if status != 202 {
                        return;
                    }
                    accepted.lock().expect("no sender panics").push(event);
                }
            });
        }
        eventually("enough to be accepted", || {
            let count = accepted.lock().expect("no sender panics").len();
            expect(count >= ACCEPTED_MIN, count)
        });
        hub.running.kill();
    });
    let accepted = accepted.into_inner().expect("no sender panics");
    let before: std::collections::BTreeSet<String> =
        receiver.arrivals().into_iter().map(|one| one.id).collect();
    let left = accepted.iter().filter(|event| !before.contains(*event)).count();
    let (again, hub) = (Instant::now(), start(&folder));
    let lost = || {
        let arrivals = receiver.arrivals();
        let taken: std::collections::BTreeSet<&str> = arrivals
            .iter()
            .filter(|one| one.taken)
            .map(|one| one.id.as_str())
            .collect();
        accepted
            .iter()
            .filter(|event| !taken.contains(event.as_str()))
            .count()
    };
    eventually("all that was accepted", || expect(lost() == 0, lost()));
    let recovered = again.elapsed().as_millis();
    let (all, taken) = receiver.counts();
    drop(hub);
    Found {
        name: "SIGKILL under 32-way load",
        elsewhere: "11 of 2,082 never tried, 22 sent twice, the tail comes after 45 s",
        here: format!(
            "{} acknowledged, {left} of them not sent when it died, {} never tried; {} sent twice; all there {recovered} ms \
             after the restart",
            accepted.len(),
            lost(),
            all - taken
        ),
        good: lost() == 0,
    }
}
