//! `bifolio replay --orders` misses as often as libcachesim 0.3.5, an independent implementation, on the block trace that its
//! source package on PyPI has (cloudPhysicsIO: 113,872 requests to 48,974 blocks), with all blocks of one size.
//!
//! libcachesim's settings are its defaults: Clock with one bit and `init-freq` 0; S3-FIFO with `small-size-ratio` 0.1,
//! `ghost-size-ratio` 0.9 and `move-to-main-threshold` 2. The counts below were printed by `Cache(n).process_trace(reader)`
//! with `ignore_obj_size`, n being 1 %, 10 % and 30 % of the blocks.
//!
//! The test fetches the package by pip, once; without pip or network it says `SKIP`.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::command::bifolio;

const PACKAGE: &str = "libcachesim-0.3.5";
const TRACE: &str = "src/libCacheSim/data/cloudPhysicsIO.oracleGeneral.bin";
const REQUESTS: f64 = 113_872.0;
const ORDERS: [&str; 6] = ["lru", "fifo", "clock", "s3fifo", "sieve", "optimum"];

/// Blocks kept, and the misses under each order.
const MISSES: [(u64, [u64; 6]); 3] = [
    (489, [95_420, 96_518, 95_332, 94_569, 94_419, 90_263]),
    (4_897, [91_657, 91_716, 91_599, 86_006, 90_040, 71_620]),
    (14_692, [75_247, 72_880, 76_344, 66_427, 72_061, 57_151]),
];

#[test]
fn replay_misses_as_often_as_libcachesim() {
    let Some(trace) = trace("replay_misses_as_often_as_libcachesim") else { return };
    for (kept, misses) in MISSES {
        let memory = format!("{}K", kept * 4);
        let args = ["replay", &trace, "--policy", "fixed+lru", "--vram", &memory, "--orders", "--json"];
        let ran = bifolio(&args);
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        let found = ran.json();
        for (order, expected) in ORDERS.into_iter().zip(misses) {
            let rows = found["orders"].as_array().expect("a list");
            let row = rows.iter().find(|row| row["order"] == order).expect("each order is told");
            let ratio = row["miss_ratio"].as_f64().expect("a number");
            let off = (ratio - expected as f64 / REQUESTS).abs();
            assert!(
                off <= 1e-4,
                "{order} of {kept} blocks misses {ratio}, libcachesim's {expected} of {REQUESTS}"
            );
        }
    }
}

/// The trace, or nothing where it cannot be had.
fn trace(test: &str) -> Option<String> {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let file = folder.join(PACKAGE).join(TRACE);
    if !file.exists()
        && let Err(why) = fetch(&folder)
    {
        // Past the test harness, which would hide it from those who count.
        writeln!(std::io::stderr(), "SKIP {test}: {why}").expect("standard error is there");
        return None;
    }
    Some(file.to_str().expect("a plain name").to_owned())
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
