//! How often somebody may try. Counting takes little memory whoever comes.

use std::{
    collections::HashMap,
    hash::Hash,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use tokio::time::Instant;

/// Attempts to get in, by address and by name. A clone counts the same attempts.
#[derive(Clone)]
pub(crate) struct Attempts {
    inner: Arc<Mutex<Inner>>,
}

struct Inner {
    by_address: Buckets<IpAddr>,
    by_name: Buckets<String>,
    noted: Buckets<()>,
}

/// An attempt that was counted. It is forgotten when it succeeds.
#[must_use]
pub(crate) struct Attempt {
    attempts: Attempts,
    address: IpAddr,
    name: Option<String>,
}

/// Tries in a row from one address, and how long one takes to come back.
const ADDRESS: Rate = Rate { burst: 20, every: Duration::from_secs(6) };
/// Tries in a row for one name, from wherever.
const NAME: Rate = Rate { burst: 10, every: Duration::from_secs(60) };
/// Refused attempts that are noted in the audit: from enough machines, guessing would fill the
/// disk.
const NOTED: Rate = Rate { burst: 100, every: Duration::from_secs(10) };
/// Addresses and names that are counted apart. Beyond, newcomers share one count.
const KEYS_MAX: usize = 10_000;

impl Default for Attempts {
    fn default() -> Self {
        let inner = Inner {
            by_address: Buckets::new(ADDRESS),
            by_name: Buckets::new(NAME),
            noted: Buckets::new(NOTED),
        };
        Self { inner: Arc::new(Mutex::new(inner)) }
    }
}

impl Attempts {
    /// Counts an attempt before any work is done for it.
    ///
    /// # Errors
    /// How long to wait, when there were too many.
    pub(crate) fn begin(&self, address: IpAddr, name: Option<&str>) -> Result<Attempt, Duration> {
        let now = Instant::now();
        let address = network(address);
        let mut inner = self.lock();
        inner.by_address.take(address, now)?;
        if let Some(name) = name {
            inner.by_name.take(name.to_owned(), now)?;
        }
        drop(inner);
        Ok(Attempt { attempts: self.clone(), address, name: name.map(str::to_owned) })
    }

    /// Whether there is room in the audit for one more refused attempt.
    pub(crate) fn may_note(&self) -> bool {
        self.lock().noted.take((), Instant::now()).is_ok()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("nothing panics while holding it")
    }
}

impl Attempt {
    /// The attempt was a good one: only failures count.
    pub(crate) fn succeed(self) {
        let mut inner = self.attempts.lock();
        inner.by_address.give_back(&self.address);
        if let Some(name) = &self.name {
            inner.by_name.give_back(name);
        }
    }
}

/// Who has one IPv6 address has the 2^64 beside it.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(ip) => IpAddr::V6((ip.to_bits() & !u128::from(u64::MAX)).into()),
        v4 => v4,
    }
}

#[derive(Clone, Copy)]
struct Rate {
    burst: u32,
    every: Duration,
}

/// When each key's bucket is full again: all that a bucket must remember.
struct Buckets<K> {
    rate: Rate,
    full_at: HashMap<K, Instant>,
    others: Option<Instant>,
}

impl<K: Eq + Hash> Buckets<K> {
    fn new(rate: Rate) -> Self {
        Self { rate, full_at: HashMap::new(), others: None }
    }

    fn take(&mut self, key: K, now: Instant) -> Result<(), Duration> {
        if self.full_at.len() >= KEYS_MAX && !self.full_at.contains_key(&key) {
            self.full_at.retain(|_, full_at| *full_at > now);
        }
        let crowded = self.full_at.len() >= KEYS_MAX && !self.full_at.contains_key(&key);
        let full_at = if crowded {
            self.others.get_or_insert(now)
        } else {
            self.full_at.entry(key).or_insert(now)
        };
        let then = (*full_at).max(now) + self.rate.every;
        let limit = now + self.rate.every * self.rate.burst;
        if then > limit {
            return Err(then - limit);
        }
        *full_at = then;
        Ok(())
    }

    fn give_back(&mut self, key: &K) {
        if let Some(full_at) = self.full_at.get_mut(key)
            && let Some(sooner) = full_at.checked_sub(self.rate.every)
        {
            *full_at = sooner;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn failures_use_up_the_tries_and_time_brings_them_back() {
        let attempts = Attempts::default();
        for _ in 0..10 {
            let _failed = attempts.begin(ip("192.0.2.1"), Some("alice")).unwrap();
        }
        let wait = attempts.begin(ip("192.0.2.2"), Some("alice")).err().unwrap();
        assert!(wait <= Duration::from_secs(60), "{wait:?}");
        let _other = attempts.begin(ip("192.0.2.2"), Some("bob")).unwrap();
        tokio::time::advance(wait).await;
        let _again = attempts.begin(ip("192.0.2.2"), Some("alice")).unwrap();
        assert!(attempts.begin(ip("192.0.2.2"), Some("alice")).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn success_is_not_counted() {
        let attempts = Attempts::default();
        for _ in 0..1000 {
            attempts.begin(ip("192.0.2.1"), Some("alice")).unwrap().succeed();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_that_guesses_names_is_stopped() {
        let attempts = Attempts::default();
        let tries = (0..100).filter(|n| {
            // Every address of one IPv6 network is the same guesser.
            let address = ip(&format!("2001:db8::{n:x}"));
            attempts.begin(address, Some(&n.to_string())).is_ok()
        });
        assert_eq!(tries.count(), 20);
    }

    #[tokio::test(start_paused = true)]
    async fn memory_is_bounded_and_newcomers_share_what_is_left() {
        let mut buckets = Buckets::new(ADDRESS);
        let now = Instant::now();
        let taken = (0..100_000_u32).filter(|key| buckets.take(*key, now).is_ok()).count();
        assert_eq!(buckets.full_at.len(), KEYS_MAX);
        assert_eq!(taken, KEYS_MAX + 20);
        let later = now + ADDRESS.every;
        assert!(buckets.take(200_000, later).is_ok());
        assert_eq!(buckets.full_at.len(), 1);
    }
}
