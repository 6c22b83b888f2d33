//! `interconnect serve`: the hub, until it is told to stop.

use super::{Common, Exit, Out};
use crate::hub;
use crate::start::start;

pub(crate) async fn run(common: &Common, out: &Out) -> Exit {
    let (config, catalogue) = match hub::load(&common.config, out) {
        Ok(read) => read,
        Err(exit) => return exit,
    };
    let hub = match start(&config, &catalogue, |waits| out.note(waits)).await {
        Ok(hub) => hub,
        Err(error) => {
            out.fails(&error.to_string());
            return Exit::Usage;
        }
    };
    let listener = match tokio::net::TcpListener::bind(hub.listen).await {
        Ok(listener) => listener,
        Err(error) => {
            out.fails(&format!(
                "{} cannot be listened on: {error}; change `listen`",
                hub.listen
            ));
            return Exit::Usage;
        }
    };
    if let Some(fewer) = crate::web::connections_fewer(&hub.settings) {
        out.note(&fewer);
    }
    if let Ok(address) = listener.local_addr() {
        out.note(&format!("listening on http://{address}"));
    }
    match hub.run(listener, stop_signal()).await {
        Ok(()) => Exit::Ok,
        Err(error) => out.fail(&error),
    }
}

/// Resolves when the process is told to stop: Ctrl-C, or SIGTERM.
pub(crate) async fn stop_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let interrupted = async {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    let terminated = async {
        match signal(SignalKind::terminate()) {
            Ok(mut signal) => {
                signal.recv().await;
            }
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        () = interrupted => {}
        () = terminated => {}
    }
}
