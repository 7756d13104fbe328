//! Whether anybody still reads our stdout.
//!
//! A write tells it too, but a command that waits for messages may not write for hours: `rialto consume q |
//! head -n 1` must end when `head` does, not with the next message.

/// Waits until the reader of stdout is gone. Never, where that cannot be known. Cancel-safe.
pub(super) struct HangUp {
    #[cfg(unix)]
    gone: tokio::sync::watch::Receiver<bool>,
}

impl HangUp {
    /// Watches from now on.
    #[cfg(unix)]
    pub(super) fn watch() -> Self {
        let (sender, gone) = tokio::sync::watch::channel(false);
        // A thread, because the runtime's poller would make stdout non-blocking, for others who share it too.
        // It sleeps until the reader goes, or ends with the process.
        std::thread::spawn(move || {
            if reader_is_gone() {
                sender.send_replace(true);
            }
        });
        Self { gone }
    }

    /// Watches from now on.
    #[cfg(not(unix))]
    pub(super) fn watch() -> Self {
        Self {}
    }

    pub(super) async fn wait(&mut self) {
        #[cfg(unix)]
        if self.gone.wait_for(|gone| *gone).await.is_ok() {
            return;
        }
        std::future::pending::<()>().await;
    }
}

/// Blocks until the reader is gone; false if that cannot be found out.
#[cfg(unix)]
fn reader_is_gone() -> bool {
    use rustix::event::{PollFd, PollFlags, poll};

    let stdout = std::io::stdout();
    loop {
        // Errors and hang-ups are told unasked (POSIX `poll`); nothing else is asked for.
        let mut polled = [PollFd::new(&stdout, PollFlags::empty())];
        match poll(&mut polled, None) {
            Ok(_) => return polled[0].revents().intersects(PollFlags::ERR | PollFlags::HUP),
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return false,
        }
    }
}
