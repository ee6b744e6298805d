//! The program as a process: started with our library, given the signals that were meant for it, and waited for.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use bifolio_host::gauges::Gauges;
use bifolio_host::in_place::settings::{Settings, VARIABLE};
use bifolio_sys::process;
use bifolio_sys::{SignalInbox, SysError};
use signal_hook::consts::{
    SIGALRM, SIGHUP, SIGINT, SIGPROF, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGVTALRM, SIGWINCH, SIGXFSZ,
};

use super::RunError;
use super::program::Program;

/// Signals that are passed on if a process sent them. Those of the keyboard reach the program anyway.
const PASSED_ON: [i32; 10] =
    [SIGTERM, SIGHUP, SIGINT, SIGQUIT, SIGUSR1, SIGUSR2, SIGALRM, SIGVTALRM, SIGPROF, SIGWINCH];
/// The service is looked after so often; more often until it is known.
const LOOK: Duration = Duration::from_millis(100);
const FIRST_LOOK: Duration = Duration::from_millis(2);
/// The service takes so long at most to see that its program has ended.
const LAST_FIGURES: Duration = Duration::from_secs(5);

/// A program that is to run. Made before anything that a signal might end half-way.
pub struct Runner {
    signals: SignalInbox,
}

impl Runner {
    /// Takes the signals of this process.
    pub fn new() -> Result<Runner, RunError> {
        // Where files may not be long enough, the answer is an error and not the end.
        let all: Vec<i32> = PASSED_ON.into_iter().chain([SIGXFSZ]).collect();
        Ok(Runner { signals: SignalInbox::open(&all).map_err(RunError::Signals)? })
    }

    /// Runs a program to its end.
    pub fn run(
        &self,
        program: &Program,
        arguments: &[OsString],
        settings: &Settings,
        library: PathBuf,
        gauges: &Gauges,
    ) -> Result<ExitStatus, RunError> {
        let failed = |source| RunError::Start { path: program.path.clone(), source };
        let spawned = self.signals.spawn(&mut command(program, arguments, settings, library));
        let child = spawned.map_err(|source| match source.kind() {
            io::ErrorKind::WouldBlock => RunError::Processes { path: program.path.clone(), source },
            _ => failed(source),
        })?;
        let ended = process::watch_end(child.id()).map_err(|error| {
            process::kill_now(child.id());
            RunError::Watch(error)
        })?;
        let status = self.wait(child.id(), &ended, gauges).map_err(failed)?;
        wait_for_last_figures(gauges);
        Ok(status)
    }

    /// Waits for the program, passes signals on, and ends it if it lost its service.
    fn wait(&self, program: u32, ended: &OwnedFd, gauges: &Gauges) -> io::Result<ExitStatus> {
        let mut service = None;
        let mut kept = Kept::default();
        loop {
            let look = if kept.0.is_some() { LOOK } else { FIRST_LOOK };
            let [signal, _] = process::wait_readable([self.signals.as_fd(), ended.as_fd()], Some(look))?;
            while let Some(arrived) = self.signals.read()?.filter(|_| signal) {
                if arrived.sent && PASSED_ON.contains(&arrived.signal) {
                    // A program that is gone needs no signal any more.
                    let _: Result<(), SysError> = process::send_signal(program, arrived.signal);
                }
            }
            service = service.or_else(|| gauges.service());
            kept.follow(service, gauges);
            // Each program that a process runs in turn has had a service: all of them are our children.
            while let Some((pid, status)) = process::reap_any() {
                if pid == program {
                    return Ok(status);
                }
                let named = gauges.service();
                let current = [service, named].contains(&Some(pid));
                // The program may run another one by now, which has a service of its own.
                service = service.filter(|followed| *followed != pid).or(named.filter(|now| *now != pid));
                if current && !status.success() {
                    if gauges.read().failure.is_none() {
                        gauges.set_failure("the service process ended before its program");
                    }
                    process::kill_now(program);
                }
            }
        }
    }
}

/// The userfaultfd of the service, and which service that is. While it is open here, a service that ends before its program
/// leaves threads waiting where they touch memory that is away; they would find zeros.
#[derive(Default)]
struct Kept(Option<(u32, Option<OwnedFd>)>);

impl Kept {
    fn follow(&mut self, service: Option<u32>, gauges: &Gauges) {
        // A service that is done waits for the last descriptor to close: the kernel tells it of memory that it unmaps itself.
        if self.0.as_ref().is_some_and(|(kept, _)| gauges.userfaultfd_of(*kept).is_none()) {
            self.0 = None;
        }
        let Some(service) = service.filter(|now| self.0.as_ref().is_none_or(|(kept, _)| kept != now)) else {
            return;
        };
        if let Some(number) = gauges.userfaultfd_of(service) {
            // Where it may not be had, the program goes on for a moment.
            self.0 = Some((service, process::copy_descriptor(service, number).ok()));
        }
    }
}

/// Waits for the last figures.
fn wait_for_last_figures(gauges: &Gauges) {
    let start = Instant::now();
    while let Some(service) = gauges.service().filter(|_| start.elapsed() < LAST_FIGURES) {
        if process::reap(service) {
            break;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn command(program: &Program, arguments: &[OsString], settings: &Settings, library: PathBuf) -> Command {
    let mut preload = library.into_os_string();
    if let Some(others) = std::env::var_os("LD_PRELOAD").filter(|others| !others.is_empty()) {
        preload.push(":");
        preload.push(others);
    }
    let mut command = Command::new(&program.path);
    command.arg0(&program.name).args(&program.arguments).args(arguments);
    command.env("LD_PRELOAD", preload).env(VARIABLE, settings.to_string());
    command
}
