//! The bytes of a simulated file: sparse, and cheap to copy because pages are shared until one copy changes.

use std::sync::Arc;

/// What a disk writes whole or not at all.
pub(super) const SECTOR: usize = 512;
const PAGE: usize = 4096;
pub(super) const SECTORS_A_PAGE: usize = PAGE / SECTOR;

type Page = [u8; PAGE];

/// `None` is a page of zeros. Bytes beyond `len` within the last page are zero.
#[derive(Clone, Default)]
pub(super) struct Content {
    len: usize,
    pages: Vec<Option<Arc<Page>>>,
}

impl Content {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Lengthens with zeros or cuts.
    pub(super) fn set_len(&mut self, len: usize) {
        self.pages.resize(len.div_ceil(PAGE), None);
        if len < self.len
            && let Some(Some(last)) = self.pages.get_mut(len / PAGE)
        {
            Arc::make_mut(last)[len % PAGE..].fill(0);
        }
        self.len = len;
    }

    /// Whether the sector holds only zeros, or lies beyond the end.
    pub(super) fn is_zero(&self, sector: usize) -> bool {
        let (page, at) = (sector / SECTORS_A_PAGE, sector % SECTORS_A_PAGE * SECTOR);
        match self.pages.get(page) {
            Some(Some(bytes)) => bytes[at..at + SECTOR].iter().all(|byte| *byte == 0),
            _ => true,
        }
    }

    /// Feeds length and content to `hasher`. Pages of zeros are left out, however they are kept.
    pub(super) fn hash(&self, hasher: &mut impl std::hash::Hasher) {
        hasher.write_usize(self.len);
        for (number, page) in self.pages.iter().enumerate() {
            if let Some(bytes) = page
                && bytes.iter().any(|byte| *byte != 0)
            {
                hasher.write_usize(number);
                hasher.write(&bytes[..]);
            }
        }
    }

    /// The caller has checked that the range lies within the file.
    pub(super) fn read(&self, buf: &mut [u8], offset: usize) {
        let mut done = 0;
        while done < buf.len() {
            let (page, at) = ((offset + done) / PAGE, (offset + done) % PAGE);
            let n = (PAGE - at).min(buf.len() - done);
            match &self.pages[page] {
                Some(bytes) => buf[done..done + n].copy_from_slice(&bytes[at..at + n]),
                None => buf[done..done + n].fill(0),
            }
            done += n;
        }
    }

    /// Lengthens the file where needed.
    pub(super) fn write(&mut self, data: &[u8], offset: usize) {
        if offset + data.len() > self.len {
            self.set_len(offset + data.len());
        }
        let mut done = 0;
        while done < data.len() {
            let (page, at) = ((offset + done) / PAGE, (offset + done) % PAGE);
            let n = (PAGE - at).min(data.len() - done);
            let piece = &data[done..done + n];
            match &mut self.pages[page] {
                Some(bytes) => Arc::make_mut(bytes)[at..at + n].copy_from_slice(piece),
                None if piece.iter().all(|byte| *byte == 0) => {}
                none @ None => {
                    let mut bytes = [0; PAGE];
                    bytes[at..at + n].copy_from_slice(piece);
                    *none = Some(Arc::new(bytes));
                }
            }
            done += n;
        }
    }

    /// Takes over the page around `sector` from `other`; both must have the same length.
    pub(super) fn share_page(&mut self, other: &Self, sector: usize) {
        let page = sector / SECTORS_A_PAGE;
        self.pages[page].clone_from(&other.pages[page]);
    }

    /// Takes over one sector from `other`; both must have the same length.
    pub(super) fn copy_sector(&mut self, other: &Self, sector: usize) {
        let start = sector * SECTOR;
        let mut bytes = [0; SECTOR];
        let n = SECTOR.min(self.len - start);
        other.read(&mut bytes[..n], start);
        self.write(&bytes[..n], start);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(content: &Content) -> Vec<u8> {
        let mut all = vec![0xAA; content.len()];
        content.read(&mut all, 0);
        all
    }

    #[test]
    fn writes_across_pages_and_holes_read_back() {
        let mut content = Content::default();
        content.write(&[7; 5000], 4000);
        let mut expected = vec![0; 9000];
        expected[4000..].fill(7);
        assert_eq!(bytes(&content), expected);
        content.write(&[0; 10], 4090);
        expected[4090..4100].fill(0);
        assert_eq!(bytes(&content), expected);
    }

    #[test]
    fn a_cut_file_that_grows_again_shows_zeros() {
        let mut content = Content::default();
        content.write(&[7; 6000], 0);
        content.set_len(4100);
        content.set_len(6000);
        let mut expected = vec![7; 6000];
        expected[4100..].fill(0);
        assert_eq!(bytes(&content), expected);
        content.set_len(4096);
        content.set_len(8192);
        expected.resize(8192, 0);
        expected[4096..].fill(0);
        assert_eq!(bytes(&content), expected);
    }

    #[test]
    fn a_copy_does_not_follow_the_original() {
        let mut content = Content::default();
        content.write(b"old", 0);
        let copy = content.clone();
        content.write(b"new", 0);
        assert_eq!(bytes(&copy), b"old");
    }
}
