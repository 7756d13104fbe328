//! Headers exchanges: the binding's arguments are tests on the message's headers.
//!
//! A binding waits in the bucket of a header that it needs (`all`: its rarest one; `any`: each), so a message
//! looks only at bindings with which it shares a header. A bucket only proposes; the rule decides.
//!
//! Invariant: a binding is in exactly the buckets that its entry lists, or among `always`.

use std::hash::{BuildHasher, Hash, Hasher};

use ahash::{HashMap, RandomState};
use rialto_protocol::types::{FieldTable, FieldValue, ShortStr};

use super::error::BindError;
use super::id_set::IdSet;

const X_MATCH: &str = "x-match";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    All,
    Any,
}

/// The tests of one binding.
#[derive(Debug, PartialEq)]
pub(super) struct HeaderTests {
    need: Need,
    tests: Vec<(ShortStr, FieldValue)>,
}

impl HeaderTests {
    /// Reads a binding's arguments. Without `x-match`: all.
    pub(super) fn new(arguments: Option<&FieldTable>) -> Result<Self, BindError> {
        let Some(arguments) = arguments else {
            return Ok(HeaderTests { need: Need::All, tests: Vec::new() });
        };
        let (need, with_x) = match arguments.get(X_MATCH) {
            None => (Need::All, false),
            Some(FieldValue::LongStr(text)) => match &text[..] {
                b"all" => (Need::All, false),
                b"any" => (Need::Any, false),
                b"all-with-x" => (Need::All, true),
                b"any-with-x" => (Need::Any, true),
                other => {
                    return Err(BindError::MatchValue(ShortStr::truncated(String::from_utf8_lossy(other))));
                }
            },
            Some(other) => {
                let (type_name, value) = (other.type_name(), other.to_string());
                return Err(BindError::MatchType { type_name, value });
            }
        };
        let tests = arguments
            .iter()
            .filter(|(name, _)| if with_x { &***name != X_MATCH } else { !name.starts_with("x-") })
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        Ok(HeaderTests { need, tests })
    }

    /// Whether headers meet the tests. No tests at all: `all` is met and `any` is not.
    pub(super) fn matches(&self, headers: &FieldTable) -> bool {
        let met = |test: &(ShortStr, FieldValue)| is_met(test, headers);
        match self.need {
            Need::All => self.tests.iter().all(met),
            Need::Any => self.tests.iter().any(met),
        }
    }
}

/// For who explains why a binding does not match.
impl HeaderTests {
    /// How many tests there are.
    pub(super) fn len(&self) -> usize {
        self.tests.len()
    }

    /// Whether all of them must be met, not just any.
    pub(super) fn wants_all(&self) -> bool {
        self.need == Need::All
    }

    /// Tests that headers do not meet.
    pub(super) fn unmet(&self, headers: &FieldTable) -> impl Iterator<Item = (&ShortStr, &FieldValue)> {
        let unmet = self.tests.iter().filter(|test| !is_met(test, headers));
        unmet.map(|(name, wanted)| (name, wanted))
    }
}

/// Whether headers meet one test: with no value, the header need only be there.
fn is_met((name, wanted): &(ShortStr, FieldValue), headers: &FieldTable) -> bool {
    headers.get(name).is_some_and(|value| *wanted == FieldValue::Void || same_value(wanted, value))
}

/// A value as comparisons see it.
///
/// RabbitMQ compares the values and not their type octets (`rabbit_exchange_type_headers`, Erlang's `==`): numbers
/// of every width, timestamps and whole floats by what they count, strings and byte arrays by their bytes. A
/// number is never equal to the text that spells it.
#[derive(PartialEq)]
enum Class<'a> {
    Int(i128),
    Float(f64),
    Text(&'a [u8]),
    Bool(bool),
    Other,
}

fn class(value: &FieldValue) -> Class<'_> {
    match value {
        FieldValue::F32(n) => float_class(f64::from(*n)),
        FieldValue::F64(n) => float_class(*n),
        FieldValue::Timestamp(seconds) => Class::Int(i128::from(*seconds)),
        FieldValue::LongStr(bytes) | FieldValue::Bytes(bytes) => Class::Text(bytes),
        FieldValue::Bool(value) => Class::Bool(*value),
        other => other.as_int().map_or(Class::Other, |n| Class::Int(i128::from(n))),
    }
}

fn float_class(n: f64) -> Class<'static> {
    // Beyond this no integer on the wire can be equal to it.
    let whole = n.fract() == 0.0 && n.abs() < 1e30;
    if whole { Class::Int(n as i128) } else { Class::Float(n) }
}

fn same_value(left: &FieldValue, right: &FieldValue) -> bool {
    match (left, right) {
        (FieldValue::Array(left), FieldValue::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| same_nested(left, right))
        }
        (FieldValue::Table(left), FieldValue::Table(right)) => {
            left.len() == right.len()
                && left.iter().zip(right.iter()).all(|((left_name, left), (right_name, right))| {
                    left_name == right_name && same_nested(left, right)
                })
        }
        (FieldValue::Decimal(..), FieldValue::Decimal(..)) | (FieldValue::Void, FieldValue::Void) => {
            left == right
        }
        _ => match (class(left), class(right)) {
            (Class::Other, _) | (_, Class::Other) => false,
            (left, right) => left == right,
        },
    }
}

/// Inside arrays and tables the types are compared too.
fn same_nested(left: &FieldValue, right: &FieldValue) -> bool {
    left.type_name() == right.type_name() && same_value(left, right)
}

#[derive(Debug)]
struct HeaderBinding {
    tests: HeaderTests,
    target: u32,
    /// Where it waits.
    buckets: Vec<u64>,
}

/// The bindings of one headers exchange, each under its row's number.
#[derive(Debug, Default)]
pub(super) struct HeadersIndex {
    bindings: HashMap<u32, HeaderBinding>,
    /// Row numbers by the hash of a header that they need.
    buckets: HashMap<u64, IdSet>,
    /// Targets of bindings without tests.
    always: IdSet,
    hasher: RandomState,
}

impl HeadersIndex {
    fn bucket_of(&self, name: &str, value: &FieldValue) -> u64 {
        let mut state = self.hasher.build_hasher();
        name.hash(&mut state);
        match value {
            FieldValue::Void => 0_u8.hash(&mut state),
            value => match class(value) {
                Class::Int(n) => (1_u8, n).hash(&mut state),
                Class::Float(n) => (2_u8, n.to_bits()).hash(&mut state),
                Class::Text(bytes) => (3_u8, bytes).hash(&mut state),
                Class::Bool(value) => (4_u8, value).hash(&mut state),
                Class::Other => 5_u8.hash(&mut state),
            },
        }
        state.finish()
    }

    pub(super) fn insert(&mut self, row: u32, tests: HeaderTests, target: u32) {
        let mut buckets: Vec<u64> =
            tests.tests.iter().map(|(name, value)| self.bucket_of(name, value)).collect();
        buckets.sort_unstable();
        buckets.dedup();
        if tests.need == Need::All {
            let size = |bucket: &u64| self.buckets.get(bucket).map_or(0, IdSet::len);
            buckets = buckets.into_iter().min_by_key(size).into_iter().collect();
            if buckets.is_empty() {
                self.always.add(target);
            }
        }
        for bucket in &buckets {
            self.buckets.entry(*bucket).or_default().add(row);
        }
        self.bindings.insert(row, HeaderBinding { tests, target, buckets });
    }

    pub(super) fn remove(&mut self, row: u32) {
        let Some(binding) = self.bindings.remove(&row) else { return };
        for bucket in &binding.buckets {
            if let Some(rows) = self.buckets.get_mut(bucket) {
                rows.remove(row);
                if rows.is_empty() {
                    self.buckets.remove(bucket);
                }
            }
        }
        if binding.tests.need == Need::All && binding.buckets.is_empty() {
            self.always.remove(binding.target);
        }
    }

    /// Adds the targets of every binding that matches; a target may come more than once.
    pub(super) fn route(&self, headers: &FieldTable, found: &mut Vec<u32>) {
        found.extend_from_slice(self.always.as_slice());
        for (name, value) in headers.iter() {
            let presence = self.bucket_of(name, &FieldValue::Void);
            self.propose(presence, headers, found);
            let exact = self.bucket_of(name, value);
            if exact != presence {
                self.propose(exact, headers, found);
            }
        }
    }

    fn propose(&self, bucket: u64, headers: &FieldTable, found: &mut Vec<u32>) {
        let rows = self.buckets.get(&bucket).map_or(&[][..], IdSet::as_slice);
        let bindings = rows.iter().filter_map(|row| self.bindings.get(row));
        found.extend(bindings.filter(|b| b.tests.matches(headers)).map(|b| b.target));
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.bindings.is_empty() && self.buckets.is_empty() && self.always.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use proptest::prelude::*;

    /// Whether a binding matches, asked from the rule and from the index, which must agree.
    #[track_caller]
    fn check(arguments: &FieldTable, headers: &FieldTable, expected: bool) {
        let tests = HeaderTests::new(Some(arguments)).unwrap();
        assert_eq!(tests.matches(headers), expected, "{arguments} and {headers}");
        let mut index = HeadersIndex::default();
        index.insert(5, tests, 7);
        let mut found = Vec::new();
        index.route(headers, &mut found);
        assert_eq!(!found.is_empty(), expected, "by index: {arguments} and {headers}");
        index.remove(5);
        assert!(index.is_empty());
    }

    fn table(text: &str) -> FieldTable {
        let entries = text.split_whitespace().map(|entry| {
            let (name, value) = entry.split_once('=').unwrap();
            let value = match value.parse::<i32>() {
                Ok(n) => FieldValue::I32(n),
                Err(_) if value == "void" => FieldValue::Void,
                Err(_) => FieldValue::from(value),
            };
            (ShortStr::new(name).unwrap(), value)
        });
        entries.collect()
    }

    #[test]
    fn x_match_decides_how_many_tests_must_be_met_and_which_count() {
        // Arguments without x-match, headers, and whether none / all / any / all-with-x / any-with-x matches.
        let matrix = [
            ("", "", [true, true, false, true, false]),
            ("", "a=1", [true, true, false, true, false]),
            ("a=1", "", [false; 5]),
            ("a=1", "a=1", [true; 5]),
            ("a=1", "a=2", [false; 5]),
            ("a=1", "a=1 b=2", [true; 5]),
            ("a=1 b=2", "a=1 b=2", [true; 5]),
            ("a=1 b=2", "a=1", [false, false, true, false, true]),
            ("a=1 b=2", "b=2 c=3", [false, false, true, false, true]),
            ("a=1 b=2", "c=3", [false; 5]),
            ("a=void", "a=anything", [true; 5]),
            ("a=void", "b=1", [false; 5]),
            ("a=void b=2", "a=x b=2", [true; 5]),
            ("a=1", "a=void", [false; 5]),
            ("x-foo=1", "", [true, true, false, false, false]),
            ("x-foo=1", "x-foo=1", [true, true, false, true, true]),
            ("x-foo=1 a=1", "a=1", [true, true, true, false, true]),
            ("x-foo=1 a=1", "x-foo=1", [false, false, false, false, true]),
            ("x-foo=1 a=1", "x-foo=1 a=1", [true; 5]),
            ("a=text", "a=Text", [false; 5]),
        ];
        let modes = ["", "all", "any", "all-with-x", "any-with-x"];
        for (arguments, headers, expected) in matrix {
            for (mode, expected) in modes.iter().zip(expected) {
                let arguments = match *mode {
                    "" => table(arguments),
                    mode => table(&format!("x-match={mode} {arguments}")),
                };
                check(&arguments, &table(headers), expected);
            }
        }
    }

    #[test]
    fn values_are_equal_within_their_class_and_never_across() {
        let array = |values: &[FieldValue]| FieldValue::Array(values.to_vec());
        let nested = |value: FieldValue| FieldValue::Table(FieldTable::new().with("n", value));
        let classes: Vec<Vec<FieldValue>> = vec![
            vec![
                FieldValue::I8(5),
                FieldValue::U8(5),
                FieldValue::I16(5),
                FieldValue::U16(5),
                FieldValue::I32(5),
                FieldValue::U32(5),
                FieldValue::I64(5),
                FieldValue::I64Upper(5),
                FieldValue::Timestamp(5),
                FieldValue::F32(5.0),
                FieldValue::F64(5.0),
            ],
            vec![FieldValue::F64(5.5), FieldValue::F32(5.5)],
            vec![FieldValue::from("5"), FieldValue::Bytes(Bytes::from_static(b"5"))],
            vec![FieldValue::from("")],
            vec![FieldValue::Timestamp(u64::MAX)],
            vec![FieldValue::I64(-1)],
            vec![FieldValue::I32(0)],
            vec![FieldValue::Bool(false)],
            vec![FieldValue::Bool(true)],
            vec![FieldValue::I32(1)],
            vec![FieldValue::Decimal(0, 5)],
            vec![FieldValue::Decimal(1, 5)],
            vec![array(&[FieldValue::I32(5)])],
            vec![array(&[FieldValue::I64(5)])],
            vec![array(&[])],
            vec![nested(FieldValue::from("5"))],
            vec![nested(FieldValue::Void)],
        ];
        for (n, left) in classes.iter().enumerate() {
            for (m, right) in classes.iter().enumerate() {
                for (left, right) in left.iter().flat_map(|left| right.iter().map(move |r| (left, r))) {
                    let with = |value: &FieldValue| FieldTable::new().with("k", value.clone());
                    check(&with(left), &with(right), n == m);
                }
            }
        }
    }

    #[test]
    fn not_a_number_equals_nothing_but_is_present() {
        let headers = FieldTable::new().with("k", FieldValue::F64(f64::NAN));
        check(&headers, &headers, false);
        check(&FieldTable::new().with("k", FieldValue::Void), &headers, true);
    }

    #[test]
    fn the_first_of_repeated_headers_counts() {
        let repeated = table("a=1 a=2");
        check(&table("a=1"), &repeated, true);
        check(&table("a=2"), &repeated, false);
    }

    fn random_table(with_mode: bool) -> impl Strategy<Value = FieldTable> {
        let entry = (prop::sample::select(vec!["a", "b", "c", "x-d"]), 0..4_i32);
        let mode = prop::sample::select(vec!["all", "any", "all-with-x", "any-with-x"]);
        (prop::collection::vec(entry, 0..5), mode).prop_map(move |(entries, mode)| {
            let start = if with_mode { FieldTable::new().with("x-match", mode) } else { FieldTable::new() };
            entries.into_iter().fold(start, |table, (name, n)| match n {
                0 => table.with(name, FieldValue::Void),
                n => table.with(name, n),
            })
        })
    }

    proptest! {
        #[test]
        fn the_index_finds_what_the_rule_finds(
            bindings in prop::collection::vec((random_table(true), any::<bool>()), 0..40),
            messages in prop::collection::vec(random_table(false), 1..10),
        ) {
            let tests = |n: usize| HeaderTests::new(Some(&bindings[n].0)).unwrap();
            let mut index = HeadersIndex::default();
            (0..bindings.len()).for_each(|n| index.insert(n as u32, tests(n), n as u32));
            (0..bindings.len()).filter(|&n| bindings[n].1).for_each(|n| index.remove(n as u32));
            for headers in &messages {
                let mut found = Vec::new();
                index.route(headers, &mut found);
                found.sort_unstable();
                found.dedup();
                let expected: Vec<u32> = (0..bindings.len())
                    .filter(|&n| !bindings[n].1 && tests(n).matches(headers))
                    .map(|n| n as u32)
                    .collect();
                prop_assert_eq!(found, expected);
            }
        }
    }
}
