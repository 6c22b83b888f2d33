//! Jobs: keys that say what to look at, run by apalis workers
