//! Transitions: a field that cannot be written, only moved by calls along the system's own graph.

use std::collections::{BTreeMap, VecDeque};

use serde_json::Value as Json;

use crate::call::Repeat;
use crate::connection::{Connection, Outcome};
use crate::failure::{Failure, RecordClass, RecordError};
use crate::manifest::Transitions;
use crate::outcome::Outcomes;
use crate::write::{Item, Work};
use crate::{associate, codec};

/// The shortest way from where an object stands to where it shall be; the numbers of the moves.
/// A new object stands at the initial state.
pub(crate) fn path(
    transitions: &Transitions,
    row: Option<&Json>,
    wanted: &Json,
) -> Result<Vec<usize>, RecordError> {
    let at = |row: &Json| row[transitions.field.as_str()].as_str().map(str::to_owned);
    let from = row
        .map_or_else(|| Some(transitions.initial.clone()), at)
        .unwrap_or_default();
    let Some(wanted) = wanted.as_str() else {
        let message = format!(
            "`{}` is {wanted}, expected one of: {}",
            transitions.field,
            states(transitions)
        );
        return Err(unreachable(transitions, message));
    };
    if wanted == from {
        return Ok(Vec::new());
    }
    let mut ways: BTreeMap<&str, Vec<usize>> = BTreeMap::from([(from.as_str(), Vec::new())]);
    let mut open = VecDeque::from([from.as_str()]);
    while let Some(here) = open.pop_front() {
        for (number, to) in transitions.moves.iter().enumerate() {
            if !to.from.iter().any(|f| f == here) || ways.contains_key(to.to.as_str()) {
                continue;
            }
            let mut way = ways.get(here).cloned().unwrap_or_default();
            way.push(number);
            if to.to == wanted {
                return Ok(way);
            }
            ways.insert(&to.to, way);
            open.push_back(&to.to);
        }
    }
    let reachable: Vec<&str> = ways.keys().copied().filter(|state| *state != from).collect();
    let message = match reachable.is_empty() {
        true => format!("an object that is `{from}` stays so, it cannot become `{wanted}`"),
        false => format!(
            "an object that is `{from}` cannot become `{wanted}`, only: {}",
            reachable.join(", ")
        ),
    };
    Err(unreachable(transitions, message))
}

fn states(transitions: &Transitions) -> String {
    let mut states: Vec<&str> = transitions.moves.iter().map(|m| m.to.as_str()).collect();
    states.push(&transitions.initial);
    states.sort_unstable();
    states.dedup();
    states.join(", ")
}

fn unreachable(transitions: &Transitions, message: String) -> RecordError {
    let mut error = RecordError::new(RecordClass::Unreachable, "unreachable", message);
    error.fields.push(transitions.field.clone());
    error
}

impl Connection {
    /// Makes the moves of the items that were written, and puts back what the moves changed on their own.
    pub(crate) async fn moves(
        &self,
        work: &Work<'_>,
        items: &mut [Item],
        outcomes: &mut Outcomes,
    ) -> Result<(), Failure> {
        let Some(transitions) = &work.write.transitions else {
            return Ok(());
        };
        let mut moved = Vec::new();
        loop {
            // Items that make the same move next share its calls.
            let mut by_move: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
            for (at, item) in items.iter().enumerate() {
                if let (Some(Outcome::Written { .. }), Some(next)) = (&outcomes[at], item.path.first()) {
                    by_move.entry(*next).or_default().push(at);
                }
            }
            if by_move.is_empty() {
                break;
            }
            for (number, ats) in by_move {
                self.one_move(work, transitions, number, &ats, outcomes).await?;
                for at in ats {
                    items[at].path.remove(0);
                    moved.push(at);
                }
            }
        }
        self.put_back(work, transitions, moved, items, outcomes).await
    }

    async fn one_move(
        &self,
        work: &Work<'_>,
        transitions: &Transitions,
        number: usize,
        ats: &[usize],
        outcomes: &mut Outcomes,
    ) -> Result<(), Failure> {
        let to = &transitions.moves[number];
        let mut open: Vec<&[usize]> = ats.chunks(work.write.batch).rev().collect();
        open.retain(|_| !self.rehearses(&to.request));
        while let Some(chunk) = open.pop() {
            let ids: Vec<String> = chunk.iter().filter_map(|at| id_of(&outcomes[*at])).collect();
            let names = work.names.clone().with("ids", ids);
            match self.caller.call(&to.request, names, Repeat::Unsafe).await {
                Ok(_) => {}
                Err(failure) if failure.is_unheard() => {
                    chunk.iter().for_each(|at| outcomes[*at] = Some(Outcome::Unknown));
                    return Err(failure);
                }
                Err(mut failure) if !failure.class.concerns_records() => {
                    // The objects are written, only not moved.
                    failure.ambiguous = true;
                    chunk
                        .iter()
                        .for_each(|at| outcomes[*at] = Some(Outcome::NotSent(failure.clone())));
                    return Err(failure);
                }
                Err(_) if chunk.len() > 1 => {
                    let (left, right) = chunk.split_at(chunk.len() / 2);
                    open.extend([right, left]);
                }
                Err(failure) => {
                    let message = format!("it could not become `{}`: {}", to.to, failure.detail);
                    let refuse =
                        |at: &usize| associate::refuse(outcomes, *at, failure.class.name(), &message);
                    chunk.iter().for_each(refuse);
                }
            }
        }
        Ok(())
    }

    async fn put_back(
        &self,
        work: &Work<'_>,
        transitions: &Transitions,
        mut moved: Vec<usize>,
        items: &mut [Item],
        outcomes: &mut Outcomes,
    ) -> Result<(), Failure> {
        moved.sort_unstable();
        moved.dedup();
        moved.retain(|at| matches!(outcomes[*at], Some(Outcome::Written { .. })));
        if moved.is_empty() || transitions.keep.is_empty() {
            return Ok(());
        }
        let rpc = self.caller.manifest().rpc.as_ref();
        let class_key = rpc.and_then(|rpc| rpc.class_key.as_deref());
        for at in &moved {
            let item = &mut items[*at];
            item.id = id_of(&outcomes[*at]);
            let mut wire = serde_json::Map::new();
            for field in &transitions.keep {
                let before = item.row.as_ref().map_or(&Json::Null, |row| &row[field.as_str()]);
                let value = match (item.wire.get(field), work.kind.types.get(field), class_key) {
                    (Some(wanted), _, _) => wanted.clone(),
                    (None, Some(kind), Some(key)) => codec::encode(before, *kind, key).unwrap_or_default(),
                    (None, _, _) => before.clone(),
                };
                wire.insert(field.clone(), value);
            }
            item.wire = wire;
        }
        let before: Vec<Option<Outcome>> = moved.iter().map(|at| outcomes[*at].clone()).collect();
        self.step(work, &work.write.update, Repeat::Safe, &moved, items, outcomes)
            .await?;
        for (at, before) in moved.iter().zip(before) {
            // Still the outcome of the write as a whole: created stays created.
            if matches!(outcomes[*at], Some(Outcome::Written { .. })) {
                outcomes[*at] = before;
            }
        }
        Ok(())
    }
}

fn id_of(outcome: &Option<Outcome>) -> Option<String> {
    match outcome {
        Some(Outcome::Written { id, .. }) => Some(id.clone()),
        _ => None,
    }
}
