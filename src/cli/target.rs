//! Which broker a command talks to, and the way there.

use std::time::Duration;

use clap::Args;
use rialto_client::{Address, Client, ClientBuilder, Error, Event, Events, Reconnect, ReplyCode};

use super::output::note;
use super::{ExitCode, Failure};

/// A command in a terminal should not wait for hours for a broker that is gone: after some seconds it gives up.
const RECONNECT_ATTEMPTS: usize = 6;

/// For what is still on its way when a command ends; all that matters has been waited for before.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(3);

/// The address of a broker, from `--url` or `RIALTO_URL`.
#[derive(Clone, Debug, Args)]
pub struct Target {
    /// Where the broker is: rialto://user:password@host:port/vhost
    #[arg(
        long,
        env = "RIALTO_URL",
        value_name = "URL",
        default_value = "rialto://guest:guest@127.0.0.1:5672/",
        hide_env_values = true,
        help_heading = "Broker"
    )]
    url: String,
}

impl Target {
    /// The address, checked.
    ///
    /// # Errors
    /// [`ExitCode::Usage`], without the text itself, which may have a password in it.
    pub fn address(&self) -> Result<Address, Failure> {
        self.url.parse().map_err(|error: Error| {
            Failure::usage(error)
                .at("--url or RIALTO_URL")
                .advise("for example rialto://guest:guest@127.0.0.1:5672/")
        })
    }

    /// A builder of clients for this address, with the name and the patience of a command.
    pub fn client(&self) -> Result<ClientBuilder, Failure> {
        Ok(ClientBuilder::for_address(self.address()?)
            .name(concat!("rialto-cli ", env!("CARGO_PKG_VERSION")))
            .close_timeout(CLOSE_TIMEOUT)
            .reconnect(Reconnect::default().attempts(RECONNECT_ATTEMPTS)))
    }
}

/// Connects, does something with the client, and closes the connection in good order: what was published has
/// its outcome and what was acknowledged is told before this returns.
pub(super) fn with_client(
    target: &Target,
    doing: impl AsyncFnOnce(&Client) -> Result<ExitCode, Failure>,
) -> Result<ExitCode, Failure> {
    let endpoint = target.address()?.endpoint();
    let builder = target.client()?;
    // One thread for the connection, beside this one, which runs the command and may block on a pipe.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let done = runtime.block_on(async {
        let client = builder.connect().await?;
        tokio::spawn(tell(client.events()));
        let done = doing(&client).await;
        let closed = client.close().await;
        // The first thing that went wrong is the one to be told.
        let code = done?;
        // Whoever pressed Ctrl-C knows that not all was done.
        if code != ExitCode::Interrupted {
            closed?;
        }
        Ok(code)
    });
    done.map_err(|failure: Failure| match failure.place {
        Some(_) => failure,
        None => failure.at(endpoint),
    })
}

/// Tells on stderr what happens to the connection while the command runs.
async fn tell(mut events: Events) {
    while let Some(event) = events.next().await {
        match event {
            Event::Disconnected { error } => note(format_args!("note: {error}; connecting again")),
            Event::Reconnected { republished: 0 } => note(format_args!("note: connected again")),
            Event::Reconnected { republished } => {
                note(format_args!(
                    "note: connected again; {republished} messages published again, maybe twice"
                ));
            }
            Event::RestoreFailed { what, error } => {
                note(format_args!("note: cannot restore {what}: {error}"))
            }
            Event::Blocked { reason } => note(format_args!(
                "note: the broker holds publishers back: {reason}; \
                     `rialto list queues` shows how many bytes they hold"
            )),
            Event::Unblocked => note(format_args!("note: the broker lets publishers go on")),
            _ => {}
        }
    }
}

/// What the client reports, with the exit code and the advice that fit. Where it happened is added later.
impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let failure = Failure::new(exit_code(&error), &error);
        match advice(&error) {
            Some(advice) => failure.advise(advice),
            None => failure,
        }
    }
}

fn exit_code(error: &Error) -> ExitCode {
    match error {
        Error::InvalidAddress { .. } | Error::NameTooLong { .. } => ExitCode::Usage,
        Error::Refused { .. } | Error::ChannelClosed { .. } | Error::ConsumerCancelled { .. } => {
            ExitCode::Refused
        }
        Error::NotConfirmed(_) | Error::MessageTooLarge { .. } => ExitCode::NotAccepted,
        Error::Connect { .. }
        | Error::LoginRefused { .. }
        | Error::Incompatible { .. }
        | Error::ClosedByBroker { .. }
        | Error::ConnectionLost { .. }
        | Error::HeartbeatMissed { .. }
        | Error::GaveUp { .. }
        | Error::Timeout { .. } => ExitCode::Connection,
        Error::Closed { why: Some(why) } => exit_code(why),
        _ => ExitCode::Failure,
    }
}

fn advice(error: &Error) -> Option<&'static str> {
    match error {
        Error::Connect { .. } | Error::GaveUp { .. } => {
            Some("start a broker with `rialto serve`, or name another with --url or RIALTO_URL")
        }
        Error::LoginRefused { .. } => Some("check user, password and vhost in --url or RIALTO_URL"),
        Error::Refused { .. } => match error.reply_code()? {
            ReplyCode::NotFound => {
                Some("check the name; `rialto list queues` and `rialto list exchanges` show what is there")
            }
            // One code for many reasons: only this one is mended so.
            ReplyCode::PreconditionFailed if error.to_string().contains("inequivalent arg") => {
                Some("repeat what was declared before, or delete it first")
            }
            _ => None,
        },
        Error::Closed { why: Some(why) } => advice(why),
        _ => None,
    }
}
