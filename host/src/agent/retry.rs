//! When to try again what failed: soon, then later each time, and never all nodes at the same moment.

use std::time::Duration;

/// After the first failure.
const FIRST: Duration = Duration::from_secs(1);
/// After many.
const LONGEST: Duration = Duration::from_secs(30);

/// Waits that double, each shortened by up to a quarter at random.
#[derive(Debug, Clone)]
pub(super) struct Retry(Duration);

impl Retry {
    /// As if nothing had failed yet.
    pub(super) fn new() -> Self {
        Self(FIRST)
    }

    /// How long to wait now.
    pub(super) fn wait(&mut self) -> Duration {
        let wait = self.0.mul_f64(1.0 - fastrand::f64() / 4.0);
        self.0 = (self.0 * 2).min(LONGEST);
        wait
    }

    /// It worked.
    pub(super) fn reset(&mut self) {
        *self = Self::new();
    }
}

impl Default for Retry {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest() {
        let mut retry = Retry::new();
        for seconds in [1, 2, 4, 8, 16, 30, 30] {
            let most = Duration::from_secs(seconds);
            let wait = retry.wait();
            assert!(most * 3 / 4 <= wait && wait <= most, "{wait:?} of {most:?}");
        }
        retry.reset();
        assert!(retry.wait() <= FIRST);
    }
}
