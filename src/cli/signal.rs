//! Ctrl-C and SIGTERM, for commands that have something to finish first.

use tokio::sync::watch;

use super::ExitCode;

/// Becomes true with the first signal. The second ends the process where it stands, for a command that is
/// stuck: in a pipe that nobody reads, or waiting for a broker that does not answer.
#[derive(Clone, Debug)]
pub(super) struct Interrupt {
    came: watch::Receiver<bool>,
}

impl Interrupt {
    /// Listens from now on. Must be called inside the runtime.
    pub(super) fn listen() -> Self {
        let (sender, came) = watch::channel(false);
        // Ended with the runtime. A task of its own, because the command's own may be blocked in a write.
        tokio::spawn(async move {
            one_signal().await;
            sender.send_replace(true);
            one_signal().await;
            std::process::exit(ExitCode::Interrupted as i32);
        });
        Self { came }
    }

    /// Waits for the first signal; at once if it came. Cancel-safe.
    pub(super) async fn wait(&mut self) {
        if self.came.wait_for(|came| *came).await.is_err() {
            // The task is gone only together with the runtime.
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(unix)]
async fn one_signal() {
    use tokio::signal::unix::{SignalKind, signal};

    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => {}
        },
        Err(_) => drop(tokio::signal::ctrl_c().await),
    }
}

#[cfg(not(unix))]
async fn one_signal() {
    let _ = tokio::signal::ctrl_c().await;
}
