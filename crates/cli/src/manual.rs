//! `bifolio man`: the pages of the manual, from the same texts as `--help`.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::{fs, iter};

use clap::{Command, CommandFactory};
use clap_mangen::Man;

use crate::args::{Cli, ManArgs};
use crate::exit;

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
pub enum ManualError {
    /// No command has this name.
    #[error("there is no command {0:?}; there are pages for {1}")]
    NoSuchCommand(String, String),
    /// A page cannot be written.
    #[error("writing {} failed", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Standard output cannot be written.
    #[error("writing to standard output failed")]
    Stdout(#[from] io::Error),
}

impl exit::Failure for ManualError {
    fn exit_code(&self) -> u8 {
        match self {
            ManualError::NoSuchCommand(..) => exit::USAGE,
            ManualError::Write { .. } | ManualError::Stdout(_) => exit::FAILED,
        }
    }
}

/// A page: of which command, and its text.
struct Page {
    /// As in `bifolio-trace-cut`.
    name: String,
    text: Vec<u8>,
}

/// Prints a page, or writes all of them to a folder; returns the exit code.
///
/// # Errors
///
/// If there is no such page, or it cannot be written.
pub fn man(args: &ManArgs) -> Result<u8, ManualError> {
    let pages = pages()?;
    match &args.dir {
        Some(dir) => write_all(dir, &pages)?,
        None => {
            let name: Vec<&str> =
                iter::once("bifolio").chain(args.command.iter().map(String::as_str)).collect();
            let name = name.join("-");
            let no_such = || {
                let names = pages.iter().filter_map(|page| page.name.strip_prefix("bifolio-"));
                let names: Vec<_> = names.map(|name| name.replace('-', " ")).collect();
                ManualError::NoSuchCommand(args.command.join(" "), names.join(", "))
            };
            let page = pages.iter().find(|page| page.name == name).ok_or_else(no_such)?;
            io::stdout().write_all(&page.text)?;
        }
    }
    Ok(exit::OK)
}

fn write_all(dir: &Path, pages: &[Page]) -> Result<(), ManualError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| ManualError::Write { path, source }
    };
    fs::create_dir_all(dir).map_err(failed(dir))?;
    for page in pages {
        let path = dir.join(format!("{}.1", page.name));
        fs::write(&path, &page.text).map_err(failed(&path))?;
    }
    Ok(())
}

/// All pages, that of `bifolio` itself first.
fn pages() -> io::Result<Vec<Page>> {
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    let mut pages = Vec::new();
    add_pages(&command, &mut pages)?;
    Ok(pages)
}

fn add_pages(command: &Command, pages: &mut Vec<Page>) -> io::Result<()> {
    let name = name_of(command).to_owned();
    let text = page(command, &name)?;
    pages.push(Page { name, text });
    let mut shown = command.get_subcommands().filter(|command| !command.is_hide_set());
    shown.try_for_each(|command| add_pages(command, pages))
}

/// The name of a page, as in `bifolio-trace-cut`.
fn name_of(command: &Command) -> &str {
    command.get_display_name().unwrap_or_else(|| command.get_name())
}

/// The page of a command. What follows the options in its help is laid out here, since its examples are lines.
fn page(command: &Command, name: &str) -> io::Result<Vec<u8>> {
    let man = Man::new(command.clone());
    let mut text = Vec::new();
    // Without a date, so that the same sources give the same bytes.
    let (title, version) = (escaped(&name.to_uppercase()), env!("CARGO_PKG_VERSION"));
    writeln!(text, r#".TH {title} 1 "" "bifolio {version}" "Bifolio""#)?;
    man.render_name_section(&mut text)?;
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    if command.get_arguments().next().is_some() {
        man.render_options_section(&mut text)?;
    }
    if command.has_subcommands() {
        man.render_subcommands_section(&mut text)?;
    }
    if let Some(after) = command.get_after_help() {
        text.extend(sections(&after.to_string()).bytes());
    }
    writeln!(text, ".SH SEE ALSO\n{}", see_also(name))?;
    Ok(text)
}

fn see_also(name: &str) -> String {
    match name.rsplit_once('-') {
        Some((parent, _)) => format!(".BR {} (1)", escaped(parent)),
        None => "https://github.com/bifolio/bifolio".to_owned(),
    }
}

/// The text after the options: a section for its examples, one for exit codes, and one for the rest. Lines that begin with a
/// space stay lines.
fn sections(text: &str) -> String {
    let (mut out, mut notes) = (String::new(), false);
    let mut verbatim = false;
    for line in text.lines() {
        let head = match line {
            "Examples:" => Some("EXAMPLES"),
            "Exit codes:" => Some("EXIT STATUS"),
            _ => None,
        };
        let indented = line.starts_with(' ');
        if verbatim && !indented {
            out.push_str(".fi\n");
        }
        match (head, line) {
            (Some(head), _) => out.push_str(&format!(".SH {head}\n")),
            (None, "") => out.push_str(".PP\n"),
            _ => {
                if !indented && !notes {
                    notes = true;
                    out.push_str(".SH NOTES\n");
                }
                if indented && !verbatim {
                    out.push_str(".nf\n");
                }
                out.push_str(&escaped(line));
                out.push('\n');
            }
        }
        verbatim = indented;
    }
    if verbatim {
        out.push_str(".fi\n");
    }
    out
}

/// A line as troff shows it: nothing in it is a command.
fn escaped(line: &str) -> String {
    let line = line.replace('\\', "\\e").replace('-', "\\-");
    if line.starts_with(['.', '\'']) { format!("\\&{line}") } else { line }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page_with_all_its_options() {
        let pages = pages().expect("memory");
        let text = |name: &str| {
            let page = pages.iter().find(|page| page.name == name).expect(name);
            String::from_utf8(page.text.clone()).expect("text").replace("\\-", "-")
        };
        fn check(command: &Command, text: &impl Fn(&str) -> String) {
            let page = text(name_of(command));
            for option in command.get_arguments().filter_map(clap::Arg::get_long) {
                assert!(page.contains(&format!("--{option}")), "--{option} is missing in {page}");
            }
            let shown = command.get_subcommands().filter(|command| !command.is_hide_set());
            shown.for_each(|command| check(command, text));
        }
        let mut command = Cli::command().disable_help_subcommand(true);
        command.build();
        check(&command, &text);
        assert!(text("bifolio-run").contains(".SH EXAMPLES\n.nf\n  bifolio run --ram 64M -- sort big.txt\n"));
        assert!(text("bifolio").contains(".SH EXIT STATUS\n.nf\n  0  success\n"));
    }

    #[test]
    fn text_of_the_help_is_no_command_of_troff() {
        assert_eq!(
            sections("Examples:\n  a -b\n\n.x \\y\nz"),
            ".SH EXAMPLES\n.nf\n  a \\-b\n.fi\n.PP\n.SH NOTES\n\\&.x \\ey\nz\n"
        );
    }
}
