//! Waiting for a word of memory to change, by system calls alone.

use std::sync::atomic::AtomicU32;
use std::time::Duration;

use rustix::thread::futex::{self, Flags, Timespec};

/// Waits until `word` is woken, if it is `expected`; no longer than `limit`. May return early: look at the word again.
pub fn wait(word: &AtomicU32, expected: u32, limit: Option<Duration>) {
    let limit = limit.and_then(|limit| Timespec::try_from(limit).ok());
    // Whatever the answer, the caller looks at the word.
    let _: Result<(), rustix::io::Errno> = futex::wait(word, Flags::PRIVATE, expected, limit.as_ref());
}

/// Wakes all that wait for `word`.
pub fn wake_all(word: &AtomicU32) {
    let _: Result<usize, rustix::io::Errno> = futex::wake(word, Flags::PRIVATE, i32::MAX.cast_unsigned());
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering::SeqCst;

    use super::*;

    #[test]
    fn waiter_returns_when_the_word_changed_or_the_time_is_over() {
        let word = AtomicU32::new(1);
        wait(&word, 0, None);
        wait(&word, 1, Some(Duration::from_millis(1)));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                word.store(2, SeqCst);
                wake_all(&word);
            });
            while word.load(SeqCst) == 1 {
                wait(&word, 1, Some(Duration::from_secs(1)));
            }
        });
    }
}
