//! Ids for requests: ULIDs, as the original's client makes them.

/// Makes ULIDs that rise even within one millisecond.
#[derive(Debug, Clone, Default)]
pub struct UlidSource {
    last: u128,
}

const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const RANDOM_BITS: u32 = 80;
const RANDOM_MASK: u128 = (1 << RANDOM_BITS) - 1;

impl UlidSource {
    /// The next id, of 26 characters.
    ///
    /// `ms` is the time since 1970; of `random` 80 bits are used. A clock that stands still or goes
    /// back does not make the ids do so.
    pub fn next(&mut self, ms: u64, random: u128) -> String {
        let fresh = (u128::from(ms) << RANDOM_BITS) | (random & RANDOM_MASK);
        let same_ms = fresh >> RANDOM_BITS <= self.last >> RANDOM_BITS;
        self.last = if same_ms { self.last.wrapping_add(1) } else { fresh };
        encode(self.last)
    }
}

fn encode(number: u128) -> String {
    let digit = |place: u32| DIGITS[(number >> (place * 5) & 31) as usize];
    (0..26).rev().map(|place| char::from(digit(place))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_the_published_form() {
        // The example of the ULID specification: 1469918176385 ms.
        let id = UlidSource::default().next(1_469_918_176_385, 0);
        assert_eq!(id, "01ARYZ6S410000000000000000");
    }

    #[test]
    fn ids_rise_within_a_millisecond_and_when_the_clock_goes_back() {
        let mut source = UlidSource::default();
        let ids: Vec<String> =
            [(5, 9), (5, 1), (4, 7), (6, 0)].map(|(ms, random)| source.next(ms, random)).into();
        let mut sorted = ids.clone();
        sorted.sort();
        sorted.dedup();
        assert_eq!(ids, sorted);
    }
}
