//! Pages of a listing: how long a page is, and the text of the position after it.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The first byte of every cursor. Another value will tell another form.
const CURSOR_VERSION: u8 = 1;

/// A page ends early behind the entry with which its JSON has so many bytes. A page is in memory as a whole, and a
/// thread that writes a large page serves nobody else meanwhile.
pub(crate) const PAGE_BYTES: usize = 2 << 20;

/// How many entries a page holds at most: 1 to 1,000.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PageSize(u16);

impl PageSize {
    /// The largest page.
    pub const MAX: Self = Self(1000);
    /// The usual page of entries that may be large.
    pub const USUAL: Self = Self(100);

    /// A page of this size, or `None` outside 1 to 1,000.
    #[must_use]
    pub fn new(size: u16) -> Option<Self> {
        (1..=Self::MAX.0).contains(&size).then_some(Self(size))
    }

    /// The number of entries.
    #[must_use]
    pub fn get(self) -> usize {
        usize::from(self.0)
    }

    /// The number of rows to read: the row after the page tells that there are more.
    pub(crate) fn rows(self) -> i64 {
        i64::from(self.0) + 1
    }

    /// Cuts what was read by [`PageSize::rows`] down to the page. Returns the position after the last entry if there
    /// are more entries.
    ///
    /// `bytes_of` tells about how many bytes of JSON an entry has, so that a page of long texts ends early
    /// ([`PAGE_BYTES`]).
    pub(crate) fn cut<T, C>(
        self,
        entries: &mut Vec<T>,
        bytes_of: impl Fn(&T) -> usize,
        position_after: impl FnOnce(&T) -> C,
    ) -> Option<C> {
        let mut bytes = 0;
        let fits = |entry: &&T| {
            let is_full = bytes >= PAGE_BYTES;
            bytes += bytes_of(entry);
            !is_full
        };
        let most = entries.iter().take(self.get()).take_while(fits).count();
        let has_more = entries.len() > most;
        entries.truncate(most);
        entries.last().filter(|_| has_more).map(position_after)
    }
}

/// The bytes of a text in JSON, without its quotes.
pub(crate) fn json_bytes(text: &str) -> usize {
    let bytes_of = |byte| match byte {
        0..=0x1f => 6,
        b'"' | b'\\' => 2,
        _ => 1,
    };
    text.bytes().map(bytes_of).sum()
}

/// The text of a position in a listing. Clients send the text back unread.
pub(crate) fn write_cursor(position: &[u8]) -> String {
    let mut bytes = Vec::with_capacity(1 + position.len());
    bytes.push(CURSOR_VERSION);
    bytes.extend_from_slice(position);
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The position that [`write_cursor`] wrote; `None` for any other text.
pub(crate) fn read_cursor(text: &str) -> Option<Vec<u8>> {
    let mut bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    if bytes.first() != Some(&CURSOR_VERSION) {
        return None;
    }
    bytes.remove(0);
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn cursors_round_trip(position in any::<Vec<u8>>()) {
            prop_assert_eq!(read_cursor(&write_cursor(&position)), Some(position));
        }

        #[test]
        fn other_texts_are_no_cursor(text in ".{0,60}") {
            if let Some(position) = read_cursor(&text) {
                prop_assert_eq!(write_cursor(&position), text);
            }
        }

        #[test]
        fn a_page_tells_whether_there_are_more(rows in 0..12_u32, size in 1..10_u16) {
            let mut entries: Vec<u32> = (0..rows).collect();
            let after = PageSize::new(size).unwrap().cut(&mut entries, |_| PAGE_BYTES / 1000, |last| *last);
            prop_assert_eq!(entries.len(), usize::from(size).min(usize::try_from(rows).unwrap()));
            prop_assert_eq!(after, (rows > u32::from(size)).then(|| u32::from(size) - 1));
        }

        #[test]
        fn a_page_ends_behind_the_entry_that_fills_it(bytes in proptest::collection::vec(0..PAGE_BYTES, 1..12)) {
            let mut entries = bytes.clone();
            let after = PageSize::MAX.cut(&mut entries, |entry| *entry, |_| ());
            let kept = entries.len();
            prop_assert_eq!(after.is_some(), kept < bytes.len());
            prop_assert!(kept > 0 && bytes[..kept - 1].iter().sum::<usize>() < PAGE_BYTES);
            prop_assert!(kept == bytes.len() || bytes[..kept].iter().sum::<usize>() >= PAGE_BYTES);
        }
    }

    proptest! {
        /// The short escapes, such as `\n`, take two bytes in place of six.
        #[test]
        fn a_text_takes_no_more_bytes_than_counted(text in any::<String>()) {
            let written = serde_json::to_string(&text).unwrap().len() - 2;
            prop_assert!(json_bytes(&text) >= written);
            prop_assert!(json_bytes(&text) <= written * 3);
        }
    }

    #[test]
    fn a_page_has_1_to_1000_entries() {
        assert_eq!(
            [0, 1, 1000, 1001].map(|size| PageSize::new(size).map(PageSize::get)),
            [None, Some(1), Some(1000), None]
        );
    }
}
