//! Rust source with comments and the insides of strings blanked, and with the lines marked that exist for tests only.
//!
//! Blanking keeps every line where it was, so a finding names the line a person sees.

/// A Rust file seen as code.
pub(crate) struct Code {
    blanked: String,
    in_test: Vec<bool>,
}

impl Code {
    /// Blanks `source` and finds its `#[cfg(test)]` items.
    pub(crate) fn new(source: &str) -> Self {
        let blanked = blank(source);
        let mut in_test = vec![false; blanked.lines().count()];
        for (start, end) in test_items(&blanked) {
            let first = line_of(&blanked, start);
            let last = line_of(&blanked, end.saturating_sub(1));
            in_test[first..=last].fill(true);
        }
        Self { blanked, in_test }
    }

    /// (line number from 1, its code, whether it is inside a `#[cfg(test)]` item)
    pub(crate) fn lines(&self) -> impl Iterator<Item = (usize, &str, bool)> {
        let lines = self.blanked.lines().zip(&self.in_test).enumerate();
        lines.map(|(index, (text, in_test))| (index + 1, text, *in_test))
    }

    /// How many lines are not there for tests.
    pub(crate) fn lines_without_tests(&self) -> usize {
        self.in_test.iter().filter(|in_test| !**in_test).count()
    }

    /// Names of modules declared as `#[cfg(test)] mod name;`, whose files are therefore test code.
    pub(crate) fn test_modules(&self) -> Vec<String> {
        let items = test_items(&self.blanked).into_iter();
        let declared = items.filter_map(|(start, end)| self.blanked[start..end].strip_suffix(';'));
        let named = declared.filter_map(|item| {
            let mut words = item.split_whitespace().rev();
            let name = words.next()?;
            (words.next() == Some("mod")).then(|| name.to_owned())
        });
        named.collect()
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    text.as_bytes()[..offset]
        .iter()
        .filter(|byte| **byte == b'\n')
        .count()
}

/// Byte ranges of the items under `#[cfg(test)]`, attribute included.
fn test_items(code: &str) -> Vec<(usize, usize)> {
    let mut items: Vec<(usize, usize)> = Vec::new();
    for marker in ["#[cfg(test)]", "#[cfg(all(test"] {
        for (start, _) in code.match_indices(marker) {
            items.push((start, end_of_item(code.as_bytes(), start + marker.len())));
        }
    }
    items
}

/// An item ends with the brace that closes its first one, or with a semicolon before any.
fn end_of_item(code: &[u8], from: usize) -> usize {
    let mut depth = 0_usize;
    for (offset, byte) in code.iter().enumerate().skip(from) {
        match byte {
            b'{' => depth += 1,
            b'}' if depth <= 1 => return offset + 1,
            b'}' => depth -= 1,
            b';' if depth == 0 => return offset + 1,
            _ => {}
        }
    }
    code.len()
}

/// Replaces comments and the insides of string and character literals by blanks, byte for byte.
fn blank(source: &str) -> String {
    let bytes = source.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let (open, end) = literal_or_comment(source, at);
        for byte in &mut out[at + open..end.max(at + open)] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        at = end.max(at + 1);
    }
    // Blanks replaced whole characters or none, so this is still UTF-8.
    String::from_utf8(out).expect("whole characters were replaced")
}

/// For what starts at `at`: how many of its bytes stay, and where it ends. Plain code is one byte that stays.
fn literal_or_comment(source: &str, at: usize) -> (usize, usize) {
    let rest = &source[at..];
    let bytes = rest.as_bytes();
    if rest.starts_with("//") {
        return (0, at + rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return (0, at + block_comment_length(rest));
    }
    match bytes[0] {
        b'"' => (1, at + string_length(bytes)),
        b'r' if !continues_word(source, at) => {
            raw_string_length(rest).map_or((1, at + 1), |length| (1, at + length))
        }
        b'\'' => (1, at + character_length(rest)),
        _ => (
            rest.chars().next().map_or(1, char::len_utf8),
            at + rest.chars().next().map_or(1, char::len_utf8),
        ),
    }
}

/// Whether the byte before belongs to the same identifier; the `b` of `br"…"` and the `c` of `cr"…"` do not count.
fn continues_word(source: &str, at: usize) -> bool {
    let mut before = source[..at].bytes().rev();
    match before.next() {
        Some(b'b' | b'c') => before.next().is_some_and(is_word),
        Some(byte) => is_word(byte),
        None => false,
    }
}

pub(crate) fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn block_comment_length(rest: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < rest.len() {
        let tail = &rest.as_bytes()[at..];
        if tail.starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if tail.starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    rest.len()
}

fn string_length(bytes: &[u8]) -> usize {
    let mut at = 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

fn raw_string_length(rest: &str) -> Option<usize> {
    let hashes = rest[1..].bytes().take_while(|byte| *byte == b'#').count();
    if rest.as_bytes().get(1 + hashes) != Some(&b'"') {
        return None;
    }
    let close = format!("\"{}", "#".repeat(hashes));
    let body = 2 + hashes;
    Some(
        rest[body..]
            .find(&close)
            .map_or(rest.len(), |found| body + found + close.len()),
    )
}

/// A character literal whole; a lifetime is left alone as one quote.
fn character_length(rest: &str) -> usize {
    let mut characters = rest.char_indices().skip(1);
    match (characters.next(), characters.next()) {
        (Some((_, '\\')), Some(_)) => {
            let close = rest
                .char_indices()
                .skip(3)
                .find(|(_, character)| *character == '\'');
            close.map_or(rest.len(), |(offset, _)| offset + 1)
        }
        (Some(_), Some((offset, '\''))) => offset + 1,
        _ => 1,
    }
}

mod laws {
    use super::{Code, blank};

    #[test]
    fn comments_and_strings_are_blanked_where_they_stand() {
        // Runs of blanks are written as one; that none is lost is checked apart.
        let cases = [
            ("a(); // todo!()", "a(); "),
            ("a(); /* b /* c */ d */ e();", "a(); e();"),
            (r#"f("x \" // y"); g()"#, "f(\" ); g()"),
            (r##"f(r#"todo!() " "#); g()"##, "f(r ); g()"),
            ("f(br\"todo!()\"); g()", "f(br ); g()"),
            ("let c = '\"'; g(\"x\")", "let c = ' ; g(\" )"),
            ("let c = '\\''; g()", "let c = ' ; g()"),
            ("fn f<'a>(x: &'a str) {}", "fn f<'a>(x: &'a str) {}"),
            ("let über = \"é\"; // ü", "let über = \" ; "),
            ("for \"a\nb\"", "for \" \n "),
        ];
        for (source, expected) in cases {
            let blanked = blank(source);
            assert_eq!(blanked.len(), source.len(), "{source}");
            let lines: Vec<String> = blanked.split('\n').map(one_blank).collect();
            assert_eq!(lines.join("\n"), expected, "{source}");
        }
    }

    fn one_blank(line: &str) -> String {
        line.chars().fold(String::new(), |mut kept, character| {
            if character != ' ' || !kept.ends_with(' ') {
                kept.push(character);
            }
            kept
        })
    }

    #[test]
    fn lines_of_test_items_are_marked() {
        let source = "fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() { if x {} }\n}\nfn c() {}\n#[cfg(test)]\nmod apart;\nfn d() {}\n";
        let code = Code::new(source);
        let marked: Vec<usize> = code
            .lines()
            .filter(|(_, _, test)| *test)
            .map(|(line, _, _)| line)
            .collect();
        assert_eq!(marked, [2, 3, 4, 5, 7, 8]);
        assert_eq!(code.lines_without_tests(), 3);
        assert_eq!(code.test_modules(), ["apart"]);
    }
}
