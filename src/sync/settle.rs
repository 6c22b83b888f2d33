//! Settling: arrivals find their records, are merged, and become one commit.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::Timestamp;
use ledger::{Link, Parked, PushMark, RecordWrite, SyncCommit, WaitsFor};
use mapping::{Context, Forward};
use model::merge::{Echoed, Merged, Policies, Theirs};
use model::{Fields, Kind, Record, RecordId, Value, stored};

use crate::absorb::{Arrival, Place, inbound};
use crate::announce::Cause;
use crate::engine::SyncError;
use crate::meet::{Met, Seeker};
use crate::naming::{base_of, forward};
use crate::parked::{FIELD, MAPPING, UNRESOLVED, about};
use crate::refs::Refs;
use crate::review::{AMBIGUOUS, DUPLICATE, PROBABLE, STANDS};
use crate::waiting::Waiting;
use crate::wire::{get, overlay};
use crate::{Engine, Report, Sync};

/// After how many milliseconds an object that waits for another one is read again, at first; later after as long as it has
/// waited, …
const UNRESOLVED_RETRY_MS: i64 = 2_000;
/// … and at most after so many: what it refers to may be nothing that is ever read here.
const UNRESOLVED_RETRY_MS_MAX: i64 = 3_600_000;
/// After how long an object is read again that waits for a person to make two objects of its system one.
pub(crate) const DUPLICATE_RETRY_MS: i64 = 600_000;
/// Behind the external id of a link whose object has become another kind of record.
pub(crate) const SUPERSEDED: &str = "#superseded";

/// What of an object is ours: where it comes back, nobody says anything by it.
enum Ours {
    /// Values that were written without being heard of, each time in the system's terms.
    Values(Vec<serde_json::Value>),
    /// The whole object, which was made without being heard of, when the record was what its history tells.
    Whole(Vec<ledger::Change>),
    /// What was agreed on with an object that another one stands for.
    Agreed(Fields),
}

impl Engine {
    /// Finds the record of every arrival and merges it.
    #[expect(
        clippy::too_many_arguments,
        reason = "one page's worth of state, used nowhere else"
    )]
    pub(crate) async fn settle(
        &self,
        place: Place<'_>,
        arrivals: Vec<Arrival<'_>>,
        adopt: &BTreeMap<String, RecordId>,
        refs: &mut Refs,
        parked: &BTreeMap<String, Parked>,
        commit: &mut SyncCommit,
        report: &mut Report,
    ) -> Result<(), SyncError> {
        let (ready, waiting): (Vec<_>, Vec<_>) = arrivals
            .into_iter()
            .partition(|arrival| arrival.forward.unresolved.is_empty());
        for arrival in waiting {
            let before = parked
                .get(&arrival.object.id)
                .filter(|parked| parked.code == UNRESOLVED);
            let waited_ms = before.map_or(0, |parked| {
                self.world.now().duration_since(parked.since).as_millis()
            });
            let waited_ms = i64::try_from(waited_ms).unwrap_or(i64::MAX);
            let retry = self.in_ms(waited_ms.clamp(UNRESOLVED_RETRY_MS, UNRESOLVED_RETRY_MS_MAX));
            report.look_again(retry);
            commit.parked.push(self.waits(place, &arrival, retry));
        }
        let mut met = self.meet_all(place, &ready, adopt, parked).await?;
        let known = ready
            .iter()
            .filter_map(|arrival| arrival.known.as_ref())
            .map(|known| &known.record.fields);
        let all = known.chain(ready.iter().map(|arrival| &arrival.forward.fields));
        refs.learn_records(&*self.ledger, place.connection, all).await?;
        let ours = self.ours(place, &ready, &met).await?;
        let mut waiting = self.waiting(&records_of(&ready, &met)).await?;
        let mut named_anew = Vec::new();
        // An object that moved on stands behind itself: the link of its later arrival replaces the earlier one, and the
        // record that it leaves keeps a link that is gone, so that it is not created there again.
        for mut arrival in ready {
            let is_new = arrival.known.is_none();
            let mut made = is_new.then(|| self.carried(place, arrival.object)).flatten();
            // The arrival of what moved on has the same id as the one that it leaves, and it is the one that meets.
            let meets = is_new.then(|| met.remove(&arrival.object.id)).flatten();
            let record = match (&arrival.known, meets) {
                (Some(known), _) => known.record.clone(),
                (
                    None,
                    Some(Met::Known {
                        record,
                        tried,
                        had_one,
                        ..
                    }),
                ) => {
                    report.counts.met += 1;
                    made = made.or_else(|| tried.then_some(record.id));
                    let named = adopt.get(&arrival.object.id).copied();
                    if had_one || named.or(made) == Some(record.id) {
                        named_anew.push(record.id);
                    }
                    // A coarse value (one stage for two of ours) is read as what the record says, where it can be.
                    arrival.forward = forward(&arrival, Some(&record.fields), refs);
                    *record
                }
                (None, Some(Met::New(record, sought))) => {
                    commit.sought.extend(sought);
                    *record
                }
                (None, Some(waits @ (Met::Duplicate(of, _) | Met::Ended(of)))) => {
                    let reason = match waits {
                        Met::Duplicate(_, made) => format!(
                            "fits {of}, which has {made} at {} already: make the two one there, or make them differ",
                            place.connection
                        ),
                        _ => format!(
                            "fits {of}, which was deleted while this one waited: delete it, too, or say that it is another \
                             one with: interconnect review decide {}/{}/{} --new",
                            place.connection, place.object, arrival.object.id
                        ),
                    };
                    let retry = self.in_ms(DUPLICATE_RETRY_MS);
                    commit.parked.push(Parked {
                        records: vec![of],
                        retry_at: Some(retry),
                        ..self.parks(place, &arrival.object.id, DUPLICATE, reason)
                    });
                    continue;
                }
                (None, Some(Met::Probable(ids))) => {
                    let names: Vec<String> = ids.iter().map(ToString::to_string).collect();
                    let reason = format!(
                        "may be {}, by a rule that is not certain; decide with: interconnect review decide {}/{}/{} --record ID, or \
                         --new",
                        names.join(" or "),
                        place.connection,
                        place.object,
                        arrival.object.id
                    );
                    commit.parked.push(Parked {
                        records: ids,
                        ..self.parks(place, &arrival.object.id, PROBABLE, reason)
                    });
                    continue;
                }
                (None, Some(Met::Several(ids))) => {
                    let names: Vec<String> = ids.iter().map(ToString::to_string).collect();
                    let reason = format!(
                        "fits {} records alike: {}; decide with: interconnect review decide {}/{}/{} --record ID, or \
                         --new, or make them differ",
                        names.len(),
                        names.join(", "),
                        place.connection,
                        place.object,
                        arrival.object.id
                    );
                    commit.parked.push(Parked {
                        records: ids,
                        ..self.parks(place, &arrival.object.id, AMBIGUOUS, reason)
                    });
                    continue;
                }
                (None, None) => continue,
            };
            let echoed = ours.get(&record.id).map(|ours| self.echoed(&arrival, ours, refs));
            let made = made == Some(record.id);
            let record = (record, echoed.unwrap_or_default(), made);
            self.merge_one(
                place,
                arrival,
                record,
                (refs, parked, &mut waiting),
                commit,
                report,
            );
        }
        // Who named it before a person took it away means the record that it is now.
        let named = self.named_as_before(&commit.claims).await?;
        commit.parked.extend(named);
        // It may stand for one that is gone, which others still name.
        Ok(self.owe_referring(place, &named_anew, commit, report).await?)
    }

    /// What is ours of these objects, by record.
    async fn ours(
        &self,
        place: Place<'_>,
        arrivals: &[Arrival<'_>],
        met: &BTreeMap<String, Met>,
    ) -> Result<HashMap<RecordId, Ours>, SyncError> {
        let known = arrivals.iter().filter_map(|arrival| arrival.known.as_ref());
        let linked: Vec<RecordId> = known.map(|known| known.record.id).collect();
        let sent = match linked.is_empty() {
            true => Vec::new(),
            false => self.ledger.sent(place.connection, place.object, &linked).await?,
        };
        let sent = sent.into_iter().map(|(record, sent)| {
            let values = sent.into_iter().map(|sent| sent.values);
            (record, Ours::Values(values.collect()))
        });
        let mut ours: HashMap<RecordId, Ours> = sent.collect();
        for arrival in arrivals.iter().filter(|arrival| arrival.known.is_none()) {
            // We made it, if it carries our key: it holds what the record was then.
            let Some(Met::Known {
                record,
                tried,
                stood_for,
                ..
            }) = met.get(&arrival.object.id)
            else {
                continue;
            };
            if *tried || self.carried(place, arrival.object) == Some(record.id) {
                let mut history = self.ledger.history(record.id).await?;
                history.retain(|change| change.connection != place.connection);
                ours.insert(record.id, Ours::Whole(history));
            } else if let Some(agreed) = stood_for {
                ours.insert(record.id, Ours::Agreed(agreed.clone()));
            }
        }
        Ok(ours)
    }

    /// What of an object is what we wrote without hearing of it: it comes back as if it were theirs.
    fn echoed(&self, arrival: &Arrival<'_>, ours: &Ours, refs: &Refs) -> Echoed {
        let wrote: Vec<Fields> = match ours {
            Ours::Values(attempts) => {
                let held = arrival.known.as_ref().and_then(|known| known.link.wire.as_ref());
                let attempts = attempts.iter().filter_map(serde_json::Value::as_object);
                let written = attempts.map(|values| self.said_by(arrival, &overlay(held, values), refs));
                written.collect()
            }
            // Each value that it had is one that may have been written.
            Ours::Whole(history) => {
                let kind = arrival.sync.kind();
                let value = |change: &ledger::Change| {
                    let field = kind.field(&change.path)?;
                    let value = stored::from_json(field.field_type, &change.after)?;
                    Some([(field.path, value)].into_iter().collect())
                };
                history.iter().filter_map(value).collect()
            }
            Ours::Agreed(fields) => vec![fields.clone()],
        };
        let mut echoed = Echoed::default();
        for (path, said) in arrival.forward.fields.iter() {
            let ours = wrote.iter().filter_map(|fields| fields.get(path));
            for value in ours {
                if value == said {
                    echoed.fields.insert(path);
                }
                if let Value::Set(items) = value {
                    let members = echoed.members.entry(path).or_default();
                    members.extend(items.iter().cloned());
                }
            }
        }
        echoed
    }

    /// What an object would say if it held these values.
    fn said_by(&self, arrival: &Arrival<'_>, wire: &serde_json::Value, refs: &Refs) -> Fields {
        let resolve = |object: &str, external_id: &str| refs.record(object, external_id);
        let (mapping, context) = (&arrival.sync.mapping, arrival.sync.context());
        mapping.forward(wire, base_of(arrival), context, &resolve).fields
    }

    /// The record id that an object carries as our key.
    fn carried(&self, place: Place<'_>, object: &connector::Object) -> Option<RecordId> {
        let system = self.connections.get(place.connection)?;
        let field = system.connector().key_field(place.object)?;
        get(&object.body, field)?.as_str()?.parse().ok()
    }

    async fn meet_all(
        &self,
        place: Place<'_>,
        arrivals: &[Arrival<'_>],
        adopt: &BTreeMap<String, RecordId>,
        parked: &BTreeMap<String, Parked>,
    ) -> Result<BTreeMap<String, Met>, SyncError> {
        let mut by_kind: BTreeMap<Kind, Vec<Seeker<'_>>> = BTreeMap::new();
        let mut met = BTreeMap::new();
        // What a person says is new is adopted by a record that is not there yet.
        let asked: Vec<RecordId> = adopt.values().copied().collect();
        let mut new: BTreeSet<RecordId> = asked.iter().copied().collect();
        if !asked.is_empty() {
            let known = self.ledger.records(&asked).await?;
            new.retain(|id| known.iter().all(|record| record.id != *id));
        }
        for arrival in arrivals.iter().filter(|arrival| arrival.known.is_none()) {
            let own = adopt.get(&arrival.object.id).copied();
            if let Some(id) = own.filter(|id| new.contains(id)) {
                let record = Record::empty(id, self.world.now());
                met.insert(arrival.object.id.clone(), Met::New(Box::new(record), Vec::new()));
                continue;
            }
            by_kind.entry(arrival.sync.kind()).or_default().push(Seeker {
                external_id: &arrival.object.id,
                fields: &arrival.forward.fields,
                own: own.or_else(|| self.carried(place, arrival.object)),
                beside: beside(parked.get(&arrival.object.id)),
            });
        }
        for (kind, seekers) in by_kind {
            met.extend(self.meet(place.connection, place.object, kind, &seekers).await?);
        }
        Ok(met)
    }

    fn merge_one(
        &self,
        place: Place<'_>,
        arrival: Arrival<'_>,
        (mut record, echoed, made): (Record, Echoed, bool),
        (refs, parked, waiting): (&Refs, &BTreeMap<String, Parked>, &mut Waiting),
        commit: &mut SyncCommit,
        report: &mut Report,
    ) {
        let now = self.world.now();
        let (read_version, kind) = (record.version, record.kind());
        let seen = base_of(&arrival);
        let base = waiting.base(record.id, place, seen);
        let theirs = Theirs {
            connection: place.connection,
            external_id: &arrival.object.id,
            fields: &arrival.forward.fields,
            base: base.as_ref().or(seen),
            echoed: &echoed,
            changed_at: self.said_at(place, &arrival, &record, now),
            observed_at: now,
        };
        let policies = self.plan.rules.policies.get(&kind);
        let merged = model::merge(&mut record, &theirs, policies.unwrap_or(&Policies::default()));
        let revived = self.revive(place, &arrival, &mut record, &merged, report);
        let missing = record.missing();
        if read_version == 0 && !missing.is_empty() {
            let mut reason = format!("a {kind} needs {}", missing.join(", "));
            reason.push_str(&issues(&arrival.forward));
            commit.parked.push(Parked {
                fields: about_missing(&arrival, &missing),
                ..self.parks(place, &arrival.object.id, MAPPING, reason)
            });
            return;
        }
        if !arrival.forward.issues.is_empty() {
            let reason = format!("some fields were left out{}", issues(&arrival.forward));
            commit.parked.push(Parked {
                fields: about_issues(&arrival.forward),
                ..self.parks(place, &arrival.object.id, FIELD, reason)
            });
        } else if parked.contains_key(&arrival.object.id) {
            commit.unparked.push(inbound(place, &arrival.object.id));
        }
        match (read_version, merged.changes.is_empty()) {
            (0, _) => report.counts.created += 1,
            (_, false) => report.counts.updated += 1,
            (_, true) => report.counts.unchanged += 1,
        }
        let merging = (&merged, &echoed);
        let asks = self.note_conflicts(place, &arrival, &record, merging, waiting, commit);
        let held_back = waiting.held_back(&record, place, &arrival.forward.fields);
        let left = self.moved_on(place, &arrival).is_some();
        let known = arrival.known.as_ref();
        let made = known.map_or(made, |known| known.link.made);
        let superseded = if left { SUPERSEDED } else { "" };
        let link = Link {
            connection: place.connection.to_owned(),
            object: place.object.to_owned(),
            external_id: format!("{}{superseded}", arrival.object.id),
            record: record.id,
            base: Some(agreed_on(
                arrival.forward,
                arrival.known.as_ref().and_then(|known| known.link.base.as_ref()),
            )),
            wire: Some(arrival.wire.clone()),
            external_version: arrival.object.version.clone(),
            modified: arrival.object.modified,
            seen_at: arrival.seen_at,
            replaces: known.and_then(|known| known.link.replaces).filter(|_| !left),
            gone: left,
            ignored: false,
            made,
        };
        let first = arrival.known.is_none();
        // It was made unheard, and its record was deleted since.
        let goes = first && self.is_to_go(&record, &link);
        self.owe(
            place,
            arrival.sync,
            (record.id, held_back.as_ref().unwrap_or(&record.fields)),
            &link,
            (first || revived.is_some(), goes),
            &merged,
            refs,
            commit,
        );
        match known {
            Some(_) => commit.links.push(link),
            None => commit.claims.push(link),
        }
        self.write_down(
            place,
            record,
            read_version,
            (&merged, revived, asks),
            &arrival.object.id,
            now,
            commit,
        );
    }

    /// Marks what others, and this connection itself, are owed now; the fields are those to be written here. `first` says
    /// that whatever others have may differ, `goes` that the object is to be deleted.
    #[expect(
        clippy::too_many_arguments,
        reason = "one page's worth of state, used nowhere else"
    )]
    fn owe(
        &self,
        place: Place<'_>,
        here: &Sync,
        (record, fields): (RecordId, &Fields),
        link: &Link,
        (first, goes): (bool, bool),
        merged: &Merged,
        refs: &Refs,
        commit: &mut SyncCommit,
    ) {
        let now = self.world.now();
        for sync in self.plan.owed(record.kind) {
            let is_here = sync.connection == place.connection && sync.object() == place.object;
            let owed = if is_here {
                let refer = |id: RecordId, object: &str| refs.external(id, object);
                let context = Context {
                    agreed: link.base.as_ref(),
                    ..here.context()
                };
                let back = here.mapping.backward(fields, link.wire.as_ref(), context, &refer);
                goes || !back.values.is_empty()
            } else {
                first || !merged.changes.is_empty()
            };
            if owed {
                commit.marks.push(PushMark {
                    connection: sync.connection.clone(),
                    object: sync.object().to_owned(),
                    record,
                    due_at: now,
                });
            }
        }
    }

    /// Writes down the record with its history and event, if it changed. What it only asks a person counts its version up,
    /// and nothing else: who deletes it at the same moment is to learn of that.
    #[expect(
        clippy::too_many_arguments,
        reason = "one page's worth of state, used nowhere else"
    )]
    fn write_down(
        &self,
        place: Place<'_>,
        mut record: Record,
        read_version: u64,
        (merged, revived, asks): (&Merged, Option<ledger::Change>, bool),
        external_id: &str,
        now: Timestamp,
        commit: &mut SyncCommit,
    ) {
        let json = |value: Option<&model::Value>| value.map_or(serde_json::Value::Null, stored::to_json);
        match merged.changes.is_empty() && revived.is_none() {
            true if !asks => return,
            true => record.version += 1,
            false => commit.events.push(self.announce(
                &record,
                &merged.changes,
                Cause::of(place.trace, external_id),
                now,
            )),
        }
        let changes = merged.changes.iter().map(|change| ledger::Change {
            version: record.version,
            path: change.path.to_owned(),
            before: json(change.before.as_ref()),
            after: json(Some(&change.after)),
            reason: change.reason.word().to_owned(),
            connection: place.connection.to_owned(),
            external_id: external_id.to_owned(),
            changed_at: record
                .provenance
                .get(change.path)
                .map_or(now, |said| said.changed_at),
            committed_at: now,
            run: place.run,
            trace: place.trace.of(external_id).to_owned(),
        });
        commit.records.push(RecordWrite {
            changes: changes.chain(revived).collect(),
            match_keys: self.plan.rules.match_keys(record.kind(), &record.fields),
            read_version,
            record,
        });
    }

    /// When what an object says was said. What we made tells for the first time of what its system makes of our words, such as
    /// a probability of a stage: that was said when they were.
    fn said_at(&self, place: Place<'_>, arrival: &Arrival<'_>, record: &Record, now: Timestamp) -> Timestamp {
        let changed_at = self.changed_at(place, arrival.object, now).unwrap_or(now);
        let made = arrival.known.as_ref().filter(|known| known.link.made);
        let Some(base) = made.and_then(|known| known.link.base.as_ref()) else {
            return changed_at;
        };
        let is_made_of_ours = |path: &str| {
            let mut lines = arrival.sync.mapping.mapped();
            base.get(path).is_none() && lines.any(|line| line.path == path && !line.writes)
        };
        let fields = arrival.forward.fields.iter();
        let mut news = fields.filter(|(path, value)| base.get(path).unwrap_or(&Value::Null) != *value);
        if !news.all(|(path, _)| is_made_of_ours(path)) {
            return changed_at;
        }
        let ours = record.provenance.values().map(|said| said.changed_at).max();
        ours.map_or(changed_at, |ours| changed_at.min(ours))
    }

    fn waits(&self, place: Place<'_>, arrival: &Arrival<'_>, retry: Timestamp) -> Parked {
        let names: Vec<String> = arrival
            .forward
            .unresolved
            .iter()
            .map(|missing| {
                format!(
                    "`{}` refers to {} {}",
                    missing.path, missing.object, missing.external_id
                )
            })
            .collect();
        let reason = format!(
            "{}, which is not known here yet; it is read again until it is",
            names.join(" and ")
        );
        let unresolved = arrival.forward.unresolved.iter();
        Parked {
            fields: about(unresolved.map(|missing| missing.object_field.as_str())),
            retry_at: Some(retry),
            // One after the other: with the first one here, the next is what is waited for.
            waits_for: arrival.forward.unresolved.first().map(|missing| WaitsFor {
                object: missing.object.clone(),
                external_id: missing.external_id.clone(),
            }),
            ..self.parks(place, &arrival.object.id, UNRESOLVED, reason)
        }
    }
}

/// The fields of an object that make no sense.
fn about_issues(forward: &Forward) -> Vec<String> {
    about(forward.issues.iter().map(|issue| issue.object_field.as_str()))
}

/// The fields of an object that make no sense, and those that would have filled what its record lacks.
fn about_missing(arrival: &Arrival<'_>, missing: &[&'static str]) -> Vec<String> {
    let lines = arrival.sync.mapping.mapped();
    let lacking = lines.filter(|line| line.reads && missing.contains(&line.path));
    let lacking = lacking.flat_map(|line| line.wire);
    let issues = arrival.forward.issues.iter();
    about(issues.map(|issue| issue.object_field.as_str()).chain(lacking))
}

/// The records that arrivals belong to, as far as they are there already.
fn records_of(arrivals: &[Arrival<'_>], met: &BTreeMap<String, Met>) -> Vec<RecordId> {
    let known = arrivals.iter().filter_map(|arrival| arrival.known.as_ref());
    let mut ids: Vec<RecordId> = known.map(|known| known.record.id).collect();
    ids.extend(met.values().filter_map(|met| match met {
        Met::Known { record, .. } => Some(record.id),
        Met::New(..) | Met::Duplicate(..) | Met::Ended(_) | Met::Several(_) | Met::Probable(_) => None,
    }));
    ids
}

/// The record beside whose object one waits for a person, or stands for it.
fn beside(parked: Option<&Parked>) -> Option<RecordId> {
    let parked = parked.filter(|parked| [DUPLICATE, STANDS].contains(&&*parked.code))?;
    parked.records.first().copied()
}

/// What both sides agree on once an object is merged or written: what it says, and where that makes no sense what they last
/// agreed on.
pub(crate) fn agreed_on(forward: Forward, seen: Option<&Fields>) -> Fields {
    let mut agreed = forward.fields;
    for issue in &forward.issues {
        if let Some(value) = seen.and_then(|seen| seen.get(issue.path))
            && agreed.get(issue.path).is_none()
        {
            agreed.set(issue.path, value.clone());
        }
    }
    agreed
}

fn issues(forward: &Forward) -> String {
    forward.issues.iter().map(|issue| format!("; {issue}")).collect()
}
