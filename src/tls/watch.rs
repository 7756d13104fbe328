//! The task that looks at the files.

use std::future;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::Acceptor;

/// Reads certificates anew when their files change and when SIGHUP comes, until stopped. What fails is logged.
pub async fn watch(acceptor: Arc<Acceptor>, stop: CancellationToken) {
    let interval = acceptor.settings().reload_interval;
    let mut hang_up = HangUp::listen();
    loop {
        let pause = async {
            match interval.is_zero() {
                true => future::pending().await,
                false => tokio::time::sleep(interval).await,
            }
        };
        let in_any_case = tokio::select! {
            () = pause => false,
            () = hang_up.wait() => true,
            () = stop.cancelled() => return,
        };
        let reading = acceptor.clone();
        match tokio::task::spawn_blocking(move || reading.reload(in_any_case)).await {
            Ok(Ok(true)) => tracing::info!("certificates read anew; connections that have begun keep theirs"),
            Ok(Ok(false)) => {}
            Ok(Err(error)) => {
                tracing::error!(%error, "new certificates are of no use; the last good ones stay")
            }
            Err(error) => tracing::error!(%error, "reading certificates has failed"),
        }
    }
}

/// SIGHUP, where there is such a thing.
struct HangUp {
    #[cfg(unix)]
    signal: Option<tokio::signal::unix::Signal>,
}

impl HangUp {
    fn listen() -> Self {
        HangUp {
            #[cfg(unix)]
            signal: tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup())
                .inspect_err(|error| tracing::warn!(%error, "SIGHUP will not have certificates read anew"))
                .ok(),
        }
    }

    async fn wait(&mut self) {
        #[cfg(unix)]
        if let Some(signal) = &mut self.signal
            && signal.recv().await.is_some()
        {
            return;
        }
        future::pending().await
    }
}
