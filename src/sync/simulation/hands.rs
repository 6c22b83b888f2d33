//! What people do with records by hand, and take back: two partners are one, a row is left alone, or it is another partner's.
//!
//! An action goes on beside everything else, and whoever carries it out may die; whether it was done is what the ledger
//! says. From then on rows tell of other partners than their domains say ([`Hands`]).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ledger::{ActionFilter, Journal, Records};
use model::{ActionId, RecordId};
use tokio::task::JoinHandle;

use super::run::{NAMES, NODES, Run, is_joining, is_moving, is_parting};
use super::system::{System, THINGS};
use crate::{Act, ObjectAt};

/// The rows of an object that are there, by what makes them known everywhere.
pub(super) type Living = BTreeMap<String, Vec<String>>;
/// A row of a system.
pub(super) type Place = (&'static str, String);

/// Actions that are looked through for one.
const ACTIONS_MAX: usize = 1_000;

/// What a person did.
#[derive(Clone, Debug)]
pub(super) enum Deed {
    /// One partner is another one: which rows stay, and which are left alone; each with its partner.
    Unite {
        keep: String,
        lose: String,
        stay: Vec<(Place, String)>,
        left: Vec<(Place, String)>,
    },
    /// A row of a partner is left alone.
    Leave(Place, String),
    /// A row that is left alone is its partner's again, without taking back that it was.
    Join(Place, String),
    /// A row of a partner is another one's, of which a row there was left alone, and from now on known by that one's domain.
    Move(Place, String, String),
    /// A row of a partner is none of it, and from now on known by another domain; it is not taken back.
    Part(Place, String, String),
    /// A row that waited for a person is a partner of its own, or the one that it may be; that is not taken back.
    Review { place: Place, is_own: bool },
}

/// A deed or its undoing that is under way.
pub(super) struct Acting {
    pub(super) node: usize,
    by: String,
    deed: Deed,
    /// The action that is undone by it.
    undoes: Option<ActionId>,
    pub(super) job: JoinHandle<Result<(), crate::ActionError>>,
}

impl Acting {
    pub(super) fn new(
        node: usize,
        by: String,
        deed: Deed,
        job: JoinHandle<Result<(), crate::ActionError>>,
    ) -> Acting {
        Acting {
            node,
            by,
            deed,
            undoes: None,
            job,
        }
    }
}

/// Which partner a row tells of, where people said so.
#[derive(Default)]
pub(super) struct Hands {
    /// Partners that are others now.
    united: BTreeMap<String, String>,
    /// Rows of partners that are, or were, others.
    rows: BTreeMap<Place, String>,
    /// Rows that are left alone, with their partners.
    alone: BTreeMap<Place, String>,
    /// Where partners have no row any more, because that was another one's.
    parted: BTreeSet<(&'static str, String)>,
    /// Partners that became one or two since everything was last at rest, and whose words may be theirs now.
    open: BTreeMap<String, BTreeSet<String>>,
    /// Partners that ever became one, by each other.
    met: BTreeSet<(String, String)>,
}

impl Hands {
    /// The name of a row's partner; a row that is left alone has a name of its own.
    pub(super) fn name(&self, system: &'static str, id: &str, domain: &str) -> String {
        let place = (system, id.to_owned());
        match self.alone.get(&place) {
            Some(_) => name_alone(id),
            None => self.rows.get(&place).map_or(domain, String::as_str).to_owned(),
        }
    }

    /// The partner that a row stands for, left alone or not.
    pub(super) fn partner(&self, system: &'static str, id: &str, domain: &str) -> String {
        let place = (system, id.to_owned());
        let name = self.alone.get(&place).or_else(|| self.rows.get(&place));
        self.now(name.map_or(domain, String::as_str)).to_owned()
    }

    /// The partner that one is now.
    pub(super) fn now<'a>(&'a self, name: &'a str) -> &'a str {
        self.united.get(name).map_or(name, String::as_str)
    }

    /// Partners of a system that are there, by their names.
    pub(super) fn living(&self, system: &System) -> Living {
        let mut living = Living::new();
        for (domain, ids) in system.living(THINGS) {
            for id in ids {
                let name = self.name(system.name, &id, &domain);
                living.entry(name).or_default().push(id);
            }
        }
        living
    }

    pub(super) fn is_alone(&self, system: &'static str, id: &str) -> bool {
        self.alone.contains_key(&(system, id.to_owned()))
    }

    /// Whether a partner's row of a system was another one's.
    pub(super) fn is_parted(&self, system: &'static str, name: &str) -> bool {
        self.parted.contains(&(system, name.to_owned()))
    }

    /// Rows that are left alone, with their partners.
    pub(super) fn alone(&self) -> impl Iterator<Item = (&Place, &String)> {
        self.alone.iter()
    }

    /// Whether a partner is another one now, or has another one's rows.
    pub(super) fn is_united(&self, name: &str) -> bool {
        self.united
            .iter()
            .any(|(lose, keep)| lose == name || keep == name)
    }

    /// Whether people did something by hand that says what a partner's rows are.
    pub(super) fn is_handled(&self, name: &str) -> bool {
        self.is_united(name) || self.open.contains_key(name)
    }

    /// Whether a name is no partner's: it is another one's, or a row that is left alone.
    pub(super) fn is_nobody(&self, name: &str) -> bool {
        self.united.contains_key(name) || self.alone.keys().any(|(_, id)| name_alone(id) == name)
    }

    /// Whose words may be a partner's, when it became one with others, or two, since everything was last at rest.
    pub(super) fn open(&self, name: &str) -> Option<&BTreeSet<String>> {
        self.open.get(name)
    }

    /// From now on what is said is theirs.
    pub(super) fn close(&mut self) {
        self.open.clear();
    }

    /// A partner, and those that ever became one with it, whose rows may be its own since.
    pub(super) fn all_with<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let others = self
            .met
            .iter()
            .filter_map(move |(one, other)| match (one, other) {
                (one, other) if one == name => Some(other.as_str()),
                (one, other) if other == name => Some(one.as_str()),
                _ => None,
            });
        std::iter::once(name).chain(others)
    }

    fn is_free(&self, name: &str) -> bool {
        let is_left = self.alone.values().any(|of| of == name);
        !self.is_united(name) && !self.is_nobody(name) && !is_left && !self.open.contains_key(name)
    }

    /// A deed was done, or undone.
    pub(super) fn note(&mut self, deed: &Deed, is_undone: bool) {
        match deed {
            Deed::Unite {
                keep,
                lose,
                stay,
                left,
            } => {
                self.meet(keep, lose);
                if is_undone {
                    self.united.remove(lose);
                    self.alone
                        .retain(|place, _| !left.iter().any(|(back, _)| back == place));
                    self.rows.extend(stay.iter().chain(left).cloned());
                    return;
                }
                self.united.insert(lose.clone(), keep.clone());
                let stay = stay.iter().map(|(place, _)| (place.clone(), keep.clone()));
                self.rows.extend(stay);
                self.alone.extend(left.iter().cloned());
            }
            Deed::Leave(place, _) if is_undone => drop(self.alone.remove(place)),
            Deed::Leave(place, name) => drop(self.alone.insert(place.clone(), name.clone())),
            // It is met for the first time, beside what was said of either meanwhile.
            Deed::Join(place, name) => {
                self.meet(name, &name_alone(&place.1));
                match is_undone {
                    true => drop(self.alone.insert(place.clone(), name.clone())),
                    false => drop(self.alone.remove(place)),
                }
            }
            Deed::Move(place, was, is) => {
                self.meet(was, is);
                let lacks = (place.0, was.clone());
                let whose = match is_undone {
                    true => {
                        self.parted.remove(&lacks);
                        was
                    }
                    false => {
                        self.parted.insert(lacks);
                        is
                    }
                };
                self.rows.insert(place.clone(), whose.clone());
            }
            Deed::Part(place, was, is) => {
                self.meet(was, is);
                self.parted.insert((place.0, was.clone()));
                self.rows.insert(place.clone(), is.clone());
            }
            Deed::Review { .. } => {}
        }
    }

    /// Two partners became one, or one became two: what was said of either may be the other's.
    fn meet(&mut self, one: &str, other: &str) {
        let both: BTreeSet<String> = [one.to_owned(), other.to_owned()].into();
        self.met.insert((one.to_owned(), other.to_owned()));
        self.open
            .extend(both.iter().map(|name| (name.clone(), both.clone())));
    }
}

/// The name of a row that is left alone.
pub(super) fn name_alone(id: &str) -> String {
    format!("{id} alone")
}

impl Run {
    /// Partners of a system that are there, by their names.
    pub(super) fn partners_at(&self, at: usize) -> Living {
        self.truth.hands.living(&self.systems[at])
    }

    /// A partner that everybody knows, of which people have done nothing by hand, and its rows.
    fn some_free(&mut self) -> Option<(String, Vec<Place>)> {
        let living: Vec<Living> = (0..NAMES.len()).map(|at| self.partners_at(at)).collect();
        let is_free = |name: &&String| {
            self.truth.hands.is_free(name)
                && self.truth.is_whole(name)
                && living
                    .iter()
                    .all(|living| living.get(*name).is_some_and(|ids| ids.len() == 1))
        };
        let free: Vec<String> = living[0].keys().filter(is_free).cloned().collect();
        if free.is_empty() {
            return None;
        }
        let name = free[self.chance.below(free.len())].clone();
        let rows = NAMES
            .iter()
            .zip(&living)
            .map(|(at, living)| (*at, living[&name][0].clone()));
        let rows = rows.collect();
        Some((name, rows))
    }

    fn is_deleted(&self, (at, id): &Place) -> bool {
        let mut systems = self.systems.iter();
        systems.any(|system| system.name == *at && system.rows[id].deleted)
    }

    async fn record_of(&self, (at, id): &Place) -> Option<RecordId> {
        let linked = self
            .ledger
            .linked(at, THINGS, std::slice::from_ref(id))
            .await
            .unwrap();
        Some(linked.into_iter().next()?.record.id)
    }

    /// A person does something by hand, or takes something back.
    pub(super) async fn act(&mut self) {
        if self.acting.is_some() {
            return;
        }
        let parting = is_parting(self.seed) && self.chance.percent(50);
        let moving = is_moving(self.seed);
        let back = !self.done.is_empty() && self.chance.percent(if moving { 20 } else { 50 });
        let planned = match (back, self.chance.percent(50)) {
            (true, _) => {
                let (id, deed) = self.done[self.chance.below(self.done.len())].clone();
                match deed {
                    Deed::Leave(place, name) if is_joining(self.seed) && self.chance.percent(50) => {
                        self.plan_joining(place, name).await
                    }
                    // Whose deletion it was that somebody deleted the row meanwhile is for people to say.
                    Deed::Move(place, ..) if self.is_deleted(&place) => None,
                    deed => Some((Act::Undo(id), deed, Some(id))),
                }
            }
            (false, true) if moving => self.plan_moving().await,
            (false, true) => self.plan_union().await,
            (false, false) => self.plan_leaving(parting).await,
        };
        let Some((act, deed, undoes)) = planned else {
            return;
        };
        let node = self.chance.below(NODES);
        self.actions += 1;
        let by = format!("person {}", self.actions);
        self.tell(&format!("{by} asks node {node} for {act:?}: {deed:?}"));
        let engine = Arc::clone(&self.nodes[node].engine);
        let who = by.clone();
        let job = tokio::spawn(async move { engine.act(&who, &act).await.map(drop) });
        self.acting = Some(Acting {
            undoes,
            ..Acting::new(node, by, deed, job)
        });
    }

    async fn plan_union(&mut self) -> Option<(Act, Deed, Option<ActionId>)> {
        let ((keep, keeps), (lose, loses)) = (self.some_free()?, self.some_free()?);
        if keep == lose {
            return None;
        }
        let (kept, lost) = (self.record_of(&keeps[0]).await?, self.record_of(&loses[0]).await?);
        let (mut stay, mut left) = (Vec::new(), Vec::new());
        for (ours, theirs) in keeps.into_iter().zip(loses) {
            let mut both = [(ours, keep.clone()), (theirs, lose.clone())];
            if self.chance.percent(50) {
                both.reverse();
            }
            let [stays, goes] = both;
            stay.push(stays);
            left.push(goes);
        }
        let act = Act::Merge {
            keep: kept,
            lose: lost,
            stay: stay.iter().map(|((at, id), _)| object_at(at, id)).collect(),
        };
        let deed = Deed::Unite {
            keep,
            lose,
            stay,
            left,
        };
        Some((act, deed, None))
    }

    async fn plan_leaving(&mut self, parting: bool) -> Option<(Act, Deed, Option<ActionId>)> {
        let (name, mut rows) = self.some_free()?;
        // What becomes of a deal that named the row is for people to say.
        let is_named = |(system, (_, id)): (&System, &Place)| system.names(id);
        if parting && self.systems.iter().zip(&rows).any(is_named) {
            return None;
        }
        let place = rows.swap_remove(self.chance.below(rows.len()));
        let act = Act::Unlink {
            record: self.record_of(&place).await?,
            connection: place.0.to_owned(),
            object: Some(THINGS.to_owned()),
            ignore: !parting,
        };
        let deed = match parting {
            true => Deed::Part(place, name, self.new_domain()),
            false => Deed::Leave(place, name),
        };
        Some((act, deed, None))
    }

    async fn plan_joining(&mut self, place: Place, name: String) -> Option<(Act, Deed, Option<ActionId>)> {
        let act = Act::Link {
            record: self.record_of(&place).await?,
            at: object_at(place.0, &place.1),
            moved: false,
        };
        Some((act, Deed::Join(place, name), None))
    }

    async fn plan_moving(&mut self) -> Option<(Act, Deed, Option<ActionId>)> {
        let hands = &self.truth.hands;
        let lacking = hands.alone().filter(|((at, _), name)| {
            let system = NAMES.iter().position(|known| known == at).unwrap();
            let is_known = self.truth.is_whole(name) && !hands.is_handled(name);
            is_known && !self.partners_at(system).contains_key(*name)
        });
        let lacking: Vec<(Place, String)> = lacking.map(|(at, name)| (at.clone(), name.clone())).collect();
        let (was, rows) = self.some_free()?;
        if lacking.is_empty() {
            return None;
        }
        let (left, is) = lacking[self.chance.below(lacking.len())].clone();
        let place = rows.into_iter().find(|(at, _)| *at == left.0)?;
        let act = Act::Link {
            record: self.record_of(&left).await?,
            at: object_at(place.0, &place.1),
            moved: true,
        };
        Some((act, Deed::Move(place, was, is), None))
    }

    /// Whether something is under way about a partner.
    pub(super) fn is_acting_on(&self, name: &str) -> bool {
        self.acting.as_ref().is_some_and(|acting| match &acting.deed {
            Deed::Unite { keep, lose, .. } => keep == name || lose == name,
            Deed::Leave(_, of) | Deed::Join(_, of) => of == name,
            Deed::Move(_, was, is) | Deed::Part(_, was, is) => was == name || is == name,
            Deed::Review { .. } => false,
        })
    }

    /// An action has ended, or whoever carried it out is dead: the ledger says whether it was done.
    pub(super) async fn conclude_acting(&mut self) {
        let Some(acting) = self.acting.take_if(|acting| acting.job.is_finished()) else {
            return;
        };
        let said = match acting.job.await {
            Ok(said) => said.err().map(|error| error.to_string()),
            Err(dead) if dead.is_cancelled() => Some("whoever carried it out is dead".to_owned()),
            Err(dead) => std::panic::resume_unwind(dead.into_panic()),
        };
        let actions = self
            .ledger
            .actions(&ActionFilter::default(), ACTIONS_MAX)
            .await
            .unwrap();
        let done = actions.into_iter().find(|action| action.by == acting.by);
        let became = match (&done, said) {
            (Some(_), None) => "is done".to_owned(),
            (Some(_), Some(error)) => format!("is done, though {error}"),
            (None, said) => format!("is not done: {}", said.unwrap_or_default()),
        };
        self.tell(&format!("what {} asked for {became}", acting.by));
        let Some(action) = done else { return };
        if let Deed::Review { place, is_own: true } = &acting.deed {
            self.tell_apart(place);
        }
        self.truth.handed(&acting.deed, acting.undoes.is_some());
        // Whose a row is, people say in the row, too.
        let known_by = match (&acting.deed, acting.undoes) {
            (Deed::Part(place, _, is) | Deed::Move(place, _, is), None) => Some((place.clone(), is.clone())),
            (Deed::Move(place, was, _), Some(_)) => Some((place.clone(), was.clone())),
            _ => None,
        };
        if let Some(((at, id), domain)) = known_by {
            self.rename(at, &id, &domain);
        }
        if let Deed::Part((at, id), ..) = &acting.deed {
            self.register_anew(at, id);
        }
        match acting.undoes {
            Some(undone) => self.done.retain(|(id, _)| *id != undone),
            None => match acting.deed {
                Deed::Part(..) | Deed::Review { .. } => {}
                deed => {
                    if let Deed::Join(place, _) = &deed {
                        self.done
                            .retain(|(_, done)| !matches!(done, Deed::Leave(left, _) if left == place));
                    }
                    self.done.push((action.id, deed));
                }
            },
        }
    }
}

fn object_at(at: &str, id: &str) -> ObjectAt {
    ObjectAt {
        connection: at.to_owned(),
        object: THINGS.to_owned(),
        external_id: id.to_owned(),
    }
}
