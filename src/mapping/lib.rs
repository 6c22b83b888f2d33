//! Two-way mappings between a system's object and a record
