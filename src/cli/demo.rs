//! `interconnect demo`: see it work without any set-up.

use clap::Args;

use super::progress::Progress;
use super::serve::stop_signal;
use super::{Exit, Out};
use crate::demo::{Demo, Life, narrate, play};

/// How to show it.
#[derive(Args)]
#[command(after_help = "Examples:\n  interconnect demo\n  interconnect demo --check --json")]
pub(crate) struct DemoArgs {
    /// Play a scenario unattended, compare every system field by field, and end; for CI.
    #[arg(long)]
    check: bool,
}

pub(crate) async fn run(args: &DemoArgs, out: &Out) -> Exit {
    let folder = match tempfile::tempdir() {
        Ok(folder) => folder,
        Err(error) => return out.fail(&format!("there is no place for the demo's files: {error}")),
    };
    let demo = match Demo::start(folder.path()).await {
        Ok(demo) => demo,
        Err(error) => return out.fail(&error),
    };
    let result = if args.check {
        check(&demo, out).await
    } else {
        show(&demo, out).await
    };
    let stopped = demo.stop().await;
    match result.and_then(|exit| stopped.map(|()| exit)) {
        Ok(exit) => exit,
        Err(error) => out.fail(&error),
    }
}

async fn check(demo: &Demo, out: &Out) -> Result<Exit, String> {
    let mut progress = Progress::begin();
    let outcome = play(demo, demo.seeded, &mut |text| progress.step(text, None)).await;
    progress.end();
    let outcome = outcome?;
    out.data(outcome.json.clone(), || {
        let json = &outcome.json;
        format!(
            "{} changes, {} lost, {} duplicated, {} echoed, {} disagreements\n\
             webhooks: {} accepted, {} received, {} lost, {} received twice",
            json["changes"],
            json["lost"],
            json["duplicated"],
            json["echoed"],
            json["disagreements"].as_array().map_or(0, Vec::len),
            json["webhooks"]["accepted"],
            json["webhooks"]["received"],
            json["webhooks"]["lost"],
            json["webhooks"]["received_twice"],
        )
    });
    Ok(if outcome.agreed { Exit::Ok } else { Exit::Failed })
}

async fn show(demo: &Demo, out: &Out) -> Result<Exit, String> {
    let seeded = demo.seeded;
    out.line("Interconnect keeps two systems in agreement and relays webhooks between two partners.");
    out.line(&format!(
        "  the hub      {}    try {}/v1/records?kind=deal",
        demo.url, demo.url
    ));
    out.line(&format!(
        "  Salesforce   {}    emulated; rows at /_sandbox/rows/Opportunity",
        demo.sandbox.salesforce.url()
    ));
    out.line(&format!(
        "  HubSpot      {}    emulated; rows at /_sandbox/rows/deals",
        demo.sandbox.hubspot.url()
    ));
    for name in crate::demo::PARTNERS {
        if let Some(partner) = demo.sandbox.partner(name) {
            out.line(&format!(
                "  {name:<12} {}    a partner; webhooks at /_sandbox/received",
                partner.url()
            ));
        }
    }
    out.line(&format!(
        "Seeded with {} partners, {} leads and {} deals. Stop it with Ctrl-C.\n",
        seeded.partners, seeded.leads, seeded.deals
    ));
    let mut life = Life::new();
    let live = async {
        loop {
            match life.next(demo).await {
                Ok(line) => out.line(&format!("● {line}")),
                Err(error) => return error,
            }
        }
    };
    tokio::select! {
        error = live => Err(error),
        () = narrate(demo.hub.ledger.clone(), |line| out.line(&format!("  {line}"))) => Ok(Exit::Ok),
        () = stop_signal() => Ok(Exit::Ok),
    }
}
