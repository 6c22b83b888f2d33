//! More than was expected waits for a person; what is cancelled or interrupted goes on where it stopped.

use std::process::{Command, Stdio};

use serde_json::{Value as Json, json};

use crate::harness::{BINARY, Hub, eventually, expect, json_of, said};
use crate::plan::{Stage, the_second_is_over};

/// Partners of the large first reading.
const MANY: usize = 1_500;

fn companies(stage: &Stage) -> usize {
    stage.sandbox.rows("hubspot", "companies").len()
}

fn account_named(stage: &Stage, name: &str) -> Result<(), String> {
    let rows = stage.sandbox.rows("salesforce", "Account");
    expect(
        rows.iter().any(|row| row["Name"] == name),
        format!("no account {name}"),
    )
}

#[test]
fn a_run_that_would_write_more_than_its_limit_waits_for_a_person() {
    let stage = Stage::new("sqlite:hub.db");
    stage.configure("stop: { creates_max: 15, gone_max: 5 }, every: 100ms");
    let (_, there) = stage.fill();
    the_second_is_over();
    let before = companies(&stage);
    let plan = json_of(&stage.folder.run(&["plan", "--json"], &stage.env));
    assert!(plan.to_string().contains("--allow creates=20"), "{plan:#}");

    let (code, run, error) = said(&stage.folder.run(&["sync", "run", "--json"], &stage.env));
    assert_eq!(code, Some(1), "{run}");
    assert!(
        error.contains("companies of marketing would come to 20 creates"),
        "{error}"
    );
    assert!(
        error.contains("sync resume --connection marketing --object companies"),
        "{error}"
    );
    assert_eq!(companies(&stage), before, "nothing is written beyond the limit");
    let list = json_of(&stage.folder.run(&["sync", "list", "--json"], &stage.env));
    assert!(list.to_string().contains("would come to 20 creates"), "{list:#}");
    let status = json_of(&stage.folder.run(&["status", "--json"], &stage.env));
    assert_eq!(status["stopped_syncs"][0]["object"], "companies", "{status:#}");
    assert!(
        status["runs"].to_string().contains("would come to 20 creates"),
        "{status:#}"
    );

    let plan = json_of(&stage.folder.run(&["plan", "--json"], &stage.env));
    let stopped = plan["stopped"].to_string();
    assert!(stopped.contains("companies of marketing is stopped"), "{plan:#}");

    // A hub that is started anew neither writes nor asks; the other ways go on.
    stage.sandbox.reset_calls("hubspot");
    let hub = Hub::start(&stage.folder.path("interconnect.yaml"), &stage.env);
    stage.edit(
        "hubspot",
        "companies",
        &there[2],
        &json!({"name": "Renamed there"}),
    );
    eventually("a change of the stopped system", || {
        account_named(&stage, "Renamed there")
    });
    assert_eq!(hub.running.stop(), Some(0));
    assert_eq!(stage.sandbox.calls("hubspot").1, 0, "writes while it was stopped");
    assert_eq!(companies(&stage), before);

    stage
        .folder
        .run(&["sync", "run", "--allow", "creates=20"], &stage.env);
    assert_eq!(companies(&stage), before + 20);
    eventually("the deals that waited for them", || {
        let (code, run, error) = said(&stage.folder.run(&["sync", "run"], &stage.env));
        expect(code == Some(0), format!("{run} {error}"))
    });
    let (code, _, error) = said(
        &stage
            .folder
            .run(&["sync", "run", "--allow", "creates"], &stage.env),
    );
    assert!(code == Some(2) && error.contains("creates=N"), "{error}");
}

#[test]
fn what_is_interrupted_or_cancelled_tells_what_it_did_and_goes_on_there() {
    let stage = Stage::new("sqlite:hub.db");
    let account = |number: usize| json!({"Name": format!("Partner {number}"), "Website": format!("https://p{number}.example")});
    stage.put(
        "salesforce",
        "Account",
        &(0..MANY).map(account).collect::<Vec<_>>(),
    );
    the_second_is_over();

    // Interrupted while it writes.
    let run = Command::new(BINARY)
        .current_dir(stage.folder.path("."))
        .args(["sync", "run", "--json"])
        .envs(stage.env.iter().map(|(name, value)| (*name, value.as_str())))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    eventually("the first companies", || expect(companies(&stage) > 0, "none"));
    let interrupted = Command::new("kill")
        .args(["-INT", &run.id().to_string()])
        .status();
    assert!(interrupted.expect("kill runs").success());
    let output = run.wait_with_output().expect("it ends");
    let (code, _, error) = said(&output);
    assert_eq!(code, Some(130), "{error}");
    assert!(error.contains("go on with: interconnect sync run"), "{error}");
    let first = companies(&stage);
    let told = json_of(&output);
    assert_eq!(
        told["objects"]["marketing/companies"]["created_there"], first,
        "{told:#}"
    );
    assert!(first < MANY, "it ended early");

    // Cancelled while a hub writes.
    let hub = Hub::start(&stage.folder.path("interconnect.yaml"), &stage.env);
    eventually("more companies", || expect(companies(&stage) > first, first));
    let cancelled = json_of(&stage.folder.run(
        &["sync", "cancel", "--connection", "marketing", "--json"],
        &stage.env,
    ));
    let second = companies(&stage);
    let of = |object: &str| {
        let all = cancelled["data"].as_array().expect("a list");
        all.iter()
            .find(|of| of["object"] == object)
            .cloned()
            .expect("it is told")
    };
    let done: Json = of("companies");
    assert_eq!(
        (&done["done"]["created_there"], &done["at_rest"]),
        (&json!(second), &json!(true)),
        "{done:#}"
    );
    assert_eq!(done["owed"], MANY - second, "{done:#}");
    stage.put(
        "salesforce",
        "Account",
        &[json!({"Name": "Meanwhile", "Website": "https://meanwhile.example"})],
    );
    eventually("news from the other system", || {
        let list = json_of(&stage.folder.run(
            &["sync", "cancel", "--connection", "marketing", "--json"],
            &stage.env,
        ));
        expect(
            list["data"]
                .as_array()
                .expect("a list")
                .iter()
                .any(|of| of["owed"] == MANY - second + 1),
            list,
        )
    });
    assert_eq!(
        companies(&stage),
        second,
        "nothing is written while it is cancelled"
    );

    let (code, text, _) = said(
        &stage
            .folder
            .run(&["sync", "resume", "--connection", "marketing"], &stage.env),
    );
    assert!(
        code == Some(0) && text.contains("companies") && text.contains("goes on"),
        "{text}"
    );
    eventually("all companies", || {
        expect(companies(&stage) == MANY + 1, companies(&stage))
    });
    assert_eq!(hub.running.stop(), Some(0));
    assert_eq!(companies(&stage), MANY + 1, "each once");
}
