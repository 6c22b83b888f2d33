//! Documents that lie quietly: every path that they name exists, every code has its explanation.

use crate::tree::{File, files, root, rust, verdict};

/// The documents whose backticked paths are checked; both have to exist.
const MAPS: &[&str] = &["README.md", "ARCHITECTURE.md"];

/// First parts of words with a slash that are media types, not paths.
const MEDIA_TYPES: &[&str] = &[
    "application",
    "text",
    "image",
    "multipart",
    "audio",
    "video",
    "font",
    "interconnect",
];

/// Where a path in a document may begin: at the root, or in the engine, as the code map does.
const STARTS: &[&str] = &["", "src/"];

/// Lines outside fenced blocks, numbered from 1.
fn prose(file: &File) -> impl Iterator<Item = (usize, &str)> {
    let mut fenced = false;
    let numbered = file
        .text
        .lines()
        .enumerate()
        .map(|(index, line)| (index + 1, line));
    numbered.filter(move |(_, line)| {
        let is_fence = line.trim_start().starts_with("```");
        fenced ^= is_fence;
        !fenced && !is_fence
    })
}

/// What stands between backticks in a line.
fn quoted(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

/// The part of a quoted word that must exist on disk: a path up to its first placeholder. Nothing when it is no path.
fn claimed_path(word: &str) -> Option<&str> {
    let is_path = word.contains('/') && !word.contains(char::is_whitespace) && !word.contains("://");
    let first = word.split('/').next().unwrap_or_default();
    // A leading slash is an address of the API or of another machine.
    if !is_path || first.is_empty() || MEDIA_TYPES.contains(&first) {
        return None;
    }
    let word = word.split(['#', ':']).next().unwrap_or(word);
    let fixed = word.find(['*', '<', '{', '…']).map_or(word, |at| {
        word[..at].rsplit_once('/').map_or("", |(path, _)| path)
    });
    (!fixed.is_empty()).then_some(fixed)
}

fn exists(path: &str) -> bool {
    STARTS
        .iter()
        .any(|start| root().join(format!("{start}{path}")).exists())
}

#[test]
fn every_path_in_the_maps_exists() {
    let mut findings = Vec::new();
    for name in MAPS {
        let Some(file) = files().iter().find(|file| file.path == *name) else {
            findings.push(format!("{name}:1: missing; it is where a newcomer begins"));
            continue;
        };
        for (line, text) in prose(file) {
            for path in quoted(text).filter_map(claimed_path).filter(|path| !exists(path)) {
                findings.push(format!("{name}:{line}: `{path}` does not exist"));
            }
        }
    }
    verdict(
        "Correct the path where it moved, or take the sentence out; words with a slash that are no paths need no backticks.",
        &findings,
    );
}

#[test]
fn every_relative_link_leads_somewhere() {
    let mut findings = Vec::new();
    for file in files().iter().filter(|file| file.path.ends_with(".md")) {
        for (line, text) in prose(file) {
            for (at, _) in text.match_indices("](") {
                let target = text[at + 2..].split([')', '#', ' ']).next().unwrap_or_default();
                let is_relative = !target.is_empty() && !target.contains(':') && !target.starts_with('/');
                if is_relative && !root().join(file.folder()).join(target).exists() {
                    findings.push(format!("{}:{line}: link to `{target}`", file.path));
                }
            }
        }
    }
    verdict("A link is relative to the folder of its document.", &findings);
}

/// Where the long help for the codes of findings lies, a section each.
const EXPLANATIONS: &str = "src/diagnostic/explain/";

/// Codes that a line of Rust quotes.
fn codes(line: &str) -> impl Iterator<Item = &str> {
    let code = |word: &&str| {
        let digits = word.strip_prefix("IC").unwrap_or_default();
        digits.len() == 4 && digits.bytes().all(|b| b.is_ascii_digit())
    };
    line.split('"').skip(1).step_by(2).filter(code)
}

#[test]
fn every_code_is_explained_and_every_explanation_used() {
    let mut used = Vec::new();
    for file in rust().filter(|file| file.path.starts_with("src/")) {
        let tested = file.code_lines().map(|(_, _, in_test)| in_test);
        for (index, (line, _)) in file
            .text
            .lines()
            .zip(tested)
            .enumerate()
            .filter(|(_, (_, test))| !test)
        {
            used.extend(codes(line).map(|code| (code, format!("{}:{}", file.path, index + 1))));
        }
    }
    let mut explained = Vec::new();
    for file in files().iter().filter(|file| file.path.starts_with(EXPLANATIONS)) {
        for (line, text) in prose(file) {
            let code = text.strip_prefix("## ").and_then(|head| head.split_once(':'));
            explained.extend(code.map(|(code, _)| (code, format!("{}:{line}", file.path))));
        }
    }
    let missing = |these: &[(&str, String)], those: &[(&str, String)], what: &str| -> Vec<String> {
        let lacking = these
            .iter()
            .filter(|(code, _)| !those.iter().any(|(other, _)| other == code));
        lacking
            .map(|(code, place)| format!("{place}: {code} {what}"))
            .collect()
    };
    assert!(!used.is_empty() && !explained.is_empty());
    let mut findings = missing(&used, &explained, "is not explained");
    findings.extend(missing(&explained, &used, "is used nowhere"));
    findings.dedup();
    verdict(
        "Add, or take out, its section in src/diagnostic/explain: what it means, why it matters, a wrong and a right \
         example that the tests run.",
        &findings,
    );
}

mod laws {
    use super::{claimed_path, codes, quoted};

    #[test]
    fn codes_are_told_from_other_texts() {
        let line = r#"report.error("IC0205", source, "IC02", "ICxxxx"); note("see IC0206", "IC0207")"#;
        assert_eq!(codes(line).collect::<Vec<_>>(), ["IC0205", "IC0207"]);
    }

    #[test]
    fn paths_are_told_from_other_words() {
        let cases = [
            ("src/relay/lib.rs", Some("src/relay/lib.rs")),
            ("src/relay/", Some("src/relay/")),
            ("mappings/<system>/deal.yaml", Some("mappings")),
            ("samples/*.json", Some("samples")),
            ("src/lib.rs:12", Some("src/lib.rs")),
            ("application/json", None),
            ("interconnect/v1", None),
            ("/api/v1/deals", None),
            ("https://example.test/x", None),
            ("POST /hooks", None),
            ("relay::intake", None),
        ];
        for (word, expected) in cases {
            assert_eq!(claimed_path(word), expected, "{word}");
        }
        assert_eq!(quoted("see `a/b` and `c`").collect::<Vec<_>>(), ["a/b", "c"]);
    }
}
