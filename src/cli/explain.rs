//! `interconnect explain`: the long help for a finding's code.

use clap::Args;
use diagnostic::{Explanation, explanation, explanations, suggestion};
use serde_json::{Value as Json, json};

use super::out::table;
use super::{Exit, Out};

/// Which code.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  interconnect explain IC0205\n  interconnect explain --list\n\n\
    Exits 2 when there is no such code."
)]
pub(crate) struct ExplainArgs {
    /// The code, as `interconnect check` shows it.
    #[arg(required_unless_present = "list")]
    code: Option<String>,
    /// All codes, a line each.
    #[arg(long, conflicts_with = "code")]
    list: bool,
}

pub(crate) fn run(args: &ExplainArgs, out: &Out) -> Exit {
    let Some(code) = &args.code else {
        return list(out);
    };
    let code = code.to_uppercase();
    let Some(found) = explanation(&code) else {
        let hint = suggestion(&code, explanations().map(|explanation| explanation.code));
        out.fails(&format!("`{code}` is not a code; {}", closest(&hint)));
        return Exit::Usage;
    };
    out.data(json_of(found), || found.plain());
    Exit::Ok
}

/// The closest code, or where all of them are: there are too many to name.
fn closest(hint: &str) -> &str {
    if hint.starts_with("did you mean") {
        hint
    } else {
        "list them with: interconnect explain --list"
    }
}

fn list(out: &Out) -> Exit {
    let all: Vec<Json> = explanations().map(json_of).collect();
    out.data(json!({"data": all}), || {
        let rows = explanations().map(|found| vec![found.code.to_owned(), found.title.to_owned()]);
        table(&["code", "what is wrong"], &rows.collect::<Vec<_>>())
    });
    Exit::Ok
}

fn json_of(explanation: Explanation) -> Json {
    json!({"code": explanation.code, "title": explanation.title, "text": explanation.text})
}
