//! The objects of the emulated organisation and how to find their fields.
//!
//! An organisation has the standard objects of partner, lead and deal work with the fields people use of them,
//! several currencies, and a few custom fields: the external id that links a row to a record of ours,
//! and the facts about a deal's customer and an account's kind of partnership that have no standard field.

use std::collections::{HashMap, HashSet};
use std::sync::{LazyLock, PoisonError, RwLock};

use super::field::Field;
use super::standard;

/// One object: a table and its columns.
#[derive(Debug)]
pub(crate) struct Object {
    pub(crate) name: &'static str,
    pub(crate) plural: &'static str,
    /// The three characters its ids begin with.
    pub(crate) prefix: &'static str,
    /// Whether clients may write its rows.
    pub(crate) writable: bool,
    pub(crate) fields: Vec<Field>,
    positions: HashMap<String, usize>,
    /// Fields that nobody is shown at present; all organisations of a process share the schema, and with it these.
    hidden: RwLock<HashSet<usize>>,
}

impl Object {
    fn new(definition: standard::Definition) -> Self {
        let standard::Definition {
            name,
            plural,
            prefix,
            writable,
            fields,
        } = definition;
        let positions = fields
            .iter()
            .enumerate()
            .map(|(at, field)| (field.name.to_lowercase(), at))
            .collect();
        Self {
            name,
            plural,
            prefix,
            writable,
            fields,
            positions,
            hidden: RwLock::default(),
        }
    }

    /// The position of a field that may be seen; names are compared without case.
    pub(crate) fn position(&self, field: &str) -> Option<usize> {
        self.known(field).filter(|at| self.shows(*at))
    }

    /// Hides a field from everybody, as field-level security does, or shows it again; false when there is no such field.
    pub(crate) fn hide(&self, field: &str, hide: bool) -> bool {
        let Some(at) = self.known(field) else { return false };
        let mut hidden = self.hidden.write().unwrap_or_else(PoisonError::into_inner);
        if hide {
            hidden.insert(at);
        } else {
            hidden.remove(&at);
        }
        true
    }

    /// Whether a field may be seen.
    pub(crate) fn shows(&self, at: usize) -> bool {
        !self
            .hidden
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .contains(&at)
    }

    fn known(&self, field: &str) -> Option<usize> {
        self.positions.get(&field.to_lowercase()).copied()
    }

    /// The field with a name; names are compared without case.
    pub(crate) fn field(&self, name: &str) -> Option<&Field> {
        self.position(name).map(|at| &self.fields[at])
    }

    /// The position of a field this object is known to have.
    pub(crate) fn at(&self, field: &str) -> usize {
        self.known(field)
            .unwrap_or_else(|| unreachable!("{} has no field {field}", self.name))
    }

    /// The reference behind a relationship name: `Account` of an opportunity is `AccountId`.
    pub(crate) fn relation(&self, name: &str) -> Option<(usize, &'static str)> {
        self.fields.iter().enumerate().find_map(|(at, field)| {
            let (to, relation) = field.refers_to?;
            relation.eq_ignore_ascii_case(name).then_some((at, to))
        })
    }
}

/// All objects.
#[derive(Debug)]
pub(crate) struct Schema {
    pub(crate) objects: Vec<Object>,
    positions: HashMap<String, usize>,
}

static SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
    let objects: Vec<_> = standard::all().into_iter().map(Object::new).collect();
    let positions = objects
        .iter()
        .enumerate()
        .map(|(at, object)| (object.name.to_lowercase(), at))
        .collect();
    Schema { objects, positions }
});

impl Schema {
    /// The one schema of every emulated organisation.
    pub(crate) fn get() -> &'static Self {
        &SCHEMA
    }

    /// The position of an object; names are compared without case.
    pub(crate) fn position(&self, object: &str) -> Option<usize> {
        self.positions.get(&object.to_lowercase()).copied()
    }

    /// The object with a name, with its position.
    pub(crate) fn object(&'static self, name: &str) -> Option<(usize, &'static Object)> {
        self.position(name).map(|at| (at, &self.objects[at]))
    }

    /// The position of an object the schema is known to have.
    pub(crate) fn at(&self, object: &str) -> usize {
        self.position(object)
            .unwrap_or_else(|| unreachable!("there is no object {object}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reference_leads_to_an_object_and_prefixes_are_those_of_salesforce() {
        let schema = Schema::get();
        for object in &schema.objects {
            for field in &object.fields {
                if let Some((to, _)) = field.refers_to {
                    assert!(
                        schema.position(to).is_some(),
                        "{}.{} refers to {to}",
                        object.name,
                        field.name
                    );
                }
            }
        }
        for (name, prefix) in [
            ("Account", "001"),
            ("Contact", "003"),
            ("Lead", "00Q"),
            ("Opportunity", "006"),
            ("User", "005"),
        ] {
            assert_eq!(schema.object(name).unwrap().1.prefix, prefix);
        }
        let (_, opportunity) = schema.object("opportunity").unwrap();
        assert_eq!(
            opportunity.relation("account"),
            Some((opportunity.at("AccountId"), "Account"))
        );
    }
}
