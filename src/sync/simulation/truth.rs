//! [`Truth`]: what people did, and whether the systems tell it in the end.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value as Json, json};

use super::hands::{Deed, Hands, Living, Place, name_alone};
use super::system::{EDITED, EDITED_OF_ORDERS, LINES, ORDERS, System, makes_sense};

/// What people did to one partner since everything was last at rest.
#[derive(Default)]
struct Deeds {
    /// By field, the values that people gave it in each row of each system, the last one last.
    edits: BTreeMap<&'static str, BTreeMap<(&'static str, String), Vec<Json>>>,
    /// Where it was edited, and when it last got a value there that it had nowhere, in milliseconds: none is given twice, but
    /// for a blank, which may be no change at all, or take the last one back.
    edited: BTreeMap<&'static str, Option<i64>>,
    /// Fields of rows whose last value was written over by a hub that may never have seen it.
    overwritten: BTreeSet<(&'static str, String, String)>,
    /// What people did to lines of a deal.
    lines: BTreeMap<String, Vec<Lined>>,
}

/// A line was added to a deal, or taken out.
struct Lined {
    system: &'static str,
    id: String,
    is_added: bool,
    /// Whether no line is left there by that.
    leaves_none: bool,
}

/// The field of a partner about which one connection may have the last word: as records name it, and as systems do.
pub(crate) const OWNED: &str = "industry";

/// How far two moments are apart when nobody can doubt which was the later one: clocks are askew and cut off seconds.
const LATER_MS: i64 = 10_000;

/// Whether a name is a deal's mark, and no partner's.
fn is_deal(name: &str) -> bool {
    name.starts_with("deal ")
}

/// What people did.
#[derive(Default)]
pub(crate) struct Truth {
    deeds: BTreeMap<String, Deeds>,
    /// Systems whose people deleted it.
    deleted: BTreeMap<String, BTreeMap<&'static str, i64>>,
    /// What was deleted somewhere and was there nevertheless when everything was last at rest.
    outlived: BTreeSet<String>,
    /// Whether a deletion at one system is one at all.
    spreads: bool,
    /// Who has the last word about what is [`OWNED`].
    owner: Option<&'static str>,
    /// What makes no sense elsewhere, by the system whose people said it.
    senseless: BTreeSet<(&'static str, String)>,
    /// What everybody agreed on when everything was last at rest, by domain and field; of what made no sense anywhere,
    /// whatever had made sense before.
    agreed: BTreeMap<(String, &'static str), Vec<Json>>,
    /// The lines that everybody agreed on when everything was last at rest, by the deal's mark.
    agreed_lines: BTreeMap<String, BTreeSet<String>>,
    /// Whatever people said of partners, by field.
    ever: BTreeMap<(String, &'static str), Vec<Json>>,
    /// What people did by hand.
    pub(super) hands: Hands,
    /// What everybody had agreed on of the partners of rows when these were left alone.
    left: BTreeMap<Place, BTreeMap<&'static str, Option<Vec<Json>>>>,
    /// Fields of partners that were agreed upon while one of their rows was left alone, which is not any more.
    missed: BTreeSet<(String, &'static str)>,
    /// Fields of partners that the hub does not read at a system.
    unmapped: BTreeSet<(&'static str, &'static str)>,
    /// The field that has come to be read there since everything was last at rest, or is not read any more: anything that
    /// people ever said of it may be what it is then, for nobody had agreed on anything, or not everything was read.
    remapped: Option<&'static str>,
    /// The field that ever came or went so, and partners of which a row was left alone meanwhile and is not any more.
    moved: Option<&'static str>,
    reread: BTreeSet<(String, &'static str)>,
    /// The edition of rows that are left alone which the hub had written last when everything was last at rest.
    ours: BTreeMap<Place, u64>,
}

impl Truth {
    pub(crate) fn new(spreads: bool, owner: Option<&'static str>) -> Truth {
        Truth {
            spreads,
            owner,
            ..Truth::default()
        }
    }

    /// A person of a system gave a field of a partner's row a value.
    pub(crate) fn edited(
        &mut self,
        (system, id): (&'static str, &str),
        domain: &str,
        (field, value): (&'static str, Json),
        now_ms: i64,
    ) {
        if !makes_sense(field, &value) {
            self.senseless.insert((system, value.to_string()));
        }
        let ever = self.ever.entry((domain.to_owned(), field)).or_default();
        ever.push(value.clone());
        if !is_deal(domain) && self.unmapped.contains(&(system, field)) {
            return;
        }
        let deeds = self.deeds.entry(domain.to_owned()).or_default();
        let new_at = deeds.edited.entry(system).or_default();
        // A process that has no line for it yet sees nothing in it.
        if self.remapped != Some(field) {
            *new_at = (!value.is_null() && makes_sense(field, &value)).then_some(now_ms);
        }
        let place = (system, id.to_owned(), field.to_owned());
        deeds.overwritten.remove(&place);
        deeds
            .edits
            .entry(field)
            .or_default()
            .entry((system, id.to_owned()))
            .or_default()
            .push(value);
    }

    /// The hub does not read a field of a system's partners.
    pub(super) fn unmap(&mut self, system: &'static str, field: &'static str) {
        self.unmapped.insert((system, field));
    }

    pub(super) fn is_unmapped(&self, system: &'static str, field: &'static str) -> bool {
        self.unmapped.contains(&(system, field))
    }

    /// From now on it reads a field at a system whose partners it did not read there, or the other way round.
    pub(super) fn remap(&mut self, system: &'static str, field: &'static str) {
        self.remapped = Some(field);
        self.moved = Some(field);
        if self.unmapped.remove(&(system, field)) {
            return;
        }
        self.unmapped.insert((system, field));
        // Whether it had read what was said there since everything was at rest, which keeps a partner that others deleted,
        // nobody can tell.
        for (_, deeds) in self.deeds.iter_mut().filter(|(name, _)| !is_deal(name)) {
            let mut edits = deeds.edits.get(field).into_iter().flat_map(BTreeMap::keys);
            if edits.any(|(at, _)| *at == system) {
                deeds.edited.insert(system, None);
            }
        }
    }

    /// A person of a system added a line to a deal's row, or took it out.
    pub(crate) fn lined(
        &mut self,
        (system, id): (&'static str, &str),
        mark: &str,
        (line, is_added, leaves_none): (String, bool, bool),
    ) {
        let deeds = self.deeds.entry(mark.to_owned()).or_default();
        deeds.lines.entry(line).or_default().push(Lined {
            system,
            id: id.to_owned(),
            is_added,
            leaves_none,
        });
    }

    /// What a person last said in a field of a row is there no more.
    pub(crate) fn overwritten(&mut self, (system, id): (&'static str, &str), domain: &str, field: &str) {
        // Long ago, and known since everything was at rest.
        let Some(deeds) = self.deeds.get_mut(domain) else {
            return;
        };
        deeds
            .overwritten
            .insert((system, id.to_owned(), field.to_owned()));
        deeds.edited.entry(system).and_modify(|new_at| *new_at = None);
    }

    pub(crate) fn deleted(&mut self, system: &'static str, domain: &str, now_ms: i64) {
        let deleted = self.deleted.entry(domain.to_owned()).or_default();
        deleted.insert(system, now_ms);
    }

    /// Whether a partner is one that everybody knew when everything was last at rest, and that nobody deleted.
    pub(super) fn is_whole(&self, name: &str) -> bool {
        self.is_agreed(name) && !self.deleted.contains_key(name)
    }

    /// People did something by hand, or took it back.
    pub(super) fn handed(&mut self, deed: &Deed, is_undone: bool) {
        self.hands.note(deed, is_undone);
        let (rows, are_back) = match deed {
            Deed::Unite { left, .. } => (left.clone(), is_undone),
            Deed::Leave(place, name) => (vec![(place.clone(), name.clone())], is_undone),
            Deed::Join(place, name) => (vec![(place.clone(), name.clone())], !is_undone),
            Deed::Move(..) | Deed::Part(..) | Deed::Review { .. } => (Vec::new(), is_undone),
        };
        for (place, name) in rows {
            let agreed = EDITED.map(|field| (field, self.agreed.get(&(name.clone(), field)).cloned()));
            if !are_back {
                self.left.insert(place, agreed.into());
                continue;
            }
            let left = self.left.remove(&place).unwrap_or_default();
            let missed = agreed
                .into_iter()
                .filter(|(field, now)| left.get(field) != Some(now));
            self.missed.extend(missed.map(|(field, _)| (name.clone(), field)));
            let alone = name_alone(&place.1);
            // What was said before it was left alone may have been read, and others may have said something since.
            let said = self.deeds.get(&alone).into_iter().flat_map(|deeds| &deeds.edits);
            let said = said.filter(|(_, rows)| rows.contains_key(&place));
            self.missed.extend(said.map(|(field, _)| (name.clone(), *field)));
            self.say_as(&place, (&alone, &name), false);
            for field in EDITED {
                let said = self.ever.remove(&(alone.clone(), field)).unwrap_or_default();
                self.ever.entry((name.clone(), field)).or_default().extend(said);
            }
            self.deeds.remove(&alone);
            self.reread.extend(self.moved.map(|field| (name.clone(), field)));
            self.ours.remove(&place);
        }
    }

    /// What was said of a row was said of another partner, before or after what was said of that.
    fn say_as(&mut self, place: &Place, (was, is): (&str, &str), before: bool) {
        let Some(deeds) = self.deeds.get_mut(was) else {
            return;
        };
        let said = deeds.edits.iter_mut();
        let said: Vec<_> = said
            .filter_map(|(field, rows)| Some((*field, rows.remove(place)?)))
            .collect();
        let edited = deeds.edited.get(place.0).copied();
        let deeds = self.deeds.entry(is.to_owned()).or_default();
        for (field, values) in said {
            let ever = self.ever.entry((is.to_owned(), field)).or_default();
            ever.extend(values.iter().cloned());
            let rows = deeds.edits.entry(field).or_default();
            let row = rows.entry(place.clone()).or_default();
            let at = if before { 0 } else { row.len() };
            row.splice(at..at, values);
        }
        if let Some(edited) = edited {
            deeds.edited.insert(place.0, edited);
        }
    }

    /// Whether a partner may be there, by how many rows each system has of it that wait for nobody, and by where another one
    /// waits for a person, so that nothing that is said there keeps it; what is wrong.
    fn judge_life(
        &self,
        domain: &str,
        rows: &BTreeMap<&'static str, Vec<String>>,
        waits: &BTreeSet<&'static str>,
    ) -> Option<String> {
        let deleted = self.deleted.get(domain);
        let is_deleted = |system: &str| deleted.is_some_and(|deleted| deleted.contains_key(system));
        let counts = |are: bool| {
            let some = rows.iter().filter(move |(system, _)| is_deleted(system) == are);
            some.map(|(_, rows)| rows.len()).collect::<BTreeSet<usize>>()
        };
        let (theirs, others) = (counts(true), counts(false));
        let last = deleted.and_then(|deleted| deleted.values().max());
        let right = match last.filter(|_| self.spreads) {
            None => others.iter().all(|count| *count == 1) && theirs.iter().all(|count| *count == 0),
            Some(last) => {
                let edited = self.deeds.get(domain).map(|deeds| &deeds.edited);
                let edited: Vec<(&str, Option<i64>)> = edited
                    .into_iter()
                    .flatten()
                    .map(|(system, at)| (*system, *at))
                    .collect();
                // It is nowhere, or with all those whose people did not delete it; those may have it again.
                let nowhere = theirs.iter().chain(&others).all(|count| *count == 0);
                let with_others =
                    others.iter().all(|count| *count == 1) && theirs.iter().all(|count| *count <= 1);
                let lasts = |(system, at): &(&str, Option<i64>)| {
                    let may_keep = !is_deleted(system) && !waits.contains(system);
                    may_keep && at.is_some_and(|at| at > last + LATER_MS)
                };
                // Whoever deleted it may not have known what others said, even if those have deleted it since.
                let talked_of = |system: &str| edited.iter().any(|(other, _)| *other != system);
                // And what was deleted elsewhere before may have been sent there as ours, and taken for that.
                let is_later =
                    |at: &i64| deleted.is_some_and(|deleted| deleted.values().any(|other| other < at));
                let doubtful = |(system, at): (&&'static str, &i64)| talked_of(system) || is_later(at);
                // So may what had been said before the hub read it.
                let is_new = |field| self.ever.contains_key(&(domain.to_owned(), field));
                // Or what was agreed upon while its row there was left alone.
                let is_behind = self.missed.iter().any(|(name, _)| name == domain);
                let touched = deleted.is_some_and(|deleted| deleted.iter().all(doubtful))
                    || self.remapped.is_some_and(is_new)
                    || is_behind;
                let saved = edited.iter().any(lasts);
                (nowhere && !saved) || (with_others && (touched || self.outlived.contains(domain)))
            }
        };
        (!right).then(|| format!("{domain}, deleted at {deleted:?}, is there: {rows:?}"))
    }

    /// Whether everybody knew a partner when everything was last at rest.
    pub(crate) fn is_agreed(&self, domain: &str) -> bool {
        self.agreed.contains_key(&(domain.to_owned(), "name"))
    }

    /// Whether a partner was deleted where that counts everywhere. If it is there, it outlived that, or is another one.
    fn was_ended(&self, domain: &str) -> bool {
        self.spreads && self.deleted.contains_key(domain)
    }

    /// Domains of all partners, and marks of all deals, that were ever made.
    fn names(&self) -> (BTreeSet<String>, BTreeSet<String>) {
        let agreed = self.agreed.keys().map(|(name, _)| name.clone());
        let all = self.deeds.keys().cloned().chain(agreed);
        let all = all.filter(|name| !self.hands.is_nobody(name));
        all.partition(|name| !is_deal(name))
    }

    /// Judges systems that are at rest; gives what is wrong, and takes what they hold as agreed. Rows that wait for a
    /// person stand beside the one that the hub keeps, and nothing of them is known elsewhere.
    pub(crate) fn judge(&mut self, systems: &[System], waiting: &BTreeSet<(String, String)>) -> Vec<String> {
        let mut wrong = Vec::new();
        let partners: Vec<Living> = systems.iter().map(|system| self.hands.living(system)).collect();
        let deals: Vec<Living> = systems.iter().map(|system| system.living(ORDERS)).collect();
        wrong.extend(self.judge_alone(systems));
        let (domains, marks) = self.names();
        let mut undecided = BTreeSet::new();
        for domain in domains {
            let mut life: BTreeMap<&'static str, Vec<String>> = BTreeMap::new();
            let mut held: BTreeMap<&'static str, BTreeMap<&'static str, Json>> = BTreeMap::new();
            let mut waits_at = BTreeSet::new();
            for (system, living) in systems.iter().zip(&partners) {
                let waits = |id: &&String| waiting.contains(&(system.name.to_owned(), (*id).clone()));
                let rows: Vec<&String> = living
                    .get(&domain)
                    .into_iter()
                    .flatten()
                    .filter(|id| !waits(id))
                    .collect();
                if living.get(&domain).is_some_and(|ids| ids.len() > rows.len()) {
                    waits_at.insert(system.name);
                }
                // Where its row is left alone, or was another one's, it has none.
                let mut alone = self.hands.alone();
                let is_alone = alone.any(|((at, _), name)| *at == system.name && *name == domain);
                let is_parted = self.hands.is_parted(system.name, &domain);
                if is_parted && !rows.is_empty() {
                    wrong.push(format!("{domain} is at {} again: {rows:?}", system.name));
                }
                if !(rows.is_empty() && (is_alone || is_parted)) {
                    life.insert(system.name, rows.iter().map(|id| (*id).clone()).collect());
                }
                for id in rows {
                    let known_by = system.rows[id.as_str()].values["domain"].clone();
                    held.entry("domain").or_default().insert(system.name, known_by);
                    let values = &system.rows[id.as_str()].values;
                    for field in EDITED {
                        if self.is_unmapped(system.name, field) {
                            continue;
                        }
                        let value = values.get(field).cloned().unwrap_or(Json::Null);
                        held.entry(field).or_default().insert(system.name, value);
                    }
                }
            }
            // Where only rows are left that are left alone, what people said is known to the hub alone.
            let is_alone = self.hands.alone().any(|(_, name)| *name == domain);
            if is_alone && life.values().all(Vec::is_empty) {
                undecided.insert(domain.clone());
            }
            wrong.extend(self.judge_life(&domain, &life, &waits_at));
            let outlives = self.deleted.contains_key(&domain) && life.values().any(|rows| !rows.is_empty());
            match outlives {
                true => self.outlived.insert(domain.clone()),
                false => self.outlived.remove(&domain),
            };
            wrong.extend(self.judge_domain(&domain, held.remove("domain")));
            for (field, values) in held {
                wrong.extend(self.judge_field(&domain, field, &values, waiting));
            }
        }
        for mark in marks {
            match self.judge_deal(&mark, systems, (&partners, &deals), waiting) {
                Some(found) => wrong.extend(found),
                None => drop(undecided.insert(mark)),
            }
        }
        let alone: Vec<(Place, String)> = self
            .hands
            .alone()
            .map(|(at, of)| (at.clone(), of.clone()))
            .collect();
        for (place, name) in &alone {
            self.say_as(place, (name, &name_alone(&place.1)), true);
        }
        let hands = &self.hands;
        self.deeds
            .retain(|name, _| undecided.contains(name) || hands.is_nobody(name));
        self.hands.close();
        self.missed.clear();
        self.remapped = None;
        self.reread.clear();
        wrong
    }

    /// What is wrong with rows that are left alone: the hub writes there no more.
    fn judge_alone(&mut self, systems: &[System]) -> Vec<String> {
        let mut ours = BTreeMap::new();
        for (place, _) in self.hands.alone() {
            let system = systems.iter().find(|system| system.name == place.0).unwrap();
            ours.insert(place.clone(), system.rows[&place.1].ours);
        }
        let written = ours
            .iter()
            .filter(|(place, now)| self.ours.get(*place).is_some_and(|then| then != *now));
        let wrong = written.map(|((_, id), _)| format!("{id} is left alone, and was written"));
        let wrong = wrong.collect();
        self.ours = ours;
        wrong
    }

    /// What is wrong with what makes a partner known: a row tells of it, or of what is one with it.
    fn judge_domain(&self, name: &str, held: Option<BTreeMap<&'static str, Json>>) -> Option<String> {
        let held = held?;
        let mut values = held.values();
        let value = values.next()?.as_str()?;
        let is_same = values.all(|other| other == value);
        let right = is_same && self.hands.now(value) == name;
        (!right).then(|| format!("{name} is known by {held:?}"))
    }

    /// What may be said of a partner that became one with others, or two, since everything was last at rest: whatever any of
    /// them was ever said to be.
    fn said_of_open(&self, name: &str, field: &'static str) -> Vec<Json> {
        let names = self.hands.open(name).into_iter().flatten();
        let said = names
            .filter_map(|name| self.ever.get(&(name.clone(), field)))
            .flatten();
        let said = said.filter(|value| makes_sense(field, value)).cloned();
        let blank = self.hands.open(name).map(|_| Json::Null);
        said.chain(blank).collect()
    }

    fn is_open(&self, name: &Json) -> bool {
        name.as_str().is_some_and(|name| self.hands.open(name).is_some())
    }

    /// Judges a deal: wherever its partner is, it is there once, and says the same. Nothing when that cannot be told yet: its
    /// partner is nowhere, or a person is to say which one it is.
    fn judge_deal(
        &mut self,
        mark: &str,
        systems: &[System],
        (partners, deals): (&[Living], &[Living]),
        waiting: &BTreeSet<(String, String)>,
    ) -> Option<Vec<String>> {
        let rows: Vec<&[String]> = deals
            .iter()
            .map(|deals| deals.get(mark).map_or(&[][..], Vec::as_slice))
            .collect();
        let told = || {
            systems
                .iter()
                .zip(&rows)
                .map(|(system, rows)| format!("{} {rows:?}", system.name))
                .collect::<Vec<_>>()
        };
        if rows.iter().any(|rows| rows.len() > 1) {
            return Some(vec![format!("{mark} is there more than once: {:?}", told())]);
        }
        let held: Vec<Option<(&String, &str, String)>> = systems
            .iter()
            .zip(&rows)
            .map(|(system, rows)| {
                let id = rows.first()?;
                let (partner, domain) = system.partner_of(id);
                Some((id, partner, self.hands.partner(system.name, partner, domain)))
            })
            .collect();
        let waits = |(system, held): (&System, &Option<(&String, &str, String)>)| {
            let partner = held.as_ref().map(|(_, partner, _)| (*partner).to_owned());
            partner.is_some_and(|partner| waiting.contains(&(system.name.to_owned(), partner)))
        };
        if systems.iter().zip(&held).any(waits) {
            return None;
        }
        // Where its partner is not, a deal cannot be written; what is there stays as it was.
        let is_at = |at: usize, domain: &str| partners[at].contains_key(domain);
        let domains: BTreeSet<&str> = held
            .iter()
            .flatten()
            .map(|(_, _, domain)| domain.as_str())
            .collect();
        let fits = |domain: &&&str| {
            let able = (0..systems.len()).filter(|at| is_at(*at, domain));
            able.clone().count() > 0
                && able
                    .into_iter()
                    .all(|at| held[at].as_ref().is_some_and(|(_, _, theirs)| theirs == **domain))
        };
        let is_nowhere =
            |domain: &&str| (0..systems.len()).all(|at| !is_at(at, domain)) || self.was_ended(domain);
        // Two may fit, each where the other is not; then it is what people said last, or what was agreed on.
        let edits = self.deeds.get(mark).and_then(|deeds| deeds.edits.get("partner"));
        let last = edits.into_iter().flatten().filter_map(|(_, said)| said.last());
        let agreed = self.agreed.get(&(mark.to_owned(), "partner"));
        let last = last.chain(agreed.into_iter().flatten().filter(|_| edits.is_none()));
        let said = last.filter_map(Json::as_str).map(|name| self.hands.now(name));
        let said: BTreeSet<&str> = said.collect();
        let fitting: Vec<&&str> = domains.iter().filter(fits).collect();
        let told = fitting.iter().find(|domain| said.contains(**domain));
        let domain = match (told, fitting.first()) {
            (Some(domain), _) => domain,
            // It is of one that is nowhere any more, or is another one now.
            (None, _) if domains.iter().any(is_nowhere) => return None,
            (None, Some(domain)) => domain,
            (None, None) => return Some(vec![format!("{mark}: {held:?}")]),
        };
        let mut wrong = Vec::new();
        let mut values: BTreeMap<&'static str, BTreeMap<&'static str, Json>> = BTreeMap::new();
        for (at, system) in systems.iter().enumerate() {
            let Some((id, partner, theirs)) = &held[at] else {
                continue;
            };
            let row = &system.rows[*id].values;
            for field in EDITED_OF_ORDERS {
                let value = row.get(field).cloned().unwrap_or(Json::Null);
                values.entry(field).or_default().insert(system.name, value);
            }
            if is_at(at, domain) {
                let is_there = partners[at][**domain].iter().any(|row| row == partner);
                if !is_there && !self.hands.is_alone(system.name, partner) {
                    wrong.push(format!(
                        "{mark} is of {partner} at {}, which is not there",
                        system.name
                    ));
                }
                values
                    .entry("partner")
                    .or_default()
                    .insert(system.name, Json::from(theirs.as_str()));
            }
        }
        let judged = values
            .iter()
            .filter_map(|(field, values)| self.judge_field(mark, field, values, waiting));
        wrong.extend(judged);
        let lines = systems.iter().zip(&held);
        let lines = lines.filter_map(|(system, held)| Some((system.name, system.lines_of(held.as_ref()?.0))));
        wrong.extend(self.judge_lines(mark, &lines.collect()));
        Some(wrong)
    }

    /// Judges the lines of a deal: what somebody added is there, what somebody took out is not, and everybody has the same.
    fn judge_lines(&mut self, mark: &str, held: &BTreeMap<&'static str, BTreeSet<String>>) -> Option<String> {
        let mut all = held.values();
        let lines = all.next()?;
        if all.any(|other| other != lines) {
            return Some(format!("{mark} lines: {held:?}"));
        }
        let agreed = self.agreed_lines.insert(mark.to_owned(), lines.clone());
        let agreed = agreed.unwrap_or_default();
        let deeds = self.deeds.get(mark);
        let is_sure = |one: &Lined| {
            let place = (one.system, one.id.clone(), LINES.to_owned());
            deeds.is_some_and(|deeds| !deeds.overwritten.contains(&place))
        };
        let said = deeds.map(|deeds| &deeds.lines);
        let said: Vec<_> = said.into_iter().flatten().collect();
        let left_none = |but: &str| {
            let mut deeds = said.iter().flat_map(|(_, deeds)| deeds.iter());
            deeds.any(|one| one.leaves_none && one.system != but)
        };
        let is_wrong = |line: &&String| {
            let deeds = said
                .iter()
                .find(|(known, _)| *known == *line)
                .map(|(_, deeds)| deeds.as_slice());
            match deeds {
                // Where it was taken out again while nobody had heard that it had got there, it may not have been there.
                Some([added, out, ..]) if added.system != out.system => false,
                // Where others left none, too, that may be what the hub tried to write there, of which nobody heard.
                Some([.., out]) if out.leaves_none && left_none(out.system) => false,
                // None is added twice, so that what was taken out by anybody stays out.
                Some(deeds) if deeds.iter().all(is_sure) => {
                    lines.contains(*line) != deeds.iter().all(|one| one.is_added)
                }
                Some(_) => false,
                None => lines.contains(*line) != agreed.contains(*line),
            }
        };
        let all: BTreeSet<&String> = lines
            .iter()
            .chain(&agreed)
            .chain(said.iter().map(|(line, _)| *line))
            .collect();
        let wrong: Vec<&String> = all.into_iter().filter(is_wrong).collect();
        (!wrong.is_empty()).then(|| format!("{mark} lines: everybody has {lines:?}, wrong are {wrong:?}"))
    }

    fn judge_field(
        &mut self,
        domain: &str,
        field: &'static str,
        values: &BTreeMap<&'static str, Json>,
        waiting: &BTreeSet<(String, String)>,
    ) -> Option<String> {
        let spread = values.iter().find(|(system, value)| {
            !makes_sense(field, value) && !self.senseless.contains(&(**system, value.to_string()))
        });
        if let Some((system, value)) = spread {
            return Some(format!(
                "{domain} {field}: {system} has {value}, which makes sense to nobody there"
            ));
        }
        let key = (domain.to_owned(), field);
        let edits = self.deeds.get(domain).and_then(|deeds| deeds.edits.get(field));
        let overwritten = self.deeds.get(domain).map(|deeds| &deeds.overwritten);
        let deleted = self.deleted.get(domain);
        let mut allowed: Vec<Json> = Vec::new();
        let mut seen = false;
        // Who has the last word about what everybody knows is not talked over; what others said before that, or when the owner
        // has it no more, may be taken or not, and so may what was said of a partner before its end.
        let owner = self.owner.filter(|_| field == OWNED);
        let rules = |owner| self.is_agreed(domain) && deleted.is_none() && values.contains_key(owner);
        let is_ruled = owner.is_some_and(rules);
        let is_open = (owner.is_some() && !is_ruled) || self.was_ended(domain);
        let heeded = |system: &str| !is_ruled || owner == Some(system);
        // A blank that others had said, too, may be what the hub tried to write there, of which nobody heard.
        let blank_elsewhere = |system: &str| {
            let mut others = edits
                .into_iter()
                .flatten()
                .filter(|((other, _), _)| *other != system);
            others.any(|(_, values)| values.contains(&Json::Null))
        };
        let all = edits.into_iter().flatten();
        for ((system, id), values) in all.filter(|((system, _), _)| heeded(system)) {
            // One that waits may have been met before the other one was.
            let waits = waiting.contains(&((*system).to_owned(), id.clone()));
            // What one says that is left alone may have been read before, and the last of it not.
            let is_alone = self.hands.is_alone(system, id);
            let place = (*system, id.clone(), field.to_owned());
            let is_overwritten = overwritten.is_some_and(|overwritten| overwritten.contains(&place));
            let is_there = !is_overwritten && !is_alone;
            let last = values
                .last()
                .filter(|value| is_there && !is_open && makes_sense(field, value));
            match last.filter(|_| !deleted.is_some_and(|deleted| deleted.contains_key(system))) {
                // What came before may never have been seen, or in part.
                None => allowed.extend(values.iter().filter(|value| makes_sense(field, value)).cloned()),
                Some(last) => {
                    if last.is_null() && blank_elsewhere(system) {
                        allowed.extend(values.iter().filter(|value| makes_sense(field, value)).cloned());
                    }
                    allowed.push(last.clone());
                    seen |= !waits;
                }
            }
        }
        if !seen {
            let agreed = self.agreed.get(&key).cloned();
            allowed.extend(agreed.unwrap_or_else(|| vec![Json::Null]));
        }
        if self.was_ended(domain) {
            allowed.push(Json::Null);
        }
        if self.missed.contains(&key) {
            allowed.extend(self.agreed.get(&key).into_iter().flatten().cloned());
        }
        allowed.extend(self.said_of_open(domain, field));
        if (self.remapped == Some(field) && !is_deal(domain)) || self.reread.contains(&key) {
            // Who said it first may not be read there any more.
            let is_lost = self.unmapped.iter().any(|(_, unread)| *unread == field);
            let agreed = self.agreed.get(&key).cloned();
            allowed.extend(agreed.unwrap_or_else(|| is_lost.then_some(Json::Null).into_iter().collect()));
            let names = self.hands.all_with(domain);
            let ever = names.filter_map(|name| self.ever.get(&(name.to_owned(), field)));
            allowed.extend(ever.flatten().filter(|value| makes_sense(field, value)).cloned());
        }
        if field == "partner" {
            let now = |name: &Json| name.as_str().map(|name| json!(self.hands.now(name)));
            allowed = allowed.iter().filter_map(now).collect();
            allowed.extend(values.values().filter(|value| self.is_open(value)).cloned());
        }
        // What makes no sense to others stays where it is, or gives way to what does.
        let mut sensible = values.values().filter(|value| makes_sense(field, value));
        let Some(value) = sensible.next() else {
            self.agreed.insert(key, allowed);
            return None;
        };
        if sensible.any(|other| other != value) {
            return Some(format!("{domain} {field}: {values:?}"));
        }
        let ever = self.ever.entry(key.clone()).or_default();
        if !ever.contains(value) {
            ever.push(value.clone());
        }
        self.agreed.insert(key, vec![value.clone()]);
        (!allowed.contains(value))
            .then(|| format!("{domain} {field}: everybody has {value}, people said {allowed:?}"))
    }
}
