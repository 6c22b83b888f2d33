//! Interconnect.
