//! `bifolio doctor`: what this machine grants, what each lack costs, and how it is to be had.

mod grant;
mod trial;

use std::io::{self, Write};

use bifolio_sys::probe::Grants;
use bifolio_sys::{Access, host::Host};
use serde::Serialize;

use crate::args::DoctorArgs;
use crate::doctor::grant::Grant;
use crate::exit::{self, Failure};
use crate::figures::bytes;
use crate::output::{JsonTarget, OutputError};
use crate::table;

/// The JSON of `doctor`.
#[derive(Debug, Serialize)]
struct Findings {
    /// Whether the built-in device works.
    works: bool,
    /// Why not.
    failure: Option<String>,
    /// Which faults are caught: `full`, `user-mode-only` or none.
    access: Option<&'static str>,
    /// The kernel's release.
    kernel: String,
    /// All that was asked.
    grants: Vec<Grant>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct DoctorError(#[from] OutputError);

impl Failure for DoctorError {
    fn exit_code(&self) -> u8 {
        exit::FAILED
    }
}

/// Examines the machine and reports; returns the exit code.
///
/// # Errors
///
/// If the report cannot be written.
pub fn doctor(args: &DoctorArgs) -> Result<u8, DoctorError> {
    let grants = Grants::probe();
    let findings = examine(&grants);
    if args.json {
        JsonTarget::Stdout.write(&findings)?;
    } else {
        print(&mut io::stdout().lock(), &findings, &grants.host).map_err(OutputError::from)?;
    }
    Ok(if findings.works { exit::OK } else { exit::REFUSED })
}

fn examine(grants: &Grants) -> Findings {
    let failure = trial::device_works().err();
    Findings {
        works: failure.is_none(),
        failure: failure.map(|error| exit::chain(&error)),
        access: grants.access().map(|access| match access {
            Access::Full(_) => "full",
            Access::UserModeOnly => "user-mode-only",
        }),
        kernel: grants.host.kernel_release.clone(),
        grants: grant::list(grants),
    }
}

fn print(out: &mut impl Write, findings: &Findings, host: &Host) -> io::Result<()> {
    writeln!(out, "Linux {}, {} processors, {}\n", findings.kernel, host.cpus, bytes(host.ram_bytes))?;
    let mut rows = table::wrapped();
    rows.set_header(["", "granted", "found", "without it"]);
    for grant in &findings.grants {
        let granted = if grant.granted { "yes" } else { "NO" };
        rows.add_row([grant.name, granted, &grant.found, grant.cost.unwrap_or("nothing lost so far")]);
    }
    table::print(out, &mut rows)?;
    writeln!(out)?;
    print_remedies(out, &findings.grants)?;
    match &findings.failure {
        None => writeln!(out, "The built-in device works."),
        Some(failure) => writeln!(out, "The built-in device DOES NOT WORK: {failure}."),
    }?;
    out.flush()
}

/// Lists how what lacks is to be had.
fn print_remedies(out: &mut impl Write, grants: &[Grant]) -> io::Result<()> {
    let remedies: Vec<_> = grants.iter().filter_map(|grant| Some((grant.name, grant.remedy?))).collect();
    if remedies.is_empty() {
        return Ok(());
    }
    writeln!(out, "To get what is missing:")?;
    for (name, remedy) in remedies {
        writeln!(out, "  {name}:\n    {remedy}")?;
    }
    writeln!(out)
}
