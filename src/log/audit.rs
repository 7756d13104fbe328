//! The audit trail: one line for each administrative act, telling who did what, from where, and what came of it.
//!
//! An act is an event with the target [`AUDIT`]: it is in the log, and in `log.audit_file` if that is set. Invariants:
//! the file is only ever appended to, a whole line at a time; it is opened for each line, since acts are rare and the
//! file may be moved away at any time by whoever rotates logs. Not here: what an act's words are, and that they hold no
//! password (whoever emits them).

use std::fmt::{self, Write as _};
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Context, Layer};

use super::LogError;
use super::stderr::Stderr;

/// The target of audit events. Their fields are texts or numbers: `user`, `from`, `act`, `object`, `result`, `reason`.
pub const AUDIT: &str = "audit";

/// What goes into the file.
pub(super) fn filter() -> Targets {
    Targets::new().with_target(AUDIT, LevelFilter::INFO)
}

/// Writes audit events into a file, one JSON object a line.
pub(super) struct AuditFile {
    path: PathBuf,
}

impl AuditFile {
    /// None where no file is named.
    pub(super) fn open(path: &Path) -> Result<Option<Self>, LogError> {
        if path.as_os_str().is_empty() {
            return Ok(None);
        }
        let told = |error| LogError::AuditFile { path: path.display().to_string(), error };
        let file = AuditFile { path: std::path::absolute(path).map_err(told)? };
        file.append(&[]).map_err(told)?;
        Ok(Some(file))
    }

    fn append(&self, line: &[u8]) -> io::Result<()> {
        let mut options = OpenOptions::new();
        options.create(true).append(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file: File = options.open(&self.path)?;
        // One write, so that the lines of two threads do not mix.
        file.write_all(line)
    }
}

impl<S: Subscriber> Layer<S> for AuditFile {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields(Map::new());
        let now = humantime::format_rfc3339_millis(SystemTime::now()).to_string();
        fields.0.insert("at".to_owned(), now.into());
        event.record(&mut fields);
        fields.0.remove("message");
        let line = Value::Object(fields.0).to_string() + "\n";
        if let Err(error) = self.append(line.as_bytes()) {
            // Not an event: those come here.
            Stderr::tell(format_args!(
                "cannot write the audit file {}: {error}: {line}",
                self.path.display()
            ));
        }
    }
}

/// The fields of an event as JSON.
struct Fields(Map<String, Value>);

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let mut text = String::new();
        let _ = write!(text, "{value:?}");
        self.0.insert(field.name().to_owned(), text.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing_subscriber::layer::SubscriberExt;

    fn act(object: &str) {
        tracing::info!(target: AUDIT, user = "ann", from = %"10.0.0.7:4711", act = "put user", object, result = "done");
    }

    #[test]
    fn an_act_is_a_line_of_json_whatever_names_hold() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.log");
        let file = AuditFile::open(&path).unwrap().unwrap();
        let subscriber = tracing_subscriber::registry().with(file.with_filter(filter()));
        tracing::subscriber::with_default(subscriber, || {
            act("bob\n{\"user\":\"root\"}");
            tracing::info!("no act, and not in the file");
            tracing::warn!(target: AUDIT, user = "ann", act = "delete vhost", result = "refused", reason = "not found");
        });
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert_eq!(lines[0]["user"], "ann");
        assert_eq!(lines[0]["object"], "bob\n{\"user\":\"root\"}");
        assert_eq!(lines[0]["from"], "10.0.0.7:4711");
        assert_eq!(lines[0]["result"], "done");
        assert_eq!(lines[1]["reason"], "not found");
    }

    #[test]
    fn a_file_that_was_moved_away_is_begun_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.log");
        let file = AuditFile::open(&path).unwrap().unwrap();
        let subscriber = tracing_subscriber::registry().with(file.with_filter(filter()));
        tracing::subscriber::with_default(subscriber, || {
            act("first");
            std::fs::rename(&path, folder.path().join("audit.log.1")).unwrap();
            act("second");
        });
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains("second") && !text.contains("first"), "{text}");
    }

    #[test]
    fn a_file_that_cannot_be_written_is_told_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let error = AuditFile::open(&folder.path().join("missing/audit.log")).err().unwrap();
        assert!(error.to_string().contains("missing/audit.log"), "{error}");
        assert!(AuditFile::open(Path::new("")).unwrap().is_none());
    }
}
