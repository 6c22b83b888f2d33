//! Interconnect, put together: reads the configuration, composes the parts, runs them, speaks the command line.
//!
//! [`config`] is `interconnect.yaml`, `catalogue` the connectors and mappings at hand, `hub` all parts of a running hub,
//! `look` what is done for each job, `seal` how refresh tokens are kept, `guard` who may be called, `files` how many connections there may be, `cli`
//! what can be asked for. Everything else is a crate of its own; ARCHITECTURE.md is the map.

mod catalogue;
pub mod cli;
pub mod config;
mod demo;
mod files;
mod guard;
mod hints;
pub mod hub;
mod inlets;
mod listen;
mod look;
mod metrics;
mod partners;
mod receiver;
mod seal;
mod start;
mod telemetry;
mod web;
mod world;
