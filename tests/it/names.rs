//! A name on the command line that nobody knows is refused: "nothing found" would be taken for an answer.

use crate::harness::{Folder, interconnect};

const CONFIG: &str = r#"ledger: sqlite:LEDGER
connections:
  crm: { system: salesforce, auth: oauth2_client_credentials, config: { login_url: "http://127.0.0.1:1" }, secrets: { client_id: "${env:SF_ID}", client_secret: "${env:SF_SECRET}" }, country: US }
syncs: [{ connection: crm, record: partner }]
partners:
  acme:
    secrets: ["${env:ACME_SECRET}"]
    endpoints: [{ name: acme-crm, url: "https://acme.example/hooks", secret: "${env:ACME_SECRET}", events: ["*"], share: { preset: everything } }]
"#;

#[test]
fn what_nobody_knows_is_refused_and_the_like_is_named() {
    let folder = Folder::new();
    let text = CONFIG.replace("LEDGER", &folder.path("hub.db").display().to_string());
    let config = folder.write("interconnect.yaml", &text).display().to_string();
    let env = [
        ("SF_ID", "id".to_owned()),
        ("SF_SECRET", "secret".to_owned()),
        (
            "ACME_SECRET",
            format!("whsec{}{}", "_", "YWNtZSoqKioqKioqKioqKioqKioqKioqKioqKio="),
        ),
    ];
    let run = |arguments: &[&str]| {
        let all = [&["--config", &config], arguments].concat();
        let output = interconnect(&all, &env);
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    for (command, what) in [
        (&["sync", "run", "--connection"][..], "connection"),
        (&["sync", "reconcile", "--connection"], "connection"),
        (&["sync", "forecast", "--connection"], "connection"),
        (&["error", "list", "--connection"], "connection"),
        (&["error", "show", "--connection"], "connection"),
        (&["error", "retry", "--connection"], "connection"),
        (&["conflict", "list", "--connection"], "connection"),
        (
            &["conflict", "resolve", "--take", "ours", "--connection"],
            "connection",
        ),
        (&["delivery", "list", "--endpoint"], "endpoint"),
        (&["delivery", "retry", "--endpoint"], "endpoint"),
        (&["delivery", "replay", "--endpoint"], "endpoint"),
        (&["endpoint", "try"], "endpoint"),
        (&["event", "list", "--source"], "source"),
        (
            &["record", "told", "dea_01h455vb4pex5vsknk084sn02q", "--partner"],
            "partner",
        ),
    ] {
        let (wrong, right) = match what {
            "connection" => ("crn", "crm"),
            "endpoint" => ("acme-crn", "acme-crm"),
            _ => ("acne", "acme"),
        };
        let (code, told) = run(&[command, &[wrong]].concat());
        let expected = format!("there is no {what} `{wrong}`; did you mean `{right}`?");
        assert_eq!(code, Some(2), "{command:?} {told}");
        assert!(told.contains(&expected), "{command:?} {told}");
        let (_, told) = run(&[command, &[right]].concat());
        assert!(!told.contains("there is no"), "{command:?} {told}");
    }
}
