//! Sessions: one renewal for all, rotation, renewal ahead, and what is refused for good.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;

use crate::testing::{Got, ManualClock, Say, Server, connect, ok, salesforce, shipped};
use crate::{Class, Settings, TokenStore};

/// A system whose tokens are numbered: only the newest one is good.
async fn numbered(expires_in: Option<u64>) -> (Server, Arc<AtomicUsize>) {
    let granted = Arc::new(AtomicUsize::new(0));
    let tokens = Arc::clone(&granted);
    let valid = Arc::new(AtomicUsize::new(0));
    let shared_url = Arc::new(std::sync::Mutex::new(String::new()));
    let url = Arc::clone(&shared_url);
    let server = Server::start(move |got: &Got| {
        if got.line.starts_with("POST /services/oauth2/token") {
            let number = tokens.fetch_add(1, Ordering::SeqCst) + 1;
            valid.store(number, Ordering::SeqCst);
            return ok(json!({
                "access_token": format!("t{number}"), "refresh_token": format!("r{number}"),
                "instance_url": *url.lock().unwrap(), "expires_in": expires_in,
            }));
        }
        if got.line.contains("expire") {
            valid.fetch_add(1_000, Ordering::SeqCst);
        }
        if got.authorization == format!("Bearer t{}", valid.load(Ordering::SeqCst)) {
            ok(json!({"fields": []}))
        } else {
            Say::Json(
                401,
                json!([{"message": "Session expired or invalid", "errorCode": "INVALID_SESSION_ID"}])
                    .to_string(),
            )
        }
    })
    .await;
    *shared_url.lock().unwrap() = server.url.clone();
    (server, granted)
}

#[tokio::test]
async fn many_calls_share_one_login_and_one_renewal() {
    let (server, granted) = numbered(None).await;
    let connection = salesforce(&server, &Arc::new(ManualClock::default()));
    let describe = || async { connection.fields("Lead").await };
    let all = futures_util::future::join_all((0..5).map(|_| describe())).await;
    assert!(all.iter().all(Result::is_ok), "{all:?}");
    assert_eq!(granted.load(Ordering::SeqCst), 1);
    // The token ends: every call notices, one renews.
    let client = outbound::Client::new(
        outbound::Limits::default(),
        outbound::Guard::allowing(["127.0.0.1".parse().unwrap()]),
    );
    let expire = outbound::Url::parse(&format!("{}/expire", server.url)).unwrap();
    let request = outbound::Request::new(outbound::Method::GET, expire);
    client.unwrap().call(request).await.unwrap();
    let all = futures_util::future::join_all((0..5).map(|_| describe())).await;
    assert!(all.iter().all(Result::is_ok), "{all:?}");
    assert_eq!(granted.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_token_is_renewed_before_it_ends() {
    let (server, granted) = numbered(Some(1_800)).await;
    let clock = Arc::new(ManualClock::default());
    let connection = salesforce(&server, &clock);
    connection.fields("Lead").await.unwrap();
    clock.advance(1_700_000);
    connection.fields("Lead").await.unwrap();
    assert_eq!(granted.load(Ordering::SeqCst), 1);
    clock.advance(45_000);
    connection.fields("Lead").await.unwrap();
    assert_eq!(granted.load(Ordering::SeqCst), 2, "a minute before its end");
}

#[tokio::test]
async fn a_rotated_refresh_token_is_kept_and_used_next() {
    let (server, _) = numbered(Some(600)).await;
    let clock = Arc::new(ManualClock::default());
    let tokens: Arc<dyn TokenStore> = Arc::new(crate::MemoryTokens::default());
    let opened = |configured: &'static str| {
        let secrets = [
            ("client_id", "id"),
            ("client_secret", "s"),
            ("refresh_token", configured),
        ];
        let mut settings = Settings::new("sf", Default::default(), secrets.into_iter().collect());
        settings.config.insert("login_url".to_owned(), json!(server.url));
        settings.auth = Some("oauth2_refresh".to_owned());
        settings.tokens = Arc::clone(&tokens);
        let guard = outbound::Guard::allowing(["127.0.0.1".parse().unwrap()]);
        let client = outbound::Client::new(outbound::Limits::default(), guard).unwrap();
        crate::Connection::open(shipped("salesforce"), settings, client, Arc::clone(&clock) as _).unwrap()
    };
    opened("first").fields("Lead").await.unwrap();
    // A new process, hours later; then one whose administrator authorised it again.
    opened("first").fields("Lead").await.unwrap();
    opened("again").fields("Lead").await.unwrap();
    let bodies: Vec<String> = server
        .got()
        .into_iter()
        .map(|g| g.body)
        .filter(|b| !b.is_empty())
        .collect();
    for (body, token) in bodies.iter().zip(["first", "r1", "again"]) {
        assert!(body.contains(&format!("refresh_token={token}&")), "{bodies:?}");
    }
    assert_eq!(bodies.len(), 3);
}

#[tokio::test]
async fn refused_credentials_are_not_tried_again_and_again() {
    let refusal = r#"{"error":"invalid_client","error_description":"invalid client credentials"}"#;
    let server = Server::start(move |_| Say::Json(400, refusal.to_owned())).await;
    let clock = Arc::new(ManualClock::default());
    let connection = salesforce(&server, &clock);
    for _ in 0..3 {
        let failure = connection.check().await.unwrap_err();
        assert_eq!(failure.class, Class::AuthRevoked);
        assert_eq!(
            failure.text(),
            "the system refuses the credentials: authorise the connection again (invalid client credentials)"
        );
    }
    assert_eq!(server.got().len(), 1);
    clock.advance(crate::REFUSED_MS);
    connection.check().await.unwrap_err();
    assert_eq!(server.got().len(), 2);
}

#[tokio::test]
async fn wrong_settings_are_told_before_any_call() {
    let clock = Arc::new(ManualClock::default());
    let guard = outbound::Guard::public_only();
    let client = outbound::Client::new(outbound::Limits::default(), guard).unwrap();
    let mut settings = Settings::new("x", Default::default(), Default::default());
    let open = |settings: &Settings| {
        let opened = crate::Connection::open(
            shipped("tryton"),
            settings.clone(),
            client.clone(),
            Arc::clone(&clock) as _,
        );
        opened.unwrap_err().detail
    };
    assert_eq!(
        open(&settings),
        "the setting `base_url` is missing: the address of the server, for example https://erp.example.com"
    );
    settings.config.insert("databse".to_owned(), json!("x"));
    assert_eq!(
        open(&settings),
        "`databse` is not a setting of tryton: did you mean `database`?"
    );
    settings.config = json!({"base_url": "https://x.example", "database": "d", "user": "u"})
        .as_object()
        .unwrap()
        .clone();
    assert_eq!(
        open(&settings),
        "the secret `password` is missing: the password of that user"
    );
    settings.auth = Some("bearer".to_owned());
    assert_eq!(
        open(&settings),
        "`bearer` is not a way to authorise at tryton: known are: session_login"
    );
}

#[tokio::test]
async fn a_private_address_is_a_matter_of_the_settings() {
    let clock = Arc::new(ManualClock::default());
    let config = json!({"base_url": "http://169.254.169.254"});
    let connection = connect(
        &shipped("hubspot"),
        config,
        &[("access_token", "pat-secret")],
        &clock,
    );
    let failure = connection.check().await.unwrap_err();
    assert_eq!(failure.class, Class::Settings);
    assert!(failure.text().contains("not a public address") && !failure.text().contains("pat-secret"));
}
