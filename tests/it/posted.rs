//! A partner tells of a lead: what it posts becomes a record and from there an object of every system, once, whatever is
//! killed; what makes no sense waits with its reason; and nobody hears their own words back.

use std::path::PathBuf;

use serde_json::{Value as Json, json};

use crate::harness::{Folder, Hub, Redis, Sandbox, database, eventually, exchange, expect, get, post, send};
use crate::partners::{acme_secret, now, received, signed};

/// Leads that are posted in the moment before the hub is killed.
const AT_ONCE: usize = 20;

struct Stage {
    folder: Folder,
    sandbox: Sandbox,
    config: PathBuf,
    env: Vec<(&'static str, String)>,
}

impl Stage {
    /// A hub between Salesforce and HubSpot, with acme, whose leads become records, and northwind, who hears of leads.
    /// Both systems are looked at so often; no sweep helps, so whatever is accepted is looked at because somebody is told.
    fn new(every: &str) -> Stage {
        Stage::on(
            Folder::new(),
            every,
            "ledger: sqlite:hub.db",
            "sweep_every_ms: 600000",
        )
    }

    fn on(folder: Folder, every: &str, stores: &str, limits: &str) -> Stage {
        let sandbox = Sandbox::start(&["--partner", "northwind"]);
        let said = |pointer: &str| {
            let text = sandbox.said.pointer(pointer).and_then(Json::as_str);
            text.unwrap_or_else(|| panic!("{pointer} in {}", sandbox.said))
                .to_owned()
        };
        let text = format!(
            "listen: 127.0.0.1:0
{stores}
outbound: {{ allow: [127.0.0.0/8] }}
limits: {{ {limits} }}
connections:
  crm:
    system: salesforce
    auth: oauth2_client_credentials
    config: {{ login_url: \"{salesforce}\" }}
    secrets: {{ client_id: \"${{env:SF_ID}}\", client_secret: \"${{env:SF_SECRET}}\" }}
    lag: 0ms
  marketing:
    system: hubspot
    auth: bearer
    config: {{ base_url: \"{hubspot}\" }}
    secrets: {{ access_token: \"${{env:HS_TOKEN}}\" }}
    lag: 0ms
  portal: {{ system: portal }}
syncs:
  - {{ connection: crm, record: lead, every: {every} }}
  - {{ connection: marketing, record: lead, every: {every} }}
  - {{ connection: portal, record: lead, events: [ {{ types: [lead.*], from: [acme], where: '.data.internal != true' }} ] }}
partners:
  acme:
    secrets: [\"${{env:ACME_SECRET}}\"]
    endpoints:
      - {{ name: acme-crm, url: \"{northwind}/acme\", secret: \"${{env:NORTHWIND_SECRET}}\", share: everything,
          events: [ {{ types: [lead.*], where: '.data.lead.company.name != \"Secret Ltd\"' }} ] }}
      - {{ name: acme-echo, url: \"{northwind}/echo\", secret: \"${{env:NORTHWIND_SECRET}}\", share: everything,
          events: [ {{ types: [lead.*], from: [portal] }} ] }}
  northwind:
    endpoints:
      - {{ name: northwind-crm, url: \"{northwind}/hook\", secret: \"${{env:NORTHWIND_SECRET}}\", share: everything,
          events: [ {{ types: [lead.*], from: [interconnect] }} ] }}
",
            salesforce = sandbox.url("salesforce"),
            hubspot = sandbox.url("hubspot"),
            northwind = sandbox.url("northwind"),
        );
        let env = vec![
            ("SF_ID", said("/salesforce/client_id")),
            ("SF_SECRET", said("/salesforce/client_secret")),
            ("HS_TOKEN", said("/hubspot/token")),
            ("ACME_SECRET", acme_secret()),
            ("NORTHWIND_SECRET", said("/partners/northwind/secret")),
        ];
        Stage {
            config: folder.write("interconnect.yaml", &text),
            folder,
            sandbox,
            env,
        }
    }

    fn hub(&self) -> Hub {
        Hub::start(&self.config, &self.env)
    }

    fn run(&self, arguments: &[&str]) -> Json {
        let mut all = arguments.to_vec();
        all.push("--json");
        let output = self.folder.run(&all, &self.env);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        serde_json::from_str(&text).unwrap_or_else(|_| panic!("{arguments:?}: {output:?}"))
    }

    /// The leads of a company in Salesforce.
    fn leads(&self, company: &str) -> Vec<Json> {
        let mut rows = self.sandbox.rows("salesforce", "Lead");
        rows.retain(|row| row["Company"] == company && row["IsDeleted"] != true);
        rows
    }

    /// The contacts of a company in HubSpot.
    fn contacts(&self, company: &str) -> Vec<Json> {
        let mut rows = self.sandbox.rows("hubspot", "contacts");
        rows.retain(|row| row["properties"]["company"] == company && row["archived"] != true);
        rows
    }

    /// What reached an endpoint at northwind's address.
    fn heard(&self, path: &str) -> Vec<Json> {
        let mut all = received(&self.sandbox, "northwind");
        all.retain(|one| one["path"].as_str().is_some_and(|at| at.ends_with(path)));
        let bodies = all.iter().map(|one| one["body"].as_str().expect("a body"));
        bodies
            .map(|body| serde_json::from_str(body).expect("JSON"))
            .collect()
    }
}

/// Posts an event of acme about a lead, as old as so many seconds; answers status and answer.
fn tell(hub: &Hub, message: &str, event_type: &str, age_s: i64, data: &Json) -> (u16, Json) {
    let at = jiff::Timestamp::from_second(now() - age_s).expect("a moment");
    let body = json!({"type": event_type, "timestamp": at.to_string(), "data": data}).to_string();
    let headers = signed(message, now(), &body);
    let headers: Vec<(&str, &str)> = headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    let (status, answer) = exchange("POST", &format!("{}/hooks/acme", hub.url), Some(&body), &headers);
    (
        status,
        serde_json::from_str(&answer).unwrap_or(Json::String(answer)),
    )
}

fn one<'r>(rows: &'r [Json], of: &str) -> Result<&'r Json, String> {
    match rows {
        [row] => Ok(row),
        _ => Err(format!("{} of {of}", rows.len())),
    }
}

#[test]
fn what_a_partner_tells_of_a_lead_reaches_every_system() {
    let stage = Stage::new("300ms");
    let hub = stage.hub();
    let lead = json!({"id": "L-1", "lead": {
        "company": {"name": "Sun City Ltd", "country": "US"}, "status": "open",
        "contact": {"first_name": "Ada", "last_name": "Park", "email": "ada@suncity.example"},
    }});
    let (status, told) = tell(&hub, "msg_1", "lead.created", 60, &lead);
    assert_eq!(status, 202, "{told}");
    let (status, again) = tell(&hub, "msg_1", "lead.created", 60, &lead);
    assert_eq!((status, &again["id"]), (200, &told["id"]), "{again}");
    eventually("the lead in both systems", || {
        one(&stage.leads("Sun City Ltd"), "Salesforce")?;
        one(&stage.contacts("Sun City Ltd"), "HubSpot").map(drop)
    });

    // What it does not say stays.
    let news = json!({"id": "L-1", "lead": {"contact": {"job_title": "Head of Power", "email": "ada.park@suncity.example"}}});
    let (_, news) = tell(&hub, "msg_2", "lead.updated", 20, &news);
    eventually("the news in both systems", || {
        let lead = stage.leads("Sun City Ltd");
        let lead = one(&lead, "Salesforce")?;
        expect(
            lead["Title"] == "Head of Power" && lead["FirstName"] == "Ada",
            lead,
        )?;
        let contact = stage.contacts("Sun City Ltd");
        let contact = &one(&contact, "HubSpot")?["properties"];
        expect(contact["email"] == "ada.park@suncity.example", contact)
    });
    // What is older than what is known says nothing.
    let old = json!({"id": "L-1", "lead": {"contact": {"job_title": "Intern"}}});
    assert_eq!(tell(&hub, "msg_3", "lead.updated", 40, &old).0, 202);
    let settled = |id: &str| {
        let shown = get(&format!("{}/v1/events/{id}", hub.url));
        let deliveries = shown["deliveries"].as_array().expect("deliveries").clone();
        let inlet = deliveries
            .into_iter()
            .find(|one| one["endpoint"] == "portal/leads");
        inlet.unwrap_or_else(|| panic!("no delivery to portal/leads in {shown}"))
    };
    eventually("each event is settled", || {
        let all = get(&format!("{}/v1/deliveries?endpoint=portal/leads", hub.url));
        let states: Vec<&Json> = all["data"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|one| &one["state"])
            .collect();
        expect(states == ["delivered", "delivered", "delivered"], &all)
    });
    assert_eq!(settled(told["id"].as_str().expect("an id"))["state"], "delivered");
    assert_eq!(stage.leads("Sun City Ltd")[0]["Title"], "Head of Power");

    // Who said what, and by which event.
    let listed = get(&format!("{}/v1/records?kind=lead", hub.url));
    let records = listed["data"].as_array().expect("records");
    let id = records
        .iter()
        .find(|record| record.to_string().contains("Sun City Ltd"));
    let id = id
        .and_then(|record| record["id"].as_str())
        .expect("the record")
        .to_owned();
    let shown = stage.run(&["record", "show", &id, "--history"]);
    let history = shown["history"]
        .as_array()
        .unwrap_or_else(|| panic!("no history in {shown}"));
    let title = history
        .iter()
        .find(|change| change["field"] == "contact.job_title")
        .expect("a change");
    assert_eq!(
        (&title["connection"], &title["external_id"], &title["after"]),
        (&json!("portal"), &json!("acme/L-1"), &json!("Head of Power")),
        "{title}"
    );
    let event = get(&format!(
        "{}/v1/events/{}",
        hub.url,
        news["id"].as_str().expect("an id")
    ));
    assert_eq!(
        (&title["trace"], &event["source"]),
        (&event["trace"], &json!("acme")),
        "{event}"
    );
    // From the trace in the history to what acme said, and to what was said because of it.
    let trace = title["trace"].as_str().expect("a trace");
    let of_it = stage.run(&["event", "list", "--trace", trace]);
    let over_api = get(&format!("{}/v1/events?trace={trace}", hub.url));
    for of_it in [of_it, over_api] {
        let said = of_it["data"].as_array().expect("events").iter();
        let said: Vec<(&str, &str)> = said
            .map(|event| {
                (
                    event["event_type"].as_str().unwrap_or_default(),
                    event["source"].as_str().unwrap_or_default(),
                )
            })
            .collect();
        assert_eq!(
            said,
            [("lead.updated", "interconnect"), ("lead.updated", "acme")],
            "{of_it}"
        );
    }

    // Northwind hears of it, acme does not hear its own words, unless it asks for them by name; what others say it hears.
    eventually("northwind heard of it", || {
        let types: Vec<Json> = stage
            .heard("/hook")
            .iter()
            .map(|one| one["type"].clone())
            .collect();
        expect(types == ["lead.created", "lead.updated"], format!("{types:?}"))
    });
    eventually("acme heard what it asked for by name", || {
        expect(stage.heard("/echo").len() == 2, "less, or more")
    });
    let in_crm = stage.leads("Sun City Ltd")[0]["Id"].clone();
    let row = format!(
        "{}/_sandbox/rows/Lead/{}",
        stage.sandbox.url("salesforce"),
        in_crm.as_str().expect("an id")
    );
    send("PATCH", &row, Some(&json!({"Title": "Chief of Power"})), &[]);
    let heard = eventually("acme heard what Salesforce said", || {
        let heard = stage.heard("/acme");
        expect(!heard.is_empty(), "nothing").map(|()| heard)
    });
    assert_eq!(
        heard[0]["data"]["changed"]["contact.job_title"]["after"], "Chief of Power",
        "{heard:?}"
    );
}

#[test]
fn what_makes_no_sense_waits_with_its_reason() {
    let stage = Stage::new("300ms");
    let hub = stage.hub();
    let nameless = json!({"id": "L-2", "lead": {"contact": {"email": "who@nowhere.example"}}});
    let (_, told) = tell(&hub, "msg_1", "lead.created", 60, &nameless);
    let without_id = json!({"lead": {"company": {"name": "Nobody"}}});
    let (_, stray) = tell(&hub, "msg_2", "lead.created", 60, &without_id);
    let parked = eventually("both are parked", || {
        let parked = stage.run(&["error", "show"]);
        let rows = parked["data"].as_array().cloned().unwrap_or_default();
        expect(rows.len() == 2, &parked).map(|()| rows)
    });
    let of = |key: &Json| {
        let row = parked.iter().find(|row| row["key"] == *key);
        row.unwrap_or_else(|| panic!("no {key} in {parked:?}"))["reason"].to_string()
    };
    assert!(
        of(&json!("acme/L-2")).contains("a lead needs status, company.name"),
        "{parked:?}"
    );
    assert!(of(&stray["id"]).contains("without an id"), "{parked:?}");
    let event = get(&format!(
        "{}/v1/events/{}",
        hub.url,
        told["id"].as_str().expect("an id")
    ));
    assert!(
        event.to_string().contains("a lead needs status, company.name"),
        "{event}"
    );
    // What a filter leaves out is nobody's business.
    let internal = json!({"id": "L-3", "internal": true, "lead": {"company": {"name": "Within"}}});
    assert_eq!(tell(&hub, "msg_3", "lead.created", 60, &internal).0, 202);
    // What was missing is told later.
    let named = json!({"id": "L-2", "lead": {"status": "open", "company": {"name": "Nowhere Inc"}, "contact": {"last_name": "Who", "email": "who@nowhere.example"}}});
    assert_eq!(tell(&hub, "msg_4", "lead.updated", 30, &named).0, 202);
    eventually("the lead in Salesforce", || {
        one(&stage.leads("Nowhere Inc"), "Salesforce").map(drop)
    });
    let parked = stage.run(&["error", "show"]);
    let keys: Vec<&Json> = parked["data"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|row| &row["key"])
        .collect();
    assert_eq!(keys, [&stray["id"]], "{parked}");
    assert!(stage.leads("Within").is_empty());
}

#[test]
fn who_was_told_of_a_lead_may_name_it_and_nobody_else() {
    let stage = Stage::new("300ms");
    let hub = stage.hub();
    for company in ["Open Ltd", "Secret Ltd"] {
        let lead = json!({"Company": company, "LastName": "Doe", "Status": "Open - Not Contacted"});
        post(
            &format!("{}/_sandbox/rows/Lead", stage.sandbox.url("salesforce")),
            &lead,
        );
    }
    let records = || {
        get(&format!("{}/v1/records?kind=lead", hub.url))["data"]
            .as_array()
            .cloned()
    };
    let of = |company: &str| {
        let records = records().unwrap_or_default();
        let mut found = records
            .iter()
            .filter(|record| record.to_string().contains(company));
        let id = found.next().and_then(|record| record["id"].as_str());
        id.map(str::to_owned)
            .ok_or_else(|| format!("no {company} in {records:?}"))
    };
    eventually("both leads in HubSpot, and one of them at acme", || {
        one(&stage.contacts("Open Ltd"), "HubSpot")?;
        one(&stage.contacts("Secret Ltd"), "HubSpot")?;
        let heard = stage.heard("/acme");
        expect(
            heard.len() == 1 && heard[0]["data"]["id"] == *of("Open Ltd")?,
            format!("{heard:?}"),
        )
    });
    let (open, secret) = (
        of("Open Ltd").expect("a record"),
        of("Secret Ltd").expect("a record"),
    );
    // As a hub like ours gives them to its own leads.
    let theirs = format!("{}zzzzzzzz", &secret[..secret.len() - 8]);

    // By whatever way acme came to know the id: it was not told, so nothing comes of it. What is no lead of ours is its own.
    let mine = json!({"company": {"name": "Mine Ltd"}, "status": "open",
        "contact": {"last_name": "Doe", "job_title": "Thief", "email": "thief@mine.example"}});
    let (status, untold) = tell(
        &hub,
        "msg_1",
        "lead.updated",
        0,
        &json!({"id": secret, "lead": mine}),
    );
    assert_eq!(status, 202, "{untold}");
    let own = json!({"company": {"name": "Own Ltd"}, "status": "open", "contact": {"last_name": "Roe"}});
    assert_eq!(
        tell(
            &hub,
            "msg_2",
            "lead.created",
            0,
            &json!({"id": theirs, "lead": own})
        )
        .0,
        202
    );
    eventually("acme's own lead in Salesforce", || {
        one(&stage.leads("Own Ltd"), "Salesforce").map(drop)
    });
    let news = json!({"id": open, "lead": {"contact": {"job_title": "Head of Power"}}});
    assert_eq!(tell(&hub, "msg_3", "lead.updated", 0, &news).0, 202);
    eventually("the news in both systems", || {
        let (leads, contacts) = (stage.leads("Open Ltd"), stage.contacts("Open Ltd"));
        expect(one(&leads, "Salesforce")?["Title"] == "Head of Power", &leads[0])?;
        let contact = &one(&contacts, "HubSpot")?["properties"];
        expect(contact["jobtitle"] == "Head of Power", contact)
    });
    let dead = |event: &str| {
        let shown = get(&format!("{}/v1/events/{event}", hub.url));
        let deliveries = shown["deliveries"].as_array().cloned().unwrap_or_default();
        let dead = deliveries.into_iter().find(|one| one["state"] == "dead");
        dead.ok_or_else(|| shown.to_string())
    };
    let untold = untold["id"].as_str().expect("an id");
    let refused = eventually("it is dead", || dead(untold));
    let reason = format!("names {secret}, which is no leads that acme was told of");
    assert!(refused.to_string().contains(&reason), "{refused}");
    let parked = stage.run(&["error", "show"]).to_string();
    assert!(parked.contains(&reason), "{parked}");
    let (all, lead) = (records().expect("records"), &stage.leads("Secret Ltd"));
    assert_eq!(all.len(), 3, "{all:?}");
    assert_eq!(
        one(lead, "Salesforce").expect("as it was")["Title"],
        Json::Null,
        "{lead:?}"
    );
    assert!(stage.leads("Mine Ltd").is_empty() && stage.contacts("Mine Ltd").is_empty());
    let contact = &stage.contacts("Secret Ltd");
    let contact = &one(contact, "HubSpot").expect("as it was")["properties"];
    assert!(!contact.to_string().contains("hief"), "{contact}");

    // When it is told, it may, and a person lets it try again.
    let row = lead[0]["Id"].as_str().expect("an id");
    let row = format!("{}/_sandbox/rows/Lead/{row}", stage.sandbox.url("salesforce"));
    send("PATCH", &row, Some(&json!({"Company": "Known Ltd"})), &[]);
    eventually("acme is told", || {
        let heard = stage.heard("/acme");
        expect(heard.iter().any(|one| one["data"]["id"] == *secret), "not yet")
    });
    let again = refused["id"].as_str().expect("an id");
    post(&format!("{}/v1/deliveries/{again}/retry", hub.url), &json!({}));
    eventually("what it said reaches both systems", || {
        let (leads, contacts) = (stage.leads("Known Ltd"), stage.contacts("Known Ltd"));
        expect(one(&leads, "Salesforce")?["Title"] == "Thief", &leads[0])?;
        let contact = &one(&contacts, "HubSpot")?["properties"];
        expect(contact["jobtitle"] == "Thief", contact)
    });
    let all = records().expect("records");
    assert_eq!(all.len(), 3, "{all:?}");
    let parked = stage.run(&["error", "show"]);
    assert_eq!(parked["data"], json!([]), "{parked}");
}

#[test]
fn what_was_acknowledged_is_not_lost_when_the_hub_is_killed() {
    let stage = Stage::new("1h");
    let early = json!({"Company": "Early Bird", "LastName": "Doe", "Status": "Open - Not Contacted"});
    post(
        &format!("{}/_sandbox/rows/Lead", stage.sandbox.url("salesforce")),
        &early,
    );
    // What was made in this very second is not in the first window.
    eventually("both systems are read", || {
        stage.run(&["sync", "run"]);
        one(&stage.contacts("Early Bird"), "HubSpot").map(drop)
    });
    let hub = stage.hub();
    // Nothing is read at the inlet until it is let go: the hub dies between taking the events in and making records of them.
    stage.run(&["sync", "cancel", "--connection", "portal"]);
    for number in 0..AT_ONCE {
        let lead = json!({"status": "open", "company": {"name": format!("Company {number}")}, "contact": {"last_name": "Doe"}});
        let lead = json!({"id": number, "lead": lead});
        let (status, told) = tell(&hub, &format!("msg_{number}"), "lead.created", 60, &lead);
        assert_eq!(status, 202, "{told}");
    }
    hub.running.kill();
    assert!(stage.leads("Company 0").is_empty(), "it was stopped");
    stage.run(&["sync", "resume", "--connection", "portal"]);

    // A plan tells what will come of them, and takes nothing away.
    for _ in 0..2 {
        let plan = stage.run(&["plan"]);
        let objects = plan["data"].as_array().expect("objects");
        let of = |connection: &str, count: &str| {
            let object = objects.iter().find(|one| one["connection"] == connection);
            object.and_then(|one| one.pointer(count)).and_then(Json::as_u64)
        };
        assert_eq!(of("portal", "/records/created"), Some(AT_ONCE as u64), "{plan:#}");
        assert_eq!(of("crm", "/system/created"), Some(AT_ONCE as u64), "{plan:#}");
    }

    let hub = stage.hub();
    let everywhere = |number: usize| {
        let company = format!("Company {number}");
        one(&stage.leads(&company), "Salesforce")?;
        one(&stage.contacts(&company), "HubSpot").map(drop)
    };
    eventually("all leads, once", || (0..AT_ONCE).try_for_each(everywhere));
    eventually("nothing is due", || {
        let due = get(&format!(
            "{}/v1/deliveries?endpoint=portal/leads&state=due",
            hub.url
        ));
        expect(due["data"].as_array().is_some_and(Vec::is_empty), &due)
    });
    (0..AT_ONCE).try_for_each(everywhere).expect("once");

    // Nobody is asked, so whatever asks passes by.
    for asks in [
        &["sync", "reconcile"][..],
        &["sync", "forecast"],
        &["connection", "test", "portal"],
    ] {
        let said = stage.run(asks);
        assert!(
            said["errors"].as_array().is_none_or(Vec::is_empty),
            "{asks:?}: {said}"
        );
        assert!(
            !said.to_string().contains("portal") || asks[0] == "connection",
            "{said}"
        );
    }
}

#[test]
fn two_nodes_make_one_object_of_what_is_posted_at_either_and_one_goes_on_when_the_other_dies() {
    let folder = Folder::new();
    let redis = Redis::start(&folder);
    let stores = format!("ledger: {}\nqueue: {}", database("posted"), redis.url);
    let limits = "sweep_every_ms: 200, endpoint_lease_ms: 1000, object_lease_ms: 1000";
    let stage = Stage::on(folder, "300ms", &stores, limits);
    let (first, second) = (stage.hub(), stage.hub());
    let says = |hub: &Hub, number: usize, event: (&str, &str, i64), lead: &Json| {
        let (message, event_type, age_s) = event;
        let data = json!({"id": number, "lead": lead});
        let (status, told) = tell(hub, &format!("{message}_{number}"), event_type, age_s, &data);
        assert_eq!(status, 202, "{told}");
    };
    let titled = |title: &str| json!({"contact": {"job_title": title}});
    for number in 0..AT_ONCE {
        let lead = json!({"status": "open", "company": {"name": format!("Company {number}")}, "contact": {
            "last_name": "Doe", "email": format!("doe@company{number}.example"),
        }});
        let hub = [&first, &second][number % 2];
        says(hub, number, ("made", "lead.created", 90), &lead);
    }
    // What is newest comes first, at one node; what was said before it is late, at the other, which dies over it.
    for number in 0..AT_ONCE {
        let (one, other) = match number % 2 {
            0 => (&first, &second),
            _ => (&second, &first),
        };
        says(
            one,
            number,
            ("newest", "lead.updated", 30),
            &titled("Head of Power"),
        );
        says(other, number, ("late", "lead.updated", 60), &titled("Intern"));
    }
    first.running.kill();
    let told = json!({"contact": {"first_name": "Ada"}});
    for number in 0..AT_ONCE {
        says(&second, number, ("last", "lead.updated", 10), &told);
    }

    let everywhere = |number: usize| {
        let company = format!("Company {number}");
        let lead = stage.leads(&company);
        let lead = one(&lead, "Salesforce")?;
        expect(
            lead["Title"] == "Head of Power" && lead["FirstName"] == "Ada",
            lead,
        )?;
        let contact = stage.contacts(&company);
        let contact = &one(&contact, "HubSpot")?["properties"];
        expect(
            contact["jobtitle"] == "Head of Power" && contact["firstname"] == "Ada",
            contact,
        )
    };
    eventually("all leads as they were told of last, once", || {
        (0..AT_ONCE).try_for_each(everywhere)
    });
    let at = |path: &str| {
        get(&format!("{}/v1/{path}", second.url))["data"]
            .as_array()
            .cloned()
    };
    eventually("nothing is due", || {
        let due = at("deliveries?endpoint=portal/leads&state=due&limit=200");
        expect(due.as_ref().is_some_and(Vec::is_empty), format!("{due:?}"))
    });
    let all = at("deliveries?endpoint=portal/leads&limit=200").expect("a list");
    assert_eq!(all.len(), 4 * AT_ONCE);
    assert!(all.iter().all(|one| one["state"] == "delivered"), "{all:?}");
    let records = at("records?kind=lead&limit=200").expect("a list");
    assert_eq!(records.len(), AT_ONCE, "{records:?}");
    (0..AT_ONCE).try_for_each(everywhere).expect("once");
}
