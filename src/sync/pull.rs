//! Pull: what changed at a connection since its cursor.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, MutexGuard, PoisonError};

use connector::{Connection, Forecast, Lane, Object};
use ledger::{Cursor, ParkedFilter, SyncCommit};
use model::{RecordId, RunId};

use crate::absorb::{AsOf, Batch, Place, inbound};
use crate::engine::SyncError;
use crate::fields::Asking;
use crate::rehearsal::Way;
use crate::review::STANDS;
use crate::{Engine, Report};

/// Pages that one pull reads at most before it lets others work; the cursor makes the next one go on.
const PAGES_MAX: u32 = 200;
/// Pages of changes after which a pull has so much to read that it lets those pass who have little.
const LIVE_PAGES_MAX: u32 = 5;
/// Parked objects that one pull reads again at most.
const PARKED_AGAIN_MAX: usize = 500;

/// How much a pull reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// What hints name; what changed, too, unless they name all of it.
    Named,
    /// What hints name, and what changed since the cursor.
    Changed,
    /// Everything, to be compared again: the cursor is forgotten first.
    All,
}

impl Engine {
    /// Reads what changed at an object of a connection, page by page, each committed with its cursor.
    pub async fn pull(&self, connection: &str, object: &str, depth: Depth) -> Result<Report, SyncError> {
        let (run, started) = (self.new_run(), self.world.now());
        let mut report = Report::default();
        let result = self
            .pull_counted(connection, object, depth, run, &mut report)
            .await;
        let result = Self::ended_early(result, &mut report);
        let result = self.watched(connection, result).await;
        self.note(run, (connection, object, "pull"), started, &report, &result)
            .await?;
        result.map(|()| report)
    }

    async fn pull_counted(
        &self,
        connection: &str,
        object: &str,
        depth: Depth,
        run: RunId,
        report: &mut Report,
    ) -> Result<(), SyncError> {
        self.known(connection, object)?;
        self.may_go_on(connection, object, Way::In).await?;
        let system = Arc::new(self.ready(connection, object).await?.counted());
        let result = self.pull_leased(&system, object, depth, run, report).await;
        self.called(&system, object, Way::In, report);
        result
    }

    async fn pull_leased(
        &self,
        system: &Arc<Connection>,
        object: &str,
        depth: Depth,
        run: RunId,
        report: &mut Report,
    ) -> Result<(), SyncError> {
        let connection = system.name();
        let lease = self.turn("pull", connection, object).await?;
        let mut missing = self.missing(connection, object).await?;
        let trace = self.trace();
        let place = Place::new((connection, object), run, &lease, &missing, &trace);
        if system.connector().is_posted() {
            let result = self.pull_posted(system, place, report).await;
            self.ledger.release(&lease).await?;
            return result;
        }
        missing = Box::pin(self.look_again_for(system, place)).await?;
        let mut depth = depth;
        loop {
            let read = report.counts.read;
            let trace = self.trace();
            let place = Place::new((connection, object), run, &lease, &missing, &trace);
            let mut result = Box::pin(self.pull_pages(system, place, depth, report)).await;
            // What changed comes first.
            let at_leisure = report.again.is_none_or(|again| again > self.world.now());
            if result.is_ok() && depth != Depth::Named && at_leisure {
                result = self.take_census(system, place, report).await;
            }
            match self.learn_missing(connection, object, &mut missing, result).await {
                // What was read already is behind the stored cursor.
                Ok(false) if report.counts.read > read && depth == Depth::All => depth = Depth::Changed,
                Ok(false) => {}
                done => {
                    self.ledger.release(&lease).await?;
                    return done.map(drop);
                }
            }
        }
    }

    async fn pull_pages(
        &self,
        system: &Arc<Connection>,
        place: Place<'_>,
        depth: Depth,
        report: &mut Report,
    ) -> Result<(), SyncError> {
        let fields = self.fields_of(system, place);
        let stored = self.ledger.cursor(place.connection, place.object).await?;
        let mut asking = Asking::new(&fields, stored.as_ref());
        let is_from_start = depth == Depth::All || stored.is_none() || asking.is_new();
        if is_from_start {
            asking.start();
        }
        let unread = asking.unread();
        let mut complete_at = stored.as_ref().and_then(|cursor| cursor.complete_at);
        // What is edited while everything is read for the first time may have moved out of its way; what reads behind it
        // finds that.
        let mut rounds_left = if complete_at.is_some() { 1 } else { 2 };
        // Who reads everything lets those pass who have news.
        let lane = match complete_at.is_some() && !is_from_start {
            true => Lane::Live,
            false => Lane::Backfill,
        };
        let mut reading = system.in_lane(lane);
        if is_from_start {
            self.tell_forecast(&reading, place, &fields).await;
        }
        // What is to be read completely need not be named.
        if lane == Lane::Live
            && self.read_named(system, place, &fields, report).await?
            && depth == Depth::Named
        {
            return Ok(());
        }
        let goes_on = stored.filter(|_| !is_from_start);
        let mut round_at = goes_on.as_ref().and_then(|cursor| cursor.round_at);
        let mut position = goes_on.map(|cursor| cursor.position);
        for page_number in 1.. {
            self.keep_going(place, Way::In).await?;
            if page_number > LIVE_PAGES_MAX {
                reading = system.in_lane(Lane::Backfill);
            }
            let trace = self.trace();
            let place = Place {
                trace: &trace,
                unread: Some(&unread),
                ..place
            };
            let asked_at = self.world.now();
            let began = *round_at.get_or_insert(asked_at);
            let page = reading
                .changes(place.object, &fields, position.as_ref())
                .await
                .map_err(|failure| SyncError::System {
                    connection: place.connection.to_owned(),
                    failure,
                })?;
            if !page.more {
                round_at = None;
                rounds_left -= 1;
                complete_at = if rounds_left == 0 {
                    Some(began)
                } else {
                    complete_at
                };
            }
            let has_gained = rounds_left == 0 && asking.has_gained();
            if rounds_left == 0 && !has_gained {
                asking.end();
            }
            let mut cursor = Cursor {
                complete_at,
                round_at,
                ..Cursor::at(page.cursor.clone(), self.world.now())
            };
            asking.note(&mut cursor);
            let moved = position.as_ref() != Some(&page.cursor);
            if moved || !page.objects.is_empty() || !page.more {
                let cursor = cursor.clone();
                let batch = Batch {
                    objects: &page.objects,
                    adopt: &BTreeMap::new(),
                    as_of: AsOf::Listed(asked_at),
                    cursor: Some((place.object, cursor)),
                };
                self.absorb(system, place, batch, report).await?;
            }
            position = Some(page.cursor);
            if has_gained {
                Box::pin(self.welcome(place, &mut asking, cursor, report)).await?;
            }
            if rounds_left == 0 {
                break;
            }
            let is_wanted = self.is_wanted_still(place.connection, place.object).await?;
            if page_number == PAGES_MAX || is_wanted {
                report.look_again(self.world.now());
                break;
            }
            self.keep(place.lease).await?;
        }
        self.read_parked_again(system, place, &fields, report).await
    }

    /// What reading everything of an object will take; nothing where its system cannot tell. Makes one call, and one to
    /// find out whether the connection may be used if that was not asked before.
    pub async fn forecast(&self, connection: &str, object: &str) -> Result<Option<Forecast>, SyncError> {
        let system = self.ready(connection, object).await?;
        let key = system.connector().key_field(object);
        let fields = self.plan.object_fields(connection, object, key);
        let told = system.forecast(object, &fields).await;
        told.map_err(|failure| SyncError::System {
            connection: connection.to_owned(),
            failure,
        })
    }

    /// How many objects a reading of everything that has begun will bring, for those who watch it; nothing while that is
    /// not known.
    pub fn expected_objects(&self, connection: &str, object: &str) -> Option<u64> {
        let key = (connection.to_owned(), object.to_owned());
        self.expected().get(&key).copied()
    }

    fn expected(&self) -> MutexGuard<'_, BTreeMap<(String, String), u64>> {
        self.expected.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes down what is to come. Reading does not depend on it, so what goes wrong is only told.
    async fn tell_forecast(&self, system: &Connection, place: Place<'_>, fields: &[String]) {
        let (connection, object) = (place.connection, place.object);
        match system.forecast(object, fields).await {
            Ok(Some(Forecast {
                objects,
                calls,
                at_least_ms,
                calls_left,
            })) => {
                self.expected()
                    .insert((connection.to_owned(), object.to_owned()), objects);
                tracing::info!(
                    connection,
                    object,
                    objects,
                    calls,
                    at_least_ms,
                    calls_left,
                    "everything will be read"
                );
            }
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(connection, object, %error, "what is to be read could not be counted");
            }
        }
    }

    /// The fields to read: those that are mapped, but for those that the system does not know at present.
    pub(crate) fn fields_of(&self, system: &Connection, place: Place<'_>) -> Vec<String> {
        let key = system.connector().key_field(place.object);
        let mut fields = self.plan.object_fields(place.connection, place.object, key);
        fields.retain(|field| !place.missing.has(field));
        fields
    }

    /// Reads parked objects again whose time has come: what they waited for may be there now.
    async fn read_parked_again(
        &self,
        system: &Arc<Connection>,
        place: Place<'_>,
        fields: &[String],
        report: &mut Report,
    ) -> Result<(), SyncError> {
        let filter = ParkedFilter {
            of: Some((place.connection.to_owned(), place.object.to_owned())),
            inbound: Some(true),
            retry_by: Some(self.world.now()),
            ..ParkedFilter::default()
        };
        let parked = self.ledger.parked(&filter, PARKED_AGAIN_MAX).await?;
        if parked.is_empty() || !system.reads_by_id(place.object) {
            return Ok(());
        }
        let ids: Vec<String> = parked.iter().map(|parked| parked.key.clone()).collect();
        let again = Arc::new(system.in_lane(Lane::Retry));
        let as_of = self.as_known(place, &ids).await?;
        let mut objects = self.read_by_ids(&again, place.object, fields, &ids).await?;
        self.keep(place.lease).await?;
        let answered: BTreeSet<&str> = objects.iter().map(|object| object.id.as_str()).collect();
        let absent = parked.iter().filter(|parked| !answered.contains(&*parked.key));
        // What stood for another one that went takes its record along; of what is linked by now it is the census that tells.
        let (stood, others): (Vec<_>, Vec<_>) = absent.partition(|parked| parked.code == STANDS);
        objects.extend(stood.iter().map(|parked| Object::deleted(&parked.key)));
        let batch = Batch {
            objects: &objects,
            adopt: &BTreeMap::new(),
            as_of,
            cursor: None,
        };
        self.absorb(&again, place, batch, report).await?;
        // What is no more waits for nothing.
        let commit = SyncCommit {
            lease: Some(place.lease.clone()),
            unparked: others.iter().map(|parked| inbound(place, &parked.key)).collect(),
            ..SyncCommit::default()
        };
        if !commit.unparked.is_empty() {
            self.ledger.commit(commit).await?;
        }
        if parked.len() == PARKED_AGAIN_MAX {
            let next = self.ledger.parked(&filter, 1).await?.pop();
            // Unless nothing came of these.
            if next.is_some_and(|next| next.key != parked[0].key) {
                report.look_again(self.world.now());
            }
        }
        Ok(())
    }

    /// Reads objects by id and absorbs them; gives the ids of those that are there.
    pub(crate) async fn absorb_ids(
        &self,
        system: &Arc<Connection>,
        place: Place<'_>,
        fields: &[String],
        ids: &[String],
        adopt: &BTreeMap<String, RecordId>,
        report: &mut Report,
    ) -> Result<BTreeSet<String>, SyncError> {
        let as_of = self.as_known(place, ids).await?;
        let objects = self.read_by_ids(system, place.object, fields, ids).await?;
        self.keep(place.lease).await?;
        let batch = Batch {
            objects: &objects,
            adopt,
            as_of,
            cursor: None,
        };
        self.absorb(system, place, batch, report).await?;
        Ok(objects.into_iter().map(|object| object.id).collect())
    }
}
