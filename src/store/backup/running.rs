//! The store of a broker that is running.

use std::sync::Arc;

use super::BackupSource;
use crate::model::Location;
use crate::store::journal::Journal;
use crate::store::{Catalog, CatalogError, Disk, Log};

/// See the module.
pub struct RunningStore {
    journal: Arc<Journal>,
    catalog: Arc<Catalog>,
}

impl RunningStore {
    /// Of these two.
    pub fn new(journal: Arc<Journal>, catalog: Arc<Catalog>) -> RunningStore {
        RunningStore { journal, catalog }
    }
}

impl BackupSource for RunningStore {
    fn hold_deletions(&self) -> Box<dyn Send + '_> {
        Box::new(self.journal.hold_deletions())
    }

    fn committed(&self) -> Location {
        Location::from_u64(self.journal.committed().0)
    }

    fn snapshot_catalog(&self, to: &dyn Disk) -> Result<(), CatalogError> {
        self.catalog.snapshot_to(to)
    }
}
