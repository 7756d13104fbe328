//! Backups of a real journal and catalog, while something is written to them.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rialto_protocol::types::FieldTable;

use super::files::Folder;
use super::*;
use crate::model::{
    BatchBuilder, ExchangeName, ManualClock, MemoryGauge, MessageRoute, QueueId, RoutingKey, VhostName,
};
use crate::store::check::check;
use crate::store::journal::{Journal, JournalOptions, Pumped};
use crate::store::recovery::{OnDamage, RecoveryOptions, recover};
use crate::store::{
    Catalog, Change, FileDisk, Log, Part, PublishPart, StoredMessage, StoredTarget, VhostRow,
};

const QUEUE: QueueId = QueueId(1);

/// A journal of some segments and a catalog, pumped by hand.
struct Source {
    folder: tempfile::TempDir,
    journal: Arc<Journal>,
    running: RunningStore,
    catalog: Arc<Catalog>,
    held: AtomicU64,
}

struct Hold<'a> {
    held: &'a AtomicU64,
    _journal: Box<dyn Send + 'a>,
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        self.held.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Source {
    /// With so many messages of a kilobyte, all committed.
    fn with(messages: usize) -> Source {
        let folder = tempfile::tempdir().unwrap();
        let disk = Arc::new(FileDisk::open(folder.path()).unwrap());
        let (catalog, _) = Catalog::open(disk.clone()).unwrap();
        let name = VhostName::new("shop").unwrap();
        catalog.change(Change::PutVhost(VhostRow { name, metadata: FieldTable::new() })).unwrap();
        catalog.pump();
        let options =
            JournalOptions { segment_size: 16 << 10, free_space_min: 0, ..JournalOptions::default() };
        let clock = Arc::new(ManualClock::new());
        let recovery = RecoveryOptions { on_damage: OnDamage::Refuse, exists: &|_| true };
        let nothing = recover(&*disk, &recovery, &mut |_| {}).unwrap();
        let journal = Arc::new(Journal::start(disk, clock, options, &nothing).unwrap());
        journal.add_queue(QUEUE);
        let catalog = Arc::new(catalog);
        let running = RunningStore::new(journal.clone(), catalog.clone());
        let source = Source { folder, journal, running, catalog, held: AtomicU64::new(0) };
        for _ in 0..messages {
            source.publish();
        }
        source.pump();
        source
    }

    fn new() -> Source {
        Self::with(50)
    }

    fn data(&self) -> &Path {
        self.folder.path()
    }

    /// Appends a message, which nobody has written yet.
    fn publish(&self) {
        let exchange = ExchangeName::new("orders").unwrap();
        let route = MessageRoute { exchange, routing_key: RoutingKey::new("new").unwrap() };
        let mut builder = BatchBuilder::default();
        builder.push_content(&route, &[], &[b'x'; 1000], true);
        let message = builder.finish(&MemoryGauge::new()).next().unwrap();
        let stored = StoredMessage {
            lsn: self.journal.reserve(1),
            entry_len: message.len() as u32,
            body_len: 1000,
            route: 0,
            priority: None,
            ttl_ms: None,
            delay_ms: None,
        };
        let target = StoredTarget { queue: QUEUE, first: 0, count: 1 };
        let part = PublishPart {
            batch: message.batch(),
            at: Timestamp::from_millis(1),
            messages: &[stored],
            targets: &[target],
        };
        self.journal.append(&[Part::Publish(part)]).unwrap();
    }

    fn pump(&self) {
        while self.journal.pump() == Pumped::Wrote {}
    }
}

impl BackupSource for Source {
    fn hold_deletions(&self) -> Box<dyn Send + '_> {
        self.held.fetch_add(1, Ordering::SeqCst);
        Box::new(Hold { held: &self.held, _journal: self.running.hold_deletions() })
    }

    fn committed(&self) -> Location {
        assert_eq!(self.held.load(Ordering::SeqCst), 1, "or a segment could go before it is taken");
        self.running.committed()
    }

    fn snapshot_catalog(&self, to: &dyn Disk) -> Result<(), CatalogError> {
        // Something is written in the middle of every backup.
        self.publish();
        self.pump();
        self.running.snapshot_catalog(to)
    }
}

fn go_on(_: Progress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn made(source: &Source) -> (tempfile::TempDir, PathBuf, Done) {
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("backup");
    let done = back_up(source, source.data(), &to, Timestamp::from_millis(5), &mut go_on).unwrap();
    (folder, to, done)
}

/// Names and contents.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder).unwrap().map(Result::unwrap).filter(|entry| entry.path().is_file());
    entries.map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())).collect()
}

fn segments(folder: &Path) -> Vec<String> {
    files(folder).into_keys().filter(|name| name.ends_with(".seg")).collect()
}

/// Messages that a start from this folder would find; nothing may be damaged or torn.
fn messages(folder: &Path) -> u64 {
    let disk = FileDisk::read_only(folder).unwrap();
    let checked = check(&disk, &mut |_| {}).unwrap();
    assert_eq!((checked.damage, checked.cut), (Vec::new(), None));
    let options = RecoveryOptions { on_damage: OnDamage::Refuse, exists: &|queue| queue == QUEUE };
    recover(&disk, &options, &mut |_| {}).unwrap().queues[&QUEUE].messages()
}

#[test]
fn a_backup_has_what_was_committed_when_it_began() {
    let source = Source::new();
    // Nobody was told that this one is safe.
    source.publish();
    let (_folder, to, done) = made(&source);
    assert_eq!(messages(&to), 50);
    assert_eq!(messages(source.data()), 52, "it goes on meanwhile");
    assert!(done.segments > 2 && done.linked < done.segments, "{done:?}");
    assert_eq!(segments(&to).len() as u64, done.segments);
    let manifest = Manifest::read(&to).unwrap();
    assert_eq!((manifest.made_at, manifest.segments.len() as u64), (5000, done.segments));
    let contents = Catalog::read(&FileDisk::read_only(&to).unwrap()).unwrap().unwrap();
    assert_eq!(contents.vhosts[0].name.as_str(), "shop");
    assert_eq!(source.held.load(Ordering::SeqCst), 0, "segments may be deleted again");
    let others: Vec<_> = files(&to).into_keys().filter(|name| !name.ends_with(".seg")).collect();
    assert_eq!(others, ["backup.json", "catalog.redb", "running"]);
}

#[test]
fn a_journal_without_a_message_can_be_backed_up() {
    let source = Source::with(0);
    let (folder, backup, done) = made(&source);
    assert_eq!(done.segments, 0);
    let to = folder.path().join("data");
    restore(&backup, &to, &mut go_on).unwrap();
    assert_eq!(files(&to).into_keys().collect::<Vec<_>>(), ["catalog.redb", "running"]);
}

#[test]
fn a_segment_that_is_not_sealed_yet_is_taken_as_far_as_its_records_go() {
    let source = Source::new();
    let whole = messages(&made(&source).1);
    let names = segments(source.data());
    let before_last = &names[names.len() - 2];
    // As if half of its index were written.
    let path = source.data().join(before_last);
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() - 20]).unwrap();
    let (_folder, to, _) = made(&source);
    assert_eq!(messages(&to), whole + 1);
}

#[test]
fn a_restored_folder_is_the_backup_without_its_list() {
    let source = Source::new();
    let (folder, backup, _) = made(&source);
    let before = files(&backup);
    let to = folder.path().join("deep/data");
    let done = restore(&backup, &to, &mut go_on).unwrap();
    assert_eq!(done.linked, 0, "the backup shares nothing with it");
    let mut expected = before.clone();
    expected.remove(MANIFEST);
    assert_eq!(files(&to), expected);
    assert_eq!(files(&backup), before, "it stays as it is");
    check_finished(&to).unwrap();
}

#[test]
fn a_folder_that_is_not_empty_is_refused_and_left_alone() {
    let source = Source::new();
    let (folder, backup, _) = made(&source);
    let to = folder.path().join("other");
    fs::create_dir(&to).unwrap();
    fs::write(to.join("letter"), "dear").unwrap();
    let again = back_up(&source, source.data(), &to, Timestamp::default(), &mut go_on);
    assert!(matches!(again, Err(BackupError::NotEmpty(_))), "{again:?}");
    assert!(matches!(restore(&backup, &to, &mut go_on), Err(BackupError::NotEmpty(_))));
    assert_eq!(files(&to).into_keys().collect::<Vec<_>>(), ["letter"]);
}

#[test]
fn what_is_cancelled_or_fails_leaves_nothing() {
    let source = Source::new();
    let (folder, backup, _) = made(&source);
    let to = folder.path().join("cancelled");
    let stop = &mut |_| ControlFlow::Break(());
    let cancelled = back_up(&source, source.data(), &to, Timestamp::default(), stop);
    assert!(matches!(cancelled, Err(BackupError::Cancelled)));
    assert!(!to.exists() && source.held.load(Ordering::SeqCst) == 0);
    fs::create_dir(&to).unwrap();
    assert!(matches!(restore(&backup, &to, stop), Err(BackupError::Cancelled)));
    assert!(files(&to).is_empty(), "a folder that was there stays");
}

#[test]
fn nobody_starts_from_a_folder_that_is_not_whole() {
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("data");
    let begun = Folder::begin(&to).unwrap();
    assert!(matches!(check_finished(&to), Err(BackupError::Unfinished(_))));
    let second = Folder::begin(&to).err().unwrap();
    assert!(matches!(second, BackupError::NotEmpty(_)), "{second}");
    // As if the process had been killed.
    std::mem::forget(begun);
    let restored = restore(&to, &folder.path().join("x"), &mut go_on);
    assert!(matches!(restored, Err(BackupError::Unfinished(_))));
}

#[test]
fn a_backup_that_was_changed_is_not_restored() {
    let source = Source::new();
    let name = segments(source.data()).remove(1);
    type Damage<'a> = &'a dyn Fn(&Path) -> io::Result<()>;
    let damages: [Damage<'_>; 6] = [
        &|backup| fs::remove_file(backup.join(MANIFEST)),
        &|backup| fs::write(backup.join(MANIFEST), "{"),
        &|backup| fs::remove_file(backup.join(&name)).and_then(|()| fs::write(backup.join(&name), "short")),
        &|backup| fs::remove_file(backup.join(&name)),
        &|backup| fs::remove_file(backup.join(CATALOG)),
        &|backup| {
            let text = fs::read_to_string(backup.join(MANIFEST))?.replace(&name, "../../letter");
            fs::write(backup.join(MANIFEST), text)
        },
    ];
    for (number, damage) in damages.iter().enumerate() {
        let (folder, backup, _) = made(&source);
        damage(&backup).unwrap();
        let to = folder.path().join("data");
        assert!(restore(&backup, &to, &mut go_on).is_err(), "damage {number}");
        assert!(!to.exists(), "damage {number}");
    }
}

#[test]
fn links_outlive_what_is_deleted() {
    let source = Source::new();
    // In the same folder, so that it is the same file system.
    let to = source.data().join("backup");
    let done = back_up(&source, source.data(), &to, Timestamp::default(), &mut go_on).unwrap();
    assert_eq!(done.linked, done.segments - 1, "all but the one that is written to");
    fs::remove_file(source.data().join(segments(source.data()).remove(0))).unwrap();
    assert_eq!(messages(&to), 50);
}

#[test]
fn a_catalog_that_changes_meanwhile_is_not_older_than_the_journal() {
    let source = Source::new();
    let name = VhostName::new("late").unwrap();
    source.catalog.change(Change::PutVhost(VhostRow { name, metadata: FieldTable::new() })).unwrap();
    source.catalog.pump();
    let (_folder, to, _) = made(&source);
    let contents = Catalog::read(&FileDisk::read_only(&to).unwrap()).unwrap().unwrap();
    assert_eq!(contents.vhosts.len(), 2);
}
