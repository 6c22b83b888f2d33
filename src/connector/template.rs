//! [`Template`]: text with `{{ … }}`, for addresses, headers, queries and signed strings.
//!
//! Undefined names are errors, rendering has fuel, and there is no access to files or the environment.
//! Numbers are handed over digit by digit: a decimal arrives as text, because a template engine would round it.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use minijinja::value::{Value, ValueKind};
use minijinja::{Environment, Error, ErrorKind, UndefinedBehavior};
use serde_json::Value as Json;

use crate::names::Names;

/// Steps that one rendering may take.
const FUEL_MAX: u64 = 200_000;

/// The filters a manifest may use. The engine looks filters up only when it renders, so names are checked here.
const FILTERS: &[&str] = &[
    "base64",
    "decode_only",
    "default",
    "first",
    "join",
    "last",
    "length",
    "lower",
    "quoted",
    "replace",
    "segment",
    "sort",
    "trim",
    "unique",
    "upper",
];

/// All templates of one manifest.
pub(crate) struct Templates {
    env: Environment<'static>,
    count: usize,
}

/// One text of a manifest, compiled.
#[derive(Clone, Debug)]
pub(crate) enum Template {
    /// Has no expressions.
    Literal(Arc<str>),
    /// The name of a template in [`Templates`].
    Compiled(Arc<str>),
}

impl Templates {
    pub(crate) fn new() -> Templates {
        let mut env = Environment::new();
        env.set_undefined_behavior(UndefinedBehavior::Strict);
        env.set_fuel(Some(FUEL_MAX));
        env.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
        env.add_filter("quoted", quoted);
        env.add_filter("segment", segment);
        env.add_filter("base64", base64_of);
        env.add_filter("decode_only", decode_only);
        Templates { env, count: 0 }
    }

    /// Compiles a text; gives the names it uses beside it, dotted (`config.base_url`).
    pub(crate) fn add(&mut self, source: &str) -> Result<(Template, Vec<String>), String> {
        if !source.contains("{{") && !source.contains("{%") {
            return Ok((Template::Literal(source.into()), Vec::new()));
        }
        if let Some(unknown) = filters(source)
            .into_iter()
            .find(|f| !FILTERS.contains(&f.as_str()))
        {
            let hint = diagnostic::suggestion(&unknown, FILTERS.iter().copied());
            return Err(format!("`{unknown}` is not a known filter, {hint}"));
        }
        let name = format!("t{}", self.count);
        self.count += 1;
        self.env
            .add_template_owned(name.clone(), source.to_owned())
            .map_err(|e| e.detail().unwrap_or("not a template").to_owned())?;
        let mut used: Vec<String> = self
            .env
            .get_template(&name)
            .map(|t| t.undeclared_variables(true).into_iter().collect())
            .unwrap_or_default();
        used.sort_unstable();
        Ok((Template::Compiled(name.into()), used))
    }

    /// Renders; the error names the template's problem, never a value.
    pub(crate) fn render(&self, template: &Template, names: &Names) -> Result<String, String> {
        match template {
            Template::Literal(text) => Ok(text.to_string()),
            Template::Compiled(name) => self
                .env
                .get_template(name)
                .and_then(|t| t.render(Value::from_object(names.clone())))
                .map_err(|e| match e.kind() {
                    ErrorKind::UndefinedError => "a name in a template has no value".to_owned(),
                    ErrorKind::OutOfFuel => "a template does not end".to_owned(),
                    kind => format!("a template cannot be rendered: {kind}"),
                }),
        }
    }
}

/// The names behind each `|` of an expression or a statement, outside of quotes; in the text around them it is a bar.
fn filters(source: &str) -> Vec<String> {
    let mut found = Vec::new();
    let (mut closer, mut quote) = (None, None);
    let mut characters = source.char_indices();
    while let Some((at, c)) = characters.next() {
        let rest = &source[at..];
        match (closer, quote, c) {
            (None, _, '{') if rest.starts_with("{{") => closer = Some("}}"),
            (None, _, '{') if rest.starts_with("{%") => closer = Some("%}"),
            (None, ..) => {}
            (_, Some(_), '\\') => {
                characters.next();
            }
            (_, Some(open), c) if c == open => quote = None,
            (_, Some(_), _) => {}
            (_, None, '\'' | '"') => quote = Some(c),
            (Some(end), None, _) if rest.starts_with(end) => closer = None,
            (_, None, '|') => {
                let name = rest[1..].trim_start();
                let end = name
                    .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
                    .unwrap_or(name.len());
                found.push(name[..end].to_owned());
            }
            _ => {}
        }
    }
    found
}

/// JSON as the template engine sees it; a number that is not whole becomes its digits as text.
pub(crate) fn to_value(json: &Json) -> Value {
    match json {
        Json::Null => Value::from(()),
        Json::Bool(b) => Value::from(*b),
        Json::Number(n) => n.as_i64().map_or_else(|| Value::from(n.to_string()), Value::from),
        Json::String(text) => Value::from(text.as_str()),
        Json::Array(items) => items.iter().map(to_value).collect(),
        Json::Object(map) => {
            let entries: BTreeMap<&str, Value> = map.iter().map(|(k, v)| (k.as_str(), to_value(v))).collect();
            Value::from(entries)
        }
    }
}

/// Escapes what would end a text in single quotes: `\` and `'`.
fn quoted(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\'', "\\'")
}

/// Percent-encodes everything that is not an unreserved character, so that a value stays one segment of a path.
fn segment(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "the template engine hands values over"
)]
fn base64_of(value: Value) -> Result<String, Error> {
    match value.kind() {
        ValueKind::String | ValueKind::Number => {
            Ok(base64::engine::general_purpose::STANDARD.encode(value.to_string()))
        }
        _ => Err(Error::new(ErrorKind::InvalidOperation, "base64 needs text")),
    }
}

/// Decodes the percent-codes of exactly these characters, whatever their case; every other code stays.
fn decode_only(text: &str, characters: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        let code = rest
            .get(at + 1..at + 3)
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match code.map(char::from) {
            Some(c) if c.is_ascii() && characters.contains(c) => {
                out.push(c);
                rest = &rest[at + 3..];
            }
            _ => {
                out.push('%');
                rest = &rest[at + 1..];
            }
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn render(source: &str, names: &Json) -> Result<String, String> {
        let mut templates = Templates::new();
        let (template, _) = templates.add(source)?;
        templates.render(&template, &Names::default().with("v", names.clone()))
    }

    #[test]
    fn numbers_are_not_rounded() {
        let names: Json = serde_json::from_str(r#"{"a":1234567890123456.78,"b":7}"#).unwrap();
        assert_eq!(
            render("{{ v.a }} {{ v.b + 1 }}", &names).unwrap(),
            "1234567890123456.78 8"
        );
    }

    #[test]
    fn undefined_names_are_errors_that_show_no_values() {
        let error = render("{{ v.secret }}{{ v.missing }}", &json!({"secret": "s3cret"})).unwrap_err();
        assert!(!error.contains("s3cret"), "{error}");
    }

    #[test]
    fn names_are_listed_and_syntax_is_checked() {
        let mut templates = Templates::new();
        let (_, used) = templates
            .add("{{ config.base_url }}/{{ fields | join(',') }}")
            .unwrap();
        assert_eq!(used, ["config.base_url", "fields"]);
        assert!(templates.add("{{ a").is_err());
        for unknown in [
            "{{ a | nosuch }}",
            "{{ '}}' }}{{ a|nosuch }}",
            "{% if a | nosuch %}x{% endif %}",
        ] {
            let error = templates.add(unknown).unwrap_err();
            assert!(error.contains("`nosuch` is not a known filter"), "{error}");
        }
    }

    #[test]
    fn a_bar_outside_of_expressions_is_text() {
        let names = json!("x");
        for (source, rendered) in [
            ("{{ v }}|", "x|"),
            ("'{{ v }}' | {{ '|' }}", "'x' | |"),
            ("|{% if v == '|' %}a|b{% endif %}{{ v | upper }}", "|X"),
        ] {
            assert_eq!(render(source, &names).unwrap(), rendered, "{source}");
        }
    }

    #[test]
    fn filters() {
        assert_eq!(
            render("{{ v | quoted }}", &json!(r"O'Neil\")).unwrap(),
            r"O\'Neil\\"
        );
        assert_eq!(
            render("{{ v | segment }}", &json!("a/b ü")).unwrap(),
            "a%2Fb%20%C3%BC"
        );
        assert_eq!(
            render("{{ v | base64 }}", &json!("admin:1:x")).unwrap(),
            "YWRtaW46MTp4"
        );
        let decoded = render(
            "{{ v | decode_only(':/?@!$\\'()*,;') }}",
            &json!("https%3a//x%2Fy?a=%20%41%2c%"),
        )
        .unwrap();
        assert_eq!(decoded, "https://x/y?a=%20%41,%");
    }

    #[test]
    fn endless_templates_run_out_of_fuel() {
        let loops = "{% for a in range(10000) %}{% for b in range(10000) %}x{% endfor %}{% endfor %}";
        assert_eq!(render(loops, &json!({})).unwrap_err(), "a template does not end");
    }
}
