//! The command line: what can be asked for, and how answers leave.
//!
//! Data goes to standard output, everything else to standard error; `--json` gives data as JSON everywhere, and errors as
//! lines of JSON, among which remarks for people may stand.
//! How a command ended is its exit code, see [`Exit`].

mod account;
mod action;
mod check;
mod conflict;
mod connection;
mod delivery;
mod demo;
mod endpoint;
mod error;
mod event;
mod explain;
#[cfg(test)]
mod explain_tests;
mod fields;
mod listen;
mod map;
mod names;
mod new;
mod out;
mod plan;
mod progress;
mod reconcile;
mod record;
mod review;
mod rounds;
mod runs;
mod sandbox;
mod schema;
mod serve;
mod sign;
mod sign_in;
mod status;
mod stop;
mod sync;
mod test;
mod trial;
mod trigger;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

pub(crate) use out::Out;

/// Whether a person watches standard error.
pub(crate) fn watched() -> bool {
    Out::watched()
}

/// The integration hub for partner ecosystems.
#[derive(Parser)]
#[command(name = "interconnect", version, max_term_width = 100, after_long_help = EXAMPLES)]
pub struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  interconnect demo                         see it work, without any set-up
  interconnect check                        is my configuration right?
  interconnect connection test              do the accounts at the systems work?
  interconnect fields crm.Lead              what does a system hold, and what is mapped?
  interconnect new connector acme           a connector and its mappings to start from
  interconnect test acme                    do samples, examples and laws hold?
  interconnect try hubspot deal             what does a mapping make of an object, and back?
  interconnect serve                        run the hub
  interconnect plan                         what would a sync do? nothing is written
  interconnect sync run --connection crm    bring one connection up to date now
  interconnect record show dea_01h2x…       a record, and who said each value
  interconnect conflict list                what waits for a decision
  interconnect delivery list --state dead   webhooks that were given up
  interconnect help exit-codes              what the exit codes mean";

const EXIT_CODES: &str = "\
Exit codes:
    0  it went well
    1  it failed: a call, a test of a connector or a mapping, or the demo's systems disagree
    2  the command line, the configuration or a file that it names is wrong; nothing was started
    3  there is something to do; `plan --detailed-exitcode` alone says so
    5  it went well in part: some records are parked, see `interconnect error list`
  130  it was interrupted";

/// Options that every command takes.
#[derive(Args)]
pub(crate) struct Common {
    /// The configuration file; what it names lies in its folder.
    #[arg(
        long,
        short,
        global = true,
        value_name = "FILE",
        env = "INTERCONNECT_CONFIG",
        default_value = "interconnect.yaml"
    )]
    config: PathBuf,
    /// Print data as JSON, and each error as a line of JSON.
    #[arg(long, global = true)]
    json: bool,
    /// What to log on standard error: error, warn, info, debug, or filters such as relay=debug.
    #[arg(long, global = true, value_name = "FILTER", env = "INTERCONNECT_LOG", value_parser = crate::telemetry::read_filter)]
    log: Option<String>,
}

#[derive(Subcommand)]
enum Command {
    /// One process with the hub, emulated systems and partners, seeded with an ecosystem.
    Demo(demo::DemoArgs),
    /// Run the hub.
    #[command(after_help = "Example:\n  interconnect --config /etc/interconnect.yaml serve")]
    Serve,
    /// Check configuration, connectors and mappings, without any network.
    Check(check::CheckArgs),
    /// What the code of a finding means, with a wrong and a right example.
    Explain(explain::ExplainArgs),
    /// Emulated systems to try things against.
    Sandbox(sandbox::SandboxArgs),
    /// The accounts at systems, and whether they work.
    #[command(subcommand)]
    Connection(connection::ConnectionCommand),
    /// The fields of an object, live from its system, and what they are mapped to.
    Fields(fields::FieldsArgs),
    /// Something new to start from.
    #[command(subcommand)]
    New(new::NewCommand),
    /// Run the tests of connectors and mappings themselves: samples, examples and laws.
    Test(test::TestArgs),
    /// Try a mapping: object → record → object, field by field, with the difference.
    Try(trial::TrialArgs),
    /// JSON Schemas of the files, for editors.
    Schema(schema::SchemaArgs),
    /// What a mapping leaves out, and what could fill it.
    #[command(subcommand)]
    Map(map::MapCommand),
    /// What the next `sync run` would do: reads, and writes nothing anywhere.
    ///
    /// The engine itself decides, over a copy of what it would change: creations, updates, links, duplicates, conflicts and
    /// what would be parked are those of the run. Calls of reading are made; those of writing are counted.
    #[command(
        after_help = "Examples:\n  interconnect plan\n  interconnect plan --connection crm --sample 10\n  \
                      interconnect plan --detailed-exitcode     exit 3 when there is something to do"
    )]
    Plan(plan::PlanArgs),
    /// Keep systems in agreement.
    #[command(subcommand)]
    Sync(sync::SyncCommand),
    /// Records, and which objects are theirs.
    #[command(subcommand)]
    Record(record::RecordCommand),
    /// What could not be mapped or was refused, by cause: look at it, try it again.
    #[command(subcommand)]
    Error(error::ErrorCommand),
    /// What two sides changed alike: look at it, decide, make a rule of it.
    #[command(subcommand)]
    Conflict(conflict::ConflictCommand),
    /// What waits for a person because a rule cannot tell: look at it, decide.
    #[command(subcommand)]
    Review(review::ReviewCommand),
    /// What persons did with records, and taking it back.
    #[command(subcommand)]
    Action(action::ActionCommand),
    /// Look at webhooks on their way out.
    #[command(subcommand)]
    Delivery(delivery::DeliveryCommand),
    /// Where webhooks go: how it stands, pause and resume.
    #[command(subcommand)]
    Endpoint(endpoint::EndpointCommand),
    /// Events: those that were taken, and the types that there are, with schemas and samples.
    #[command(subcommand)]
    Event(event::EventCommand),
    /// All types of events as an AsyncAPI 3.0.0 document, for partners and their tools.
    #[command(after_help = "Example:\n  interconnect asyncapi > asyncapi.json")]
    Asyncapi,
    /// Send a test event to an endpoint, or to all that subscribe to it, by the ordinary path.
    Trigger(trigger::TriggerArgs),
    /// Forward an endpoint's events to a program on this machine, signed as the hub signs them.
    Listen(listen::ListenArgs),
    /// The headers that a webhook needs to be believed.
    Sign(sign::SignArgs),
    /// Whether a webhook is believed, and if not, why.
    Verify(sign::VerifyArgs),
    /// What the hub is doing: work owed, runs, rows.
    Status,
    /// What the exit codes mean.
    #[command(name = "exit-codes", hide = true)]
    ExitCodes,
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It went well.
    Ok = 0,
    /// It failed.
    Failed = 1,
    /// Command line or configuration are wrong.
    Usage = 2,
    /// It went well, and there is something to do.
    Changes = 3,
    /// It went well in part.
    Partial = 5,
    /// It was interrupted.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

/// Reads the command line and does what it says.
pub fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    if arguments.get(1..) == Some(&["help".into(), "exit-codes".into()]) {
        return exit_codes(&Out::new(false)).into();
    }
    let cli = match Cli::try_parse_from(&arguments) {
        Ok(cli) => cli,
        // What is asked for, such as help, is no failure.
        Err(refused) if refused.use_stderr() && asks_for_json(&arguments) => {
            let text = refused.render().to_string();
            Out::new(true).fails(text.trim_start_matches("error: ").trim_end());
            return Exit::Usage.into();
        }
        Err(refused) => refused.exit(),
    };
    let out = Out::new(cli.common.json);
    let quiet = matches!(
        cli.command,
        Command::Demo(_) | Command::Plan(_) | Command::Sync(_)
    );
    crate::telemetry::init(cli.common.log.as_deref(), quiet);
    crate::files::raise();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            out.fails(&format!("the runtime does not start: {error}"));
            return Exit::Failed.into();
        }
    };
    let exit = runtime.block_on(run(cli, &out));
    out.ended(exit).into()
}

/// Whether JSON is asked for on a command line that cannot be read otherwise.
fn asks_for_json(arguments: &[OsString]) -> bool {
    let options = arguments.iter().take_while(|argument| *argument != "--");
    options.into_iter().any(|argument| argument == "--json")
}

async fn run(cli: Cli, out: &Out) -> Exit {
    let common = &cli.common;
    match cli.command {
        Command::Demo(args) => demo::run(&args, out).await,
        Command::Serve => serve::run(common, out).await,
        Command::Check(args) => check::run(&args, common, out).await,
        Command::Explain(args) => explain::run(&args, out),
        Command::Sandbox(args) => sandbox::run(&args, out).await,
        Command::Connection(command) => connection::run(&command, common, out).await,
        Command::Fields(args) => fields::run(&args, common, out).await,
        Command::New(command) => new::run(&command, common, out),
        Command::Test(args) => test::run(&args, common, out),
        Command::Try(args) => trial::run(&args, common, out).await,
        Command::Schema(args) => schema::run(&args, common, out).await,
        Command::Map(command) => map::run(&command, common, out).await,
        Command::Plan(args) => plan::run(&args, common, out).await,
        Command::Sync(command) => sync::run(&command, common, out).await,
        Command::Record(command) => record::run(&command, common, out).await,
        Command::Conflict(command) => conflict::run(&command, common, out).await,
        Command::Error(command) => error::run(&command, common, out).await,
        Command::Review(command) => review::run(&command, common, out).await,
        Command::Action(command) => action::run(&command, common, out).await,
        Command::Delivery(command) => delivery::run(&command, common, out).await,
        Command::Endpoint(command) => endpoint::run(&command, common, out).await,
        Command::Event(command) => event::run(&command, common, out).await,
        Command::Asyncapi => event::asyncapi(common, out),
        Command::Trigger(args) => Box::pin(trigger::run(&args, common, out)).await,
        Command::Listen(args) => Box::pin(listen::run(&args, out)).await,
        Command::Sign(args) => sign::sign(&args, common, out),
        Command::Verify(args) => sign::verify(&args, common, out),
        Command::Status => status::run(common, out).await,
        Command::ExitCodes => exit_codes(out),
    }
}

fn exit_codes(out: &Out) -> Exit {
    out.line(EXIT_CODES);
    Exit::Ok
}
