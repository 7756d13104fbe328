//! Rows of numbers that go on as they began, in few bytes: what is remembered of many things that are much alike.
//!
//! A row says in which columns it is not where the two before it lead to (the last value and the last step once more),
//! and by how much. So a column that stays, or grows by the same step, costs nothing, and one that grows unevenly costs
//! the unevenness.
//!
//! Invariants: rows come back as they were put in, whatever they hold; they are read from the first on, and not changed.
//! In memory only: no format of a file.

/// Rows of `N` numbers, at most 64.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackedRows<const N: usize> {
    bytes: Box<[u8]>,
    rows: usize,
}

/// Where the next row is expected.
#[derive(Clone, Copy, Debug)]
struct Course<const N: usize> {
    expected: [u64; N],
    last: [u64; N],
    is_first: bool,
}

impl<const N: usize> Course<N> {
    const START: Self = Course { expected: [0; N], last: [0; N], is_first: true };

    fn follow(&mut self, row: [u64; N]) {
        // Of one row nobody knows where it leads.
        self.expected = match self.is_first {
            true => row,
            false => std::array::from_fn(|at| row[at].wrapping_add(row[at].wrapping_sub(self.last[at]))),
        };
        self.last = row;
        self.is_first = false;
    }
}

impl<const N: usize> PackedRows<N> {
    const COLUMNS_FIT: () = assert!(N <= 64, "a row's mask has a bit for each column");

    /// Packs rows. Columns that change oftenest should be the first ones: seven of them cost a byte a row.
    pub fn pack(rows: impl IntoIterator<Item = [u64; N]>) -> Self {
        let () = Self::COLUMNS_FIT;
        let (mut bytes, mut count, mut course) = (Vec::new(), 0, Course::START);
        for row in rows {
            let differs = (0..N).filter(|column| row[*column] != course.expected[*column]);
            put(&mut bytes, differs.clone().fold(0, |mask, column| mask | 1 << column));
            for column in differs {
                let off = row[column].wrapping_sub(course.expected[column]) as i64;
                put(&mut bytes, ((off << 1) ^ (off >> 63)) as u64);
            }
            course.follow(row);
            count += 1;
        }
        PackedRows { bytes: bytes.into(), rows: count }
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Bytes that they take, besides this value's own.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The rows, in order.
    pub fn iter(&self) -> Unpack<N, &[u8]> {
        Unpack { bytes: &self.bytes, at: 0, left: self.rows, course: Course::START }
    }
}

impl<const N: usize> IntoIterator for PackedRows<N> {
    type Item = [u64; N];
    type IntoIter = Unpack<N, Box<[u8]>>;

    fn into_iter(self) -> Self::IntoIter {
        Unpack { bytes: self.bytes, at: 0, left: self.rows, course: Course::START }
    }
}

/// Reads packed rows, in order.
#[derive(Clone, Debug)]
pub struct Unpack<const N: usize, B> {
    bytes: B,
    at: usize,
    left: usize,
    course: Course<N>,
}

impl<const N: usize, B: AsRef<[u8]>> Iterator for Unpack<N, B> {
    type Item = [u64; N];

    fn next(&mut self) -> Option<[u64; N]> {
        self.left = self.left.checked_sub(1)?;
        let bytes = self.bytes.as_ref();
        let mut row = self.course.expected;
        let mut mask = take(bytes, &mut self.at);
        while mask != 0 {
            let coded = take(bytes, &mut self.at);
            let off = (coded >> 1) ^ (coded & 1).wrapping_neg();
            let column = mask.trailing_zeros() as usize;
            row[column] = row[column].wrapping_add(off);
            mask &= mask - 1;
        }
        self.course.follow(row);
        Some(row)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl<const N: usize, B: AsRef<[u8]>> ExactSizeIterator for Unpack<N, B> {}

/// Appends a number: seven bits a byte, lowest first, the highest bit says that more follow.
fn put(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn take(bytes: &[u8], at: &mut usize) -> u64 {
    let (mut number, mut shift) = (0, 0);
    loop {
        let byte = bytes[*at];
        *at += 1;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return number;
        }
        shift += 7;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<const N: usize>(rows: &[[u64; N]]) -> usize {
        let packed = PackedRows::pack(rows.iter().copied());
        assert_eq!(packed.len(), rows.len());
        assert_eq!(packed.iter().collect::<Vec<_>>(), rows);
        assert_eq!(packed.clone().into_iter().collect::<Vec<_>>(), rows);
        packed.bytes()
    }

    #[test]
    fn any_rows_come_back() {
        check::<3>(&[]);
        check(&[[0, 0], [0, 0]]);
        check(&[[u64::MAX, 0, 1 << 63], [0, u64::MAX, 1], [u64::MAX, 5, 0]]);
        check(&[[7; 64], [u64::MAX; 64], [0; 64]]);
        let mut random = fastrand::Rng::with_seed(3);
        for _ in 0..100 {
            let rows: Vec<[u64; 9]> =
                (0..50).map(|_| std::array::from_fn(|_| random.u64(..) >> random.u32(0..64))).collect();
            check(&rows);
        }
    }

    #[test]
    fn rows_that_go_on_evenly_cost_a_byte_each() {
        let rows: Vec<[u64; 4]> = (0..1000).map(|row| [1_000_000 + row * 222, row, 131, 1 << 40]).collect();
        assert!(check(&rows) < 1000 + 32);
    }

    #[test]
    fn a_column_that_grows_unevenly_costs_its_unevenness() {
        let mut random = fastrand::Rng::with_seed(4);
        let mut at = 1 << 50;
        let mut row = |number: u64| {
            at += random.u64(0..60);
            [at, number, 131]
        };
        let rows: Vec<[u64; 3]> = (0..1000).map(&mut row).collect();
        assert!(check(&rows) <= 3 * 1000 + 32);
    }
}
