//! Sizes, durations, numbers and lists as people write them, and as environment variables must.
//!
//! Invariants: nothing is rounded or guessed (`2047.6` is not a count, `1` is not a yes); an environment
//! variable can say all that the file can, so every type is also read from text.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use serde::de::{self, Deserialize, Deserializer, SeqAccess, Visitor};
use serde::ser::{Serialize, Serializer};

/// A number of bytes, written as `"128 MiB"`, `"64 kB"` or a bare integer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Size(u64);

impl Size {
    /// So many bytes.
    pub const fn new(bytes: u64) -> Self {
        Self(bytes)
    }

    /// So many times 1024 bytes.
    pub const fn kib(n: u64) -> Self {
        Self(n << 10)
    }

    /// So many times 1024² bytes.
    pub const fn mib(n: u64) -> Self {
        Self(n << 20)
    }

    /// So many times 1024³ bytes.
    pub const fn gib(n: u64) -> Self {
        Self(n << 30)
    }

    /// The bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }

    /// The bytes, for lengths in memory; the largest `usize` where they do not fit.
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }

    /// The bytes, for lengths on the wire; the largest `u32` where they do not fit.
    pub fn as_u32(self) -> u32 {
        u32::try_from(self.0).unwrap_or(u32::MAX)
    }
}

/// Writes the size in the largest unit that says it exactly: `16448 KiB`, not `16.1 MiB`.
impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (shift, unit) in [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")] {
            if self.0 != 0 && self.0.is_multiple_of(1 << shift) {
                return write!(f, "{} {unit}", self.0 >> shift);
            }
        }
        write!(f, "{} B", self.0)
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.trim().parse::<bytesize::ByteSize>() {
            Ok(size) => Ok(Self(size.as_u64())),
            Err(_) => Err(format!("{text:?} is not a size; write one like \"128 MiB\", \"64 kB\" or 4096")),
        }
    }
}

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct SizeVisitor;
        impl Visitor<'_> for SizeVisitor {
            type Value = Size;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a size like \"128 MiB\" or a number of bytes")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Size, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_u64<E: de::Error>(self, bytes: u64) -> Result<Size, E> {
                Ok(Size(bytes))
            }

            fn visit_i64<E: de::Error>(self, bytes: i64) -> Result<Size, E> {
                u64::try_from(bytes).map(Size).map_err(|_| E::custom(format!("{bytes} bytes are below zero")))
            }
        }
        from.deserialize_any(SizeVisitor)
    }
}

/// Durations written as `"10 s"`, `"250 ms"` or `"1h 30m"`. A bare number has no unit and is refused, except 0.
pub(super) mod duration {
    use std::time::Duration;

    use super::*;

    pub(in crate::config) fn serialize<S: Serializer>(duration: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&humantime::format_duration(*duration))
    }

    pub(in crate::config) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        struct DurationVisitor;
        impl Visitor<'_> for DurationVisitor {
            type Value = Duration;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration with its unit, like \"10 s\" or \"250 ms\"")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Duration, E> {
                humantime::parse_duration(text.trim()).map_err(|_| {
                    let unit = text.trim().parse::<u64>().map(|n| format!(" (\"{n} s\"?)")).unwrap_or_default();
                    E::custom(format!(
                        "{text:?} is not a duration; write one with its unit, like \"10 s\" or \"250 ms\"{unit}"
                    ))
                })
            }

            fn visit_i64<E: de::Error>(self, n: i64) -> Result<Duration, E> {
                match n {
                    0 => Ok(Duration::ZERO),
                    n => self.visit_str(&n.to_string()),
                }
            }
        }
        from.deserialize_any(DurationVisitor)
    }
}

/// Reads a whole number that fits `T`.
pub(super) fn whole<'de, D, T>(from: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: TryFrom<i64>,
{
    struct WholeVisitor<T>(PhantomData<T>);
    impl<T: TryFrom<i64>> Visitor<'_> for WholeVisitor<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a whole number")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
            let digits: String = text.trim().chars().filter(|&c| c != '_').collect();
            match digits.parse() {
                Ok(n) => self.visit_i64(n),
                Err(_) => Err(E::custom(format!("{text:?} is not a whole number"))),
            }
        }

        fn visit_i64<E: de::Error>(self, n: i64) -> Result<T, E> {
            T::try_from(n).map_err(|_| {
                let bits = size_of::<T>() * 8;
                let max = (1u128 << bits) - 1;
                E::custom(format!("{n} is out of range; write a number from 0 to {max}"))
            })
        }
    }
    from.deserialize_any(WholeVisitor(PhantomData))
}

/// Reads `true` or `false`.
pub(super) fn yes_or_no<'de, D: Deserializer<'de>>(from: D) -> Result<bool, D::Error> {
    struct YesOrNoVisitor;
    impl Visitor<'_> for YesOrNoVisitor {
        type Value = bool;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("true or false")
        }

        fn visit_bool<E: de::Error>(self, value: bool) -> Result<bool, E> {
            Ok(value)
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<bool, E> {
            text.trim().parse().map_err(|_| E::custom(format!("{text:?} is neither true nor false")))
        }
    }
    from.deserialize_any(YesOrNoVisitor)
}

/// Reads a list of texts; a single text is split at its commas, so that a variable can carry a list, and `none` is
/// the empty one.
pub(super) fn list<'de, D, T>(from: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + FromStr<Err: fmt::Display>,
{
    struct ListVisitor<T>(PhantomData<T>);
    impl<'de, T: Deserialize<'de> + FromStr<Err: fmt::Display>> Visitor<'de> for ListVisitor<T> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list of texts, like [\"one\", \"two\"]")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<Vec<T>, E> {
            // An empty variable counts as one that is not there: a list without items needs a word.
            if text.trim() == "none" {
                return Ok(Vec::new());
            }
            let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
            items.map(|item| item.parse().map_err(E::custom)).collect()
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<T>, A::Error> {
            let mut list = Vec::new();
            while let Some(item) = items.next_element()? {
                list.push(item);
            }
            Ok(list)
        }
    }
    from.deserialize_any(ListVisitor(PhantomData))
}

/// Reads a text that `T` understands, and no number in its place: `1.10` must not become `1.1`.
pub(super) fn text<'de, D, T>(from: D, expecting: &'static str) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: fmt::Display>,
{
    struct TextVisitor<T>(&'static str, PhantomData<T>);
    impl<T: FromStr<Err: fmt::Display>> Visitor<'_> for TextVisitor<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
            text.parse().map_err(E::custom)
        }
    }
    from.deserialize_any(TextVisitor(expecting, PhantomData))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_written_exactly() {
        let shown = |size: Size| size.to_string();
        assert_eq!(shown(Size::kib(16 * 1024 + 64)), "16448 KiB");
        assert_eq!(shown(Size::gib(1)), "1 GiB");
        assert_eq!(shown(Size::new(1025)), "1025 B");
        assert_eq!(shown(Size::new(0)), "0 B");
        for size in [Size::kib(3), Size::mib(7), Size::new(1_000_001)] {
            assert_eq!(shown(size).parse(), Ok(size));
        }
    }

    #[test]
    fn decimal_and_binary_units_differ() {
        assert_eq!("1 kB".parse(), Ok(Size::new(1000)));
        assert_eq!("1 KiB".parse(), Ok(Size::new(1024)));
        assert_eq!("1.5 MiB".parse(), Ok(Size::kib(1536)));
        assert_eq!("4096".parse(), Ok(Size::new(4096)));
        assert!("12 parsecs".parse::<Size>().unwrap_err().contains("128 MiB"));
        assert!("-1".parse::<Size>().is_err());
        assert!("".parse::<Size>().is_err());
    }
}
