//! A program that touches its memory at random, and knows what it should find there.

use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use bifolio_sys::PAGE;

use crate::row::BenchError;

/// The subcommand of `bifolio bench` that is this program.
pub const COMMAND: &str = "touches";

const WORDS: usize = PAGE / size_of::<u64>();

/// How much is touched, how often, by how many threads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Touches {
    /// Pages of memory.
    pub pages: usize,
    /// Touches of each thread.
    pub touches: u64,
    /// Threads that touch.
    pub threads: usize,
}

/// What came of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Touched {
    /// From the first touch to the last.
    pub time: Duration,
    /// Page faults of the program in that time.
    pub faults: u64,
}

impl Touched {
    /// Its time in microseconds.
    pub(super) fn us(self) -> f64 {
        self.time.as_secs_f64() * 1e6
    }

    /// Its time over its faults, in microseconds.
    pub(super) fn us_a_fault(self) -> f64 {
        self.us() / self.faults.max(1) as f64
    }

    /// What the program prints.
    #[must_use]
    pub fn print(self) -> String {
        format!("{} {}", self.time.as_nanos(), self.faults)
    }

    /// Runs a program that prints this.
    pub(crate) fn of(command: &mut Command) -> Result<Touched, BenchError> {
        let output = command.output().map_err(|error| BenchError::Failed(error.to_string()))?;
        let text = String::from_utf8_lossy(&output.stdout);
        Touched::parse(&text).filter(|_| output.status.success()).ok_or_else(|| {
            let why = String::from_utf8_lossy(&output.stderr);
            BenchError::Failed(format!("program that touches its memory failed: {}", why.trim()))
        })
    }

    /// From what the program printed.
    fn parse(text: &str) -> Option<Touched> {
        let (time, faults) = text.trim().split_once(' ')?;
        Some(Touched { time: Duration::from_nanos(time.parse().ok()?), faults: faults.parse().ok()? })
    }
}

impl Touches {
    /// Arguments of `bifolio` for the same.
    pub(super) fn arguments(self) -> [String; 5] {
        ["bench", COMMAND]
            .map(str::to_owned)
            .into_iter()
            .chain([self.pages.to_string(), self.touches.to_string(), self.threads.to_string()])
            .collect::<Vec<_>>()
            .try_into()
            .expect("two words and three numbers")
    }

    /// Fills the memory, touches it, and checks every word.
    ///
    /// # Errors
    /// If a write was lost, or a word is not what was written.
    pub fn run(self) -> Result<Touched, BenchError> {
        let word = |at: usize| AtomicU64::new(if at.is_multiple_of(WORDS) { 0 } else { number(at) });
        let memory: Vec<AtomicU64> = (0..self.pages * WORDS).map(word).collect();
        let (before, start) = (faults(), Instant::now());
        std::thread::scope(|scope| {
            for thread in 1..self.threads {
                let memory = &memory;
                scope.spawn(move || self.touch(memory, thread as u64));
            }
            self.touch(&memory, 0);
        });
        let touched = Touched { time: start.elapsed(), faults: faults() - before };
        self.check(&memory)?;
        Ok(touched)
    }

    /// Adds one to the first word of pages that random numbers choose.
    fn touch(self, memory: &[AtomicU64], seed: u64) {
        let mut state = seed * 7919 + 1;
        for _ in 0..self.touches {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let page = usize::try_from(state >> 33).expect("31 bits") % self.pages;
            memory[page * WORDS].fetch_add(1, Relaxed);
        }
    }

    fn check(self, memory: &[AtomicU64]) -> Result<(), BenchError> {
        let (mut sum, mut wrong) = (0, 0);
        for (at, word) in memory.iter().enumerate() {
            let word = word.load(Relaxed);
            if at.is_multiple_of(WORDS) {
                sum += word;
            } else {
                wrong += u64::from(word != number(at));
            }
        }
        let lost = (self.touches * self.threads as u64).abs_diff(sum);
        if lost == 0 && wrong == 0 {
            return Ok(());
        }
        Err(BenchError::Failed(format!("{lost} writes were lost, and {wrong} words are wrong")))
    }
}

/// What a word holds that is never changed.
fn number(at: usize) -> u64 {
    (at as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1
}

/// Page faults of this process so far; 0 where the kernel does not say.
pub(crate) fn faults() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // After the name, which may hold anything: minor faults are the eighth field, major ones the tenth.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let field = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
    field(7) + field(9)
}

#[cfg(test)]
mod tests {
    use bifolio_sys::{Mapping, Placement, Protection};

    use super::*;

    #[test]
    fn touches_are_all_found_and_printed_as_they_are_read() {
        let touches = Touches { pages: 64, touches: 10_000, threads: 2 };
        let touched = touches.run().expect("nothing is lost in memory that stays");
        assert_eq!(Touched::parse(&touched.print()), Some(touched));
        assert_eq!(touches.arguments(), ["bench", COMMAND, "64", "10000", "2"]);
    }

    #[test]
    fn lost_writes_and_wrong_words_are_found() {
        let touches = Touches { pages: 2, touches: 3, threads: 1 };
        let memory: Vec<_> = (0..2 * WORDS).map(|at| AtomicU64::new(number(at))).collect();
        for (at, value) in [(0, 2), (WORDS, 0), (5, 0)] {
            memory[at].store(value, Relaxed);
        }
        let error = touches.check(&memory).expect_err("one of three is lost");
        assert_eq!(error.to_string(), "1 writes were lost, and 1 words are wrong");
    }

    #[test]
    fn faults_of_fresh_memory_are_counted() {
        let memory =
            Mapping::anonymous(64 * PAGE, Protection::ReadWrite, Placement::Anywhere).expect("memory");
        let before = faults();
        memory.all().fill_zero();
        assert!(faults() > before);
    }
}
