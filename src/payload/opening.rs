//! The first bytes of a text: a byte order mark is skipped, and UTF-16 is refused by name.

use super::fault::BodyFault;

/// The mark that programs on Windows write before a text in UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The refusal of UTF-16. Windows PowerShell first decodes a program's output by the console's code page, and then
/// writes UTF-16. So names are damaged already, and a conversion here would store the damage.
pub(super) const UTF_16: &str = "the text is UTF-16; send UTF-8. The > of Windows PowerShell writes UTF-16 and damages \
                                 names: use PowerShell 7.4 or newer, or cmd /c \"rclone lsjson … > list.json\"";

/// The text after its byte order mark, if any.
pub(crate) fn skip_mark(text: &[u8]) -> &[u8] {
    text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text)
}

/// True for a text in UTF-16, with or without a mark: neither JSON nor CSV has a NUL in its first two bytes.
pub(super) fn is_utf_16(text: &[u8]) -> bool {
    matches!(text, [0xff, 0xfe, ..] | [0xfe, 0xff, ..]) || matches!(text, [a, b, ..] if (*a == 0) != (*b == 0))
}

/// The beginning of a body that comes in chunks of any size.
#[derive(Default)]
pub(crate) struct BodyOpening {
    /// The first bytes, while they are too few to recognize a mark.
    held: Vec<u8>,
    is_known: bool,
}

impl BodyOpening {
    /// The part of a chunk that belongs to the text; `None` if more bytes are needed. An empty chunk ends the body.
    ///
    /// # Errors
    /// `Malformed` if the body is UTF-16.
    pub(crate) fn text_of_chunk<'a>(&'a mut self, chunk: &'a [u8]) -> Result<Option<&'a [u8]>, BodyFault> {
        if self.is_known {
            return Ok(Some(chunk));
        }
        let is_whole = self.held.is_empty() && chunk.len() >= BYTE_ORDER_MARK.len();
        if !is_whole {
            self.held.extend_from_slice(chunk);
        }
        let text = if is_whole { chunk } else { &self.held };
        if is_utf_16(text) {
            return Err(BodyFault::Malformed(UTF_16.to_owned()));
        }
        if text.len() < BYTE_ORDER_MARK.len() && !chunk.is_empty() {
            return Ok(None);
        }
        self.is_known = true;
        Ok(Some(skip_mark(text)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &[u8], chunk: usize) -> Result<Vec<u8>, BodyFault> {
        let (mut opening, mut text) = (BodyOpening::default(), Vec::new());
        for chunk in body.chunks(chunk).chain([&[][..]]) {
            text.extend_from_slice(opening.text_of_chunk(chunk)?.unwrap_or_default());
        }
        Ok(text)
    }

    #[test]
    fn a_mark_is_no_part_of_the_text_whatever_the_chunks() {
        for chunk in 1..6 {
            for (body, text) in [
                (&b"\xef\xbb\xbf[1]"[..], &b"[1]"[..]),
                (b"\xef\xbb\xbf", b""),
                (b"\xef\xbc\x81", b"\xef\xbc\x81"),
                (b"[]", b"[]"),
                (b"\xef", b"\xef"),
                (b"", b""),
                (b"[1,\xef\xbb\xbf2]", b"[1,\xef\xbb\xbf2]"),
            ] {
                assert_eq!(read(body, chunk).unwrap(), text, "{body:?} by {chunk}");
            }
        }
    }

    #[test]
    fn utf_16_is_named_with_and_without_its_mark() {
        for chunk in 1..6 {
            for body in [&b"\xff\xfe[\0]\0"[..], b"\xfe\xff\0[\0]", b"[\0]\0", b"\0[\0]"] {
                let fault = read(body, chunk).unwrap_err();
                assert!(fault.to_string().contains("UTF-16; send UTF-8"), "{body:?} by {chunk}: {fault}");
            }
        }
    }
}
