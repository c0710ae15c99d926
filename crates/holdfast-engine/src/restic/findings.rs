//! What restic tells in words only: the findings of a check and the plan of a prune.

use holdfast_protocol::message::{
    log::Source,
    result::{Checked, Pruned},
};

/// Gathers findings line by line. What is no finding changes nothing.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    checked: Checked,
    pruned: Pruned,
}

impl Findings {
    pub(crate) fn checked(&self) -> Checked {
        self.checked.clone()
    }

    pub(crate) fn pruned(&self) -> Pruned {
        self.pruned
    }

    pub(crate) fn hear(&mut self, stream: Source, line: &str) {
        if line.contains("restic repair index") || line.contains("restic rebuild-index") {
            self.checked.suggest_repair_index = true;
        } else if line.contains("restic prune") {
            self.checked.suggest_prune = true;
        } else if stream == Source::Stderr {
            self.error(line);
        } else {
            self.plan(line);
        }
    }

    /// Lines on standard error are errors, but for what restic advises to do about them and for
    /// tries that it repeats.
    fn error(&mut self, line: &str) {
        const PROSE: [&str; 7] = [
            "Fatal:",
            "Load(",
            "The repository ",
            "Damaged pack files ",
            "restic ",
            "Please ",
            "signal ",
        ];
        if line.trim().is_empty() || PROSE.iter().any(|start| line.starts_with(start)) {
            return;
        }
        self.checked.error_count += 1;
        self.broken_pack(line);
    }

    fn broken_pack(&mut self, line: &str) {
        const PACKS_MAX: usize = 100;
        let pack = line
            .strip_prefix("pack ")
            .filter(|rest| rest.contains("contains"))
            .or_else(|| line.strip_prefix("Pack ID does not match, want "));
        let id = pack.and_then(|rest| rest.split([' ', ',', ':']).next());
        if let Some(id) = id.filter(|id| is_full_id(id))
            && self.checked.broken_packs.len() < PACKS_MAX
        {
            self.checked.broken_packs.push(id.to_owned());
        }
    }

    fn plan(&mut self, line: &str) {
        let Some((what, amount)) = line.split_once(':') else { return };
        let size = || amount.split(['/', '(']).find_map(size_bytes);
        match what.trim() {
            "to repack" => self.pruned.repacked_bytes = size(),
            "total prune" => self.pruned.freed_bytes = size(),
            "remaining" => self.pruned.remaining_bytes = size(),
            "unused size after prune" => self.pruned.unused_bytes = size(),
            _ => {}
        }
    }
}

fn is_full_id(id: &str) -> bool {
    id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Reads `3.854 KiB`.
fn size_bytes(text: &str) -> Option<u64> {
    let (number, unit) = text.trim().split_once(' ')?;
    let factor: u64 = match unit.trim() {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        "PiB" => 1 << 50,
        _ => return None,
    };
    let bytes = number.parse::<f64>().ok()? * factor as f64;
    // The cast of a float saturates, so nonsense stays within bounds.
    (bytes >= 0.0).then_some(bytes.round() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(stream: Source, text: &str) -> Findings {
        let mut findings = Findings::default();
        text.lines().for_each(|line| findings.hear(stream, line));
        findings
    }

    #[test]
    fn the_plan_of_a_prune_is_read() {
        let text = "to repack:            11 blobs / 3.854 KiB\n\
                    this removes:          2 blobs / 494 B\n\
                    total prune:           2 blobs / 494 B\n\
                    remaining:            17 blobs / 1.500 GiB\n\
                    unused size after prune: 0 B (0.00% of remaining size)\n\
                    unused size after prune:\ntotal prune";
        let pruned = heard(Source::Stdout, text).pruned();
        assert_eq!(pruned.repacked_bytes, Some(3946));
        assert_eq!(pruned.freed_bytes, Some(494));
        assert_eq!(pruned.remaining_bytes, Some(3 << 29));
        assert_eq!(heard(Source::Stdout, "total prune: 1 blobs / -5 B").pruned().freed_bytes, None);
    }

    #[test]
    fn errors_of_a_check_are_counted_and_advice_is_not() {
        let id = "5db143a917571c4671dad3927d2ad0a88c7f83e69ca20fcd6ee2e5145c27f5a1";
        let text = format!(
            "Pack ID does not match, want {id}, got 8086\n\
             pack {id} contains 2 errors: [blob x]\n\
             pack 8271: does not exist\n\n\
             The repository contains damaged pack files. These damaged files must be removed.\n\
             restic repair packs {id}\nrestic repair snapshots --forget\n\
             Fatal: repository contains errors"
        );
        let checked = heard(Source::Stderr, &text).checked();
        assert_eq!(checked.error_count, 3);
        assert_eq!(checked.broken_packs, [id, id]);
        assert!(!checked.suggest_repair_index && !checked.suggest_prune);
    }

    #[test]
    fn what_restic_advises_is_no_error() {
        let text = "Duplicate packs are non-critical, you can run `restic repair index' to correct this.\n\
                    There are packs that are not referenced: run `restic prune` to remove them";
        let checked = heard(Source::Stderr, text).checked();
        assert_eq!((checked.error_count, checked.suggest_repair_index), (0, true));
        assert!(checked.suggest_prune);
    }
}
