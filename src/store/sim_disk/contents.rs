//! Bytes of a simulated file, cheap to copy.
//!
//! Invariants: a copy shares every page until one of the two writes to it; pages that are not there are zeros; behind
//! the length is nothing but zeros, except while a crash image is put together ([`Contents::put_sector`]).

use std::collections::BTreeMap;
use std::sync::Arc;

/// What a disk writes whole or not at all, in bytes.
pub(super) const SECTOR: usize = 512;

const PAGE: usize = 4096;

#[derive(Clone, Debug, Default)]
pub(super) struct Contents {
    len: u64,
    pages: Arc<BTreeMap<u64, Arc<[u8; PAGE]>>>,
}

impl Contents {
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Fills as much of the buffer as there is, and says how much.
    pub(super) fn read(&self, buffer: &mut [u8], offset: u64) -> usize {
        let count = self.len.saturating_sub(offset).min(buffer.len() as u64) as usize;
        let mut rest = &mut buffer[..count];
        let mut offset = offset;
        while !rest.is_empty() {
            let (page, start) = place(offset);
            let count = rest.len().min(PAGE - start);
            let (now, later) = rest.split_at_mut(count);
            match self.pages.get(&page) {
                Some(bytes) => now.copy_from_slice(&bytes[start..start + count]),
                None => now.fill(0),
            }
            (rest, offset) = (later, offset + count as u64);
        }
        count
    }

    pub(super) fn write(&mut self, data: &[u8], offset: u64) {
        self.put(data, offset);
        if !data.is_empty() {
            self.len = self.len.max(offset + data.len() as u64);
        }
    }

    pub(super) fn set_len(&mut self, len: u64) {
        if len < self.len {
            self.cut(len);
        }
        self.len = len;
    }

    /// Takes a sector over from other contents, even behind the end: the length has a fate of its own.
    pub(super) fn put_sector(&mut self, from: &Contents, sector: u64) {
        let (page, start) = place(sector * SECTOR as u64);
        match from.pages.get(&page) {
            Some(bytes) => self.put(&bytes[start..start + SECTOR], sector * SECTOR as u64),
            None if self.pages.contains_key(&page) => self.put(&[0; SECTOR], sector * SECTOR as u64),
            None => {}
        }
    }

    /// Forgets what is behind the end.
    pub(super) fn trim(&mut self) {
        self.cut(self.len);
    }

    fn put(&mut self, data: &[u8], offset: u64) {
        let (mut rest, mut offset) = (data, offset);
        let pages = Arc::make_mut(&mut self.pages);
        while !rest.is_empty() {
            let (page, start) = place(offset);
            let count = rest.len().min(PAGE - start);
            let (now, later) = rest.split_at(count);
            let bytes = Arc::make_mut(pages.entry(page).or_insert_with(|| Arc::new([0; PAGE])));
            bytes[start..start + count].copy_from_slice(now);
            (rest, offset) = (later, offset + count as u64);
        }
    }

    fn cut(&mut self, len: u64) {
        let (page, start) = place(len);
        if self.pages.range(page..).next().is_none() {
            return;
        }
        let pages = Arc::make_mut(&mut self.pages);
        let mut behind = pages.split_off(&page);
        if let Some(mut bytes) = behind.remove(&page)
            && start > 0
        {
            Arc::make_mut(&mut bytes)[start..].fill(0);
            pages.insert(page, bytes);
        }
    }
}

/// The page of a byte, and where it is in there.
fn place(offset: u64) -> (u64, usize) {
    (offset / PAGE as u64, (offset % PAGE as u64) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(contents: &Contents) -> Vec<u8> {
        let mut bytes = vec![0xEE; contents.len() as usize];
        assert_eq!(contents.read(&mut bytes, 0), bytes.len());
        bytes
    }

    #[test]
    fn they_are_what_a_plain_vector_would_be() {
        let mut rng = fastrand::Rng::with_seed(1);
        let (mut contents, mut plain) = (Contents::default(), Vec::new());
        for round in 0..2000_u32 {
            let before = (contents.clone(), plain.clone());
            let offset = rng.usize(..3 * PAGE);
            if rng.u8(..10) == 0 {
                contents.set_len(offset as u64);
                plain.resize(offset, 0);
            } else {
                let data = vec![round as u8; rng.usize(1..2 * PAGE)];
                contents.write(&data, offset as u64);
                plain.resize(plain.len().max(offset + data.len()), 0);
                plain[offset..offset + data.len()].copy_from_slice(&data);
            }
            assert_eq!(all(&contents), plain);
            assert_eq!(all(&before.0), before.1, "a copy keeps what it had");
        }
        assert_eq!(contents.read(&mut [0; 10], plain.len() as u64 + 5), 0);
    }
}
