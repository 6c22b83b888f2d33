//! Review: what waits for a person because a rule cannot tell, and the commands that settle it.
//!
//! A *review* is something parked on its way in: an object that may be a record ([`PROBABLE`]), that fits several
//! ([`AMBIGUOUS`]) or one that has an object here already ([`DUPLICATE`]), or had one until lately ([`STANDS`]); two records for
//! one object ([`MERGED`]); much that is gone at once ([`MANY_GONE`]). Until it is decided, nothing is made of the object, and no record that it may be is
//! created where it is.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ledger::{LedgerError, Link, Parked, ParkedFilter, Push, PushEnd, PushMark, SyncCommit};
use model::{Kind, MatchRule, Record, RecordId, Value, match_keys, uuid_from};
use serde_json::json;

use crate::absorb::{PARKED_MAX, Place};
use crate::action::{ActionError, Done, ObjectAt, refused, run_of, trace_of};
use crate::census::CENSUS;
use crate::parked::parked_at;
use crate::refs::Refs;
use crate::trace::Trace;
use crate::{Engine, GONE_MAX_PERCENT, Report, kept};

/// An object may be a record, by a rule that is not certain.
pub(crate) const PROBABLE: &str = "probable";
/// An object fits several records alike.
pub(crate) const AMBIGUOUS: &str = "ambiguous";
/// An object fits a record for which we have made another one here.
pub(crate) const DUPLICATE: &str = "duplicate";
/// An object waited beside one that is gone, and stands for it: it is read to take its place.
pub(crate) const STANDS: &str = "stands";
/// Two records are one object at a system.
pub(crate) const MERGED: &str = "merged";
/// Much is gone at once.
pub(crate) const MANY_GONE: &str = "many_gone";

/// What a person decides about.
const FOR_REVIEW: [&str; 6] = [PROBABLE, AMBIGUOUS, DUPLICATE, STANDS, MERGED, MANY_GONE];

/// How long a record waits that may be there already, before it is looked at again.
const UNDECIDED_MS: u64 = 600_000;
/// What is about an object that has no record yet.
const OF_STRANGERS: [&str; 4] = [PROBABLE, AMBIGUOUS, DUPLICATE, STANDS];

/// Whether what is parked with a code waits for a person to decide.
pub(crate) fn is_for_review(code: &str) -> bool {
    FOR_REVIEW.contains(&code)
}

/// What of all that is parked waits for a person to decide.
pub fn for_review() -> ParkedFilter {
    ParkedFilter {
        inbound: Some(true),
        codes: Some(FOR_REVIEW.map(str::to_owned).into()),
        ..ParkedFilter::default()
    }
}

/// A field of an object beside that of a record.
#[derive(Clone, Debug, PartialEq)]
pub struct Side {
    /// The field.
    pub path: &'static str,
    /// What the object says.
    pub theirs: Option<Value>,
    /// What the record has.
    pub ours: Option<Value>,
}

impl Side {
    /// Whether both say the same.
    pub fn is_alike(&self) -> bool {
        self.theirs == self.ours
    }
}

/// A record that an object may be.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The record.
    pub record: Record,
    /// The rule by which it fits, the surest one; nothing when none does any more.
    pub rule: Option<MatchRule>,
    /// Fields that either of them has, side by side.
    pub sides: Vec<Side>,
}

/// Something that waits, with all that deciding needs.
#[derive(Clone, Debug)]
pub struct Review {
    /// What waits.
    pub parked: Parked,
    /// Between what a person decides.
    pub candidates: Vec<Candidate>,
}

/// What a person decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settle {
    /// The object is this record; of two records, this one stands for both. Where both of two have an object, those named
    /// stay.
    Record(RecordId, Vec<ObjectAt>),
    /// The object is a record of its own.
    New,
    /// Two records stay two.
    Leave,
    /// What is gone is gone.
    Accept,
    /// Ask once more for what is gone.
    Again,
}

/// What a question is answered with, on the command line.
fn answers(code: &str) -> &'static str {
    match code {
        MERGED => "--record ID of the one that stays, or --leave",
        MANY_GONE => "--accept, or --again",
        _ => "--record ID of the one that it is, or --new",
    }
}

impl Engine {
    /// What waits for a person, oldest first. At most `limit`.
    pub async fn reviews(&self, limit: usize) -> Result<Vec<Parked>, LedgerError> {
        self.ledger.parked(&for_review(), limit).await
    }

    /// One review with its candidates. Reads the object by its id, so that it is shown as it is now.
    pub async fn review(&self, at: &ObjectAt) -> Result<Review, ActionError> {
        let parked = self.waiting_at(at).await?;
        let records = self.ledger.records(&parked.records).await?;
        let kind = records.first().map(Record::kind);
        let theirs = match kind.filter(|_| OF_STRANGERS.contains(&parked.code.as_str())) {
            Some(kind) => self.read_as(at, kind).await?,
            None => model::Fields::default(),
        };
        let candidates = records.into_iter().map(|record| self.candidate(record, &theirs));
        Ok(Review {
            candidates: candidates.collect(),
            parked,
        })
    }

    fn candidate(&self, record: Record, theirs: &model::Fields) -> Candidate {
        let rules = self.plan.rules.rules_of(record.kind());
        let ours: Vec<_> = match_keys(&record.fields, rules).map(|(key, _)| key).collect();
        let mut fits = match_keys(theirs, rules).filter(|(key, _)| ours.contains(key));
        let sides = record.kind().fields().map(|field| Side {
            path: field.path,
            theirs: theirs.filled(field.path).cloned(),
            ours: record.fields.filled(field.path).cloned(),
        });
        let sides = sides.filter(|side| side.theirs.is_some() || side.ours.is_some());
        Candidate {
            rule: fits.next().map(|(_, rule)| rule.clone()),
            sides: sides.collect(),
            record,
        }
    }

    async fn waiting_at(&self, at: &ObjectAt) -> Result<Parked, ActionError> {
        let parked = parked_at(&*self.ledger, at).await?;
        let parked = parked.filter(|parked| FOR_REVIEW.contains(&parked.code.as_str()));
        parked.ok_or_else(|| {
            ActionError::Unknown(format!(
                "nothing waits for a decision at {at}; see: interconnect review list"
            ))
        })
    }

    /// What an object says, as a record of a kind.
    async fn read_as(&self, at: &ObjectAt, kind: Kind) -> Result<model::Fields, ActionError> {
        let system = self.ready(&at.connection, &at.object).await?;
        let key = system.connector().key_field(&at.object);
        let fields = self.plan.object_fields(&at.connection, &at.object, key);
        let ids = std::slice::from_ref(&at.external_id);
        let objects = self.read_by_ids(&system, &at.object, &fields, ids).await?;
        let Some(object) = objects.iter().find(|object| !object.deleted) else {
            return Err(ActionError::Unknown(format!("{at} is not there any more")));
        };
        let Some(sync) = self.plan.sync_for(&at.connection, &at.object, kind) else {
            return Err(refused("no_sync", format!("no sync reads {at} as a {kind}")));
        };
        let wire = crate::wire::pick(&object.body, sync.mapping.object_fields().iter());
        let mut refs = Refs::default();
        let read = |refs: &Refs| {
            let resolve = |object: &str, id: &str| refs.record(object, id);
            sync.mapping.forward(&wire, None, sync.context(), &resolve).fields
        };
        read(&refs);
        refs.learn(&*self.ledger, &at.connection).await?;
        Ok(read(&refs))
    }

    /// Settles what waits. Refused when the answer does not fit the question.
    pub async fn decide(&self, by: &str, at: &ObjectAt, settle: &Settle) -> Result<Done, ActionError> {
        let parked = self.waiting_at(at).await?;
        let of_stranger = OF_STRANGERS.contains(&parked.code.as_str());
        let done = match (parked.code.as_str(), settle) {
            (_, Settle::Record(id, _)) if of_stranger => self.link(by, *id, at, false).await,
            (_, Settle::New) if of_stranger => self.make_new(by, at, &parked).await,
            (MERGED, Settle::Record(keep, stay)) => match parked.records.as_slice() {
                [one, other] if one == keep || other == keep => {
                    let lose = if one == keep { *other } else { *one };
                    self.merge(by, *keep, lose, stay).await
                }
                _ => Err(refused(
                    "not_a_candidate",
                    format!("{keep} is none of the two records"),
                )),
            },
            (MERGED, Settle::Leave) => self.dismiss(by, &parked).await,
            (MANY_GONE, Settle::Accept) => self.count_again(by, at, 100).await,
            (MANY_GONE, Settle::Again) => self.count_again(by, at, GONE_MAX_PERCENT).await,
            (code, _) => Err(refused(
                "other_question",
                format!("`{code}` is answered with {}: {}", answers(code), parked.reason),
            )),
        }?;
        self.let_candidates_go(&parked, done).await
    }

    /// Whoever waited for the decision is written now.
    async fn let_candidates_go(&self, parked: &Parked, mut done: Done) -> Result<Done, ActionError> {
        let now = self.world.now();
        let marks = parked.records.iter().map(|record| PushMark {
            connection: parked.connection.clone(),
            object: parked.object.clone(),
            record: *record,
            due_at: now,
        });
        let marks: Vec<PushMark> = marks
            .filter(|mark| {
                self.plan.owed(mark.record.kind).any(|sync| {
                    (sync.connection.as_str(), sync.object())
                        == (mark.connection.as_str(), mark.object.as_str())
                })
            })
            .collect();
        if !marks.is_empty() {
            done.report
                .owed
                .insert((parked.connection.clone(), parked.object.clone()));
            let commit = SyncCommit {
                marks,
                ..SyncCommit::default()
            };
            self.ledger.commit(commit).await?;
        }
        Ok(done)
    }

    /// Makes a record of an object, whatever it fits.
    async fn make_new(&self, by: &str, at: &ObjectAt, parked: &Parked) -> Result<Done, ActionError> {
        let kind = parked.records.first().map(|record| record.kind);
        let kind =
            kind.ok_or_else(|| refused("other_question", "it is not known what it may be".to_owned()))?;
        let system = self.ready(&at.connection, &at.object).await?;
        let id = RecordId::new(kind, uuid_from(self.world.now(), self.world.random()));
        let mut about = vec![id];
        about.extend(&parked.records);
        let detail = json!({"object": at.to_string(), "parked": kept::parked(parked)});
        let action = self.new_action(by, "create", about, detail);
        let held = self.hold(&[kind]).await?;
        let mut report = Report::default();
        let read = match held.pulls(&at.connection, &at.object) {
            Some(lease) => {
                let missing = self.missing(&at.connection, &at.object).await?;
                let trace = Trace::one(&trace_of(&action));
                let place = Place {
                    making: Some((id, &action)),
                    ..Place::new(
                        (&at.connection, &at.object),
                        run_of(&action),
                        lease,
                        &missing,
                        &trace,
                    )
                };
                let (fields, ids) = (self.fields_of(&system, place), [at.external_id.clone()]);
                let adopt = BTreeMap::from([(at.external_id.clone(), id)]);
                self.absorb_ids(&system, place, &fields, &ids, &adopt, &mut report)
                    .await
            }
            None => Ok(BTreeSet::new()),
        };
        self.let_go(held).await?;
        read?;
        if self.ledger.records(&[id]).await?.is_empty() {
            let now = parked_at(&*self.ledger, at)
                .await?
                .map_or_else(String::new, |parked| parked.reason);
            return Err(refused(
                "not_made",
                format!("no record could be made of {at}: {now}"),
            ));
        }
        Ok(Done {
            action,
            told: vec![format!("{at} is a record of its own: {id}")],
            report,
        })
    }

    /// Leaves two records two.
    async fn dismiss(&self, by: &str, parked: &Parked) -> Result<Done, ActionError> {
        let detail = json!({"parked": kept::parked(parked)});
        let action = self.new_action(by, "dismiss", parked.records.clone(), detail);
        let key = (
            parked.connection.clone(),
            parked.object.clone(),
            parked.key.clone(),
            parked.inbound,
        );
        let commit = SyncCommit {
            unparked: vec![key],
            action: Some(action.clone()),
            ..SyncCommit::default()
        };
        self.finish(commit, action, vec!["the two records stay two".to_owned()])
            .await
    }

    pub(crate) async fn undo_dismiss(&self, by: &str, undone: &ledger::Action) -> Result<Done, ActionError> {
        let parked = kept::read_parked(&undone.detail["parked"]);
        let parked = parked.map_err(|why| {
            refused(
                "unreadable",
                format!("the row of {} cannot be read: {why}", undone.id),
            )
        })?;
        let action = self.undoing(by, undone);
        let commit = SyncCommit {
            parked: parked.into_iter().collect(),
            action: Some(action.clone()),
            ..SyncCommit::default()
        };
        self.finish(commit, action, vec!["it waits for a decision again".to_owned()])
            .await
    }

    /// Asks for everything that is linked once more.
    async fn count_again(&self, by: &str, at: &ObjectAt, gone_max_percent: u8) -> Result<Done, ActionError> {
        let detail = json!({"object": at.to_string(), "gone_max_percent": gone_max_percent});
        let action = self.new_action(by, "census", Vec::new(), detail);
        let report = self.census(&at.connection, &at.object, gone_max_percent).await?;
        let commit = SyncCommit {
            action: Some(action.clone()),
            ..SyncCommit::default()
        };
        self.ledger.commit(commit).await?;
        let told = match parked_at(&*self.ledger, at).await? {
            Some(parked) if parked.key == CENSUS => vec![parked.reason],
            _ => vec![format!("{} objects are gone", report.counts.gone)],
        };
        // Where it deletes them elsewhere, too, so much needs another word.
        let told = report.halted.clone().map_or(told, |reason| vec![reason]);
        Ok(Done { action, told, report })
    }

    /// Pushes but for those of records that may be there already: they wait until a person has decided, which marks them
    /// again.
    pub(crate) async fn without_undecided(
        &self,
        place: Place<'_>,
        mut pushes: Vec<Push>,
        links: &BTreeMap<RecordId, Link>,
        commit: &mut SyncCommit,
    ) -> Result<Vec<Push>, LedgerError> {
        if pushes.iter().all(|push| links.contains_key(&push.record)) {
            return Ok(pushes);
        }
        let filter = ParkedFilter {
            of: Some((place.connection.to_owned(), place.object.to_owned())),
            inbound: Some(true),
            codes: Some([PROBABLE, AMBIGUOUS].map(str::to_owned).into()),
            ..ParkedFilter::default()
        };
        let open = self.ledger.parked(&filter, PARKED_MAX).await?;
        // With more of them than are looked at, nobody knows who is not among them: nothing new is made meanwhile.
        let all_wait = open.len() == PARKED_MAX;
        if all_wait {
            tracing::warn!(
                connection = place.connection,
                object = place.object,
                "{PARKED_MAX} objects wait for a decision, so that nothing is created there: see interconnect review list"
            );
        }
        let open: BTreeSet<RecordId> = open.into_iter().flat_map(|parked| parked.records).collect();
        let waits =
            |push: &mut Push| !links.contains_key(&push.record) && (all_wait || open.contains(&push.record));
        let later = self.after(Duration::from_millis(UNDECIDED_MS));
        let waiting = pushes.extract_if(.., waits);
        commit
            .ended
            .extend(waiting.map(|push| (push, PushEnd::Later(later))));
        Ok(pushes)
    }
}
