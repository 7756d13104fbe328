//! The queue machine behaves like its naive twin, whatever is done to it.
//!
//! Seeds that failed are printed; `RIALTO_MODEL_SEEDS` sets how many are tried (1,000 for a release),
//! `RIALTO_MODEL_SEED` tries a single one.

use rialto::queue::model::{Mutation, Seeded, Tally, run};

const OPERATIONS: usize = 1000;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn the_machine_does_what_its_naive_twin_does() {
    let seeds = match number("RIALTO_MODEL_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("RIALTO_MODEL_SEEDS").unwrap_or(200),
    };
    let mut total = Tally::default();
    for seed in seeds.clone() {
        match run(&mut Seeded::new(seed), OPERATIONS, None) {
            Ok(tally) => total.add(&tally),
            Err(difference) => panic!("seed {seed}, {difference}"),
        }
    }
    println!("{} seeds: {total:?}", seeds.end - seeds.start);
    let tried = seeds.end - seeds.start;
    if tried >= 100 {
        let Tally { operations, delivered, acked, returned, rejected, expired, .. } = total;
        let Tally {
            max_length,
            late,
            delayed,
            duplicates,
            delivery_limit,
            refused,
            paused,
            settle_errors,
            consume_errors,
            deleted,
            paged,
            spilled,
            loaded,
            restarts,
            taken,
            looked_at,
            pauses,
            ..
        } = total;
        for (rule, count) in [
            ("operations", operations),
            ("delivered", delivered),
            ("acked", acked),
            ("returned", returned),
            ("rejected", rejected),
            ("expired", expired),
            ("maxlen", max_length),
            ("held for too long", late),
            ("delayed", delayed),
            ("duplicates", duplicates),
            ("delivery limit", delivery_limit),
            ("refused", refused),
            ("not active", paused[0]),
            ("prefetch", paused[1]),
            ("credit", paused[2]),
            ("outbox full", paused[3]),
            ("channel prefetch", paused[4]),
            ("settle errors", settle_errors),
            ("consume errors", consume_errors),
            ("deleted", deleted),
            ("paged out", paged),
            ("spilled", spilled),
            ("loaded", loaded),
            ("restarts", restarts),
            ("taken out", taken),
            ("looked at", looked_at),
            ("pauses", pauses),
        ] {
            assert!(count > tried / 10, "the operations hardly reach this rule: {rule} ({count} times)");
        }
    }
}

#[test]
fn every_planted_bug_is_found() {
    for &mutation in Mutation::ALL {
        let found = (0..100).find(|seed| run(&mut Seeded::new(*seed), OPERATIONS, Some(mutation)).is_err());
        match found {
            Some(seed) => println!("{mutation:?}: found with seed {seed}"),
            None => panic!("{mutation:?} goes unnoticed"),
        }
    }
}
