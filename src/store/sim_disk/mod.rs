//! A disk in memory that crashes, tears, fails and fills up when a test says so.
//!
//! A history is run once; then an image can be made for a crash after each of its operations
//! ([`SimDisk::image_at`]), as often as there are seeds. Files are copied on write, and the state is kept every
//! [`STRIDE`] operations, so that an image costs what lies between, not the whole history.
//!
//! Invariants: what was synced is in every image; an image is a disk of its own, with everything on it safe and a
//! history that begins anew; the same seed makes the same image. Here for the project's own tests and tools.

mod contents;
mod crash;
mod state;

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, ErrorKind, IoSlice};
use std::sync::Arc;

use bytes::Bytes;
use fastrand::Rng;
use parking_lot::Mutex;

use self::crash::{Survival, crash};
use self::state::{FileChange, FileId, NameChange, Operation, State};
use super::disk::{Disk, DiskFile, check_name};

/// Operations between two states that are kept.
const STRIDE: usize = 16;

/// Free space of a disk that nobody has made smaller, in bytes.
const FREE: u64 = 1 << 50;

/// See the module. A clone is the same disk.
#[derive(Clone)]
pub struct SimDisk {
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug, Default)]
struct Shared {
    state: State,
    history: Option<History>,
    next_file: u32,
    /// How many have a file open.
    open: BTreeMap<FileId, usize>,
    faults: Faults,
}

/// What can be done again, to see the disk as it was.
#[derive(Debug, Default)]
struct History {
    operations: Vec<Operation>,
    /// After 0, [`STRIDE`], twice [`STRIDE`] … operations.
    states: Vec<State>,
}

#[derive(Debug, Default)]
struct Faults {
    capacity: Option<u64>,
    failing_syncs: u32,
    writes_fail: bool,
    reads_fail: bool,
}

impl SimDisk {
    /// An empty disk that remembers what is done to it.
    pub fn new() -> Self {
        SimDisk::with(State::default(), true)
    }

    /// An empty disk that does not remember, for loads that would fill the memory: [`SimDisk::image_at`] knows only
    /// the present moment.
    pub fn without_history() -> Self {
        SimDisk::with(State::default(), false)
    }

    fn with(state: State, remembers: bool) -> Self {
        let next_file = state.files.keys().last().map_or(0, |last| last.0 + 1);
        let history = remembers.then(|| History { operations: Vec::new(), states: vec![state.clone()] });
        let shared = Shared { state, history, next_file, ..Shared::default() };
        SimDisk { shared: Arc::new(Mutex::new(shared)) }
    }

    /// How many operations have changed the disk, or tried to sync it.
    pub fn operations(&self) -> usize {
        self.shared.lock().state.operations
    }

    /// The disk as it might be found after a crash now.
    pub fn crash(&self, rng: &mut Rng) -> SimDisk {
        let shared = self.shared.lock();
        let survival = Survival::draw(shared.state.operations, rng);
        SimDisk::with(crash(&shared.state, survival, rng), true)
    }

    /// The disk as it might have been found after a crash after the first so many operations. (A crash in the middle
    /// of an operation is one after it: it may be torn.)
    ///
    /// # Panics
    /// There were fewer operations, or the disk has not remembered them.
    pub fn image_at(&self, operations: usize, rng: &mut Rng) -> SimDisk {
        let shared = self.shared.lock();
        let survival = Survival::draw(operations, rng);
        if operations == shared.state.operations {
            return SimDisk::with(crash(&shared.state, survival, rng), true);
        }
        let history = shared.history.as_ref().expect("only a disk that remembers is asked for its past");
        assert!(
            operations < shared.state.operations,
            "there were only {} operations",
            shared.state.operations
        );
        let kept = operations / STRIDE;
        let mut state = history.states[kept].clone();
        for operation in &history.operations[kept * STRIDE..operations] {
            state.apply(operation);
        }
        SimDisk::with(crash(&state, survival, rng), true)
    }

    /// The disk as it is found if nothing survives a crash now that was not synced.
    pub fn only_synced(&self) -> SimDisk {
        SimDisk::with(crash(&self.shared.lock().state, Survival::Nothing, &mut Rng::with_seed(0)), true)
    }

    /// The disk as it is found if the process ends now, but not the machine.
    pub fn killed(&self) -> SimDisk {
        SimDisk::with(crash(&self.shared.lock().state, Survival::Everything, &mut Rng::with_seed(0)), true)
    }

    /// Makes the disk so large (`None`: without bound). What is on it stays. Files count by their lengths.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.shared.lock().faults.capacity = bytes;
    }

    /// Lets the next so many syncs fail, of files and of the folder. What they were to make safe never will be.
    pub fn fail_syncs(&self, count: u32) {
        self.shared.lock().faults.failing_syncs = count;
    }

    /// Lets everything fail that changes the disk, until it is told otherwise. (Syncs have [`SimDisk::fail_syncs`].)
    pub fn fail_writes(&self, fail: bool) {
        self.shared.lock().faults.writes_fail = fail;
    }

    /// Lets reads fail, until it is told otherwise.
    pub fn fail_reads(&self, fail: bool) {
        self.shared.lock().faults.reads_fail = fail;
    }

    fn file(&self, name: &str, id: FileId) -> Arc<dyn DiskFile> {
        Arc::new(SimFile { disk: self.clone(), name: name.to_owned(), id })
    }
}

impl Default for SimDisk {
    fn default() -> Self {
        SimDisk::new()
    }
}

impl fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shared = self.shared.lock();
        let files = shared.state.names.keys();
        write!(f, "SimDisk after {} operations, with ", shared.state.operations)?;
        f.debug_list().entries(files).finish()
    }
}

impl Shared {
    fn apply(&mut self, operation: Operation) {
        self.state.apply(&operation);
        if let Some(history) = &mut self.history {
            history.operations.push(operation);
            if history.operations.len().is_multiple_of(STRIDE) {
                history.states.push(self.state.clone());
            }
        }
    }

    fn check_writes(&self) -> io::Result<()> {
        if self.faults.writes_fail { Err(io::Error::other("simulated failure to write")) } else { Ok(()) }
    }

    fn sync_fails(&mut self) -> bool {
        let fails = self.faults.failing_syncs > 0;
        self.faults.failing_syncs = self.faults.failing_syncs.saturating_sub(1);
        fails
    }

    fn free(&self) -> u64 {
        self.faults.capacity.map_or(FREE, |capacity| capacity.saturating_sub(self.state.used()))
    }

    fn find(&self, name: &str) -> io::Result<FileId> {
        check_name(name)?;
        let missing = || io::Error::new(ErrorKind::NotFound, format!("{name}: there is no such file"));
        self.state.names.get(name).copied().ok_or_else(missing)
    }

    fn len(&self, id: FileId) -> u64 {
        self.state.file(id).map_or(0, |file| file.current.len())
    }

    /// Gives a file another length, if it fits.
    fn set_len(&mut self, id: FileId, len: u64) -> io::Result<()> {
        self.check_writes()?;
        if len.saturating_sub(self.len(id)) > self.free() {
            return Err(full());
        }
        self.apply(Operation::File(id, FileChange::SetLen(len)));
        Ok(())
    }
}

fn full() -> io::Error {
    io::Error::new(ErrorKind::StorageFull, "the simulated disk is full")
}

impl Disk for SimDisk {
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let id = {
            let mut shared = self.shared.lock();
            shared.check_writes()?;
            check_name(name)?;
            if shared.state.names.contains_key(name) {
                return Err(io::Error::new(ErrorKind::AlreadyExists, format!("{name}: exists already")));
            }
            let file = FileId(shared.next_file);
            shared.next_file += 1;
            shared.apply(Operation::Name(NameChange::Create { name: name.to_owned(), file }));
            *shared.open.entry(file).or_default() += 1;
            file
        };
        Ok(self.file(name, id))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let id = {
            let mut shared = self.shared.lock();
            let id = shared.find(name)?;
            *shared.open.entry(id).or_default() += 1;
            id
        };
        Ok(self.file(name, id))
    }

    fn list(&self) -> io::Result<Vec<(String, u64)>> {
        let shared = self.shared.lock();
        Ok(shared.state.names.iter().map(|(name, id)| (name.clone(), shared.len(*id))).collect())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut shared = self.shared.lock();
        shared.check_writes()?;
        let file = shared.find(name)?;
        shared.apply(Operation::Name(NameChange::Remove { name: name.to_owned(), file }));
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        check_name(to)?;
        let mut shared = self.shared.lock();
        shared.check_writes()?;
        let file = shared.find(from)?;
        let (from, to) = (from.to_owned(), to.to_owned());
        shared.apply(Operation::Name(NameChange::Rename { from, to, file }));
        Ok(())
    }

    fn sync_folder(&self) -> io::Result<()> {
        let mut shared = self.shared.lock();
        if shared.sync_fails() {
            shared.apply(Operation::FolderSyncFailed);
            return Err(io::Error::other("simulated failure to sync the folder"));
        }
        shared.apply(Operation::SyncFolder);
        let Shared { state, open, .. } = &mut *shared;
        state.forget_removed(|id| open.contains_key(&id));
        Ok(())
    }

    fn free_space(&self) -> io::Result<u64> {
        Ok(self.shared.lock().free())
    }
}

/// A file of a [`SimDisk`].
struct SimFile {
    disk: SimDisk,
    name: String,
    id: FileId,
}

impl fmt::Debug for SimFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.name.fmt(f)
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        let mut shared = self.disk.shared.lock();
        if let Some(count) = shared.open.get_mut(&self.id) {
            *count -= 1;
            if *count == 0 {
                shared.open.remove(&self.id);
            }
        }
    }
}

impl DiskFile for SimFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let contents = {
            let shared = self.disk.shared.lock();
            if shared.faults.reads_fail {
                return Err(io::Error::other("simulated failure to read"));
            }
            shared.state.file(self.id).map(|file| file.current.clone())
        };
        Ok(contents.map_or(0, |contents| contents.read(buffer, offset)))
    }

    fn write_at(&self, slices: &[IoSlice<'_>], offset: u64) -> io::Result<()> {
        let data: Bytes = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
        let mut shared = self.disk.shared.lock();
        shared.check_writes()?;
        let growth = (offset + data.len() as u64).saturating_sub(shared.len(self.id));
        let over = growth.saturating_sub(shared.free());
        // As far as it fits: a full disk cuts a write anywhere.
        let fits = data.slice(..data.len().saturating_sub(over as usize));
        if !fits.is_empty() {
            shared.apply(Operation::File(self.id, FileChange::Write { offset, data: fits }));
        }
        if over > 0 { Err(full()) } else { Ok(()) }
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.shared.lock().len(self.id))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.disk.shared.lock().set_len(self.id, len)
    }

    fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        let mut shared = self.disk.shared.lock();
        let end = (offset + len).max(shared.len(self.id));
        shared.set_len(self.id, end)
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut shared = self.disk.shared.lock();
        if shared.sync_fails() {
            shared.apply(Operation::SyncFailed(self.id));
            return Err(io::Error::other(format!("{}: simulated failure to sync", self.name)));
        }
        shared.apply(Operation::Sync(self.id));
        Ok(())
    }

    fn prefetch(&self, _: u64, _: u64) {}
}

#[cfg(test)]
mod tests;
