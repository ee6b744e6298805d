//! Measures `bifolio-buddy` beside other allocators of address ranges.
//!
//! usage: `bifolio-buddy-compare [--json] [--quick] [--rounds N] [--out FOLDER]`
//!
//! Prints a table, or with `--json` an array of rows. `--out` writes `table.md`, `rows.json`, `raw.csv` (every single
//! figure, and the machine) and `scale.svg` into a folder.

mod latency;
mod plot;
mod rivals;
mod row;
mod suite;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use suite::{Effort, Results};

struct Arguments {
    json: bool,
    effort: Effort,
    out: Option<PathBuf>,
}

fn arguments(mut words: impl Iterator<Item = String>) -> Option<Arguments> {
    let effort = Effort { rounds: 11, steps: 1_000_000 };
    let mut arguments = Arguments { json: false, effort, out: None };
    while let Some(word) = words.next() {
        match word.as_str() {
            "--json" => arguments.json = true,
            "--quick" => arguments.effort = Effort { rounds: 3, steps: 200_000 },
            "--rounds" => {
                arguments.effort.rounds = words.next()?.parse().ok().filter(|&rounds| rounds > 0)?
            }
            "--out" => arguments.out = Some(words.next()?.into()),
            _ => return None,
        }
    }
    Some(arguments)
}

/// The processor and the load, as far as the machine tells.
fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let model = cpuinfo.lines().find(|line| line.starts_with("model name")).unwrap_or("model name: unknown");
    let cpus = cpuinfo.lines().filter(|line| line.starts_with("processor")).count();
    let load = read("/proc/loadavg");
    format!("# {model}, {cpus} processors, load at the end {}\n", load.trim())
}

fn write_results(results: &Results, folder: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    std::fs::write(folder.join("table.md"), row::table(&results.rows))?;
    std::fs::write(folder.join("rows.json"), row::json(&results.rows))?;
    std::fs::write(folder.join("scale.svg"), plot::svg(&results.series))?;
    let lines = results.raw.iter().map(|(name, round, figure)| format!("{name},{round},{figure:.3}\n"));
    std::fs::write(folder.join("raw.csv"), machine() + "figure,round,value\n" + &lines.collect::<String>())
}

fn main() -> ExitCode {
    let Some(arguments) = arguments(std::env::args().skip(1)) else {
        eprintln!("usage: bifolio-buddy-compare [--json] [--quick] [--rounds N] [--out FOLDER]");
        return ExitCode::from(2);
    };
    let results = Results::measure(arguments.effort);
    print!("{}", if arguments.json { row::json(&results.rows) } else { row::table(&results.rows) });
    match arguments.out.map(|folder| write_results(&results, &folder)) {
        Some(Err(error)) => {
            eprintln!("error: cannot write the results: {error}");
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS,
    }
}
