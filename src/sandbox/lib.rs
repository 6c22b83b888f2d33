//! Emulated systems and partners, with faults
