//! Replays a trace under a policy of its own and under `auto`, and prints what each moved.
//!
//! ```sh
//! bifolio demo pagerank --rounds 1 --trace t.bifolio --trace-accesses
//! cargo run --manifest-path examples/own-policy/Cargo.toml -- t.bifolio 4
//! ```

use std::error::Error;
use std::path::Path;

use bifolio_folio::Order;
use bifolio_migrate::OrderRange;
use bifolio_policy::eviction::clock::Clock;
use bifolio_policy::{Decision, Eviction, Fact, Fault, Memory, Policies, Policy, PolicyName};
use bifolio_replay::{Link, Outcome, ReplayError, Requests, replay};
use bifolio_trace::Trace;

/// 16 GiB a second, and 2 us for a fault beside its copies.
const LINK: Link = Link { bytes_per_second: 16 << 30, latency_ns: 2000, access_ns: 0 };

/// Brings 64 KiB as long as the pages of the last folio that left were used, and 4 KiB otherwise.
#[derive(Default)]
struct LastOne {
    was_dense: bool,
    eviction: Clock,
}

impl Policy for LastOne {
    fn decide(&mut self, _fault: &Fault) -> Decision {
        let largest = if self.was_dense { Order::K64 } else { Order::ZERO };
        Decision::moving(OrderRange { largest, smallest: Order::ZERO })
    }

    fn orders(&self) -> OrderRange {
        OrderRange { largest: Order::K64, smallest: Order::ZERO }
    }

    fn learn(&mut self, fact: Fact<'_>) {
        // `used` is absent where the side cannot tell.
        if let Fact::Left { pages, used: Some(used), .. } = fact {
            self.was_dense = u32::from(used.count()) * 2 > pages;
        }
    }

    fn eviction(&mut self) -> &mut dyn Eviction {
        &mut self.eviction
    }
}

/// Makes one for each memory.
fn last_one() -> impl Policies {
    |_: &Memory| Box::new(LastOne::default()) as Box<dyn Policy>
}

/// What both policies do with the touches of a trace, in a memory of so many pages: `auto` first.
fn compare(requests: &Requests, pages: u64) -> Result<[Outcome; 2], ReplayError> {
    Ok([replay(requests, PolicyName::default(), pages, LINK)?, replay(requests, last_one(), pages, LINK)?])
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(trace), Some(mebibytes)) = (arguments.next(), arguments.next()) else {
        return Err("give a trace, and the memory of the device in MiB".into());
    };
    let requests = Requests::of(&Trace::open(Path::new(&trace))?);
    let pages = mebibytes.parse::<u64>()? * 256;
    for (name, outcome) in ["auto", "last one"].into_iter().zip(compare(&requests, pages)?) {
        let moved = (outcome.bytes_in + outcome.bytes_out) >> 20;
        println!("{name:8}  {:>9} faults  {moved:>6} MiB moved", outcome.faults);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn walks_are_answered_by_larger_folios_and_lone_pages_are_not() {
        // Twice over 16 MiB, in a memory of 4 MiB; and one page of each 64 KiB of the same.
        let walk: Vec<u64> = (0..8192).map(|at| at % 4096).collect();
        let lone: Vec<u64> = (0..8192).map(|at| at * 16 % 65536).collect();
        let faults = |pages: &[u64]| {
            let [_, last_one] = compare(&Requests::of_pages(pages), 1024).expect("it can be replayed");
            last_one.faults
        };
        let (walk, lone) = (faults(&walk), faults(&lone));
        assert!(walk < 2048, "{walk}");
        assert_eq!(lone, 8192);
    }
}
