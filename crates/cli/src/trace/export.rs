//! `bifolio trace export`.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use bifolio_symbols::Symbols;
use bifolio_trace::export::oracle_general::{self, ExportError};
use bifolio_trace::export::perfetto;
use bifolio_trace::{Event, Trace};

use serde::Serialize;

use crate::trace::TraceCommandError;
use crate::trace::args::{ExportArgs, Format};

/// Writes a trace in another format.
///
/// # Errors
///
/// If it has no such form, or cannot be written.
pub fn export(trace: &Trace, args: &ExportArgs) -> Result<(), TraceCommandError> {
    let result = if args.output == Path::new("-") {
        write(trace, args.format, &mut BufWriter::new(io::stdout().lock()))
    } else {
        File::create(&args.output)
            .map_err(ExportError::from)
            .and_then(|file| write(trace, args.format, &mut BufWriter::new(file)))
    };
    result.map_err(|error| match error {
        ExportError::Write(source) => TraceCommandError::Write { path: args.output.clone(), source },
        other => TraceCommandError::Export(other),
    })
}

fn write(trace: &Trace, format: Format, out: &mut impl Write) -> Result<(), ExportError> {
    match format {
        Format::Json => write_json(trace, out)?,
        Format::Perfetto => perfetto::write(trace, out)?,
        Format::OracleGeneral => oracle_general::write(trace, out).map(drop)?,
    }
    Ok(out.flush()?)
}

/// An event, and the name of the code that it tells of.
#[derive(Serialize)]
struct Line {
    #[serde(flatten)]
    event: Event,
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<String>,
}

fn write_json(trace: &Trace, out: &mut impl Write) -> io::Result<()> {
    let symbols = Symbols::of(trace);
    for event in trace.events() {
        let at = event.kind.pc().and_then(|pc| symbols.name(pc)).map(|name| name.to_string());
        serde_json::to_writer(&mut *out, &Line { event, at })?;
        out.write_all(b"\n")?;
    }
    Ok(())
}
