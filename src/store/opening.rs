//! A data folder, opened: the catalog, the journal, and what they found.
//!
//! Order: the catalog says which queues there are; recovery says what they hold; the folder is mended; the journal goes
//! on in a new segment. Until then nothing in the folder has changed but the catalog's own repairs.

use std::io;
use std::sync::Arc;

use ahash::{AHashMap, AHashSet};
use thiserror::Error;

use super::delivered;
use super::journal::{Journal, JournalOptions};
use super::recovery::{
    Cut, Damage, OnDamage, Progress, RecoveryError, RecoveryOptions, RestoredQueue, recover,
};
use super::{Catalog, CatalogContents, CatalogError, Change, Disk, VhostRow};
use crate::model::{Clock, Lsn, QueueId, VhostName};

/// A file that is there while a process uses the folder, or was killed when it did.
pub(super) const RUNNING: &str = "running";

/// How a data folder is used.
#[derive(Clone, Debug, Default)]
pub struct StoreOptions {
    /// How the journal is written.
    pub journal: JournalOptions,
    /// What to do about damage.
    pub on_damage: OnDamage,
}

/// See the module.
pub struct Store {
    /// The messages.
    pub journal: Arc<Journal>,
    /// What was declared.
    pub catalog: Arc<Catalog>,
    /// What is in the catalog.
    pub contents: CatalogContents,
    /// Messages before this may have been with a consumer when a process ended without [`Store::note_end`].
    pub delivered_before: Lsn,
    /// What the queues held.
    pub held: AHashMap<QueueId, RestoredQueue>,
    /// Damage that was found and is gone without.
    pub damage: Vec<Damage>,
    /// The torn tail, if there was one: nothing in it was confirmed.
    pub cut: Option<Cut>,
}

/// Why a data folder cannot be opened.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The catalog cannot.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The journal cannot.
    #[error(transparent)]
    Journal(#[from] RecoveryError),
    /// Somebody took the catalog away.
    #[error(
        "there is a journal ({file}) but no catalog, which says whose messages these are: put catalog.redb back, or start \
         with an empty folder"
    )]
    NoCatalog {
        /// A file of the journal.
        file: String,
    },
    /// The disk fails.
    #[error(transparent)]
    Disk(#[from] io::Error),
}

impl Store {
    /// Opens a data folder.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn open(
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
        options: StoreOptions,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Store, StoreError> {
        // Before one is made: the next start would take that one for the catalog, and all messages for nobody's.
        if !Catalog::is_in(&*disk)?
            && let Some((file, _)) = disk.list()?.into_iter().find(|(name, _)| name.ends_with(".seg"))
        {
            return Err(StoreError::NoCatalog { file });
        }
        let (catalog, contents) = Catalog::open(disk.clone())?;
        let catalog = Arc::new(catalog);
        let was_killed = disk.list()?.iter().any(|(name, _)| name == RUNNING);
        if !was_killed {
            disk.create(RUNNING)?;
            disk.sync_folder()?;
        }
        let queues: AHashSet<_> = contents.queues.iter().map(|row| row.id).collect();
        let recovery =
            RecoveryOptions { on_damage: options.on_damage, exists: &|queue| queues.contains(&queue) };
        let mut recovered = recover(&*disk, &recovery, progress)?;
        recovered.mend(&*disk)?;
        // Numbers begin anew when nothing is left: what was noted of older ones says nothing then.
        let noted = delivered::read(&*disk)?;
        let delivered_before = if was_killed { recovered.next_lsn } else { noted.min(recovered.next_lsn) };
        if delivered_before != noted
            && let Err(error) = delivered::write(&*disk, delivered_before)
        {
            // A full disk, for instance, which is no reason not to start.
            tracing::warn!(%error, "after the next orderly end messages may come as never delivered that were");
        }
        let journal = Arc::new(Journal::start(disk, clock, options.journal, &recovered)?);
        Ok(Store {
            journal,
            catalog,
            contents,
            delivered_before,
            held: recovered.queues,
            damage: recovered.damage,
            cut: recovered.cut,
        })
    }

    /// Notes that a process ends in good order: what its consumers had is in the journal, as returned. To be called
    /// when the journal is closed.
    ///
    /// # Errors
    /// The disk fails; the next start then takes it for killed.
    pub fn note_end(disk: &dyn Disk) -> io::Result<()> {
        disk.remove(RUNNING)?;
        disk.sync_folder()
    }

    /// Notes vhosts that are to be there.
    pub fn keep_vhosts(&self, names: impl IntoIterator<Item = VhostName>) -> Result<(), CatalogError> {
        let is_new = |name: &VhostName| !self.contents.vhosts.iter().any(|row| row.name == *name);
        let rows = names.into_iter().filter(is_new);
        let rows = rows.map(|name| Change::PutVhost(VhostRow { name, metadata: Default::default() }));
        self.catalog.change_all(rows).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ManualClock;
    use crate::store::SimDisk;

    fn open(disk: &SimDisk) -> Result<Store, StoreError> {
        let clock = Arc::new(ManualClock::new());
        Store::open(Arc::new(disk.clone()), clock, StoreOptions::default(), &mut |_| {})
    }

    #[test]
    fn a_journal_without_its_catalog_is_left_alone_however_often_it_is_started() {
        let disk = SimDisk::new();
        let store = open(&disk).unwrap();
        store.journal.close().unwrap();
        store.catalog.close();
        drop(store);
        disk.create("journal-0000000001.seg").unwrap();
        disk.remove("catalog.redb").unwrap();
        let before = disk.list().unwrap();
        for _ in 0..2 {
            let refused = open(&disk).err().expect("it is refused");
            assert!(matches!(refused, StoreError::NoCatalog { .. }), "{refused}");
            assert_eq!(disk.list().unwrap(), before);
        }
    }
}
