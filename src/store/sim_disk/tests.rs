use std::collections::BTreeSet;

use super::*;

fn text(disk: &SimDisk, name: &str) -> Option<String> {
    let file = disk.open(name).ok()?;
    let mut bytes = vec![0; file.len().unwrap() as usize];
    file.read_exact_at(&mut bytes, 0).unwrap();
    Some(String::from_utf8(bytes).unwrap())
}

fn write(file: &Arc<dyn DiskFile>, data: &str, offset: u64) {
    file.write_at(&[IoSlice::new(data.as_bytes())], offset).unwrap();
}

/// Everything that a file may hold after a crash.
fn found(disk: &SimDisk, operations: usize, name: &str) -> BTreeSet<Option<String>> {
    (0..2000).map(|seed| text(&disk.image_at(operations, &mut Rng::with_seed(seed)), name)).collect()
}

fn some(texts: &[&str]) -> BTreeSet<Option<String>> {
    texts.iter().map(|text| Some((*text).to_owned())).collect()
}

/// A disk with a file `a` of this text, all safe.
fn synced(data: &str) -> (SimDisk, Arc<dyn DiskFile>) {
    let disk = SimDisk::new();
    let file = disk.create("a").unwrap();
    write(&file, data, 0);
    file.sync_data().unwrap();
    disk.sync_folder().unwrap();
    (disk, file)
}

#[test]
fn what_was_synced_is_in_every_image() {
    let (disk, file) = synced("safe");
    write(&file, " and not", 4);
    let after = found(&disk, disk.operations(), "a");
    assert_eq!(after, some(&["safe", "safe and not", "safe\0\0\0\0\0\0\0\0"]), "the length has its own fate");
    file.sync_data().unwrap();
    assert_eq!(found(&disk, disk.operations(), "a"), some(&["safe and not"]));
    assert_eq!(found(&disk, 4, "a"), some(&["safe"]), "the past stays what it was");
}

#[test]
fn a_name_is_safe_with_the_folder_and_bytes_with_the_file() {
    let disk = SimDisk::new();
    let file = disk.create("a").unwrap();
    write(&file, "x", 0);
    file.sync_data().unwrap();
    let maybe: BTreeSet<_> = [None, Some("x".to_owned())].into();
    assert_eq!(found(&disk, 3, "a"), maybe);
    let image = disk.only_synced();
    assert_eq!(image.list().unwrap(), []);
    disk.sync_folder().unwrap();
    assert_eq!(found(&disk, 4, "a"), some(&["x"]));
    disk.remove("a").unwrap();
    assert_eq!(found(&disk, 5, "a"), maybe, "nor is it gone at once");
    assert_eq!(text(&disk, "a"), None);
    let mut read = [0; 1];
    file.read_exact_at(&mut read, 0).unwrap();
    assert_eq!(read, *b"x", "who has it open reads on");
    disk.sync_folder().unwrap();
    assert_eq!(found(&disk, 6, "a"), [None].into());
}

#[test]
fn a_rename_has_happened_or_not() {
    let (disk, _file) = synced("old");
    let new = disk.create("b").unwrap();
    write(&new, "new", 0);
    new.sync_data().unwrap();
    disk.sync_folder().unwrap();
    disk.rename("b", "a").unwrap();
    let mut seen = BTreeSet::new();
    for seed in 0..200 {
        let image = disk.crash(&mut Rng::with_seed(seed));
        seen.insert((text(&image, "a"), text(&image, "b")));
    }
    let (old, new) = (Some("old".to_owned()), Some("new".to_owned()));
    assert_eq!(seen, [(old, new.clone()), (new, None)].into());
}

#[test]
fn sectors_are_torn_from_each_other_but_never_in_themselves() {
    let (disk, file) = synced(&"-".repeat(3 * contents::SECTOR));
    write(&file, &"1".repeat(3 * contents::SECTOR), 0);
    write(&file, "2", 600);
    let mut seen = BTreeSet::new();
    for found in found(&disk, disk.operations(), "a") {
        let found = found.unwrap();
        let sectors: Vec<_> = found.as_bytes().chunks(contents::SECTOR).collect();
        let kind = |sector: &[u8]| -> u8 {
            let first = sector[0];
            if sector.iter().all(|byte| *byte == first) {
                return first;
            }
            assert_eq!(
                (sector[88], first),
                (b'2', b'1'),
                "a later write brings along what was in the sector"
            );
            b'2'
        };
        seen.insert((kind(sectors[0]), kind(sectors[1]), kind(sectors[2])));
    }
    let all: BTreeSet<_> = [b'-', b'1']
        .iter()
        .flat_map(|a| {
            [b'-', b'1', b'2'].iter().flat_map(move |b| [b'-', b'1'].iter().map(move |c| (*a, *b, *c)))
        })
        .collect();
    assert_eq!(seen, all, "in every combination");
}

#[test]
fn a_cut_that_was_not_synced_may_be_undone() {
    let (disk, file) = synced("abcdef");
    file.set_len(2).unwrap();
    assert_eq!(found(&disk, disk.operations(), "a"), some(&["ab", "abcdef"]));
    file.allocate(0, 4).unwrap();
    assert_eq!(text(&disk, "a").unwrap(), "ab\0\0");
    let after = found(&disk, disk.operations(), "a");
    assert_eq!(after, some(&["ab", "abcdef", "ab\0\0", "abcd"]));
}

#[test]
fn the_same_seed_makes_the_same_image_and_images_are_disks_of_their_own() {
    let (disk, file) = synced("safe");
    for round in 0..100 {
        write(&file, "0123456789", round * 7);
        if round % 9 == 0 {
            file.sync_data().unwrap();
        }
    }
    for operations in 0..=disk.operations() {
        let image = || disk.image_at(operations, &mut Rng::with_seed(operations as u64));
        let first = image();
        assert_eq!(text(&first, "a"), text(&image(), "a"));
        if let Ok(file) = first.open("a") {
            write(&file, "other", 0);
        }
    }
    assert_eq!(disk.operations(), 4 + 100 + 12);
    assert_eq!(&text(&disk.killed(), "a").unwrap()[..7], "0123456");
}

#[test]
fn after_a_failed_sync_nothing_of_the_file_becomes_safe() {
    let (disk, file) = synced("safe");
    write(&file, "lost", 0);
    disk.fail_syncs(1);
    assert!(file.sync_data().is_err());
    file.sync_data().unwrap();
    assert_eq!(text(&disk, "a").unwrap(), "lost", "though it reads as if");
    assert_eq!(text(&disk.only_synced(), "a").unwrap(), "safe");
    disk.create("b").unwrap();
    disk.fail_syncs(1);
    assert!(disk.sync_folder().is_err());
    disk.sync_folder().unwrap();
    assert_eq!(text(&disk.only_synced(), "b"), None);
}

#[test]
fn a_full_disk_cuts_a_write_and_takes_no_more_until_there_is_space() {
    let (disk, file) = synced("1234");
    disk.create("b").unwrap().set_len(4).unwrap();
    disk.set_capacity(Some(10));
    assert_eq!(disk.free_space().unwrap(), 2);
    let error = file.write_at(&[IoSlice::new(b"56"), IoSlice::new(b"789")], 4).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StorageFull);
    assert_eq!(text(&disk, "a").unwrap(), "123456");
    write(&file, "654321", 0);
    assert_eq!(file.allocate(0, 7).unwrap_err().kind(), ErrorKind::StorageFull);
    assert_eq!(file.set_len(7).unwrap_err().kind(), ErrorKind::StorageFull);
    disk.remove("b").unwrap();
    file.allocate(0, 7).unwrap();
    assert_eq!(disk.free_space().unwrap(), 3);
}

#[test]
fn failing_writes_and_reads_change_nothing() {
    let (disk, file) = synced("abc");
    let before = disk.operations();
    disk.fail_writes(true);
    assert!(file.write_at(&[IoSlice::new(b"x")], 0).is_err());
    assert!(file.set_len(0).is_err() && file.allocate(0, 10).is_err());
    assert!(disk.create("b").is_err() && disk.remove("a").is_err() && disk.rename("a", "b").is_err());
    assert_eq!((disk.operations(), text(&disk, "a").as_deref()), (before, Some("abc")));
    disk.fail_writes(false);
    disk.fail_reads(true);
    assert!(file.read_at(&mut [0; 1], 0).is_err());
    disk.fail_reads(false);
    write(&file, "x", 0);
    assert_eq!(text(&disk, "a").unwrap(), "xbc");
}

#[test]
fn ten_thousand_images_of_a_long_history_are_cheap() {
    let disk = SimDisk::new();
    let large = disk.create("large").unwrap();
    large.allocate(0, 64 << 20).unwrap();
    let data = "x".repeat(3000);
    for round in 0..150 {
        write(&large, &data, round * 3000);
        if round % 3 == 0 {
            large.sync_data().unwrap();
        }
    }
    for seed in 0..10_000 {
        let mut rng = Rng::with_seed(seed);
        let at = rng.usize(..=disk.operations());
        assert!(disk.image_at(at, &mut rng).list().unwrap().len() <= 1);
    }
}
