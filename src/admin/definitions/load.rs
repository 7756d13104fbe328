//! Definitions of a file, taken over when the broker starts.
//!
//! Invariant: a file that has not changed since it was taken over is not looked at again, so that what was changed at
//! run time stays. What it comes from is a global parameter under RabbitMQ's name, which no export has.

use std::path::Path;

use sha2::{Digest, Sha256};
use thiserror::Error;

use super::findings::{Findings, Notice};
use crate::broker::Broker;
use crate::store::ParameterRow;

/// The global parameter that remembers the file.
pub(in crate::admin) const LOADED: &str = "imported_definition_hash_value";

/// Why the definitions of a file were not taken over.
#[derive(Debug, Error)]
#[error("cannot take over the definitions in {file}: {problem}")]
pub struct LoadError {
    file: String,
    problem: String,
    is_of_folder: bool,
}

impl LoadError {
    /// Whether the data folder is to blame, and not the file.
    pub fn is_of_folder(&self) -> bool {
        self.is_of_folder
    }
}

/// Takes the definitions of a file over, all or nothing. Nobody is served yet: it may wait for the disk, and takes as
/// long as it takes.
///
/// # Errors
/// The file cannot be read, or something in it is wrong: all of that is told.
pub fn load_definitions(broker: &Broker, file: &Path) -> Result<(), LoadError> {
    let error = |problem, is_of_folder| LoadError { file: file.display().to_string(), problem, is_of_folder };
    let failed = |problem: String| error(problem, false);
    let text = std::fs::read(file).map_err(|error| failed(error.to_string()))?;
    let hash: String = Sha256::digest(&text).iter().map(|byte| format!("{byte:02x}")).collect();
    let value = format!("\"{hash}\"");
    let is_loaded = |row: &ParameterRow| row.vhost.is_none() && row.name == LOADED && row.value == value;
    if broker.parameters().iter().any(is_loaded) {
        tracing::info!("the definitions in {} are those of the last start", file.display());
        return Ok(());
    }
    // With the note that they were taken over: a crash between the two would have them taken over once more.
    let hold = broker.hold_catalog(0).map_err(|cause| error(cause.to_string(), true))?;
    let mut findings = Findings::default();
    let taken = super::take(broker, &text, None, &mut findings);
    for Notice { notice, count, at } in findings.notices() {
        tracing::warn!(count, ?at, "definitions: {notice}");
    }
    let (items, _) = taken.map_err(|_| failed(format!("nothing was taken over\n{}", findings.text())))?;
    let row = ParameterRow { vhost: None, component: String::new(), name: LOADED.to_owned(), value };
    broker.set_parameter(row).map_err(|cause| error(cause.to_string(), true))?;
    drop(hold);
    tracing::info!(items, "took over the definitions in {}", file.display());
    Ok(())
}
