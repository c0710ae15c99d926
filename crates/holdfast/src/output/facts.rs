//! Facts about one thing, a line each, values aligned.

use super::{Look, Tone, printable};

/// Names and values, in order.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    rows: Vec<(&'static str, String, Tone)>,
}

impl Facts {
    /// No facts.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Adds a fact. An empty value is left out: what is not known is not shown.
    pub(crate) fn add(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.push(name, &value.into(), Tone::Plain);
        self
    }

    /// Adds a fact with a meaning.
    pub(crate) fn toned(mut self, name: &'static str, value: &str, tone: Tone) -> Self {
        self.push(name, value, tone);
        self
    }

    /// Adds a fact that may be unknown.
    pub(crate) fn maybe(self, name: &'static str, value: Option<impl Into<String>>) -> Self {
        match value {
            Some(value) => self.add(name, value),
            None => self,
        }
    }

    /// The lines.
    pub(crate) fn render(&self, look: &Look) -> String {
        let width = self.rows.iter().map(|(name, ..)| name.len() + 1).max().unwrap_or(0);
        let mut text = String::new();
        for (name, value, tone) in &self.rows {
            let name = format!("{name}:");
            text.push_str(&look.paint(Tone::Quiet, &format!("{name:width$}")));
            text.push_str("  ");
            text.push_str(&look.paint(*tone, value));
            text.push('\n');
        }
        text
    }

    fn push(&mut self, name: &'static str, value: &str, tone: Tone) {
        if !value.is_empty() {
            self.rows.push((name, printable(value), tone));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::test_look;

    #[test]
    fn values_stand_in_one_column_and_unknown_ones_are_left_out() {
        let facts = Facts::new().add("Host", "web-1").add("Snapshot", "").add("Status", "failed");
        assert_eq!(facts.render(&test_look()), "Host:    web-1\nStatus:  failed\n");
    }
}
