//! Secrets and settings that come from files or standard input, never from the command line.

use std::{
    collections::BTreeMap,
    io::{IsTerminal, Read},
    path::Path,
};

use holdfast_protocol::message::config::Secret;

use crate::{failure::Failure, output::remark};

/// The longest secret that is read, in bytes. It stops a mistaken `/dev/zero` or disk image.
const SECRET_SIZE_MAX: u64 = 64 * 1024;

/// Reads the secret in `file` (`-` is standard input), without the line end that editors add.
pub(crate) fn secret(file: &Path, noun: &str) -> Result<Secret, Failure> {
    let text = text(file, noun)?;
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() {
        return Err(Failure::new(
            format!("The {noun} in `{}` is empty.", file.display()),
            format!("Write the {noun} into the file, on one line."),
        ));
    }
    Ok(Secret::new(text))
}

/// Reads `NAME=VALUE` lines; empty lines and lines that start with `#` are skipped.
pub(crate) fn environment(file: &Path) -> Result<BTreeMap<String, Secret>, Failure> {
    parse_environment(&text(file, "environment")?).map_err(|line| {
        Failure::new(
            format!("Line {line} of `{}` is not NAME=VALUE.", file.display()),
            "Write one variable per line, such as AWS_ACCESS_KEY_ID=….",
        )
    })
}

/// The variables, or the number of the first line that is none. Values never reach an error.
fn parse_environment(text: &str) -> Result<BTreeMap<String, Secret>, usize> {
    let mut variables = BTreeMap::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, value) = line.split_once('=').ok_or(index + 1)?;
        if name.is_empty() || name.contains(char::is_whitespace) {
            return Err(index + 1);
        }
        variables.insert(name.to_owned(), Secret::new(value));
    }
    Ok(variables)
}

fn text(file: &Path, noun: &str) -> Result<String, Failure> {
    let mut text = String::new();
    let read = if file == Path::new("-") {
        if std::io::stdin().is_terminal() {
            remark(&format!("Reading the {noun} from the terminal; end it with Enter and Ctrl-D."));
        }
        std::io::stdin().lock().take(SECRET_SIZE_MAX).read_to_string(&mut text)
    } else {
        std::fs::File::open(file)
            .and_then(|opened| opened.take(SECRET_SIZE_MAX).read_to_string(&mut text))
    };
    read.map(|_| text).map_err(|error| {
        Failure::new(
            format!("The {noun} could not be read from `{}`: {error}.", file.display()),
            "Name a readable file, or `-` to give it on standard input.",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_loses_its_line_end_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("password");
        std::fs::write(&file, " two words \n").unwrap();
        assert_eq!(secret(&file, "password").unwrap().expose(), " two words ");
    }

    #[test]
    fn an_empty_or_missing_secret_says_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("password");
        let missing = secret(&file, "password").unwrap_err().to_string();
        assert!(missing.contains("could not be read"), "{missing}");
        std::fs::write(&file, "\n").unwrap();
        let empty = secret(&file, "password").unwrap_err().to_string();
        assert!(empty.contains("is empty"), "{empty}");
    }

    #[test]
    fn an_environment_file_is_names_and_values() {
        let variables = parse_environment("# keys\nA=1\n\nB=x=y\n").unwrap();
        assert_eq!(variables["A"].expose(), "1");
        assert_eq!(variables["B"].expose(), "x=y");
        assert_eq!(parse_environment("A=1\nnonsense"), Err(2));
    }
}
