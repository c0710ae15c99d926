//! Putting JSON text together the way Go does.

use std::fmt::Write as _;

use super::Go;

/// Writes an object's members in the order they are given.
pub struct ObjectWriter<'a> {
    out: &'a mut String,
    before: char,
}

impl<'a> ObjectWriter<'a> {
    /// Begins an object at the end of `out`.
    pub fn new(out: &'a mut String) -> Self {
        Self { out, before: '{' }
    }

    /// Adds one member.
    pub fn field<T: Go>(&mut self, key: &str, value: &T) {
        self.out.push(self.before);
        self.before = ',';
        string(self.out, key);
        self.out.push(':');
        value.write(self.out);
    }

    /// Ends the object.
    pub fn end(self) {
        self.out.push_str(if self.before == '{' { "{}" } else { "}" });
    }
}

/// Appends `text` as a JSON string.
///
/// `\b` and `\f` are written short, as Go has done since 1.22.
pub fn string(out: &mut String, text: &str) {
    out.push('"');
    for letter in text.chars() {
        match letter {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            other => plain_or_escaped(out, other),
        }
    }
    out.push('"');
}

/// Appends a character that may stand in a string: Go escapes the rest, and what HTML and
/// JavaScript could misread.
pub(super) fn plain_or_escaped(out: &mut String, letter: char) {
    if letter < ' ' || matches!(letter, '<' | '>' | '&' | '\u{2028}' | '\u{2029}') {
        push(out, format_args!("\\u{:04x}", u32::from(letter)));
    } else {
        out.push(letter);
    }
}

/// Appends the shortest decimal that reads back as `number`.
///
/// Go refuses to write what is not a number; here it becomes 0, because a frame must come out.
pub fn float(out: &mut String, number: f64) {
    let size = number.abs();
    if !number.is_finite() {
        out.push('0');
    } else if size == 0.0 || (1e-6..1e21).contains(&size) {
        push(out, format_args!("{number}"));
    } else {
        // Rust writes `1e21`, Go `1e+21`; a negative exponent is the same in both.
        let text = format!("{number:e}");
        let sign = if size < 1.0 { "e" } else { "e+" };
        out.push_str(&text.replace('e', sign));
    }
}

fn push(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = out.write_fmt(text);
}
