//! The HTTP surface
