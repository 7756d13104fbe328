//! The catalog: what was declared and must outlive the broker, in an embedded transactional store (redb).
//!
//! Changes are queued in the order in which they are told and committed together: whatever has gathered while the
//! disk was busy is one transaction. A change has a version; it is safe once [`Catalog::committed`] has reached it.
//!
//! Invariants: after a crash there is everything up to some version not below [`Catalog::committed`], and nothing
//! beyond it: no change without those before it, no group in part. Identities of queues are never used twice. A disk
//! that is full is waited for, with nothing committed meanwhile; any other failure ends the catalog for good, for
//! after a failed sync nobody knows what is on disk.
//! Not here: messages (the journal), and what is worth keeping (whoever tells the changes).

mod backend;
mod error;
mod rows;
mod tables;

use std::fmt;
use std::io::{self, ErrorKind};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use redb::backends::InMemoryBackend;
use redb::{Database, ReadTransaction, ReadableDatabase, StorageBackend};

use self::backend::Backend;
pub use self::error::CatalogError;
pub use self::rows::{
    BindingEnd, BindingRow, CatalogContents, Change, ExchangeRow, ParameterRow, PermissionRow, PolicyRow,
    QueueRow, QueueUse, TopicPermissionRow, UserRow, VhostRow,
};
use self::tables::Meta;
use super::{Disk, DiskFile};

/// The file that holds it.
const FILE: &str = "catalog.redb";

/// A catalog that is not whole yet: it gets its name when it is.
const NEW_FILE: &str = "catalog.new";

/// Version of the tables and what is in them.
const FORMAT: u128 = 1;

/// Identities of queues that a start takes: more than a process can use up, so that none is taken while it runs. And
/// few enough for a start every second for a hundred years.
const QUEUE_IDS: u64 = 1 << 32;

/// Most changes that wait to be committed. A client that declares without waiting for answers could otherwise fill
/// the memory while the disk is slow or full.
pub const BACKLOG_MAX: usize = 1 << 20;

/// Bytes of pages that are kept in memory. Reads are rare: at the start, and where a change is applied.
const CACHE_BYTES: usize = 16 << 20;

/// How often a full disk is tried again.
const FULL_RETRY: Duration = Duration::from_secs(1);

/// See the module.
pub struct Catalog {
    disk: Arc<dyn Disk>,
    queue: Mutex<Queue>,
    /// Something was queued, or the catalog is closed.
    wake: Condvar,
    writer: Mutex<Writer>,
    committed: AtomicU64,
    on_progress: OnceLock<Box<dyn Fn() + Send + Sync>>,
    queue_ids: Range<u64>,
    node: u128,
}

/// What waits to be committed.
#[derive(Default)]
struct Queue {
    changes: Vec<Change>,
    /// Version of the last change that was queued.
    version: u64,
    /// Changes that the writer has taken and not yet committed.
    taken: usize,
    end: Option<End>,
    full: Option<String>,
    /// How many [`CatalogHold`]s there are.
    holds: usize,
}

/// Why no change is taken any more.
enum End {
    Closed,
    Failed(String),
}

/// Who commits. Locked before the queue.
struct Writer {
    /// None after a full disk: what was begun is undone by opening it anew.
    database: Option<Database>,
    sync_failed: Arc<AtomicBool>,
    batch: Vec<Change>,
    /// It has failed for good, and is not opened again.
    failed: Option<String>,
}

/// While there is one, nothing is committed: what is changed meanwhile is one transaction, when the last one is gone.
#[derive(Debug)]
#[must_use]
pub struct CatalogHold(Arc<Catalog>);

impl Drop for CatalogHold {
    fn drop(&mut self) {
        self.0.queue.lock().holds -= 1;
        self.0.wake.notify_all();
    }
}

/// What a pump has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CatalogPumped {
    /// There was nothing to do.
    Idle,
    /// Everything that was queued is committed.
    Committed,
    /// The disk is full: it is to be tried again.
    Full,
    /// The catalog has failed for good.
    Stopped,
}

impl Catalog {
    /// Opens the catalog of a data folder, or makes it, and reads what is in it. May take a second for a million rows.
    ///
    /// # Errors
    /// The disk is full or fails, or the file is damaged or from a later version of the broker.
    pub fn open(disk: Arc<dyn Disk>) -> Result<(Catalog, CatalogContents), CatalogError> {
        let sync_failed = Arc::new(AtomicBool::new(false));
        let database = match open_database(&*disk, &sync_failed)? {
            Some(database) => database,
            None => {
                let mut node = [0; 16];
                getrandom::fill(&mut node).map_err(|error| io::Error::other(error.to_string()))?;
                let meta = Meta { node: u128::from_le_bytes(node), next_queue_id: 1 };
                create_database(&*disk, meta, CatalogContents::default(), &sync_failed)?
            }
        };
        let Meta { node, next_queue_id } = tables::meta(&database)?;
        let queue_ids = tables::take_queue_ids(&database, next_queue_id, QUEUE_IDS)?;
        let contents = tables::contents(&begin_read(&database)?)?;
        let catalog = Catalog {
            disk,
            queue: Mutex::default(),
            wake: Condvar::new(),
            writer: Mutex::new(Writer {
                database: Some(database),
                sync_failed,
                batch: Vec::new(),
                failed: None,
            }),
            committed: AtomicU64::new(0),
            on_progress: OnceLock::new(),
            queue_ids,
            node,
        };
        Ok((catalog, contents))
    }

    /// Reads a catalog without changing anything on the disk, and checks all of it. None if there is none. For a
    /// folder that nobody writes to.
    ///
    /// # Errors
    /// As [`Catalog::open`].
    pub fn read(disk: &dyn Disk) -> Result<Option<CatalogContents>, CatalogError> {
        let Some(file) = find(disk)? else { return Ok(None) };
        // What the last process left behind is repaired in a copy.
        let copy = InMemoryBackend::new();
        let len = file.len()?;
        copy.set_len(len)?;
        let mut buffer = vec![0; 1 << 20];
        for offset in (0..len).step_by(buffer.len()) {
            let count = file.read_at(&mut buffer, offset)?;
            copy.write(offset, &buffer[..count])?;
        }
        let database = build(copy)?;
        tables::meta(&database)?;
        tables::contents(&begin_read(&database)?).map(Some)
    }

    /// Whether a data folder has one.
    ///
    /// # Errors
    /// The disk fails.
    pub fn is_in(disk: &dyn Disk) -> Result<bool, CatalogError> {
        Ok(find(disk)?.is_some())
    }

    /// Identities for queues made by this process. None was ever used, or ever will be by another.
    pub fn queue_ids(&self) -> Range<u64> {
        self.queue_ids.clone()
    }

    /// What this data folder is known by: drawn at random when it was made.
    pub fn node(&self) -> u128 {
        self.node
    }

    /// Queues a change and returns its version. Does not wait.
    ///
    /// # Errors
    /// The catalog takes no changes any more, or the disk cannot keep up. The change is not queued.
    pub fn change(&self, change: Change) -> Result<u64, CatalogError> {
        self.change_all([change])
    }

    /// Queues changes that belong together: after a crash all of them are there, or none. Returns the version of the
    /// last. Does not wait.
    ///
    /// # Errors
    /// As [`Catalog::change`]; none of them is queued.
    pub fn change_all(&self, changes: impl IntoIterator<Item = Change>) -> Result<u64, CatalogError> {
        let mut queue = self.queue.lock();
        match &queue.end {
            None => {}
            // What is one thing is finished, or undone: else half of it would be there.
            Some(End::Closed) if queue.holds > 0 => {}
            Some(End::Closed) => return Err(CatalogError::Stopped("the broker is stopping".to_owned())),
            Some(End::Failed(why)) => return Err(CatalogError::Stopped(why.clone())),
        }
        if queue.changes.len() + queue.taken >= BACKLOG_MAX {
            return Err(CatalogError::Behind);
        }
        let before = queue.changes.len();
        queue.changes.extend(changes);
        queue.version += (queue.changes.len() - before) as u64;
        self.wake.notify_all();
        Ok(queue.version)
    }

    /// Commits nothing until the answer is dropped, and then all of it at once: after a crash there is everything that
    /// was changed meanwhile, or nothing of it. Others wait, so not for long. There will be so many changes: they are
    /// taken, even if the catalog is closed meanwhile.
    ///
    /// # Errors
    /// The catalog takes no changes any more, or not so many.
    pub fn hold(self: &Arc<Self>, changes: usize) -> Result<CatalogHold, CatalogError> {
        let mut queue = self.queue.lock();
        match &queue.end {
            None => {}
            Some(_) if queue.holds > 0 => {}
            Some(End::Closed) => return Err(CatalogError::Stopped("the broker is stopping".to_owned())),
            Some(End::Failed(why)) => return Err(CatalogError::Stopped(why.clone())),
        }
        if queue.changes.len() + queue.taken + changes > BACKLOG_MAX {
            return Err(CatalogError::Behind);
        }
        queue.holds += 1;
        Ok(CatalogHold(self.clone()))
    }

    /// The version up to which every change is safe.
    pub fn committed(&self) -> u64 {
        self.committed.load(Ordering::Acquire)
    }

    /// Calls this whenever [`Catalog::committed`], [`Catalog::failure`] or [`Catalog::full`] has changed, from
    /// whichever thread pumps. Only the first one counts.
    pub fn on_progress(&self, call: Box<dyn Fn() + Send + Sync>) {
        // A second one is a mistake of the caller's that a test would show: the first goes on.
        let _ = self.on_progress.set(call);
    }

    /// Why it has failed for good, if it has.
    pub fn failure(&self) -> Option<String> {
        match &self.queue.lock().end {
            Some(End::Failed(why)) => Some(why.clone()),
            Some(End::Closed) | None => None,
        }
    }

    /// Whether nothing that takes room should be told any more: it is half the way to [`CatalogError::Behind`]. The rest is
    /// for what must not be refused because it has happened already: what was declared goes. While it is held, it is not:
    /// whoever holds it has asked for room, and would be stopped half-way.
    pub fn is_behind(&self) -> bool {
        let queue = self.queue.lock();
        queue.holds == 0 && queue.changes.len() + queue.taken >= BACKLOG_MAX / 2
    }

    /// Why nothing is committed at the moment, if the disk is full.
    pub fn full(&self) -> Option<String> {
        self.queue.lock().full.clone()
    }

    /// Commits everything that is queued, in one transaction. Waits for the disk.
    pub fn pump(&self) -> CatalogPumped {
        let mut writer = self.writer.lock();
        let version = {
            let mut queue = self.queue.lock();
            if let Some(End::Failed(_)) = queue.end {
                return CatalogPumped::Stopped;
            }
            if queue.holds > 0 {
                return CatalogPumped::Idle;
            }
            writer.batch.append(&mut queue.changes);
            queue.taken = writer.batch.len();
            queue.version
        };
        if writer.batch.is_empty() {
            return CatalogPumped::Idle;
        }
        // A panic of the store's must not leave everyone waiting for what never comes.
        let result = catch_unwind(AssertUnwindSafe(|| writer.commit(&*self.disk)));
        let result = result.unwrap_or_else(|_| Err(io::Error::other("its store has panicked").into()));
        let sync_failed = writer.sync_failed.load(Ordering::Acquire);
        let mut queue = self.queue.lock();
        let pumped = match result {
            Ok(()) => {
                queue.taken = 0;
                queue.full = None;
                self.committed.store(version, Ordering::Release);
                CatalogPumped::Committed
            }
            Err(error) if error.is_full() && !sync_failed => {
                if queue.full.replace(error.to_string()).is_some() {
                    // Nothing has changed: nobody is to be told.
                    return CatalogPumped::Full;
                }
                CatalogPumped::Full
            }
            Err(error) => {
                let why = error.to_string();
                *writer = Writer::ended(why.clone());
                queue.changes = Vec::new();
                queue.full = None;
                queue.end = Some(End::Failed(why));
                CatalogPumped::Stopped
            }
        };
        drop(queue);
        drop(writer);
        if let Some(call) = self.on_progress.get() {
            call();
        }
        pumped
    }

    /// Starts the thread that pumps until the catalog is closed or fails.
    ///
    /// # Errors
    /// The system has no thread to give.
    pub fn spawn_writer(self: &Arc<Self>) -> io::Result<JoinHandle<()>> {
        let catalog = self.clone();
        thread::Builder::new().name("catalog".to_owned()).spawn(move || catalog.write_until_closed())
    }

    fn write_until_closed(&self) {
        loop {
            let pumped = self.pump();
            let mut queue = self.queue.lock();
            match pumped {
                CatalogPumped::Stopped => return,
                CatalogPumped::Committed => {}
                // Nobody was told that what is left is safe.
                CatalogPumped::Full if queue.end.is_some() => return,
                CatalogPumped::Full => {
                    self.wake.wait_for(&mut queue, FULL_RETRY);
                }
                CatalogPumped::Idle if queue.holds > 0 => self.wake.wait(&mut queue),
                CatalogPumped::Idle if !queue.changes.is_empty() => {}
                CatalogPumped::Idle if queue.end.is_some() => return,
                CatalogPumped::Idle => self.wake.wait(&mut queue),
            }
        }
    }

    /// Takes no more changes. What is queued is still committed, by the thread or by a last [`Catalog::pump`].
    pub fn close(&self) {
        let mut queue = self.queue.lock();
        if queue.end.is_none() {
            queue.end = Some(End::Closed);
        }
        self.wake.notify_all();
    }

    /// Everything that is committed.
    ///
    /// # Errors
    /// The disk fails, the file is damaged, or the catalog has failed for good.
    pub fn contents(&self) -> Result<CatalogContents, CatalogError> {
        let (_, read) = self.begin_read()?;
        tables::contents(&read)
    }

    /// Copies what is committed into another folder, as a catalog of its own. Changes go on meanwhile. Returns when it
    /// is safe there.
    ///
    /// # Errors
    /// One of the disks is full or fails, there is a catalog already, or this one has failed for good.
    pub fn snapshot_to(&self, disk: &dyn Disk) -> Result<(), CatalogError> {
        if find(disk)?.is_some() {
            let text = format!("{FILE} is there already: choose an empty folder");
            return Err(io::Error::new(ErrorKind::AlreadyExists, text).into());
        }
        let (meta, read) = self.begin_read()?;
        let contents = tables::contents(&read)?;
        drop(read);
        let copy = create_database(disk, meta, contents, &Arc::default())?;
        copy.close().map_err(redb::Error::from)?;
        Ok(())
    }

    fn begin_read(&self) -> Result<(Meta, ReadTransaction), CatalogError> {
        let mut writer = self.writer.lock();
        let database = writer.database(&*self.disk)?;
        Ok((tables::meta(database)?, begin_read(database)?))
    }
}

impl Writer {
    /// One that has failed for good.
    fn ended(why: String) -> Self {
        Writer { database: None, sync_failed: Arc::default(), batch: Vec::new(), failed: Some(why) }
    }

    /// Commits the batch. After an error the database is closed: what was begun is undone when it is opened.
    fn commit(&mut self, disk: &dyn Disk) -> Result<(), CatalogError> {
        let batch = std::mem::take(&mut self.batch);
        let result = self
            .database(disk)
            .and_then(|database| tables::commit(database, &batch).map_err(CatalogError::from));
        if result.is_err() {
            // Some of it may be on disk even so. To apply it again then changes nothing.
            self.batch = batch;
            self.database = None;
        }
        result
    }

    fn database(&mut self, disk: &dyn Disk) -> Result<&Database, CatalogError> {
        if let Some(why) = &self.failed {
            return Err(CatalogError::Stopped(why.clone()));
        }
        let database = match self.database.take() {
            Some(database) => database,
            None => open_database(disk, &self.sync_failed)?.ok_or_else(|| {
                let text = format!("{FILE} is gone");
                CatalogError::Disk(io::Error::new(ErrorKind::NotFound, text))
            })?,
        };
        Ok(self.database.insert(database))
    }
}

impl fmt::Debug for Catalog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let queued = self.queue.lock().version;
        f.debug_struct("Catalog")
            .field("disk", &self.disk)
            .field("queued", &queued)
            .field("committed", &self.committed())
            .finish_non_exhaustive()
    }
}

fn find(disk: &dyn Disk) -> Result<Option<Arc<dyn DiskFile>>, CatalogError> {
    match disk.open(FILE) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn open_database(disk: &dyn Disk, sync_failed: &Arc<AtomicBool>) -> Result<Option<Database>, CatalogError> {
    let Some(file) = find(disk)? else { return Ok(None) };
    if file.is_empty()? {
        // redb would take it for one that is to be made. But it gets its name when it is whole.
        return Err(CatalogError::Damaged("it is empty".to_owned()));
    }
    build(Backend { file, sync_failed: sync_failed.clone() }).map(Some)
}

/// Makes a catalog under another name, and gives it its own when it is safe: so there is none, or a whole one.
fn create_database(
    disk: &dyn Disk,
    meta: Meta,
    contents: CatalogContents,
    sync_failed: &Arc<AtomicBool>,
) -> Result<Database, CatalogError> {
    if disk.list()?.iter().any(|(name, _)| name == NEW_FILE) {
        disk.remove(NEW_FILE)?;
    }
    let file = disk.create(NEW_FILE)?;
    let database = build(Backend { file, sync_failed: sync_failed.clone() })?;
    tables::fill(&database, meta, contents)?;
    disk.rename(NEW_FILE, FILE)?;
    disk.sync_folder()?;
    Ok(database)
}

fn build(backend: impl StorageBackend) -> Result<Database, CatalogError> {
    // The check reads the file, which is small, and is why a damaged one is told instead of trusted.
    let database = Database::builder()
        .set_cache_size(CACHE_BYTES)
        .set_check_integrity_on_open(true)
        .create_with_backend(backend);
    database.map_err(|error| redb::Error::from(error).into())
}

fn begin_read(database: &Database) -> Result<ReadTransaction, CatalogError> {
    database.begin_read().map_err(|error| redb::Error::from(error).into())
}

#[cfg(test)]
mod tests;
