//! What `bifolio replay` can be told.

use std::path::PathBuf;

use bifolio_policy::PolicyName;
use clap::Args;

use crate::amount::Size;
use crate::trace::args::nanoseconds;

/// What `replay` can be told.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub struct ReplayArgs {
    /// The trace: one of Bifolio, or oracleGeneral of a cache simulator.
    pub trace: PathBuf,
    /// A policy, such as auto or stride+sieve; several are put side by side [default: auto, fixed+lru, fixed+s3fifo, density+lru].
    #[arg(long, value_name = "NAME")]
    pub policy: Vec<PolicyName>,
    /// Memory of the device, or system memory for a trace of `run`; without it, as much as was recorded.
    #[arg(long, value_name = "SIZE", visible_alias = "ram")]
    pub vram: Option<Size>,
    /// Bytes that the link between the memories carries in a second.
    #[arg(long, value_name = "SIZE", default_value = "16G")]
    pub link: Size,
    /// What a fault takes beside its copies.
    #[arg(long, value_name = "TIME", default_value = "2us", value_parser = nanoseconds)]
    pub latency: u64,
    /// Tell what misses in memories of other sizes: of lru over pages of 4 KiB, and of each --policy.
    #[arg(long, conflicts_with = "vram")]
    pub what_if: bool,
    /// Also tell what misses under each order of use alone, over pages of 4 KiB, as simulators of caches do.
    #[arg(long, conflicts_with = "what_if")]
    pub orders: bool,
    /// Draw that as a picture.
    #[arg(long, value_name = "FILE", requires = "what_if")]
    pub svg: Option<PathBuf>,
    /// Print JSON instead of the table.
    #[arg(long)]
    pub json: bool,
}

const HELP: &str = "\
Examples:
  bifolio demo bfs --trace t.bifolio --trace-accesses
  bifolio replay t.bifolio
  bifolio replay t.bifolio --policy auto --policy stride+sieve --vram 6M
  bifolio replay t.bifolio --orders
  bifolio replay t.bifolio --what-if --policy auto --svg misses.svg

The engine itself replays the trace, on a simulated device with a clock of its
own: the same trace and settings have the same outcome, and the same checksum
of all that happened. `optimum` is the least that must move if the future is
known, as pages of 4 KiB; use of pages where they are may move less. It needs a
trace with --trace-accesses; so do --what-if, --orders.";
