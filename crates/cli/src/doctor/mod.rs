//! `bifolio doctor`: what works here, what does not, and the command that lifts each limit.

mod ability;
mod grant;
mod trial;

use std::io::{self, Write};

use bifolio_sys::probe::Grants;
use bifolio_sys::{Access, host::Host};
use console::{Style, style};
use serde::Serialize;

use crate::args::DoctorArgs;
use crate::doctor::ability::Ability;
use crate::doctor::grant::Grant;
use crate::exit::{self, Failure};
use crate::figures::{bytes, counted};
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
    /// What a user can do.
    abilities: Vec<Ability>,
    /// All that was asked of the kernel.
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
        print(&mut io::stdout().lock(), &findings, &grants.host, args.all).map_err(OutputError::from)?;
    }
    Ok(if findings.works { exit::OK } else { exit::REFUSED })
}

fn examine(grants: &Grants) -> Findings {
    let failure = trial::device_works().err().map(|error| exit::chain(&error));
    let found = grant::list(grants);
    Findings {
        works: failure.is_none(),
        access: grants.access().map(|access| match access {
            Access::Full(_) => "full",
            Access::UserModeOnly => "user-mode-only",
        }),
        kernel: grants.host.kernel_release.clone(),
        abilities: ability::list(&found, &grants.host, failure.as_deref()),
        failure,
        grants: found,
    }
}

fn print(out: &mut impl Write, findings: &Findings, host: &Host, all: bool) -> io::Result<()> {
    let processors = counted(host.cpus as u64, "processor");
    writeln!(out, "Linux {}, {processors}, {} of memory.", findings.kernel, bytes(host.ram_bytes))?;
    print_conclusion(out, findings)?;
    let mut rows = table::wrapped();
    for ability in &findings.abilities {
        let works = if ability.works { YES } else { NO };
        rows.add_row([format!("  {}", ability.name), works.to_owned(), ability.note.clone()]);
    }
    table::print(out, &mut rows, line_style)?;
    print_remedies(out, &findings.abilities)?;
    if all {
        print_grants(out, &findings.grants)?;
    } else {
        let features = findings.grants.len();
        writeln!(out, "\n{features} features of the kernel are behind this: bifolio doctor --all")?;
    }
    out.flush()
}

fn print_conclusion(out: &mut impl Write, findings: &Findings) -> io::Result<()> {
    let limits = findings.abilities.iter().filter(|ability| !ability.works).count() as u64;
    let (works, limits) = match (findings.works, limits) {
        (false, _) => (style("Bifolio does not work here").red(), String::new()),
        (true, 0) => (style("Bifolio works here").green(), String::new()),
        (true, limits) => {
            (style("Bifolio works here").green(), format!(", with {}", counted(limits, "limit")))
        }
    };
    writeln!(out, "{works}{limits}.\n")
}

const YES: &str = "yes";
const NO: &str = "NO";

/// Lines about what does not work are red.
fn line_style(line: &str) -> Style {
    let lacks = line.split("  ").any(|cell| cell == NO);
    if lacks { Style::new().red() } else { Style::new() }
}

/// Lists what lifts the limits.
fn print_remedies(out: &mut impl Write, abilities: &[Ability]) -> io::Result<()> {
    let lifted: Vec<&Ability> = abilities.iter().filter(|ability| !ability.lifted_by.is_empty()).collect();
    if lifted.is_empty() {
        return Ok(());
    }
    writeln!(out, "\nTo lift {}:", if lifted.len() == 1 { "it" } else { "them" })?;
    for ability in lifted {
        writeln!(out, "  {}:", ability.name)?;
        for remedy in &ability.lifted_by {
            writeln!(out, "    {}", style(remedy).bold())?;
            ability::caution(remedy).map_or(Ok(()), |caution| writeln!(out, "    {caution}"))?;
        }
    }
    Ok(())
}

/// Lists the features of the kernel.
fn print_grants(out: &mut impl Write, grants: &[Grant]) -> io::Result<()> {
    writeln!(out, "\nFeatures of the kernel (-: not here, and not needed so far):\n")?;
    let mut rows = table::wrapped();
    for grant in grants {
        let (granted, found) = match (grant.granted, grant.cost) {
            (true, _) => (YES, grant.found.clone()),
            (false, None) => ("-", grant.found.clone()),
            (false, Some(cost)) => (NO, format!("{}: {cost}", grant.found)),
        };
        rows.add_row([format!("  {}", grant.name), granted.to_owned(), found]);
    }
    table::print(out, &mut rows, line_style)
}
