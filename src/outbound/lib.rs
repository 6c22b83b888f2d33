//! The one bounded HTTP client.
//!
//! [`Client`] sends one [`Request`] and returns one [`Response`], whatever its status: a refusal by the other side is an
//! outcome, not an error. [`Sender`] does the same for very many small posts, and [`Channel`] for calls whose request and
//! answer go on.
//! [`Guard`] decides which hosts and addresses may be called at all, and whether through a [`Proxy`].
//!
//! Promised: no redirect is followed, no proxy of the environment is used, no private address is reached unless it was
//! allowed by name, every body has a limit, and one deadline covers the whole call from the first packet to the last byte.
//! [`Error::sent`] tells whether the other side may have seen the request, which is what decides whether a write may be
//! repeated.
//! Not here: retries, authentication, rates. Those belong to whoever calls.

mod channel;
mod client;
mod connect;
mod guard;
mod lookup;
mod proxy;
mod sender;
mod tls;

pub use channel::Channel;
pub use client::{Client, Error, Exchange, Limits, NotBuilt, Request, Response};
pub use connect::NoTls;
pub use guard::{BadRule, Guard, NotAllowed, Rule};
pub use proxy::{BadProxy, Proxy};
pub use reqwest::{Method, header};
pub use sender::{BadTarget, REPLY_HEAD_BYTES_MAX, Reply, Sender, SenderLimits, Target};
pub use tls::{BadTls, Identity, Tls};
pub use url::Url;
