//! Backups of a folder whose segments are made up, with a real catalog.

use std::fs;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rialto_protocol::types::FieldTable;

use super::*;
use crate::model::VhostName;
use crate::store::{Catalog, Change, FileDisk, VhostRow};

/// Three sealed segments and a catalog.
struct Source {
    folder: tempfile::TempDir,
    catalog: Catalog,
    held: AtomicU64,
}

struct Hold<'a>(&'a Source);

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        self.0.held.fetch_sub(1, Ordering::SeqCst);
    }
}

const SEGMENTS: [SegmentId; 3] = [SegmentId(2), SegmentId(3), SegmentId(7)];

impl Source {
    fn new() -> Source {
        let folder = tempfile::tempdir().unwrap();
        for segment in SEGMENTS {
            fs::write(folder.path().join(file_name(segment)), vec![7; 1000 + segment.0 as usize]).unwrap();
        }
        fs::write(folder.path().join("overflow-0000000001.seg"), "transient").unwrap();
        let (catalog, _) = Catalog::open(Arc::new(FileDisk::open(folder.path()).unwrap())).unwrap();
        let name = VhostName::new("shop").unwrap();
        catalog.change(Change::PutVhost(VhostRow { name, metadata: FieldTable::new() })).unwrap();
        catalog.pump();
        Source { folder, catalog, held: AtomicU64::new(0) }
    }

    fn data(&self) -> &Path {
        self.folder.path()
    }
}

impl BackupSource for Source {
    fn hold_deletions(&self) -> Box<dyn Send + '_> {
        self.held.fetch_add(1, Ordering::SeqCst);
        Box::new(Hold(self))
    }

    fn seal(&self) -> io::Result<Vec<SegmentId>> {
        assert_eq!(self.held.load(Ordering::SeqCst), 1, "or a segment could go before it is taken");
        Ok(SEGMENTS.to_vec())
    }

    fn snapshot_catalog(&self, to: &dyn Disk) -> Result<(), CatalogError> {
        self.catalog.snapshot_to(to)
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

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_backup_has_the_sealed_segments_the_catalog_and_a_list_of_them() {
    let source = Source::new();
    let (_folder, to, done) = made(&source);
    assert_eq!((done.segments, done.bytes), (3, 3012));
    let expected = [
        "backup.json",
        "catalog.redb",
        "journal-0000000002.seg",
        "journal-0000000003.seg",
        "journal-0000000007.seg",
    ];
    assert_eq!(names(&to), expected);
    let manifest = Manifest::read(&to).unwrap();
    assert_eq!(manifest.made_at, 5000);
    assert_eq!(manifest.segments[2], ManifestFile { name: "journal-0000000007.seg".to_owned(), bytes: 1007 });
    let contents = Catalog::read(&FileDisk::read_only(&to).unwrap()).unwrap().unwrap();
    assert_eq!(contents.vhosts[0].name.as_str(), "shop");
    assert_eq!(source.held.load(Ordering::SeqCst), 0, "segments may be deleted again");
}

#[test]
fn a_restored_folder_is_the_backup_without_its_list() {
    let source = Source::new();
    let (folder, backup, _) = made(&source);
    let to = folder.path().join("deep/data");
    let done = restore(&backup, &to, &mut go_on).unwrap();
    assert_eq!((done.segments, done.linked), (3, 0), "the backup shares nothing with it");
    assert_eq!(
        names(&to),
        ["catalog.redb", "journal-0000000002.seg", "journal-0000000003.seg", "journal-0000000007.seg"]
    );
    assert_eq!(fs::read(to.join("journal-0000000003.seg")).unwrap(), vec![7; 1003]);
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
    assert_eq!(names(&to), ["letter"]);
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
    fs::remove_file(source.data().join(file_name(SEGMENTS[1]))).unwrap();
    let gone = back_up(&source, source.data(), &to, Timestamp::default(), &mut go_on).unwrap_err();
    assert!(gone.to_string().contains("journal-0000000003.seg"), "{gone}");
    assert!(names(&to).is_empty(), "a folder that was there stays");
    assert!(matches!(restore(&backup, &to, stop), Err(BackupError::Cancelled)));
    assert!(names(&to).is_empty());
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
    assert!(matches!(restore(&to, &folder.path().join("x"), &mut go_on), Err(BackupError::Unfinished(_))));
}

#[test]
fn a_backup_that_was_changed_is_not_restored() {
    let source = Source::new();
    let to = |folder: &tempfile::TempDir| folder.path().join("data");
    let damages: [fn(&Path); 6] = [
        |backup| fs::remove_file(backup.join(MANIFEST)).unwrap(),
        |backup| fs::write(backup.join(MANIFEST), "{").unwrap(),
        |backup| fs::write(backup.join("journal-0000000003.seg"), "short").unwrap(),
        |backup| fs::remove_file(backup.join("journal-0000000003.seg")).unwrap(),
        |backup| fs::remove_file(backup.join(CATALOG)).unwrap(),
        |backup| {
            let path = backup.join(MANIFEST);
            let text = fs::read_to_string(&path).unwrap().replace("journal-0000000003.seg", "../../letter");
            fs::write(path, text).unwrap();
        },
    ];
    for (number, damage) in damages.into_iter().enumerate() {
        let (folder, backup, _) = made(&source);
        // A copy: the segments themselves are shared with the source.
        let copied = folder.path().join("copied");
        fs::create_dir(&copied).unwrap();
        for name in names(&backup) {
            fs::copy(backup.join(&name), copied.join(&name)).unwrap();
        }
        damage(&copied);
        assert!(restore(&copied, &to(&folder), &mut go_on).is_err(), "damage {number}");
        assert!(!to(&folder).exists(), "damage {number}");
    }
}

#[test]
fn links_cost_nothing_and_outlive_what_is_deleted() {
    let source = Source::new();
    // In the same folder, so that it is the same file system.
    let to = source.data().join("backup");
    let done = back_up(&source, source.data(), &to, Timestamp::default(), &mut go_on).unwrap();
    assert_eq!(done.linked, 3);
    fs::remove_file(source.data().join(file_name(SEGMENTS[0]))).unwrap();
    assert_eq!(fs::read(to.join(file_name(SEGMENTS[0]))).unwrap().len(), 1002);
}
