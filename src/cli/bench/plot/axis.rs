//! Where values stand along an axis, and which of them are named.

/// How values are spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spread {
    Even,
    /// By powers of ten.
    Log,
}

/// From the lowest value to the highest.
#[derive(Clone, Copy, Debug)]
pub(super) struct Axis {
    spread: Spread,
    low: f64,
    high: f64,
}

/// So many times the lowest value is the highest from which an axis goes by powers of ten.
const LOG_FROM: f64 = 50.0;

/// About so many values are named.
const NAMED: f64 = 5.0;

impl Axis {
    /// From zero, or by powers of ten where values are far apart.
    pub(super) fn from_zero(values: &[f64]) -> Axis {
        let (low, high) = bounds(values);
        match low > 0.0 && high / low >= LOG_FROM {
            true => Axis::log(values),
            false => {
                let high = if high > 0.0 { high } else { 1.0 };
                let step = step(high);
                Axis { spread: Spread::Even, low: 0.0, high: (high * 1.05 / step).ceil() * step }
            }
        }
    }

    /// From the lowest to the highest, by powers of ten where they are far apart.
    pub(super) fn between(values: &[f64]) -> Axis {
        let (low, high) = bounds(values);
        match low > 0.0 && high / low >= LOG_FROM {
            true => Axis { spread: Spread::Log, low, high },
            false if low == high => Axis { spread: Spread::Even, low: low - 1.0, high: high + 1.0 },
            false => Axis { spread: Spread::Even, low, high },
        }
    }

    /// By powers of ten, from one to another; values must be above zero.
    pub(super) fn log(values: &[f64]) -> Axis {
        let (low, high) = bounds(values);
        let (low, high) = (10_f64.powf(low.log10().floor()), 10_f64.powf(high.log10().ceil()));
        Axis { spread: Spread::Log, low, high: if high > low { high } else { low * 10.0 } }
    }

    /// Where a value stands.
    pub(super) fn place(&self, value: f64) -> f64 {
        match self.spread {
            Spread::Even => value,
            Spread::Log => value.max(f64::MIN_POSITIVE).log10(),
        }
    }

    /// What stands there.
    pub(super) fn value(&self, place: f64) -> f64 {
        match self.spread {
            Spread::Even => place,
            Spread::Log => 10_f64.powf(place),
        }
    }

    /// First and last place.
    pub(super) fn places(&self) -> (f64, f64) {
        (self.place(self.low), self.place(self.high))
    }

    /// Places whose values are named.
    pub(super) fn named(&self) -> Vec<f64> {
        let (first, last) = self.places();
        match self.spread {
            Spread::Even => {
                let step = step(last - first);
                let (from, to) = ((first / step).ceil() as i64, (last / step + 1e-9).floor() as i64);
                (from..=to).map(|n| n as f64 * step).collect()
            }
            Spread::Log => {
                let (from, to) = ((first - 1e-9).ceil() as i64, (last + 1e-9).floor() as i64);
                (from..=to).map(|power| power as f64).collect()
            }
        }
    }
}

fn bounds(values: &[f64]) -> (f64, f64) {
    values
        .iter()
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), &value| (low.min(value), high.max(value)))
}

/// 1, 2 or 5 times a power of ten, of which about [`NAMED`] fill the span.
fn step(span: f64) -> f64 {
    let rough = span / NAMED;
    let power = 10_f64.powf(rough.log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .map(|times| times * power)
        .into_iter()
        .find(|&step| step >= rough * 0.999)
        .unwrap_or(rough)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_near_one_another_are_shown_from_zero() {
        let axis = Axis::from_zero(&[0.3, 0.42]);
        assert_eq!(axis.places().0, 0.0);
        assert!((4..=8).contains(&axis.named().len()), "{:?}", axis.named());
        assert!(axis.places().1 >= 0.42);
    }

    #[test]
    fn values_far_apart_are_shown_by_powers_of_ten() {
        let axis = Axis::from_zero(&[0.3, 42.0]);
        assert_eq!(
            axis.named().iter().map(|&place| axis.value(place)).collect::<Vec<_>>(),
            [0.1, 1.0, 10.0, 100.0]
        );
        assert_eq!(Axis::between(&[1.0, 10_000.0]).named(), [0.0, 1.0, 2.0, 3.0, 4.0]);
    }

    #[test]
    fn a_single_value_has_an_axis_too() {
        for axis in
            [Axis::from_zero(&[5.0]), Axis::from_zero(&[0.0]), Axis::between(&[7.0]), Axis::log(&[10.0])]
        {
            let (first, last) = axis.places();
            assert!(first < last && !axis.named().is_empty(), "{axis:?}");
        }
    }
}
