//! Programs of C and C++ over the library, compiled with every warning and, once more, with sanitizers; and the header, compared
//! with the code.
#![expect(clippy::print_stderr, reason = "what is skipped is named")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use bifolio_sys::{Features, Reads, Uffd};
use bifolio_trace::{Kind, Trace};

const CRATE: &str = env!("CARGO_MANIFEST_DIR");
const WARNINGS: [&str; 4] = ["-Wall", "-Wextra", "-Werror", "-pedantic"];

/// How a program is compiled.
#[derive(Clone, Copy)]
struct Way {
    compiler: &'static str,
    flags: &'static [&'static str],
}

const C: Way = Way { compiler: "gcc", flags: &["-std=c99", "-O1"] };
const CPP: Way = Way { compiler: "g++", flags: &["-x", "c++", "-std=c++11", "-O1"] };
const SANITIZED: Way = Way {
    compiler: "gcc",
    flags: &["-std=c99", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"],
};

const CPP_SANITIZED: Way = Way {
    compiler: "g++",
    flags: &["-std=c++11", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"],
};

/// Whether `test` can run here; if not, it is named as skipped.
fn can_run(test: &str, way: Way) -> bool {
    let compiles = Command::new(way.compiler).arg("--version").output().is_ok();
    let needed = Features::MISSING_SHMEM | Features::MINOR_SHMEM;
    let faults = Uffd::open_ready(Reads::NonBlocking, needed, Features::empty()).is_ok();
    if !compiles {
        eprintln!("SKIP {test}: no {}", way.compiler);
    } else if !faults {
        eprintln!("SKIP {test}: no userfaultfd");
    }
    compiles && faults
}

/// Where cargo put the libraries that were built for these tests.
fn libraries() -> PathBuf {
    let own = std::env::current_exe().expect("this test");
    own.parent().expect("a directory").to_owned()
}

fn build(source: &str, way: Way) -> PathBuf {
    let name = source.replace('.', "-");
    let kind = if way.flags.contains(&"-g") { "sanitized" } else { way.compiler };
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{kind}"));
    let built = Command::new(way.compiler)
        .args(way.flags)
        .args(WARNINGS)
        .arg(format!("-I{CRATE}/include"))
        .arg(format!("{CRATE}/tests/c/{source}"))
        .args(["-x", "none"])
        .arg(libraries().join("libbifolio.a"))
        .args(["-lpthread", "-ldl", "-lm", "-lgcc_s", "-o"])
        .arg(&program)
        .output()
        .expect("the compiler runs");
    assert!(built.status.success(), "{source}: {}", String::from_utf8_lossy(&built.stderr));
    program
}

fn run(program: &Path) {
    let ran = Command::new("timeout").arg("120").arg(program).output().expect("it runs");
    let (told, errors) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "{}: {:?}\n{told}{errors}", program.display(), ran.status);
}

fn works(test: &str, source: &str, ways: &[Way]) {
    for way in ways {
        if can_run(test, *way) {
            run(&build(source, *way));
        }
    }
}

macro_rules! programs {
    ($($test:ident: $source:literal;)*) => {$(
        #[test]
        fn $test() {
            works(stringify!($test), $source, &[C, CPP, SANITIZED]);
        }
    )*};
}

programs! {
    model_walks_pointers_of_the_program: "walk.c";
    every_error_is_provoked_and_none_crashes: "errors.c";
    foreign_device_keeps_its_own_memory: "foreign.c";
    model_with_a_tlb_is_told_of_invalidations: "caches.c";
    model_time_is_the_same_in_each_run: "time.c";
    program_serves_faults_itself: "serve.c";
    threads_that_touch_answer: "toucher.c";
    memory_of_the_program_joins_and_leaves: "adopt.c";
}

#[test]
fn objects_close_what_they_own() {
    works("objects_close_what_they_own", "objects.cpp", &[CPP, CPP_SANITIZED]);
}

#[test]
fn recorded_space_has_its_faults_and_evictions_in_the_trace() {
    let test = "recorded_space_has_its_faults_and_evictions_in_the_trace";
    for way in [C, CPP, SANITIZED] {
        if !can_run(test, way) {
            return;
        }
        let program = build("trace.c", way);
        let file = program.with_extension("bifolio");
        let told = text_of(Command::new("timeout").arg("120").arg(&program).arg(&file));
        let told: Vec<u64> = told.split_whitespace().map(|word| word.parse().expect("a number")).collect();
        let trace = Trace::open(&file).expect("a trace");
        let count = |wanted: fn(&Kind) -> bool| trace.events().filter(|event| wanted(&event.kind)).count();
        let faults = count(|kind| matches!(kind, Kind::DeviceFault { .. }));
        let evictions = count(|kind| matches!(kind, Kind::Evicted { .. }));
        assert_eq!(trace.lost(), 0);
        assert_eq!(vec![faults as u64, evictions as u64], told);
        assert!(faults > 0 && evictions > 0);
        assert_eq!((trace.note("device_memory"), trace.note("devices")), (Some("1048576"), Some("1")));
        assert!(trace.note("command").is_some_and(|command| command.contains("trace-c")));
    }
}

/// The names of functions that a header declares.
fn functions(header: &str) -> BTreeSet<&str> {
    let calls = header.match_indices("bf_").filter_map(|(at, _)| {
        let before = header[..at].chars().next_back();
        let name = header[at..].split(|c: char| !(c.is_alphanumeric() || c == '_')).next()?;
        let after = header[at + name.len()..].chars().next();
        (after == Some('(') && matches!(before, Some(' ' | '\n'))).then_some(name)
    });
    calls.collect()
}

/// The header without its comments.
fn declarations() -> String {
    let header = std::fs::read_to_string(format!("{CRATE}/include/bifolio.h")).expect("the header");
    let mut parts = header.split("/*");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + part.split_once("*/").map_or("", |(_, after)| after))
}

/// What cbindgen makes of the code is declared anew after the header was included: the compiler compares each function.
#[test]
fn header_declares_what_the_code_defines() {
    let generated = cbindgen::Builder::new()
        .with_crate(CRATE)
        .with_language(cbindgen::Language::C)
        .with_item_prefix("")
        .with_include(format!("{CRATE}/include/bifolio.h"))
        .with_no_includes()
        .include_item("bf_abi")
        .generate()
        .expect("cbindgen reads the code");
    let mut text = Vec::new();
    generated.write(&mut text);
    let text = String::from_utf8(text).expect("text");
    let prototypes: String = text
        .split("\n\n")
        .filter(|item| item.contains('(') && item.contains("bf_") && !item.contains("typedef"))
        .map(|item| item.to_owned() + "\n")
        .collect();
    assert_eq!(functions(&declarations()), functions(&prototypes), "{prototypes}");
    if !can_run("header_declares_what_the_code_defines", C) {
        return;
    }
    let source = Path::new(env!("CARGO_TARGET_TMPDIR")).join("declared-twice.c");
    let asserts = layouts();
    let whole = format!("#include \"bifolio.h\"\n#include <stdbool.h>\n{prototypes}\n{asserts}\n");
    std::fs::write(&source, whole).expect("written");
    let compiled = Command::new("gcc")
        .args(["-std=c11", "-Werror", "-fsyntax-only"])
        .arg(format!("-I{CRATE}/include"))
        .arg(&source)
        .output()
        .expect("the compiler runs");
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
}

/// Assertions of C that structures have the size and the fields that Rust gives them.
fn layouts() -> String {
    use bifolio::abi::*;
    use std::mem::offset_of;
    let mut text = String::new();
    macro_rules! layout {
        ($($name:ident { $($field:ident),* })*) => {$(
            let size = size_of::<$name>();
            text += &format!("_Static_assert(sizeof({0}) == {size}, \"{0}\");\n", stringify!($name));
            $(
                let (name, field) = (stringify!($name), stringify!($field).trim_start_matches("r#"));
                let at = offset_of!($name, $field);
                text += &format!("_Static_assert(offsetof({name}, {field}) == {at}, \"{name}.{field}\");\n");
            )*
        )*};
    }
    layout! {
        bf_space { id } bf_device { id } bf_port { id }
        bf_grants { size, full_faults, r#move, thread_id }
        bf_space_config { size, flags, bytes, ram_limit }
        bf_where { size, order, va, bytes, device, dirty, pins }
        bf_stats { size, cpu_faults, evictions, failures, violations, invalidations, late_acks }
        bf_map { va, pfn, order, access }
        bf_device_ops { size, copy_in, copy_out, clear, update, used }
        bf_device_config { size, kind, vram, smallest_order, access, link_latency_ps, link_ps_per_kib, ack_limit_ns, ops, user }
        bf_port_config { size, flags, unit, queue }
        bf_translation { size, access, host, va, bytes, pfn, epoch }
        bf_fault { size, access, va, bytes, tag, pasid }
        bf_event { size, kind, tag, seq, va, bytes, due_ps, moved_in, moved_out, result, forced }
    }
    text
}

/// As `scripts/install.sh` links it.
#[test]
fn shared_library_and_its_symbols_have_the_version_of_the_abi() {
    let test = "shared_library_and_its_symbols_have_the_version_of_the_abi";
    if !can_run(test, C) {
        return;
    }
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let library = directory.join(format!("libbifolio.so.{}", bifolio::bf_abi()));
    let script = format!("{CRATE}/../../scripts/link-shared.sh");
    let linked = Command::new(script).arg(libraries().join("libbifolio.a")).arg(&library).output();
    let linked = linked.expect("the script runs");
    assert!(linked.status.success(), "{}", String::from_utf8_lossy(&linked.stderr));
    let symbols =
        text_of(Command::new("nm").args(["-D", "--defined-only", "--with-symbol-versions"]).arg(&library));
    let version = format!("@@BIFOLIO_{}", bifolio::bf_abi());
    let versioned: BTreeSet<&str> = symbols.lines().filter_map(|line| line.strip_suffix(&version)).collect();
    let versioned = versioned.iter().filter_map(|line| line.split_once(" T ")).map(|(_, name)| name);
    let header = declarations();
    assert_eq!(versioned.collect::<BTreeSet<_>>(), functions(&header), "{symbols}");
    let others = symbols.lines().filter(|line| line.contains(" T ") && !line.ends_with(&version));
    assert_eq!(others.count(), 0, "only calls are exported: {symbols}");
    let named = text_of(Command::new("readelf").arg("-d").arg(&library));
    assert!(named.contains(&format!("[libbifolio.so.{}]", bifolio::bf_abi())), "{named}");
}

/// What a command prints.
fn text_of(command: &mut Command) -> String {
    let ran = command.output().expect("it runs");
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    String::from_utf8(ran.stdout).expect("text")
}
