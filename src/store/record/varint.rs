//! Whole numbers in as few bytes as they need: seven bits a byte, lowest first, the highest bit says that more follow.

use bytes::{BufMut, BytesMut};

use super::MetaError;

/// Appends a number.
pub(in crate::store) fn put(out: &mut BytesMut, mut number: u64) {
    if number < 0x80 {
        out.put_u8(number as u8);
        return;
    }
    let mut bytes = [0u8; 10];
    let mut len = 0;
    while number >= 0x80 {
        bytes[len] = number as u8 | 0x80;
        number >>= 7;
        len += 1;
    }
    bytes[len] = number as u8;
    out.put_slice(&bytes[..=len]);
}

/// Appends how far `to` is from `from`, either way.
pub(in crate::store) fn put_step(out: &mut BytesMut, from: u64, to: u64) {
    let step = to.wrapping_sub(from) as i64;
    put(out, ((step << 1) ^ (step >> 63)) as u64);
}

/// Bytes that are read from the front.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) struct Cursor<'a>(pub(in crate::store) &'a [u8]);

impl<'a> Cursor<'a> {
    pub(in crate::store) fn byte(&mut self) -> Result<u8, MetaError> {
        let (first, rest) = self.0.split_first().ok_or(MetaError::Short)?;
        self.0 = rest;
        Ok(*first)
    }

    pub(in crate::store) fn take(&mut self, len: usize) -> Result<&'a [u8], MetaError> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or(MetaError::Short)?;
        self.0 = rest;
        Ok(taken)
    }

    pub(in crate::store) fn number(&mut self) -> Result<u64, MetaError> {
        let mut number = 0u64;
        for shift in (0..70).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(MetaError::Number);
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(MetaError::Number)
    }

    pub(in crate::store) fn number_u32(&mut self) -> Result<u32, MetaError> {
        self.number()?.try_into().map_err(|_| MetaError::Number)
    }

    pub(in crate::store) fn step(&mut self, from: u64) -> Result<u64, MetaError> {
        let coded = self.number()?;
        let step = (coded >> 1) as i64 ^ -((coded & 1) as i64);
        Ok(from.wrapping_add(step as u64))
    }

    pub(in crate::store) fn u64(&mut self) -> Result<u64, MetaError> {
        let bytes = self.take(8)?;
        Ok(u64::from_be_bytes(bytes.try_into().expect("eight bytes were taken")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_every_length_come_back() {
        let mut numbers = vec![0, 1, u64::MAX];
        for bits in 1..64 {
            numbers.extend([(1 << bits) - 1, 1u64 << bits]);
        }
        for number in numbers {
            let mut out = BytesMut::new();
            put(&mut out, number);
            let mut cursor = Cursor(&out);
            assert_eq!(cursor.number(), Ok(number));
            assert!(cursor.0.is_empty());
            for len in 0..out.len() {
                assert_eq!(Cursor(&out[..len]).number(), Err(MetaError::Short));
            }
        }
    }

    #[test]
    fn steps_go_both_ways_and_round_the_end() {
        for (from, to) in [(5, 5), (5, 6), (6, 5), (0, u64::MAX), (u64::MAX, 0), (1 << 63, 0)] {
            let mut out = BytesMut::new();
            put_step(&mut out, from, to);
            assert_eq!(Cursor(&out).step(from), Ok(to));
        }
    }

    #[test]
    fn a_number_that_does_not_fit_is_refused() {
        assert_eq!(Cursor(&[0xff; 11]).number(), Err(MetaError::Number));
        let past = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02];
        assert_eq!(Cursor(&past).number(), Err(MetaError::Number));
    }
}
