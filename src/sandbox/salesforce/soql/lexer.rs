//! Words, texts, numbers, dates and signs of a query.

use crate::salesforce::refusal::Refusal;

/// One piece of a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Token {
    /// A name, keyword or path: letters, digits, `_` and `.`.
    Word(String),
    /// A text in single quotes; `\%` and `\_` keep their backslash, which only `LIKE` looks at.
    Text(String),
    /// Anything that begins with a digit or a sign: a number, a date, a moment.
    Literal(String),
    /// `= != < <= > >= ( ) ,`
    Sign(&'static str),
}

/// A piece and the character it begins at, counted from 1.
#[derive(Debug, Clone)]
pub(crate) struct Placed {
    pub(crate) token: Token,
    pub(crate) column: usize,
}

const SIGNS: [(&str, &str); 10] = [
    ("!=", "!="),
    ("<>", "!="),
    ("<=", "<="),
    (">=", ">="),
    ("=", "="),
    ("<", "<"),
    (">", ">"),
    ("(", "("),
    (")", ")"),
    (",", ","),
];

/// Splits a query into pieces.
pub(crate) fn tokens(query: &str) -> Result<Vec<Placed>, Refusal> {
    let letters: Vec<char> = query.chars().collect();
    let mut pieces = Vec::new();
    let mut at = 0;
    while let Some(&letter) = letters.get(at) {
        let column = at + 1;
        if letter.is_whitespace() {
            at += 1;
            continue;
        }
        let token = if letter == '\'' {
            let (text, end) = text(&letters, at)?;
            at = end;
            Token::Text(text)
        } else if letter.is_alphabetic() || letter == '_' {
            Token::Word(take(&letters, &mut at, |c| {
                c.is_alphanumeric() || c == '_' || c == '.'
            }))
        } else if letter.is_ascii_digit() || letter == '-' || letter == '+' {
            Token::Literal(take(&letters, &mut at, |c| {
                c.is_ascii_alphanumeric() || "+-.:".contains(c)
            }))
        } else {
            Token::Sign(sign(&letters, &mut at)?)
        };
        pieces.push(Placed { token, column });
    }
    Ok(pieces)
}

fn take(letters: &[char], at: &mut usize, belongs: impl Fn(char) -> bool) -> String {
    let start = *at;
    *at += letters[start..]
        .iter()
        .take_while(|letter| belongs(**letter))
        .count();
    letters[start..*at].iter().collect()
}

fn sign(letters: &[char], at: &mut usize) -> Result<&'static str, Refusal> {
    for (spelling, meaning) in SIGNS {
        if spelling
            .chars()
            .enumerate()
            .all(|(offset, letter)| letters.get(*at + offset) == Some(&letter))
        {
            *at += spelling.len();
            return Ok(meaning);
        }
    }
    Err(malformed(format!(
        "unexpected character: '{}' at column {}",
        letters[*at],
        *at + 1
    )))
}

fn text(letters: &[char], start: usize) -> Result<(String, usize), Refusal> {
    let mut text = String::new();
    let mut at = start + 1;
    loop {
        match (letters.get(at), letters.get(at + 1)) {
            (Some('\''), _) => return Ok((text, at + 1)),
            (Some('\\'), Some(escaped)) => {
                match escaped {
                    'n' | 'N' => text.push('\n'),
                    'r' | 'R' => text.push('\r'),
                    't' | 'T' => text.push('\t'),
                    '%' | '_' => text.extend(['\\', *escaped]),
                    '\'' | '"' | '\\' => text.push(*escaped),
                    other => {
                        return Err(malformed(format!(
                            "Invalid string literal. Illegal character sequence '\\{other}'"
                        )));
                    }
                }
                at += 2;
            }
            (Some(letter), _) => {
                text.push(*letter);
                at += 1;
            }
            (None, _) => return Err(malformed("line 1:0 mismatched character '<EOF>' expecting '''")),
        }
    }
}

pub(crate) fn malformed(message: impl Into<String>) -> Refusal {
    Refusal::bad("MALFORMED_QUERY", message)
}
