//! What people do: they make, edit, move, delete and merge, and decide what is left to them.

use std::collections::BTreeSet;

use ledger::{ConflictFilter, ConflictState, Conflicts, ParkedFilter, Records};
use serde_json::{Value as Json, json};

use super::run::{NAMES, NODES, Run};
use super::system::{EDITED, EDITED_OF_ORDERS, LINES, MAIL, ORDERS, THINGS};
use crate::{Decision, Take, Unresolved};

impl Run {
    /// People of so many systems learn of a new partner.
    pub(super) fn make_partner(&mut self, many: usize) {
        let domain = self.new_domain();
        let first = self.chance.below(NAMES.len());
        for offset in 0..many {
            let at = (first + offset) % NAMES.len();
            let name = self.value();
            self.make_at(at, &domain, &name);
        }
    }

    pub(super) fn new_domain(&mut self) -> String {
        self.partners += 1;
        format!("d{}.example", self.partners)
    }

    /// A row that was taken for a partner's tells what it is the row of.
    pub(super) fn rename(&mut self, name: &'static str, id: &str, domain: &str) {
        let at = NAMES.iter().position(|known| *known == name).unwrap();
        let (now, value) = (self.network.now_ms(), self.value());
        for (field, value) in [("domain", json!(domain)), ("name", value.clone())] {
            self.systems[at].edit(id, field, value, now, &mut self.chance);
        }
        self.truth
            .edited((name, id), domain, ("name", value.clone()), now);
        self.tell(&format!("{id} is {domain}, {value}"));
        self.hints.push((name, THINGS, id.to_owned(), "update"));
    }

    fn make_at(&mut self, at: usize, domain: &str, name: &Json) {
        let values = json!({"domain": domain, "name": name});
        let now = self.network.now_ms();
        let id = self.systems[at].make(THINGS, values, now, &mut self.chance);
        self.truth
            .edited((NAMES[at], &id), domain, ("name", name.clone()), now);
        self.tell(&format!("{id} is made: {domain}, {name}"));
        self.hints.push((NAMES[at], THINGS, id, "create"));
    }

    /// People of a second system learn of a partner that others have made, and do not see it at theirs yet.
    pub(super) fn make_twin(&mut self) {
        let Some((_, domain, _)) = self.some_row() else {
            return;
        };
        let at = self.chance.below(NAMES.len());
        // Who is known by another domain from now on is not met by it: records meet when they are new.
        let hands = &self.truth.hands;
        let is_known = self.truth.is_agreed(&domain) || hands.is_nobody(&domain) || hands.is_handled(&domain);
        if is_known || self.systems[at].living(THINGS).contains_key(&domain) {
            return;
        }
        let name = self.value();
        self.make_at(at, &domain, &name);
    }

    /// Rows that wait for a person, because the hub had made another one for the same partner.
    pub(super) async fn duplicates(&self) -> BTreeSet<(String, String)> {
        let parked = self.ledger.parked(&ParkedFilter::default(), 1_000).await.unwrap();
        let duplicates = parked.into_iter().filter(|parked| parked.code == "duplicate");
        duplicates.map(|parked| (parked.connection, parked.key)).collect()
    }

    /// People make one what is there twice, and keep one or the other.
    pub(super) async fn clean_up(&mut self) {
        let waiting = self.duplicates().await;
        for (at, name) in NAMES.into_iter().enumerate() {
            for (domain, ids) in self.partners_at(at) {
                let [a, b] = ids.as_slice() else { continue };
                let own = |id: &String| waiting.contains(&(name.to_owned(), id.clone()));
                // What the hub made carries its key, whichever of the two waits.
                let ours = |id: &String| {
                    self.systems[at].rows[id]
                        .values
                        .get("key")
                        .is_some_and(Json::is_string)
                };
                let (made, theirs) = match (ours(a), ours(b)) {
                    (true, false) => (a, b),
                    (false, true) => (b, a),
                    _ if own(a) => (b, a),
                    _ => (a, b),
                };
                let keep_theirs = self.chance.percent(50);
                let (kept, lost) = if keep_theirs {
                    (theirs, made)
                } else {
                    (made, theirs)
                };
                // What theirs has otherwise is what people want now, as far as it is kept: where the kept one has nothing it
                // takes what the other one has.
                let (new, old) = (&self.systems[at].rows[theirs], &self.systems[at].rows[made]);
                for field in EDITED {
                    let value =
                        |row: &super::system::Row| row.values.get(field).cloned().unwrap_or(Json::Null);
                    let (new, old) = (value(new), value(old));
                    let now = self.network.now_ms();
                    if !new.is_null() && new != old && (keep_theirs || old.is_null()) {
                        self.truth.edited((name, kept), &domain, (field, new), now);
                    } else if new != old && (own(kept) || (keep_theirs && new.is_null())) {
                        // Where that is one that the hub made and did not keep, or what the hub once wrote there, nobody can
                        // tell whether it is what they want.
                        self.truth.edited((name, kept), &domain, (field, old), now);
                        self.truth.overwritten((name, kept), &domain, field);
                    }
                }
                let now = self.network.now_ms();
                self.systems[at].merge(kept, lost, now, &mut self.chance);
                self.tell(&format!("{lost} is merged into {kept} ({domain})"));
            }
        }
    }

    pub(super) fn value(&mut self) -> Json {
        self.values += 1;
        json!(format!("v{}", self.values))
    }

    /// An address, or what is none.
    fn mail(&mut self) -> Json {
        self.values += 1;
        let at = if self.chance.percent(30) { " at " } else { "@" };
        json!(format!("v{}{at}mail.example", self.values))
    }

    /// A partner's row that is there.
    fn some_row(&mut self) -> Option<(usize, String, String)> {
        let at = self.chance.below(NAMES.len());
        let (domain, id) = self.some_row_of(at, THINGS)?;
        Some((at, domain, id))
    }

    fn some_row_of(&mut self, at: usize, object: &str) -> Option<(String, String)> {
        let living = match object {
            THINGS => self.partners_at(at),
            _ => self.systems[at].living(object),
        };
        let living = living.into_iter().filter(|(name, _)| !self.is_in_question(name));
        let living: Vec<(String, Vec<String>)> = living.collect();
        if living.is_empty() {
            return None;
        }
        let (name, ids) = &living[self.chance.below(living.len())];
        Some((name.clone(), ids[0].clone()))
    }

    /// People make a deal for a partner that they see, which nobody else may know yet.
    pub(super) fn make_deal(&mut self) {
        let Some((at, domain, partner)) = self.some_row() else {
            return;
        };
        if self.is_acting_on(&domain) {
            return;
        }
        self.deals += 1;
        let (mark, title) = (format!("deal {}", self.deals), self.value());
        let values = json!({"mark": mark, "title": title, "stage": "prospect", "partner": partner});
        let now = self.network.now_ms();
        let id = self.systems[at].make(ORDERS, values, now, &mut self.chance);
        let domain = self.truth.hands.partner(NAMES[at], &partner, &domain);
        for (field, value) in [("title", title), ("partner", json!(domain))] {
            self.truth.edited((NAMES[at], &id), &mark, (field, value), now);
        }
        self.tell(&format!("{id} is made: {mark} for {partner} ({domain})"));
        self.hints.push((NAMES[at], ORDERS, id, "create"));
    }

    pub(super) fn edit_deal(&mut self) {
        let at = self.chance.below(NAMES.len());
        let Some((mark, id)) = self.some_row_of(at, ORDERS) else {
            return;
        };
        let now = self.network.now_ms();
        let (field, said, value) = match self.chance.percent(25) {
            true => {
                let row = self.some_row_of(at, THINGS);
                let Some((domain, partner)) = row.filter(|(domain, _)| !self.is_acting_on(domain)) else {
                    return;
                };
                let domain = self.truth.hands.partner(NAMES[at], &partner, &domain);
                ("partner", json!(domain), json!(partner))
            }
            false => {
                let field = EDITED_OF_ORDERS[self.chance.below(EDITED_OF_ORDERS.len())];
                let value = self.value();
                (field, value.clone(), value)
            }
        };
        // To say what is there is no change.
        if self.systems[at].rows[&id].values.get(field) == Some(&value) {
            return;
        }
        // Nor is to name another row of the same partner, beside the one that the hub keeps.
        let (named, by) = self.systems[at].partner_of(&id);
        let named = self.truth.hands.partner(NAMES[at], named, by);
        if field != "partner" || said != json!(named) {
            self.truth.edited((NAMES[at], &id), &mark, (field, said), now);
        }
        self.systems[at].edit(&id, field, value.clone(), now, &mut self.chance);
        self.tell(&format!("{id} ({mark}) {field} is set to {value}"));
        self.hints.push((NAMES[at], ORDERS, id, "update"));
    }

    /// People add a line to a deal, which nobody else has, or take one out.
    pub(super) fn edit_lines(&mut self) {
        let at = self.chance.below(NAMES.len());
        let Some((mark, id)) = self.some_row_of(at, ORDERS) else {
            return;
        };
        let mut lines = self.systems[at].lines_of(&id);
        let is_added = lines.is_empty() || self.chance.percent(65);
        let line = match is_added {
            true => self.value().as_str().unwrap().to_owned(),
            false => lines.iter().nth(self.chance.below(lines.len())).unwrap().clone(),
        };
        match is_added {
            true => lines.insert(line.clone()),
            false => lines.remove(&line),
        };
        let now = self.network.now_ms();
        self.systems[at].edit(&id, LINES, json!(lines), now, &mut self.chance);
        let what = if is_added { "added to" } else { "taken out of" };
        self.tell(&format!("{line} is {what} the lines of {id} ({mark})"));
        let lined = (line, is_added, lines.is_empty());
        self.truth.lined((NAMES[at], &id), &mark, lined);
        self.hints.push((NAMES[at], ORDERS, id, "update"));
    }

    pub(super) fn edit(&mut self) {
        let Some((at, domain, id)) = self.some_row() else {
            return;
        };
        let field = EDITED[self.chance.below(EDITED.len())];
        // A name is never blank; others may become so.
        let value = match field != "name" && self.chance.percent(10) {
            true => Json::Null,
            false if field == MAIL => self.mail(),
            false => self.value(),
        };
        let now = self.network.now_ms();
        self.truth
            .edited((NAMES[at], &id), &domain, (field, value.clone()), now);
        self.systems[at].edit(&id, field, value.clone(), now, &mut self.chance);
        self.tell(&format!("{id} ({domain}) {field} is set to {value}"));
        self.hints.push((NAMES[at], THINGS, id, "update"));
    }

    /// What a person of a system said is there no more, for the hub wrote over it before it had read it.
    pub(super) fn overwritten(&mut self, at: usize, id: &str, field: &str) {
        let row = &self.systems[at].rows[id].values;
        let name = ["domain", "mark"]
            .into_iter()
            .find_map(|name| row.get(name)?.as_str());
        let name = self.truth.hands.name(NAMES[at], id, name.unwrap_or_default());
        self.truth.overwritten((NAMES[at], id), &name, field);
        self.tell(&format!(
            "what was said of {id} ({name}) in {field} is written over"
        ));
    }

    pub(super) fn delete(&mut self) {
        let Some((at, domain, id)) = self.some_row() else {
            return;
        };
        // What the hub has not heard of yet, it may make again.
        let is_twice = self.partners_at(at)[&domain].len() > 1;
        if !self.truth.is_agreed(&domain) || is_twice || self.truth.hands.is_handled(&domain) {
            return;
        }
        if self.is_acting_on(&domain) {
            return;
        }
        let now = self.network.now_ms();
        self.truth.deleted(NAMES[at], &domain, now);
        self.systems[at].delete(&id, now, &mut self.chance);
        self.tell(&format!("{id} ({domain}) is deleted"));
        self.hints.push((NAMES[at], THINGS, id, "delete"));
    }

    /// What is left to a person.
    pub(super) async fn conflicts(&self) -> Vec<ledger::Conflict> {
        let open = ConflictFilter {
            state: Some(ConflictState::Open),
            ..ConflictFilter::default()
        };
        self.ledger.list_conflicts(&open, None, 1_000).await.unwrap()
    }

    /// What is wrong with how notes stand that two sides changed: each side has its own until a person decides.
    pub(super) async fn undecided(&self) -> Vec<String> {
        let conflicts = self.conflicts().await;
        let mut wrong = Vec::new();
        for conflict in &conflicts {
            let note = |at: usize, id: &str| {
                let row = self.systems[at].rows.get(id)?;
                Some(row.values.get("note").cloned().unwrap_or(Json::Null))
            };
            let at = NAMES
                .iter()
                .position(|name| *name == conflict.connection)
                .unwrap();
            let mut has = |name: &str, held: Option<Json>, said: &Json| {
                if held.as_ref() != Some(said) {
                    wrong.push(format!(
                        "{name} has {held:?} while a person is to decide: {conflict:?}"
                    ));
                }
            };
            let id = &conflict.external_id;
            has(id, note(at, id), &conflict.theirs);
            // Everybody else has ours, or waits for a decision too.
            let domain = self.systems[at].rows[id].values.get("domain");
            let domain = domain.and_then(Json::as_str);
            let name = domain.map(|domain| self.truth.hands.name(NAMES[at], id, domain));
            let waits = |id: &String| conflicts.iter().any(|other| other.external_id == *id);
            for (other, at) in NAMES.into_iter().enumerate() {
                let living = self.partners_at(other);
                let rows = name.as_ref().and_then(|name| living.get(name));
                if let Some([row]) = rows.map(Vec::as_slice)
                    && !waits(row)
                    && !self.truth.is_unmapped(at, "note")
                {
                    has(row, note(other, row), &conflict.ours);
                }
            }
        }
        wrong
    }

    /// A person decides one of the conflicts that wait, and takes what one of the two has.
    pub(super) async fn decide(&mut self) {
        self.ledger.fail(None);
        let mut open = self.conflicts().await;
        if open.is_empty() {
            return;
        }
        let conflict = open.swap_remove(self.chance.below(open.len()));
        let theirs = self.chance.percent(50);
        let decision = Decision {
            conflict: conflict.id,
            take: if theirs { Take::Theirs } else { Take::Ours },
            by: "Ada".to_owned(),
            revision: None,
        };
        let node = self.chance.below(NODES);
        let engine = std::sync::Arc::clone(&self.nodes[node].engine);
        let run = engine.begin_resolving();
        let said = match engine.resolve(&decision, run).await {
            Ok(resolved) => format!("takes {}", resolved.conflict.kept),
            // It moved on, or was deleted, while they looked at it.
            Err(
                error @ (Unresolved::Closed { .. } | Unresolved::MovedOn { .. } | Unresolved::Unfit { .. }),
            ) => error.to_string(),
            Err(error) => panic!("{error}"),
        };
        self.tell(&format!(
            "a person decides {} of {} at {}, {} against {}: {said}",
            conflict.path, conflict.record, conflict.external_id, conflict.ours, conflict.theirs
        ));
    }
}
