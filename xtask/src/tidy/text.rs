//! Rules for the text of single files.

use std::path::Path;

use super::Finding;

/// The widest a line of code may be; rustfmt keeps to it, but not inside strings and comments.
const COLUMNS_MAX: usize = 100;

/// A file is one subject; at this length it is surely two.
const LINES_MAX: usize = 1000;

/// Files that were longer than [`LINES_MAX`] when the rule came, and may not grow. Shorten only.
const LONG_FILES: [(&str, usize); 0] = [];

/// Marks of unfinished work. Put together here, so that this file does not hold them.
const UNFINISHED: [&str; 6] = [
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X:"),
    concat!("dbg", "!("),
    concat!("#[ign", "ore"),
    concat!("unimpl", "emented!("),
];

/// Folders of one machine: a path below them works nowhere else.
const MACHINE_PATHS: [&str; 4] = [
    concat!("/wo", "rk/"),
    concat!("/tmp/br", "ief"),
    concat!("/ro", "ot/.cargo"),
    concat!("/ro", "ot/.rustup"),
];

/// The pure half of the link: it is handed the time and never waits.
const PURE_MODULES: [&str; 2] =
    ["crates/holdfast-link/src/session", "crates/holdfast-protocol/src/"];
const IMPURE_WORDS: [&str; 6] =
    ["tokio", "Instant::now", "SystemTime", "std::fs", "std::net", "Timestamp::now"];

/// What people write by hand.
const CODE: [&str; 6] = ["rs", "mjs", "ts", "svelte", "css", "sql"];

/// Of these, what must be narrow: markup and drawings inside a page's components may be wide.
const NARROW: [&str; 2] = ["rs", "sql"];

pub(super) fn check(file: &Path, content: &str) -> Vec<Finding> {
    if is_generated(file) {
        return Vec::new();
    }
    let mut findings: Vec<Finding> = Vec::new();
    if is_code(file) {
        findings.extend(check_length(file, content));
    }
    for (index, line) in content.lines().enumerate() {
        let rules = line_rules(file, line);
        findings.extend(rules.into_iter().map(|rule| Finding::at(file, index + 1, rule)));
    }
    if !content.is_empty() && !content.ends_with('\n') {
        findings.push(Finding::in_file(file, "does not end with a line break"));
    }
    findings
}

/// Lock files and recordings are as their tools wrote them; licences as their lawyers did.
fn is_generated(file: &Path) -> bool {
    let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let recorded = file.iter().any(|part| part == "recorded" || part == "goldens");
    recorded
        || name.starts_with("LICENSE")
        || ["Cargo.lock", "package-lock.json", "openapi.json"].contains(&name)
        || name.ends_with(".proptest-regressions")
        || name.starts_with("generated.")
        || name.ends_with(".svg")
}

fn is_code(file: &Path) -> bool {
    extension(file).is_some_and(|extension| CODE.contains(&extension))
}

fn extension(file: &Path) -> Option<&str> {
    file.extension().and_then(|extension| extension.to_str())
}

fn check_length(file: &Path, content: &str) -> Option<Finding> {
    let lines = content.lines().count();
    let known = LONG_FILES.iter().find(|(long, _)| Path::new(long) == file);
    let lines_max = known.map_or(LINES_MAX, |(_, length)| *length);
    (lines > lines_max)
        .then(|| Finding::in_file(file, format!("has {lines} lines; split it by subject")))
}

fn line_rules(file: &Path, line: &str) -> Vec<String> {
    let mut rules = Vec::new();
    if NARROW.into_iter().any(|narrow| extension(file) == Some(narrow)) {
        rules.extend(check_width(line));
    }
    if is_code(file) {
        rules.extend(check_unfinished(line));
    }
    if let Some(path) = MACHINE_PATHS.into_iter().find(|path| line.contains(path)) {
        rules.push(format!("{path} exists on one machine only"));
    }
    if line.ends_with([' ', '\t']) && extension(file) != Some("md") {
        rules.push("ends with a space".into());
    }
    rules.extend(check_purity(file, line));
    rules
}

fn check_width(line: &str) -> Option<String> {
    let columns = line.chars().count();
    // An address cannot be broken, and a sentence for people reads better in one piece: the
    // formatter leaves string literals alone, and so does this rule. Comments must fit.
    let comment = line.trim_start().starts_with("//");
    let excused = line.contains("https://") || (line.contains('"') && !comment);
    (columns > COLUMNS_MAX && !excused)
        .then(|| format!("is {columns} columns wide; {COLUMNS_MAX} is the house's width"))
}

fn check_unfinished(line: &str) -> Option<String> {
    let mark = UNFINISHED.into_iter().find(|mark| line.contains(mark))?;
    Some(format!("{mark} marks unfinished work; finish it or file an issue"))
}

fn check_purity(file: &Path, line: &str) -> Option<String> {
    let name = file.to_str()?;
    let pure = PURE_MODULES.into_iter().any(|module| name.starts_with(module));
    let comment = line.trim_start().starts_with("//");
    if !pure || comment {
        return None;
    }
    let word = IMPURE_WORDS.into_iter().find(|word| line.contains(word))?;
    Some(format!("{word} has no place in pure code: time comes in as a value, I/O stays above"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(file: &str, content: &str) -> Vec<String> {
        check(Path::new(file), content).into_iter().map(|finding| finding.rule).collect()
    }

    #[test]
    fn clean_code_passes() {
        let code = "//! A page.\n\nfn main() {}\n";
        assert_eq!(rules("crates/a/src/main.rs", code), Vec::<String>::new());
    }

    #[test]
    fn wide_lines_are_found_and_counted_in_characters() {
        let fits = format!("// {}\n", "é".repeat(97));
        assert_eq!(rules("a.rs", &fits), Vec::<String>::new());
        let wide = format!("// {}\n", "e".repeat(98));
        assert!(rules("a.rs", &wide)[0].contains("101 columns"));
        assert_eq!(rules("README.md", &wide), Vec::<String>::new());
    }

    #[test]
    fn an_address_may_be_wide() {
        let wide = format!("// https://example.org/{}\n", "e".repeat(98));
        assert_eq!(rules("a.rs", &wide), Vec::<String>::new());
    }

    #[test]
    fn every_mark_of_unfinished_work_is_found() {
        for mark in UNFINISHED {
            assert_eq!(rules("a.rs", &format!("// {mark}\n")).len(), 1, "{mark}");
        }
    }

    #[test]
    fn paths_of_one_machine_are_found_in_every_kind_of_file() {
        for path in MACHINE_PATHS {
            assert_eq!(rules("README.md", &format!("see {path}x\n")).len(), 1, "{path}");
        }
    }

    #[test]
    fn a_file_of_many_subjects_is_found() {
        assert_eq!(rules("a.rs", &"\n".repeat(LINES_MAX)), Vec::<String>::new());
        assert!(rules("a.rs", &"\n".repeat(LINES_MAX + 1))[0].contains("1001 lines"));
    }

    #[test]
    fn the_session_sees_no_clock_and_no_socket() {
        let code = "let now = Instant::now();\n";
        assert_eq!(rules("crates/holdfast-link/src/session/inbox.rs", code).len(), 1);
        assert_eq!(rules("crates/holdfast-link/src/session.rs", "use tokio::net;\n").len(), 1);
        assert_eq!(rules("crates/holdfast-link/src/driver.rs", code), Vec::<String>::new());
        let prose = "// tokio lives one floor up.\n";
        assert_eq!(rules("crates/holdfast-link/src/session.rs", prose), Vec::<String>::new());
    }

    #[test]
    fn a_file_ends_with_a_line_break() {
        assert_eq!(rules("a.rs", "fn main() {}"), ["does not end with a line break"]);
    }

    #[test]
    fn what_tools_wrote_is_not_judged() {
        let wide = "x".repeat(200);
        assert_eq!(rules("crates/a/tests/recorded/0.14/backup.jsonl", &wide), Vec::<String>::new());
        assert_eq!(rules("Cargo.lock", &wide), Vec::<String>::new());
    }
}
