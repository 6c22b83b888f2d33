//! `interconnect sign` and `interconnect verify`: what a webhook's headers should be, and why they are not believed.

use std::io::Read;
use std::path::PathBuf;

use bytes::Bytes;
use clap::Args;
use jiff::Timestamp;
use outbound::header::{HeaderMap, HeaderName, HeaderValue};
use relay::{Secret, standard};
use serde_json::json;

use super::{Common, Exit, Out};
use crate::config::{Config, SecretRef, span_ms};
use crate::hub;
use crate::world::RealWorld;

/// Bytes of a body that are read.
const BODY_BYTES_MAX: u64 = 16 << 20;

/// Whose secrets.
#[derive(Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Whose {
    /// Those of a partner: what it signs with when it posts to us.
    #[arg(long, value_name = "NAME")]
    partner: Option<String>,
    /// Those of an endpoint: what we sign with when we send to it.
    #[arg(long, value_name = "NAME")]
    endpoint: Option<String>,
    /// The one in this environment variable; no configuration is read.
    #[arg(long, value_name = "VARIABLE")]
    secret_env: Option<String>,
}

/// What to sign.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  interconnect sign --partner northwind event.json\n  \
    echo '{}' | interconnect sign --secret-env SECRET --id msg_1"
)]
pub(crate) struct SignArgs {
    /// The file with the body, byte for byte; standard input when it is left out.
    body: Option<PathBuf>,
    #[command(flatten)]
    whose: Whose,
    /// The message's id; a new one when it is left out. A hub takes what comes under an id that it knows for the same message.
    #[arg(long)]
    id: Option<String>,
    /// When it is signed, in seconds since 1970; now when it is left out.
    #[arg(long, value_name = "SECONDS")]
    at: Option<i64>,
}

/// What to verify.
#[derive(Args)]
#[command(
    after_help = "Example:\n  interconnect verify --endpoint northwind-crm body.json \\\n    \
    -H 'webhook-id: evt_01h4…' -H 'webhook-timestamp: 1764165600' -H 'webhook-signature: v1,…'"
)]
pub(crate) struct VerifyArgs {
    /// The file with the body, byte for byte; standard input when it is left out.
    body: Option<PathBuf>,
    #[command(flatten)]
    whose: Whose,
    /// A header as it came, `name: value`; others than the three of Standard Webhooks may be there.
    #[arg(long = "header", short = 'H', value_name = "HEADER", required = true)]
    headers: Vec<String>,
    /// How old, or how far in the future, it may be: 5m, 30d.
    #[arg(long, value_name = "SPAN", default_value = "5m")]
    tolerance: String,
}

/// The id of a message that nobody has sent yet.
fn new_id() -> String {
    let uuid = model::uuid_from(Timestamp::now(), RealWorld::id_bytes());
    format!("msg_{}", uuid.simple())
}

pub(crate) fn sign(args: &SignArgs, common: &Common, out: &Out) -> Exit {
    let prepared = secrets(&args.whose, common, out).and_then(|secrets| {
        let at = match args.at {
            None => Ok(Timestamp::now()),
            Some(seconds) => Timestamp::from_second(seconds)
                .map_err(|_| usage(out, &format!("{seconds} is no moment in seconds since 1970"))),
        };
        let id = args.id.clone().unwrap_or_else(new_id);
        if id.is_empty()
            || id.len() > standard::ID_CHARS_MAX
            || !id.bytes().all(|c| c.is_ascii_graphic() && c != b'.')
        {
            let max = standard::ID_CHARS_MAX;
            return Err(usage(
                out,
                &format!("`--id` is up to {max} visible ASCII characters without a dot"),
            ));
        }
        Ok((secrets, id, at?, body(args.body.as_ref(), out)?))
    });
    let (secrets, id, at, body) = match prepared {
        Ok(prepared) => prepared,
        Err(exit) => return exit,
    };
    let headers = standard::sign(&secrets, &id, at, &body);
    let text = |name: &HeaderName| {
        headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    };
    let three = [standard::ID, standard::TIMESTAMP, standard::SIGNATURE];
    let json = three
        .iter()
        .map(|name| (name.as_str().to_owned(), json!(text(name))))
        .collect();
    out.data(serde_json::Value::Object(json), || {
        let lines = three.iter().map(|name| format!("{name}: {}", text(name)));
        lines.collect::<Vec<_>>().join("\n")
    });
    Exit::Ok
}

pub(crate) fn verify(args: &VerifyArgs, common: &Common, out: &Out) -> Exit {
    let prepared = secrets(&args.whose, common, out).and_then(|secrets| {
        let tolerance = span_ms(&args.tolerance).ok_or_else(|| {
            usage(
                out,
                &format!("`{}` is not a span of time; write for example 5m", args.tolerance),
            )
        })?;
        Ok((
            secrets,
            tolerance,
            headers(&args.headers, out)?,
            body(args.body.as_ref(), out)?,
        ))
    });
    let (secrets, tolerance_ms, headers, body) = match prepared {
        Ok(prepared) => prepared,
        Err(exit) => return exit,
    };
    match standard::verify(&secrets, &headers, body, Timestamp::now(), tolerance_ms) {
        Ok(message) => {
            let json = json!({"verified": true, "id": message.id, "at": message.at.to_string()});
            out.data(json, || {
                format!("the signature fits: {}, signed at {}", message.id, message.at)
            });
            Exit::Ok
        }
        Err(unverified) => {
            out.data(
                json!({"verified": false, "code": unverified.code(), "reason": unverified.to_string()}),
                String::new,
            );
            out.fail(&format!("{}: {unverified}", unverified.code()))
        }
    }
}

fn usage(out: &Out, error: &str) -> Exit {
    out.fails(error);
    Exit::Usage
}

fn secrets(whose: &Whose, common: &Common, out: &Out) -> Result<Vec<Secret>, Exit> {
    let references = match (&whose.partner, &whose.endpoint, &whose.secret_env) {
        (_, _, Some(variable)) => vec![SecretRef::Env(variable.clone())],
        (partner, endpoint, None) => {
            let (config, _) = hub::load(&common.config, out)?;
            let found = match (partner, endpoint) {
                (Some(partner), _) => config
                    .partners
                    .get(partner)
                    .map(|partner| partner.secrets.clone()),
                (None, endpoint) => endpoint.as_deref().and_then(|name| of_endpoint(&config, name)),
            };
            found.filter(|found| !found.is_empty()).ok_or_else(|| {
                let name = partner
                    .as_ref()
                    .or(endpoint.as_ref())
                    .cloned()
                    .unwrap_or_default();
                usage(
                    out,
                    &format!("there is no `{name}` with a secret in the configuration"),
                )
            })?
        }
    };
    let read = references.iter().map(|reference| {
        let text = reference
            .look_up()
            .map_err(|missing| usage(out, &missing.to_string()))?;
        text.parse::<Secret>()
            .map_err(|bad| usage(out, &format!("the secret {reference}: {bad}")))
    });
    read.collect()
}

fn of_endpoint(config: &Config, name: &str) -> Option<Vec<SecretRef>> {
    let mut endpoints = config.partners.values().flat_map(|partner| &partner.endpoints);
    endpoints
        .find(|endpoint| endpoint.name == name)
        .map(|endpoint| endpoint.secrets.clone())
}

fn headers(lines: &[String], out: &Out) -> Result<HeaderMap, Exit> {
    let mut headers = HeaderMap::new();
    for line in lines {
        let read = line.split_once(':').and_then(|(name, value)| {
            let name = HeaderName::from_bytes(name.trim().as_bytes()).ok()?;
            Some((name, HeaderValue::from_str(value.trim()).ok()?))
        });
        let Some((name, value)) = read else {
            return Err(usage(
                out,
                "a header is written `name: value`; one of them is not",
            ));
        };
        headers.append(name, value);
    }
    Ok(headers)
}

/// The bytes as they are: a line feed that an editor put at the end is part of them.
fn body(file: Option<&PathBuf>, out: &Out) -> Result<Bytes, Exit> {
    let mut bytes = Vec::new();
    let read = match file {
        Some(path) => {
            std::fs::File::open(path).and_then(|file| file.take(BODY_BYTES_MAX + 1).read_to_end(&mut bytes))
        }
        None => std::io::stdin()
            .lock()
            .take(BODY_BYTES_MAX + 1)
            .read_to_end(&mut bytes),
    };
    let at = file.map_or("standard input".to_owned(), |path| path.display().to_string());
    match read {
        Err(error) => Err(usage(out, &format!("{at} cannot be read: {error}"))),
        Ok(_) if bytes.len() as u64 > BODY_BYTES_MAX => {
            Err(usage(out, &format!("{at} has more than {BODY_BYTES_MAX} bytes")))
        }
        Ok(_) => Ok(bytes.into()),
    }
}
