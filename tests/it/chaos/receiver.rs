//! Somebody who receives webhooks, in a manner of their own, and writes down all of them.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::Chance;

/// What a thread of a connection needs; there may be a thousand.
const STACK_BYTES: usize = 128 * 1024;
/// Between two bytes of somebody who drips them.
const DRIP_EVERY: Duration = Duration::from_millis(100);

/// What somebody does with a request that they have read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Answers with a status.
    Answers(u16),
    /// Says nothing, and keeps the line open.
    Hangs,
    /// Begins a good answer, with one byte of a hundred, and then says nothing.
    Begins,
    /// Sends a good answer byte by byte, slower than anybody waits.
    Drips,
    /// Answers what is no HTTP.
    Babbles,
    /// Closes in the middle of the answer.
    BreaksOff,
    /// Closes without an answer.
    Leaves,
    /// Answers well, after a while.
    TakesItsTime(Duration),
}

/// One request, as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Arrival {
    pub(crate) id: String,
    pub(crate) body: String,
    /// Which life of the hub sent it, as its `x-life` says; 0 where nobody counts them. Somebody busy may read it long
    /// after that life has ended.
    pub(crate) life: usize,
    /// Its number, as `webhook-sequence` says.
    pub(crate) sequence: Option<u64>,
    /// The numbers that it stands for, as `webhook-folded` says.
    pub(crate) folded: Vec<u64>,
    pub(crate) at: Instant,
    /// Whether all of a good answer was sent.
    pub(crate) taken: bool,
}

/// Somebody who receives.
pub(crate) struct Receiver {
    pub(crate) url: String,
    log: Arc<Mutex<Vec<Arrival>>>,
    well: Arc<AtomicBool>,
}

impl Receiver {
    /// One that behaves in one of these manners, drawn for each request, until it is well.
    pub(crate) fn start(manners: &[Manner], seed: u64) -> Receiver {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}/hook", listener.local_addr().expect("an address"));
        let (log, well) = (Arc::default(), Arc::new(AtomicBool::new(false)));
        let drawn = Drawn {
            manners: manners.into(),
            chance: Arc::new(Mutex::new(Chance(seed))),
            well: Arc::clone(&well),
        };
        let kept = Arc::clone(&log);
        thread::spawn(move || {
            for peer in listener.incoming().map_while(Result::ok) {
                let (kept, drawn) = (Arc::clone(&kept), drawn.clone());
                let thread = thread::Builder::new().stack_size(STACK_BYTES);
                // One that does not start is a connection that breaks.
                let _started = thread.spawn(move || receive(peer, &kept, &drawn));
            }
        });
        Receiver { url, log, well }
    }

    /// From now on every answer is good.
    pub(crate) fn is_well(&self) {
        self.well.store(true, Ordering::SeqCst);
    }

    /// All that arrived, in the order in which it did.
    pub(crate) fn arrivals(&self) -> Vec<Arrival> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many arrived; and how many different ones got a good answer.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let taken: std::collections::BTreeSet<&str> = log
            .iter()
            .filter(|arrival| arrival.taken)
            .map(|arrival| arrival.id.as_str())
            .collect();
        (log.len(), taken.len())
    }
}

#[derive(Clone)]
struct Drawn {
    manners: Arc<[Manner]>,
    chance: Arc<Mutex<Chance>>,
    well: Arc<AtomicBool>,
}

impl Drawn {
    fn next(&self) -> Manner {
        if self.well.load(Ordering::SeqCst) {
            return Manner::Answers(200);
        }
        let mut chance = self.chance.lock().unwrap_or_else(PoisonError::into_inner);
        self.manners[chance.below(self.manners.len())]
    }
}

/// Receives over one connection until either side leaves.
fn receive(mut peer: TcpStream, log: &Mutex<Vec<Arrival>>, drawn: &Drawn) {
    let mut left = Vec::new();
    while let Some(arrival) = read_request(&mut peer, &mut left) {
        let manner = drawn.next();
        let place = {
            let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
            log.push(arrival);
            log.len() - 1
        };
        let Ok(stays) = answer(&mut peer, manner) else {
            return;
        };
        if matches!(manner, Manner::Answers(200..=299) | Manner::TakesItsTime(_)) {
            log.lock().unwrap_or_else(PoisonError::into_inner)[place].taken = true;
        }
        if !stays {
            return;
        }
    }
}

/// Answers in a manner; whether the line stays open.
fn answer(peer: &mut TcpStream, manner: Manner) -> std::io::Result<bool> {
    const GOOD: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    match manner {
        Manner::Answers(status) => {
            peer.write_all(format!("HTTP/1.1 {status} Said\r\ncontent-length: 0\r\n\r\n").as_bytes())?;
            Ok(true)
        }
        Manner::TakesItsTime(time) => {
            thread::sleep(time);
            peer.write_all(GOOD)?;
            Ok(true)
        }
        Manner::Hangs => wait_until_left(peer),
        Manner::Begins => {
            peer.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nx")?;
            wait_until_left(peer)
        }
        Manner::Drips => {
            for byte in b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n"
                .iter()
                .chain(std::iter::repeat(&b'x'))
            {
                peer.write_all(&[*byte])?;
                thread::sleep(DRIP_EVERY);
            }
            Ok(false)
        }
        Manner::Babbles => {
            peer.write_all(b"\x16\x03 220 mail.example ESMTP\r\n\r\n\0\xff\r\n")?;
            Ok(false)
        }
        Manner::BreaksOff => {
            peer.write_all(&GOOD[..GOOD.len() - 1])?;
            Ok(false)
        }
        Manner::Leaves => Ok(false),
    }
}

/// Waits until the other side has had enough.
fn wait_until_left(peer: &mut TcpStream) -> std::io::Result<bool> {
    while peer.read(&mut [0; 256])? > 0 {}
    Ok(false)
}

/// The next request.
fn read_request(peer: &mut TcpStream, left: &mut Vec<u8>) -> Option<Arrival> {
    loop {
        if let Some(end) = left.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&left[..end]).to_ascii_lowercase();
            let headers: HashMap<&str, &str> =
                head.lines().filter_map(|line| line.split_once(": ")).collect();
            let length: usize = headers.get("content-length")?.parse().ok()?;
            let all = end + 4 + length;
            if left.len() >= all {
                let id = (*headers.get("webhook-id")?).to_owned();
                let body = String::from_utf8_lossy(&left[end + 4..all]).into_owned();
                let life = headers.get("x-life").and_then(|life| life.parse().ok());
                let sequence = headers.get("webhook-sequence");
                let arrival = Arrival {
                    id,
                    body,
                    life: life.unwrap_or(0),
                    sequence: sequence.and_then(|number| number.parse().ok()),
                    folded: headers
                        .get("webhook-folded")
                        .map_or_else(Vec::new, |text| numbers(text)),
                    at: Instant::now(),
                    taken: false,
                };
                left.drain(..all);
                return Some(arrival);
            }
        }
        let mut bytes = [0; 8192];
        match peer.read(&mut bytes) {
            Ok(0) | Err(_) => return None,
            Ok(count) => left.extend_from_slice(&bytes[..count]),
        }
    }
}

/// The numbers of `3-7, 12`.
fn numbers(text: &str) -> Vec<u64> {
    let spans = text
        .split(", ")
        .map(|span| span.split_once('-').unwrap_or((span, span)));
    let number = |text: &str| text.parse().unwrap_or_else(|_| panic!("`{text}` is no number"));
    spans
        .flat_map(|(first, last)| number(first)..=number(last))
        .collect()
}
