//! The rule that would have decided as a person did, as a change of the user's own configuration.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use clap::Args;
use diagnostic::{Report, Source};
use jiff::Timestamp;
use ledger::{Conflict, ConflictState};
use model::merge::{Policies, Policy, Theirs};
use model::{Fields, Kind, Provenance, Record, stored};
use serde_json::{Value as Json, json};

use super::ours_by;
use crate::catalogue::Catalogue;
use crate::cli::{Common, Exit, Out};
use crate::config::Config;
use crate::config::propose::{spelled, with_policy};
use crate::hub;

/// Which rule, and whether it is written.
#[derive(Args)]
pub(crate) struct Change {
    /// Another rule than the one that is proposed: owner, max, min or merge_set.
    #[arg(long, value_name = "POLICY")]
    policy: Option<String>,
    /// Write it into the configuration.
    #[arg(long)]
    pub(super) write: bool,
}

/// Shows, or writes, the rules that would have decided these conflicts as persons did.
pub(super) fn propose(conflicts: &[Conflict], change: &Change, common: &Common, out: &Out) -> Exit {
    match proposed(conflicts, change, &common.config) {
        Ok(proposal) => show(&proposal, change.write, &common.config, out),
        Err(error) => out.fail(&error),
    }
}

/// A changed configuration.
struct Proposal {
    before: Source,
    after: Source,
    rules: Vec<(Kind, &'static str, Policy)>,
}

fn proposed(conflicts: &[Conflict], change: &Change, path: &Path) -> Result<Proposal, String> {
    let mut rules: BTreeMap<(Kind, &'static str), Policy> = BTreeMap::new();
    for conflict in conflicts {
        let (field, policy) = rule_of(conflict, change.policy.as_deref())?;
        let key = (conflict.record.kind, field);
        if let Some(other) = rules.insert(key, policy.clone()).filter(|other| *other != policy) {
            return Err(format!(
                "`{field}` was decided in two ways, as by {} and as by {}: no one rule does both",
                spelled(&other),
                spelled(&policy)
            ));
        }
    }
    let before = hub::read_config(path)?;
    let mut after = before.clone();
    for ((kind, field), policy) in &rules {
        after = with_policy(&after, *kind, field, policy)?;
    }
    let mut report = Report::new();
    if let Some(config) = Config::read(&after, &mut report) {
        Catalogue::load(&config, &after, &mut report);
    }
    if report.has_errors() {
        return Err(format!(
            "with the rule the configuration has errors:\n{}",
            report.render(Out::colours())
        ));
    }
    let rules = rules
        .into_iter()
        .map(|((kind, field), policy)| (kind, field, policy))
        .collect();
    Ok(Proposal { before, after, rules })
}

fn show(proposal: &Proposal, write: bool, path: &Path, out: &Out) -> Exit {
    let file = &proposal.before.file;
    let diff = similar::TextDiff::from_lines(&*proposal.before.text, &*proposal.after.text);
    let diff = diff
        .unified_diff()
        .header(&format!("a/{file}"), &format!("b/{file}"))
        .to_string();
    if write
        && !diff.is_empty()
        && let Err(error) = replace(path, &proposal.after.text)
    {
        return out.fail(&format!("{} cannot be written: {error}", path.display()));
    }
    let rules = proposal
        .rules
        .iter()
        .map(|(kind, field, policy)| json!({"kind": kind.name(), "field": field, "policy": spelled(policy)}));
    let rules: Vec<Json> = rules.collect();
    out.data(json!({"rules": rules, "diff": diff, "written": write}), || {
        diff.clone()
    });
    match (diff.is_empty(), write) {
        (true, _) => out.note("the rule stands in the configuration already"),
        (false, true) => out.note("written; a hub that is running takes it up when it is started anew"),
        (false, false) => out.note("write it with --write, or apply the change with `patch`"),
    }
    Exit::Ok
}

/// Replaces a file as a whole: whoever reads it meanwhile sees the old one or the new one.
fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    let path = path.canonicalize()?;
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(text.as_bytes())?;
    file.as_file()
        .set_permissions(std::fs::metadata(&path)?.permissions())?;
    file.as_file().sync_all()?;
    file.persist(&path)?;
    Ok(())
}

/// The rule that would have kept what a person kept.
fn rule_of(conflict: &Conflict, wanted: Option<&str>) -> Result<(&'static str, Policy), String> {
    let id = conflict.id;
    if conflict.state != ConflictState::Resolved {
        return Err(format!(
            "{id} was not decided by a person, so there is nothing that a rule could repeat"
        ));
    }
    let field = conflict.record.kind.field(&conflict.path);
    let field = field.ok_or_else(|| format!("`{}` is no field any more", conflict.path))?;
    let mut fitting: Vec<(&str, Policy)> = Vec::new();
    let owner = |connection: &str| Policy::Owner {
        connection: connection.to_owned(),
        unless_blank: false,
    };
    if conflict.kept == conflict.theirs {
        fitting.push(("owner", owner(&conflict.connection)));
    } else if let Some(by) = ours_by(conflict).filter(|_| conflict.kept == conflict.ours) {
        fitting.push(("owner", owner(by)));
    }
    let others = [
        ("max", Policy::Max),
        ("min", Policy::Min),
        ("merge_set", Policy::MergeSet),
    ];
    fitting.extend(
        others
            .clone()
            .into_iter()
            .filter(|(word, policy)| decides_so(conflict, field, word, policy)),
    );
    let known = others.iter().map(|(word, _)| *word).chain(["owner"]);
    if let Some(wanted) = wanted.filter(|wanted| !known.clone().any(|word| word == *wanted)) {
        let known: Vec<&str> = known.collect();
        return Err(format!(
            "`{wanted}` is no rule that can be proposed; there are: {}",
            known.join(", ")
        ));
    }
    let found = match wanted {
        None => fitting.first(),
        Some(wanted) => fitting.iter().find(|(word, _)| *word == wanted),
    };
    found
        .map(|(_, policy)| (field.path, policy.clone()))
        .ok_or_else(|| {
            let words: Vec<&str> = fitting.iter().map(|(word, _)| *word).collect();
            match (wanted, words.is_empty()) {
                (Some(wanted), false) => format!(
                    "{id} would not have been decided so by `{wanted}`, but by: {}",
                    words.join(", ")
                ),
                _ => format!(
                    "no rule would have kept {} in {id}: neither side's rule gives it",
                    conflict.kept
                ),
            }
        })
}

/// Whether a policy keeps what a person kept, by its own word and not by the time of a change.
fn decides_so(conflict: &Conflict, field: &'static model::Field, word: &str, policy: &Policy) -> bool {
    let value = |json: &Json| stored::from_json(field.field_type, json);
    let (Some(base), Some(ours), Some(theirs)) = (
        value(&conflict.base),
        value(&conflict.ours),
        value(&conflict.theirs),
    ) else {
        return false;
    };
    let one = |value| -> Fields { [(field.path, value)].into_iter().collect() };
    let mut record = Record::empty(conflict.record, Timestamp::UNIX_EPOCH);
    record.fields = one(ours);
    record.provenance.insert(
        field.path,
        Arc::new(Provenance {
            connection: conflict.ours_by.clone(),
            external_id: String::new(),
            changed_at: conflict.found_at,
            observed_at: conflict.found_at,
        }),
    );
    let (said, base) = (one(theirs), one(base));
    let theirs = Theirs {
        connection: &conflict.connection,
        external_id: &conflict.external_id,
        fields: &said,
        base: Some(&base),
        echoed: &model::merge::Echoed::default(),
        changed_at: conflict.found_at,
        observed_at: conflict.found_at,
    };
    let merged = model::merge(
        &mut record,
        &theirs,
        &Policies([(field.path, policy.clone())].into()),
    );
    let mut conflicts = merged.conflicts.iter();
    conflicts.any(|found| found.rule.word() == word && stored::to_json(&found.kept) == conflict.kept)
}
