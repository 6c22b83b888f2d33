//! What a line of code, or of anything else that is written down, must not say.

use crate::tree::{File, files, rust, verdict};

/// Lines a file may have without its tests.
const LINES_MAX: usize = 700;

/// (marker in code, what it means, the fix). They hold in tests too.
const LEFT_UNDONE: &[(&str, &str)] = &[
    (
        "#[ignore",
        "an ignored test is no test; run it in `make test` or delete it",
    ),
    (
        "todo!(",
        "finish it, or return an error that says what is missing",
    ),
    (
        "unimplemented!(",
        "finish it, or return an error that says what is missing",
    ),
];

/// (file, why it may sleep). A test that must be patient polls for its condition, in one of these places.
const MAY_SLEEP: &[(&str, &str)] = &[
    (
        "tests/it/harness.rs",
        "`eventually` polls, with a deadline, for a condition of other processes",
    ),
    (
        "tests/it/chaos/receiver.rs",
        "somebody who hangs or drips bytes: being slow is their whole purpose",
    ),
    (
        "tests/it/chaos/lives.rs",
        "the moment of a death is drawn from a seed, and is right whenever it falls",
    ),
    (
        "tests/it/chaos/sender.rs",
        "a sender waits between its tries, as senders do",
    ),
    ("benches/speed.rs", "a measurement waits for what it measures"),
    (
        "src/queue/contract/stage.rs",
        "`until` polls for a condition of another process or task",
    ),
    (
        "src/queue/contract/crowd.rs",
        "`outlive_the_lease` polls, with a deadline, for the renewal of a lease",
    ),
    (
        "src/queue/contract/killed.rs",
        "the job of a child process that is killed: being at work is its whole purpose",
    ),
];

/// First folders of absolute paths that exist on one machine only.
const MACHINE_FOLDERS: &[&str] = &["root", "home", "work", "Users"];

/// (how a live credential begins, how many characters of a token follow at least)
const CREDENTIALS: &[(&str, usize)] = &[
    ("AKIA", 16),
    ("ghp_", 30),
    ("github_pat_", 30),
    ("xoxb-", 20),
    ("xoxp-", 20),
    ("sk_live_", 16),
    ("pat-na1-", 30),
    ("pat-eu1-", 30),
    ("AIza", 35),
    ("whsec_", 24),
    ("5Aep861", 40),
];

/// A private key in PEM; in two parts, so that this line is none.
const KEY_BEGIN: &str = "-----BEGIN";
const KEY_END: &str = "PRIVATE KEY-----";

/// (file, the credential's beginning, why it is none)
const NO_CREDENTIALS: &[(&str, &str, &str)] = &[(
    "src/connector/engine_tests/webhooks.rs",
    "whsec_",
    "the example of the Standard Webhooks specification",
)];

#[test]
fn no_file_is_too_long() {
    let mut findings = Vec::new();
    for file in files()
        .iter()
        .filter(|file| file.path.ends_with(".py") || (file.code.is_some() && !file.is_test))
    {
        let lines = file
            .code
            .as_ref()
            .map_or_else(|| file.text.lines().count(), |code| code.lines_without_tests());
        if lines > LINES_MAX {
            findings.push(format!(
                "{}:1: {lines} lines without tests, at most {LINES_MAX}",
                file.path
            ));
        }
    }
    verdict(
        "Split by noun: each part a module that introduces what it is about.",
        &findings,
    );
}

#[test]
fn every_module_introduces_itself() {
    let silent = rust().filter(|file| !file.text.starts_with("//!"));
    let findings: Vec<String> = silent
        .map(|file| format!("{}:1: does not begin with `//!`", file.path))
        .collect();
    verdict(
        "Begin with the nouns of the module, what it promises, and what it does not.",
        &findings,
    );
}

#[test]
fn nothing_is_left_undone() {
    let mut findings = Vec::new();
    for file in rust() {
        for (line, text, _) in file.code_lines() {
            for (marker, fix) in LEFT_UNDONE.iter().filter(|(marker, _)| text.contains(marker)) {
                findings.push(format!("{}:{line}: `{marker}`: {fix}", file.path));
            }
        }
    }
    verdict("Nothing half done is committed.", &findings);
}

#[test]
fn unwrap_stays_in_tests() {
    let mut findings = Vec::new();
    for file in rust() {
        let lines = file
            .code_lines()
            .filter(|(_, text, in_test)| !in_test && text.contains(".unwrap()"));
        findings.extend(lines.map(|(line, _, _)| format!("{}:{line}: `.unwrap()`", file.path)));
    }
    verdict(
        "Return the error, or say in `.expect(\"…\")` why it cannot happen.",
        &findings,
    );
}

/// Whether code calls a function named `sleep`, by whatever path.
fn sleeps(text: &str) -> bool {
    let mut calls = text
        .match_indices("sleep(")
        .chain(text.match_indices("sleep_until("));
    calls.any(|(at, _)| !text[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_'))
}

#[test]
fn tests_do_not_sleep() {
    let mut findings = Vec::new();
    // An example measures or shows; it is no test.
    let tests = rust().filter(|file| !file.path.contains("/examples/"));
    for file in tests.filter(|file| !MAY_SLEEP.iter().any(|(path, _)| *path == file.path)) {
        let lines = file
            .code_lines()
            .filter(|(_, text, in_test)| *in_test && sleeps(text) && !text.contains("fn sleep"));
        findings.extend(lines.map(|(line, _, _)| format!("{}:{line}: sleeps", file.path)));
    }
    for (path, why) in MAY_SLEEP {
        if why.is_empty() || !files().iter().any(|file| file.path == *path) {
            findings.push(format!(
                "{path}: stands in MAY_SLEEP without a reason or does not exist"
            ));
        }
    }
    verdict(
        "A test that sleeps is slow when it passes and flaky when it fails: hand in the clock, await the event, \
         or poll for the condition in a place that MAY_SLEEP (tests/tidy/text.rs) names with its reason.",
        &findings,
    );
}

/// The machine's folder that a line names as the beginning of an absolute path.
fn machine_path(line: &str) -> Option<String> {
    let folders = MACHINE_FOLDERS.iter().map(|folder| format!("/{folder}/"));
    folders.into_iter().find(|folder| {
        let inside_path = |c: char| c.is_alphanumeric() || "._-}>~*$".contains(c);
        line.match_indices(folder.as_str())
            .any(|(at, _)| !line[..at].ends_with(inside_path))
    })
}

#[test]
fn no_path_of_one_machine_is_written_down() {
    let mut findings = Vec::new();
    for file in files() {
        let found = file
            .text
            .lines()
            .enumerate()
            .filter_map(|(index, line)| Some((index + 1, machine_path(line)?)));
        findings.extend(
            found.map(|(line, folder)| format!("{}:{line}: a path that begins with `{folder}`", file.path)),
        );
    }
    verdict(
        "Write a path from the root of the repository, or take it from the environment.",
        &findings,
    );
}

/// The beginning of a credential in a line.
fn credential(line: &str) -> Option<&'static str> {
    if line.contains(KEY_BEGIN) && line.contains(KEY_END) {
        return Some(KEY_BEGIN);
    }
    let token = |c: &char| c.is_ascii_alphanumeric() || "-_+/.=".contains(*c);
    let found = CREDENTIALS.iter().find(|(prefix, length)| {
        line.match_indices(prefix).any(|(at, _)| {
            let starts_word = !line[..at].ends_with(|c: char| c.is_alphanumeric());
            starts_word && line[at + prefix.len()..].chars().take_while(token).count() >= *length
        })
    });
    found.map(|(prefix, _)| *prefix)
}

#[test]
fn no_credential_is_written_down() {
    let excused = |file: &File, prefix: &str| {
        NO_CREDENTIALS
            .iter()
            .any(|(path, begin, _)| *path == file.path && *begin == prefix)
    };
    let mut findings = Vec::new();
    for file in files() {
        let found = file
            .text
            .lines()
            .enumerate()
            .filter_map(|(index, line)| Some((index + 1, credential(line)?)));
        let found = found.filter(|(_, prefix)| !excused(file, prefix));
        findings
            .extend(found.map(|(line, prefix)| {
                format!("{}:{line}: looks like a credential (`{prefix}…`)", file.path)
            }));
    }
    verdict(
        "Revoke it if it was real. A test makes its secrets up when it runs; \
         a published example goes into NO_CREDENTIALS (tests/tidy/text.rs) with the reason.",
        &findings,
    );
}

mod laws {
    use super::{KEY_BEGIN, KEY_END, credential, machine_path, sleeps};

    #[test]
    fn paths_of_a_machine_are_told_from_others() {
        let folder = |name: &str| format!("/{name}/");
        for line in [
            format!("cd {}x", folder("work")),
            format!("\"{}me\"", folder("home")),
            folder("root"),
        ] {
            assert!(machine_path(&line).is_some(), "{line}");
        }
        for line in [
            "/var/home/x",
            "https://a.example/home/x",
            "homework/root.rs",
            "$DIR/home/x",
        ] {
            assert_eq!(machine_path(line), None, "{line}");
        }
    }

    #[test]
    fn credentials_are_told_from_talk_about_them() {
        let long = "aB3".repeat(14);
        assert!(credential(&format!("token: ghp_{long}")).is_some());
        assert!(credential(&[KEY_BEGIN, "RSA", KEY_END].join(" ")).is_some());
        assert_eq!(credential("secrets begin with `whsec_` and base64"), None);
        assert_eq!(credential(&format!("xghp_{long}")), None);
    }

    #[test]
    fn sleeping_is_told_from_words_like_it() {
        assert!(sleeps("tokio::time::sleep(x).await"));
        assert!(sleeps("sleep(x)"));
        assert!(!sleeps("oversleep(x); asleep()"));
    }
}
