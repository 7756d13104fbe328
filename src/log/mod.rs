//! What the process writes about itself: the log, the audit trail, traces for a collector.
//!
//! One call of [`Log::start`] at the process's start; everything else only emits `tracing` events and spans, and asks
//! [`Log::running`] when it wants to see or change the levels. Invariants: nothing here is on the way of a message: an event that
//! no level wants costs one load of an atomic; a log that cannot be written never ends the broker; an audit line is
//! written whatever the level is. Not here: what is logged, and that it holds no secret (everybody who logs; `tests/secrets`).

mod audit;
mod levels;
mod spans;
mod stderr;

use std::io;
use std::sync::OnceLock;
use std::time::Duration;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::trace::SdkTracerProvider;
use thiserror::Error;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Registry, reload};

pub use audit::AUDIT;
pub use levels::{Levels, ROOMS, UnknownRoom};
pub use spans::{TRACES, connection_span, request_span};

use crate::config::{LogFormat, LogSettings, TracingSettings};
use audit::AuditFile;
use stderr::Stderr;

/// How long the last spans may take on their way to the collector.
const LAST_SPANS_TIMEOUT: Duration = Duration::from_secs(3);

/// The log of this process. A process has one, as `tracing` has one.
static RUNNING: OnceLock<Log> = OnceLock::new();

/// Why logging could not start.
#[derive(Debug, Error)]
pub enum LogError {
    /// The audit file cannot be opened for appending.
    #[error("cannot write the audit file {path}: {error}")]
    AuditFile {
        /// The file of `log.audit_file`.
        path: String,
        /// What the system says.
        error: io::Error,
    },
    /// The way to the collector cannot be set up.
    #[error("cannot send traces to {endpoint}: {error}")]
    Collector {
        /// The address of `tracing.otlp_endpoint`.
        endpoint: String,
        /// Why.
        error: String,
    },
}

/// The running log: its levels may be looked at and changed.
pub struct Log {
    levels: parking_lot::Mutex<Levels>,
    filter: reload::Handle<Targets, Registry>,
    traces: Option<SdkTracerProvider>,
}

impl Log {
    /// Starts logging to stderr, and to what the settings name. Called a second time (embedded in a test), the first log
    /// stays.
    ///
    /// # Errors
    /// The audit file or the collector's address cannot be used. Nothing was started.
    pub fn start(settings: &LogSettings, tracing: &TracingSettings) -> Result<(), LogError> {
        if RUNNING.get().is_some() {
            return Ok(());
        }
        let levels = Levels::new(settings.level);
        let (filter, handle) = reload::Layer::new(levels.targets());
        let audit = AuditFile::open(&settings.audit_file)?;
        let traces = spans::provider(tracing)?;
        // What the log cannot write it would report with `eprintln!`, which panics where the log is a closed pipe.
        let lines = tracing_subscriber::fmt::layer().with_writer(Stderr).log_internal_errors(false);
        let lines = match settings.format {
            LogFormat::Text => {
                let colour = anstream::AutoStream::choice(&io::stderr()) != anstream::ColorChoice::Never;
                lines.with_ansi(colour).with_target(false).boxed()
            }
            LogFormat::Json => lines.json().flatten_event(true).boxed(),
        };
        let spans = traces.as_ref().map(|provider| {
            tracing_opentelemetry::layer()
                .with_tracer(provider.tracer("rialto"))
                .with_location(false)
                .with_threads(false)
                .with_target(false)
                .with_tracked_inactivity(false)
                .with_filter(spans::filter())
        });
        let subscriber = tracing_subscriber::registry()
            .with(lines.with_filter(filter))
            .with(audit.map(|file| file.with_filter(audit::filter())))
            .with(spans);
        if subscriber.try_init().is_ok() {
            let log = Log { levels: parking_lot::Mutex::new(levels), filter: handle, traces };
            // Whoever was first has begun logging; a second one cannot have come this far.
            let _ = RUNNING.set(log);
        }
        Ok(())
    }

    /// The log of this process, if [`Log::start`] has started it: not where the broker is a part of another program.
    pub fn running() -> Option<&'static Log> {
        RUNNING.get()
    }

    /// What is written now.
    pub fn levels(&self) -> Levels {
        self.levels.lock().clone()
    }

    /// Changes what is written, at once and for all threads, until it is changed again or the broker ends.
    pub fn set_levels(&self, levels: Levels) {
        let mut now = self.levels.lock();
        // Fails only if the subscriber is gone, and that lives as long as the process.
        let _ = self.filter.reload(levels.targets());
        *now = levels;
    }

    /// Sends the last spans to the collector, if there is one. Called last, outside of the runtime.
    pub fn finish() {
        if let Some(Log { traces: Some(provider), .. }) = Log::running()
            && let Err(error) = provider.shutdown_with_timeout(LAST_SPANS_TIMEOUT)
        {
            tracing::warn!(%error, "the last traces did not reach the collector");
        }
    }
}

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Log").field("levels", &self.levels()).finish_non_exhaustive()
    }
}
