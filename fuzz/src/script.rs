//! Input read as a script: what to do next, byte by byte.

use rialto_protocol::types::ShortStr;

/// A script is read byte by byte; at its end there are zeros.
pub(crate) struct Script<'a>(pub(crate) &'a [u8]);

impl Script<'_> {
    pub(crate) fn byte(&mut self) -> u8 {
        match self.0.split_first() {
            Some((&byte, rest)) => {
                self.0 = rest;
                byte
            }
            None => 0,
        }
    }

    pub(crate) fn below(&mut self, count: u8) -> u8 {
        self.byte() % count
    }

    pub(crate) fn flag(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    /// `in_256` times of 256; not for zeros, which follow the end of a script.
    pub(crate) fn seldom(&mut self, in_256: u8) -> bool {
        self.byte().checked_add(in_256).is_none()
    }

    pub(crate) fn one_of<'a>(&mut self, texts: &[&'a str]) -> &'a str {
        texts[usize::from(self.byte()) % texts.len()]
    }

    pub(crate) fn name(&mut self, names: &[&str]) -> ShortStr {
        ShortStr::truncated(self.one_of(names))
    }
}
