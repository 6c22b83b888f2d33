//! Streams against an emulated system that speaks the protocol with code of its own.

use std::path::Path;
use std::sync::Arc;

use diagnostic::Report;
use sandbox::{Fault, ManualClock, Running, Sandbox, Switch};
use serde_json::{Map, Value as Json, json};

use crate::shipped_tests::source;
use crate::{Class, Connection, Connector, Heard, Listening, Secrets, Settings, SystemClock};

const NOW_MS: i64 = 1_795_000_000_000;
/// An access token of the emulated system lives for two hours.
const TOKEN_LIFE_MS: i64 = 7_200_000;

struct Stage {
    system: Running,
    clock: Arc<ManualClock>,
    connection: Connection,
}

impl Stage {
    async fn new() -> Stage {
        let clock = Arc::new(ManualClock::at(NOW_MS));
        let settings = sandbox::Settings {
            clock: clock.clone(),
            ..sandbox::Settings::default()
        };
        let system = Sandbox::start(settings).await.unwrap();
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../connectors/salesforce/connector.yaml");
        let mut report = Report::new();
        let connector = Connector::compile(&source(&path), &mut report);
        let connector = Arc::new(connector.unwrap_or_else(|| panic!("{}", report.render(false))));
        let (id, secret) = system.salesforce.client();
        let config =
            json!({"login_url": system.salesforce.url(), "stream_url": system.salesforce.stream_url()});
        let Json::Object(config) = config else {
            unreachable!()
        };
        let secrets = Secrets::from_iter([("client_id", id), ("client_secret", secret.expose())]);
        let settings = Settings::new("crm", config, secrets);
        let guard = outbound::Guard::allowing(["127.0.0.0/8".parse().unwrap()]);
        let http = outbound::Client::new(outbound::Limits::default(), guard).unwrap();
        let connection = Connection::open(connector, settings, http, Arc::new(SystemClock)).unwrap();
        Stage {
            system,
            clock,
            connection,
        }
    }

    async fn listen(&self, after: Option<&Json>) -> Result<Listening, crate::Failure> {
        let fields = ["Name", "Amount", "NextStep"].map(str::to_owned);
        let account = self.system.salesforce.org_id();
        self.connection
            .listen("Opportunity", &fields, account, after)
            .await
    }

    /// The place where the stream stands now, as an idle stream is told it.
    async fn begin(&self) -> Json {
        let url = format!("{}/_sandbox/stream", self.system.salesforce.url());
        let mut often = outbound::Request::new(outbound::Method::PUT, url.parse().unwrap());
        often.body = r#"{"keep_alive_ms": 20}"#.into();
        let answer = self.connection.caller.http.call(often).await.unwrap();
        assert_eq!(answer.status, 204, "{answer:?}");
        let mut listening = self.listen(None).await.unwrap();
        let idle = listening.next().await.unwrap();
        assert!(said(&idle).is_empty(), "{idle:?}");
        idle.place.unwrap()
    }

    fn deal(&self, name: &str) -> String {
        let deal = json!({"Name": name, "StageName": "Prospecting", "CloseDate": "2026-12-24"});
        self.system.salesforce.insert("Opportunity", &deal).unwrap()
    }

    fn update(&self, id: &str, change: &Json) {
        self.system.salesforce.update("Opportunity", id, change).unwrap();
    }

    fn fault(&self, fault: Fault) {
        self.system
            .salesforce
            .faults()
            .add(Switch::times(fault, 1))
            .unwrap();
    }
}

/// What was heard of, as `create id`.
fn said(heard: &Heard) -> Vec<String> {
    let hints = heard.hints.iter().map(|hint| {
        assert_eq!(hint.object, "Opportunity");
        format!("{} {}", hint.op, hint.id)
    });
    hints.collect()
}

/// Hears until something was said.
async fn next(listening: &mut Listening) -> Vec<String> {
    loop {
        let heard = said(&listening.next().await.unwrap());
        if !heard.is_empty() {
            return heard;
        }
    }
}

/// The first thing that is wrong with a stream.
async fn refused(opened: Result<Listening, crate::Failure>) -> Class {
    match opened {
        Ok(mut listening) => loop {
            if let Err(failure) = listening.next().await {
                return failure.class;
            }
        },
        Err(failure) => failure.class,
    }
}

#[tokio::test]
async fn a_change_is_told_with_its_object_unless_nobody_reads_its_fields() {
    let stage = Stage::new().await;
    let place = stage.begin().await;
    let mut listening = stage.listen(Some(&place)).await.unwrap();
    let id = stage.deal("Robots");
    assert_eq!(next(&mut listening).await, [format!("create {id}")]);
    stage.update(&id, &json!({"LeadSource": "Partner"}));
    let quiet = loop {
        let heard = listening.next().await.unwrap();
        assert!(said(&heard).is_empty(), "a field that is not read: {heard:?}");
        if heard.place.is_some() {
            break heard.place;
        }
    };
    assert_ne!(quiet, Some(place), "and yet the stream stands behind it");
    stage.update(&id, &json!({"LeadSource": "Web", "NextStep": "call"}));
    let hint = loop {
        if let [hint] = &listening.next().await.unwrap().hints[..] {
            break hint.clone();
        }
    };
    assert_eq!((hint.op.as_str(), &hint.id), ("update", &id));
    assert!(
        hint.origin.as_ref().unwrap().contains("client=SfdcInternalAPI"),
        "{hint:?}"
    );
    assert_eq!(hint.occurred.unwrap().as_millisecond() / 1_000, NOW_MS / 1_000);
    stage.system.salesforce.delete("Opportunity", &id).unwrap();
    assert_eq!(next(&mut listening).await, [format!("delete {id}")]);
}

#[tokio::test]
async fn gaps_are_read_by_their_ids_and_overflows_among_the_changes() {
    let stage = Stage::new().await;
    let id = stage.deal("Robots");
    let place = stage.begin().await;
    let mut listening = stage.listen(Some(&place)).await.unwrap();
    stage.fault(Fault::Gap { object: None });
    stage.update(&id, &json!({"LeadSource": "Partner"}));
    assert_eq!(next(&mut listening).await, [format!("update {id}")]);
    stage.fault(Fault::Overflow { object: None });
    stage.update(&id, &json!({"LeadSource": "Web"}));
    assert_eq!(next(&mut listening).await, ["update "], "nobody in particular");
}

#[tokio::test]
async fn an_event_that_nobody_can_read_says_that_something_changed_and_holds_up_no_other() {
    let stage = Stage::new().await;
    let place = stage.begin().await;
    stage.fault(Fault::NoSchema);
    let mut listening = stage.listen(Some(&place)).await.unwrap();
    stage.deal("Unreadable");
    assert_eq!(next(&mut listening).await, ["update "]);
    let id = stage.deal("Readable");
    assert_eq!(next(&mut listening).await, [format!("create {id}")]);
}

#[tokio::test]
async fn credit_is_renewed_so_that_more_comes_than_was_asked_for_at_first() {
    let stage = Stage::new().await;
    let place = stage.begin().await;
    let ids: Vec<String> = (0..350).map(|n| stage.deal(&format!("Deal {n}"))).collect();
    let mut listening = stage.listen(Some(&place)).await.unwrap();
    let mut heard = Vec::new();
    while heard.last() != ids.last() {
        let answer = listening.next().await.unwrap();
        assert!(
            answer.hints.len() <= 100,
            "never more than may be asked for at a time"
        );
        heard.extend(answer.hints.into_iter().map(|hint| hint.id));
    }
    assert_eq!(heard, ids, "each once, in order");
}

#[tokio::test]
async fn a_stream_goes_on_where_it_stood_or_says_that_nobody_knows_where_that_is() {
    let stage = Stage::new().await;
    let place = stage.begin().await;
    let id = stage.deal("Meanwhile");
    let mut listening = stage.listen(Some(&place)).await.unwrap();
    assert_eq!(next(&mut listening).await, [format!("create {id}")]);
    drop(listening);
    stage.fault(Fault::ReplayExpired);
    assert_eq!(
        refused(stage.listen(Some(&place)).await).await,
        Class::CursorExpired
    );
    for place in [json!("bm9uZQ=="), json!("%"), json!(7)] {
        assert_eq!(
            refused(stage.listen(Some(&place)).await).await,
            Class::CursorExpired,
            "{place}"
        );
    }
}

#[tokio::test]
async fn a_token_that_ran_out_is_renewed_and_the_stream_goes_on() {
    let stage = Stage::new().await;
    let place = stage.begin().await;
    stage.clock.advance_ms(TOKEN_LIFE_MS);
    assert_eq!(
        refused(stage.listen(Some(&place)).await).await,
        Class::AuthExpired
    );
    let id = stage.deal("Afterwards");
    let mut listening = stage.listen(Some(&place)).await.unwrap();
    assert_eq!(next(&mut listening).await, [format!("create {id}")]);
    // A stream that is open ends with its token, too.
    stage.clock.advance_ms(TOKEN_LIFE_MS);
    stage.deal("Too late");
    assert_eq!(refused(Ok(listening)).await, Class::AuthExpired);
    assert!(stage.listen(Some(&place)).await.is_ok());
}

#[tokio::test]
async fn what_cannot_be_listened_to_says_so() {
    let stage = Stage::new().await;
    let topic = |stage: &Stage, object: &str| stage.connection.topic(object).unwrap().map(str::to_owned);
    assert_eq!(topic(&stage, "Lead").as_deref(), Some("/data/LeadChangeEvent"));
    assert_eq!(topic(&stage, "User"), None);
    stage.fault(Fault::NoTopic { object: None });
    assert_eq!(refused(stage.listen(None).await).await, Class::NotFound);
    let other = stage
        .connection
        .listen("Opportunity", &[], "00D000000000000EAA", None)
        .await;
    assert_eq!(refused(other).await, Class::Settings);
    assert_eq!(
        refused(stage.connection.listen("User", &[], "", None).await).await,
        Class::Settings
    );

    let connector = Arc::clone(stage.connection.connector());
    let http = outbound::Client::new(outbound::Limits::default(), outbound::Guard::public_only()).unwrap();
    let mut config = Map::from_iter([("login_url".to_owned(), json!(stage.system.salesforce.url()))]);
    let settings = |config: &Map<String, Json>| {
        let secrets = Secrets::from_iter([("client_id", "x"), ("client_secret", "x")]);
        Settings::new("crm", config.clone(), secrets)
    };
    let open = |settings| {
        Connection::open(
            Arc::clone(&connector),
            settings,
            http.clone(),
            Arc::new(SystemClock),
        )
    };
    let without = open(settings(&config)).unwrap();
    assert_eq!(without.topic("Lead").unwrap(), None, "no address, no stream");
    config.insert("stream_url".to_owned(), json!("https://stream.example"));
    assert!(open(settings(&config)).unwrap().topic("Lead").unwrap().is_some());
}
