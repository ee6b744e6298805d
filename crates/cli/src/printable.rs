//! Text of others, such as names in a graph or in the file system, made fit for a terminal.

use std::borrow::Cow;

/// Most columns of a name in a table.
pub const NAME_COLUMNS: usize = 40;

/// Replaces what a terminal would obey instead of showing: control characters, and marks that turn the direction of
/// text. Line feeds stay.
pub fn printable(text: &str) -> Cow<'_, str> {
    if text.chars().all(is_printable) {
        return Cow::Borrowed(text);
    }
    let shown = text.chars().map(|letter| match is_printable(letter) {
        true => letter.to_string(),
        false => letter.escape_unicode().to_string(),
    });
    Cow::Owned(shown.collect())
}

/// Makes a name fit for a table: printable, on one line, and cut where it is too long.
pub fn short_name(text: &str) -> String {
    let mut letters = text.chars();
    let mut head: String = letters.by_ref().take(NAME_COLUMNS).collect();
    if letters.next().is_some() {
        head.pop();
        head.push('…');
    }
    printable(&head).replace('\n', "\\u{a}")
}

fn is_printable(letter: char) -> bool {
    let is_format = matches!(letter,
        '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    letter == '\n' || !(letter.is_control() || is_format)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_text_stays_as_it_is() {
        for text in ["libc6", "größe 文字", "", "two\nlines", "e\u{301}"] {
            assert_eq!(printable(text), text);
        }
    }

    #[test]
    fn what_a_terminal_would_obey_is_shown_instead() {
        assert_eq!(printable("a\u{1b}[2Jb\r\0\u{9b}"), "a\\u{1b}[2Jb\\u{d}\\u{0}\\u{9b}");
        assert_eq!(printable("\u{202e}txt.exe\u{feff}"), "\\u{202e}txt.exe\\u{feff}");
    }

    #[test]
    fn long_names_are_cut() {
        assert_eq!(short_name(&"x".repeat(NAME_COLUMNS)), "x".repeat(NAME_COLUMNS));
        assert_eq!(short_name(&"x".repeat(65_000)), "x".repeat(NAME_COLUMNS - 1) + "…");
        assert_eq!(short_name("a\nb"), "a\\u{a}b");
    }
}
