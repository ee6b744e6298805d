//! Calls on memory that is away, of which the kernel tells nothing by itself, leave what they leave without Bifolio: guards,
//! what children find, moves of several mappings, locks.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

fn skip(test: &str, why: &str) {
    // Past the test harness, which would hide it.
    writeln!(std::io::stderr(), "SKIP {test}: {why}").expect("standard error is there");
}

/// Runs the program plainly and with a fifth of its memory, as the user that `user` makes of this one.
fn compare(test: &str, user: &[&str]) {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).expect("ours");
    let (program, ours) = (folder.path().join("memory_advice"), folder.path().join("bifolio"));
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs/memory_advice.c");
    let built = Command::new("cc").args(["-O1", "-w", "-o"]).args([&program, &source]).status();
    if !built.is_ok_and(|status| status.success()) {
        return skip(test, "there is no C compiler");
    }
    // Where it was built, another user may not look.
    let built = Path::new(env!("CARGO_BIN_EXE_bifolio"));
    std::fs::copy(built, &ours).expect("the command is there");
    let libraries = [built.with_file_name("deps"), built.with_file_name("")];
    let libraries = libraries.map(|folder| folder.join("libbifolio_heap.so"));
    let library =
        libraries.iter().max_by_key(|library| library.metadata().and_then(|file| file.modified()).ok());
    let library = library.expect("there are two places");
    std::fs::copy(library, folder.path().join("libbifolio_heap.so")).expect("of the same build");
    let as_user = |program: &Path| {
        let words: Vec<_> = user.iter().map(AsRef::as_ref).chain([program.as_os_str()]).collect();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]);
        command
    };
    let Ok(plain) = as_user(&program).output() else { return skip(test, "there is no setpriv") };
    let mut command = as_user(&ours);
    command.args(["run", "--quiet", "--checked", "--ram", "6M", "--vram", "256M", "--"]).arg(&program);
    let managed = command.output().expect("the command is there");
    let said = String::from_utf8_lossy(&managed.stderr).into_owned();
    if managed.status.code() == Some(3) || !plain.status.success() {
        return skip(test, &said);
    }
    let lines = |bytes: &[u8]| String::from_utf8_lossy(bytes).lines().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(lines(&managed.stdout), lines(&plain.stdout), "{said}");
    assert_eq!(managed.status, plain.status, "{said}");
}

#[test]
fn advice_moves_and_locks_leave_what_they_leave_without_bifolio() {
    compare("advice_moves_and_locks_leave_what_they_leave_without_bifolio", &[]);
}

#[test]
fn advice_moves_and_locks_of_an_ordinary_user_leave_the_same() {
    let test = "advice_moves_and_locks_of_an_ordinary_user_leave_the_same";
    if !bifolio_is_run_by_root() {
        return skip(test, "only root can become an ordinary user");
    }
    compare(test, &["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]);
}

fn bifolio_is_run_by_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n")
}
