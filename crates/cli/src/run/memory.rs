//! How much of the program's memory was managed, and why the rest was not.

use std::io::{self, Write};

use bifolio_host::gauges::{GaugeReading, Outside};
use serde::{Serialize, Serializer};

use crate::figures::bytes;

/// The part of the report that only `run` has, named as in the JSON. Sizes are in bytes.
#[derive(Debug, Serialize)]
pub struct MemoryFigures {
    /// The most that was managed at once, resident and away.
    managed_peak: u64,
    /// The most private memory at once that was not.
    outside_peak: u64,
    /// The most of it for each reason.
    outside: ByReason,
    /// Forks that were announced while memory was managed.
    forks: u64,
}

#[derive(Debug)]
struct ByReason([u64; Outside::ALL.len()]);

impl Serialize for ByReason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(Outside::ALL.map(Outside::name).into_iter().zip(self.0))
    }
}

impl From<&GaugeReading> for MemoryFigures {
    fn from(read: &GaugeReading) -> MemoryFigures {
        MemoryFigures {
            managed_peak: read.managed_peak,
            outside_peak: read.outside_peak,
            outside: ByReason(read.outside),
            forks: read.forks,
        }
    }
}

impl MemoryFigures {
    /// Prints a line, with the reason where more than a twentieth is not managed, and a warning where most is not.
    pub fn print(&self, out: &mut impl Write) -> io::Result<()> {
        let (managed, outside) = (bytes(self.managed_peak), bytes(self.outside_peak));
        write!(out, "memory: at most {managed} managed, and {outside} that --ram does not limit")?;
        let most = Outside::ALL.into_iter().max_by_key(|reason| self.outside.0[*reason as usize]);
        let why = most.map_or("", Outside::describe);
        if self.outside_peak > self.managed_peak {
            writeln!(out, "\nwarning: --ram does not limit most of the memory: {why}")?;
        } else if self.outside_peak > (self.managed_peak + self.outside_peak) / 20 {
            writeln!(out, ": {why}")?;
        } else {
            writeln!(out)?;
        }
        if self.outside.0[Outside::Forked as usize] > 0 {
            let kept = bytes(self.outside.0[Outside::Forked as usize]);
            writeln!(out, "note: a fork kept up to {kept} in memory that would have gone")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(managed_peak: u64, outside: [u64; 5]) -> String {
        let reading =
            GaugeReading { managed_peak, outside_peak: outside.iter().sum(), outside, ..Default::default() };
        let mut text = Vec::new();
        MemoryFigures::from(&reading).print(&mut text).expect("memory");
        String::from_utf8(text).expect("text")
    }

    #[test]
    fn much_memory_outside_is_a_warning_with_the_reason() {
        let text = printed(1 << 20, [1 << 20, 0, 3 << 20, 0, 0]);
        assert_eq!(
            text,
            "memory: at most 1 MiB managed, and 4 MiB that --ram does not limit\n\
             warning: --ram does not limit most of the memory: generated code and read-only memory\n"
        );
    }

    #[test]
    fn little_memory_outside_is_one_line_with_the_reason() {
        let text = printed(8 << 20, [1 << 20, 0, 0, 0, 0]);
        assert_eq!(text, "memory: at most 8 MiB managed, and 1 MiB that --ram does not limit: stacks\n");
    }

    #[test]
    fn next_to_no_memory_outside_needs_no_reason() {
        let text = printed(80 << 20, [1 << 20, 0, 0, 0, 0]);
        assert_eq!(text, "memory: at most 80 MiB managed, and 1 MiB that --ram does not limit\n");
    }
}
