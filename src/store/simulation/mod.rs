//! Random histories of a journal on a simulated disk, crashed after every operation of the disk, against a model.
//!
//! A history runs once: publishes to several queues, settlements, returns, moves of dead letters, transactions, queues
//! that go, maintenance. Then, for every operation of the disk, an image is made as a crash there might have left it
//! and recovered. What must hold (`check`): everything committed has happened; everything else has happened as a
//! whole or not at all; nothing else is there; bodies are what they were. Then a new history goes on from one of the
//! images, so that what recovery tells the journal is put to the test, too.
//!
//! Invariant: a seed says everything. Here for the project's own tests and tools, not part of the broker.

mod check;
mod history;
mod model;

use fastrand::Rng;

use super::SimDisk;
use crate::model::{Lsn, QueueId};
use check::check;
use history::History;
use model::Model;

/// What a simulation did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Crashes, each recovered and compared.
    pub crashes: u64,
    /// Records appended.
    pub appends: u64,
    /// Pairs of queue and message found alive, over all crashes.
    pub alive: u64,
    /// Segments that were removed.
    pub removed_segments: u64,
    /// Bytes of survivors that were copied.
    pub copied_bytes: u64,
    /// Records that were settled before they were written.
    pub elided_records: u64,
}

impl Tally {
    /// Adds what another simulation did.
    pub fn add(&mut self, other: &Tally) {
        self.crashes += other.crashes;
        self.appends += other.appends;
        self.alive += other.alive;
        self.removed_segments += other.removed_segments;
        self.copied_bytes += other.copied_bytes;
        self.elided_records += other.elided_records;
    }
}

/// A mistake that the simulation must find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlantedBug {
    /// There is none.
    None,
    /// What is written is told to be committed before it is synced.
    CommitBeforeSync,
}

/// Histories from one seed, `operations` in all, with a crash after every operation of the disk.
///
/// # Errors
/// What was lost, came back, was applied in part or was damaged, and where.
pub fn simulate(seed: u64, operations: u32) -> Result<Tally, String> {
    simulate_with(seed, operations, PlantedBug::None)
}

/// [`simulate`], with a mistake that it must find.
///
/// # Errors
/// As there.
pub fn simulate_with(seed: u64, operations: u32, bug: PlantedBug) -> Result<Tally, String> {
    let mut rng = Rng::with_seed(seed);
    let mut tally = Tally::default();
    let mut disk = SimDisk::new();
    let mut model = Model::new();
    let generations = rng.u32(1..=3);
    for generation in 0..generations {
        let wrong = |text: String| format!("seed {seed}, generation {generation}: {text}");
        let mut history = History::start(disk.clone(), model, &mut rng, bug).map_err(wrong)?;
        for step in 0..operations / generations {
            history.step(&mut rng).map_err(|text| wrong(format!("step {step}: {text}")))?;
        }
        history.finish(&mut tally, rng.bool()).map_err(wrong)?;
        let ends = disk.operations();
        let next = rng.usize(ends / 2..=ends);
        let mut carried = None;
        for operation in 0..=ends {
            let image = disk.image_at(operation, &mut rng);
            let wrong = |text: String| wrong(format!("crash after operation {operation} of {ends}: {text}"));
            let found = check(&history, operation, image, &mut rng).map_err(wrong)?;
            tally.crashes += 1;
            tally.alive += found.alive;
            if operation == next {
                carried = Some((found.disk, found.model));
            }
        }
        (disk, model) = carried.expect("one of the operations was chosen");
    }
    Ok(tally)
}

/// A queue and a message in it.
type Pair = (QueueId, Lsn);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_crash_loses_or_resurrects_anything() {
        let mut sum = Tally::default();
        for seed in 0..4 {
            sum.add(&simulate(seed, 80).unwrap());
        }
        assert!(sum.removed_segments > 0 && sum.copied_bytes > 0 && sum.elided_records > 0, "{sum:?}");
    }

    /// `SEEDS=100-200 cargo test --lib simulation -- --ignored` runs that many more.
    #[test]
    #[ignore = "takes minutes: for a change of the journal"]
    fn no_crash_of_many_histories_loses_or_resurrects_anything() {
        let seeds = std::env::var("SEEDS").unwrap_or("100-140".to_owned());
        let (from, to) = seeds.split_once('-').expect("SEEDS is from-to");
        let (mut failures, mut sum) = (0, Tally::default());
        for seed in from.parse().unwrap()..to.parse().unwrap() {
            match simulate(seed, 120) {
                Ok(tally) => sum.add(&tally),
                Err(text) => {
                    println!("{text}");
                    failures += 1;
                }
            }
        }
        println!("{sum:?}");
        assert_eq!(failures, 0);
    }

    #[test]
    fn a_commit_before_the_sync_is_caught() {
        let caught = (0..5).find_map(|seed| simulate_with(seed, 60, PlantedBug::CommitBeforeSync).err());
        let text = caught.expect("the planted bug must be found");
        assert!(text.contains("seed"), "{text}");
    }
}
