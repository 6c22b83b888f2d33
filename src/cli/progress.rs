//! Progress of long work: a bar at a terminal, plain lines elsewhere.
//!
//! Work is done in *steps*. A step says what it does and how much it has done; where it is known how much there is to
//! do, that too, with a forecast; it may become known while the step is done. Totals are never guessed.
//! Work that is done within [`LINE_EVERY`] leaves no line.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::Out;

/// How often a plain line is written where nobody watches.
const LINE_EVERY: Duration = Duration::from_secs(10);
/// How often work in the background is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How often the terminal is drawn.
const TICK_EVERY: Duration = Duration::from_millis(120);
/// From when on a step has a rate worth telling.
const RATE_AFTER: Duration = Duration::from_secs(1);

/// What is being done, and how far it is.
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    step: Step,
    lines: Lines,
    began: Instant,
}

impl Progress {
    /// Begins.
    pub(crate) fn begin() -> Progress {
        let bar = Out::watched().then(ProgressBar::new_spinner);
        if let Some(bar) = &bar {
            bar.enable_steady_tick(TICK_EVERY);
        }
        let began = Instant::now();
        Progress {
            bar,
            step: Step::new(String::new(), None, began),
            lines: Lines::new(began),
            began,
        }
    }

    /// Begins a step, with its total where that is known.
    pub(crate) fn step(&mut self, what: impl Into<String>, total: Option<u64>) {
        self.step = Step::new(what.into(), total, Instant::now());
        self.style();
        self.at(0);
    }

    fn style(&self) {
        let template = match self.step.total {
            Some(_) => "{spinner} {bar:24} {wide_msg}",
            None => "{spinner} {wide_msg} {elapsed}",
        };
        if let (Some(bar), Ok(style)) = (&self.bar, ProgressStyle::with_template(template)) {
            bar.set_style(style);
        }
    }

    /// Says how much of the step is done.
    pub(crate) fn at(&mut self, done: u64) {
        let now = Instant::now();
        self.step.done = done;
        if let Some(bar) = &self.bar {
            bar.set_length(self.step.total.unwrap_or(done).max(done));
            bar.set_position(done);
            bar.set_message(self.step.text(now));
        } else if self.lines.is_due(now) {
            Out::new(false).note(&self.step.text(now));
        }
    }

    /// Does work, and looks every so often how much of the step is done.
    pub(crate) async fn during<T, F: Into<Far>>(
        &mut self,
        work: impl Future<Output = T>,
        far: impl Fn() -> F,
    ) -> T {
        let mut work = std::pin::pin!(work);
        let mut looks = tokio::time::interval(LOOK_EVERY);
        loop {
            tokio::select! {
                result = &mut work => {
                    self.come(far().into());
                    return result;
                }
                _ = looks.tick() => self.come(far().into()),
            }
        }
    }

    fn come(&mut self, far: Far) {
        if far.of.is_some() && self.step.total != far.of {
            self.step.total = far.of;
            self.style();
        }
        self.at(far.done);
    }

    /// Ends: the bar leaves nothing behind, lines end with one that says so.
    pub(crate) fn end(self) {
        let now = Instant::now();
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        } else if self.lines.written {
            let took = span(now.duration_since(self.began));
            Out::new(false).note(&format!("{}; ended after {took}", self.step.text(now)));
        }
    }
}

/// How far a step has come.
#[derive(Clone, Copy)]
pub(crate) struct Far {
    /// What is done.
    pub(crate) done: u64,
    /// What there is to do, where that has become known since the step began.
    pub(crate) of: Option<u64>,
}

impl From<u64> for Far {
    fn from(done: u64) -> Far {
        Far { done, of: None }
    }
}

/// One step.
struct Step {
    what: String,
    total: Option<u64>,
    done: u64,
    began: Instant,
}

impl Step {
    fn new(what: String, total: Option<u64>, began: Instant) -> Step {
        Step {
            what,
            total,
            done: 0,
            began,
        }
    }

    /// What is done, how much of how much, how fast, and how long it still takes at that rate.
    fn text(&self, now: Instant) -> String {
        let Step { what, done, .. } = self;
        let mut text = match self.total {
            Some(total) => format!("{what}: {done}/{}", total.max(*done)),
            None if *done == 0 => return what.clone(),
            None => format!("{what}: {done}"),
        };
        let took = now.duration_since(self.began);
        if *done > 0 && took >= RATE_AFTER {
            let each = took.as_secs_f64() / *done as f64;
            text.push_str(&format!(", {:.1}/s", 1.0 / each));
            let left = self.total.map_or(0, |total| total.saturating_sub(*done));
            if left > 0 {
                let left = Duration::try_from_secs_f64(each * left as f64).unwrap_or(Duration::MAX);
                text.push_str(&format!(", about {} left", span(left)));
            }
        }
        text
    }
}

/// Plain lines, not too many.
struct Lines {
    last: Instant,
    written: bool,
}

impl Lines {
    fn new(began: Instant) -> Lines {
        Lines {
            last: began,
            written: false,
        }
    }

    /// Whether a line is due; it counts as written then.
    fn is_due(&mut self, now: Instant) -> bool {
        let due = now.duration_since(self.last) >= LINE_EVERY;
        if due {
            self.last = now;
            self.written = true;
        }
        due
    }
}

/// A span of time in its largest fitting unit.
pub(crate) fn span(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7_200 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3_600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_tells_what_it_knows_and_no_more() {
        let began = Instant::now();
        let told = |total, done, seconds| {
            let step = Step {
                done,
                ..Step::new("writing deals".to_owned(), total, began)
            };
            step.text(began + Duration::from_secs(seconds))
        };
        for (text, total, done, seconds) in [
            ("writing deals", None, 0, 5),
            ("writing deals: 30", None, 30, 0),
            ("writing deals: 30, 6.0/s", None, 30, 5),
            ("writing deals: 0/90", Some(90), 0, 5),
            ("writing deals: 30/90, 6.0/s, about 10 s left", Some(90), 30, 5),
            ("writing deals: 1/90, 0.1/s, about 14 min left", Some(90), 1, 10),
            ("writing deals: 90/90, 18.0/s", Some(90), 90, 5),
            ("writing deals: 95/95, 19.0/s", Some(90), 95, 5),
        ] {
            assert_eq!(told(total, done, seconds), text);
        }
    }

    #[test]
    fn a_line_is_written_every_ten_seconds_and_none_of_short_work() {
        let began = Instant::now();
        let mut lines = Lines::new(began);
        let written: Vec<u64> = (0..35)
            .filter(|second| lines.is_due(began + Duration::from_secs(*second)))
            .collect();
        assert_eq!(written, [10, 20, 30]);
        let mut short = Lines::new(began);
        assert!(!short.is_due(began + Duration::from_secs(9)) && !short.written);
    }

    #[tokio::test]
    async fn work_in_the_background_is_counted_to_its_end() {
        let mut progress = Progress::begin();
        progress.step("counting", Some(3));
        assert_eq!(progress.during(async { "done" }, || 3_u64).await, "done");
        assert_eq!(progress.step.done, 3);
    }
}
