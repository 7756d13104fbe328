//! When a change is safe: groups, crashes, disks that fail, and the thread that commits.

use std::sync::atomic::AtomicUsize;
use std::sync::mpsc;

use super::*;
use crate::store::FileDisk;

#[test]
fn what_has_gathered_is_committed_together() {
    let disk = SimDisk::new();
    let (catalog, _) = open(&disk);
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    catalog.on_progress(Box::new(move || {
        counted.fetch_add(1, Ordering::Relaxed);
    }));
    assert_eq!(catalog.pump(), CatalogPumped::Idle);
    let versions: Vec<_> = (1..=50)
        .map(|id| catalog.change(Change::PutQueue(queue("/", &format!("q{id}"), id))).unwrap())
        .collect();
    assert_eq!(versions, (1..=50).collect::<Vec<_>>());
    assert_eq!((catalog.committed(), catalog.contents().unwrap()), (0, CatalogContents::default()));
    let before = disk.operations();
    assert_eq!(catalog.pump(), CatalogPumped::Committed);
    assert!(disk.operations() - before < 50, "{} operations", disk.operations() - before);
    assert_eq!((catalog.committed(), calls.load(Ordering::Relaxed)), (50, 1));
    let group = [Change::PutQueue(queue("/", "a", 51)), delete_queue("/", "q1", 1)];
    assert_eq!(catalog.change_all(group).unwrap(), 52);
    assert_eq!((catalog.pump(), catalog.committed()), (CatalogPumped::Committed, 52));
}

#[test]
fn after_a_crash_at_any_operation_there_is_all_that_was_committed_and_nothing_in_part() {
    for seed in 0..3 {
        let mut rng = Rng::with_seed(seed);
        let disk = SimDisk::new();
        let (catalog, _) = open(&disk);
        // After so many operations there was this.
        let mut states = vec![(disk.operations(), CatalogContents::default())];
        for _ in 0..12 {
            let count = rng.usize(1..6);
            let contents = commit(&catalog, (0..count).map(|_| random_change(&mut rng)));
            states.push((disk.operations(), contents));
        }
        let mut kept = 0;
        for operations in 0..=disk.operations() {
            for _ in 0..2 {
                let image = disk.image_at(operations, &mut rng);
                let (again, found) = Catalog::open(Arc::new(image.clone())).unwrap();
                let safe = states.iter().rposition(|(at, _)| *at <= operations).unwrap_or(0);
                let next = states.get(safe + 1).map(|(_, contents)| contents);
                let is_next = next == Some(&found);
                assert!(
                    found == states[safe].1 || is_next,
                    "seed {seed}, operation {operations}: {found:?} is neither what was committed nor what was on the way"
                );
                kept += usize::from(is_next && found != states[safe].1);
                let went_on = commit(&again, [Change::PutQueue(queue("z", "z", 9))]);
                assert_eq!(went_on.queues.len(), found.queues.len() + 1, "and it goes on");
            }
        }
        assert!(kept > 0, "some crashes come too late to lose what was on the way");
    }
}

#[test]
fn identities_of_queues_are_never_used_twice_whatever_crashes() {
    let mut rng = Rng::with_seed(5);
    let mut disk = SimDisk::new();
    let mut used = 0;
    for _ in 0..40 {
        let (catalog, _) = open(&disk);
        let ids = catalog.queue_ids();
        assert!(ids.start >= used && ids.end - ids.start == QUEUE_IDS, "{ids:?} after {used}");
        used = ids.end;
        disk = disk.crash(&mut rng);
    }
}

#[test]
fn a_failed_sync_ends_it_for_good() {
    let disk = SimDisk::new();
    let (catalog, _) = open(&disk);
    let told = Arc::new(AtomicUsize::new(0));
    let counted = told.clone();
    catalog.on_progress(Box::new(move || {
        counted.fetch_add(1, Ordering::Relaxed);
    }));
    let before = commit(&catalog, [Change::PutQueue(queue("/", "safe", 1))]);
    catalog.change(Change::PutQueue(queue("/", "lost", 2))).unwrap();
    disk.fail_syncs(1);
    assert_eq!(catalog.pump(), CatalogPumped::Stopped);
    assert_eq!((catalog.committed(), told.load(Ordering::Relaxed)), (1, 2));
    assert_eq!(catalog.pump(), CatalogPumped::Stopped, "though syncs would work again");
    let error = catalog.change(delete_queue("/", "safe", 1)).unwrap_err();
    assert!(matches!(&error, CatalogError::Stopped(why) if why.contains("failure to sync")), "{error}");
    assert!(catalog.failure().unwrap().contains("failure to sync"));
    assert!(matches!(catalog.contents(), Err(CatalogError::Stopped(_))), "nor is the file touched again");
    drop(catalog);
    assert_eq!(Catalog::read(&disk.only_synced()).unwrap(), Some(before));
}

#[test]
fn a_failed_write_ends_it_too() {
    let disk = SimDisk::new();
    let (catalog, _) = open(&disk);
    let before = commit(&catalog, [Change::PutQueue(queue("/", "safe", 1))]);
    catalog.change(Change::PutQueue(queue("/", "lost", 2))).unwrap();
    disk.fail_writes(true);
    assert_eq!((catalog.pump(), catalog.committed()), (CatalogPumped::Stopped, 1));
    disk.fail_writes(false);
    drop(catalog);
    assert_eq!(open(&disk).1, before);
}

#[test]
fn a_full_disk_is_waited_for() {
    let disk = SimDisk::new();
    let (catalog, _) = open(&disk);
    let told = Arc::new(AtomicUsize::new(0));
    let counted = told.clone();
    catalog.on_progress(Box::new(move || {
        counted.fetch_add(1, Ordering::Relaxed);
    }));
    disk.set_capacity(Some(0));
    let large = |number: u64| {
        let arguments = FieldTable::new().with("x", "x".repeat(100_000));
        Change::PutQueue(QueueRow { arguments, ..queue("/", &format!("q{number}"), number) })
    };
    let mut queued = 0;
    while catalog.full().is_none() {
        queued += 1;
        assert!(queued < 1000, "the file has to grow some time");
        catalog.change(large(queued)).unwrap();
        catalog.pump();
    }
    let committed = catalog.committed();
    assert_eq!((committed, told.load(Ordering::Relaxed) as u64), (queued - 1, queued));
    assert!(catalog.full().unwrap().contains("full") && catalog.failure().is_none());
    catalog.change(large(queued + 1)).unwrap();
    assert_eq!((catalog.pump(), catalog.committed()), (CatalogPumped::Full, committed));
    assert_eq!(told.load(Ordering::Relaxed) as u64, queued, "nothing new, nobody told");
    assert_eq!(catalog.contents().unwrap().queues.len() as u64, committed, "it can be read meanwhile");
    disk.set_capacity(None);
    assert_eq!((catalog.pump(), catalog.committed()), (CatalogPumped::Committed, queued + 1));
    assert_eq!(catalog.full(), None);
    assert_eq!(catalog.contents().unwrap().queues.len() as u64, queued + 1);
    assert_eq!(Catalog::read(&disk.only_synced()).unwrap().unwrap().queues.len() as u64, queued + 1);
}

#[test]
fn the_thread_commits_what_comes_and_what_is_left_at_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Arc::new(FileDisk::open(folder.path()).unwrap());
    let (catalog, _) = Catalog::open(disk.clone()).unwrap();
    let catalog = Arc::new(catalog);
    let (tell, told) = mpsc::channel();
    catalog.on_progress(Box::new(move || {
        let _ = tell.send(());
    }));
    let thread = catalog.spawn_writer().unwrap();
    let version = catalog.change(Change::PutQueue(queue("/", "a", 1))).unwrap();
    while catalog.committed() < version {
        told.recv().unwrap();
    }
    for id in 2..100 {
        catalog.change(Change::PutQueue(queue("/", &format!("q{id}"), id))).unwrap();
    }
    catalog.close();
    let error = catalog.change(delete_queue("/", "a", 1)).unwrap_err();
    assert_eq!(error.to_string(), "the catalog takes no changes: the broker is stopping");
    thread.join().unwrap();
    assert_eq!((catalog.committed(), catalog.failure()), (99, None));
    drop(catalog);
    let (_, found) = Catalog::open(disk).unwrap();
    assert_eq!(found.queues.len(), 99);
}

#[test]
fn no_more_changes_wait_than_there_may() {
    let (catalog, _) = open(&SimDisk::new());
    let change = delete_queue("/", "q", 1);
    catalog.change_all(std::iter::repeat_n(change.clone(), BACKLOG_MAX - 1)).unwrap();
    catalog.change(change.clone()).unwrap();
    assert!(matches!(catalog.change(change), Err(CatalogError::Behind)));
}

#[test]
fn what_changes_while_it_is_held_is_there_after_a_crash_as_a_whole_or_not_at_all() {
    let disk = SimDisk::new();
    let (catalog, _) = open(&disk);
    let catalog = Arc::new(catalog);
    let before = commit(&catalog, [Change::PutQueue(queue("/", "before", 1))]);
    let from = disk.operations();
    let hold = catalog.hold(3).unwrap();
    let second = catalog.hold(0).unwrap();
    for id in 2..5 {
        let version = catalog.change(Change::PutQueue(queue("/", &format!("q{id}"), id))).unwrap();
        assert_eq!((catalog.pump(), catalog.committed()), (CatalogPumped::Idle, 1), "{version}");
    }
    drop(hold);
    assert_eq!(catalog.pump(), CatalogPumped::Idle, "one of two");
    drop(second);
    assert_eq!((catalog.pump(), catalog.committed()), (CatalogPumped::Committed, 4));
    let after = catalog.contents().unwrap();
    assert_eq!(after.queues.len(), 4);
    let mut rng = Rng::with_seed(13);
    for operations in from..=disk.operations() {
        let (_, found) = open(&disk.image_at(operations, &mut rng));
        assert!(found == before || found == after, "operation {operations}: {found:?}");
    }
    assert_eq!(open(&disk.only_synced()).1, after);
}

#[test]
fn what_is_held_when_it_is_closed_is_brought_to_its_end() {
    let disk = SimDisk::new();
    let (catalog, _) = open(&disk);
    let catalog = Arc::new(catalog);
    let thread = catalog.spawn_writer().unwrap();
    let hold = catalog.hold(2).unwrap();
    catalog.change(Change::PutQueue(queue("/", "a", 1))).unwrap();
    catalog.close();
    catalog.change(Change::PutQueue(queue("/", "b", 2))).unwrap();
    drop(hold);
    thread.join().unwrap();
    assert!(catalog.change(delete_queue("/", "a", 1)).is_err() && catalog.hold(1).is_err());
    assert_eq!(open(&disk).1.queues.len(), 2);
}

#[test]
fn it_is_held_only_with_room_for_what_comes() {
    let (catalog, _) = open(&SimDisk::new());
    let catalog = Arc::new(catalog);
    assert!(matches!(catalog.hold(BACKLOG_MAX + 1), Err(CatalogError::Behind)));
    let changes = || std::iter::repeat_n(delete_queue("/", "q", 1), BACKLOG_MAX / 2);
    let hold = catalog.hold(BACKLOG_MAX).unwrap();
    catalog.change_all(changes()).unwrap();
    assert!(!catalog.is_behind(), "whoever has asked for room may use it");
    drop(hold);
    assert!(catalog.is_behind());
}
