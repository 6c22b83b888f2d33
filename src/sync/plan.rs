//! [`Sync`] and [`Plan`]: what is kept in agreement with what.

use std::collections::BTreeMap;
use std::sync::Arc;

use mapping::{Context, Mapping};
use model::merge::Policies;
use model::{
    Confidence, Currency, Kind, MatchKey, MatchRule, default_match_rules, match_keys, reference_keys,
};

use crate::deletes::Deletes;
use crate::stop::StopLimits;

/// One object of one connection ↔ one kind of record.
#[derive(Clone)]
pub struct Sync {
    /// The connection.
    pub connection: String,
    /// How the object is spelled as a record, and back.
    pub mapping: Arc<Mapping>,
    /// The currency of amounts whose object has none.
    pub currency: Option<Currency>,
    /// The country (ISO 3166-1 alpha-2) of phone numbers whose object has none.
    pub country: Option<String>,
    /// Whether changes are read from there.
    pub pull: bool,
    /// Whether changes are written there.
    pub push: bool,
    /// Whether records that are not there yet are created there.
    pub create: bool,
    /// What deletions mean.
    pub deletes: Deletes,
    /// How much may change before a person is asked.
    pub stop: StopLimits,
}

impl Sync {
    /// The object's name in its system.
    pub fn object(&self) -> &str {
        self.mapping.object()
    }

    /// The kind of record.
    pub fn kind(&self) -> Kind {
        self.mapping.kind()
    }

    /// What the mapping needs to know of the connection.
    pub(crate) fn context(&self) -> Context<'_> {
        Context {
            currency: self.currency,
            country: self.country.as_deref(),
            agreed: None,
        }
    }
}

/// What holds for records of a kind, whatever system they come from.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// Who wins when two sides changed a field.
    pub policies: BTreeMap<Kind, Policies>,
    /// The rules by which records meet; the built-in ones of a kind that is not named.
    pub matching: BTreeMap<Kind, Vec<MatchRule>>,
}

impl Rules {
    /// All keys under which a record is found: by who is the same, and by those to whom it refers.
    pub(crate) fn match_keys(&self, kind: Kind, fields: &model::Fields) -> Vec<MatchKey> {
        let sure = self.sure_keys(kind, fields).into_iter().map(|(key, _)| key);
        sure.chain(reference_keys(fields)).collect()
    }

    /// The keys under which a record can be met, each with what it means that another one has it, too.
    pub(crate) fn sure_keys(&self, kind: Kind, fields: &model::Fields) -> Vec<(MatchKey, Confidence)> {
        let keys = match_keys(fields, self.rules_of(kind));
        keys.map(|(key, rule)| (key, rule.confidence)).collect()
    }

    /// The rules of a kind.
    pub(crate) fn rules_of(&self, kind: Kind) -> &[MatchRule] {
        let own = self.matching.get(&kind);
        own.map_or_else(|| default_match_rules(kind), Vec::as_slice)
    }
}

/// Everything that is kept in agreement.
#[derive(Clone, Default)]
pub struct Plan {
    /// The syncs, in the order of the configuration.
    pub syncs: Vec<Sync>,
    /// Rules by kind.
    pub rules: Rules,
}

impl Plan {
    /// The syncs of an object of a connection; two where one object holds two kinds of records.
    pub fn of<'p>(&'p self, connection: &'p str, object: &'p str) -> impl Iterator<Item = &'p Sync> + 'p {
        self.syncs
            .iter()
            .filter(move |sync| sync.connection == connection && sync.object() == object)
    }

    /// Every connection and object that is read or written, once each; objects that others refer to come first.
    pub fn objects(&self) -> Vec<(&str, &str)> {
        let mut objects: Vec<(&str, &str)> = Vec::new();
        for kind in Kind::ALL {
            for sync in self.syncs.iter().filter(|sync| sync.kind() == kind) {
                let object = (sync.connection.as_str(), sync.object());
                if !objects.contains(&object) {
                    objects.push(object);
                }
            }
        }
        objects
    }

    /// The sync of a kind of record with an object of a connection.
    pub(crate) fn sync_for(&self, connection: &str, object: &str, kind: Kind) -> Option<&Sync> {
        self.syncs
            .iter()
            .find(|s| s.connection == connection && s.object() == object && s.kind() == kind)
    }

    /// The syncs that are owed a change of a kind of record.
    pub(crate) fn owed(&self, kind: Kind) -> impl Iterator<Item = &Sync> {
        self.syncs
            .iter()
            .filter(move |sync| sync.push && sync.kind() == kind)
    }

    /// The wire fields that an object is read with, for all its syncs, and the one that holds our key.
    pub fn object_fields(&self, connection: &str, object: &str, key: Option<&str>) -> Vec<String> {
        let mut fields: Vec<String> = key.map(str::to_owned).into_iter().collect();
        for sync in self.of(connection, object) {
            for field in sync.mapping.object_fields() {
                if !fields.contains(field) {
                    fields.push(field.clone());
                }
            }
        }
        fields
    }
}
