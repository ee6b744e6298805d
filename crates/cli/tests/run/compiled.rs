//! Programs of C in `programs`: run plainly and in too little memory, by this user and by an ordinary one.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::command::skip;

/// Who runs a program.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum User {
    /// The one who tests.
    Own,
    /// One without rights.
    Ordinary,
}

impl User {
    /// The words before a command that this user is to run. A program that hangs is killed.
    fn words(self) -> &'static [&'static str] {
        match self {
            User::Own => &["timeout", "-s", "KILL", "120"],
            User::Ordinary => &[
                "timeout",
                "-s",
                "KILL",
                "120",
                "setpriv",
                "--reuid=65534",
                "--regid=65534",
                "--clear-groups",
            ],
        }
    }

    /// Everyone that this user can become.
    pub fn all(test: &str) -> Vec<User> {
        if Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n") {
            return vec![User::Own, User::Ordinary];
        }
        skip(test, "only root can become an ordinary user");
        vec![User::Own]
    }
}

/// A program, and this command beside it, where every user may run them.
pub struct Compiled {
    pub folder: tempfile::TempDir,
    pub bifolio: PathBuf,
    pub program: PathBuf,
}

impl Compiled {
    /// Compiles `programs/NAME.c`; `None` without a compiler.
    pub fn new(test: &str, name: &str, flags: &[&str]) -> Option<Compiled> {
        let folder = tempfile::tempdir().expect("a folder");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).expect("ours");
        let (program, bifolio) = (folder.path().join(name), folder.path().join("bifolio"));
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/run/programs/{name}.c"));
        let built = Command::new("cc")
            .args(["-O1", "-w", "-pthread", "-o"])
            .args([&program, &source])
            .args(flags)
            .status();
        if !built.is_ok_and(|status| status.success()) {
            skip(test, &format!("there is no C compiler for {name}.c with {flags:?}"));
            return None;
        }
        // Where it was built, another user may not look.
        let ours = Path::new(env!("CARGO_BIN_EXE_bifolio"));
        fs::copy(ours, &bifolio).expect("the command is there");
        let libraries = [ours.with_file_name("deps"), ours.with_file_name("")];
        let libraries = libraries.map(|folder| folder.join("libbifolio_heap.so"));
        let built = |library: &&PathBuf| library.metadata().and_then(|file| file.modified()).ok();
        let library = libraries.iter().max_by_key(built).expect("there are two places");
        fs::copy(library, folder.path().join("libbifolio_heap.so")).expect("of the same build");
        Some(Compiled { folder, bifolio, program })
    }

    /// The program, run plainly.
    pub fn plain(&self, user: User) -> Command {
        let mut command = self.command(user);
        command.arg(&self.program);
        command
    }

    /// The program under `run` with these options. It finds that it is in its environment.
    pub fn managed(&self, user: User, options: &[&str]) -> Command {
        let mut command = self.command(user);
        command.arg(&self.bifolio).args(["run", "--quiet"]).args(options).arg("--").arg(&self.program);
        command.env("MANAGED", "1");
        command
    }

    fn command(&self, user: User) -> Command {
        let (first, rest) = user.words().split_first().expect("words");
        let mut command = Command::new(first);
        command.args(rest).current_dir(self.folder.path()).stdin(Stdio::null());
        command
    }
}

/// Runs a command; `None` where the machine refuses, which is said.
pub fn ran(test: &str, mut command: Command) -> Option<Output> {
    let output = command.output().expect("it can be run");
    if output.status.code() == Some(3) {
        skip(test, &String::from_utf8_lossy(&output.stderr));
        return None;
    }
    Some(output)
}

/// Runs a program plainly and under `run` as each user, and compares what it says and how it ends.
pub fn same_for_each_user(test: &str, (name, flags): (&str, &[&str]), ram: &str, arguments: &[&str]) {
    let Some(program) = Compiled::new(test, name, flags) else { return };
    let lines = |bytes: &[u8]| String::from_utf8_lossy(bytes).lines().map(str::to_owned).collect::<Vec<_>>();
    for user in User::all(test) {
        let plain = program.plain(user).args(arguments).output().expect("it can be run");
        let mut managed = program.managed(user, &["--checked", "--ram", ram, "--vram", "256M"]);
        managed.args(arguments);
        let Some(managed) = ran(test, managed) else { return };
        let said = String::from_utf8_lossy(&managed.stderr).into_owned();
        assert_eq!(lines(&managed.stdout), lines(&plain.stdout), "{name} {arguments:?} {user:?}: {said}");
        assert_eq!(managed.status, plain.status, "{name} {arguments:?} {user:?}: {said}");
    }
}
