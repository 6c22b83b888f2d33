//! Sorting an answer that is not a success into a class: the first rule of the manifest that fits, then the status.

use jiff::Timestamp;
use outbound::header::HeaderMap;
use serde_json::Value as Json;

use crate::clock::later;
use crate::failure::{Class, Failure};
use crate::manifest::{ClassName, Manifest, Rule, Wait};
use crate::names::scalar;
use program::Program;

/// What a rate limit without a time means.
const RATE_WAIT_MS: u64 = 10_000;
/// What a spent quota without a time means.
const QUOTA_WAIT_MS: u64 = 3_600_000;
/// Longest time a system may send us away for.
const WAIT_MAX_MS: u64 = 86_400_000;

/// Why an answer is no success, and after how long the same request may be sent again.
pub(crate) fn classify(
    manifest: &Manifest,
    status: u16,
    headers: &HeaderMap,
    body: &Json,
    now: Timestamp,
) -> (Failure, Option<u64>) {
    let rule = manifest
        .rules
        .iter()
        .find(|rule| fits(rule, status, headers, body));
    let (name, wait) = match rule {
        Some(rule) => (rule.class, waited(&rule.wait, headers)),
        None => (by_status(status), retry_after(headers, "retry-after")),
    };
    let until = |default| later(now, wait.unwrap_or(default));
    let first = |program: Option<&Program>| program.and_then(|p| scalar(&p.one(body, &|_| None).ok()?));
    let class = match name {
        ClassName::AuthExpired => Class::AuthExpired,
        ClassName::AuthRevoked => Class::AuthRevoked,
        ClassName::Permission => Class::Permission,
        ClassName::RateLimited => Class::RateLimited {
            until: until(RATE_WAIT_MS),
        },
        ClassName::QuotaExhausted => Class::QuotaExhausted {
            until: until(QUOTA_WAIT_MS),
        },
        ClassName::Transient => Class::Transient,
        ClassName::TooLarge => Class::TooLarge,
        ClassName::CursorExpired => Class::CursorExpired,
        ClassName::SchemaDrift => Class::SchemaDrift {
            field: first(rule.and_then(|r| r.field.as_ref())),
        },
        ClassName::NotFound => Class::NotFound,
        ClassName::Validation => Class::Validation,
        ClassName::Duplicate => Class::Duplicate {
            existing_id: first(rule.and_then(|r| r.existing.as_ref())),
        },
        ClassName::Conflict => Class::Conflict,
        ClassName::Protocol => Class::Protocol,
    };
    let message = first(rule.and_then(|r| r.message.as_ref())).or_else(|| message_of(body));
    let mut failure = Failure::new(class, message.unwrap_or_else(|| format!("status {status}")));
    failure.status = Some(status);
    (failure, wait)
}

fn fits(rule: &Rule, status: u16, headers: &HeaderMap, body: &Json) -> bool {
    let status_fits = rule.statuses.is_empty() || rule.statuses.contains(&status);
    let holds = |test: &Program| {
        // A test that fails on this body does not hold: the body is of another kind.
        let found = test.one(body, &|_| None);
        matches!(found, Ok(value) if !value.is_null() && value != Json::Bool(false))
    };
    let has = |(name, value): &(String, String)| {
        let given = headers.get(name).and_then(|given| given.to_str().ok());
        given.is_some_and(|given| given.trim().eq_ignore_ascii_case(value))
    };
    status_fits && rule.headers.iter().all(has) && rule.test.as_ref().is_none_or(holds)
}

fn by_status(status: u16) -> ClassName {
    match status {
        401 => ClassName::AuthRevoked,
        403 => ClassName::Permission,
        404 | 410 => ClassName::NotFound,
        409 => ClassName::Duplicate,
        412 => ClassName::Conflict,
        413 | 414 => ClassName::TooLarge,
        400 | 422 => ClassName::Validation,
        429 => ClassName::RateLimited,
        408 | 423 | 500.. => ClassName::Transient,
        _ => ClassName::Protocol,
    }
}

fn waited(wait: &Wait, headers: &HeaderMap) -> Option<u64> {
    wait.header
        .as_deref()
        .and_then(|name| retry_after(headers, name))
        .or(wait.ms)
}

fn retry_after(headers: &HeaderMap, name: &str) -> Option<u64> {
    let text = headers.get(name)?.to_str().ok()?.trim();
    let seconds: u64 = text.split('.').next()?.parse().ok()?;
    Some(seconds.saturating_mul(1_000).min(WAIT_MAX_MS))
}

/// What most systems say in one of these places.
fn message_of(body: &Json) -> Option<String> {
    let object = match body {
        Json::Array(items) => items.first()?,
        other => other,
    };
    ["message", "error_description", "error"]
        .iter()
        .find_map(|key| object.get(key).and_then(Json::as_str))
        .map(str::to_owned)
}
