//! Webhooks from partner to partner: intake, fan-out, delivery
