//! The expressions of a manifest that run over answers, each of which a sample should reach.

use program::Program;

use crate::connector::Connector;
use crate::manifest::Strategy;

pub(crate) fn over_answers(connector: &Connector) -> Vec<&Program> {
    let manifest = &connector.manifest;
    let mut programs: Vec<&Program> = Vec::new();
    programs.extend(manifest.identity.iter().map(|identity| &identity.tenant));
    programs.extend(manifest.discovery.iter().map(|d| &d.items));
    programs.extend(manifest.webhooks.iter().map(|w| &w.events));
    for rule in &manifest.rules {
        programs.extend(
            [&rule.test, &rule.message, &rule.existing, &rule.field]
                .into_iter()
                .flatten(),
        );
    }
    for object in manifest.objects.values() {
        let parts = [&object.modified, &object.version, &object.deleted, &object.origin];
        programs.push(&object.id);
        programs.extend(parts.into_iter().flatten());
        if manifest.posted {
            programs.extend([&object.values, &object.record].into_iter().flatten());
        }
        programs.extend(object.lookups.values().map(|l| &l.pairs));
        programs.extend(object.lookups.values().filter_map(|l| l.next.as_ref()));
        programs.extend(object.flat.values().filter_map(|flat| flat.keep.as_ref()));
        let made = object.lookups.values().filter_map(|l| l.create.as_ref());
        programs.extend(made.map(|create| &create.value));
        if let Some(changes) = &object.changes {
            programs.extend(changes.programs());
        }
        programs.extend(object.by_ids.iter().map(|b| &b.records));
        programs.extend(object.count.iter().map(|count| &count.value));
        programs.extend(&object.merged);
        for association in object.associations.values() {
            programs.push(&association.pairs);
            programs.extend(&association.more);
            programs.extend(association.write.iter().filter_map(|w| w.refused.as_ref()));
        }
        if let Some(write) = &object.write {
            programs.push(&write.update.results);
            programs.extend(write.delete.iter().map(|delete| &delete.results));
            programs.extend(write.bulk.iter().flat_map(|bulk| bulk.programs()));
            programs.extend(write.find.iter().map(|find| &find.pairs));
            let (Strategy::Upsert(step) | Strategy::FindThenWrite(step)) = &write.strategy;
            programs.push(&step.results);
        }
    }
    programs
}
