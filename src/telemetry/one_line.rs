//! Foreign text on a single line of a log or of a terminal.

use std::fmt::{self, Display, Write};

/// Shows a text on a single line. Line ends, control characters and marks of writing direction are escaped.
pub struct OneLine<T>(pub T);

impl<T: Display> Display for OneLine<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(Escaping(f), "{}", self.0)
    }
}

struct Escaping<'a, 'b>(&'a mut fmt::Formatter<'b>);

impl Write for Escaping<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text;
        while let Some((at, character)) = rest.char_indices().find(|(_, character)| needs_escape(*character)) {
            let (plain, after) = rest.split_at_checked(at).unwrap_or((rest, ""));
            self.0.write_str(plain)?;
            write!(self.0, "{}", character.escape_default())?;
            rest = after.get(character.len_utf8()..).unwrap_or_default();
        }
        self.0.write_str(rest)
    }
}

/// True for control characters, for line ends beyond ASCII, and for marks that turn the direction of writing.
fn needs_escape(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_steers_is_escaped() {
        assert_eq!(OneLine("Grüße, \\n 日本").to_string(), "Grüße, \\n 日本");
        assert_eq!(
            OneLine("a\nb\r\x1b[0m\u{85}\u{2028}\u{202e}z").to_string(),
            r"a\nb\r\u{1b}[0m\u{85}\u{2028}\u{202e}z"
        );
    }
}
