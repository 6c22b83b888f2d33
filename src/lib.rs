//! Interconnect, put together: reads the configuration, composes the parts, runs them.

pub mod config;
