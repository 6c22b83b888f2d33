//! Associations between rows: which types there are, and the store of them.
//!
//! Type ids have a direction. Every association is kept in both directions, with the type that belongs to each.
//! Creating a primary association also creates the plain one; a row has one primary company.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::kind::Kind;

/// Associations a portal may hold, each counted once per direction.
pub const LINKS_MAX: usize = 1_000_000;

type End = (Kind, u64);

/// A type of association in one direction, with the type of the way back.
struct Type {
    from: Kind,
    to: Kind,
    id: u32,
    back: u32,
    label: Option<&'static str>,
}

const fn plain(from: Kind, to: Kind, id: u32, back: u32) -> Type {
    Type {
        from,
        to,
        id,
        back,
        label: None,
    }
}

const fn labelled(from: Kind, to: Kind, id: u32, back: u32, label: &'static str) -> Type {
    Type {
        from,
        to,
        id,
        back,
        label: Some(label),
    }
}

const TYPES: [Type; 15] = [
    plain(Kind::Contact, Kind::Company, 279, 280),
    plain(Kind::Company, Kind::Contact, 280, 279),
    labelled(Kind::Contact, Kind::Company, 1, 2, "Primary"),
    labelled(Kind::Company, Kind::Contact, 2, 1, "Primary"),
    plain(Kind::Deal, Kind::Contact, 3, 4),
    plain(Kind::Contact, Kind::Deal, 4, 3),
    plain(Kind::Deal, Kind::Company, 341, 342),
    plain(Kind::Company, Kind::Deal, 342, 341),
    labelled(Kind::Deal, Kind::Company, 5, 6, "Primary"),
    labelled(Kind::Company, Kind::Deal, 6, 5, "Primary"),
    plain(Kind::Company, Kind::Company, 450, 450),
    labelled(Kind::Company, Kind::Company, 13, 14, "Child Company"),
    labelled(Kind::Company, Kind::Company, 14, 13, "Parent Company"),
    plain(Kind::Contact, Kind::Contact, 449, 449),
    plain(Kind::Deal, Kind::Deal, 451, 451),
];

fn of(from: Kind, to: Kind) -> impl Iterator<Item = &'static Type> {
    TYPES
        .iter()
        .filter(move |kind| kind.from == from && kind.to == to)
}

/// The plain type from one kind to another.
pub(crate) fn default_type(from: Kind, to: Kind) -> u32 {
    of(from, to)
        .find(|kind| kind.label.is_none())
        .map_or(0, |kind| kind.id)
}

/// Whether a type leads from one kind to another.
pub(crate) fn leads(from: Kind, to: Kind, id: u32) -> bool {
    of(from, to).any(|kind| kind.id == id)
}

/// Whether a type marks the primary one.
pub(crate) fn is_primary(id: u32) -> bool {
    matches!(id, 1 | 2 | 5 | 6)
}

/// The types of a direction as the labels call shows them.
pub(crate) fn labels(from: Kind, to: Kind) -> Vec<Value> {
    of(from, to)
        .map(|kind| json!({ "category": "HUBSPOT_DEFINED", "typeId": kind.id, "label": kind.label }))
        .collect()
}

/// The types of one association as reads show them.
pub(crate) fn shown(from: Kind, to: Kind, ids: &BTreeSet<u32>) -> Vec<Value> {
    labels(from, to)
        .into_iter()
        .filter(|label| ids.iter().any(|id| label["typeId"] == json!(id)))
        .collect()
}

/// All associations.
#[derive(Debug, Default)]
pub(crate) struct Links {
    ends: BTreeMap<End, BTreeMap<End, BTreeSet<u32>>>,
    count: usize,
}

impl Links {
    /// The rows of a kind that a row is associated with, and by which types.
    pub(crate) fn of(&self, from: End, to: Kind) -> impl Iterator<Item = (u64, &BTreeSet<u32>)> {
        let range = self
            .ends
            .get(&from)
            .map(|ends| ends.range((to, 0)..=(to, u64::MAX)));
        range.into_iter().flatten().map(|((_, id), types)| (*id, types))
    }

    /// Associates two rows by a type, in both directions. Whether that was new; `None` when no more fit.
    pub(crate) fn add(&mut self, from: End, to: End, id: u32) -> Option<bool> {
        if self.count >= LINKS_MAX {
            return None;
        }
        if is_primary(id) {
            self.take_primary(from, to.0, id);
        }
        let back = of(from.0, to.0)
            .find(|kind| kind.id == id)
            .map_or(id, |kind| kind.back);
        let mut new = self.half(from, to, id);
        new |= self.half(to, from, back);
        // A label never stands alone.
        let plain = default_type(from.0, to.0);
        if id != plain {
            self.half(from, to, plain);
            self.half(to, from, default_type(to.0, from.0));
        }
        Some(new)
    }

    fn half(&mut self, from: End, to: End, id: u32) -> bool {
        let new = self
            .ends
            .entry(from)
            .or_default()
            .entry(to)
            .or_default()
            .insert(id);
        self.count += usize::from(new);
        new
    }

    /// Only one company is primary: the mark leaves the one that had it.
    fn take_primary(&mut self, from: End, to: Kind, id: u32) {
        let back = of(from.0, to)
            .find(|kind| kind.id == id)
            .map_or(id, |kind| kind.back);
        let others: Vec<End> = self.of(from, to).map(|(other, _)| (to, other)).collect();
        if to == Kind::Company {
            for other in others {
                self.drop_type(from, other, id);
                self.drop_type(other, from, back);
            }
        }
    }

    fn drop_type(&mut self, from: End, to: End, id: u32) {
        if let Some(types) = self.ends.get_mut(&from).and_then(|ends| ends.get_mut(&to)) {
            self.count -= usize::from(types.remove(&id));
        }
    }

    /// Ends the association of two rows, whatever its types. Whether there was one.
    pub(crate) fn remove(&mut self, from: End, to: End) -> bool {
        let mut found = false;
        for (from, to) in [(from, to), (to, from)] {
            if let Some(ends) = self.ends.get_mut(&from) {
                if let Some(types) = ends.remove(&to) {
                    self.count -= types.len();
                    found = true;
                }
                if ends.is_empty() {
                    self.ends.remove(&from);
                }
            }
        }
        found
    }

    /// Ends every association of a row.
    pub(crate) fn forget(&mut self, kind: Kind, id: u64) {
        let from = (kind, id);
        let ends: Vec<End> = self
            .ends
            .get(&from)
            .into_iter()
            .flat_map(BTreeMap::keys)
            .copied()
            .collect();
        for to in ends {
            self.remove(from, to);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_type_leads_back() {
        for kind in &TYPES {
            let back = of(kind.to, kind.from)
                .find(|back| back.id == kind.back)
                .expect("the way back is in the table");
            assert_eq!(back.back, kind.id);
        }
    }

    #[test]
    fn a_row_has_one_primary_company_and_labels_never_stand_alone() {
        let mut links = Links::default();
        let contact = (Kind::Contact, 1);
        assert_eq!(links.add(contact, (Kind::Company, 10), 1), Some(true));
        assert_eq!(links.add(contact, (Kind::Company, 11), 1), Some(true));
        let types: Vec<_> = links
            .of(contact, Kind::Company)
            .map(|(id, types)| (id, types.iter().copied().collect::<Vec<_>>()))
            .collect();
        assert_eq!(types, [(10, vec![279]), (11, vec![1, 279])]);
        let back: Vec<_> = links
            .of((Kind::Company, 11), Kind::Contact)
            .map(|(id, types)| (id, types.len()))
            .collect();
        assert_eq!(back, [(1, 2)]);
    }

    proptest! {
        /// Whatever is added and removed, every association can be seen from both ends, and the count is theirs.
        #[test]
        fn both_ends_see_each_association(steps in prop::collection::vec((0u64..4, 0u64..4, any::<bool>(), any::<bool>()), 0..40)) {
            let mut links = Links::default();
            for (deal, company, primary, remove) in steps {
                let (from, to) = ((Kind::Deal, deal), (Kind::Company, company));
                if remove {
                    links.remove(from, to);
                } else {
                    links.add(from, to, if primary { 5 } else { 341 });
                }
            }
            let mut count = 0;
            for (from, ends) in &links.ends {
                for (to, types) in ends {
                    count += types.len();
                    prop_assert_eq!(links.ends[to][from].len(), types.len());
                }
            }
            prop_assert_eq!(links.count, count);
        }
    }
}
