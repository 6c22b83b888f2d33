//! A policy written into a configuration as it stands: comments, order and spelling of everything else are kept.

use diagnostic::{Node, Place, Report, Source, Value};
use model::Kind;
use model::merge::Policy;

use super::Config;

/// A policy as it is written.
pub(crate) fn spelled(policy: &Policy) -> String {
    match policy {
        Policy::MostRecent => "most_recent".to_owned(),
        Policy::MergeSet => "merge_set".to_owned(),
        Policy::Max => "max".to_owned(),
        Policy::Min => "min".to_owned(),
        Policy::Manual => "manual".to_owned(),
        Policy::Owner {
            connection,
            unless_blank: false,
        } => format!("{{ owner: {connection} }}"),
        Policy::Owner { connection, .. } => format!("{{ owner: {connection}, unless_blank: true }}"),
    }
}

/// The configuration with a policy for a field of a kind of record; one that is there is replaced. What comes out is read
/// again: an error says what to write by hand.
pub(crate) fn with_policy(
    source: &Source,
    kind: Kind,
    path: &str,
    policy: &Policy,
) -> Result<Source, String> {
    let by_hand = || {
        format!(
            "the place for it in {} was not found; write by hand: records: {{ {kind}: {{ policies: {{ {path}: {} }} }} }}",
            source.file,
            spelled(policy)
        )
    };
    let text = edited(
        source,
        &["records", kind.name(), "policies", path],
        &spelled(policy),
    );
    let changed = Source::new(source.file.clone(), text.ok_or_else(by_hand)?);
    let mut report = Report::new();
    let config = Config::read(&changed, &mut report);
    let written = config
        .as_ref()
        .and_then(|config| config.records.get(&kind)?.policies.get(path));
    match written == Some(policy) {
        true => Ok(changed),
        false => Err(by_hand()),
    }
}

/// The text with a value under keys in keys.
fn edited(source: &Source, keys: &[&str], value: &str) -> Option<String> {
    let root = Node::parse(source, &mut Report::new())?;
    let text: Vec<char> = source.text.chars().collect();
    let (mut node, mut key_place, mut depth) = (&root, None, 0);
    while let Some((place, inner)) = keys.get(depth).and_then(|key| entry(node, key)) {
        (node, key_place, depth) = (inner, Some(place), depth + 1);
    }
    let rest = &keys[depth..];
    let edit = match (rest.is_empty(), key_place) {
        (true, Some(key)) => replaced(&text, node, key, value),
        (_, None) if text.iter().all(|c| c.is_whitespace()) => (0..text.len(), block(rest, value, 0)),
        (_, key) => inserted(&text, node, key, rest, value)?,
    };
    let (range, new) = edit;
    let before: String = text.get(..range.start)?.iter().collect();
    let after: String = text.get(range.end..)?.iter().collect();
    Some(before + &new + &after)
}

type Edit = (std::ops::Range<usize>, String);

fn entry<'n>(node: &'n Node, key: &str) -> Option<(Place, &'n Node)> {
    let Value::Map(entries) = &node.value else {
        return None;
    };
    let found = entries.iter().find(|(name, ..)| name == key);
    found.map(|(_, place, inner)| (*place, inner))
}

/// A value in the place of another.
fn replaced(text: &[char], node: &Node, key: Place, value: &str) -> Edit {
    match &node.value {
        Value::Map(_) | Value::List(_) if !is_flow(text, node) => {
            // What stood below the key goes, a remark behind the key stays.
            let colon = (key.end..text.len())
                .find(|at| text[*at] == ':')
                .unwrap_or(key.end);
            let mut rest: String = text[colon + 1..line_end(text, colon)].iter().collect();
            rest.truncate(rest.trim_end().len());
            let end = line_end(text, last(text, node));
            (colon + 1..end, format!(" {value}{rest}"))
        }
        Value::Null => {
            let colon = (key.end..text.len())
                .find(|at| text[*at] == ':')
                .unwrap_or(key.end);
            let end = node.place.end.clamp(colon + 1, line_end(text, colon));
            (colon + 1..end, format!(" {value}"))
        }
        _ => (node.place.start..last(text, node) + 1, value.to_owned()),
    }
}

/// A value under keys that are not there yet, in a map that is, or that is empty.
fn inserted(text: &[char], node: &Node, key: Option<Place>, rest: &[&str], value: &str) -> Option<Edit> {
    match &node.value {
        Value::Map(entries) if is_flow(text, node) => {
            let end = last(text, node);
            let nested = rest
                .iter()
                .rev()
                .skip(1)
                .fold(format!("{}: {value}", rest.last()?), |inner, key| {
                    format!("{key}: {{ {inner} }}")
                });
            let new = match entries.is_empty() {
                true => format!("{{ {nested} }}"),
                false => format!(", {nested} }}"),
            };
            let start = match entries.last() {
                None => node.place.start,
                Some((.., inner)) => last(text, inner) + 1,
            };
            Some((start..end + 1, new))
        }
        Value::Map(entries) => {
            let indent = entries.first().map_or(0, |(_, place, _)| place.column - 1);
            let at = line_end(text, last(text, node));
            Some((
                at..at,
                format!("\n{}", block(rest, value, indent).trim_end_matches('\n')),
            ))
        }
        Value::Null => {
            let key = key?;
            let at = line_end(text, key.end);
            let new = block(rest, value, key.column + 1);
            Some((at..at, format!("\n{}", new.trim_end_matches('\n'))))
        }
        _ => None,
    }
}

/// Keys in keys, each on its line, and the value behind the last.
fn block(keys: &[&str], value: &str, indent: usize) -> String {
    let mut lines = String::new();
    for (depth, key) in keys.iter().enumerate() {
        let blanks = " ".repeat(indent + 2 * depth);
        let value = if depth + 1 == keys.len() {
            format!(" {value}")
        } else {
            String::new()
        };
        lines.push_str(&format!("{blanks}{key}:{value}\n"));
    }
    lines
}

fn is_flow(text: &[char], node: &Node) -> bool {
    matches!(text.get(node.place.start), Some('{' | '['))
}

/// The offset of the last character of a value.
fn last(text: &[char], node: &Node) -> usize {
    if is_flow(text, node) {
        return flow_end(text, node.place.start);
    }
    let inner = match &node.value {
        Value::Map(entries) => entries
            .last()
            .map(|(_, place, inner)| last(text, inner).max(place.end - 1)),
        Value::List(items) => items.last().map(|item| last(text, item)),
        _ => None,
    };
    inner
        .unwrap_or(node.place.end.saturating_sub(1))
        .max(node.place.start)
}

/// Where what was opened at an offset is closed.
fn flow_end(text: &[char], start: usize) -> usize {
    let (mut depth, mut quote) = (0_usize, None);
    for (at, c) in text.iter().enumerate().skip(start) {
        match (quote, c) {
            (Some(open), c) if *c == open => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(*c),
            (None, '{' | '[') => depth += 1,
            (None, '}' | ']') => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at;
        }
    }
    text.len().saturating_sub(1)
}

/// Where the line of an offset ends.
fn line_end(text: &[char], at: usize) -> usize {
    (at..text.len())
        .find(|at| text[*at] == '\n')
        .unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONNECTIONS: &str = "connections: { crm: { system: a }, erp: { system: b } }\n";

    /// The lines that change when a policy for the stage of a deal is written.
    fn lines(records: &str, policy: &Policy) -> String {
        let source = Source::new("interconnect.yaml", format!("{CONNECTIONS}{records}"));
        let changed = with_policy(&source, Kind::Deal, "stage", policy).unwrap();
        let diff = similar::TextDiff::from_lines(&*source.text, &*changed.text);
        let changes = diff
            .iter_all_changes()
            .filter(|change| change.tag() != similar::ChangeTag::Equal);
        changes
            .map(|change| format!("{}{}\n", change.tag(), change.value().trim_end_matches('\n')))
            .collect()
    }

    #[test]
    fn a_policy_finds_its_place_in_every_spelling() {
        let owner = |connection: &str| Policy::Owner {
            connection: connection.into(),
            unless_blank: false,
        };
        for (records, expected) in [
            (
                "",
                "+records:\n+  deal:\n+    policies:\n+      stage: { owner: crm }\n",
            ),
            (
                "records: {}\n",
                "-records: {}\n+records: { deal: { policies: { stage: { owner: crm } } } }\n",
            ),
            (
                "records: {}   # none yet\n",
                "-records: {}   # none yet\n+records: { deal: { policies: { stage: { owner: crm } } } }   # none yet\n",
            ),
            (
                "records:\n",
                "+  deal:\n+    policies:\n+      stage: { owner: crm }\n",
            ),
            (
                "records:\n    lead:\n        match: [[name]]   # as ever\n\nlimits: {}\n",
                "+    deal:\n+      policies:\n+        stage: { owner: crm }\n",
            ),
            (
                "records:\n  deal:\n    match: [[name]]\n",
                "+    policies:\n+      stage: { owner: crm }\n",
            ),
            (
                "records:\n  deal:\n    policies:\n      # ours\n      name: manual   # for now\n      # the end\n",
                "+      stage: { owner: crm }\n",
            ),
            (
                "records:\n  deal:\n    policies: { name: manual }\n",
                "-    policies: { name: manual }\n+    policies: { name: manual, stage: { owner: crm } }\n",
            ),
            (
                "records: { deal: { policies: { name: manual } } }\n",
                "-records: { deal: { policies: { name: manual } } }\n+records: { deal: { policies: { name: manual, stage: { owner: crm } } } }\n",
            ),
            (
                "records:\n  deal:\n    policies:\n      stage: manual   # ask\n      name: manual\n",
                "-      stage: manual   # ask\n+      stage: { owner: crm }   # ask\n",
            ),
            (
                "records:\n  deal:\n    policies: { stage: { owner: erp }, name: manual }\n",
                "-    policies: { stage: { owner: erp }, name: manual }\n+    policies: { stage: { owner: crm }, name: manual }\n",
            ),
            (
                "records:\n  deal:\n    policies:\n      stage:   # erp knows\n        owner: erp\n        unless_blank: true\n      name: manual\n",
                "-      stage:   # erp knows\n-        owner: erp\n-        unless_blank: true\n+      stage: { owner: crm }   # erp knows\n",
            ),
        ] {
            assert_eq!(lines(records, &owner("crm")), expected, "{records}");
        }
        assert_eq!(
            lines(
                "records:\n  deal: { policies: { stage: manual } }",
                &Policy::MostRecent
            ),
            "-  deal: { policies: { stage: manual } }\n+  deal: { policies: { stage: most_recent } }\n"
        );
    }

    #[test]
    fn what_cannot_be_written_is_told() {
        let source = Source::new("interconnect.yaml", "records: [1]\n");
        let told = with_policy(&source, Kind::Deal, "stage", &Policy::Manual)
            .err()
            .unwrap();
        assert_eq!(
            told,
            "the place for it in interconnect.yaml was not found; write by hand: records: { deal: { policies: { stage: manual } } }"
        );
    }
}
