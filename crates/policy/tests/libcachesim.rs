//! The orders of use miss as often as those of libcachesim 0.3.5, an independent implementation, on the block trace that
//! its source package on PyPI has (cloudPhysicsIO: 113,872 requests to 48,974 blocks), with all blocks of one size.
//!
//! libcachesim's settings are its defaults: Clock with one bit and `init-freq` 0; S3-FIFO with `small-size-ratio` 0.1,
//! `ghost-size-ratio` 0.9 and `move-to-main-threshold` 2. The counts below were printed by `Cache(n).process_trace(reader)`
//! with `ignore_obj_size`, n being 1 %, 10 % and 30 % of the blocks.
//!
//! The test fetches the package by pip, once; without pip or network it says `SKIP`.
#![expect(clippy::print_stderr, reason = "the reason why a test is skipped")]

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use bifolio_policy::belady::{Touch, optimum};
use bifolio_policy::eviction::{Eviction, EvictionName, Object, ObjectId, Removal};

const PACKAGE: &str = "libcachesim-0.3.5";
const TRACE: &str = "src/libCacheSim/data/cloudPhysicsIO.oracleGeneral.bin";
/// Bytes of a request: time, block, size, next request.
const RECORD: usize = 24;
const REQUESTS: usize = 113_872;

/// The misses of each order of use.
type Misses = [(EvictionName, u64); 5];

/// Blocks kept, and the misses of each order of use; the last one is the optimum's.
const MISSES: [(usize, Misses, u64); 3] = [
    (489, by_name([95_420, 96_518, 95_332, 94_569, 94_419]), 90_263),
    (4_897, by_name([91_657, 91_716, 91_599, 86_006, 90_040]), 71_620),
    (14_692, by_name([75_247, 72_880, 76_344, 66_427, 72_061]), 57_151),
];

const fn by_name(misses: [u64; 5]) -> Misses {
    let [lru, fifo, clock, s3fifo, sieve] = misses;
    [
        (EvictionName::Lru, lru),
        (EvictionName::Fifo, fifo),
        (EvictionName::Clock, clock),
        (EvictionName::S3Fifo, s3fifo),
        (EvictionName::Sieve, sieve),
    ]
}

#[test]
fn orders_of_use_miss_as_often_as_those_of_libcachesim() {
    let Some(blocks) = trace() else { return };
    for (kept, orders, best) in MISSES {
        for (name, expected) in orders {
            let misses = misses(&blocks, kept, name.make(kept as u64).as_mut());
            let off = misses.abs_diff(expected) as f64 / REQUESTS as f64;
            eprintln!("{kept} {name}: {misses}, expected {expected}");
            assert!(off <= 1e-4, "{name} of {kept} misses {misses} times, libcachesim's {expected} times");
        }
        let touches: Vec<Touch> = blocks.iter().copied().map(Touch::read).collect();
        assert_eq!(optimum(&touches, kept).moved_in, best, "optimum of {kept}");
    }
}

fn misses(blocks: &[u64], kept: usize, order: &mut dyn Eviction) -> u64 {
    let (mut here, mut free): (HashMap<u64, ObjectId>, Vec<u32>) = (HashMap::new(), Vec::new());
    let (mut names, mut misses, mut victims) = (Vec::new(), 0, Vec::new());
    for &block in blocks {
        if let Some(id) = here.get(&block) {
            order.touch(*id);
            continue;
        }
        misses += 1;
        if here.len() == kept {
            victims.clear();
            order.victims(1, &mut |_| false, &mut victims);
            order.remove(victims[0], Removal::Evicted);
            here.remove(&names[victims[0].0 as usize]);
            free.push(victims[0].0);
        }
        let id = free.pop().unwrap_or_else(|| {
            names.push(0);
            u32::try_from(names.len() - 1).expect("fewer blocks than that")
        });
        names[id as usize] = block;
        order.insert(ObjectId(id), Object { name: block, pages: 1 });
        here.insert(block, ObjectId(id));
    }
    misses
}

/// The blocks of the trace, or nothing where it cannot be had.
fn trace() -> Option<Vec<u64>> {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let file = folder.join(PACKAGE).join(TRACE);
    if !file.exists()
        && let Err(why) = fetch(&folder)
    {
        eprintln!("SKIP orders_of_use_miss_as_often_as_those_of_libcachesim: {why}");
        return None;
    }
    let bytes = std::fs::read(file).expect("the trace was unpacked");
    assert_eq!(bytes.len(), RECORD * REQUESTS);
    let block = |record: &[u8]| u64::from_le_bytes(record[4..12].try_into().expect("8 bytes"));
    Some(bytes.chunks_exact(RECORD).map(block).collect())
}

fn fetch(folder: &Path) -> Result<(), String> {
    let package = "libcachesim==0.3.5";
    let pip = ["-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", "libcachesim", package];
    run(Command::new("python3").args(pip).arg("--dest").arg(folder))?;
    let archive = folder.join(format!("{PACKAGE}.tar.gz"));
    let within = format!("{PACKAGE}/{TRACE}");
    run(Command::new("tar").arg("-xzf").arg(&archive).arg("-C").arg(folder).arg(within))?;
    std::fs::remove_file(&archive).map_err(|why| why.to_string())
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|why| format!("{command:?} cannot be run: {why}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().last().unwrap_or_default();
    if output.status.success() { Ok(()) } else { Err(format!("{:?} failed: {last}", command.get_program())) }
}
