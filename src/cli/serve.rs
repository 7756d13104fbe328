//! `rialto serve`: settings, logs, then the broker.

use std::path::PathBuf;

use clap::Args;
use tokio_util::sync::CancellationToken;

use super::signal::Interrupt;
use super::{ExitCode, Failure};
use crate::config::{self, ListenAddress, LogLevel, Overrides, Settings, Sources};
use crate::log::{Log, LogError};
use crate::server::{self, Addresses, ServeError};

const EXAMPLES: &str = "\
Examples:
  rialto serve
  rialto serve --listen 0.0.0.0:5672 --listen '[::]:5672'
  rialto serve --config /etc/rialto/broker.toml --log-level debug
  RIALTO_MEMORY__BUDGET='4 GiB' rialto serve --in-memory

Settings come from broker.toml, then from variables like RIALTO_SERVER__LISTEN, then from these
flags; the later wins. Ctrl-C or SIGTERM ends the broker in good order.";

/// Run a broker
#[derive(Debug, Default, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Options {
    /// Settings file [default: broker.toml, if the working directory has one]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Accept connections here, in place of what the settings say; may be repeated
    #[arg(long, value_name = "HOST:PORT")]
    listen: Vec<ListenAddress>,
    /// Keep what must survive a restart here
    #[arg(long, value_name = "DIR", conflicts_with = "in_memory")]
    data_dir: Option<PathBuf>,
    /// Keep everything in memory
    #[arg(long)]
    in_memory: bool,
    /// Log events of this seriousness and above
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<LogLevel>,
}

pub(super) fn run(options: Options) -> Result<ExitCode, Failure> {
    let overrides = Overrides {
        listen: options.listen,
        data_dir: options.data_dir,
        in_memory: options.in_memory,
        log_level: options.log_level,
    };
    let environment = std::env::vars_os().collect();
    let loaded = config::load(Sources { file: options.config, environment, overrides })?;
    Log::start(&loaded.settings.log, &loaded.settings.tracing)?;
    match &loaded.file {
        Some(file) => tracing::info!(file = %file.display(), "settings read"),
        None => tracing::info!("no broker.toml here, and none named: the defaults hold"),
    }
    use_small_pages();
    let runtime = server::runtime()?;
    let served = runtime.block_on(run_broker(&loaded.settings));
    drop(runtime);
    Log::finish();
    served
}

impl From<LogError> for Failure {
    fn from(error: LogError) -> Self {
        let place = match &error {
            LogError::AuditFile { .. } => "log.audit_file",
            LogError::Collector { .. } => "tracing.otlp_endpoint",
        };
        Failure::new(ExitCode::Config, error).at(place).advise("name another, or none")
    }
}

/// Has the kernel give memory in pages of 4 KiB. The allocator asks for 2 MiB at a time, of which a broker that has paged
/// its messages out uses a part and holds all: half of its memory then.
fn use_small_pages() {
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        tracing::debug!(%error, "the kernel goes on giving memory in huge pages where it can");
    }
}

/// The one place where the command line meets the server.
async fn run_broker(settings: &Settings) -> Result<ExitCode, Failure> {
    let stop = CancellationToken::new();
    // Ended with the runtime.
    tokio::spawn({
        let (mut interrupt, stop) = (Interrupt::listen(), stop.clone());
        async move {
            interrupt.wait().await;
            tracing::info!("stopping: no new connections, the others are closed; once more to stop at once");
            stop.cancel();
        }
    });
    let ready = |addresses: &Addresses| ready(addresses, settings.store.in_memory);
    match server::serve(settings, stop, ready).await {
        Ok(()) => {
            tracing::info!("stopped");
            Ok(ExitCode::Success)
        }
        Err(error @ ServeError::CutOff) => Err(Failure::new(ExitCode::Failure, error).advise(
            "their clients connect again by themselves; give them longer with server.shutdown_grace",
        )),
        Err(error @ (ServeError::Store { .. } | ServeError::Restore(_))) => {
            Err(Failure::new(ExitCode::Failure, error).advise(
                "`rialto data check` looks at the folder without changing it; --data-dir chooses another, --in-memory none",
            ))
        }
        Err(ServeError::Definitions(error)) => {
            let code = if error.is_of_folder() { ExitCode::Failure } else { ExitCode::Config };
            Err(Failure::new(code, error)
                .at("management.load_definitions")
                .advise("correct the file, or start without it: RIALTO_MANAGEMENT__LOAD_DEFINITIONS="))
        }
        Err(error @ ServeError::Tls(_)) => Err(Failure::new(ExitCode::Config, error)
            .at("[tls]")
            .advise("`rialto cert dev` makes certificates for trying out")),
        Err(error @ (ServeError::Resolve { setting, .. } | ServeError::Listen { setting, .. })) => {
            Err(not_listening(settings, setting, error))
        }
        Err(error @ ServeError::Socket(_)) => Err(Failure::new(ExitCode::Failure, error)),
    }
}

/// Names the setting whose address cannot be had, and what is in it.
fn not_listening(settings: &Settings, setting: &str, error: ServeError) -> Failure {
    let (addresses, flag) = match setting {
        "tls.listen" => (&settings.tls.listen, ""),
        "management.listen" => (&settings.management.listen, ""),
        "management.tls_listen" => (&settings.management.tls_listen, ""),
        "metrics.listen" => (&settings.metrics.listen, ""),
        _ => (&settings.server.listen, "--listen, "),
    };
    let variable = format!("RIALTO_{}", setting.to_uppercase().replace('.', "__"));
    Failure::new(ExitCode::Failure, error).at(format_args!("{} ({setting})", listed(addresses))).advise(
        format_args!(
            "if another broker runs there, stop it, or choose another address: {flag}{setting} in broker.toml, or {variable}"
        ),
    )
}

/// Says where, for people who want to connect.
fn ready(addresses: &Addresses, in_memory: bool) {
    for address in &addresses.messages {
        tracing::info!("serving on rialto://{address}");
    }
    for address in &addresses.tls {
        tracing::info!("serving on rialtos://{address}, TLS only");
    }
    for address in &addresses.management {
        tracing::info!("the HTTP API answers on http://{address}/api/");
    }
    for address in &addresses.management_tls {
        tracing::info!("the HTTP API answers on https://{address}/api/");
    }
    for address in &addresses.metrics {
        tracing::info!("scrapes are answered on http://{address}/metrics");
    }
    if in_memory {
        tracing::warn!(
            "everything is kept in memory only, as --in-memory or store.in_memory says: it is gone when the broker stops"
        );
    }
}

fn listed(addresses: &[ListenAddress]) -> String {
    addresses.iter().map(ListenAddress::to_string).collect::<Vec<_>>().join(", ")
}
