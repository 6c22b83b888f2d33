//! The one bounded HTTP client
