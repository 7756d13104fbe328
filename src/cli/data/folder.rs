//! Which data folder, and how to read one that a broker may be writing to.

use std::io::ErrorKind;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::cli::{ExitCode, Failure};
use crate::config::{self, Overrides, Sources};
use crate::server::CONTROL_SOCKET;
use crate::store::recovery::RecoveryError;
use crate::store::{Catalog, CatalogContents, CatalogError, Disk, FileDisk};

/// How often a folder that changes meanwhile is read again: a file that was listed can be gone when it is opened.
const ATTEMPTS: usize = 10;

/// Where the settings are, for those who do not name a folder.
#[derive(Clone, Debug, Default, Args)]
pub(in crate::cli) struct FolderOptions {
    /// Settings file that names the folder [default: broker.toml, if the working directory has one]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl FolderOptions {
    /// The folder that was named, or that of the settings.
    pub(in crate::cli) fn folder(&self, named: Option<&Path>) -> Result<PathBuf, Failure> {
        if let Some(named) = named {
            return Ok(named.to_owned());
        }
        let environment = std::env::vars_os().collect();
        let sources = Sources { file: self.config.clone(), environment, overrides: Overrides::default() };
        Ok(config::load(sources)?.settings.store.data_dir)
    }
}

/// A data folder, for reading.
pub(super) struct DataFolder {
    pub(super) path: PathBuf,
    pub(super) disk: FileDisk,
}

impl DataFolder {
    /// Opens it.
    pub(super) fn open(path: PathBuf) -> Result<DataFolder, Failure> {
        let disk = FileDisk::read_only(&path).map_err(|error| {
            let failure = Failure::new(ExitCode::Failure, "there is no data folder").at(&error);
            match error.kind() {
                ErrorKind::NotFound | ErrorKind::NotADirectory => {
                    failure.advise("name the folder, or the settings that name it, with --config")
                }
                _ => Failure::new(ExitCode::Failure, "the data folder cannot be read").at(error),
            }
        })?;
        let files = disk.list()?;
        let is_data = |name: &str| name.ends_with(".seg") || name.ends_with(".redb");
        if !files.is_empty() && !files.iter().any(|(name, _)| is_data(name)) {
            return Err(Failure::new(
                ExitCode::Failure,
                "this is no data folder: it has no journal and no catalog",
            )
            .at(path.display()));
        }
        Ok(DataFolder { path, disk })
    }

    /// Whether a broker writes here at the moment.
    pub(super) fn is_in_use(&self) -> bool {
        UnixStream::connect(self.path.join(CONTROL_SOCKET)).is_ok()
    }

    /// What was declared. None: there is no catalog, or a broker was writing to it each time.
    pub(super) fn catalog(&self) -> Result<Option<CatalogContents>, CatalogError> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            match Catalog::read(&self.disk) {
                Err(_) if attempt < ATTEMPTS && self.is_in_use() => {}
                Err(_) if self.is_in_use() => return Ok(None),
                other => return other,
            }
        }
    }

    /// Reads the journal, again if files went away meanwhile.
    pub(super) fn journal<T>(
        &self,
        mut read: impl FnMut(&FileDisk) -> Result<T, RecoveryError>,
    ) -> Result<T, Failure> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            match read(&self.disk) {
                Err(RecoveryError::Disk { error, .. })
                    if error.kind() == ErrorKind::NotFound && attempt < ATTEMPTS => {}
                Err(error) => return Err(Failure::new(ExitCode::Failure, error).at(self.path.display())),
                Ok(read) => return Ok(read),
            }
        }
    }
}

/// Bytes as people read them.
pub(super) fn size(bytes: u64) -> String {
    bytesize::ByteSize(bytes).display().iec().to_string()
}
