//! A system of nobody's: scaffolded, described in YAML alone, and kept in agreement with HubSpot.
//!
//! [`Gizmo`] is the system, a server with a spelling of its own (`tests/services/gizmo.py`).
//! What an engineer ends with lies in the folder beside this file, and takes the place of what the scaffold wrote.

use std::path::Path;
use std::time::{Duration, Instant};

use ::hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value as Json, json};
use sha2::Sha512;

use crate::harness::{
    Folder, Hub, Running, Sandbox, eventually, exchange, expect, get, json_of, post, said, send, service,
};

/// How often Gizmo is asked by itself: what arrives sooner was announced.
const EVERY: Duration = Duration::from_secs(3_600);
/// How long the account is used up by others.
const CLOSED_S: u64 = 2;
/// Deals that are made at each side while it is.
const DEALS_AT_ONCE: usize = 9;

struct Gizmo {
    url: String,
    said: Json,
    _running: Running,
}

impl Gizmo {
    fn start() -> Gizmo {
        let (running, said) = service("gizmo.py", &[]);
        let url = said["url"].as_str().expect("an address").to_owned();
        Gizmo {
            url,
            said,
            _running: running,
        }
    }

    fn said(&self, name: &str) -> String {
        self.said[name]
            .as_str()
            .unwrap_or_else(|| panic!("no `{name}`"))
            .to_owned()
    }

    /// What a person does at its screen, what it holds, and what the story asks of it; none of it counts as a call.
    fn does(&self, what: &str, with: &Json) -> Json {
        post(&format!("{}/_gizmo/{what}", self.url), with)
    }

    fn rows(&self, kind: &str) -> Vec<Json> {
        let rows = get(&format!("{}/_gizmo/{kind}", self.url));
        rows.as_array().cloned().expect("it lists rows")
    }

    fn row(&self, kind: &str, field: &str, value: &str) -> Result<Json, String> {
        let rows = self.rows(kind);
        let found = rows.iter().find(|row| row[field] == value).cloned();
        found.ok_or_else(|| format!("no {field} `{value}` in {rows:?}"))
    }

    fn calls(&self) -> Vec<Call> {
        let calls = self.rows("calls");
        let call = |call: &Json| Call {
            at_ms: call["at_ms"].as_u64().expect("a moment"),
            read: call["method"] == "GET",
            back_ms: call["back_ms"].as_u64().expect("a time"),
        };
        calls.iter().map(call).collect()
    }
}

/// A call as Gizmo counted it.
struct Call {
    at_ms: u64,
    read: bool,
    /// How long the caller was told to stay away; 0 when it was let in.
    back_ms: u64,
}

/// An account of HubSpot, as a person uses it.
struct Account<'s> {
    sandbox: &'s Sandbox,
    token: String,
}

impl Account<'_> {
    fn make(&self, object: &str, properties: &Json, company: Option<&str>) -> String {
        let url = format!("{}/crm/v3/objects/{object}", self.sandbox.url("hubspot"));
        let primary = json!({"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": 5});
        let companies = company.map(|id| json!({"to": {"id": id}, "types": [primary]}));
        let body = json!({"properties": properties, "associations": Vec::from_iter(companies)});
        let token = format!("Bearer {}", self.token);
        let made = send("POST", &url, Some(&body), &[("authorization", &token)]);
        made["id"].as_str().expect("an id").to_owned()
    }

    fn change(&self, object: &str, id: &str, properties: &Json) {
        let url = format!("{}/crm/v3/objects/{object}/{id}", self.sandbox.url("hubspot"));
        let token = format!("Bearer {}", self.token);
        let body = json!({"properties": properties});
        send("PATCH", &url, Some(&body), &[("authorization", &token)]);
    }

    fn row(&self, object: &str, field: &str, value: &str) -> Result<Json, String> {
        let rows = self.sandbox.rows("hubspot", object);
        let mut properties = rows.iter().map(|row| &row["properties"]);
        let found = properties.find(|row| row[field] == value).cloned();
        found.ok_or_else(|| format!("no {field} `{value}` in {rows:?}"))
    }
}

/// A folder in which the scaffold was written and an engineer has been at work.
fn engineered() -> Folder {
    let folder = Folder::new();
    let scaffold = ["new", "connector", "gizmo", "--like", "webhook"];
    let (code, stdout, stderr) = said(&folder.run(&scaffold, &[]));
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    let ends_with = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/invented");
    for kind in ["connectors", "mappings"] {
        std::fs::remove_dir_all(folder.path(kind)).expect("the scaffold wrote it");
        copy(&ends_with.join(kind), kind, &folder);
    }
    folder
}

fn copy(from: &Path, to: &str, folder: &Folder) {
    for entry in std::fs::read_dir(from).expect("a folder of the checkout") {
        let entry = entry.expect("an entry of the checkout");
        let name = entry.file_name().into_string().expect("a name of text");
        let (path, to) = (entry.path(), format!("{to}/{name}"));
        if path.is_dir() {
            copy(&path, &to, folder);
        } else {
            folder.write(&to, &std::fs::read_to_string(path).expect("a file of text"));
        }
    }
}

/// Adds the two accounts to the configuration that the scaffold wrote.
fn connect(folder: &Folder, gizmo: &Gizmo, sandbox: &Sandbox) -> Vec<(&'static str, String)> {
    let begun = std::fs::read_to_string(folder.path("interconnect.yaml")).expect("the scaffold wrote it");
    let text = format!(
        "{begun}listen: 127.0.0.1:0
outbound: {{ allow: [127.0.0.0/8] }}
connections:
  gadgets:
    system: gizmo
    config: {{ base_url: \"{gizmo}\" }}
    secrets: {{ api_key: \"${{env:GIZMO_KEY}}\", webhook_secret: \"${{env:GIZMO_SECRET}}\" }}
    country: DE
  marketing:
    system: hubspot
    auth: bearer
    config: {{ base_url: \"{hubspot}\" }}
    secrets: {{ access_token: \"${{env:HS_TOKEN}}\" }}
    currency: EUR
    country: DE
    lag: 0ms
limits: {{ sweep_every_ms: 200 }}
syncs:
  - {{ connection: gadgets, record: partner, every: {every}s }}
  - {{ connection: gadgets, record: deal, every: {every}s }}
  - {{ connection: marketing, record: partner, every: 300ms }}
  - {{ connection: marketing, record: deal, every: 300ms }}
",
        gizmo = gizmo.url,
        hubspot = sandbox.url("hubspot"),
        every = EVERY.as_secs(),
    );
    folder.write("interconnect.yaml", &text);
    vec![
        ("GIZMO_KEY", gizmo.said("key")),
        ("GIZMO_SECRET", gizmo.said("secret")),
        (
            "HS_TOKEN",
            sandbox.said["hubspot"]["token"]
                .as_str()
                .expect("a token")
                .to_owned(),
        ),
    ]
}

#[test]
fn an_engineer_ends_with_yaml_that_passes_every_command() {
    let (gizmo, sandbox) = (Gizmo::start(), Sandbox::start(&[]));
    let folder = engineered();
    let secrets = connect(&folder, &gizmo, &sandbox);
    gizmo.does(
        "bargains",
        &json!({"headline": "Rollout", "phase": "haggling", "worth": {"sum": "1250.50", "unit": "EUR"}}),
    );
    let run = |arguments: &[&str]| {
        let (code, stdout, stderr) = said(&folder.run(arguments, &secrets));
        assert_eq!(code, Some(0), "{arguments:?}: {stdout}{stderr}");
        stdout
    };
    run(&["check", "--all", "--strict"]);
    insta::assert_snapshot!(run(&["test", "gizmo"]), @r"
    file                               ran                                outcome
    ./connectors/gizmo/connector.yaml  11 samples                         ok
    ./mappings/gizmo/partner.yaml      1 examples, 500 generated records  ok
    ./mappings/gizmo/deal.yaml         1 examples, 500 generated records  ok
    ");
    insta::assert_snapshot!(run(&["connection", "test", "gadgets"]), @r"
    connection  step          said
    gadgets     sign in   ok  by api_key
    gadgets     identity  ok  account 4711
    gadgets     check     ok  it may read
    ");
    insta::assert_snapshot!(run(&["fields", "gadgets.bargains"]), @r"
    name         label        type               mapped to                 options
    due_ms       due_ms       integer            deal.expected_close_date
    headline     headline     text     required  deal.name
    outfit       outfit       text               deal.partner
    partner_ref  partner_ref  text     unique
    phase        phase        enum     required  deal.stage                sniffing, haggling, signed, dropped
    worth.sum    worth.sum    text               deal.amount
    worth.unit   worth.unit   text               deal.amount
    ");
    insta::assert_snapshot!(run(&["try", "gizmo", "deal", "--connection", "gadgets", "--id", "b-1"]), @r"
    bargains b-1 of gadgets

    object                  holds          record               value                 written as
    headline                Rollout        name                 Rollout               Rollout
    phase                   haggling       stage                technical_validation  haggling
    worth.sum + worth.unit  1250.50 + EUR  amount               1250.50 EUR           1250.50 + EUR
    due_ms                                 expected_close_date
    outfit                                 partner
    ");
}

#[test]
fn two_systems_agree_by_yaml_alone() {
    let (gizmo, sandbox) = (Gizmo::start(), Sandbox::start(&[]));
    let folder = engineered();
    let secrets = connect(&folder, &gizmo, &sandbox);
    let hubspot = Account {
        sandbox: &sandbox,
        token: secrets[2].1.clone(),
    };
    let started = Instant::now();
    // What is there before the hub is: more than a page, found by cursor.
    let northwind = gizmo.does(
        "outfits",
        &json!({"label": "Northwind Traders", "web": {"host": "northwind.example"},
            "place": {"town": "Berlin", "land": "DEU"}, "ring": "+4930901820"}),
    );
    for number in 1..=5 {
        gizmo.does(
            "bargains",
            &json!({"headline": format!("Rollout {number}"), "phase": "haggling", "outfit": northwind["key"],
                "worth": {"sum": "1250.50", "unit": "EUR"}, "due_ms": 1_774_915_200_000_u64}),
        );
    }
    gizmo.does("calls", &json!({}));
    let hub = Hub::start(&folder.path("interconnect.yaml"), &secrets);
    let hook = format!("{}/hooks/connections/gadgets", hub.url);
    gizmo.does("hook", &json!({"url": hook}));
    let company = eventually("the outfit in HubSpot", || {
        hubspot.row("companies", "name", "Northwind Traders")
    });
    assert_eq!(
        (&company["city"], &company["country"]),
        (&json!("Berlin"), &json!("Germany"))
    );
    let deal = eventually("the fifth bargain in HubSpot", || {
        hubspot.row("deals", "dealname", "Rollout 5")
    });
    assert_eq!(
        (&deal["amount"], &deal["dealstage"]),
        (&json!("1250.50"), &json!("presentationscheduled"))
    );

    // The other way round, and a change in each direction: Gizmo is not asked, it tells.
    let fabrikam = json!({"name": "Fabrikam Ltd", "domain": "fabrikam.example", "country": "United Kingdom"});
    let fabrikam = hubspot.make("companies", &fabrikam, None);
    let retrofit = json!({"dealname": "Retrofit", "dealstage": "closedwon", "amount": "99.90",
        "deal_currency_code": "EUR", "closedate": "2026-12-24T00:00:00Z"});
    let retrofit = hubspot.make("deals", &retrofit, Some(&fabrikam));
    let bargain = eventually("the deal in Gizmo", || {
        gizmo.row("bargains", "headline", "Retrofit")
    });
    let outfit = gizmo
        .row("outfits", "label", "Fabrikam Ltd")
        .expect("it came before its deal");
    assert_eq!(outfit["place"], json!({"land": "GBR"}));
    assert_eq!(
        (
            &bargain["phase"],
            &bargain["worth"],
            &bargain["due_ms"],
            &bargain["outfit"]
        ),
        (
            &json!("signed"),
            &json!({"sum": "99.90", "unit": "EUR"}),
            &json!(1_798_070_400_000_u64),
            &outfit["key"]
        )
    );
    let key = bargain["key"].as_str().expect("a key");
    gizmo.does(&format!("bargains/{key}"), &json!({"worth": {"sum": "120.00"}}));
    eventually("the new amount in HubSpot", || {
        let deal = hubspot.row("deals", "dealname", "Retrofit")?;
        expect(deal["amount"] == "120.00", deal)
    });
    hubspot.change("deals", &retrofit, &json!({"dealstage": "closedlost"}));
    eventually("the lost deal in Gizmo", || {
        let bargain = gizmo.row("bargains", "headline", "Retrofit")?;
        expect(bargain["phase"] == "dropped", bargain)
    });
    assert!(started.elapsed() < EVERY / 10, "all of it was announced");

    // Only what Gizmo sealed is taken.
    let body = json!({"about": "bargains", "key": key, "at_ms": 1}).to_string();
    assert_eq!(
        announced(&hook, &body, gizmo.said("secret").as_bytes()),
        (204, String::new())
    );
    assert_eq!(
        announced(&hook, &body, b"another"),
        (401, "signature_wrong".to_owned())
    );

    // The account is used up by others for a while: the hub waits as long as it is told to, and loses nothing.
    gizmo.does("close", &json!({"seconds": CLOSED_S}));
    for number in 1..=DEALS_AT_ONCE {
        let there =
            json!({"headline": format!("There {number}"), "phase": "sniffing", "outfit": northwind["key"]});
        gizmo.does("bargains", &there);
        let here = json!({"dealname": format!("Here {number}"), "dealstage": "appointmentscheduled"});
        hubspot.make("deals", &here, Some(&fabrikam));
    }
    let all = 6 + 2 * DEALS_AT_ONCE;
    eventually("every deal at both", || {
        let (there, here) = (
            gizmo.rows("bargains").len(),
            sandbox.rows("hubspot", "deals").len(),
        );
        expect(
            (there, here) == (all, all),
            format!("{there} and {here} of {all}"),
        )
    });
    let calls = gizmo.calls();
    patient(&calls, gizmo.said["limit"].as_u64().expect("a limit"));

    // A second full sync reads everything and writes nothing.
    assert_eq!(hub.running.stop(), Some(0));
    let settled = json_of(&folder.run(&["sync", "run", "--json"], &secrets));
    gizmo.does("calls", &json!({}));
    sandbox.reset_calls("hubspot");
    let again = json_of(&folder.run(&["sync", "run", "--full", "--json"], &secrets));
    let total = &again["total"];
    assert!(total["read"].as_u64() >= Some(2 * (all as u64 + 2)), "{again}");
    for changed in ["created", "updated", "met", "written", "parked", "gone"] {
        assert_eq!(total.get(changed), None, "{settled}{again}");
    }
    let calls = gizmo.calls();
    assert!(
        calls.len() > all / 4 && calls.iter().all(|call| call.read),
        "{again}"
    );
    assert_eq!(sandbox.calls("hubspot").1, 0);
}

/// Announces a change under a seal, and gives the status and, of a refusal, its code.
fn announced(hook: &str, body: &str, secret: &[u8]) -> (u16, String) {
    let stamp = jiff::Timestamp::now().as_millisecond().to_string();
    let mut mac = Hmac::<Sha512>::new_from_slice(secret).expect("any key will do");
    mac.update(format!("{stamp}|{body}").as_bytes());
    let hex: String = mac
        .finalize()
        .into_bytes()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let seal = format!("seal={hex}");
    let headers = [("x-gizmo-stamp", stamp.as_str()), ("x-gizmo-seal", seal.as_str())];
    let (status, body) = exchange("POST", hook, Some(body), &headers);
    let problem: Json = serde_json::from_str(&body).unwrap_or_default();
    (status, problem["code"].as_str().map_or(body, str::to_owned))
}

/// Fails where a second has more calls than the limit, or where the hub came back before it was told to.
fn patient(calls: &[Call], limit: u64) {
    let most = calls.iter().map(|from| {
        let second = from.at_ms..from.at_ms + 1_000;
        calls.iter().filter(|call| second.contains(&call.at_ms)).count() as u64
    });
    assert!(most.max() <= Some(limit), "above {limit} calls a second");
    let refused: Vec<&Call> = calls.iter().filter(|call| call.back_ms > 0).collect();
    assert_eq!(refused.len(), 1, "told once, the hub waits");
    let (told, back) = (refused[0].at_ms, refused[0].at_ms + refused[0].back_ms);
    let early = calls
        .iter()
        .filter(|call| (told + 1..back).contains(&call.at_ms))
        .count();
    assert_eq!(early, 0, "calls before the hub was to come back");
}
