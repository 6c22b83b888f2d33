//! [`Cursor`] and [`Plan`]: which window of time to read next, as a pure state machine.
//!
//! A *window* is a closed span `[from, to)` of the time of change; inside it objects are read in the order of their ids,
//! each page from the last id on.
//! No offset shifts when rows leave a window, equal times lose nothing, and every page can be the last one before a crash:
//! the cursor names the window and the id.
//!
//! A *pass* reads windows up to its own lag behind the present.
//! The best-effort pass is fast and may miss what becomes visible late (a search index that lags, a transaction that
//! commits late); the authoritative pass reads the same span again when everything is visible.
//! A *round* is one walk through what is due; its end is fixed when it begins, so that a round ends although rows move.
//!
//! The present is the system's, as its answers tell it, where it comes later than ours: a window that ends in its future
//! would be taken for read.
//!
//! Promised, if the system shows each change within the authoritative lag: the last state of every object is read at
//! least once. Not promised: that it is read only once.

use jiff::Timestamp;
use serde_json::{Value as Json, json};

use crate::clock::{between, earlier, later};
use crate::manifest::{Mode, Pass};

/// How far our clock may be ahead of a system's: a second that theirs cuts off, and what machines that keep time differ by.
const AHEAD_FREE_MS: u64 = 3_000;

/// How reading is cut into windows; from the manifest, with what the settings override.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) passes: Vec<Pass>,
    pub(crate) max_window_ms: u64,
    pub(crate) precision_ms: u64,
}

/// How far each pass has read, and where the round stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cursor {
    passes: Vec<Done>,
    round: Option<Round>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Done {
    /// Everything before this moment is read.
    to: Option<Timestamp>,
    /// When the pass last began.
    ran: Option<Timestamp>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Round {
    now: Timestamp,
    /// Which passes are still to do, by their number.
    left: Vec<usize>,
    window: Option<Window>,
    last_id: Option<String>,
}

/// A closed span of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) from: Timestamp,
    pub(crate) to: Timestamp,
}

/// What to read next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Next {
    pub(crate) window: Window,
    pub(crate) last_id: Option<String>,
}

/// A cursor that is not one of ours.
#[derive(Debug, thiserror::Error)]
#[error("the stored cursor is not one this engine wrote: drop it to read from the beginning")]
pub(crate) struct BadCursor;

impl Plan {
    /// The next page to read; nothing when the round is complete.
    pub(crate) fn next(&self, cursor: &mut Cursor, now: Timestamp) -> Option<Next> {
        cursor.passes.resize(self.passes.len(), Done::default());
        if cursor.round.is_none() {
            cursor.round = Some(self.begin(cursor, now));
        }
        loop {
            let round = cursor.round.as_mut()?;
            // A manifest may have fewer passes than when the cursor was stored.
            round.left.retain(|pass| *pass < self.passes.len());
            if let Some(window) = round.window {
                return Some(Next {
                    window,
                    last_id: round.last_id.clone(),
                });
            }
            let Some(&pass) = round.left.first() else {
                cursor.round = None;
                return None;
            };
            match self.window(&cursor.passes, pass, round.now) {
                Some(window) => round.window = Some(window),
                None => {
                    cursor.passes[pass].ran = Some(round.now);
                    round.left.remove(0);
                }
            }
        }
    }

    /// Ends the passes that have no further window, and the round when none is left: a stored cursor never holds a
    /// finished round, which would make the next call do nothing.
    fn settle(&self, cursor: &mut Cursor) {
        let Some(round) = cursor.round.as_mut() else {
            return;
        };
        while round.window.is_none()
            && let Some(&pass) = round.left.first()
            && self.window(&cursor.passes, pass, round.now).is_none()
        {
            cursor.passes[pass].ran = Some(round.now);
            round.left.remove(0);
        }
        if round.window.is_none() && round.left.is_empty() {
            cursor.round = None;
        }
    }

    /// Notes that a page was read.
    pub(crate) fn advance(&self, cursor: &mut Cursor, last_id: Option<String>, window_done: bool) {
        let Some(round) = cursor.round.as_mut() else {
            return;
        };
        if !window_done {
            if last_id.is_some() {
                round.last_id = last_id;
            }
            return;
        }
        round.last_id = None;
        if let (Some(window), Some(&pass)) = (round.window.take(), round.left.first()) {
            cursor.passes[pass].to = Some(window.to);
        }
        self.settle(cursor);
    }

    /// Whether a round began later than its system gave an answer to it, by that system's clock: ours is ahead, and what is
    /// written there from now on would lie in windows that were read.
    /// By how many milliseconds; nothing where it is not, or not by more than clocks may.
    pub(crate) fn ahead_ms(cursor: &Cursor, told_at: Timestamp) -> Option<u64> {
        let ahead_ms = between(told_at, cursor.round.as_ref()?.now);
        (ahead_ms > AHEAD_FREE_MS).then_some(ahead_ms)
    }

    /// Begins the round again, as at this moment; what was read of its open window is read once more.
    pub(crate) fn begin_again(&self, cursor: &mut Cursor, now: Timestamp) {
        cursor.round = Some(self.begin(cursor, now));
        self.settle(cursor);
    }

    /// Makes the open window half as long; false when it is as short as the precision allows.
    pub(crate) fn halve(&self, cursor: &mut Cursor) -> bool {
        let Some(window) = cursor.round.as_mut().and_then(|r| r.window.as_mut()) else {
            return false;
        };
        let half = between(window.from, window.to) / 2;
        let to = floor(later(window.from, half), self.precision_ms);
        if to <= window.from {
            return false;
        }
        // What was read of the second half is read again; nothing of the first half is skipped.
        window.to = to;
        true
    }

    /// Whether the round has more to read.
    pub(crate) fn more(cursor: &Cursor) -> bool {
        cursor.round.is_some()
    }

    fn begin(&self, cursor: &Cursor, now: Timestamp) -> Round {
        let due = |number: &usize| {
            let pass = &self.passes[*number];
            let ran = cursor.passes[*number].ran;
            pass.mode == Mode::BestEffort || ran.is_none_or(|ran| later(ran, pass.every_ms) <= now)
        };
        let mut left: Vec<usize> = (0..self.passes.len()).filter(due).collect();
        // The first reading of all goes through the authoritative pass alone; the fast pass starts where it ends.
        if cursor.passes.iter().all(|done| done.to.is_none()) {
            left.sort_by_key(|&number| self.passes[number].mode == Mode::BestEffort);
        }
        Round {
            now,
            left,
            window: None,
            last_id: None,
        }
    }

    /// The next window of a pass, if the pass is not at its end.
    fn window(&self, passes: &[Done], number: usize, now: Timestamp) -> Option<Window> {
        let pass = &self.passes[number];
        let end = floor(earlier(now, pass.lag_ms), self.precision_ms);
        let authoritative = passes.last().and_then(|done| done.to);
        let from = match pass.mode {
            Mode::Authoritative => passes[number].to,
            // What the authoritative pass has read, the fast one need not.
            Mode::BestEffort => passes[number].to.max(authoritative),
        };
        let to = match from {
            Some(from) => {
                let to = floor(later(from, self.max_window_ms), self.precision_ms);
                // Never empty, however short the longest window and however coarse the precision.
                end.min(to.max(later(from, self.precision_ms)))
            }
            // From the beginning of time as one window: most of it is empty, and ids bound every page.
            None => end,
        };
        let from = from.unwrap_or(Timestamp::UNIX_EPOCH);
        (to > from).then_some(Window { from, to })
    }
}

fn floor(moment: Timestamp, precision_ms: u64) -> Timestamp {
    let precision = i64::try_from(precision_ms.max(1)).unwrap_or(i64::MAX);
    let ms = moment.as_millisecond();
    Timestamp::from_millisecond(ms - ms.rem_euclid(precision)).unwrap_or(moment)
}

impl Cursor {
    /// Where reading goes on when everything was read in another way, by a reading that began at this moment.
    pub(crate) fn after(plan: &Plan, began: Timestamp) -> Cursor {
        let mut passes = vec![Done::default(); plan.passes.len()];
        // What was committed late is seen by the authoritative pass, as after any other round.
        if let (Some(done), Some(pass)) = (passes.last_mut(), plan.passes.last()) {
            done.to = Some(floor(earlier(began, pass.lag_ms), plan.precision_ms));
        }
        Cursor { passes, round: None }
    }

    /// Reads a stored cursor; none is the beginning of time.
    pub(crate) fn read(stored: Option<&Json>) -> Result<Cursor, BadCursor> {
        let Some(stored) = stored.filter(|s| !s.is_null()) else {
            return Ok(Cursor::default());
        };
        if stored["v"].as_u64() != Some(1) {
            return Err(BadCursor);
        }
        let passes = stored["passes"].as_array().ok_or(BadCursor)?;
        let passes = passes
            .iter()
            .map(|p| {
                Ok(Done {
                    to: moment(&p["to"])?,
                    ran: moment(&p["ran"])?,
                })
            })
            .collect::<Result<_, BadCursor>>()?;
        let round = match &stored["round"] {
            Json::Null => None,
            round => Some(read_round(round)?),
        };
        Ok(Cursor { passes, round })
    }

    /// The form to store.
    pub(crate) fn write(&self) -> Json {
        let text = |moment: Option<Timestamp>| moment.map(|m| m.to_string());
        json!({
            "v": 1,
            "passes": self.passes.iter().map(|p| json!({"to": text(p.to), "ran": text(p.ran)})).collect::<Vec<_>>(),
            "round": self.round.as_ref().map(|round| json!({
                "now": round.now.to_string(),
                "left": round.left,
                "window": round.window.map(|w| json!({"from": w.from.to_string(), "to": w.to.to_string()})),
                "last_id": round.last_id,
            })),
        })
    }
}

fn read_round(round: &Json) -> Result<Round, BadCursor> {
    let left = round["left"].as_array().ok_or(BadCursor)?;
    let left = left
        .iter()
        .map(|n| n.as_u64().and_then(|n| usize::try_from(n).ok()).ok_or(BadCursor))
        .collect::<Result<_, _>>()?;
    let window = match &round["window"] {
        Json::Null => None,
        window => Some(Window {
            from: moment(&window["from"])?.ok_or(BadCursor)?,
            to: moment(&window["to"])?.ok_or(BadCursor)?,
        }),
    };
    Ok(Round {
        now: moment(&round["now"])?.ok_or(BadCursor)?,
        left,
        window,
        last_id: round["last_id"].as_str().map(str::to_owned),
    })
}

fn moment(value: &Json) -> Result<Option<Timestamp>, BadCursor> {
    match value {
        Json::Null => Ok(None),
        Json::String(text) => text.parse().map(Some).map_err(|_| BadCursor),
        _ => Err(BadCursor),
    }
}

#[cfg(test)]
#[path = "window_tests.rs"]
mod tests;
