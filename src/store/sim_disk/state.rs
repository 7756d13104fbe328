//! What a simulated disk holds: what is safe, what is there, and what lies between.
//!
//! Invariants: what is there is what is safe plus the pending changes in order; a sync makes one file's bytes (or all
//! names) safe. Where a sync failed, nothing becomes safe any more: the system has forgotten which pages to write.
//! Not here: faults and locks (`mod`), what a crash leaves (`crash`).

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::contents::Contents;

/// A file, whatever its names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct FileId(pub(super) u32);

/// Something done to the disk.
#[derive(Clone, Debug)]
pub(super) enum Operation {
    Name(NameChange),
    SyncFolder,
    File(FileId, FileChange),
    Sync(FileId),
    /// Nothing written to the file until now, or later, will be safe.
    SyncFailed(FileId),
    FolderSyncFailed,
}

#[derive(Clone, Debug)]
pub(super) enum NameChange {
    Create { name: String, file: FileId },
    Remove { name: String, file: FileId },
    Rename { from: String, to: String, file: FileId },
}

#[derive(Clone, Debug)]
pub(super) enum FileChange {
    Write { offset: u64, data: Bytes },
    SetLen(u64),
}

pub(super) type Names = BTreeMap<String, FileId>;

/// See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct State {
    /// How many operations made it.
    pub(super) operations: usize,
    pub(super) names: Names,
    pub(super) safe_names: Names,
    /// Each with the number of its operation.
    pub(super) pending_names: Vec<(usize, NameChange)>,
    pub(super) files: BTreeMap<FileId, Arc<FileState>>,
    folder_is_spoiled: bool,
}

#[derive(Clone, Debug, Default)]
pub(super) struct FileState {
    pub(super) current: Contents,
    pub(super) safe: Contents,
    pub(super) pending: Vec<(usize, FileChange)>,
    is_spoiled: bool,
}

impl State {
    /// A disk on which all of this is safe.
    pub(super) fn of(names: Names, files: impl Iterator<Item = (FileId, Contents)>) -> Self {
        let file = |contents: Contents| {
            Arc::new(FileState { safe: contents.clone(), current: contents, ..FileState::default() })
        };
        State {
            safe_names: names.clone(),
            names,
            files: files.map(|(id, contents)| (id, file(contents))).collect(),
            ..State::default()
        }
    }

    pub(super) fn apply(&mut self, operation: &Operation) {
        let number = self.operations;
        self.operations += 1;
        match operation {
            Operation::Name(change) => {
                change.apply(&mut self.names);
                self.pending_names.push((number, change.clone()));
            }
            Operation::SyncFolder if self.folder_is_spoiled => {}
            Operation::SyncFolder => {
                self.safe_names = self.names.clone();
                self.pending_names.clear();
            }
            Operation::FolderSyncFailed => self.folder_is_spoiled = true,
            Operation::File(id, change) => {
                let file = self.file_mut(*id);
                change.apply(&mut file.current);
                file.pending.push((number, change.clone()));
            }
            Operation::Sync(id) => {
                let file = self.file_mut(*id);
                if !file.is_spoiled {
                    file.safe = file.current.clone();
                    file.pending.clear();
                }
            }
            Operation::SyncFailed(id) => self.file_mut(*id).is_spoiled = true,
        }
    }

    pub(super) fn file(&self, id: FileId) -> Option<&FileState> {
        self.files.get(&id).map(|file| &**file)
    }

    fn file_mut(&mut self, id: FileId) -> &mut FileState {
        Arc::make_mut(self.files.entry(id).or_default())
    }

    /// Bytes of all files that have a name.
    pub(super) fn used(&self) -> u64 {
        self.names.values().filter_map(|id| self.file(*id)).map(|file| file.current.len()).sum()
    }

    /// Forgets files that nobody can come to any more, crash or not.
    pub(super) fn forget_removed(&mut self, is_open: impl Fn(FileId) -> bool) {
        let pending = self.pending_names.iter().map(|(_, change)| change.file());
        let named: Vec<_> =
            self.names.values().chain(self.safe_names.values()).copied().chain(pending).collect();
        self.files.retain(|id, _| is_open(*id) || named.contains(id));
    }
}

impl NameChange {
    /// Changes that a crash has let through are applied without those before them: each stands for itself.
    pub(super) fn apply(&self, names: &mut Names) {
        match self {
            NameChange::Create { name, file } => {
                names.insert(name.clone(), *file);
            }
            NameChange::Remove { name, file } => remove(names, name, *file),
            NameChange::Rename { from, to, file } => {
                remove(names, from, *file);
                names.insert(to.clone(), *file);
            }
        }
    }

    fn file(&self) -> FileId {
        match self {
            NameChange::Create { file, .. }
            | NameChange::Remove { file, .. }
            | NameChange::Rename { file, .. } => *file,
        }
    }
}

fn remove(names: &mut Names, name: &str, file: FileId) {
    if names.get(name) == Some(&file) {
        names.remove(name);
    }
}

impl FileChange {
    pub(super) fn apply(&self, contents: &mut Contents) {
        match self {
            FileChange::Write { offset, data } => contents.write(data, *offset),
            FileChange::SetLen(len) => contents.set_len(*len),
        }
    }
}
