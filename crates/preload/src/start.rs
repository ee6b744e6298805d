//! From nothing to a service that waits for faults, before the program's `main`.
//!
//! ```text
//!   program   environment -> counters -> a page that tells it from its children -> clone -> wait for "ready"
//!   service   close what was inherited -> userfaultfds, store, engine -> "ready" -> serve
//! ```

use std::fs::File;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd};
use std::sync::OnceLock;
use std::time::Duration;

use bifolio_host::SetupError;
use bifolio_host::gauges::{GaugeError, Gauges};
use bifolio_host::in_place::settings::Settings;
use bifolio_host::in_place::{Control, Helper, Service, ServiceConfig};
use bifolio_sys::process::{self, Schedule};
use bifolio_sys::sibling::{self, Descriptors, SiblingError};
use bifolio_sys::{AddressRange, MapError, Memfd, ProgramMemory, SysError};

use crate::call_sites;
use crate::dispatch::{gate, ready};
use crate::environment;
use crate::fork;
use crate::image::Image;
use crate::original;
use crate::own;
use crate::signals;
use crate::thread;
use crate::tls::{self, NoVariables};

/// Exit code where the machine refuses what Bifolio cannot do without: that of the command.
const REFUSED: i32 = 3;
/// Bytes that the service needs for each page of the store at most, and beyond that.
const BYTES_A_PAGE: usize = 160;
const BYTES_ANYWAY: usize = 8 << 20;
/// Bytes that a policy remembers for each page of the memory that it governs, at most.
const BYTES_A_PAGE_OF_RAM: usize = 24;
/// Address space for lists of as many mappings as a program can have: then there are none for large blocks.
const BYTES_OF_LISTS: usize = 32 << 20;
/// Addresses for what is mapped later: so many bytes, and one part of what the program may have in so many at most.
const ADDRESSES: usize = 256 << 20;
const ADDRESSES_PART: usize = 16;
/// A service that is not ready yet is looked at that often.
const LOOK: Duration = Duration::from_millis(200);
/// The shortest that there is: threads of the program wait for the service, and its turns are short.
const TIME_SLICE: Duration = Duration::from_micros(100);

/// Why there is no service for this program.
#[derive(Debug, thiserror::Error)]
enum StartError {
    #[error(transparent)]
    Tls(#[from] NoVariables),
    #[error("loader of programs does not know the library")]
    NoImage,
    #[error("counters of `bifolio run` cannot be opened")]
    Counters(#[from] std::io::Error),
    #[error("counters of `bifolio run` cannot be mapped")]
    Gauges(#[from] GaugeError),
    #[error("no memory")]
    Map(#[from] MapError),
    #[error("no address space for the records of {} MiB of device memory", .0 >> 20)]
    Records(usize),
    #[error(transparent)]
    Sibling(#[from] SiblingError),
    #[error("{0}")]
    Service(String),
    #[error("service process ended before it was ready")]
    Ended,
    #[error("call sites cannot be recorded: system calls do not trap on this machine")]
    CallSites,
    #[error("only faults of user mode are caught here, and system calls cannot be made to wait for memory")]
    Dispatch,
}

/// What the program and the service tell each other.
pub(crate) static CONTROL: Control = Control::new();

/// What the service asks its helper.
static HELPER: Helper = Helper::new();

/// What the command reports.
static GAUGES: OnceLock<Gauges> = OnceLock::new();

/// What the service is given.
struct StartUp {
    settings: Settings,
    gauges: Gauges,
    program: u32,
    own: Vec<AddressRange>,
}

/// Puts the program's memory under management if `bifolio run` asks for it. Called once, before `main`.
///
/// If that is impossible, the program ends with a message: running it otherwise is not what was asked for.
pub fn start() {
    let image = Image::find();
    let started = tls::prepare(&image).map_err(StartError::from).and_then(|()| {
        let Some(settings) = Settings::from_env() else { return Ok(()) };
        start_service(settings, &image)
    });
    if let Err(error) = started {
        say(&format!("bifolio: {}\n", describe(&error)));
        // SAFETY: ends the process before it did anything.
        unsafe { libc::_exit(REFUSED) };
    }
}

fn start_service(settings: Settings, image: &Image) -> Result<(), StartError> {
    gate::set_code(&image.code);
    environment::clean(&settings);
    std::panic::set_hook(Box::new(|info| fail(&format!("{info}"))));
    let gauges = gauges(&settings)?;
    let marker = original::become_original()?;
    let own = vec![marker, image.pages().ok_or(StartError::NoImage)?];
    let [ram, vram] = [settings.ram, settings.vram].map(|bytes| bytes / bifolio_sys::PAGE);
    let records = vram * BYTES_A_PAGE + ram * BYTES_A_PAGE_OF_RAM;
    own::reserve(records + BYTES_ANYWAY + BYTES_OF_LISTS).map_err(|()| StartError::Records(settings.vram))?;
    keep_addresses();
    let program = process::pid();
    thread::become_known();
    let told = GAUGES.get_or_init(|| gauges.clone());
    let start_up = Box::new(StartUp { settings, gauges, program, own });
    let argument = Box::into_raw(start_up).expose_provenance();
    // SAFETY: the service keeps to the rules of this crate, and ends itself.
    let service = unsafe { sibling::start(serve, argument, Descriptors::Copied) }?.pid;
    told.set_service(service);
    CONTROL.wait_until_ready(LOOK, || process::exists(service)).map_err(|reason| match reason {
        Some(reason) => StartError::Service(reason),
        None => StartError::Ended,
    })?;
    process::end_with_parent();
    fork::register();
    signals::prepare();
    if CONTROL.is_user_mode() && !thread::arm() {
        return Err(StartError::Dispatch);
    }
    if told.call_sites().is_some() && !call_sites::begin(service) {
        return Err(StartError::CallSites);
    }
    Ok(())
}

/// What the command reads of this run.
pub(crate) fn gauges_of_run() -> Option<&'static Gauges> {
    GAUGES.get()
}

/// The gauges, which are the command's: by the descriptor that came with the program, else by that of its parent.
fn gauges(settings: &Settings) -> Result<Gauges, StartError> {
    // SAFETY: it is asked whether there is such a descriptor, and it is closed only if it is what the command passed on.
    if unsafe { libc::fcntl(settings.counters, libc::F_GETFD) } >= 0 {
        // SAFETY: the descriptor is open.
        let inherited = unsafe { BorrowedFd::borrow_raw(settings.counters) };
        let copy = Memfd::from(inherited.try_clone_to_owned()?);
        if let Ok(gauges) = Gauges::open_known(&copy, settings.nonce) {
            // SAFETY: it is the command's, which the program knows nothing of.
            drop(unsafe { OwnedFd::from_raw_fd(settings.counters) });
            return Ok(gauges);
        }
    }
    let file = File::options().read(true).write(true).open(settings.counters_of_parent()?)?;
    Ok(Gauges::open_known(&Memfd::from(OwnedFd::from(file)), settings.nonce)?)
}

/// Keeps addresses for what the service will map later. Without them, it maps where the kernel likes.
fn keep_addresses() {
    let limit =
        process::address_space_limit().map_or(usize::MAX, |limit| limit.try_into().unwrap_or(usize::MAX));
    let len = ADDRESSES.min(limit / ADDRESSES_PART) & !(bifolio_sys::PAGE - 1);
    let _: Result<(), MapError> = bifolio_sys::apart::keep(len);
}

extern "C" fn serve(argument: usize) -> ! {
    let start_up: *mut StartUp = std::ptr::with_exposed_provenance_mut(argument);
    // SAFETY: made from a box for this process alone.
    let start_up = unsafe { Box::from_raw(start_up) };
    match open(*start_up) {
        Ok(mut service) => service.run(),
        Err(error) => CONTROL.say_failed(&describe(&error)),
    }
    process::exit_now(0)
}

#[derive(Debug, thiserror::Error)]
enum OpenError {
    #[error("no service process of its own")]
    Detach(#[from] SysError),
    #[error(transparent)]
    Setup(#[from] SetupError),
}

fn open(start_up: StartUp) -> Result<Service, OpenError> {
    // SAFETY: no descriptor was opened in this process yet.
    unsafe { process::detach_sibling("bifolio-serve") }?;
    // Without it the service runs later where many threads want the processor.
    let _: Result<(), SysError> =
        Schedule::get(0).and_then(|schedule| schedule.with_time_slice(TIME_SLICE).set(0));
    let StartUp { settings, gauges, program, own } = start_up;
    // SAFETY: ranges of ours are excluded by `own`, or are no private memory.
    let memory = unsafe { ProgramMemory::take() };
    Ok(Service::new(ServiceConfig {
        ram: settings.ram,
        vram: settings.vram,
        pool: settings.pool,
        policy: settings.policy,
        reset: settings.reset,
        checked: settings.checked,
        gauges,
        program,
        memory,
        own,
        control: &CONTROL,
        helper: (&HELPER, start_helper),
        hold_call: ready::hold_call,
        spawning: gate::spawning(),
    })?)
}

/// Called by the service. Returns the helper's memory.
fn start_helper() -> Option<[AddressRange; 2]> {
    // SAFETY: as for the service. Without it, pages stay where they are.
    let helper = unsafe { sibling::start(help, 0, Descriptors::Copied) };
    helper.ok().map(|helper| helper.memory)
}

extern "C" fn help(_: usize) -> ! {
    // SAFETY: it uses no descriptor.
    if unsafe { process::detach_sibling("bifolio-help") }.is_ok() {
        // SAFETY: it writes to pages of the program, and changes no byte.
        HELPER.run(&unsafe { ProgramMemory::take() });
    }
    process::exit_now(0)
}

/// Ends everything because of a fault of ours: bytes may be out of the program's reach.
fn fail(what: &str) -> ! {
    // The service has no standard error: the command says why.
    if let Some(gauges) = GAUGES.get() {
        gauges.set_failure(what);
    }
    CONTROL.say_failed(what);
    process::kill_now(CONTROL.program());
    process::exit_now(REFUSED)
}

fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// Writes to standard error at one stroke, without allocating.
pub(crate) fn say(text: &str) {
    // SAFETY: the text is readable. If nothing reads what is written, there is nothing to tell.
    let _: libc::ssize_t = unsafe { libc::write(libc::STDERR_FILENO, text.as_ptr().cast(), text.len()) };
}
