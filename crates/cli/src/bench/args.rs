//! What `bifolio bench` can be told.

use std::path::PathBuf;

use bifolio_bench::oversubscribe::Pattern;
use bifolio_folio::PAGE_SIZE;
use bifolio_policy::PolicyName;
use bifolio_replay::Limited;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand, ValueEnum};

use crate::amount::{Size, SizeError};
use crate::args::number;
use crate::figures::bytes;

/// What `bench` can be told.
#[derive(Debug, Args)]
#[command(after_help = BENCH_HELP, args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
#[command(disable_help_subcommand = true)]
pub struct BenchArgs {
    /// What is no list of rows with floors.
    #[command(subcommand)]
    pub other: Option<BenchCommand>,
    /// What to measure.
    #[arg(value_enum, value_name = "WHAT", required = true)]
    pub group: Option<BenchGroup>,
    /// Print the rows as JSON instead of the table.
    #[arg(long)]
    pub json: bool,
    /// Measure for a second or two. Such figures are for a look: they are not judged.
    #[arg(long)]
    pub quick: bool,
}

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum BenchGroup {
    /// Page faults of the CPU and of the device.
    Fault,
    /// Migration to the device and back.
    Migrate,
    /// Accesses, faults and invalidations of a device of one's own.
    Attach,
    /// The allocator of device memory; needs no device.
    Buddy,
    /// The life of a folio; needs no device.
    Folio,
    /// The explorer behind `bifolio check`, on one core; needs no device.
    Check,
    /// Scattered faults of a program under `bifolio run`.
    Run,
}

/// What `bench` has beside groups of rows.
#[derive(Debug, Subcommand)]
pub enum BenchCommand {
    /// Compare policies where the data is larger than the memory; simulated, needs no device.
    #[command(after_help = GRID_HELP)]
    Oversubscribe(GridArgs),
    /// Touch memory at random: the program that `bench run` runs.
    #[command(hide = true)]
    Touches(TouchesArgs),
    /// Touch memory in the order of a pattern: the program that `bench oversubscribe --live` runs.
    #[command(hide = true)]
    Pattern(PatternArgs),
}

/// What the program can be told.
#[derive(Debug, Args)]
pub struct TouchesArgs {
    /// Pages of its memory.
    #[arg(value_parser = number(1_usize, 1 << 30))]
    pub pages: usize,
    /// Touches of each thread.
    pub touches: u64,
    /// Threads that touch.
    #[arg(value_parser = number(1_usize, 64))]
    pub threads: usize,
}

/// What that program can be told.
#[derive(Debug, Args)]
pub struct PatternArgs {
    /// In which order.
    #[arg(value_parser = patterns())]
    pub pattern: Pattern,
    /// Pages of its memory.
    #[arg(value_parser = number(1_u64, 1 << 30))]
    pub pages: u64,
}

/// What the grid can be told.
#[derive(Debug, Args)]
pub struct GridArgs {
    /// In which order the data is touched; several at once [default: all].
    #[arg(long, value_name = "NAME", value_delimiter = ',', value_parser = patterns())]
    pub pattern: Vec<Pattern>,
    /// The data over the memory; several at once [default: 0.5,0.8,1,1.25,1.5,2,4].
    #[arg(long, value_name = "RATIO", value_delimiter = ',', value_parser = number(0.1, 64.0))]
    pub size: Vec<f64>,
    /// A policy, such as auto or stride+sieve; several at once [default: nine of them].
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub policy: Vec<PolicyName>,
    /// Which memory is too small; without it, each in turn.
    #[arg(long, value_name = "MEMORY", value_parser = sides())]
    pub side: Option<Limited>,
    /// Bytes of data, but of bfs, which has its own.
    #[arg(long, value_name = "SIZE", default_value = "32M", value_parser = data)]
    pub data: Size,
    /// Measure on this machine instead: programs under `bifolio run`, beside the kernel's swap on zram. Without --size
    /// 1.25, 2 and 4, without --policy auto.
    #[arg(long, conflicts_with_all = ["svg", "side"])]
    pub live: bool,
    /// Draw the times as a picture.
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
    /// Print all figures as JSON instead of the tables.
    #[arg(long)]
    pub json: bool,
}

const BENCH_HELP: &str = "\
Examples:
  bifolio bench fault           faults by folio size, and the cost of --checked
  bifolio bench attach          ports, from Rust and from C
  bifolio bench buddy --quick   the allocator, for a look
  bifolio bench oversubscribe   policies where the data is larger than memory

The floor of a figure is the same work without Bifolio, in the same run: a bare
page fault, a copy, one bit turned over for each call of the allocator. The
ratio of the two is the result. A goal with <= is the most that the ratio may
be, one with >= the least; a goal with a unit is about the value itself. The
exit code is 0 whether goals are met or not.";

const GRID_HELP: &str = "\
Examples:
  bifolio bench oversubscribe --svg grid.svg
  bifolio bench oversubscribe --pattern zipf,chase --size 1.25,2 --side device
  bifolio bench oversubscribe --policy auto,stride+sieve --json
  bifolio bench oversubscribe --live --pattern zipf,columns --data 128M

The engine itself runs each policy on a simulated machine with a clock of its
own: figures are the same in every run. An access to memory that is there takes
5 ns. The device has a link of 16 GiB a second, and a fault takes 2 us beside
its copies; system memory is beside a store of 8 GiB a second, and a fault of
the CPU takes 8 us. All data is in the other memory at first.

With --live a program touches real memory, from when all of it was written: on
its own, under bifolio run, and in a memory cgroup of the same size, where swap
is on zram and a cgroup can be made. The median of three turns counts.";

/// Takes the name of a pattern, and lists them all in the help.
fn patterns() -> impl TypedValueParser<Value = Pattern> {
    let named = |name: String| Pattern::ALL.into_iter().find(|pattern| pattern.as_str() == name);
    let values = Pattern::ALL.map(|pattern| PossibleValue::new(pattern.as_str()).help(pattern.about()));
    PossibleValuesParser::new(values).map(move |name| named(name).expect("one of the values"))
}

/// Takes a size of at least one page.
fn data(text: &str) -> Result<Size, String> {
    let size: Size = text.parse().map_err(|error: SizeError| error.to_string())?;
    (size.0 >= PAGE_SIZE)
        .then_some(size)
        .ok_or_else(|| format!("less than a page; give {} at least", bytes(PAGE_SIZE)))
}

/// Takes the name of the memory that is limited.
fn sides() -> impl TypedValueParser<Value = Limited> {
    let all = [Limited::Device, Limited::System];
    let named = move |name: String| all.into_iter().find(|side| side.as_str() == name);
    PossibleValuesParser::new(all.map(Limited::as_str))
        .map(move |name| named(name).expect("one of the values"))
}
