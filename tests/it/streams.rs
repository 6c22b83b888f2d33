//! Salesforce tells its changes over a stream: they arrive within seconds though nobody asks for them but once an hour.

use std::path::PathBuf;

use serde_json::{Value as Json, json};

use crate::harness::{
    Folder, Hub, Redis, Sandbox, database, eventually, expect, get, interconnect, json_of, post, send,
};

const TOPIC: &str = "/data/OpportunityChangeEvent";

/// Salesforce and HubSpot, and how a hub is told of them.
struct Stage {
    _folder: Folder,
    sandbox: Sandbox,
    config: PathBuf,
    env: Vec<(&'static str, String)>,
}

impl Stage {
    /// `lag` is how far behind the present changes of Salesforce are asked for.
    fn new(lag: &str) -> Stage {
        let folder = Folder::new();
        let ledger = format!("ledger: sqlite:{}", folder.path("hub.db").display());
        Stage::on(folder, &ledger, lag)
    }

    /// The same on these stores.
    fn on(folder: Folder, stores: &str, lag: &str) -> Stage {
        let sandbox = Sandbox::start(&[]);
        let text = format!(
            "listen: 127.0.0.1:0
{stores}
outbound: {{ allow: [127.0.0.0/8] }}
connections:
  crm:
    system: salesforce
    auth: oauth2_client_credentials
    config: {{ login_url: \"{salesforce}\", stream_url: \"{stream}\" }}
    secrets: {{ client_id: \"${{env:SF_ID}}\", client_secret: \"${{env:SF_SECRET}}\" }}
    currency: USD
    country: US
    lag: {lag}
  marketing:
    system: hubspot
    auth: bearer
    config: {{ base_url: \"{hubspot}\" }}
    secrets: {{ access_token: \"${{env:HS_TOKEN}}\" }}
    currency: USD
    country: US
    lag: 0ms
syncs:
  - {{ connection: crm, record: deal, every: 1h }}
  - {{ connection: crm, record: lead, every: 1h }}
  - {{ connection: marketing, record: deal, every: 1h }}
",
            salesforce = sandbox.url("salesforce"),
            stream = sandbox.said["salesforce"]["stream_url"]
                .as_str()
                .expect("an address"),
            hubspot = sandbox.url("hubspot"),
        );
        let config = folder.write("interconnect.yaml", &text);
        let said = |pointer: &str| {
            let found = sandbox.said.pointer(pointer).and_then(Json::as_str);
            found.expect("a credential").to_owned()
        };
        let env = vec![
            ("SF_ID", said("/salesforce/client_id")),
            ("SF_SECRET", said("/salesforce/client_secret")),
            ("HS_TOKEN", said("/hubspot/token")),
        ];
        let stage = Stage {
            _folder: folder,
            sandbox,
            config,
            env,
        };
        // An idle stream tells where it stands, so that there is a place to go on from.
        send(
            "PUT",
            &stage.control("stream"),
            Some(&json!({"keep_alive_ms": 100})),
            &[],
        );
        stage
    }

    fn control(&self, what: &str) -> String {
        format!("{}/_sandbox/{what}", self.sandbox.url("salesforce"))
    }

    fn hub(&self) -> Hub {
        Hub::start(&self.config, &self.env)
    }

    /// Waits until deals are listened to, and until where that stands is stored.
    fn listening(&self) {
        eventually("a stream", || {
            let shown = get(&self.control("stream"));
            let mut streams = shown["subscriptions"].as_array().expect("a list").iter();
            let open = streams.any(|stream| stream["topic"] == TOPIC && stream["open"] == true);
            let stands = self.stream("Opportunity");
            expect(open && stands.is_some(), format!("{shown} {stands:?}"))
        });
    }

    /// How many streams of deals are open.
    fn open(&self) -> usize {
        let shown = get(&self.control("stream"));
        let streams = shown["subscriptions"].as_array().expect("a list").iter();
        streams
            .filter(|stream| stream["topic"] == TOPIC && stream["open"] == true)
            .count()
    }

    /// How the last stream of deals began: `latest` or `custom`.
    fn began(&self) -> String {
        let shown = get(&self.control("stream"));
        let mut streams = shown["subscriptions"].as_array().expect("a list").iter();
        let last = streams.rfind(|stream| stream["topic"] == TOPIC);
        last.expect("a stream")["from"]
            .as_str()
            .expect("a word")
            .to_owned()
    }

    fn status(&self) -> Json {
        let config = self.config.display().to_string();
        json_of(&interconnect(
            &["--config", &config, "--json", "status"],
            &self.env,
        ))
    }

    /// What the last reading of deals at Salesforce counted.
    fn last_pull(&self) -> Json {
        let said = self.status();
        let mut runs = said["runs"].as_array().expect("a list").iter();
        // Started, way, connection, object, outcome; the newest first.
        let pull = runs.find(|run| run[1] == "pull" && run[2] == "crm" && run[3] == "Opportunity");
        let outcome = pull.and_then(|run| run[4].as_str()).unwrap_or_default();
        serde_json::from_str(outcome).unwrap_or_default()
    }

    /// What `status` says of the stream of an object.
    fn stream(&self, object: &str) -> Option<Json> {
        let said = self.status();
        let streams = said["streams"].as_array().cloned().expect("a list");
        streams.into_iter().find(|stream| stream["object"] == object)
    }

    /// Makes a deal as a person at the screen does.
    fn deal(&self, name: &str) -> String {
        let deal = json!({"Name": name, "StageName": "Prospecting", "CloseDate": "2027-01-31", "Amount": 1});
        let made = post(&self.control("rows/Opportunity"), &deal);
        made["ids"][0].as_str().expect("an id").to_owned()
    }

    fn change(&self, id: &str, change: &Json) {
        send(
            "PATCH",
            &self.control(&format!("rows/Opportunity/{id}")),
            Some(change),
            &[],
        );
    }

    /// Waits until HubSpot has a deal with this amount.
    fn arrives(&self, name: &str, amount: u32) {
        eventually(&format!("{name} of {amount} at HubSpot"), || {
            let rows = self.sandbox.rows("hubspot", "deals");
            let here = rows.iter().any(|row| {
                let row = &row["properties"];
                row["dealname"] == name && row["amount"] == format!("{amount}.00")
            });
            expect(here, json!(rows))
        });
    }

    /// Changes a deal's amount and waits until it has arrived.
    fn follows(&self, name: &str, id: &str, amount: u32) {
        self.change(id, &json!({"Amount": amount}));
        self.arrives(name, amount);
    }
}

#[test]
fn what_is_told_is_read_by_its_id_at_once_and_after_a_crash_from_where_the_stream_stood() {
    // Nothing that happens in this story is old enough to be found by asking what changed.
    let stage = Stage::new("2h");
    let hub = stage.hub();
    stage.listening();
    assert_eq!(stage.began(), "latest");
    let (robots, pumps) = (stage.deal("Robots"), stage.deal("Pumps"));
    stage.arrives("Robots", 1);
    stage.arrives("Pumps", 1);
    stage.follows("Robots", &robots, 2);

    // A change of a field that is not mapped costs no call: what is read is the other deal, alone.
    let mut amount = 10;
    eventually("one call for one deal", || {
        amount += 1;
        stage.sandbox.reset_calls("salesforce");
        stage.change(&pumps, &json!({"LeadSource": format!("Source {amount}")}));
        stage.follows("Robots", &robots, amount);
        let (calls, counts) = (stage.sandbox.calls("salesforce").0, stage.last_pull());
        expect(
            calls == 1 && counts["read"] == 1,
            format!("{calls} calls, at last {counts}"),
        )
    });

    hub.running.kill();
    stage.change(&robots, &json!({"Amount": 500}));
    let hub = stage.hub();
    stage.arrives("Robots", 500);
    assert_eq!(stage.began(), "custom");
    assert_eq!(
        hub.running.stop(),
        Some(0),
        "a hub that listens stops when it is told to"
    );
}

#[test]
fn what_is_not_told_is_found_by_reading_what_changed() {
    let stage = Stage::new("0ms");
    let fault = |fault: &Json| stage.sandbox.fault("salesforce", fault);
    fault(&json!({"kind": "no_topic", "object": "Lead"}));
    let _hub = stage.hub();
    stage.listening();
    let id = stage.deal("Robots");
    stage.arrives("Robots", 1);

    fault(&json!({"kind": "gap", "object": "Opportunity", "times": 1}));
    stage.follows("Robots", &id, 2);
    fault(&json!({"kind": "overflow", "object": "Opportunity", "times": 1}));
    stage.follows("Robots", &id, 3);

    // The stream breaks, and what happens meanwhile is behind a place that nobody knows any more.
    fault(&json!({"kind": "replay_expired"}));
    send("DELETE", &stage.control("stream"), None, &[]);
    stage.follows("Robots", &id, 4);
    assert_eq!(stage.began(), "latest");
    send("DELETE", &stage.control("faults"), None, &[]);
    stage.follows("Robots", &id, 5);

    let lead = stage.stream("Lead").expect("it was tried");
    let refused = lead["refused"].as_str().expect("a text");
    assert!(refused.contains("topic.not.found"), "{refused}");
    let deal = stage.stream("Opportunity").expect("it stands somewhere");
    assert_eq!(deal["refused"], "");
}

#[test]
fn one_node_listens_and_another_goes_on_when_it_is_gone() {
    let folder = Folder::new();
    let redis = Redis::start(&folder);
    let stores = format!("ledger: {}\nqueue: {}", database("streams"), redis.url);
    let stage = Stage::on(folder, &stores, "0ms");
    let first = stage.hub();
    stage.listening();
    let _second = stage.hub();
    let id = stage.deal("Robots");
    stage.arrives("Robots", 1);
    assert_eq!((stage.open(), stage.began()), (1, "latest".to_owned()));
    first.running.kill();
    eventually("nobody listens", || expect(stage.open() == 0, stage.open()));
    stage.change(&id, &json!({"Amount": 2}));
    eventually("the other node listens", || {
        expect(stage.open() == 1, stage.open())
    });
    assert_eq!(stage.began(), "custom");
    stage.arrives("Robots", 2);
}
