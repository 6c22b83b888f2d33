//! Pure rules: what may flow to whom
