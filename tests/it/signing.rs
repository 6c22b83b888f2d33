//! Signing, verifying and test events, as developers use them; secrets that are rotated.

use serde_json::{Value as Json, json};

use crate::harness::{
    Folder, Hub, Sandbox, base64, eventually, exchange, expect, interconnect, json_of, said,
};
use crate::partners::{config, now, received, signed};

#[test]
fn what_is_signed_is_verified_and_what_is_wrong_is_told_apart() {
    let folder = Folder::new();
    let body = folder.write("body.json", "{\"type\":\"deal.won\"}\n");
    let other = folder.write("other.json", "{\"type\":\"deal.won\"}");
    let (body, other) = (body.to_str().expect("text"), other.to_str().expect("text"));
    let secret = |key: &[u8]| vec![("SECRET", format!("whsec_{}", base64(key)))];
    let (right, wrong) = (secret(&[7; 32]), secret(&[8; 32]));
    let signed = json_of(&interconnect(
        &["sign", body, "--secret-env", "SECRET", "--id", "msg_1", "--json"],
        &right,
    ));
    let header = |name: &str| format!("{name}: {}", signed[name].as_str().expect("a header"));
    let all = ["webhook-id", "webhook-timestamp", "webhook-signature"].map(header);
    let verify = |file: &str, headers: &[String], secret: &[(&str, String)]| {
        let mut arguments = vec!["verify", file, "--secret-env", "SECRET", "--json"];
        headers.iter().for_each(|header| arguments.extend(["-H", header]));
        let output = interconnect(&arguments, secret);
        let (code, out, _) = said(&output);
        let told: Json = serde_json::from_str(&out).unwrap_or(Json::Null);
        (
            code,
            told["code"].as_str().unwrap_or("").to_owned(),
            told["id"].clone(),
        )
    };
    assert_eq!(
        verify(body, &all, &right),
        (Some(0), String::new(), json!("msg_1"))
    );
    assert_eq!(
        verify(other, &all, &right).1,
        "signature_wrong",
        "a line feed is part of the body"
    );
    assert_eq!(verify(body, &all, &wrong).1, "signature_wrong");
    assert_eq!(verify(body, &all[..2], &right).1, "signature_missing");
    let old = json_of(&interconnect(
        &[
            "sign",
            body,
            "--secret-env",
            "SECRET",
            "--id",
            "msg_1",
            "--at",
            "1700000000",
            "--json",
        ],
        &right,
    ));
    let old = ["webhook-id", "webhook-timestamp", "webhook-signature"]
        .map(|name| format!("{name}: {}", old[name].as_str().expect("a header")));
    let told = verify(body, &old, &right);
    assert_eq!((told.0, told.1.as_str()), (Some(1), "stale"));
    let (code, _, told) = said(&interconnect(&["sign", body, "--secret-env", "NOWHERE"], &[]));
    assert_eq!((code, told.contains("NOWHERE")), (Some(2), true), "{told}");
}

#[test]
fn a_test_event_reaches_one_endpoint_signed_with_every_secret_of_it() {
    let folder = Folder::new();
    let sandbox = Sandbox::start(&["--partner", "northwind", "--partner", "globex"]);
    let (config, mut secrets) = config(&folder, &sandbox, "");
    // The new secret comes first; the partner still knows the old one alone.
    let text = std::fs::read_to_string(&config).expect("the configuration");
    let rotated = text.replacen(
        "name: northwind-all, url",
        "name: northwind-all, auth: { user: hub, password: \"${env:NEW_SECRET}\" }, url",
        1,
    );
    let rotated = rotated.replacen(
        "secret: \"${env:NORTHWIND_SECRET}\", events: ['deal.*', custom.ping]",
        "secret: [\"${env:NEW_SECRET}\", \"${env:NORTHWIND_SECRET}\"], events: ['deal.*', custom.ping]",
        1,
    );
    assert!(rotated.contains("[\"${env:NEW_SECRET}\""), "{rotated}");
    std::fs::write(&config, rotated).expect("the configuration is written");
    secrets.push(("NEW_SECRET", format!("whsec_{}", base64(&[9; 32]))));
    let path = config.to_str().expect("a path of text");
    let _hub = Hub::start(&config, &secrets);
    let trigger = |arguments: &[&str]| {
        let all = [&["--config", path, "trigger"], arguments].concat();
        interconnect(&all, &secrets)
    };
    // It is not subscribed to leads, and gets this one all the same.
    let sent = json_of(&trigger(&[
        "lead.created",
        "--endpoint",
        "northwind-all",
        "--set",
        "name=Solar",
        "--json",
    ]));
    assert_eq!(sent["endpoints"], json!(["northwind-all"]));
    let all = eventually("the test event", || {
        let all = received(&sandbox, "northwind");
        expect(all.len() == 1, all.len()).map(|()| all)
    });
    let event: Json = serde_json::from_str(all[0]["body"].as_str().expect("a body")).expect("JSON");
    let data = &event["data"];
    assert_eq!(
        (&data["id"], &data["test"], &data["name"]),
        (&json!("test"), &json!(true), &json!("Solar"))
    );
    // The rest is the sample of the type.
    let known = json_of(&interconnect(
        &["--config", path, "event", "type", "lead.created", "--json"],
        &secrets,
    ));
    assert_eq!(data["lead"], known["sample"]["lead"]);
    assert!(known["data_schema"]["$defs"].is_object(), "{known}");
    assert_eq!(all[0]["id"], sent["id"]);
    let sent = json_of(&trigger(&["deal.won", "--all", "--json"]));
    let names: Vec<&str> = sent["endpoints"]
        .as_array()
        .expect("names")
        .iter()
        .filter_map(Json::as_str)
        .collect();
    assert_eq!(names, ["acme-self", "globex-won", "northwind-all"]);
    // Whatever their policies let through of a deal, that it is a test is told.
    let all = eventually("the test event", || {
        let all = received(&sandbox, "globex");
        expect(all.len() == 1, all.len()).map(|()| all)
    });
    let event: Json = serde_json::from_str(all[0]["body"].as_str().expect("a body")).expect("JSON");
    assert_eq!(event["data"]["test"], json!(true), "{event}");
    for (wrong, hint) in [
        (
            ["deal.won", "--endpoint", "nobody"],
            "there is no endpoint `nobody`",
        ),
        (
            ["deal.stolen", "--endpoint", "globex-won"],
            "is not an event type",
        ),
    ] {
        let (code, _, told) = said(&trigger(&wrong));
        assert_eq!((code, told.contains(hint)), (Some(2), true), "{told}");
    }
}

#[test]
fn an_endpoints_events_are_forwarded_to_a_program_as_they_would_be_sent() {
    let folder = Folder::new();
    let sandbox = Sandbox::start(&["--partner", "northwind", "--partner", "globex"]);
    let (config, mut secrets) = config(&folder, &sandbox, "");
    let text = std::fs::read_to_string(&config).expect("the configuration");
    let text = text.replace(
        "events: [deal.won], share",
        "pull_key: \"${env:PULL_KEY}\", events: [deal.won], share",
    );
    std::fs::write(&config, text).expect("the configuration is written");
    let key = "the-key-by-which-globex-pulls";
    secrets.push(("PULL_KEY", key.to_owned()));
    let hub = Hub::start(&config, &secrets);
    for id in ["msg_1", "msg_2"] {
        let body = json!({"type": "deal.won", "timestamp": "2026-11-23T10:00:00Z",
            "data": {"id": id, "deal": {"name": "Rollout", "next_steps": "none of their business"}}})
        .to_string();
        let headers = signed(id, now(), &body);
        let headers: Vec<(&str, &str)> = headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        assert_eq!(
            exchange("POST", &format!("{}/hooks/acme", hub.url), Some(&body), &headers).0,
            202
        );
    }
    // The sandbox's partner keeps what it can verify: once pushed, once forwarded.
    let to = format!("{}/hook", sandbox.url("globex"));
    let listen = |more: &[&str]| {
        let words = [
            "listen",
            to.as_str(),
            "--hub",
            hub.url.as_str(),
            "--endpoint",
            "globex-won",
            "--from",
            "oldest",
        ];
        interconnect(&[&words[..], more].concat(), &[("KEY", key.to_owned())])
    };
    let (code, told, remarks) = said(&listen(&["--key-env", "KEY", "--count", "2", "--json"]));
    assert_eq!(code, Some(0), "{remarks}");
    let forwarded: Vec<Json> = told
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let statuses: Vec<u64> = forwarded
        .iter()
        .filter_map(|one| one["status"].as_u64())
        .collect();
    assert!(
        statuses.len() == 2 && statuses.iter().all(|status| (200..300).contains(status)),
        "{told}"
    );
    eventually("each twice, the same both times", || {
        let all = received(&sandbox, "globex");
        let of = |id: &Json| {
            all.iter()
                .filter(|one| one["id"] == *id)
                .map(|one| &one["body"])
                .collect::<Vec<_>>()
        };
        let same = forwarded
            .iter()
            .all(|one| matches!(of(&one["id"])[..], [a, b] if a == b));
        expect(
            same && all.iter().all(|one| !one.to_string().contains("business")),
            format!("{all:?}"),
        )
    });
    let (code, _, remarks) = said(&listen(&["--key-env", "NOBODY"]));
    assert_eq!(
        (code, remarks.contains("there is no `NOBODY`")),
        (Some(2), true),
        "{remarks}"
    );
}
