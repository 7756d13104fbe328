//! Which broker a command talks to, and the way there.

use std::path::{Path, PathBuf};
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
    /// Where the broker is: rialto://user:password@host:port/vhost, or rialtos:// for TLS
    #[arg(
        long,
        env = "RIALTO_URL",
        value_name = "URL",
        default_value = "rialto://guest:guest@127.0.0.1:5672/",
        hide_env_values = true,
        help_heading = "Broker"
    )]
    url: String,
    /// Trust brokers whose certificate comes from these authorities (PEM), in place of those this system trusts
    #[arg(long, env = "RIALTO_TLS_CA", value_name = "FILE", help_heading = "Broker")]
    tls_ca: Option<PathBuf>,
    /// Show this certificate (PEM) to a broker that asks for one, and log in by it if the URL names no user
    #[arg(long, env = "RIALTO_TLS_CERT", value_name = "FILE", requires = "tls_key", help_heading = "Broker")]
    tls_cert: Option<PathBuf>,
    /// The key (PEM) of that certificate
    #[arg(long, env = "RIALTO_TLS_KEY", value_name = "FILE", requires = "tls_cert", help_heading = "Broker")]
    tls_key: Option<PathBuf>,
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
        let address = self.address()?;
        let is_tls = address.is_tls;
        let mut builder = ClientBuilder::for_address(address)
            .name(concat!("rialto-cli ", env!("CARGO_PKG_VERSION")))
            .close_timeout(CLOSE_TIMEOUT)
            .reconnect(Reconnect::default().attempts(RECONNECT_ATTEMPTS));
        if !is_tls {
            // The files may be named for other commands, by variables.
            return Ok(builder);
        }
        if let Some(file) = &self.tls_ca {
            builder = builder.trust(&read(file)?).map_err(|error| Failure::from(error).at(file.display()))?;
        }
        if let (Some(cert), Some(key)) = (&self.tls_cert, &self.tls_key) {
            let named = builder.identity(&read(cert)?, &read(key)?);
            builder = named.map_err(|error| Failure::from(error).at(cert.display()))?;
            if !self.names_user() {
                builder = builder.login_by_certificate();
            }
        }
        Ok(builder)
    }

    fn names_user(&self) -> bool {
        let authority = self.url.split_once("://").map_or("", |(_, rest)| rest);
        authority.split('/').next().is_some_and(|authority| authority.contains('@'))
    }
}

fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(file)
        .map_err(|error| Failure::usage(format!("cannot read the file: {error}")).at(file.display()))
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
        Error::InvalidAddress { .. } | Error::InvalidTls { .. } | Error::NameTooLong { .. } => {
            ExitCode::Usage
        }
        Error::Refused { .. } | Error::ChannelClosed { .. } | Error::ConsumerCancelled { .. } => {
            ExitCode::Refused
        }
        Error::NotConfirmed(_) | Error::MessageTooLarge { .. } | Error::Unsendable { .. } => {
            ExitCode::NotAccepted
        }
        Error::Connect { .. }
        | Error::Tls { .. }
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
        Error::Tls { .. } => Some(
            "name the authority of the broker's certificate with --tls-ca; docs/tls.md shows how to look at both sides",
        ),
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
