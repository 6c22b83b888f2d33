//! What partners may be told: `sharing`, policies by name, and `share` of a partner and of an endpoint.

use std::collections::BTreeMap;

use diagnostic::{Fields, Node, Place, Report, Source, Value};
use jiff::Timestamp;
use model::{FieldType, Kind};
use policy::{Acceptance, Allow, BOUNDS_MAX, Bucket, Consent, PathPattern, Preset, Purpose, SharingPolicy};
use sync::World;

use super::partners::is_name;
use super::subscriptions::{self, program};
use crate::world::RealWorld;

/// The word for people who have agreed elsewhere.
const GIVEN: &str = "given";

/// The policies that a configuration names; the presets are there without being named.
#[derive(Debug, Default)]
pub(super) struct Policies(BTreeMap<String, SharingPolicy>);

impl Policies {
    fn named(&self, name: &str) -> Option<SharingPolicy> {
        let preset = || Preset::parse(name).map(SharingPolicy::from);
        self.0.get(name).cloned().or_else(preset)
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        let own = self.0.keys().map(String::as_str);
        own.chain(Preset::ALL.iter().map(|preset| preset.word()))
    }
}

/// Reads `sharing`.
pub(super) fn policies(fields: &mut Fields<'_>, report: &mut Report) -> Policies {
    let source = fields.source();
    let mut policies = BTreeMap::new();
    for (name, place, node) in fields.map("sharing", report) {
        if !is_name(name) || Preset::parse(name).is_some() {
            report.error(
                "IC0139",
                source,
                *place,
                format!("`{name}` is not a name for a sharing policy, or a preset has it"),
                "use lower-case letters, digits, hyphens and underscores, 64 characters at most",
            );
        }
        policies.insert(
            name.clone(),
            policy(name, node, source, report).unwrap_or_default(),
        );
    }
    Policies(policies)
}

/// Reads `share`: the name of a policy, or a policy. Nothing when nothing is said.
pub(super) fn share(
    fields: &mut Fields<'_>,
    name: &str,
    policies: &Policies,
    report: &mut Report,
) -> Option<SharingPolicy> {
    let source = fields.source();
    let node = fields.optional("share")?;
    if matches!(node.value, Value::Map(_)) {
        return Some(policy(name, node, source, report).unwrap_or_default());
    }
    let named = node.text().and_then(|name| policies.named(name));
    if named.is_none() {
        report.error(
            "IC0139",
            source,
            node.place,
            format!(
                "`share` is {}, which is neither a policy of `sharing` nor a preset",
                node.text()
                    .map_or(node.kind().to_owned(), |text| format!("`{text}`"))
            ),
            diagnostic::suggestion(node.text().unwrap_or_default(), policies.names()),
        );
    }
    Some(named.unwrap_or_default())
}

/// Notes an endpoint of which nobody says what it may be told: who is told something is told it on purpose.
pub(super) fn unsaid(source: &Source, place: Place, report: &mut Report) {
    report.error(
        "IC0136",
        source,
        place,
        "the endpoint does not say what may be shared with it",
        "add the fields that it may know, `share: { allow: [id, deal.name, deal.stage] }`, or a policy by name, or \
         `share: everything`",
    );
}

fn policy(name: &str, node: &Node, source: &Source, report: &mut Report) -> Option<SharingPolicy> {
    let mut fields = Fields::open(node, "a sharing policy", source, report)?;
    let mut rules = preset(&mut fields, "preset", report)
        .map(Preset::rules)
        .unwrap_or_default();
    let consent = consent(&mut fields, report);
    let allow = paths(&mut fields, "allow", report);
    if matches!(consent, Consent::Unsaid) {
        without_consent(&mut fields, &allow, report);
    }
    if let Allow::Only(allowed) = &mut rules.allow {
        allowed.extend(allow);
    }
    rules.omit = paths(&mut fields, "omit", report);
    rules.mask = paths(&mut fields, "mask", report);
    let mut bucket = buckets(&mut fields, report);
    // What is said here comes before what a preset says of the same place.
    bucket.append(&mut rules.bucket);
    rules.bucket = bucket;
    let purpose = fields.optional_choice("purpose", &Purpose::WORDS, report);
    let agreement = fields.optional_text("agreement", report).map(str::to_owned);
    let until = until(&mut fields, report);
    let when = jq(&mut fields, "when", report);
    let acceptance = acceptance(&mut fields, report);
    fields.finish(report);
    Some(SharingPolicy {
        purpose,
        agreement,
        until,
        when,
        consent,
        acceptance,
        ..SharingPolicy::of(name, rules)
    })
}

fn preset(fields: &mut Fields<'_>, key: &'static str, report: &mut Report) -> Option<Preset> {
    fields.optional_choice(key, &Preset::ALL.map(|preset| (preset.word(), preset)), report)
}

fn jq(
    fields: &mut Fields<'_>,
    key: &'static str,
    report: &mut Report,
) -> Option<std::sync::Arc<program::Program>> {
    let _text = fields.optional_text(key, report);
    let node = fields.optional(key)?;
    let source = fields.source();
    let made = program(node, &[], source, report)?;
    subscriptions::looks_at_what_is_there((key, &made), true, node.place, source, report);
    Some(made)
}

fn consent(fields: &mut Fields<'_>, report: &mut Report) -> Consent {
    let source = fields.source();
    match fields.optional_text("consent", report) {
        Some(GIVEN) => return Consent::Given,
        Some(text) if text.trim().eq_ignore_ascii_case(GIVEN) => {
            let place = fields
                .optional("consent")
                .map_or(fields.place(), |node| node.place);
            let what = format!("`{text}` is neither `{GIVEN}` nor the field of an event that tells");
            report.error("IC0133", source, place, what, format!("did you mean `{GIVEN}`?"));
            return Consent::Unsaid;
        }
        _ => {}
    }
    jq(fields, "consent", report).map_or(Consent::Unsaid, Consent::ToldBy)
}

fn acceptance(fields: &mut Fields<'_>, report: &mut Report) -> Option<Acceptance> {
    let node = fields.optional("acceptance")?;
    let mut inner = Fields::open(node, "`acceptance` of a sharing policy", fields.source(), report)?;
    inner.required("when", report);
    let when = jq(&mut inner, "when", report);
    let before = preset(&mut inner, "before", report).unwrap_or(Preset::Teaser);
    inner.finish(report);
    Some(Acceptance {
        when: when?,
        before: before.rules(),
    })
}

fn until(fields: &mut Fields<'_>, report: &mut Report) -> Option<Timestamp> {
    let source = fields.source();
    let text = fields.optional_text("until", report)?;
    let place = fields.optional("until").map_or(fields.place(), |node| node.place);
    match text.parse::<Timestamp>() {
        Ok(at) if at <= RealWorld.now() => {
            report.warning(
                "IC0141",
                source,
                place,
                format!("the sharing policy ended at {at}, and nothing is shared by it any more"),
                "set a later moment when the agreement was prolonged",
            );
            Some(at)
        }
        Ok(at) => Some(at),
        Err(error) => {
            report.error(
                "IC0140",
                source,
                place,
                format!("`until` is no moment with an offset: {error}"),
                "write for example 2027-12-31T00:00:00Z",
            );
            None
        }
    }
}

/// Reads a list of places in an event's `data`.
fn paths(fields: &mut Fields<'_>, key: &'static str, report: &mut Report) -> Vec<PathPattern> {
    let source = fields.source();
    fields.texts(key, report);
    let texts = items(fields, key).filter_map(|item| Some((item.text()?, item.place)));
    texts
        .filter_map(|(text, place)| path(text, source, place, report))
        .collect()
}

fn items<'a>(fields: &mut Fields<'a>, key: &'static str) -> impl Iterator<Item = &'a Node> + use<'a> {
    let items = match fields.optional(key) {
        Some(Node {
            value: Value::List(items),
            ..
        }) => items.as_slice(),
        node => node.map(std::slice::from_ref).unwrap_or_default(),
    };
    items.iter()
}

fn path(text: &str, source: &Source, place: Place, report: &mut Report) -> Option<PathPattern> {
    match text.parse::<PathPattern>() {
        Ok(pattern) => {
            leads_somewhere(&pattern, text, source, place, report);
            Some(pattern)
        }
        Err(bad) => {
            let hint = "keys from `data` down with dots between: deal.amount, contacts.*.email";
            report.error("IC0137", source, place, bad.to_string(), hint);
            None
        }
    }
}

/// Notes a path into a record that leads to none of its fields: what was to be left out there would be shared.
fn leads_somewhere(pattern: &PathPattern, text: &str, source: &Source, place: Place, report: &mut Report) {
    let (first, rest) = text.split_once('.').unwrap_or((text, ""));
    if first == "changed" {
        report.error(
            "IC0138",
            source,
            place,
            format!("`{text}` names a change; changes are shared as the fields are that changed"),
            "name the field: `deal.amount` is what it is now and what it was",
        );
    }
    match Kind::parse(first) {
        Some(kind) if !rest.is_empty() => {
            if let Err(hint) = leads_to(kind, pattern) {
                let what = format!("a {kind} has no field at `{text}`");
                report.warning("IC0138", source, place, what, hint);
            }
        }
        None if first == "data" => {
            let what = format!(
                "`{text}` is looked for below `data`, where all paths begin, so that it leads nowhere"
            );
            let hint = match rest {
                "" => "name what is in `data`: deal, or deal.amount".to_owned(),
                _ => format!("leave `data` out: {rest}"),
            };
            report.error("IC0138", source, place, what, hint);
        }
        None if !is_at_the_top(first) => {
            let what = format!(
                "no event of the hub's own has `{first}` in its `data`, so that `{text}` leads nowhere there"
            );
            report.warning("IC0138", source, place, what, hint_of_record(text));
        }
        _ => {}
    }
}

/// Whether a key is in the `data` of events of the hub's own.
fn is_at_the_top(key: &str) -> bool {
    let own = event::Catalogue::own();
    let versions = own.types().flat_map(|known| &known.versions);
    let mut keys = versions
        .filter_map(|version| version.sample.as_object())
        .flat_map(|data| data.keys());
    key == "*"
        || Kind::parse(key).is_some()
        || ["id", "version", "changed"].contains(&key)
        || keys.any(|known| known == key)
}

/// What may have been meant by a path that does not begin with a record's kind.
fn hint_of_record(text: &str) -> String {
    let (first, rest) = text.split_once('.').unwrap_or((text, ""));
    let below = |kind: &Kind| {
        format!("{kind}.{text}")
            .parse()
            .is_ok_and(|path| leads_to(*kind, &path).is_ok())
    };
    let of: Vec<String> = Kind::ALL
        .iter()
        .filter(|kind| below(kind))
        .map(|kind| format!("{kind}.{text}"))
        .collect();
    if !of.is_empty() {
        return format!("begin with the record: {}", of.join(" or "));
    }
    let like = |kind: &&Kind| first.to_lowercase().trim_end_matches('s') == kind.name();
    match Kind::ALL.iter().find(like) {
        Some(kind) if rest.is_empty() => format!("did you mean `{kind}`?"),
        Some(kind) => format!("did you mean `{kind}.{rest}`?"),
        None => "begin with the record: partner, lead or deal; or leave it, if an event of your own has it"
            .to_owned(),
    }
}

/// Whether a path, such as `deal.amount.currency`, leads to a field of a record, or to what is in one or above it. If not,
/// what may have been meant.
pub(super) fn leads_to(kind: Kind, path: &PathPattern) -> Result<(), String> {
    let fields: Vec<String> = kind
        .fields()
        .map(|field| format!("{kind}.{}", field.path))
        .collect();
    match fields.iter().any(|field| path.touches(field)) {
        true => Ok(()),
        false => Err(diagnostic::suggestion(
            &path.to_string(),
            fields.iter().map(String::as_str),
        )),
    }
}

/// Notes what is people's among what is allowed, where nothing is said of their consent.
fn without_consent(fields: &mut Fields<'_>, allow: &[PathPattern], report: &mut Report) {
    let source = fields.source();
    let items: Vec<&Node> = items(fields, "allow").collect();
    for pattern in allow {
        let text = pattern.to_string();
        let of_people = text.split('.').any(|key| policy::PEOPLE.contains(&key));
        if of_people && !text.ends_with(".job_title") {
            let node = items.iter().find(|item| item.text() == Some(text.as_str()));
            report.warning(
                "IC0143",
                source,
                node.map_or(fields.place(), |node| node.place),
                format!(
                    "`{text}` tells of people, who are left out because nothing is said of their consent"
                ),
                "add `consent: given` when they agreed, or the field of the event that tells: \
                 `consent: .data.deal.contact.consent`",
            );
        }
    }
}

fn buckets(fields: &mut Fields<'_>, report: &mut Report) -> Vec<(PathPattern, Bucket)> {
    let source = fields.source();
    let entries = fields.map("bucket", report);
    let read = entries.iter().filter_map(|(text, place, node)| {
        let pattern = path(text, source, *place, report);
        let bucket = bucket(node);
        let field_type = field_type(text);
        let fits = match (&bucket, field_type) {
            (None, _) => false,
            (Some(_), None) => true,
            (Some(Bucket::Bands(_)), Some(of)) => {
                matches!(of, FieldType::Money | FieldType::Decimal | FieldType::Integer)
            }
            (Some(Bucket::Outcome), Some(_)) => text == "deal.stage",
            (Some(_), Some(of)) => matches!(of, FieldType::Date | FieldType::Instant),
        };
        if !fits {
            report.error(
                "IC0142",
                source,
                node.place,
                format!("`{text}` cannot be told in this way"),
                format!(
                    "numbers and amounts by up to {BOUNDS_MAX} ascending bounds, [10000, 50000]; days and moments by \
                     `quarter`, `month` or `year`; deal.stage by `outcome`"
                ),
            );
            return None;
        }
        // The currency of an amount has no range.
        let pattern = match field_type {
            Some(FieldType::Money) => format!("{text}.amount").parse().ok(),
            _ => pattern,
        };
        Some((pattern?, bucket?))
    });
    read.collect()
}

fn bucket(node: &Node) -> Option<Bucket> {
    match &node.value {
        Value::List(bounds) => {
            let bound = |node: &Node| match node.value {
                Value::Integer(bound) => Some(bound),
                _ => None,
            };
            Bucket::bands(bounds.iter().map(bound).collect::<Option<_>>()?)
        }
        _ => {
            let word = node.text()?;
            let mut words = Bucket::WORDS.into_iter();
            words.find(|(known, _)| *known == word).map(|(_, bucket)| bucket)
        }
    }
}

/// What stands at a path, when it is a field of a record.
fn field_type(path: &str) -> Option<FieldType> {
    let (kind, field) = path.split_once('.')?;
    Some(Kind::parse(kind)?.field(field)?.field_type)
}

#[cfg(test)]
mod tests {
    use model::EventType;
    use serde_json::json;

    use crate::config::{Config, secret};
    use diagnostic::{Report, Source};

    /// What each endpoint of a configuration is told of one event, and what is found in the configuration.
    fn told(sharing: &str) -> (Vec<String>, String) {
        let source = Source::new("interconnect.yaml", sharing);
        let mut report = Report::new();
        let config = Config::read(&source, &mut report).unwrap();
        let event = json!({"data": {"id": "D-1", "margin": 9, "deal": {
            "name": "Solar park", "amount": {"amount": "12000", "currency": "EUR"}, "expected_close_date": "2026-11-30",
            "description": "cheaper than theirs", "contact": {"email": "ann@acme.example"}}}});
        let now = "2026-11-26T12:00:00Z".parse().unwrap();
        let endpoints = config.partners.values().flat_map(|partner| &partner.endpoints);
        let told = endpoints.map(|endpoint| {
            match policy::project(&endpoint.share, &EventType::DEAL_WON, &event, now) {
                Ok(told) => format!("{}: {}", endpoint.name, told["data"]),
                Err(withheld) => format!("{}: {withheld}", endpoint.name),
            }
        });
        (told.collect(), secret::but_missing(&report))
    }

    #[test]
    fn an_endpoint_is_told_what_its_policy_or_its_partners_says() {
        let (told, findings) = told(
            r#"
sharing:
  deals:
    preset: visibility_only
    allow: [deal.amount, deal.contact]
    omit: [deal.name]
    bucket: { deal.amount: [10000, 50000], deal.expected_close_date: year }
    consent: given
partners:
  acme:
    share: teaser
    endpoints:
      - { name: by-its-partner, url: "https://x.example", secret: "${env:SIGN}", events: [deal.*] }
      - { name: by-name, url: "https://x.example", secret: "${env:SIGN}", events: [deal.*], share: deals }
      - { name: own, url: "https://x.example", secret: "${env:SIGN}", events: [deal.*], share: { allow: [deal], mask: [deal.description] } }
      - { name: ended, url: "https://x.example", secret: "${env:SIGN}", events: [deal.*], share: { preset: everything, until: 2026-11-26T12:00:00Z } }
"#,
        );
        insta::assert_snapshot!(told.join("\n"), @r#"
        by-its-partner: {"id":"D-1"}
        by-name: {"deal":{"amount":{"amount":"10000..50000","currency":"EUR"},"contact":{"email":"ann@acme.example"},"expected_close_date":"2026"},"id":"D-1"}
        own: {"deal":{"amount":{"amount":"12000","currency":"EUR"},"description":"***","expected_close_date":"2026-11-30","name":"Solar park"}}
        ended: the sharing policy `ended` ended at 2026-11-26T12:00:00Z, and nothing is shared by it any more
        "#);
        assert!(findings.contains("IC0141"), "{findings}");
    }

    #[test]
    fn what_cannot_be_a_policy_is_told_all_at_once() {
        let (told, findings) = told(
            r#"
sharing:
  teaser: {}
  deals: { allow: [deal.amont, changed.name, a..b], bucket: { deal.name: [1, 2], deal.amount: [2, 1] }, until: soon, purpose: fun }
partners:
  acme:
    endpoints:
      - { name: unsaid, url: "https://x.example", secret: "${env:SIGN}", events: [deal.*] }
      - { name: unknown, url: "https://x.example", secret: "${env:SIGN}", events: [deal.*], share: deal }
      - { name: number, url: "https://x.example", secret: "${env:SIGN}", events: [deal.*], share: 5 }
"#,
        );
        insta::assert_snapshot!(findings, @r#"
        error[IC0139]: `teaser` is not a name for a sharing policy, or a preset has it
         --> interconnect.yaml:3:3
          |
        3 |   teaser: {}
          |   ^^^^^^
          |
          = help: use lower-case letters, digits, hyphens and underscores, 64 characters at most

        warning[IC0138]: a deal has no field at `deal.amont`
         --> interconnect.yaml:4:20
          |
        4 |   deals: { allow: [deal.amont, changed.name, a..b], bucket: { deal.name: [1, 2], deal.amount: [2, 1] }, until: soon, purpose: fun }
          |                    ^^^^^^^^^^
          |
          = help: did you mean `deal.amount`?

        error[IC0138]: `changed.name` names a change; changes are shared as the fields are that changed
         --> interconnect.yaml:4:32
          |
        4 |   deals: { allow: [deal.amont, changed.name, a..b], bucket: { deal.name: [1, 2], deal.amount: [2, 1] }, until: soon, purpose: fun }
          |                                ^^^^^^^^^^^^
          |
          = help: name the field: `deal.amount` is what it is now and what it was

        error[IC0137]: `a..b` has an empty segment; write a path such as `amount` or `contacts.*.email`
         --> interconnect.yaml:4:46
          |
        4 |   deals: { allow: [deal.amont, changed.name, a..b], bucket: { deal.name: [1, 2], deal.amount: [2, 1] }, until: soon, purpose: fun }
          |                                              ^^^^
          |
          = help: keys from `data` down with dots between: deal.amount, contacts.*.email

        error[IC0142]: `deal.name` cannot be told in this way
         --> interconnect.yaml:4:74
          |
        4 |   deals: { allow: [deal.amont, changed.name, a..b], bucket: { deal.name: [1, 2], deal.amount: [2, 1] }, until: soon, purpose: fun }
          |                                                                          ^
          |
          = help: numbers and amounts by up to 20 ascending bounds, [10000, 50000]; days and moments by `quarter`, `month` or `year`; deal.stage by `outcome`

        error[IC0142]: `deal.amount` cannot be told in this way
         --> interconnect.yaml:4:95
          |
        4 |   deals: { allow: [deal.amont, changed.name, a..b], bucket: { deal.name: [1, 2], deal.amount: [2, 1] }, until: soon, purpose: fun }
          |                                                                                               ^
          |
          = help: numbers and amounts by up to 20 ascending bounds, [10000, 50000]; days and moments by `quarter`, `month` or `year`; deal.stage by `outcome`

        error[IC0004]: `fun` is not a known value of `purpose`
         --> interconnect.yaml:4:127
          |
        4 |   deals: { allow: [deal.amont, changed.name, a..b], bucket: { deal.name: [1, 2], deal.amount: [2, 1] }, until: soon, purpose: fun }
          |                                                                                                                               ^^^
          |
          = help: known are: co_sell, referral, fulfilment, account_mapping, marketing, support, reporting

        error[IC0140]: `until` is no moment with an offset: failed to parse four digit integer as year: invalid digit, expected 0-9 but got s
         --> interconnect.yaml:4:112
          |
        4 |   deals: { allow: [deal.amont, changed.name, a..b], bucket: { deal.name: [1, 2], deal.amount: [2, 1] }, until: soon, purpose: fun }
          |                                                                                                                ^^^^
          |
          = help: write for example 2027-12-31T00:00:00Z

        error[IC0136]: the endpoint does not say what may be shared with it
         --> interconnect.yaml:8:9
          |
        8 |       - { name: unsaid, url: "https://x.example", secret: "${env:SIGN}", events: [deal.*] }
          |         ^^
          |
          = help: add the fields that it may know, `share: { allow: [id, deal.name, deal.stage] }`, or a policy by name, or `share: everything`

        error[IC0139]: `share` is `deal`, which is neither a policy of `sharing` nor a preset
         --> interconnect.yaml:9:100
          |
        9 |       - { name: unknown, url: "https://x.example", secret: "${env:SIGN}", events: [deal.*], share: deal }
          |                                                                                                    ^^^^
          |
          = help: did you mean `deals`?

        error[IC0139]: `share` is a number, which is neither a policy of `sharing` nor a preset
          --> interconnect.yaml:10:99
           |
        10 |       - { name: number, url: "https://x.example", secret: "${env:SIGN}", events: [deal.*], share: 5 }
           |                                                                                                   ^
           |
           = help: known are: deals, teaser, teaser, influence_min, visibility_only, co_sell, fulfilment, everything
        "#);
        for line in told {
            assert!(
                line.ends_with(": {}"),
                "what cannot be read shares nothing: {line}"
            );
        }
    }

    /// A path that leads nowhere lets through what it was to hide, and so does a condition that looks there.
    #[test]
    fn what_would_hide_nothing_is_told() {
        let (_, findings) = told(
            r#"
partners:
  acme:
    endpoints:
      - name: a
        url: https://a.example
        secret: "${env:SIGN}"
        events: [deal.*]
        share:
          preset: everything
          omit: [data.deal.contact, contact.email, Deals.name, lead, "*", endpoint, nothing, deal.name]
          when: '.data.deal.staeg != "lost"'
          consent: .deal.contact
"#,
        );
        insta::assert_snapshot!(crate::config::secret::headlines(&findings), @r"
        warning[IC0163]: `consent` looks at `.deal.contact`, and what an event tells of is under `data`
           = help: did you mean `.data.deal.contact`?
        error[IC0138]: `data.deal.contact` is looked for below `data`, where all paths begin, so that it leads nowhere
           = help: leave `data` out: deal.contact
        warning[IC0138]: no event of the hub's own has `contact` in its `data`, so that `contact.email` leads nowhere there
           = help: begin with the record: partner.contact.email or lead.contact.email or deal.contact.email
        warning[IC0138]: no event of the hub's own has `Deals` in its `data`, so that `Deals.name` leads nowhere there
           = help: did you mean `deal.name`?
        warning[IC0138]: no event of the hub's own has `nothing` in its `data`, so that `nothing` leads nowhere there
           = help: begin with the record: partner, lead or deal; or leave it, if an event of your own has it
        warning[IC0163]: `when` looks at `.data.deal.staeg`, and a deal has no such field
           = help: did you mean `deal.stage`?
        ");
    }
}
