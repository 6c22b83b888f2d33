//! Writing the references that a system keeps apart, after the objects themselves.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use crate::call::Repeat;
use crate::connection::{Connection, Outcome};
use crate::failure::{Failure, RecordClass, RecordError};
use crate::manifest::{Association, AssociationWrite, Call};
use crate::names::{Names, scalar};
use crate::outcome::Outcomes;
use crate::write::{Item, Work};

/// A reference to write, and the item it belongs to.
struct Pair {
    at: usize,
    from: String,
    to: String,
    preferred: bool,
}

impl Connection {
    /// Writes the references of the items that were written; an item whose reference is refused is refused.
    pub(crate) async fn associate(
        &self,
        work: &Work<'_>,
        items: &[Item],
        outcomes: &mut Outcomes,
    ) -> Result<(), Failure> {
        let mut by_name: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (at, item) in items.iter().enumerate() {
            if matches!(outcomes[at], Some(Outcome::Written { .. })) {
                for name in item.associations.keys() {
                    by_name.entry(name).or_default().push(at);
                }
            }
        }
        for (name, ats) in by_name {
            let association = work.kind.associations.get(name);
            let Some((association, write)) = association.and_then(|a| a.write.as_ref().map(|w| (a, w)))
            else {
                let message = format!("the manifest does not say how to write `associations.{name}`");
                ats.iter()
                    .for_each(|at| refuse(outcomes, *at, "not_writable", &message));
                continue;
            };
            let (mut set, mut empty) = (Vec::new(), Vec::new());
            for at in ats {
                let Some(Outcome::Written { id, .. }) = &outcomes[at] else {
                    continue;
                };
                let wanted = &items[at].associations[name];
                if wanted.is_empty() {
                    empty.push((at, id.clone()));
                }
                set.extend(wanted.iter().enumerate().map(|(number, to)| Pair {
                    at,
                    from: id.clone(),
                    to: to.clone(),
                    preferred: number == 0,
                }));
            }
            self.pairs(work, write, &write.set, &set, outcomes).await?;
            if let Some(clear) = &write.clear {
                let pairs = self.present(association, &work.names, empty).await?;
                self.pairs(work, write, clear, &pairs, outcomes).await?;
            }
        }
        Ok(())
    }

    /// The references that exist where none is wanted.
    async fn present(
        &self,
        association: &Association,
        names: &Names,
        mut empty: Vec<(usize, String)>,
    ) -> Result<Vec<Pair>, Failure> {
        empty.retain(|(_, id)| !self.is_made_up(id));
        if empty.is_empty() {
            return Ok(Vec::new());
        }
        let ids = empty.iter().map(|(_, id)| id.clone()).collect();
        let found = self.associated(association, names, ids).await?;
        Ok(empty
            .iter()
            .flat_map(|(at, from)| {
                let to = found.get(from).map_or(&[][..], Vec::as_slice);
                to.iter().map(|to| Pair {
                    at: *at,
                    from: from.clone(),
                    to: to.clone(),
                    preferred: false,
                })
            })
            .collect())
    }

    async fn pairs(
        &self,
        work: &Work<'_>,
        write: &AssociationWrite,
        call: &Call,
        pairs: &[Pair],
        outcomes: &mut Outcomes,
    ) -> Result<(), Failure> {
        for chunk in pairs.chunks(write.batch) {
            if self.rehearses(call) {
                continue;
            }
            let wire: Vec<Json> = chunk
                .iter()
                .map(|p| json!({"from": p.from, "to": p.to, "preferred": p.preferred}))
                .collect();
            let names = work.names.clone().with("pairs", wire);
            match self.caller.call(call, names.clone(), Repeat::Safe).await {
                Ok(reply) => {
                    let Some(program) = &write.refused else { continue };
                    for refused in program.run(&reply.body, &|name| names.get(name))? {
                        let from = scalar(&refused["from"]);
                        let message = scalar(&refused["message"]).unwrap_or_default();
                        let code = scalar(&refused["code"]).unwrap_or_default();
                        let about = chunk
                            .iter()
                            .filter(|p| from.as_ref().is_none_or(|from| *from == p.from));
                        about.for_each(|p| refuse(outcomes, p.at, &code, &message));
                    }
                }
                Err(failure) if failure.is_unheard() => {
                    chunk.iter().for_each(|p| outcomes[p.at] = Some(Outcome::Unknown));
                    return Err(failure);
                }
                Err(failure) if failure.class.concerns_records() => {
                    let code = failure.class.name();
                    chunk
                        .iter()
                        .for_each(|p| refuse(outcomes, p.at, code, &failure.detail));
                }
                Err(mut failure) => {
                    // The objects are written, their references are not: nothing is agreed on yet.
                    failure.ambiguous = true;
                    let open = pairs
                        .iter()
                        .filter(|p| matches!(outcomes[p.at], Some(Outcome::Written { .. })));
                    let open: Vec<usize> = open.map(|p| p.at).collect();
                    open.iter()
                        .for_each(|at| outcomes[*at] = Some(Outcome::NotSent(failure.clone())));
                    return Err(failure);
                }
            }
        }
        Ok(())
    }
}

/// Refuses an item although its own fields were written.
pub(crate) fn refuse(outcomes: &mut Outcomes, at: usize, code: &str, message: &str) {
    let id = match &outcomes[at] {
        Some(Outcome::Written { id, .. }) => Some(id.clone()),
        _ => None,
    };
    let text = format!("the object itself was written, but {message}");
    let mut error = RecordError::new(RecordClass::Validation, code, text);
    error.existing_id = id;
    error.ambiguous = true;
    outcomes[at] = Some(Outcome::Refused(error));
}
