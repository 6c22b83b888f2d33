//! The configuration: `interconnect.yaml`, read with every finding at once.
//!
//! [`Config::read`] takes a [`Source`] and notes what is wrong with it; secrets are references ([`SecretRef`]) that are
//! looked up when they are needed, so that a configuration can be checked where its secrets are not.
//! Every path in it leads from the folder that it lies in; what the environment says leads from where the process runs.
//! The annotated file that ships is the default: [`DEFAULT`].

mod custom;
mod inlets;
mod limits;
mod outbound;
mod partners;
mod paths;
pub(crate) mod propose;
mod retention;
mod secret;
mod sharing;
mod subscriptions;
mod syncs;
mod tls;

use std::collections::BTreeMap;
use std::net::SocketAddr;

use diagnostic::{Fields, Node, Report, Source};

use secret::Form;

pub use limits::Limits;
pub use outbound::{OutboundConfig, ProxyConfig};
pub use partners::{EndpointAuth, EndpointConfig, OAuth2Client, PartnerConfig};
pub use secret::{MissingSecret, SecretRef};
pub use syncs::{ConnectionConfig, RecordRules, SyncConfig};
pub use tls::{EndpointTls, NotUsable};

/// The shipped configuration; what a left-out key means.
pub const DEFAULT: &str = include_str!("../interconnect.yaml");

/// Everything that is configured.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the hub listens.
    pub listen: SocketAddr,
    /// The key for administrators.
    pub admin_key: Option<SecretRef>,
    /// The keys for refresh tokens that are kept: the first seals, all open.
    pub seal_keys: Vec<SecretRef>,
    /// `sqlite:…` with the file as it is found from here, or `postgres://…`.
    pub ledger: String,
    /// `memory` or `redis://…`.
    pub queue: String,
    /// The user's folder of connectors, as it is found from here.
    pub connectors: Option<String>,
    /// The user's folder of mappings, as it is found from here.
    pub mappings: Option<String>,
    /// The user's folder of types of events, as it is found from here.
    pub events: Option<String>,
    /// Who may be called, and by which way.
    pub outbound: OutboundConfig,
    /// Accounts at systems, by name.
    pub connections: BTreeMap<String, ConnectionConfig>,
    /// What is kept in agreement.
    pub syncs: Vec<SyncConfig>,
    /// Rules by kind of record.
    pub records: BTreeMap<model::Kind, RecordRules>,
    /// Partners, by name.
    pub partners: BTreeMap<String, PartnerConfig>,
    /// How long events are kept.
    pub retention: relay::RetentionSettings,
    /// Limits.
    pub limits: Limits,
}

impl Config {
    /// Reads a configuration and notes every finding. What has errors is read as far as it goes, so that what it names
    /// can be checked too; it must not be used. Nothing when it is not even a map.
    pub fn read(source: &Source, report: &mut Report) -> Option<Config> {
        let node = Node::parse(source, report)?;
        let mut fields = Fields::open(&node, "the configuration", source, report)?;
        if let Some(version) = fields.optional_integer("version", 1..=1, report) {
            debug_assert_eq!(version, 1);
        }
        let bare = fields.bare_number("listen").map(|port| port.to_string());
        let listen = match &bare {
            Some(port) => port,
            None => fields.optional_text("listen", report).unwrap_or("127.0.0.1:8080"),
        };
        let listen_place = fields
            .optional("listen")
            .map_or(fields.place(), |node| node.place);
        let listen = listen.parse::<SocketAddr>().unwrap_or_else(|_| {
            report.error(
                "IC0101",
                source,
                listen_place,
                format!("`{listen}` is not an address and a port"),
                "write for example 127.0.0.1:8080 or [::]:8080",
            );
            SocketAddr::from(([127, 0, 0, 1], 8080))
        });
        let admin_key = secret::optional(&mut fields, "admin_key", Form::ApiKey, report);
        let seal_keys = secret::seal_keys(&mut fields, report);
        let ledger = one_of(
            &mut fields,
            "ledger",
            "sqlite:interconnect.db",
            &["sqlite:", "postgres://", "postgresql://"],
            report,
        );
        let ledger = paths::ledger(source, &ledger);
        let queue = one_of(
            &mut fields,
            "queue",
            "memory",
            &["memory", "redis://", "unix://"],
            report,
        );
        let beside = |folder: &str| paths::beside(source, folder);
        let connectors = fields.optional_text("connectors", report).map(beside);
        let mappings = fields.optional_text("mappings", report).map(beside);
        let events = fields.optional_text("events", report).map(beside);
        let outbound = outbound::outbound(&mut fields, report);
        let connections = syncs::connections(&mut fields, report);
        let speakers = partners::speakers(&mut fields);
        let syncs = syncs::syncs(&mut fields, &connections, &speakers, report);
        let records = syncs::records(&mut fields, &connections, report);
        let policies = sharing::policies(&mut fields, report);
        // What is no rule was told already.
        let rules =
            |rules: &[String]| -> Vec<_> { rules.iter().filter_map(|rule| rule.parse().ok()).collect() };
        let guard = ::outbound::Guard::allowing(rules(&outbound.allow)).only(rules(&outbound.only));
        let partners = partners::partners(&mut fields, &connections, (&policies, &guard), report);
        let retention = retention::retention(&mut fields, report);
        let limits = limits::limits(&mut fields, report);
        fields.finish(report);
        Some(Config {
            listen,
            admin_key,
            seal_keys,
            ledger,
            queue,
            connectors,
            mappings,
            events,
            outbound,
            connections,
            syncs,
            records,
            partners,
            retention,
            limits,
        })
    }
}

impl Config {
    /// Lets the environment have the last word where a deployment differs from the file:
    /// `INTERCONNECT_LISTEN`, `INTERCONNECT_LEDGER`, `INTERCONNECT_QUEUE` replace their keys, and
    /// `INTERCONNECT_ADMIN_KEY` and `INTERCONNECT_SEAL_KEY` are the keys when the file names none.
    pub fn override_from(&mut self, environment: impl Fn(&str) -> Option<String>) -> Result<(), String> {
        if let Some(listen) = environment("INTERCONNECT_LISTEN") {
            let read = listen.parse();
            self.listen = read.map_err(|_| {
                format!("INTERCONNECT_LISTEN is `{listen}`, which is not an address and a port such as 0.0.0.0:8080")
            })?;
        }
        if let Some(ledger) = environment("INTERCONNECT_LEDGER") {
            self.ledger = ledger;
        }
        if let Some(queue) = environment("INTERCONNECT_QUEUE") {
            self.queue = queue;
        }
        let secret = |name: &str, form: Form| {
            let Some(held) = environment(name) else {
                return Ok(None);
            };
            match form.fault(held.trim_end_matches(['\r', '\n'])) {
                Some(fault) => Err(format!("what {name} holds cannot be used: {fault}")),
                None => Ok(Some(SecretRef::Env(name.to_owned()))),
            }
        };
        if self.admin_key.is_none() {
            self.admin_key = secret("INTERCONNECT_ADMIN_KEY", Form::ApiKey)?;
        }
        if self.seal_keys.is_empty() {
            self.seal_keys
                .extend(secret("INTERCONNECT_SEAL_KEY", Form::Seal)?);
        }
        Ok(())
    }
}

/// Text that starts in one of some ways.
fn one_of(
    fields: &mut Fields<'_>,
    key: &'static str,
    default: &str,
    starts: &[&str],
    report: &mut Report,
) -> String {
    let Some(text) = fields.optional_text(key, report) else {
        return default.to_owned();
    };
    if !starts.iter().any(|start| text.starts_with(start)) {
        let place = fields.optional(key).map_or(fields.place(), |node| node.place);
        report.error(
            "IC0102",
            fields.source(),
            place,
            format!("`{key}` starts with none of {}", starts.join(", ")),
            format!("write for example `{key}: {default}`"),
        );
    }
    text.to_owned()
}

/// A time span as people write it: `500ms`, `30s`, `5m`, `2h`, `1d`; milliseconds.
pub(crate) fn span_ms(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let factor = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use insta::assert_snapshot;

    fn findings(text: &str) -> String {
        let mut report = Report::new();
        assert!(Config::read(&Source::new("interconnect.yaml", text), &mut report).is_some());
        assert!(report.has_errors());
        secret::but_missing(&report)
    }

    #[test]
    fn the_shipped_file_is_the_default() {
        let mut report = Report::new();
        let shipped = Config::read(&Source::new("interconnect.yaml", DEFAULT), &mut report).unwrap();
        let empty = Config::read(&Source::new("empty.yaml", ""), &mut report).unwrap();
        assert!(report.is_empty(), "{}", report.render(false));
        assert_eq!(format!("{shipped:?}"), format!("{empty:?}"));
    }

    #[test]
    fn the_larger_value_of_what_has_no_order_is_a_finding() {
        let right = "records:\n  deal: { policies: { amount: max, expected_close_date: min } }\n";
        let mut report = Report::new();
        let config = Config::read(&Source::new("interconnect.yaml", right), &mut report).unwrap();
        assert!(report.is_empty(), "{}", report.render(false));
        let policies = &config.records[&model::Kind::Deal].policies;
        assert_eq!(policies["amount"], model::merge::Policy::Max);
        assert_eq!(policies["expected_close_date"], model::merge::Policy::Min);
        assert_snapshot!(findings("records:\n  deal:\n    policies:\n      name: max\n"), @r"
        error[IC0116]: `max` needs values of which one is larger, and `name` has none
         --> interconnect.yaml:4:13
          |
        4 |       name: max
          |             ^^^
          |
          = help: numbers, amounts, days and moments have an order; write `most_recent` or an owner for others
        ");
    }

    #[test]
    fn custom_fields_are_fields_in_all_that_is_said_of_their_kind() {
        let text = "\
records:
  deal:
    match: [ [ custom.contract, partner ] ]
    policies: { custom.seats: max, custom.contract: manual }
    custom: { seats: { type: integer }, renewal: { type: date, doc: when it is due }, contract: { type: text, chars_max: 40 } }
";
        let mut report = Report::new();
        let config = Config::read(&Source::new("interconnect.yaml", text), &mut report).unwrap();
        assert!(!report.has_errors(), "{}", report.render(false));
        let rules = &config.records[&model::Kind::Deal];
        assert_eq!(rules.policies["custom.seats"], model::merge::Policy::Max);
        assert_eq!(
            rules.matching.as_ref().unwrap()[0].fields,
            ["custom.contract", "partner"]
        );
        let field = |path| {
            model::Kind::Deal
                .field(path)
                .map(|field| (field.field_type, field.doc))
        };
        assert_eq!(
            field("custom.renewal"),
            Some((model::FieldType::Date, "when it is due"))
        );
        assert_eq!(
            field("custom.contract"),
            Some((model::FieldType::Text { chars_max: 40 }, ""))
        );
    }

    #[test]
    fn a_custom_field_that_cannot_be_is_a_finding() {
        let text = "\
records:
  lead:
    custom:
      a: { type: choice }
      b: { type: date, of: [x] }
      c: { type: choices, of: [x], chars_max: 4 }
      D: { type: bool }
      e: { type: number }
      f: { doc: what }
      g: { type: choice, of: [] }
      h: { type: choices, of: [x, y, x] }
";
        assert_snapshot!(findings(text), @r"
        error[IC0156]: `a` has no words to choose from
         --> interconnect.yaml:4:10
          |
        4 |       a: { type: choice }
          |          ^^
          |
          = help: name them: `of: [north, south]`

        error[IC0156]: `b` is not chosen from words
         --> interconnect.yaml:5:24
          |
        5 |       b: { type: date, of: [x] }
          |                        ^^
          |
          = help: remove `of`, or write `type: choice`, or `choices` where several may be chosen

        error[IC0156]: `c` is no text
         --> interconnect.yaml:6:36
          |
        6 |       c: { type: choices, of: [x], chars_max: 4 }
          |                                    ^^^^^^^^^
          |
          = help: remove `chars_max`, or write `type: text`

        error[IC0156]: `D` cannot be the name of a custom field: small letters, digits and underscores, a letter first, at most 60
         --> interconnect.yaml:7:7
          |
        7 |       D: { type: bool }
          |       ^
          |
          = help: give it another name; mappings call it `custom.<name>`

        error[IC0004]: `number` is not a known value of `type`
         --> interconnect.yaml:8:18
          |
        8 |       e: { type: number }
          |                  ^^^^^^
          |
          = help: known are: text, choice, choices, set, integer, decimal, money, bool, date, datetime, email, phone, url, domain, country, subdivision

        error[IC0003]: a custom field lacks `type`
         --> interconnect.yaml:9:10
          |
        9 |       f: { doc: what }
          |          ^^
          |
          = help: add `type: …`

        error[IC0156]: `g` has no words to choose from
          --> interconnect.yaml:10:26
           |
        10 |       g: { type: choice, of: [] }
           |                          ^^
           |
           = help: name them: `of: [north, south]`

        error[IC0156]: `h` names `x` twice
          --> interconnect.yaml:11:27
           |
        11 |       h: { type: choices, of: [x, y, x] }
           |                           ^^
           |
           = help: name each word once
        ");
        for name in ["a", "b", "c", "D", "e", "f", "g", "h"] {
            assert_eq!(model::Kind::Lead.field(&format!("custom.{name}")), None, "{name}");
        }
    }

    #[test]
    fn the_commented_examples_are_valid_too() {
        // Every example line of the shipped file with its comment sign taken off must be accepted as it stands.
        let mut text = String::new();
        for line in DEFAULT.lines() {
            let example = line.strip_prefix("#  ").or(line.strip_prefix("# ").filter(|l| {
                ["admin_key:", "seal_key:", "connectors:", "mappings:", "events:"]
                    .iter()
                    .any(|key| l.starts_with(key))
            }));
            let opens = [
                "connections: {}",
                "syncs: []",
                "records: {}",
                "sharing: {}",
                "partners: {}",
            ]
            .contains(&line);
            match example {
                Some(example) if line.starts_with("#  ") => text.push_str(&format!("  {example}\n")),
                Some(example) => text.push_str(&format!("{example}\n")),
                None if opens => text.push_str(&format!("{}\n", &line[..line.len() - 3])),
                None => text.push_str(&format!("{line}\n")),
            }
        }
        let mut report = Report::new();
        let read = Config::read(&Source::new("examples.yaml", text.as_str()), &mut report);
        assert!(
            read.is_some(),
            "{}
{text}",
            report.render(false)
        );
        assert!(
            text.contains("\n    crm:\n") || text.contains("\n  crm:\n"),
            "{text}"
        );
    }

    #[test]
    fn every_finding_at_once_with_a_hint() {
        let text = "\
listen: localhost
ledger: mysql://x
admin_key: hunter2
connections:
  crm: { system: salesforce, secrets: { client_secret: abc } }
syncs:
  - { connection: crn, record: deal, every: soon }
records:
  deel: {}
partners:
  acme:
    secrets: ['whsec_abc']
";
        assert_snapshot!(findings(text), @r"
            error[IC0101]: `localhost` is not an address and a port
             --> interconnect.yaml:1:9
              |
            1 | listen: localhost
              |         ^^^^^^^^^
              |
              = help: write for example 127.0.0.1:8080 or [::]:8080

            error[IC0103]: `admin_key` holds a secret itself, or something that is no reference to one
             --> interconnect.yaml:3:12
              |
            3 | admin_key: *******
              |            ^^^^^^^
              |
              = help: keep the secret elsewhere and refer to it: ${env:NAME} or ${file:/run/secrets/name}

            error[IC0102]: `ledger` starts with none of sqlite:, postgres://, postgresql://
             --> interconnect.yaml:2:9
              |
            2 | ledger: mysql://x
              |         ^^^^^^^^^
              |
              = help: write for example `ledger: sqlite:interconnect.db`

            error[IC0103]: `client_secret` holds a secret itself, or something that is no reference to one
             --> interconnect.yaml:5:56
              |
            5 |   crm: { system: salesforce, secrets: { client_secret: *** } }
              |                                                        ^^^
              |
              = help: keep the secret elsewhere and refer to it: ${env:NAME} or ${file:/run/secrets/name}

            error[IC0110]: there is no connection `crn`
             --> interconnect.yaml:7:19
              |
            7 |   - { connection: crn, record: deal, every: soon }
              |                   ^^^
              |
              = help: did you mean `crm`?

            error[IC0111]: `soon` is not a span of time
             --> interconnect.yaml:7:45
              |
            7 |   - { connection: crn, record: deal, every: soon }
              |                                             ^^^^
              |
              = help: write a number with ms, s, m, h or d behind it: 30s

            error[IC0112]: `deel` is not a kind of record
             --> interconnect.yaml:9:3
              |
            9 |   deel: {}
              |   ^^^^
              |
              = help: did you mean `deal`?

            error[IC0103]: `secrets` holds a secret itself, or something that is no reference to one
              --> interconnect.yaml:12:15
               |
            12 |     secrets: [***********]
               |               ^^^^^^^^^^^
               |
               = help: keep the secret elsewhere and refer to it: ${env:NAME} or ${file:/run/secrets/name}
            ");
    }

    #[test]
    fn what_is_only_pulled_has_nothing_to_fold_whatever_the_order() {
        let text = "\
partners:
  acme:
    endpoints:
      - name: reader
        secret: '${env:READER_SECRET}'
        pull_key: '${env:READER_KEY}'
        share: everything
        events: [{ types: [deal.updated], fold: true }]
";
        assert_snapshot!(findings(text), @r"
        error[IC0155]: `fold` is about sending, and nothing is sent to an endpoint without `url`
         --> interconnect.yaml:8:9
          |
        8 |         events: [{ types: [deal.updated], fold: true }]
          |         ^^^^^^
          |
          = help: add `url`, or take `fold` away: what is pulled is in the order of acceptance
        ");
        let ordered = findings(&format!("{text}        order: record\n"));
        assert_eq!(ordered.matches("error[IC0155]").count(), 2, "{ordered}");
        assert_eq!(ordered.matches("error[").count(), 2, "{ordered}");
    }

    #[test]
    fn the_environment_has_the_last_word() {
        let mut config = Config::read(&Source::new("empty.yaml", ""), &mut Report::new()).unwrap();
        let set = |name: &str| match name {
            "INTERCONNECT_LISTEN" => Some("0.0.0.0:9".to_owned()),
            "INTERCONNECT_QUEUE" => Some("redis://q".to_owned()),
            "INTERCONNECT_ADMIN_KEY" => Some("k".repeat(24)),
            "INTERCONNECT_SEAL_KEY" => Some(format!("{}=", "A".repeat(43))),
            _ => None,
        };
        config.override_from(set).unwrap();
        assert_eq!(
            (config.listen.to_string().as_str(), config.queue.as_str()),
            ("0.0.0.0:9", "redis://q")
        );
        assert_eq!(config.ledger, "sqlite:interconnect.db");
        assert_eq!(
            config.admin_key,
            Some(SecretRef::Env("INTERCONNECT_ADMIN_KEY".into()))
        );
        assert_eq!(config.seal_keys, [SecretRef::Env("INTERCONNECT_SEAL_KEY".into())]);
        let wrong = config.override_from(|_| Some("here".to_owned())).unwrap_err();
        assert!(wrong.contains("INTERCONNECT_LISTEN is `here`"), "{wrong}");
        (config.seal_keys, config.admin_key) = (Vec::new(), None);
        let mut told = |variable: &str| {
            let no_key = |name: &str| (name == variable).then(|| "hunter2".to_owned());
            config.override_from(no_key).unwrap_err()
        };
        assert_snapshot!(told("INTERCONNECT_SEAL_KEY"), @"what INTERCONNECT_SEAL_KEY holds cannot be used: it is not 32 bytes in Base64; make one with: openssl rand -base64 32");
        assert_snapshot!(told("INTERCONNECT_ADMIN_KEY"), @"what INTERCONNECT_ADMIN_KEY holds cannot be used: an API key has at least 24 characters, this one has 7; make one with `openssl rand -hex 24`");
    }

    #[test]
    fn nobody_is_told_what_they_said_themselves() {
        let told = |connections: &str| {
            let text = format!(
                "{connections}partners:\n  acme:\n    endpoints:\n      - {{ name: a, url: 'https://a.example', \
                 secret: '${{env:SIGN}}', share: everything, events: [{{ types: [deal.*], from: [acme] }}] }}\n"
            );
            let mut report = Report::new();
            Config::read(&Source::new("interconnect.yaml", text), &mut report);
            let found = secret::but_missing(&report);
            found.lines().next().unwrap_or_default().to_owned()
        };
        assert_snapshot!(told(""), @"warning[IC0106]: `a` asks for what its own partner says, and nobody is told what they said themselves");
        assert_eq!(told("connections: { acme: { system: hubspot } }\n"), "");
    }

    #[test]
    fn nobody_has_the_name_of_the_hub() {
        let text = "connections: { interconnect: { system: hubspot } }\npartners: { interconnect: {} }\n";
        let found = findings(text);
        let told: Vec<&str> = found.lines().filter(|line| line.contains("[IC0105]")).collect();
        assert_snapshot!(told.join("\n"), @r"
        error[IC0105]: `interconnect` is the name of the hub itself, by which `from` means what it says
        error[IC0105]: `interconnect` is the name of the hub itself, by which `from` means what it says
        ");
    }

    #[test]
    fn spans_are_read_with_their_unit() {
        for (text, ms) in [
            ("500ms", Some(500)),
            ("30s", Some(30_000)),
            ("2h", Some(7_200_000)),
            ("30", None),
            ("s", None),
        ] {
            assert_eq!(span_ms(text), ms, "{text}");
        }
    }
}
