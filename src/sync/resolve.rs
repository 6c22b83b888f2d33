//! A person decides a conflict.
//!
//! What is decided is a change of the record like any other, said by a person: it has its version, its row in the history
//! and its event, and every system that has something else is owed it. What was last seen at the systems stays their base,
//! so that neither the next pull undoes the decision nor the push of it comes back as a change.
//! A decision is about what the person saw: if either side has moved on since, nothing is written.
//! A record that was deleted somewhere is decided about like any other: those that keep it come to agree, and it is made
//! nowhere anew.

use std::sync::Arc;

use ledger::{
    Action, Change, Conflict, ConflictFilter, ConflictState, LedgerError, Link, PushMark, RecordWrite, Run,
    SyncCommit,
};
use model::merge::{Reason, Winner};
use model::normalise::{normalise, written};
use model::{ActionId, BY_HAND, ConflictId, Field, Provenance, Record, RunId, Value, stored, uuid_from};
use serde_json::{Value as Json, json};

use crate::Engine;
use crate::engine::STALE_TRIES_MAX;

/// Characters that the name of a person may have.
pub const BY_CHARS_MAX: usize = 100;

/// Which value is to be taken.
#[derive(Clone, Debug, PartialEq)]
pub enum Take {
    /// What the record has.
    Ours,
    /// What the system that differs has.
    Theirs,
    /// What this connection was last seen to have.
    Of(String),
    /// This one, in stored JSON form.
    Value(Json),
}

/// What a person decided.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// About which conflict.
    pub conflict: ConflictId,
    /// What they took.
    pub take: Take,
    /// Who they are; 1 to [`BY_CHARS_MAX`] characters.
    pub by: String,
    /// The revision of the conflict that they saw; the present one when nothing is said.
    pub revision: Option<u64>,
}

/// A conflict that was decided, and what that makes worth looking at.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// The conflict as it is now.
    pub conflict: Conflict,
    /// The version of the record that has the decision.
    pub version: u64,
    /// Connections and objects that are owed it.
    pub owed: Vec<(String, String)>,
    /// Endpoints that hear of it.
    pub endpoints: Vec<String>,
}

/// Why a decision was not taken. Nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum Unresolved {
    /// There is none with this id.
    #[error("there is no conflict {0}; list them with `interconnect conflict list`")]
    Unknown(ConflictId),
    /// Nobody waits for a decision any more.
    #[error("{id} is closed already: {how}")]
    Closed {
        /// The conflict.
        id: ConflictId,
        /// How it was closed.
        how: String,
    },
    /// A side has another value than the person saw.
    #[error(
        "{id} has moved on: {what}; look at it again with `interconnect conflict show {id}` and decide anew"
    )]
    MovedOn {
        /// The conflict.
        id: ConflictId,
        /// What is different.
        what: String,
    },
    /// The value cannot be taken.
    #[error("{id} cannot be decided so: {why}")]
    Unfit {
        /// The conflict.
        id: ConflictId,
        /// Why, and what could be.
        why: String,
    },
    /// The ledger did not take it.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// All that a decision is about, as it was read.
struct Case {
    conflict: Conflict,
    field: &'static Field,
    record: Record,
    links: Vec<Link>,
    /// Other conflicts that wait about the same field of the record.
    others: Vec<Conflict>,
}

impl Engine {
    /// A run of decisions, to be given to [`Engine::resolve`] and ended by [`Engine::note_resolved`].
    pub fn begin_resolving(&self) -> RunId {
        self.new_run()
    }

    /// Writes down the run of decisions that were taken; one that took none leaves no row.
    pub async fn note_resolved(&self, run: RunId, resolved: u64) -> Result<(), LedgerError> {
        if resolved == 0 {
            return Ok(());
        }
        let now = self.world.now();
        let run = Run {
            id: run,
            connection: BY_HAND.to_owned(),
            object: "conflicts".to_owned(),
            direction: "resolve".to_owned(),
            started_at: now,
            ended_at: Some(now),
            counts: json!({"resolved": resolved}),
            error: String::new(),
        };
        self.ledger.note_run(&run).await
    }

    /// Takes a decision, in one transaction.
    pub async fn resolve(&self, decision: &Decision, run: RunId) -> Result<Resolved, Unresolved> {
        let mut seen = decision.revision;
        for _ in 0..STALE_TRIES_MAX {
            let case = self.case(decision.conflict, seen).await?;
            seen = Some(case.conflict.revision);
            let (commit, resolved) = self.decided(decision, case, run)?;
            match self.ledger.commit(commit).await {
                // Another field of the record may have changed: what the decision is about is looked at again.
                Err(LedgerError::Stale(_)) => {}
                Err(error) => return Err(error.into()),
                Ok(()) => return Ok(resolved),
            }
        }
        Err(LedgerError::Stale(Vec::new()).into())
    }

    /// Whether a decision would be taken as things stand. Writes nothing.
    pub async fn may_resolve(&self, decision: &Decision, run: RunId) -> Result<(), Unresolved> {
        let case = self.case(decision.conflict, decision.revision).await?;
        self.decided(decision, case, run).map(drop)
    }

    /// All that a decision is about, if it is what a person saw at a revision.
    async fn case(&self, id: ConflictId, seen: Option<u64>) -> Result<Case, Unresolved> {
        let filter = ConflictFilter {
            ids: vec![id],
            ..ConflictFilter::default()
        };
        let found = self.ledger.list_conflicts(&filter, None, 1).await?;
        let conflict = found.into_iter().next().ok_or(Unresolved::Unknown(id))?;
        if !conflict.is_open() {
            let who = match conflict.closed_by.as_str() {
                "" => String::new(),
                by => format!(" by {by}"),
            };
            let how = format!("{}{who}, {} was kept", conflict.state.word(), conflict.kept);
            return Err(Unresolved::Closed { id, how });
        }
        if seen.is_some_and(|seen| seen != conflict.revision) {
            let Conflict {
                revision,
                ours,
                theirs,
                ..
            } = conflict;
            return Err(Unresolved::MovedOn {
                id,
                what: format!("it is at revision {revision}, ours is {ours} and theirs {theirs} now"),
            });
        }
        let unfit = |why: String| Unresolved::Unfit { id, why };
        let field = conflict.record.kind.field(&conflict.path);
        let field = field.ok_or_else(|| unfit(format!("`{}` is no field any more", conflict.path)))?;
        let record = self.ledger.records(&[conflict.record]).await?.into_iter().next();
        let record = record.ok_or_else(|| unfit(format!("{} is not known any more", conflict.record)))?;
        if let Some(into) = record.merged_into {
            return Err(unfit(format!(
                "{} became one with {into}: decide about that one",
                record.id
            )));
        }
        let moved = |what: String| Unresolved::MovedOn { id, what };
        let ours = record.fields.get(field.path).map_or(Json::Null, stored::to_json);
        if ours != conflict.ours {
            return Err(moved(format!("ours is {ours} now, not {}", conflict.ours)));
        }
        let links = self.ledger.links(&[record.id]).await?;
        let there = links.iter().find(|link| {
            !link.gone && link.connection == conflict.connection && link.object == conflict.object
        });
        if let Some(value) = there.and_then(|link| link.base.as_ref()?.get(field.path))
            && stored::to_json(value) != conflict.theirs
        {
            let value = stored::to_json(value);
            return Err(moved(format!(
                "{} has {value} now, not {}",
                conflict.connection, conflict.theirs
            )));
        }
        let mut others = self.ledger.open_conflicts(&[record.id]).await?;
        others.retain(|other| other.path == conflict.path && other.id != conflict.id);
        Ok(Case {
            conflict,
            field,
            record,
            links,
            others,
        })
    }

    /// What a decision comes to.
    fn decided(
        &self,
        decision: &Decision,
        case: Case,
        run: RunId,
    ) -> Result<(SyncCommit, Resolved), Unresolved> {
        let now = self.world.now();
        let value = case.value(&decision.take)?;
        let unfit = |why: String| Unresolved::Unfit {
            id: decision.conflict,
            why,
        };
        if decision.by.trim().is_empty() || decision.by.chars().count() > BY_CHARS_MAX {
            return Err(unfit(format!(
                "say who decides, in 1 to {BY_CHARS_MAX} characters"
            )));
        }
        let Case {
            conflict,
            field,
            mut record,
            links,
            others,
        } = case;
        if field.required && value.is_blank() {
            return Err(unfit(format!("a {} needs `{}`", record.kind(), field.path)));
        }
        let (kept, path) = (stored::to_json(&value), field.path);
        let before = record.fields.get(path).cloned();
        let changed = before.as_ref() != Some(&value);
        let read_version = record.version;
        record.fields.set(path, value.clone());
        record.provenance.insert(
            path,
            Arc::new(Provenance {
                connection: BY_HAND.to_owned(),
                external_id: decision.by.clone(),
                changed_at: now,
                observed_at: now,
            }),
        );
        record.version += 1;
        record.updated_at = now;
        let winner = match &kept {
            kept if *kept == conflict.ours => Winner::Ours,
            kept if *kept == conflict.theirs => Winner::Theirs,
            _ => Winner::Neither,
        };
        let closed = Conflict {
            kept: kept.clone(),
            winner: winner.word().to_owned(),
            state: ConflictState::Resolved,
            closed_at: Some(now),
            closed_by: decision.by.clone(),
            ..conflict.clone()
        };
        let mut conflicts = vec![closed.clone()];
        if changed {
            conflicts.extend(others.into_iter().map(|other| {
                let agreed = other.theirs == kept;
                Conflict {
                    ours: kept.clone(),
                    kept: kept.clone(),
                    ours_by: BY_HAND.to_owned(),
                    revision: other.revision + 1,
                    state: if agreed {
                        ConflictState::Agreed
                    } else {
                        other.state
                    },
                    winner: if agreed {
                        Winner::Both.word().to_owned()
                    } else {
                        other.winner
                    },
                    closed_at: agreed.then_some(now),
                    ..other
                }
            }));
        }
        let trace = self.new_trace();
        let change = model::merge::Change {
            path,
            before,
            after: value.clone(),
            reason: Reason::ByHand,
        };
        let events: Vec<_> = changed
            .then(|| self.announce(&record, std::slice::from_ref(&change), trace.as_str().into(), now))
            .into_iter()
            .collect();
        let endpoints = events
            .iter()
            .flat_map(|event| &event.deliveries)
            .map(|delivery| delivery.endpoint.clone());
        let endpoints = endpoints.collect();
        let owed = self.differing(&record, path, &value, &links);
        let marks = owed.iter().map(|(connection, object)| PushMark {
            connection: connection.clone(),
            object: object.clone(),
            record: record.id,
            due_at: now,
        });
        let history = Change {
            version: record.version,
            path: path.to_owned(),
            before: change.before.as_ref().map_or(Json::Null, stored::to_json),
            after: kept,
            reason: change.reason.word().to_owned(),
            connection: BY_HAND.to_owned(),
            external_id: decision.by.clone(),
            changed_at: now,
            committed_at: now,
            run,
            trace: trace.clone(),
        };
        let action = Action {
            id: ActionId::from_uuid(uuid_from(now, self.world.random())),
            at: now,
            by: decision.by.clone(),
            verb: "resolve".to_owned(),
            records: vec![record.id],
            detail: json!({"conflict": closed.id.to_string(), "field": path, "kept": closed.kept}),
            undoes: None,
            undone_by: None,
        };
        let commit = SyncCommit {
            marks: marks.collect(),
            conflicts,
            events,
            action: Some(action),
            records: vec![RecordWrite {
                changes: vec![history],
                match_keys: self.plan.rules.match_keys(record.kind(), &record.fields),
                read_version,
                record: record.clone(),
            }],
            ..SyncCommit::default()
        };
        let resolved = Resolved {
            conflict: closed,
            version: record.version,
            owed,
            endpoints,
        };
        Ok((commit, resolved))
    }

    /// Where a record has another value, as far as is known.
    fn differing(&self, record: &Record, path: &str, value: &Value, links: &[Link]) -> Vec<(String, String)> {
        let owed = self.plan.owed(record.kind()).filter(|sync| {
            let mut here = links
                .iter()
                .filter(|link| link.connection == sync.connection && link.object == sync.object());
            match here.next() {
                Some(link) => !link.gone && link.base.as_ref().and_then(|base| base.get(path)) != Some(value),
                None => sync.create && record.deleted_at.is_none(),
            }
        });
        owed.map(|sync| (sync.connection.clone(), sync.object().to_owned()))
            .collect()
    }
}

impl Case {
    /// The value that a person took.
    fn value(&self, take: &Take) -> Result<Value, Unresolved> {
        let json = match take {
            Take::Ours => self.conflict.ours.clone(),
            Take::Theirs => self.conflict.theirs.clone(),
            Take::Of(connection) => self.value_at(connection)?,
            Take::Value(json) => json.clone(),
        };
        let unfit = |why: String| Unresolved::Unfit {
            id: self.conflict.id,
            why,
        };
        let value = stored::from_json(self.field.field_type, &json).ok_or_else(|| {
            unfit(format!(
                "{json} is no value of `{}`; a value like {} would be",
                self.field.path, self.conflict.theirs
            ))
        })?;
        // What a person writes is read like what systems write: else no system could ever agree with it.
        match take {
            Take::Value(_) => {
                let read = normalise(self.field.field_type, &written(&value), None);
                read.map_err(|invalid| {
                    unfit(format!(
                        "{json} is no value of `{}`: it expects {}",
                        self.field.path, invalid.expected
                    ))
                })
            }
            Take::Ours | Take::Theirs | Take::Of(_) => Ok(value),
        }
    }

    fn value_at(&self, connection: &str) -> Result<Json, Unresolved> {
        if connection == self.conflict.connection {
            return Ok(self.conflict.theirs.clone());
        }
        let links = self.links.iter().filter(|link| !link.gone);
        let values = links.filter_map(|link| {
            let value = link.base.as_ref()?.get(self.field.path)?;
            Some((link.connection.as_str(), stored::to_json(value)))
        });
        let mut values: Vec<(&str, Json)> = values.collect();
        values.sort_by_key(|(at, _)| *at);
        let value = values.iter().find(|(at, _)| *at == connection);
        value.map(|(_, value)| value.clone()).ok_or_else(|| {
            let known: Vec<&str> = values.iter().map(|(at, _)| *at).collect();
            Unresolved::Unfit {
                id: self.conflict.id,
                why: format!(
                    "`{connection}` has no value of `{}` here; take ours, theirs or one of: {}",
                    self.field.path,
                    known.join(", ")
                ),
            }
        })
    }
}
