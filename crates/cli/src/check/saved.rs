//! Explorations that were saved, and that are to be saved.

use std::fs::File;
use std::io::{self, BufReader, Write};

use bifolio_explore::{Journal, MemoryOrder};

use crate::args::CheckArgs;
use crate::check::error::CheckError;
use crate::output;

/// What was saved, or an empty journal if something may be saved later. A saved exploration is much smaller than its states
/// are in memory, so what does not fit there is refused unread.
pub fn journal(args: &CheckArgs, bytes: usize) -> Result<Option<Journal>, CheckError> {
    let what = what(args);
    let Some(target) = args.save.as_ref().or(args.resume.as_ref()).cloned() else { return Ok(None) };
    let journal = match args.resume.clone() {
        None => Journal::new(&what),
        Some(file) => {
            let opened =
                File::open(&file).map_err(|source| CheckError::Read { file: file.clone(), source })?;
            let read = Journal::read(BufReader::new(opened), &what, bytes as u64);
            read.map_err(|source| CheckError::Journal { file, source })?
        }
    };
    output::can_be_replaced(&target).map_err(|source| CheckError::NoSaving { file: target, source })?;
    Ok(Some(journal))
}

/// Designs and bounds, as a journal is to be about.
fn what(args: &CheckArgs) -> String {
    let bound =
        |name: &str, bound: Option<u8>| bound.map(|value| format!(" --{name} {value}")).unwrap_or_default();
    let design = if args.all { "all" } else { &args.design };
    let full = if args.full { " --full" } else { "" };
    let large = if args.large { " --large" } else { "" };
    let pool = args.pool.map(|pool| format!(" --pool {pool}")).unwrap_or_default();
    let order = match args.memory_order {
        MemoryOrder::Sequential => "",
        MemoryOrder::Weak => " --memory-order weak",
    };
    let world = args.world.as_ref().map(|world| format!(" --world '{world}'")).unwrap_or_default();
    let (pages, max_order) = (bound("pages", args.pages), bound("max-order", args.max_order));
    format!(
        "--design {design}{pool}{order}{world}{pages}{max_order}{}{full}{large}",
        bound("actors", args.actors)
    )
}

/// Saves what was done, if that was asked for, and says how to go on.
pub fn save(args: &CheckArgs, journal: Option<&Journal>) -> Result<(), CheckError> {
    let Some((file, journal)) = args.save.as_ref().or(args.resume.as_ref()).zip(journal) else {
        return Ok(());
    };
    output::replace(file, &journal.to_bytes())
        .map_err(|source| CheckError::Save { file: file.clone(), source })?;
    let (what, file) = (what(args), file.display());
    // If the line is not read, the file is there all the same.
    let _: io::Result<()> = writeln!(io::stderr(), "saved; go on by: bifolio check {what} --resume {file}");
    Ok(())
}
