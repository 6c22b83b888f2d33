//! [`start()`]: a hub that can serve, once its stores are there.
//!
//! Ledger and queue may come up after the hub, or be away for a moment. It waits for them and says for what, as long as
//! `limits.start_wait_ms` allows; what does not pass by itself ends it at once.

use std::time::Duration;

use tokio::time::Instant;

use crate::catalogue::Catalogue;
use crate::config::Config;
use crate::hub::{Hub, StartError};

/// How long a store is left alone that did not answer, in milliseconds.
const ASK_AGAIN_MS: u64 = 250;

/// Opens a hub and has it begin. `say` is told what is waited for, once for each reason.
pub(crate) async fn start(
    config: &Config,
    catalogue: &Catalogue,
    say: impl Fn(&str),
) -> Result<Hub, StartError> {
    let wait_ms = config.limits.start_wait_ms;
    let until = Instant::now() + Duration::from_millis(wait_ms);
    let mut said = String::new();
    loop {
        let error = match Box::pin(attempt(config, catalogue)).await {
            Ok(hub) => return Ok(hub),
            Err(error) if !error.may_pass() || Instant::now() >= until => return Err(error),
            Err(error) => error.to_string(),
        };
        if error != said {
            say(&format!(
                "waiting, for up to `limits.start_wait_ms` ({wait_ms}): {error}"
            ));
            said = error;
        }
        tokio::time::sleep(Duration::from_millis(ASK_AGAIN_MS)).await;
    }
}

async fn attempt(config: &Config, catalogue: &Catalogue) -> Result<Hub, StartError> {
    let hub = Hub::open(config, catalogue).await?;
    hub.begin().await?;
    Ok(hub)
}
