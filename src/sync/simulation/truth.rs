//! [`Truth`]: what people did, and whether the systems tell it in the end.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;

use super::system::{EDITED, System};

/// What people did to one partner since everything was last at rest.
#[derive(Default)]
struct Deeds {
    /// By field, the values that people gave it in each row of each system, the last one last.
    edits: BTreeMap<&'static str, BTreeMap<(&'static str, String), Vec<Json>>>,
}

/// What people did.
#[derive(Default)]
pub(crate) struct Truth {
    deeds: BTreeMap<String, Deeds>,
    /// Systems whose people deleted it.
    deleted: BTreeMap<String, BTreeSet<&'static str>>,
    /// What everybody agreed on when everything was last at rest, by domain and field.
    agreed: BTreeMap<(String, &'static str), Json>,
}

impl Truth {
    /// A person of a system gave a field of a partner's row a value.
    pub(crate) fn edited(
        &mut self,
        (system, id): (&'static str, &str),
        domain: &str,
        field: &'static str,
        value: Json,
    ) {
        let deeds = self.deeds.entry(domain.to_owned()).or_default();
        deeds
            .edits
            .entry(field)
            .or_default()
            .entry((system, id.to_owned()))
            .or_default()
            .push(value);
    }

    pub(crate) fn deleted(&mut self, system: &'static str, domain: &str) {
        self.deleted.entry(domain.to_owned()).or_default().insert(system);
    }

    /// Whether everybody knew a partner when everything was last at rest.
    pub(crate) fn is_agreed(&self, domain: &str) -> bool {
        self.agreed.contains_key(&(domain.to_owned(), "name"))
    }

    /// Domains of all partners that were ever made.
    fn domains(&self) -> BTreeSet<String> {
        let agreed = self.agreed.keys().map(|(domain, _)| domain.clone());
        self.deeds.keys().cloned().chain(agreed).collect()
    }

    /// Judges systems that are at rest; gives what is wrong, and takes what they hold as agreed. Rows that wait for a
    /// person stand beside the one that the hub keeps, and nothing of them is known elsewhere.
    pub(crate) fn judge(&mut self, systems: &[System], waiting: &BTreeSet<(String, String)>) -> Vec<String> {
        let mut wrong = Vec::new();
        let living: Vec<BTreeMap<String, Vec<String>>> = systems.iter().map(System::living).collect();
        for domain in self.domains() {
            let deleted = self.deleted.get(&domain);
            let mut held: BTreeMap<&'static str, BTreeMap<&'static str, Json>> = BTreeMap::new();
            for (system, living) in systems.iter().zip(&living) {
                let waits = |id: &&String| waiting.contains(&(system.name.to_owned(), (*id).clone()));
                let rows: Vec<&String> = living
                    .get(&domain)
                    .into_iter()
                    .flatten()
                    .filter(|id| !waits(id))
                    .collect();
                let wanted = usize::from(!deleted.is_some_and(|deleted| deleted.contains(system.name)));
                if rows.len() != wanted {
                    wrong.push(format!(
                        "{}: {domain} is there {} times, not {wanted}: {rows:?}",
                        system.name,
                        rows.len()
                    ));
                }
                for id in rows {
                    let values = &system.rows[id.as_str()].values;
                    for field in EDITED {
                        let value = values.get(field).cloned().unwrap_or(Json::Null);
                        held.entry(field).or_default().insert(system.name, value);
                    }
                }
            }
            for (field, values) in held {
                wrong.extend(self.judge_field(&domain, field, &values, waiting));
            }
        }
        self.deeds.clear();
        wrong
    }

    fn judge_field(
        &mut self,
        domain: &str,
        field: &'static str,
        values: &BTreeMap<&'static str, Json>,
        waiting: &BTreeSet<(String, String)>,
    ) -> Option<String> {
        let value = values.values().next()?.clone();
        if values.values().any(|other| *other != value) {
            return Some(format!("{domain} {field}: {values:?}"));
        }
        let key = (domain.to_owned(), field);
        let edits = self.deeds.get(domain).and_then(|deeds| deeds.edits.get(field));
        // What was edited where it was deleted soon after may never have been seen, or in part.
        let deleted = self.deleted.get(domain);
        let mut allowed: Vec<Json> = Vec::new();
        let mut seen = false;
        for ((system, id), values) in edits.into_iter().flatten() {
            // One that waits may have been met before the other one was.
            let waits = waiting.contains(&((*system).to_owned(), id.clone()));
            match deleted.is_some_and(|deleted| deleted.contains(system)) {
                true => allowed.extend(values.iter().cloned()),
                false => allowed.extend(values.last().cloned()),
            }
            seen |= !waits && !deleted.is_some_and(|deleted| deleted.contains(system));
        }
        if !seen {
            allowed.push(self.agreed.get(&key).cloned().unwrap_or(Json::Null));
        }
        self.agreed.insert(key, value.clone());
        (!allowed.contains(&value))
            .then(|| format!("{domain} {field}: everybody has {value}, people said {allowed:?}"))
    }
}
