//! YAML with positions, and findings a person can act on
