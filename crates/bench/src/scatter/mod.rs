//! What a scattered fault costs an unmodified program: one that touches pages at random under `bifolio run`, in half of the
//! memory that it needs, so that each fault that brings a page makes another one leave.
//!
//! ```text
//!   run.scatter.4k     a fault, as time of all touches over the faults; floor: one answered by hand, and a copy
//!   run.scatter.two    faults a millisecond of two threads; floor: of one
//!   run.scatter.zram   a touch; floor: the same program in a memory cgroup that swaps to compressed memory (zram)
//! ```
//!
//! The program is this command itself, so that it needs no other file: see [`Touches`].

mod touches;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use bifolio_sys::PAGE;

use crate::floor::{Answered, CopyFloor, FaultFloor, Who};
use crate::progress::{Watch, prepare, repeat};
use crate::row::{BenchError, Effort, Row};
use crate::samples::middle;

use crate::swap::SwapGroup;
pub(crate) use touches::faults;
pub use touches::{Touched, Touches};

/// Most that a scattered fault may take, in microseconds.
const FAULT_US: f64 = 10.0;
/// How many times as many faults two threads are to have in the same time.
const TWO_THREADS: f64 = 1.7;
/// The name of the row that needs zram.
pub const ZRAM_ROW: &str = "run.scatter.zram";
/// Why there is no such row.
pub const ZRAM_SKIPPED: &str = "needs a swap on zram and the right to make a memory cgroup";

/// Measures all rows. `bifolio` is this command, which has the library that programs load beside it.
///
/// # Errors
/// If a program cannot be run, or loses what it wrote.
pub fn rows(bifolio: &Path, effort: Effort, watch: &mut Watch<'_>) -> Result<Vec<Row>, BenchError> {
    let (rounds, mib, touches) = match effort {
        Effort::Quick => (1, 32, 10_000),
        Effort::Full => (5, 256, 200_000),
    };
    let name = "run.scatter";
    prepare(name, rounds, watch);
    let one = Touches { pages: (mib << 20) / PAGE, touches, threads: 1 };
    let two = Touches { threads: 2, ..one };
    let mut zram = SwapGroup::new((mib << 20) / 2 + ROOM);
    let [mut alone, mut floors, mut pairs, mut touched, mut swapped] = [const { Vec::new() }; 5];
    repeat(name, rounds, watch, |_| {
        let time = of_managed(bifolio, mib, one)?;
        alone.push(time.us_a_fault());
        touched.push(time.us() / touches as f64);
        pairs.push(of_managed(bifolio, mib, two)?.us_a_fault());
        floors.push(by_hand(FAULTS.min(one.pages))?);
        // What the kernel ends for want of memory has no time.
        let swap = zram.as_ref().and_then(|group| of(group.command(bifolio), one).ok());
        match swap {
            Some(time) => swapped.push(time.us() / touches as f64),
            None => zram = None,
        }
        Ok::<(), BenchError>(())
    })?;
    let (alone, pairs) = (middle(alone), middle(pairs));
    let mut rows = vec![
        Row::limited("run.scatter.4k", "us", alone, middle(floors), FAULT_US),
        Row::gain("run.scatter.two", "/ms", 1e3 / pairs, 1e3 / alone, TWO_THREADS),
    ];
    if zram.is_some() {
        rows.push(Row::time(ZRAM_ROW, middle(touched), middle(swapped), 1.0));
    }
    Ok(rows)
}

/// Faults that are answered by hand.
const FAULTS: usize = 8192;
/// What a memory cgroup has beyond the data that is to be resident: programs are in it as well.
const ROOM: usize = 8 << 20;

/// Runs the program in half of its memory.
fn of_managed(bifolio: &Path, mib: usize, touches: Touches) -> Result<Touched, BenchError> {
    let mut command = Command::new(bifolio);
    command.args(["run", "--quiet", "--ram", &format!("{}M", mib / 2), "--"]).arg(bifolio);
    of(command, touches)
}

/// Runs the program by a command to which its arguments are added.
fn of(mut command: Command, touches: Touches) -> Result<Touched, BenchError> {
    Touched::of(command.args(touches.arguments()).stdin(Stdio::null()))
}

/// Microseconds of a fault that is answered by hand by a page, and of copying another one out.
fn by_hand(faults: usize) -> Result<f64, BenchError> {
    let floor = FaultFloor::new(faults, Who::Threads(1), Answered::Copy(PAGE))?;
    let copy = CopyFloor::new(64 << 20)?;
    let start = Instant::now();
    for fault in 0..faults {
        // An odd number of places apart, each of a power of two comes once.
        floor.touch(fault * 4_099 % faults);
        copy.copy(PAGE);
    }
    Ok(start.elapsed().as_secs_f64() * 1e6 / faults as f64)
}
