//! What a partner was told about a record, when, and by which terms.
//!
//! The *terms* of an endpoint are whose it is, its sharing policy and its shape. Each attempt, and each event that is
//! pulled, is kept with the record that it is about and the terms that held; terms are kept once for good. Projecting is
//! pure, so the event as it is kept, the terms and the moment give what was told, also when the policy is another one today.
//! Of events that are kept no more it is *remembered* that they were told, how often, and by which terms.

use bytes::Bytes;
use event::Shape;
use jiff::Timestamp;
use ledger::{About, Ledger, LedgerError, Terms, Way};
use model::{EventId, EventType};
use policy::{Disclosure, SharingPolicy};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use sha2::{Digest, Sha256};

use crate::endpoint::RECORD_CHARS_MAX;

/// Bytes of the digest that terms are known by.
const DIGEST_BYTES: usize = 8;

#[derive(Serialize, Deserialize)]
struct StoredTerms {
    shape: String,
    policy: Json,
}

/// The terms of an endpoint of a partner.
pub(crate) fn terms(partner: &str, policy: &SharingPolicy, shape: &Shape) -> Terms {
    let stored = StoredTerms {
        shape: shape.word().to_owned(),
        policy: policy.stored(),
    };
    let text = serde_json::to_string(&stored).expect("texts are JSON");
    let mut hash = Sha256::new();
    hash.update(partner);
    hash.update([0]);
    hash.update(&text);
    let digest = hash.finalize();
    let digest = digest.iter().take(DIGEST_BYTES).map(|byte| format!("{byte:02x}"));
    Terms {
        digest: digest.collect(),
        partner: partner.to_owned(),
        text,
    }
}

/// What is told of an event by these terms, if it is about a record.
pub(crate) fn about(body: &[u8], terms: &Terms) -> Option<About> {
    #[derive(Deserialize)]
    struct Event {
        data: Which,
    }
    #[derive(Deserialize)]
    struct Which {
        id: Json,
    }
    let event: Event = serde_json::from_slice(body).ok()?;
    let record = match event.data.id {
        Json::String(id) => id,
        Json::Number(id) => id.to_string(),
        _ => return None,
    };
    Some(About {
        record: named(&record),
        terms: terms.digest.clone(),
    })
}

/// What a partner was told once.
#[derive(Clone, Debug)]
pub struct Told {
    /// When.
    pub at: Timestamp,
    /// Whether it was sent, and what was answered, or pulled.
    pub way: Way,
    /// Who was told.
    pub partner: String,
    /// Through which endpoint.
    pub endpoint: String,
    /// The event.
    pub event: EventId,
    /// Its type.
    pub event_type: String,
    /// The policy that held.
    pub policy: SharingPolicy,
    /// The word of the shape; what a program made of what was shared shows at most that.
    pub shape: String,
    /// What was shared and what was held back.
    pub fields: Disclosure,
}

/// What a partner was told by events that are kept no more, summed.
#[derive(Clone, Debug)]
pub struct Remembered {
    /// When it was told first.
    pub first_at: Timestamp,
    /// When it was told last.
    pub last_at: Timestamp,
    /// How often: each attempt that left, and each reading.
    pub times: u64,
    /// Who was told.
    pub partner: String,
    /// Through which endpoint.
    pub endpoint: String,
    /// The type of the events.
    pub event_type: String,
    /// The policy that held: no more than it allows was told.
    pub policy: SharingPolicy,
    /// The word of the shape.
    pub shape: String,
}

/// What was told about a record by events that are kept no more, the last first; to one partner, when one is named. At most
/// `limit`.
pub async fn remembered(
    ledger: &dyn Ledger,
    record: &str,
    partner: Option<&str>,
    limit: usize,
) -> Result<Vec<Remembered>, LedgerError> {
    let rows = ledger.remembered(&named(record), partner, limit).await?;
    let rows = rows.into_iter().map(|row| {
        let (policy, shape) = read(&row.terms)?;
        Ok(Remembered {
            first_at: row.first_at,
            last_at: row.last_at,
            times: row.times,
            partner: row.terms.partner,
            endpoint: row.endpoint,
            event_type: row.event_type,
            policy,
            shape,
        })
    });
    rows.collect()
}

/// What was told about a record, newest first; to one partner, when one is named. As far as events are kept, and not what
/// was sent before it was noted by which terms. At most `limit`.
pub async fn told(
    ledger: &dyn Ledger,
    record: &str,
    partner: Option<&str>,
    limit: usize,
) -> Result<Vec<Told>, LedgerError> {
    let rows = ledger.disclosed(&named(record), partner, limit).await?;
    rows.into_iter()
        .map(|row| {
            let (policy, shape) = read(&row.terms)?;
            let fields = disclosed(&policy, &row.event_type, &row.body, row.at);
            Ok(Told {
                at: row.at,
                way: row.way,
                partner: row.terms.partner,
                endpoint: row.endpoint,
                event: row.event,
                event_type: row.event_type,
                fields: if shape == Shape::Thin.word() {
                    thin(fields)
                } else {
                    fields
                },
                policy,
                shape,
            })
        })
        .collect()
}

/// A record's name as it is kept.
fn named(record: &str) -> String {
    record.chars().take(RECORD_CHARS_MAX).collect()
}

/// Policy and shape of terms that were kept.
fn read(terms: &Terms) -> Result<(SharingPolicy, String), LedgerError> {
    let damaged =
        |what: &dyn std::fmt::Display| LedgerError::Store(format!("terms {}: {what}", terms.digest));
    let stored: StoredTerms = serde_json::from_str(&terms.text).map_err(|error| damaged(&error))?;
    let policy = SharingPolicy::from_stored(&stored.policy).map_err(|error| damaged(&error))?;
    Ok((policy, stored.shape))
}

fn disclosed(policy: &SharingPolicy, event_type: &str, body: &Bytes, at: Timestamp) -> Disclosure {
    let read = EventType::parse(event_type)
        .ok()
        .zip(serde_json::from_slice(body).ok());
    let told = read.and_then(|(event_type, body)| policy::disclose(policy, &event_type, &body, at).ok());
    told.unwrap_or_default()
}

/// What the shape leaves that tells no more than which record it is about.
fn thin(mut fields: Disclosure) -> Disclosure {
    let rest: Vec<String> = fields
        .shared
        .keys()
        .filter(|path| *path != "data.id")
        .cloned()
        .collect();
    for path in rest {
        fields.shared.remove(&path);
        fields.held.insert(path);
    }
    fields
}
