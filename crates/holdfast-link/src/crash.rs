//! Crash points: named places where a process can be made to die, to show that it may die there.
//!
//! `HOLDFAST_CRASH_AT="the place"` ends the process the first time it comes there, and
//! `HOLDFAST_CRASH_AT="the place#3"` the third time: at once, without a word and without
//! destructors, as SIGKILL would. Only programs that are built for debugging have them; in others
//! this is nothing at all. `cargo xtask chaos F04` goes through all of them.

/// The variable that names the place.
pub const VARIABLE: &str = "HOLDFAST_CRASH_AT";

/// Dies here if this is the place, which is called `at` `what`.
#[cfg(debug_assertions)]
pub fn point(at: &str, what: &str) {
    if let Some(wanted) = wanted()
        && wanted.place.strip_prefix(at).and_then(|rest| rest.strip_prefix(' ')) == Some(what)
        && wanted.is_due()
    {
        std::process::abort();
    }
}

/// Nothing at all.
#[cfg(not(debug_assertions))]
#[inline]
pub fn point(_at: &str, _what: &str) {}

#[cfg(debug_assertions)]
struct Wanted {
    place: String,
    /// How often it may still be passed.
    passes: std::sync::atomic::AtomicU64,
}

#[cfg(debug_assertions)]
fn wanted() -> Option<&'static Wanted> {
    static WANTED: std::sync::OnceLock<Option<Wanted>> = std::sync::OnceLock::new();
    WANTED.get_or_init(|| Wanted::read(&std::env::var(VARIABLE).ok()?)).as_ref()
}

#[cfg(debug_assertions)]
impl Wanted {
    fn read(text: &str) -> Option<Self> {
        let (place, count) = text.split_once('#').unwrap_or((text, "1"));
        let passes = count.parse::<u64>().ok()?.checked_sub(1)?;
        Some(Self { place: place.to_owned(), passes: passes.into() })
    }

    fn is_due(&self) -> bool {
        use std::sync::atomic::Ordering::Relaxed;
        self.passes.fetch_update(Relaxed, Relaxed, |passes| passes.checked_sub(1)).is_err()
    }
}

#[cfg(all(test, debug_assertions))]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_passed_as_often_as_was_asked() {
        let wanted = Wanted::read("storing records: before the commit#3").unwrap();
        assert_eq!([(); 4].map(|()| wanted.is_due()), [false, false, true, true]);
        assert!(Wanted::read("somewhere").unwrap().is_due());
        assert!(Wanted::read("somewhere#0").is_none() && Wanted::read("somewhere#x").is_none());
    }

    #[test]
    fn nobody_dies_unasked() {
        point("anywhere:", "at all");
    }
}
