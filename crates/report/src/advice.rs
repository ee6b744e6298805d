//! What the counts of a range advise: only what can be done with the options that exist.

use bifolio_trace::Trace;
use serde_json::Value;

use crate::analysis::{Analysis, BLOCK_PAGES, Block};
use crate::units::bytes;

/// How often each page must have come for a range to count as thrashing.
const THRASHING: f64 = 3.0;
/// The share of moved pages below which a range was moved mostly for nothing.
const LITTLE_USED: f64 = 0.25;

/// A block that moved much, and why.
pub(crate) struct Hot {
    pub(crate) address: u64,
    pub(crate) block: Block,
    /// How often each of its pages came to a device, on the average.
    pub(crate) times: f64,
    pub(crate) says: String,
}

/// The blocks that moved most, most first.
pub(crate) fn hottest(analysis: &Analysis, count: usize) -> Vec<Hot> {
    let mut blocks: Vec<_> = analysis.blocks.iter().map(|(number, block)| (*number, *block)).collect();
    blocks.retain(|(_, block)| block.pages_in + block.pages_out > 0);
    blocks.sort_by_key(|(number, block)| (std::cmp::Reverse(block.pages_in + block.pages_out), *number));
    blocks.truncate(count);
    let judge = if analysis.is_cpu_alone() { judge_stored } else { judge };
    blocks.into_iter().map(|(number, block)| judge(number, block)).collect()
}

/// Judges a block of a program that no device shares memory with.
fn judge_stored(number: u64, block: Block) -> Hot {
    let times = block.pages_in as f64 / BLOCK_PAGES as f64;
    let thrashing = times >= THRASHING && block.pages_out > 0;
    let says = if thrashing { "it does not stay: more system memory" } else { "nothing" };
    Hot { address: number * BLOCK_PAGES * 4096, block, times, says: says.to_owned() }
}

fn judge(number: u64, block: Block) -> Hot {
    let times = block.pages_in as f64 / BLOCK_PAGES as f64;
    let used = block.pages_used as f64 / block.pages_in.max(1) as f64;
    let mut says = Vec::new();
    if times >= THRASHING && block.evictions > 0 {
        says.push("it does not stay on the device: more device memory".to_owned());
    }
    if block.pages_in > 0 && used < LITTLE_USED {
        says.push(format!("{:.0} % of what came was used: smaller folios would do", used * 100.0));
    }
    if block.cpu_faults > BLOCK_PAGES && block.device_faults > BLOCK_PAGES {
        says.push("both sides want it in turn: coherent device memory, or have one side use it".to_owned());
    }
    if !block.written && block.pages_used > 0 {
        says.push("devices only read it".to_owned());
    }
    let says = if says.is_empty() { "nothing".to_owned() } else { says.join("; ") };
    Hot { address: number * BLOCK_PAGES * 4096, block, times, says }
}

/// What the run as a whole advises.
pub(crate) fn overall(trace: &Trace, analysis: &Analysis) -> Vec<String> {
    let mut advice = Vec::new();
    let working_set = analysis.device_pages.len() as u64 * 4096;
    let memory: Option<u64> = trace.note("device_memory").and_then(|text| text.parse().ok());
    let devices: u64 = trace.note("devices").and_then(|text| text.parse().ok()).unwrap_or(1);
    if let Some(memory) = memory.filter(|memory| *memory * devices < working_set) {
        let each = (working_set.div_ceil(devices)).next_multiple_of(1 << 20) >> 20;
        advice.push(format!(
            "Devices used {} of different pages and have {}: with --vram {each}M all of it stays there.",
            bytes(working_set),
            bytes(memory * devices)
        ));
    }
    advice.extend(enough_system_memory(trace, analysis));
    let moved = analysis.totals.bytes_to_device + analysis.totals.bytes_to_ram;
    let used = analysis.totals.pages_used * 4096;
    if moved > 0 && !analysis.is_cpu_alone() && (used as f64) < moved as f64 * LITTLE_USED {
        advice.push("Less than a quarter of what moved was used: smaller folios would move less.".to_owned());
    }
    if trace.lost() > 0 {
        advice.push(format!("{} events are missing: the pictures show less than happened.", trace.lost()));
    }
    advice
}

/// How much system memory a program needs for nothing to leave, if some did.
fn enough_system_memory(trace: &Trace, analysis: &Analysis) -> Option<String> {
    let memory: u64 = trace.note("system_memory")?.parse().ok()?;
    let figures: Value = serde_json::from_str(trace.note("figures")?).ok()?;
    let peak = figures["managed_peak"].as_u64()?;
    (analysis.totals.reclaims > 0).then(|| {
        // Up to nine tenths nothing is watched; the peak is sampled, so a little more than that.
        let enough = (peak / 4 * 5).next_multiple_of(1 << 20) >> 20;
        let (peak, memory) = (bytes(peak), bytes(memory));
        format!(
            "The program had {peak} at most, and {memory} for it: with --ram {enough}M nothing has to leave."
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn block_that_comes_and_goes_needs_more_memory() {
        let block =
            Block { pages_in: 5120, pages_used: 5000, evictions: 70, written: true, ..Block::default() };
        let hot = judge(3, block);
        assert_eq!((hot.address, hot.times), (3 << 21, 10.0));
        assert!(hot.says.contains("more device memory") && !hot.says.contains("smaller"));
    }

    #[test]
    fn block_of_a_program_that_comes_and_goes_needs_more_system_memory() {
        let block = Block { pages_in: 5120, pages_out: 5000, ..Block::default() };
        assert!(judge_stored(3, block).says.contains("more system memory"));
        assert_eq!(judge_stored(3, Block { pages_in: 512, ..block }).says, "nothing");
    }

    #[test]
    fn quiet_block_needs_nothing() {
        let block = Block { pages_in: 512, pages_used: 512, written: true, ..Block::default() };
        assert_eq!(judge(0, block).says, "nothing");
    }
}
