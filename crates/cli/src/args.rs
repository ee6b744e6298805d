//! The command line: what can be said, and what the help teaches.

use std::ffi::OsString;
use std::fmt::Display;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::str::FromStr;

use bifolio_demo::rmat;
use bifolio_explore::{Bounds, MemoryOrder};
use bifolio_folio::{MemoryKind, Reset};
use bifolio_host::PoolName;
use bifolio_policy::PolicyName;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::amount::{Amount, Size};
use crate::bench::args::BenchArgs;
use crate::exit;
use crate::output::JsonTarget;
use crate::pictures::ReportArgs;
use crate::record::{DeviceRecordArgs, RecordArgs};
use crate::replay::args::ReplayArgs;
use crate::trace::args::TraceCommand;

/// Linux's device memory, rebuilt in Rust as an ordinary program.
///
/// A program and a simulated accelerator follow the same pointers. Pages move as
/// folios, of 4 KiB to 2 MiB, to the side that touches them. This needs no GPU,
/// no kernel module and no root.
#[derive(Debug, Parser)]
#[command(name = "bifolio", version, verbatim_doc_comment, max_term_width = COLUMNS_MAX)]
#[command(after_help = format!("{EXAMPLES}\n\n{}", exit::HELP))]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Widest line of a help.
const COLUMNS_MAX: usize = 80;

const EXAMPLES: &str = "\
Examples:
  bifolio demo pagerank                  rank the packages of Debian
  bifolio demo bfs --vram 1M --json -    search them, figures as JSON
  bifolio run --ram 64M -- sort big.txt  sort with 64 MiB of its heap in memory
  bifolio check --design linux-v3        how a design of device folios breaks
  bifolio doctor                         what works on this machine";

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a job on the built-in device, in less memory than its data.
    #[command(subcommand)]
    Demo(DemoCommand),
    /// Run a program with its heap on device memory.
    Run(RunArgs),
    /// Bring the memory of such a program home, for a debugger.
    Home(HomeArgs),
    /// Print the figures of such a program while it runs.
    Stats(StatsArgs),
    /// Show a running program or demonstration, live.
    Top(TopArgs),
    /// Explore designs of device folios, and show how they break.
    Check(CheckArgs),
    /// Say what works on this machine, and what lifts the limits.
    Doctor(DoctorArgs),
    /// Replay a trace under other policies, in virtual time.
    Replay(ReplayArgs),
    /// Draw a trace, as one HTML file that needs no network.
    Report(ReportArgs),
    /// Say what a trace holds, cut it, and give it to other programs.
    #[command(subcommand)]
    Trace(TraceCommand),
    /// Measure faults, migrations and allocations beside their floors.
    Bench(BenchArgs),
    /// Print a page of the manual, or write all of them to a folder.
    Man(ManArgs),
    /// Print what a shell needs to complete the command line.
    Completions(CompletionsArgs),
}

/// The jobs of the demonstration.
#[derive(Debug, Subcommand)]
pub enum DemoCommand {
    /// Rank the nodes of a graph by the nodes that point to them.
    #[command(after_help = PAGERANK_EXAMPLES)]
    Pagerank(PageRankArgs),
    /// Search a graph from one node, level by level.
    #[command(after_help = BFS_EXAMPLES)]
    Bfs(BfsArgs),
}

const PAGERANK_EXAMPLES: &str = "\
Examples:
  bifolio demo pagerank                     Debian's packages
  bifolio demo pagerank --vram 1/16         with device memory for a sixteenth
  bifolio demo pagerank --sources 0         ranks of all packages only
  bifolio demo pagerank --checked           rules checked after every move
  bifolio demo pagerank --memory coherent   the CPU reads device memory in place
  bifolio demo pagerank --buffers 1/4       buffer objects compete for it
  bifolio demo pagerank --json - edges.txt  your own edge list";

const BFS_EXAMPLES: &str = "\
Examples:
  bifolio demo bfs                         Debian's packages
  bifolio demo bfs --root bash --vram 64K  from bash, device memory of 64 KiB
  bifolio demo bfs --rmat 20 --seed 1      a random graph of a million nodes
  zcat edges.gz | bifolio demo bfs -       your own edge list";

/// What PageRank can be told.
#[derive(Debug, Args)]
pub struct PageRankArgs {
    /// Rounds to run.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = number(1_u32, 10_000))]
    pub rounds: u32,
    /// Rank what is close to each of the N nodes that point to most others, too; without it, 128 for Debian's packages on one device.
    ///
    /// This is personalised PageRank. Each node adds 16 bytes for each node of the graph to the data.
    #[arg(long, value_name = "N", value_parser = number(0_usize, SOURCES_MAX))]
    pub sources: Option<usize>,
    /// What every job can be told.
    #[command(flatten)]
    pub job: JobArgs,
}

/// What a search can be told.
#[derive(Debug, Args)]
pub struct BfsArgs {
    /// Node to start from, by name; without it, the node that points to most others.
    #[arg(long, value_name = "NAME")]
    pub root: Option<String>,
    /// What every job can be told.
    #[command(flatten)]
    pub job: JobArgs,
}

/// What every job of the demonstration can be told.
#[derive(Debug, Args)]
pub struct JobArgs {
    /// Edge list to work on, `-` for standard input; without it, Debian's packages.
    ///
    /// A line holds two names or numbers. Lines that begin with `#`, `%` or `//` are comments. If the first line is
    /// `# adjacency list`, a line holds a node and all nodes that it points to. The file may be packed with gzip.
    #[arg(value_name = "FILE")]
    pub file: Option<String>,
    /// Work on a random graph of 2^SCALE nodes and four edges for each, with few busy nodes (R-MAT).
    #[arg(long, value_name = "SCALE", conflicts_with = "file", value_parser = number(1_u32, rmat::SCALE_MAX))]
    pub rmat: Option<u32>,
    /// What the random numbers of `--rmat` begin with; the same seed makes the same graph.
    #[arg(long, value_name = "N", requires = "rmat", default_value_t = 1)]
    pub seed: u64,
    /// Memory of each device: a size such as 16M, or a share of the data such as 1/4.
    #[arg(long, value_name = "SIZE", default_value = "1/4")]
    pub vram: Amount,
    /// Devices that share the job, 1 to 8.
    ///
    /// Pages that several devices want go from one to the other.
    #[arg(long, value_name = "N", default_value = "1", value_parser = number(NonZeroUsize::MIN, DEVICES_MAX))]
    pub devices: NonZeroUsize,
    /// Most system memory that the data may use at once; without it, no limit.
    #[arg(long, value_name = "SIZE")]
    pub ram: Option<Amount>,
    /// Buffer objects beside the data, which compete with it for device memory.
    ///
    /// Their bytes are checked too.
    #[arg(long, alias = "objects", value_name = "SIZE")]
    pub buffers: Option<Amount>,
    /// Whether the CPU can map device memory.
    ///
    /// Without it private; coherent with `--pool coherent`.
    #[arg(long, value_enum, value_name = "KIND")]
    pub memory: Option<Memory>,
    /// The pool that hands out device memory.
    #[arg(long, value_name = "POOL", default_value_t, value_parser = pools())]
    pub pool: PoolName,
    /// What moves, how much of it and what leaves: `auto`, `fixed`, `stride` or `density`.
    ///
    /// Each also with `+lru`, `+fifo`, `+clock`, `+s3fifo`, `+sieve`, `+refault` or `+clockpro`, such as `stride+sieve`, and with `+throttle`.
    #[arg(long, value_name = "NAME", default_value_t)]
    pub policy: PolicyName,
    /// When the page metadata of a folio is cleared: as it is freed, or as the next folio is formed there.
    #[arg(long, value_name = "WHEN", default_value_t, value_parser = resets())]
    pub reset: Reset,
    /// Threads of each device, 1 to 64.
    #[arg(long, value_name = "N", default_value = "2", value_parser = number(NonZeroUsize::MIN, UNITS_MAX))]
    pub units: NonZeroUsize,
    /// Check the rules after every move of a folio, not only at the end.
    #[arg(long)]
    pub checked: bool,
    /// What is recorded.
    #[command(flatten)]
    pub record: DeviceRecordArgs,
    /// Where the report goes.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// What `run` can be told.
#[derive(Debug, Args)]
#[command(after_help = RUN_HELP)]
pub struct RunArgs {
    /// Budget: most private memory of the program that may be resident; without it, half of the machine's.
    #[arg(long, value_name = "SIZE")]
    pub ram: Option<Size>,
    /// Device memory, for what is not resident; without it, half of the machine's memory.
    #[arg(long, value_name = "SIZE")]
    pub vram: Option<Size>,
    /// The pool that hands out device memory.
    #[arg(long, value_name = "POOL", default_value_t = PoolName::FreeList, value_parser = pools())]
    pub pool: PoolName,
    /// How much comes back at a fault, and what leaves: `auto`, `fixed`, `stride` or `density`.
    ///
    /// Each also with `+lru`, `+fifo`, `+clock`, `+s3fifo`, `+sieve`, `+refault` or `+clockpro`, such as `stride+sieve`, and with `+throttle`.
    #[arg(long, value_name = "NAME", default_value_t)]
    pub policy: PolicyName,
    /// When the page metadata of a folio is cleared: as it is freed, or as the next folio is formed there.
    #[arg(long, value_name = "WHEN", default_value_t, value_parser = resets())]
    pub reset: Reset,
    /// Check the rules after every move of a folio.
    #[arg(long)]
    pub checked: bool,
    /// What is recorded.
    #[command(flatten)]
    pub record: RecordArgs,
    /// Record where the program allocates and touches its memory as well, for the hot ranges of the report: slower.
    #[arg(long, requires = "recorded")]
    pub call_sites: bool,
    /// Where the report goes.
    #[command(flatten)]
    pub output: OutputArgs,
    /// Program to run, and its arguments.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "PROGRAM")]
    pub program: Vec<OsString>,
}

const RUN_HELP: &str = "\
Examples:
  bifolio run --ram 64M -- sort big.txt
  bifolio run --ram 64M --json report.json -- python3 script.py
  bifolio run --ram 64M --report r.html -- sort big.txt

--ram is the budget of resident private memory. The rest is in device memory, at
most --vram, and comes back when it is touched. Device memory is memory of this
machine: run shows a program in less memory, and saves none.
Managed: what malloc and mmap hand out, and large static variables. Not managed:
stacks, generated code, small variables, locked and shared memory, files, and
programs that this one starts. The report, on standard error, says how much.
While the program fits into nine tenths of --ram, nothing is watched or delayed.
It must be dynamically linked and not setuid. For gdb, see bifolio home.
Exit: as the program does; 126 if it cannot be run, 127 if it is not found,
2 for a wrong argument, 3 if this machine refuses.";

/// What `home` can be told.
#[derive(Debug, Args)]
#[command(after_help = HOME_HELP)]
pub struct HomeArgs {
    /// Let memory leave again.
    #[arg(long)]
    pub end: bool,
    /// Process that `bifolio run` started, or its own.
    #[arg(value_name = "PID", value_parser = number(1_u32, i32::MAX.unsigned_abs()))]
    pub pid: u32,
}

const HOME_HELP: &str = "\
Examples:
  bifolio home 4711        before gdb -p 4711
  bifolio home --end 4711  after it

Returns once every byte is at its address, where gdb and /proc/PID/mem find it.
Until --end nothing is managed, and --ram does not limit the program. Only its
own user and root can ask. Exit codes: 2 for a process that bifolio run did not
start, 3 for one of another user, 4 for one that ended first.";

/// What `stats` can be told.
#[derive(Debug, Args)]
#[command(after_help = STATS_HELP)]
pub struct StatsArgs {
    /// Print JSON: what that of `run` holds, the policy, and `resident` and `away` in bytes.
    #[arg(long)]
    pub json: bool,
    /// Process that `bifolio run` started, or its own, or that of `bifolio demo`.
    #[arg(value_name = "PID", value_parser = number(1_u32, i32::MAX.unsigned_abs()))]
    pub pid: u32,
}

const STATS_HELP: &str = "\
Examples:
  bifolio stats 4711
  watch bifolio stats 4711

The figures since the program began, those of the report of run or demo. What is
where is measured every tenth of a second while memory is managed. Only its own
user and root can ask. Exit codes: 2 for a process of neither bifolio run nor
bifolio demo, 3 for one of another user.";

/// What `top` can be told.
#[derive(Debug, Args)]
#[command(after_help = TOP_HELP)]
pub struct TopArgs {
    /// Process that `bifolio run` started, or its own, or that of `bifolio demo`; without it, the only one that runs.
    #[arg(value_name = "PID", value_parser = number(1_u32, i32::MAX.unsigned_abs()))]
    pub pid: Option<u32>,
}

const TOP_HELP: &str = "\
Examples:
  bifolio top
  bifolio top 4711

Shows how full each memory is, faults and bytes moved a second, and the 2 MiB
that move most. Keys: q quits, p pauses, m and e change the policy, ? explains
them.
While paused nothing moves: a program runs on until it touches what is away, a
demonstration until the end of a round. The end of top ends the pause.
Only the program's own user and root can look. Exit codes: 2 where there is
nothing to show or more than one, 3 for a process of another user.";

/// Where a report goes.
#[derive(Debug, Args)]
pub struct OutputArgs {
    /// Write the figures as JSON to FILE; `-` prints them in place of the text.
    #[arg(long, value_name = "FILE")]
    pub json: Option<JsonTarget>,
    /// Print nothing but errors, and JSON if asked for.
    #[arg(long, short)]
    pub quiet: bool,
}

/// Kinds of device memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Memory {
    /// It cannot: a touch brings the folio back to system memory.
    Private,
    /// It can: folios of 64 KiB and more are used where they are.
    Coherent,
}

impl Memory {
    /// Returns the kind as the pagemap knows it.
    pub fn kind(self) -> MemoryKind {
        match self {
            Self::Private => MemoryKind::Private,
            Self::Coherent => MemoryKind::Coherent,
        }
    }
}

/// What `doctor` can be told.
#[derive(Debug, Args)]
#[command(after_help = DOCTOR_HELP)]
pub struct DoctorArgs {
    /// List the features of the kernel as well.
    #[arg(long)]
    pub all: bool,
    /// Print JSON instead of the text.
    #[arg(long)]
    pub json: bool,
}

const DOCTOR_HELP: &str = "\
Exit codes: 0 the built-in device works; 3 it does not. Nothing is changed.";

/// What `check` can be told.
#[derive(Debug, Args)]
#[command(after_help = CHECK_HELP)]
pub struct CheckArgs {
    /// Design to explore, or `all`.
    #[arg(long, value_name = "NAME", default_value = "all")]
    pub design: String,
    /// Explore all designs; the same as `--design all`.
    #[arg(long, conflicts_with = "design")]
    pub all: bool,
    /// Explore shipped folios over this pool; without it, over any: every free block may be handed out.
    ///
    /// What holds over any holds over each. Over one the pool's own code runs too, with its lists, chunks and objects,
    /// and its state is judged after each step. Transactions, whose worlds have no such pool, are left out.
    #[arg(long, value_name = "POOL", value_parser = pools(), conflicts_with_all = ["all", "large"])]
    pub pool: Option<PoolName>,
    /// Order of memory, `sequential` or `weak`: with `weak` stores of a path that frees a folio may be seen late.
    ///
    /// For the designs of device folios in Linux; of the others none is explored then.
    #[arg(long, value_name = "ORDER", default_value = "sequential", value_parser = memory_orders())]
    #[arg(conflicts_with = "pool")]
    pub memory_order: MemoryOrder,
    /// Explore this world of the design alone, such as "room"; without it, all of them.
    #[arg(long, value_name = "NAME")]
    pub world: Option<String>,
    /// Judge by this rule alone, such as I4, and show its story.
    #[arg(long, value_name = "RULE")]
    pub rule: Option<String>,
    /// Write the story of --rule as a trace, which `bifolio replay` takes step by step again.
    #[arg(long, value_name = "FILE", requires = "rule", conflicts_with = "rules")]
    pub trace: Option<PathBuf>,
    /// List the rules, or the one of --rule: sentence and source. Nothing is explored.
    #[arg(long)]
    pub rules: bool,
    /// Show every rule that some design can break, not only those that break.
    #[arg(long)]
    pub all_rules: bool,
    /// List the worlds that were explored: sizes, states, steps, time.
    #[arg(long)]
    pub worlds: bool,
    /// Device pages of the world, 1 to 8; without it, the design's own choice.
    #[arg(long, value_name = "N", value_parser = number(1, Bounds::PAGES_MAX))]
    pub pages: Option<u8>,
    /// Largest order of a folio, 0 to 3; a folio of it must divide the pages.
    #[arg(long, value_name = "K", value_parser = number(0, Bounds::ORDER_MAX))]
    pub max_order: Option<u8>,
    /// Actors that interleave, 1 to 3.
    #[arg(long, value_name = "T", value_parser = number(1, Bounds::ACTORS_MAX))]
    pub actors: Option<u8>,
    /// Threads that explore.
    #[arg(long, value_name = "N", default_value = "1", value_parser = number(NonZeroUsize::MIN, UNITS_MAX))]
    pub threads: NonZeroUsize,
    /// Memory for the states seen, such as 2G.
    #[arg(long, value_name = "SIZE")]
    pub memory: Option<Size>,
    /// Explore six larger worlds of the shipped transactions as well (design `bifolio`); takes minutes, and up to 1.3 GiB.
    #[arg(long)]
    pub large: bool,
    /// Interleave every step with every other, also those that need no interleaving.
    #[arg(long)]
    pub full: bool,
    /// If stopped (by Ctrl-C, SIGTERM or for lack of memory), write to FILE what was done, for `--resume`.
    #[arg(long, value_name = "FILE")]
    pub save: Option<PathBuf>,
    /// Go on with what `--save` wrote, for the same designs and bounds; saves there again if stopped again.
    #[arg(long, value_name = "FILE")]
    pub resume: Option<PathBuf>,
    /// Print rows as JSON instead of the table.
    #[arg(long)]
    pub json: bool,
    /// Print the stories as graphs for Graphviz instead.
    #[arg(long, conflicts_with = "json")]
    pub dot: bool,
}

const CHECK_HELP: &str = "\
Examples:
  bifolio check                              the table of all designs
  bifolio check --threads 2                  the same, on two cores
  bifolio check --design linux-v3            one design, a story for each rule
  bifolio check --design linux-v3 --rule I4  that story
  bifolio check --rules --rule I4            what the rule says, and its source
  bifolio check --design bifolio --max-order 3
                                             the shipped code in a larger world
  bifolio check --design bifolio --pool freelist
                                             the same over a shipped pool
  bifolio check --design bifolio --max-order 3 --save big.check
                                             Ctrl-C saves, --resume goes on

Rows of --json are {design, rule, holds, states, depth, steps}, and by: the
reason, where a rule holds by construction. holds is null where a design does
not express the rule, or not all states were visited.

Exit codes: 0 all rules hold; 1 a rule breaks; 2 wrong use, or a saved file that
is damaged or does not fit; 4 no rule broke, but not all states were visited, or
the result could not be written. With --rule that rule alone counts.
docs/the-thread-replayed.md explains the table.";

/// What `man` can be told.
#[derive(Debug, Args)]
#[command(after_help = MAN_HELP)]
pub struct ManArgs {
    /// Write the pages of all commands to files in DIR, which is made if it is not there.
    #[arg(long, value_name = "DIR", conflicts_with = "command")]
    pub dir: Option<PathBuf>,
    /// Command whose page is printed, such as `run` or `trace cut`; without it, that of `bifolio`.
    #[arg(value_name = "COMMAND")]
    pub command: Vec<String>,
}

const MAN_HELP: &str = "\
Examples:
  bifolio man run | man -l -
  bifolio man --dir share/man/man1

The pages have the texts of --help. Exit codes: 2 for a command that is not
there, 4 if a page cannot be written.";

/// What `completions` can be told.
#[derive(Debug, Args)]
#[command(after_help = COMPLETIONS_HELP)]
pub struct CompletionsArgs {
    /// The shell.
    #[arg(value_enum, value_name = "SHELL")]
    pub shell: Shell,
}

const COMPLETIONS_HELP: &str = "\
Examples:
  bifolio completions bash > share/bash-completion/completions/bifolio
  bifolio completions zsh > share/zsh/site-functions/_bifolio
  bifolio completions fish > share/fish/vendor_completions.d/bifolio.fish";

/// Takes the name of a pool, and lists them all in the help.
fn pools() -> impl TypedValueParser<Value = PoolName> {
    PossibleValuesParser::new(
        PoolName::ALL.iter().map(|pool| PossibleValue::new(pool.as_str()).help(pool.about())),
    )
    .try_map(|name| name.parse::<PoolName>())
}

/// Takes the name of an order of memory, and lists both in the help.
fn memory_orders() -> impl TypedValueParser<Value = MemoryOrder> {
    let named = |name: String| MemoryOrder::ALL.into_iter().find(|order| order.as_str() == name);
    PossibleValuesParser::new(MemoryOrder::ALL.map(MemoryOrder::as_str))
        .map(move |name| named(name).unwrap_or_default())
}

/// Takes the name of a way to reset folios, and lists both in the help.
fn resets() -> impl TypedValueParser<Value = Reset> {
    PossibleValuesParser::new(Reset::ALL.iter().map(|reset| reset.name()))
        .try_map(|name| name.parse::<Reset>())
}

const UNITS_MAX: NonZeroUsize = NonZeroUsize::new(64).expect("not 0");
const SOURCES_MAX: usize = 4096;
const DEVICES_MAX: NonZeroUsize = NonZeroUsize::new(8).expect("not 0");

/// Takes a number within limits, and names the limits for any other.
pub(crate) fn number<T>(least: T, most: T) -> impl Fn(&str) -> Result<T, String> + Clone
where
    T: FromStr + PartialOrd + Display + Copy,
{
    move |text| {
        let number = text.parse().ok().filter(|number| (least..=most).contains(number));
        number.ok_or_else(|| format!("expected a number from {least} to {most}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    /// What follows the options in the help of every subcommand.
    fn after_help(command: &clap::Command, texts: &mut Vec<String>) {
        texts.extend(command.get_after_help().map(ToString::to_string));
        command.get_subcommands().for_each(|command| after_help(command, texts));
    }

    fn lines() -> Vec<String> {
        let mut texts = Vec::new();
        after_help(&Cli::command(), &mut texts);
        texts.iter().flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>()).collect()
    }

    #[test]
    fn help_is_written_for_eighty_columns() {
        let long: Vec<_> = lines().into_iter().filter(|line| line.chars().count() > COLUMNS_MAX).collect();
        assert!(long.is_empty(), "{long:#?}");
    }

    #[test]
    fn every_example_of_the_help_is_a_valid_command() {
        let lines = lines();
        let examples = lines.iter().filter(|line| line.starts_with("  ")).flat_map(|line| {
            let command = line.trim_start().split("  ").next().unwrap_or_default();
            let parts = command.split(" | ").filter_map(|part| part.split(" > ").next());
            parts.filter(|part| part.starts_with("bifolio "))
        });
        let mut count = 0;
        for example in examples {
            let parsed = Cli::try_parse_from(example.split(' '));
            assert!(parsed.is_ok(), "{example}: {parsed:?}");
            count += 1;
        }
        assert!(count > 15, "only {count} examples were found");
    }

    #[test]
    fn command_line_contradicts_itself_nowhere() {
        Cli::command().debug_assert();
    }
}
