//! The file: copies of it, and files that are no catalog.

use super::*;

#[test]
fn a_snapshot_is_a_catalog_of_its_own() {
    let disk = SimDisk::new();
    let (catalog, _) = open(&disk);
    let mut rng = Rng::with_seed(3);
    let contents = commit(&catalog, (0..40).map(|_| random_change(&mut rng)));
    catalog.change(Change::PutQueue(queue("/", "later", 9))).unwrap();
    let copy = SimDisk::new();
    catalog.snapshot_to(&copy).unwrap();
    let error = catalog.snapshot_to(&copy).unwrap_err();
    assert!(error.to_string().contains("is there already"), "{error}");
    assert_eq!(catalog.pump(), CatalogPumped::Committed);
    let (restored, found) = open(&copy.only_synced());
    assert_eq!((found, restored.node()), (contents, catalog.node()));
    assert_eq!(restored.queue_ids().start, catalog.queue_ids().end);
}

#[test]
fn reading_changes_nothing_on_the_disk() {
    let disk = SimDisk::new();
    assert!(Catalog::read(&disk).unwrap().is_none());
    assert_eq!(disk.operations(), 0);
    let (catalog, _) = open(&disk);
    let contents = commit(&catalog, [Change::PutQueue(queue("/", "q", 1))]);
    let killed = disk.killed();
    assert_eq!(Catalog::read(&killed).unwrap(), Some(contents));
    assert_eq!(killed.operations(), 0);
}

#[test]
fn what_is_no_catalog_is_refused_with_what_to_do() {
    for bytes in [&b""[..], b"x", &[7; 100_000]] {
        let disk = SimDisk::new();
        disk.create(FILE).unwrap().write_at(&[io::IoSlice::new(bytes)], 0).unwrap();
        let error = Catalog::open(Arc::new(disk)).unwrap_err();
        let text = error.to_string();
        assert!(text.contains(FILE) && text.contains("restore the data folder"), "{text}");
    }
}

#[test]
fn a_later_format_is_refused() {
    let disk = SimDisk::new();
    let database = {
        let meta = Meta { node: 1, next_queue_id: 1 };
        create_database(&disk, meta, CatalogContents::default(), &Arc::default()).unwrap()
    };
    let write = database.begin_write().unwrap();
    {
        let meta: redb::TableDefinition<'_, &str, u128> = redb::TableDefinition::new("meta");
        write.open_table(meta).unwrap().insert("format", FORMAT + 1).unwrap();
    }
    write.commit().unwrap();
    drop(database);
    for error in [Catalog::open(Arc::new(disk.clone())).unwrap_err(), Catalog::read(&disk).unwrap_err()] {
        assert!(matches!(error, CatalogError::Newer { found: 2, known: 1 }), "{error}");
    }
}

#[test]
fn a_damaged_byte_is_told_or_means_nothing() {
    let disk = SimDisk::new();
    let (catalog, _) = open(&disk);
    let mut rng = Rng::with_seed(11);
    let contents = commit(&catalog, (0..60).map(|_| random_change(&mut rng)));
    drop(catalog);
    let len = disk.open(FILE).unwrap().len().unwrap();
    let mut told = 0;
    for _ in 0..150 {
        let image = disk.killed();
        let (file, at) = (image.open(FILE).unwrap(), rng.u64(..len.min(64 << 10)));
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).unwrap();
        file.write_at(&[io::IoSlice::new(&[byte[0] ^ (1 << rng.u8(..8))])], at).unwrap();
        match Catalog::read(&image) {
            Ok(found) => assert_eq!(found.as_ref(), Some(&contents), "byte {at}"),
            Err(_) => told += 1,
        }
    }
    assert!(told > 0);
}
