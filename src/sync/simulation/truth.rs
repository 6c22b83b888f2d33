//! [`Truth`]: what people did, and whether the systems tell it in the end.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;

use super::system::{EDITED, System};

/// What people did to one partner since everything was last at rest.
#[derive(Default)]
struct Deeds {
    /// By field, the values that each system's people gave it, the last one last.
    edits: BTreeMap<&'static str, BTreeMap<&'static str, Vec<Json>>>,
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
    /// A person of a system gave a field of a partner a value.
    pub(crate) fn edited(&mut self, system: &'static str, domain: &str, field: &'static str, value: Json) {
        let deeds = self.deeds.entry(domain.to_owned()).or_default();
        deeds
            .edits
            .entry(field)
            .or_default()
            .entry(system)
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

    /// Judges systems that are at rest; gives what is wrong, and takes what they hold as agreed.
    pub(crate) fn judge(&mut self, systems: &[System]) -> Vec<String> {
        let mut wrong = Vec::new();
        let living: Vec<BTreeMap<String, Vec<String>>> = systems.iter().map(System::living).collect();
        for domain in self.domains() {
            let deleted = self.deleted.get(&domain);
            let mut held: BTreeMap<&'static str, BTreeMap<&'static str, Json>> = BTreeMap::new();
            for (system, living) in systems.iter().zip(&living) {
                let rows = living.get(&domain).map_or(&[][..], Vec::as_slice);
                let wanted = usize::from(!deleted.is_some_and(|deleted| deleted.contains(system.name)));
                if rows.len() != wanted {
                    wrong.push(format!(
                        "{}: {domain} is there {} times, not {wanted}: {rows:?}",
                        system.name,
                        rows.len()
                    ));
                }
                for id in rows {
                    let values = &system.rows[id].values;
                    for field in EDITED {
                        let value = values.get(field).cloned().unwrap_or(Json::Null);
                        held.entry(field).or_default().insert(system.name, value);
                    }
                }
            }
            for (field, values) in held {
                wrong.extend(self.judge_field(&domain, field, &values));
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
        for (system, values) in edits.into_iter().flatten() {
            match deleted.is_some_and(|deleted| deleted.contains(system)) {
                true => allowed.extend(values.iter().cloned()),
                false => allowed.extend(values.last().cloned()),
            }
            seen |= !deleted.is_some_and(|deleted| deleted.contains(system));
        }
        if !seen {
            allowed.push(self.agreed.get(&key).cloned().unwrap_or(Json::Null));
        }
        self.agreed.insert(key, value.clone());
        (!allowed.contains(&value))
            .then(|| format!("{domain} {field}: everybody has {value}, people said {allowed:?}"))
    }
}
