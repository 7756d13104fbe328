//! Where the random choices of a run come from.

/// A source of choices.
pub trait Choices {
    /// A number from 0 to `n - 1`.
    fn below(&mut self, n: u64) -> u64;

    /// Whether there is nothing left to choose from, so that the run should end.
    fn is_spent(&self) -> bool {
        false
    }

    /// One of these.
    fn one_of<T: Copy>(&mut self, values: &[T]) -> T {
        values[self.below(values.len() as u64) as usize]
    }

    /// True in one of `n` cases.
    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// Choices from a seed: SplitMix64, the same on every machine.
#[derive(Clone, Debug)]
pub struct Seeded(u64);

impl Seeded {
    /// The choices of this seed.
    pub fn new(seed: u64) -> Self {
        Seeded(seed.wrapping_mul(0x2545_f491_4f6c_dd1d))
    }
}

impl Choices for Seeded {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }
}

/// Choices from a fuzzer's bytes, one byte each; all 0 once they are used up.
#[derive(Clone, Debug)]
pub struct FromBytes<'a>(&'a [u8]);

impl<'a> FromBytes<'a> {
    /// The choices in these bytes.
    pub fn new(bytes: &'a [u8]) -> Self {
        FromBytes(bytes)
    }
}

impl Choices for FromBytes<'_> {
    fn below(&mut self, n: u64) -> u64 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        u64::from(*first) % n
    }

    fn is_spent(&self) -> bool {
        self.0.is_empty()
    }
}
