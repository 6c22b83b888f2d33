//! `interconnect check`: every finding of configuration, connectors and mappings at once, without any network.

use clap::Args;
use diagnostic::Report;
use serde_json::json;

use super::{Common, Exit, Out};
use crate::hub;

/// What to check.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  interconnect check\n  interconnect check --strict --json   for CI: warnings count"
)]
pub(crate) struct CheckArgs {
    /// Warnings count as errors.
    #[arg(long)]
    strict: bool,
    /// Every connector and mapping at hand, not only those that the configuration uses.
    #[arg(long)]
    all: bool,
}

pub(crate) fn run(args: &CheckArgs, common: &Common, out: &Out) -> Exit {
    let mut report = Report::new();
    match hub::read(&common.config, &mut report, out) {
        Ok(Some((_, mut catalogue))) => catalogue.lint(args.all, &mut report),
        Ok(None) => {}
        Err(exit) => return exit,
    }
    let errors = report.errors();
    let warnings = report.findings().len() - errors;
    let summary = format!("{errors} errors, {warnings} warnings");
    out.data(
        json!({"findings": report.findings(), "errors": errors, "warnings": warnings}),
        || {
            if report.is_empty() {
                String::new()
            } else {
                format!("{}\n", report.render(Out::colours()))
            }
        },
    );
    out.note(&summary);
    if errors > 0 || (args.strict && warnings > 0) {
        Exit::Usage
    } else {
        Exit::Ok
    }
}
