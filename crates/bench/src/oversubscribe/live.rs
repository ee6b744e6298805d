//! The patterns on this machine: a program that touches real memory plainly, under `bifolio run`, and in a memory cgroup of the
//! same size that swaps to compressed memory (zram).
//!
//! The program is this command itself: see [`touch`](super::touch). Times are from its first touch to its last, medians of rounds
//! in which the three take turns.

use std::path::Path;
use std::process::{Command, Stdio};

use bifolio_folio::PAGE_SIZE;
use bifolio_host::in_place::RAM_LEAST;
use bifolio_policy::PolicyName;
use bifolio_replay::Touch;
use serde::Serialize;

use super::{Grid, Pattern, memory_pages, program};
use crate::progress::{Progress, Watch};
use crate::row::BenchError;
use crate::samples::middle;
use crate::scatter::Touched;
use crate::swap::SwapGroup;

/// Times that each is measured.
const ROUNDS: usize = 3;
/// What a memory cgroup has beyond the data that is to be resident: its page tables, and what a program writes elsewhere.
const ROOM: u64 = 2 << 20;

/// What one policy did in one cell.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct LiveCell {
    /// The order of touches.
    pub pattern: Pattern,
    /// The size of the data over that of the memory.
    pub size: f64,
    /// The policy of `run`.
    pub policy: String,
    /// Milliseconds without a limit.
    pub plain_ms: f64,
    /// Milliseconds under `run`.
    pub run_ms: f64,
    /// Page faults under `run`.
    pub run_faults: f64,
    /// Milliseconds in the cgroup; absent where there is none, or the kernel ended the program for want of memory.
    pub zram_ms: Option<f64>,
    /// Whether there is a cgroup, in which the kernel ended the program.
    pub zram_killed: bool,
}

/// Measures the patterns, sizes and policies of a grid. `bifolio` is this command, which has the library that programs load beside
/// it.
///
/// # Errors
/// If a program cannot be run, or loses what it wrote.
pub fn live(grid: &Grid, bifolio: &Path, watch: &mut Watch<'_>) -> Result<Vec<LiveCell>, BenchError> {
    let total = (grid.patterns.len() * grid.sizes.len() * grid.policies.len()) as u64;
    let mut cells = Vec::new();
    for pattern in &grid.patterns {
        let pages = (grid.data / PAGE_SIZE).max(1);
        let string = pattern.accesses(pages)?;
        let order_bytes = (string.touches.len() * size_of::<Touch>()) as u64;
        for size in &grid.sizes {
            let bytes = memory_pages(string.pages, *size) * PAGE_SIZE + order_bytes;
            if bytes < RAM_LEAST as u64 {
                let (data, least) = (grid.data >> 10, RAM_LEAST >> 10);
                let what = format!(
                    "--data of {data} KiB at --size {size} is too little: run needs {least} KiB of memory at least"
                );
                return Err(BenchError::Failed(what));
            }
            for policy in &grid.policies {
                watch(Progress { name: pattern.as_str(), done: cells.len() as u64, total });
                let program = Program { bifolio, pattern: *pattern, pages, bytes };
                cells.push(program.cell(*size, *policy)?);
            }
        }
    }
    Ok(cells)
}

/// A pattern, and the memory that it gets.
struct Program<'p> {
    bifolio: &'p Path,
    pattern: Pattern,
    pages: u64,
    bytes: u64,
}

impl Program<'_> {
    fn cell(&self, size: f64, policy: PolicyName) -> Result<LiveCell, BenchError> {
        let mut group = SwapGroup::new(usize::try_from(self.bytes + ROOM).unwrap_or(usize::MAX));
        let had_group = group.is_some();
        let [mut plain, mut managed, mut faults, mut swapped] = [const { Vec::new() }; 4];
        for _ in 0..ROUNDS {
            plain.push(self.ms(Command::new(self.bifolio))?.0);
            let (ms, count) = self.ms(self.managed(policy))?;
            managed.push(ms);
            faults.push(count);
            match group.as_ref().and_then(|group| self.ms(group.command(self.bifolio)).ok()) {
                Some((ms, _)) => swapped.push(ms),
                None => group = None,
            }
        }
        Ok(LiveCell {
            pattern: self.pattern,
            size,
            policy: policy.to_string(),
            plain_ms: middle(plain),
            run_ms: middle(managed),
            run_faults: middle(faults),
            zram_killed: had_group && group.is_none(),
            zram_ms: group.map(|_| middle(swapped)),
        })
    }

    fn managed(&self, policy: PolicyName) -> Command {
        let mut command = Command::new(self.bifolio);
        command.args(["run", "--quiet", "--policy", &policy.to_string(), "--ram", &self.bytes.to_string()]);
        command.arg("--").arg(self.bifolio);
        command
    }

    /// Milliseconds and page faults of the program, by a command to which its arguments are added.
    fn ms(&self, mut command: Command) -> Result<(f64, f64), BenchError> {
        command.args(["bench", program::COMMAND, self.pattern.as_str(), &self.pages.to_string()]);
        let touched = Touched::of(command.stdin(Stdio::null()))?;
        Ok((touched.time.as_secs_f64() * 1e3, touched.faults as f64))
    }
}
