//! Laws of reading by windows, against a model of a system whose rows move and whose index lags.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn at(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(1_800_000_000_000 + ms).unwrap()
}

fn plan(lag_ms: u64, authoritative_ms: u64, every_ms: u64, max_window_ms: u64, precision_ms: u64) -> Plan {
    Plan {
        passes: vec![
            Pass {
                mode: Mode::BestEffort,
                lag_ms,
                every_ms: 0,
            },
            Pass {
                mode: Mode::Authoritative,
                lag_ms: authoritative_ms,
                every_ms,
            },
        ],
        max_window_ms,
        precision_ms,
    }
}

/// A row: its state is its number of changes; `visible` is when the index shows that state.
#[derive(Clone, Debug)]
struct Row {
    modified: Timestamp,
    visible: Timestamp,
    state: u32,
    /// What the index shows until `visible`.
    before: Option<(Timestamp, u32)>,
}

#[derive(Default)]
struct Model {
    rows: BTreeMap<u32, Row>,
}

impl Model {
    fn change(&mut self, id: u32, now: Timestamp, delay_ms: u64, precision_ms: u64) {
        let modified = floor(now, precision_ms);
        let visible = later(now, delay_ms);
        let old = self.rows.get(&id);
        let before = old.and_then(|r| {
            if r.visible <= now {
                Some((r.modified, r.state))
            } else {
                r.before
            }
        });
        let state = old.map_or(1, |r| r.state + 1);
        self.rows.insert(
            id,
            Row {
                modified,
                visible,
                state,
                before,
            },
        );
    }

    fn page(&self, next: &Next, now: Timestamp, limit: usize) -> Vec<(u32, u32)> {
        let last = next.last_id.as_ref().map_or(0, |id| id.parse().unwrap());
        self.rows
            .range(last + 1..)
            .filter_map(|(id, row)| {
                let (modified, state) = if row.visible <= now {
                    Some((row.modified, row.state))
                } else {
                    row.before
                }?;
                (modified >= next.window.from && modified < next.window.to).then_some((*id, state))
            })
            .take(limit)
            .collect()
    }
}

/// Reads one page, storing the cursor in between as a process that restarts after every page would. `ours` is the present
/// by our clock, `now` by the system's.
fn step(
    plan: &Plan,
    stored: &mut Option<Json>,
    model: &Model,
    (ours, now): (Timestamp, Timestamp),
    seen: &mut BTreeMap<u32, u32>,
) -> bool {
    let mut cursor = Cursor::read(stored.as_ref()).unwrap();
    let more = match plan.next(&mut cursor, ours) {
        None => false,
        Some(next) => {
            let page = model.page(&next, now, 2);
            for (id, state) in &page {
                let newest = seen.entry(*id).or_default();
                *newest = (*newest).max(*state);
            }
            let last = page.last().map(|(id, _)| id.to_string());
            let told_at = floor(now, 1_000);
            match Plan::ahead_ms(&cursor, told_at) {
                Some(_) => plan.begin_again(&mut cursor, told_at),
                None => plan.advance(&mut cursor, last, page.len() < 2),
            }
            Plan::more(&cursor)
        }
    };
    *stored = Some(cursor.write());
    more
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn no_change_is_lost_and_every_round_ends(
        changes in prop::collection::vec((0u64..400, 1u32..9, 0u64..900), 1..80),
        lag_ms in 0u64..200,
        every_ms in 0u64..2_000,
        max_window_ms in 50u64..5_000,
        precision_ms in prop::sample::select(vec![1u64, 10, 100]),
    ) {
        let plan = plan(lag_ms, 1_000, every_ms, max_window_ms, precision_ms);
        let (mut model, mut stored, mut seen) = (Model::default(), None, BTreeMap::new());
        let mut now = at(0);
        // Rows move between any two pages, with ties on the time of change and an index that lags up to the
        // authoritative pass.
        for (wait, id, delay) in changes {
            now = later(now, wait);
            model.change(id, now, delay, precision_ms);
            step(&plan, &mut stored, &model, (now, now), &mut seen);
        }
        // Then nothing moves: a few rounds, each of which must end.
        for _ in 0..6 {
            now = later(now, 1_000 + every_ms);
            let mut pages = 0;
            while step(&plan, &mut stored, &model, (now, now), &mut seen) {
                pages += 1;
                prop_assert!(pages < 2_000, "a round does not end");
            }
        }
        for (id, row) in &model.rows {
            prop_assert_eq!(seen.get(id), Some(&row.state), "row {}", id);
        }
    }

    #[test]
    fn a_clock_that_is_ahead_loses_nothing(
        changes in prop::collection::vec((0u64..9_000, 1u32..9, 0u64..900, 0u64..400, 0u32..4), 1..80),
        every_ms in 0u64..2_000,
        max_window_ms in 50u64..50_000,
    ) {
        let plan = plan(200, AHEAD_FREE_MS + 2_000, every_ms, max_window_ms, 100);
        let (mut model, mut stored, mut seen) = (Model::default(), None, BTreeMap::new());
        let mut now = at(0);
        let mut ours = now;
        for (wait, id, delay, ahead, scale) in changes {
            now = later(now, wait);
            model.change(id, now, delay, 100);
            // By up to 400 milliseconds, 40 seconds, or weeks.
            ours = later(now, ahead * 100u64.pow(scale));
            step(&plan, &mut stored, &model, (ours, now), &mut seen);
        }
        let ahead_ms = crate::clock::between(now, ours);
        // Both passes through all that time, and as many pages of rows.
        let pages_max = 4 * between(at(0), now) / max_window_ms.max(100) + 1_000;
        for _ in 0..12 {
            now = later(now, 1_000 + every_ms);
            let mut pages = 0;
            while step(&plan, &mut stored, &model, (later(now, ahead_ms), now), &mut seen) {
                pages += 1;
                prop_assert!(pages < pages_max, "a round does not end");
            }
        }
        for (id, row) in &model.rows {
            prop_assert_eq!(seen.get(id), Some(&row.state), "row {}", id);
        }
    }

    #[test]
    fn a_round_ends_although_every_row_moves_all_the_time(max_window_ms in 100u64..2_000) {
        let plan = plan(0, 500, 0, max_window_ms, 1);
        let (mut model, mut stored, mut seen) = (Model::default(), None, BTreeMap::new());
        let mut now = at(0);
        (1..9).for_each(|id| model.change(id, now, 0, 1));
        now = later(now, 10_000);
        let mut pages = 0;
        while step(&plan, &mut stored, &model, (now, now), &mut seen) {
            pages += 1;
            prop_assert!(pages < 1_000, "a round does not end");
            now = later(now, 7);
            (1..9).for_each(|id| model.change(id, now, 0, 1));
        }
    }
}

#[test]
fn the_first_reading_is_one_window_and_not_read_twice() {
    let plan = plan(15_000, 3_600_000, 600_000, 3_600_000, 1);
    let mut cursor = Cursor::default();
    let now = at(0);
    let first = plan.next(&mut cursor, now).unwrap();
    assert_eq!(first.window.from, Timestamp::UNIX_EPOCH);
    assert_eq!(first.window.to, earlier(now, 3_600_000));
    plan.advance(&mut cursor, None, true);
    let second = plan.next(&mut cursor, now).unwrap();
    assert_eq!(
        (second.window.from, second.window.to),
        (first.window.to, earlier(now, 15_000))
    );
    plan.advance(&mut cursor, None, true);
    assert_eq!(plan.next(&mut cursor, now), None);
}

#[test]
fn a_call_after_a_finished_round_reads_at_once() {
    let plan = plan(0, 1_000, 0, 3_600_000, 1);
    let mut cursor = Cursor::default();
    while plan.next(&mut cursor, at(0)).is_some() {
        plan.advance(&mut cursor, None, true);
        if !Plan::more(&cursor) {
            break;
        }
    }
    let stored = cursor.write();
    assert_eq!(stored["round"], Json::Null, "{stored}");
    let next = plan
        .next(&mut Cursor::read(Some(&stored)).unwrap(), at(5))
        .unwrap();
    assert_eq!((next.window.from, next.window.to), (at(0), at(5)));
}

#[test]
fn the_authoritative_pass_waits_for_its_turn() {
    let plan = plan(0, 1_000, 60_000, 3_600_000, 1);
    let mut cursor = Cursor::default();
    let read = |cursor: &mut Cursor, now| {
        let mut windows = 0;
        while plan.next(cursor, now).is_some() {
            plan.advance(cursor, None, true);
            windows += 1;
        }
        windows
    };
    assert_eq!(read(&mut cursor, at(0)), 2);
    assert_eq!(read(&mut cursor, at(10_000)), 1, "only the fast pass is due");
    assert_eq!(read(&mut cursor, at(70_000)), 2);
    assert_eq!(read(&mut cursor, at(70_000)), 0, "nothing happened since");
}

#[test]
fn a_halved_window_skips_nothing() {
    let plan = plan(0, 0, 0, u64::MAX, 1_000);
    let mut cursor = Cursor::default();
    let whole = plan.next(&mut cursor, at(0)).unwrap().window;
    assert!(plan.halve(&mut cursor));
    let half = plan.next(&mut cursor, at(0)).unwrap().window;
    assert!(half.from == whole.from && half.to < whole.to);
    plan.advance(&mut cursor, None, true);
    assert_eq!(plan.next(&mut cursor, at(0)).unwrap().window.from, half.to);
    while plan.halve(&mut cursor) {}
    let least = plan.next(&mut cursor, at(0)).unwrap().window;
    assert_eq!(crate::clock::between(least.from, least.to), 1_000);
}

#[test]
fn cursors_are_stored_exactly_and_foreign_ones_refused() {
    let plan = plan(0, 1_000, 0, 3_600_000, 1);
    let mut cursor = Cursor::default();
    plan.next(&mut cursor, at(0));
    plan.advance(&mut cursor, Some("006A".to_owned()), false);
    assert_eq!(Cursor::read(Some(&cursor.write())).unwrap(), cursor);
    for foreign in [
        json!({}),
        json!({"v": 2}),
        json!({"v": 1}),
        json!("x"),
        json!({"v": 1, "passes": [{"to": 5}]}),
    ] {
        assert!(Cursor::read(Some(&foreign)).is_err(), "{foreign}");
    }
}
