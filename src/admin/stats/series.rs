//! Numbers that were read at one moment, and how fast each had grown since the moment before.

/// See the module.
#[derive(Clone, Copy, Debug)]
pub(super) struct Series<const N: usize> {
    numbers: [u64; N],
    /// Each second. Less than a twelfth of a percent is nobody's concern.
    rates: [f32; N],
}

impl<const N: usize> Default for Series<N> {
    fn default() -> Self {
        Series { numbers: [0; N], rates: [0.0; N] }
    }
}

impl<const N: usize> Series<N> {
    /// The next sample, `seconds` after the one before. Something new has no rates yet: when it began, nobody knows.
    pub(super) fn next(before: Option<&Series<N>>, numbers: [u64; N], seconds: f64) -> Series<N> {
        let Some(before) = before.filter(|_| seconds > 0.0) else {
            return Series { numbers, rates: [0.0; N] };
        };
        let rates = std::array::from_fn(|place| {
            // A queue's length falls, too.
            let grown = numbers[place].wrapping_sub(before.numbers[place]) as i64;
            (grown as f64 / seconds) as f32
        });
        Series { numbers, rates }
    }

    pub(super) fn rates(&self) -> &[f32] {
        &self.rates
    }

    /// The rates from this place on.
    pub(super) fn rates_from(&self, place: usize) -> [f32; 3] {
        std::array::from_fn(|number| self.rates.get(place + number).copied().unwrap_or_default())
    }
}
