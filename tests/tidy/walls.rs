//! Who may know whom: the sibling crates and the foreign crates that each `src/*/Cargo.toml` may name.

use crate::tree::{File, files, rust, verdict};

/// The crates, lowest layer first. A crate may name crates of lower layers, never of its own or a higher one.
const LAYERS: &[&[&str]] = &[
    &["diagnostic", "model", "program"],
    &[
        "mapping",
        "policy",
        "event",
        "outbound",
        "connector",
        "ledger",
        "queue",
    ],
    &["sync", "relay", "ecosystem"],
    &["server", "sandbox"],
];

/// (who, whom): allowed although the layers do not say so.
const EXTRA: &[(&str, &str)] = &[("connector", "outbound"), ("program", "diagnostic")];

/// (who, whom, why not): forbidden although the layers would allow it.
const FORBIDDEN: &[(&str, &str, &str)] = &[
    (
        "connector",
        "model",
        "a connector does not know what a lead is; sync is where connector and mapping meet",
    ),
    ("outbound", "model", "a client for HTTP does not know records"),
    ("sync", "outbound", "only connector and relay speak HTTP"),
    ("ecosystem", "outbound", "only connector and relay speak HTTP"),
    (
        "sandbox",
        "*",
        "the sandbox shares no code with what it tests; it speaks HTTP only",
    ),
];

/// (foreign crates, who may name them as a dependency, why). A name ending in `*` is a prefix.
const OWNERS: &[(&[&str], &[&str], &str)] = &[
    (
        &[
            "rusqlite",
            "libsqlite3-sys",
            "tokio-postgres",
            "deadpool-postgres",
            "refinery*",
            "sqlx*",
            "diesel*",
        ],
        &["ledger"],
        "only ledger writes SQL",
    ),
    (
        &["apalis*", "redis", "deadpool-redis", "fred"],
        &["queue"],
        "only queue names apalis or redis",
    ),
    (
        &["axum*"],
        &["server", "sandbox"],
        "only server and sandbox serve HTTP",
    ),
    (
        &[
            "reqwest*",
            "hyper-rustls",
            "rustls-platform-verifier",
            "hyper-tls",
            "ureq",
            "isahc",
            "curl",
        ],
        &["outbound"],
        "only outbound builds an HTTP client: there are the limits, time-outs and the address guard",
    ),
    (
        &["jaq-*"],
        &["program"],
        "only program runs jq: there is the closed vocabulary in which every program ends",
    ),
    (
        &["hyper", "hyper-util"],
        &["outbound", "server", "sandbox"],
        "only outbound calls, and only server and sandbox serve",
    ),
    (
        &["tonic*", "prost*", "grpc*"],
        &["connector", "sandbox"],
        "only connector listens to streams of a system, and only sandbox plays one",
    ),
];

/// Crates of pure functions, and what they must not name even for their tests.
const PURE: &[&str] = &["diagnostic", "model", "program", "mapping", "policy", "event"];
const IMPURE: &[&str] = &[
    "tokio*",
    "async-*",
    "futures*",
    "apalis*",
    "redis",
    "rusqlite",
    "tokio-postgres",
    "sqlx*",
    "axum*",
    "hyper*",
    "reqwest*",
    "tower*",
    "http",
    "http-*",
    "rand",
    "getrandom",
    "fastrand",
];

/// What reads a clock or draws a random value; in the pure crates both are handed in.
const CLOCKS: &[&str] = &[
    "Instant::now(",
    "SystemTime::now(",
    "Timestamp::now(",
    "Zoned::now(",
    "Utc::now(",
    "Local::now(",
    "Uuid::now_v7(",
    "Uuid::new_v4(",
    "rand::",
];

/// One dependency line of a manifest.
struct Dependency {
    line: usize,
    name: String,
    /// Named for tests only.
    for_tests: bool,
}

/// The dependencies of a manifest, by line; renamed packages count by both names.
fn dependencies(manifest: &str) -> Vec<Dependency> {
    let mut found = Vec::new();
    let mut section = String::new();
    for (index, line) in manifest.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if let Some(header) = line.strip_prefix('[') {
            section = header.trim_end_matches(']').to_owned();
            // `[dependencies.serde]` names its crate in the header.
            if let Some((_, name)) = section.rsplit_once("dependencies.") {
                let for_tests = section.contains("dev-dependencies");
                found.push(Dependency {
                    line: index + 1,
                    name: name.trim_matches('"').to_owned(),
                    for_tests,
                });
            }
            continue;
        }
        let Some((key, value)) = line.split_once('=').filter(|_| section.contains("dependencies")) else {
            continue;
        };
        let for_tests = section.contains("dev-dependencies");
        let mut names = Vec::new();
        if section.ends_with("dependencies") {
            names.push(
                key.trim()
                    .split('.')
                    .next()
                    .unwrap_or_default()
                    .trim_matches('"')
                    .to_owned(),
            );
        }
        let renamed = if key.trim() == "package" {
            Some(value)
        } else {
            value.split_once("package").map(|(_, v)| v)
        };
        names.extend(
            renamed
                .and_then(|value| value.split('"').nth(1))
                .map(str::to_owned),
        );
        found.extend(names.into_iter().map(|name| Dependency {
            line: index + 1,
            name,
            for_tests,
        }));
    }
    found
}

fn matches(pattern: &str, name: &str) -> bool {
    pattern
        .strip_suffix('*')
        .map_or(pattern == name, |prefix| name.starts_with(prefix))
}

fn layer_of(name: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&name))
}

/// (crate, its manifest) for every folder `src/<crate>/`.
fn manifests() -> Vec<(&'static str, &'static File)> {
    let all = files().iter();
    let named = all.filter_map(|file| {
        let name = file.path.strip_prefix("src/")?.strip_suffix("/Cargo.toml")?;
        (!name.contains('/')).then_some((name, file))
    });
    named.collect()
}

/// Why `who` may not name its sibling `whom`; nothing when it may.
fn refusal(who: &str, whom: &str, for_tests: bool) -> Option<String> {
    // Anybody may drive the emulated systems in a test, which are reached by HTTP, and open a connection there, which needs
    // the client that its caller hands in.
    if for_tests && who != "sandbox" && matches!(whom, "sandbox" | "outbound") {
        return None;
    }
    if let Some((_, _, why)) = FORBIDDEN
        .iter()
        .find(|(a, b, _)| *a == who && (*b == whom || *b == "*"))
    {
        return Some((*why).to_owned());
    }
    if EXTRA.contains(&(who, whom)) {
        return None;
    }
    match (layer_of(who), layer_of(whom)) {
        (Some(above), Some(below)) if below < above => None,
        (Some(above), Some(below)) => Some(format!(
            "{who} is on layer {above}, {whom} on layer {below}; arrows point down"
        )),
        (None, _) | (_, None) => {
            Some("one of the two has no layer; give it one in LAYERS (tests/tidy/walls.rs)".to_owned())
        }
    }
}

#[test]
fn crates_name_only_siblings_below_them() {
    let mut findings = Vec::new();
    for (who, manifest) in manifests() {
        if layer_of(who).is_none() {
            findings.push(format!(
                "{}:1: crate `{who}` has no layer in LAYERS (tests/tidy/walls.rs)",
                manifest.path
            ));
        }
        for dependency in dependencies(&manifest.text) {
            let Some(whom) = dependency.name.strip_prefix("interconnect-") else {
                continue;
            };
            if let Some(why) = refusal(who, whom, dependency.for_tests) {
                findings.push(format!(
                    "{}:{}: {who} names {whom}: {why}",
                    manifest.path, dependency.line
                ));
            }
        }
    }
    assert!(
        !manifests().is_empty(),
        "no src/*/Cargo.toml was found, so nothing was checked"
    );
    verdict(
        "Move what is needed down a layer, hand it in as a value or a trait, or do the work one layer up.",
        &findings,
    );
}

#[test]
fn foreign_crates_stay_with_their_owner() {
    let mut findings = Vec::new();
    let root = files()
        .iter()
        .find(|file| file.path == "Cargo.toml")
        .expect("the workspace has a manifest");
    let mut all = manifests();
    all.push(("the root package", root));
    for (who, manifest) in all {
        for dependency in dependencies(&manifest.text) {
            // The workspace's list of versions names every crate and uses none.
            let is_version_list = who == "the root package" && in_version_list(&root.text, dependency.line);
            if dependency.for_tests || is_version_list {
                continue;
            }
            for (names, owners, why) in OWNERS {
                if names.iter().any(|name| matches(name, &dependency.name)) && !owners.contains(&who) {
                    let (line, name) = (dependency.line, &dependency.name);
                    findings.push(format!("{}:{line}: {who} names {name}: {why}", manifest.path));
                }
            }
        }
    }
    verdict(
        "Ask the owner for a function with a purpose instead of using its tool.",
        &findings,
    );
}

/// Whether a line of the root manifest lies in `[workspace.dependencies]`.
fn in_version_list(manifest: &str, line: usize) -> bool {
    let before = manifest.lines().take(line).filter(|text| text.starts_with('['));
    before.last() == Some("[workspace.dependencies]")
}

#[test]
fn pure_crates_name_nothing_impure() {
    let mut findings = Vec::new();
    for (who, manifest) in manifests().into_iter().filter(|(who, _)| PURE.contains(who)) {
        for dependency in dependencies(&manifest.text) {
            if IMPURE.iter().any(|pattern| matches(pattern, &dependency.name)) {
                findings.push(format!(
                    "{}:{}: {who} names {}",
                    manifest.path, dependency.line, dependency.name
                ));
            }
        }
    }
    verdict(
        "These crates are functions from values to values: no runtime, no SQL, no HTTP, no chance.",
        &findings,
    );
}

#[test]
fn pure_crates_read_no_clock() {
    let mut findings = Vec::new();
    for file in rust().filter(|file| {
        !file.path.contains("/examples/")
            && PURE
                .iter()
                .any(|name| file.path.starts_with(&format!("src/{name}/")))
    }) {
        for (line, text, _) in file.code_lines() {
            if let Some(clock) = CLOCKS.iter().find(|clock| text.contains(**clock)) {
                findings.push(format!("{}:{line}: `{clock}`", file.path));
            }
        }
    }
    verdict(
        "Time and chance are arguments here: take the instant or the value from the caller.",
        &findings,
    );
}

#[test]
fn only_outbound_builds_an_http_client() {
    let clients = [
        "hyper_util::client",
        "hyper::client",
        "client::legacy",
        "tonic::transport",
        "reqwest::",
    ];
    let mut findings = Vec::new();
    for file in rust().filter(|file| file.path.starts_with("src/") && !file.path.starts_with("src/outbound/"))
    {
        for (line, text, _) in file.code_lines().filter(|(_, _, in_test)| !in_test) {
            if let Some(client) = clients.iter().find(|client| text.contains(**client)) {
                findings.push(format!("{}:{line}: `{client}`", file.path));
            }
        }
    }
    verdict(
        "Send it through outbound: there are the limits, time-outs and the address guard.",
        &findings,
    );
}

#[test]
fn only_the_ledger_writes_sql() {
    let statements = [
        "INSERT INTO ",
        "DELETE FROM ",
        "CREATE TABLE ",
        "CREATE INDEX ",
        "ALTER TABLE ",
    ];
    let mut findings = Vec::new();
    for file in rust().filter(|file| file.path.starts_with("src/") && !file.path.starts_with("src/ledger/")) {
        // Statements stand in strings, which `code` blanks, so the text is read; a comment or a test may talk about them.
        for ((line, _, in_test), text) in file.code_lines().zip(file.text.lines()) {
            let found = statements.iter().find(|statement| text.contains(**statement));
            if let Some(statement) = found.filter(|_| !in_test && !text.trim_start().starts_with("//")) {
                findings.push(format!("{}:{line}: `{}`", file.path, statement.trim()));
            }
        }
    }
    verdict(
        "Add a method named by its purpose to the ledger's contract and implement it in both stores.",
        &findings,
    );
}

mod laws {
    use super::{dependencies, refusal};

    #[test]
    fn every_form_of_a_dependency_is_seen() {
        let manifest = "[package]\nname = \"x\"\n[dependencies]\na.workspace = true\nb = { version = \"1\", package = \"bb\" }\n\
                        # c = \"1\"\n[target.'cfg(unix)'.dependencies]\nd = \"1\"\n[dev-dependencies]\ne = \"1\"\n\
                        [dependencies.f]\nversion = \"1\"\npackage = \"ff\"\n";
        let seen: Vec<(String, bool)> = dependencies(manifest)
            .into_iter()
            .map(|d| (d.name, d.for_tests))
            .collect();
        let names: Vec<&str> = seen.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["a", "b", "bb", "d", "e", "f", "ff"]);
        assert!(seen.iter().all(|(name, for_tests)| *for_tests == (name == "e")));
    }

    #[test]
    fn arrows_point_down() {
        let allowed = [
            ("sync", "connector"),
            ("connector", "outbound"),
            ("server", "relay"),
            ("mapping", "model"),
        ];
        let refused = [
            ("model", "mapping"),
            ("ledger", "queue"),
            ("connector", "model"),
            ("sandbox", "diagnostic"),
            ("server", "sandbox"),
            ("relay", "sync"),
            ("new", "model"),
        ];
        for (who, whom) in allowed {
            assert_eq!(refusal(who, whom, false), None, "{who} -> {whom}");
        }
        for (who, whom) in refused {
            assert!(refusal(who, whom, false).is_some(), "{who} -> {whom}");
        }
        assert_eq!(refusal("sync", "sandbox", true), None);
        assert!(refusal("sandbox", "model", true).is_some());
    }
}
