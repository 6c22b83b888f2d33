//! From pieces to a tree, without knowing any object or field.

use super::lexer::{Placed, Token, malformed, tokens};
use crate::salesforce::refusal::Refusal;

/// Characters a query may have.
const QUERY_CHARS_MAX: usize = 100_000;
/// Parentheses and negations a condition may be nested in.
const NESTING_MAX: usize = 100;

/// What is selected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Selection {
    Paths(Vec<String>),
    /// `COUNT()`: only how many rows there are.
    Count,
    /// `FIELDS(ALL)`
    All,
}

/// A comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Comparison {
    Equal,
    Unequal,
    Less,
    AtMost,
    More,
    AtLeast,
}

/// A value in a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Literal {
    Text(String),
    /// A number, a date or a moment: which of them, the field decides.
    Plain(String),
    Boolean(bool),
    Null,
}

/// A condition on rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Condition {
    And(Vec<Condition>),
    Or(Vec<Condition>),
    Not(Box<Condition>),
    Compare(String, Comparison, Literal),
    Like(String, String),
    In {
        path: String,
        literals: Vec<Literal>,
        negated: bool,
    },
}

/// One key of the order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OrderKey {
    pub(crate) path: String,
    pub(crate) descending: bool,
    pub(crate) nulls_last: bool,
}

/// A query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Query {
    pub(crate) selection: Selection,
    pub(crate) object: String,
    /// Where the object's name begins, for the complaint that there is no such object.
    pub(crate) object_column: usize,
    pub(crate) alias: Option<String>,
    pub(crate) condition: Option<Condition>,
    pub(crate) order: Vec<OrderKey>,
    pub(crate) limit: Option<usize>,
    pub(crate) offset: usize,
}

/// Reads a query.
pub(crate) fn parse(text: &str) -> Result<Query, Refusal> {
    if text.chars().count() > QUERY_CHARS_MAX {
        return Err(Refusal::bad(
            "QUERY_TOO_COMPLICATED",
            format!("a query may have {QUERY_CHARS_MAX} characters"),
        ));
    }
    let mut parser = Parser {
        pieces: tokens(text)?,
        at: 0,
        nesting: 0,
    };
    let query = parser.query()?;
    match parser.peek() {
        None => Ok(query),
        Some(_) => Err(parser.unexpected()),
    }
}

struct Parser {
    pieces: Vec<Placed>,
    at: usize,
    nesting: usize,
}

const CLAUSES: [&str; 9] = [
    "WHERE", "ORDER", "LIMIT", "OFFSET", "GROUP", "HAVING", "WITH", "FOR", "USING",
];

impl Parser {
    fn peek(&self) -> Option<&Token> {
        self.pieces.get(self.at).map(|piece| &piece.token)
    }

    fn column(&self) -> usize {
        self.pieces.get(self.at).map_or(0, |piece| piece.column)
    }

    fn unexpected(&self) -> Refusal {
        match self.peek() {
            None => malformed("unexpected token: <EOF>"),
            Some(token) => {
                let text = match token {
                    Token::Word(text) | Token::Literal(text) => text.clone(),
                    Token::Text(text) => format!("'{text}'"),
                    Token::Sign(sign) => (*sign).to_owned(),
                };
                let column = self.column();
                malformed(format!(
                    "\n{text}\n^\nERROR at Row:1:Column:{column}\nunexpected token: '{text}'"
                ))
            }
        }
    }

    fn is_word(&self, word: &str) -> bool {
        matches!(self.peek(), Some(Token::Word(text)) if text.eq_ignore_ascii_case(word))
    }

    fn eat_word(&mut self, word: &str) -> bool {
        let found = self.is_word(word);
        self.at += usize::from(found);
        found
    }

    fn expect_word(&mut self, word: &str) -> Result<(), Refusal> {
        if self.eat_word(word) {
            Ok(())
        } else {
            Err(self.unexpected())
        }
    }

    fn eat_sign(&mut self, sign: &str) -> bool {
        let found = matches!(self.peek(), Some(Token::Sign(text)) if *text == sign);
        self.at += usize::from(found);
        found
    }

    fn expect_sign(&mut self, sign: &str) -> Result<(), Refusal> {
        if self.eat_sign(sign) {
            Ok(())
        } else {
            Err(self.unexpected())
        }
    }

    fn word(&mut self) -> Result<String, Refusal> {
        match self.peek() {
            Some(Token::Word(word)) => {
                let word = word.clone();
                self.at += 1;
                Ok(word)
            }
            _ => Err(self.unexpected()),
        }
    }

    fn query(&mut self) -> Result<Query, Refusal> {
        self.expect_word("SELECT")?;
        let selection = self.selection()?;
        self.expect_word("FROM")?;
        let object_column = self.column();
        let object = self.word()?;
        let alias = match self.peek() {
            Some(Token::Word(word)) if !CLAUSES.iter().any(|clause| word.eq_ignore_ascii_case(clause)) => {
                Some(self.word()?)
            }
            _ => None,
        };
        let condition = if self.eat_word("WHERE") {
            Some(self.condition()?)
        } else {
            None
        };
        for clause in ["GROUP", "HAVING", "WITH", "USING"] {
            if self.is_word(clause) {
                return Err(malformed(format!("{clause} is not supported by the sandbox")));
            }
        }
        let order = if self.eat_word("ORDER") {
            self.order()?
        } else {
            Vec::new()
        };
        let limit = if self.eat_word("LIMIT") {
            Some(self.whole_number()?)
        } else {
            None
        };
        let offset = if self.eat_word("OFFSET") {
            self.whole_number()?
        } else {
            0
        };
        if self.eat_word("FOR") && !self.eat_word("VIEW") && !self.eat_word("REFERENCE") {
            return Err(self.unexpected());
        }
        Ok(Query {
            selection,
            object,
            object_column,
            alias,
            condition,
            order,
            limit,
            offset,
        })
    }

    fn selection(&mut self) -> Result<Selection, Refusal> {
        let mut paths = Vec::new();
        loop {
            if self.eat_sign("(") {
                return Err(malformed("sub-queries are not supported by the sandbox"));
            }
            let path = self.word()?;
            if self.eat_sign("(") {
                return self.function(&path, paths.is_empty());
            }
            paths.push(path);
            if !self.eat_sign(",") {
                return Ok(Selection::Paths(paths));
            }
        }
    }

    fn function(&mut self, name: &str, is_first: bool) -> Result<Selection, Refusal> {
        if name.eq_ignore_ascii_case("COUNT") && is_first && self.eat_sign(")") {
            return Ok(Selection::Count);
        }
        if name.eq_ignore_ascii_case("FIELDS") && is_first && self.eat_word("ALL") {
            self.expect_sign(")")?;
            return Ok(Selection::All);
        }
        Err(malformed(format!(
            "{name}(…) is not supported by the sandbox here"
        )))
    }

    /// `a AND b AND c` or `a OR b OR c`: mixing them needs parentheses, as at Salesforce.
    fn condition(&mut self) -> Result<Condition, Refusal> {
        let first = self.negation()?;
        for (word, other, join) in [
            ("AND", "OR", Condition::And as fn(Vec<Condition>) -> Condition),
            ("OR", "AND", Condition::Or),
        ] {
            if !self.is_word(word) {
                continue;
            }
            let mut parts = vec![first];
            while self.eat_word(word) {
                parts.push(self.negation()?);
            }
            return if self.is_word(other) {
                Err(self.unexpected())
            } else {
                Ok(join(parts))
            };
        }
        Ok(first)
    }

    fn negation(&mut self) -> Result<Condition, Refusal> {
        self.nesting += 1;
        if self.nesting > NESTING_MAX {
            return Err(Refusal::bad(
                "QUERY_TOO_COMPLICATED",
                format!("a condition may be nested {NESTING_MAX} deep"),
            ));
        }
        let condition = if self.eat_word("NOT") {
            Condition::Not(Box::new(self.negation()?))
        } else if self.eat_sign("(") {
            let inner = self.condition()?;
            self.expect_sign(")")?;
            inner
        } else {
            self.comparison()?
        };
        self.nesting -= 1;
        Ok(condition)
    }

    fn comparison(&mut self) -> Result<Condition, Refusal> {
        let path = self.word()?;
        if self.eat_word("LIKE") {
            return match self.literal()? {
                Literal::Text(pattern) => Ok(Condition::Like(path, pattern)),
                _ => Err(self.unexpected()),
            };
        }
        let negated = self.eat_word("NOT");
        if self.eat_word("IN") {
            return Ok(Condition::In {
                path,
                literals: self.literals()?,
                negated,
            });
        }
        if negated {
            return Err(self.unexpected());
        }
        let comparison = match self.peek() {
            Some(Token::Sign("=")) => Comparison::Equal,
            Some(Token::Sign("!=")) => Comparison::Unequal,
            Some(Token::Sign("<")) => Comparison::Less,
            Some(Token::Sign("<=")) => Comparison::AtMost,
            Some(Token::Sign(">")) => Comparison::More,
            Some(Token::Sign(">=")) => Comparison::AtLeast,
            _ => return Err(self.unexpected()),
        };
        self.at += 1;
        Ok(Condition::Compare(path, comparison, self.literal()?))
    }

    fn literals(&mut self) -> Result<Vec<Literal>, Refusal> {
        self.expect_sign("(")?;
        if self.is_word("SELECT") {
            return Err(malformed("sub-queries are not supported by the sandbox"));
        }
        let mut literals = vec![self.literal()?];
        while self.eat_sign(",") {
            literals.push(self.literal()?);
        }
        self.expect_sign(")")?;
        Ok(literals)
    }

    fn literal(&mut self) -> Result<Literal, Refusal> {
        let literal = match self.peek() {
            Some(Token::Text(text)) => Literal::Text(text.clone()),
            Some(Token::Literal(text)) => Literal::Plain(text.clone()),
            Some(Token::Word(word)) if word.eq_ignore_ascii_case("null") => Literal::Null,
            Some(Token::Word(word)) if word.eq_ignore_ascii_case("true") => Literal::Boolean(true),
            Some(Token::Word(word)) if word.eq_ignore_ascii_case("false") => Literal::Boolean(false),
            _ => return Err(self.unexpected()),
        };
        self.at += 1;
        Ok(literal)
    }

    fn order(&mut self) -> Result<Vec<OrderKey>, Refusal> {
        self.expect_word("BY")?;
        let mut keys = Vec::new();
        loop {
            let path = self.word()?;
            let descending = !self.eat_word("ASC") && self.eat_word("DESC");
            let mut nulls_last = false;
            if self.eat_word("NULLS") {
                nulls_last = self.eat_word("LAST");
                if !nulls_last {
                    self.expect_word("FIRST")?;
                }
            }
            keys.push(OrderKey {
                path,
                descending,
                nulls_last,
            });
            if !self.eat_sign(",") {
                return Ok(keys);
            }
        }
    }

    fn whole_number(&mut self) -> Result<usize, Refusal> {
        match self.peek() {
            Some(Token::Literal(text)) => {
                let number = text.parse().map_err(|_| self.unexpected())?;
                self.at += 1;
                Ok(number)
            }
            _ => Err(self.unexpected()),
        }
    }
}
