//! How long things took, counted by powers of two: what a histogram is made of.
//!
//! A batch mostly shares one time, so a [`Durations`] is a short list of buckets that were hit; whoever hosts the queue
//! adds it up. Not here: the sums over all queues (the broker).

/// Buckets of a histogram: the last one, without a bound, begins at six days.
pub const DURATION_BUCKETS: usize = 41;

/// Durations of one batch. Reused for its memory, which is bounded by the number of buckets.
#[derive(Debug, Default)]
pub struct Durations {
    /// The last duration, and how often it came in a row: most of a batch took the same time.
    run: (u64, u64),
    /// Buckets and how often each was hit before that.
    hits: Vec<(u8, u64)>,
    /// Of all together, in microseconds.
    sum: u64,
}

impl Durations {
    /// `count` things took so many microseconds each.
    #[inline]
    pub fn add(&mut self, micros: u64, count: u64) {
        if micros != self.run.0 {
            self.end_run();
            self.run.0 = micros;
        }
        self.run.1 += count;
    }

    fn end_run(&mut self) {
        let (micros, count) = std::mem::take(&mut self.run);
        if count == 0 {
            return;
        }
        let bucket = bucket(micros);
        self.sum = self.sum.saturating_add(micros.saturating_mul(count));
        match self.hits.iter_mut().find(|(other, _)| *other == bucket) {
            Some((_, hits)) => *hits += count,
            None => self.hits.push((bucket, count)),
        }
    }

    /// Whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        self.hits.is_empty() && self.run.1 == 0
    }

    /// Takes everything: one call for each bucket that was hit. Answers the sum in microseconds.
    pub fn drain(&mut self, mut each: impl FnMut(usize, u64)) -> u64 {
        self.end_run();
        self.hits.drain(..).for_each(|(bucket, hits)| each(usize::from(bucket), hits));
        std::mem::take(&mut self.sum)
    }

    /// Forgets everything but the memory.
    pub fn clear(&mut self) {
        self.drain(|_, _| ());
    }
}

/// The longest duration of a bucket, in microseconds; none for the last.
pub fn bucket_bound(bucket: usize) -> Option<u64> {
    (bucket + 1 < DURATION_BUCKETS).then(|| 1 << bucket)
}

/// Bucket `n` has what took longer than 2^(n-1) microseconds, and at most 2^n.
fn bucket(micros: u64) -> u8 {
    let bits = u64::BITS - micros.saturating_sub(1).leading_zeros();
    bits.min(DURATION_BUCKETS as u32 - 1) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_in_the_first_bucket_whose_bound_it_does_not_exceed() {
        for micros in (0..5000).chain([u64::MAX / 4, u64::MAX]) {
            let bucket = usize::from(bucket(micros));
            assert!(bucket_bound(bucket).is_none_or(|bound| micros <= bound), "{micros}");
            assert!(bucket == 0 || bucket_bound(bucket - 1).is_some_and(|bound| micros > bound), "{micros}");
        }
    }

    #[test]
    fn a_batch_is_a_few_hits_however_mixed_it_is() {
        let mut durations = Durations::default();
        for micros in (0..100_000).map(|n| (n * 7919) % 4096) {
            durations.add(micros, 2);
        }
        assert!(durations.hits.len() <= 13);
        let mut hits = 0;
        let sum = durations.drain(|_, count| hits += count);
        assert_eq!((hits, durations.is_empty()), (200_000, true));
        assert!(sum > 0 && durations.sum == 0);
    }
}
