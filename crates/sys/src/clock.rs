//! The clock that all processes of a machine share.

use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds since the machine started, the same in every process: `CLOCK_MONOTONIC`.
#[must_use]
pub fn monotonic_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    // The clock begins at zero, and 64 bits of nanoseconds last for centuries.
    now.tv_sec.cast_unsigned().wrapping_mul(1_000_000_000).wrapping_add(now.tv_nsec.cast_unsigned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_goes_on_as_the_standard_library_tells_it() {
        let (instant, start) = (std::time::Instant::now(), monotonic_ns());
        std::thread::sleep(std::time::Duration::from_millis(2));
        let passed = monotonic_ns() - start;
        assert!(passed >= 2_000_000 && u128::from(passed) <= instant.elapsed().as_nanos());
    }
}
