//! The engine against a system that answers as a test lets it, and a ledger that can be held between two calls.

mod held;
mod meeting;
mod shelf;
mod stage;
