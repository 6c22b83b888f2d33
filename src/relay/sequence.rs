//! The header by which a receiver knows that it has everything.
//!
//! All that an endpoint is sent is numbered, from 1 and without gaps: the ledger gives the number in the transaction that
//! takes the event in, so it is the same for each try, for a replay and in the feed, and no crash leaves a hole. What the
//! endpoint's subscriptions leave out gets none. A number that does not come was given up, or is still on its way; it can
//! be replayed, or read in the feed.
//! It counts an endpoint and not a subscription, because an event that several of an endpoint's subscriptions want is sent
//! once. The header is not part of what is signed.

use outbound::header::HeaderName;

/// The header of a delivery's place in all that its endpoint is sent.
pub const SEQUENCE: HeaderName = HeaderName::from_static("webhook-sequence");
