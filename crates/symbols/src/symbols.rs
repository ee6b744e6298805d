//! Names of addresses of code.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::path::Path;

use addr2line::Loader;
use bifolio_trace::{Module, Trace};
use object::read::elf::{FileHeader, ProgramHeader};
use object::{Endianness, elf};

/// What is known of an address of code.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Name {
    /// The function, if a table tells.
    pub function: Option<String>,
    /// File and line of the source, if debug information tells.
    pub source: Option<(String, u32)>,
    /// The program or library, without its folder.
    pub module: String,
}

impl Name {
    /// Whether it is of the C library or of the loader of programs, which allocate for others.
    #[must_use]
    pub fn is_of_c_library(&self) -> bool {
        ["libc.so", "libc-", "ld-linux", "ld-2"].iter().any(|name| self.module.starts_with(name))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.function, &self.source) {
            (Some(function), Some((file, line))) => {
                let file =
                    Path::new(file).file_name().map_or_else(|| file.into(), |name| name.to_string_lossy());
                write!(f, "{function} ({file}:{line})")
            }
            (Some(function), None) => write!(f, "{function} ({})", self.module),
            (None, _) => write!(f, "{}", self.module),
        }
    }
}

/// Names addresses of the program that a trace was recorded from.
pub struct Symbols {
    modules: Vec<Module>,
    /// Tables by path; `None` for a file that cannot be read, or is no such file any more.
    tables: RefCell<HashMap<String, Option<Table>>>,
    names: RefCell<HashMap<u64, Option<Name>>>,
}

impl Symbols {
    /// Names the addresses of a trace, by the files that are there now.
    #[must_use]
    pub fn of(trace: &Trace) -> Symbols {
        Symbols { modules: trace.modules(), tables: RefCell::default(), names: RefCell::default() }
    }

    /// The name of an address; `None` if it is in no file that was mapped as code.
    #[must_use]
    pub fn name(&self, pc: u64) -> Option<Name> {
        if let Some(known) = self.names.borrow().get(&pc) {
            return known.clone();
        }
        let name = self.find(pc);
        self.names.borrow_mut().insert(pc, name.clone());
        name
    }

    fn find(&self, pc: u64) -> Option<Name> {
        let module = self.modules.iter().rev().find(|module| module.contains(pc))?;
        let mut tables = self.tables.borrow_mut();
        let table = tables.entry(module.path.clone()).or_insert_with(|| Table::read(Path::new(&module.path)));
        let (function, source) =
            table.as_ref().map_or((None, None), |table| table.find(pc - module.start + module.offset));
        let file = Path::new(&module.path).file_name();
        let module = file.map_or_else(|| module.path.clone(), |name| name.to_string_lossy().into_owned());
        Some(Name { function, source, module })
    }
}

/// What a file tells of its code.
struct Table {
    loader: Loader,
    /// Parts of the file that are loaded: where they are in the file, how long, and at which address they are meant to be.
    loaded: Vec<(u64, u64, u64)>,
}

impl Table {
    fn read(path: &Path) -> Option<Table> {
        let bytes = std::fs::read(path).ok()?;
        let header = elf::FileHeader64::<Endianness>::parse(&*bytes).ok()?;
        let endian = header.endian().ok()?;
        let segments = header.program_headers(endian, &*bytes).ok()?;
        let loaded = segments.iter().filter(|segment| segment.p_type(endian) == elf::PT_LOAD);
        let place = |segment: &elf::ProgramHeader64<Endianness>| {
            (segment.p_offset(endian), segment.p_filesz(endian), segment.p_vaddr(endian))
        };
        Some(Table { loaded: loaded.map(place).collect(), loader: Loader::new(path).ok()? })
    }

    /// Function, and file and line, of what is at an offset of the file.
    fn find(&self, offset: u64) -> (Option<String>, Option<(String, u32)>) {
        let within = |(start, len, _): &&(u64, u64, u64)| (*start..start + len).contains(&offset);
        let Some((start, _, address)) = self.loaded.iter().find(within) else { return (None, None) };
        let address = offset - start + address;
        let mut function = None;
        if let Ok(mut frames) = self.loader.find_frames(address)
            && let Ok(Some(frame)) = frames.next()
        {
            let name = frame.function.as_ref().and_then(|name| name.demangle().ok());
            function = name.map(|name| name.into_owned());
        }
        let symbol = || self.loader.find_symbol(address).map(demangled);
        let location = self.loader.find_location(address).ok().flatten();
        let source = location.and_then(|location| Some((location.file?.to_owned(), location.line?)));
        (function.or_else(symbol), source)
    }
}

fn demangled(name: &str) -> String {
    addr2line::demangle_auto(name.into(), None).into_owned()
}
