//! Debuggers find every byte of a program.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::FileExt;
use std::process::{Command, Stdio};

use object::Endianness;
use object::elf::{FileHeader64, ProgramHeader64};
use object::read::elf::{FileHeader, ProgramHeader};

use crate::command::{bifolio, run, said, skip};
use crate::compiled::{Compiled, User};

/// Fills 64 MiB with the number of each page, says where they are, and waits for a line.
const NUMBERED_PAGES: &str = "
import ctypes, os
pages = bytearray(64 << 20)
for page in range(len(pages) >> 12):
    pages[page << 12:(page << 12) + 8] = page.to_bytes(8, 'little')
print(os.getpid(), ctypes.addressof(ctypes.c_char.from_buffer(pages)), flush=True)
input()
";

/// Pages of the program that a debugger would not read as they are.
fn pages_not_read(pid: &str, address: u64) -> usize {
    let memory = std::fs::File::open(format!("/proc/{pid}/mem")).expect("our own child");
    let is_read = |page: u64| {
        let mut number = [0; 8];
        memory.read_exact_at(&mut number, address + page * 4096).is_ok() && number == page.to_le_bytes()
    };
    (0..64 << 8).filter(|page| !is_read(*page)).count()
}

#[test]
fn home_makes_every_byte_readable_for_a_debugger() {
    let test = "home_makes_every_byte_readable_for_a_debugger";
    if run(test, &["--quiet"], &["python3", "-c", ""]).is_none() {
        return;
    }
    let mut command = bifolio();
    command.args(["run", "--quiet", "--ram", "16M", "--", "python3", "-c", NUMBERED_PAGES]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it can be run");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("a line");
    let (pid, address) = line.trim().split_once(' ').expect("two numbers");
    let address = address.parse().expect("a number");
    assert!(pages_not_read(pid, address) > 0, "some of 64 MiB is away");
    let mut stats = said(&["stats", "--json", pid]);
    for _ in 0..100 {
        // What is away is measured at times.
        if stats["away"].as_u64() > Some(16 << 20) {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
        stats = said(&["stats", "--json", pid]);
    }
    assert!(stats["away"].as_u64() > Some(16 << 20), "{stats}");
    assert!(stats["bytes"]["to_device"].as_u64() >= stats["away"].as_u64(), "{stats}");
    assert!(stats["seconds"]["total"].as_f64() > Some(0.0), "{stats}");
    let ours = bifolio().args(["stats", &std::process::id().to_string()]).status().expect("it can be run");
    assert_eq!(ours.code(), Some(2), "this process was not started by run");
    let home = |args: &[&str]| bifolio().arg("home").args(args).status().expect("it can be run").code();
    assert_eq!((home(&[pid]), pages_not_read(pid, address)), (Some(0), 0));
    assert_eq!(home(&["--end", pid]), Some(0));
    assert_eq!(home(&[&std::process::id().to_string()]), Some(2), "this process was not started by run");
    drop(child.stdin.take().map(|mut input| input.write_all(b"\n")));
    assert_eq!(child.wait().expect("our child").code(), Some(0));
}

/// What a core dump has of numbered pages: how many are not as they were.
fn pages_not_dumped(core: &[u8], address: u64, pages: u64) -> u64 {
    let header = FileHeader64::<Endianness>::parse(core).expect("a core dump");
    let endian = header.endian().expect("of this machine");
    let segments = header.program_headers(endian, core).expect("not cut");
    let word = |at: u64| {
        let holds = |segment: &&ProgramHeader64<Endianness>| {
            let start = segment.p_vaddr(endian);
            (start..start + segment.p_filesz(endian)).contains(&at)
        };
        let segment = segments.iter().find(holds)?;
        let from = usize::try_from(at - segment.p_vaddr(endian)).ok()?;
        let bytes = segment.data(endian, core).ok()?.get(from..from + 8)?;
        Some(u64::from_le_bytes(bytes.try_into().expect("8 bytes")))
    };
    (0..pages).filter(|page| word(address + page * 4096) != Some(page + 1)).count() as u64
}

#[test]
fn core_dump_is_the_programs_and_has_every_byte() {
    let test = "core_dump_is_the_programs_and_has_every_byte";
    let pattern = std::fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap_or_default();
    if !pattern.starts_with("core") {
        return skip(test, &format!("core dumps go to {pattern}"));
    }
    let Some(program) = Compiled::new(test, "dumped", &[]) else { return };
    let dump = |command: Command, how| {
        let words = [command.get_program()].into_iter().chain(command.get_args());
        let mut shell = Command::new("sh");
        shell.args(["-c", "ulimit -c unlimited && exec \"$@\"", "sh"]).args(words).arg(how);
        let output = shell.current_dir(program.folder.path()).output().expect("a shell");
        let is_core = |entry: &std::fs::DirEntry| {
            entry.file_name().to_string_lossy().starts_with("core.") || entry.file_name() == "core"
        };
        let entries = std::fs::read_dir(program.folder.path()).expect("ours");
        let mut cores: Vec<_> =
            entries.filter_map(Result::ok).filter(is_core).map(|entry| entry.path()).collect();
        assert!(cores.len() <= 1, "{cores:?}");
        let core =
            cores.pop().map(|path| (std::fs::read(&path).expect("ours"), std::fs::remove_file(path)).0);
        (output, core)
    };
    for (user, how) in User::all(test)
        .into_iter()
        .flat_map(|user| ["abort", "store", "quit", "thread"].map(|how| (user, how)))
    {
        let (_, Some(plain)) = dump(program.plain(user), how) else {
            return skip(test, "this system writes no core dumps here");
        };
        let (output, core) = dump(program.managed(user, &["--ram", "6M", "--vram", "1G"]), how);
        if output.status.code() == Some(3) {
            return skip(test, &String::from_utf8_lossy(&output.stderr));
        }
        let core = core.expect("as without Bifolio");
        let address = String::from_utf8_lossy(&output.stdout).trim().trim_start_matches("0x").to_owned();
        let address = u64::from_str_radix(&address, 16).expect("a number");
        assert_eq!(pages_not_dumped(&core, address, 8192), 0, "{how} {user:?}");
        assert!(
            core.len() < plain.len() + (24 << 20),
            "{} bytes, {} without Bifolio",
            core.len(),
            plain.len()
        );
    }
}

/// Fills memory, says where it is, and does what it is told: forks a child that looks at all of it, or replaces itself.
const TOLD: &str = "
import ctypes, os, sys
pages = bytearray(64 << 20)
for page in range(len(pages) >> 12):
    pages[page << 12:(page << 12) + 8] = page.to_bytes(8, 'little')
def wrong():
    return sum(pages[page << 12:(page << 12) + 8] != page.to_bytes(8, 'little') for page in range(len(pages) >> 12))
print(os.getpid(), ctypes.addressof(ctypes.c_char.from_buffer(pages)), flush=True)
for line in sys.stdin:
    if line == 'fork\\n':
        child = os.fork()
        if child == 0: os._exit(wrong() > 0)
        print(os.waitpid(child, 0)[1], flush=True)
    if line == 'exec\\n': os.execv(sys.executable, [sys.executable, '-c', sys.argv[1], sys.argv[1]])
    if line == 'end\\n': sys.exit(wrong() > 0)
";

#[test]
fn memory_stays_home_across_forks_and_replaced_programs() {
    let test = "memory_stays_home_across_forks_and_replaced_programs";
    if run(test, &["--quiet"], &["python3", "-c", ""]).is_none() {
        return;
    }
    let mut command = bifolio();
    command.args(["run", "--quiet", "--ram", "16M", "--", "python3", "-c", TOLD, TOLD]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it can be run");
    let mut input = child.stdin.take().expect("piped");
    let mut output = BufReader::new(child.stdout.take().expect("piped"));
    let mut line = || {
        let mut line = String::new();
        output.read_line(&mut line).expect("a line");
        line.trim().to_owned()
    };
    let mut tell = |what: &[u8]| input.write_all(what).expect("it reads");
    let place = |line: &str| {
        let (pid, address) = line.split_once(' ').expect("two numbers");
        (pid.to_owned(), address.parse().expect("a number"))
    };
    let home = |args: &[&str]| bifolio().arg("home").args(args).status().expect("it can be run").code();
    let (pid, address) = place(&line());
    assert!(pages_not_read(&pid, address) > 0, "some of 64 MiB is away");
    assert_eq!((home(&[&pid]), pages_not_read(&pid, address)), (Some(0), 0));
    tell(b"fork\n");
    assert_eq!((line().as_str(), pages_not_read(&pid, address)), ("0", 0));
    tell(b"exec\n");
    let (same, address) = place(&line());
    assert_eq!((&same, pages_not_read(&pid, address)), (&pid, 0));
    assert_eq!(home(&["--end", &pid]), Some(0));
    tell(b"exec\n");
    let (_, address) = place(&line());
    assert!(pages_not_read(&pid, address) > 0, "managed again");
    tell(b"fork\n");
    assert_eq!((home(&[&pid]), line().as_str(), pages_not_read(&pid, address)), (Some(0), "0", 0));
    tell(b"end\n");
    assert_eq!(child.wait().expect("our child").code(), Some(0));
}
