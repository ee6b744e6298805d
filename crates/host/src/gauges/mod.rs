//! What a process that moves memory shares with the commands that look at it: a file in memory that only its user can open.
//!
//! ```text
//!   page 0   counters      `Statistics`
//!   page 1   gauges        what is where, and what is wished     outside   why memory is not managed
//!   page 2   heat          which 2 MiB moved most                wish      what is asked of the process
//!   ...      events        of a program's run that is recorded; behind them its call sites, if they are
//! ```
//!
//! The process is the service beside a program of `bifolio run`, or `bifolio demo` itself. It has a descriptor of the file,
//! or its parent has one: there it is found.

use std::path::Path;
use std::sync::Arc;
use std::{fs, io};

use bifolio_engine::Statistics;
use bifolio_engine::node::NODES_MAX;
use bifolio_policy::PolicyName;
use bifolio_sys::{MapError, Mapping, Memfd, PAGE, Placement, Protection, SysError};
use bifolio_trace::SharedQueue;

mod heat;
mod outside;
mod wish;

pub use heat::{Heat, HotBlock};
pub use outside::Outside;
pub use wish::Wish;

/// Name of the file.
const FILE_NAME: &str = "bifolio-counters";
/// Bytes of the file, without events, with them, and with call sites.
const LEN: usize = 3 * PAGE;
/// Where the heat begins.
const HEAT: usize = 2 * PAGE;
const LEN_EVENTS: usize = LEN + SharedQueue::LEN;
const LEN_CALL_SITES: usize = LEN_EVENTS + SharedQueue::LEN;
/// Words of the second page.
const NONCE: usize = 0;
const MANAGED_PEAK: usize = 8;
const OUTSIDE_PEAK: usize = 16;
/// What the command wants, counted up: odd, everything at home; even, not.
const WANTED: usize = 24;
const FORKS: usize = 32;
const SERVICE: usize = 40;
/// The last wish that the service has fulfilled.
const FULFILLED: usize = 48;
/// The service's userfaultfd: its number, and whose it is.
const USERFAULTFD: usize = 56;
const REASON_LEN: usize = 64;
const REASON: usize = 72;
const REASON_MOST: usize = 1024;
/// Peaks of memory outside, for each reason.
const BY_REASON: usize = 2048;
const RESIDENT: usize = 3072;
const AWAY: usize = 3080;
const RAM: usize = 3088;
/// The number of the policy and 1; 0 for none that has a name.
const POLICY: usize = 3096;
/// 1 if a job of `bifolio demo` has this file.
const JOB: usize = 3104;
/// Size and use of the memory of each device.
const DEVICES: usize = 3200;
const _: () = assert!(DEVICES + NODES_MAX * 16 <= wish::FIRST);

/// See the module.
#[derive(Clone)]
pub struct Gauges {
    page: Arc<Mapping>,
    statistics: Statistics,
    heat: Heat,
    events: Option<SharedQueue>,
    call_sites: Option<SharedQueue>,
}

/// The queues that gauges have for what is recorded of a program's run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Queues {
    /// No queue: nothing is recorded.
    None,
    /// What happens to its memory.
    Events,
    /// Also where the program allocates and touches it.
    CallSites,
}

/// The memory of a device, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeviceGauge {
    /// All of it.
    pub size: u64,
    /// What is used of it.
    pub used: u64,
}

/// What the gauges say. Sizes are in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GaugeReading {
    /// What is managed and resident, as last measured.
    pub resident: u64,
    /// What is away, as last measured.
    pub away: u64,
    /// Most that may be resident; `None`: no limit.
    pub ram: Option<u64>,
    /// The memory of each device, as last measured.
    pub devices: Vec<DeviceGauge>,
    /// Whether this is a job of `bifolio demo`, and no program that `bifolio run` started.
    pub is_job: bool,
    /// The policy, if it has a name.
    pub policy: Option<PolicyName>,
    /// The most that was managed at once: resident and away.
    pub managed_peak: u64,
    /// The most private memory that was not.
    pub outside_peak: u64,
    /// The most of it for each reason, in the order of [`Outside::ALL`].
    pub outside: [u64; Outside::ALL.len()],
    /// Forks while memory was away or registered.
    pub forks: u64,
    /// Why the service failed, if it did.
    pub failure: Option<String>,
}

/// Whether a descriptor below `/proc` is that of gauges.
///
/// # Errors
/// If the descriptor is closed, or belongs to another user's process.
pub fn is_gauges(descriptor: &Path) -> io::Result<bool> {
    let name = fs::read_link(descriptor)?;
    let memfd = name.to_str().and_then(|name| name.strip_prefix("/memfd:"));
    Ok(memfd.is_some_and(|name| name.starts_with(FILE_NAME)))
}

impl Gauges {
    /// Makes the file, which only this user may open, and returns it as well. Programs that this process starts inherit its
    /// descriptor. If there are `queues`, the service tells its [events](Gauges::events).
    ///
    /// # Errors
    /// Without descriptors or memory, or where files may not be that large.
    pub fn create(nonce: u64, queues: Queues) -> Result<(Memfd, Gauges), GaugeError> {
        let len = match queues {
            Queues::None => LEN,
            Queues::Events => LEN_EVENTS,
            Queues::CallSites => LEN_CALL_SITES,
        };
        let file = Memfd::create(FILE_NAME, len)?;
        file.inheritable()?;
        file.keep_private()?;
        let gauges = Gauges::open(&file)?;
        gauges.set(NONCE, nonce);
        Ok((file, gauges))
    }

    /// Opens it, if it is the one with this nonce. Its descriptor is not needed any more then.
    ///
    /// # Errors
    /// If it is another, or cannot be mapped.
    pub fn open_known(file: &Memfd, nonce: u64) -> Result<Gauges, GaugeError> {
        let gauges = Gauges::open_found(file)?;
        if gauges.get(NONCE) == nonce { Ok(gauges) } else { Err(GaugeError::Other) }
    }

    /// Opens the file of another process's gauges, without their nonce.
    ///
    /// # Errors
    /// If it is too short for gauges, or cannot be mapped.
    pub fn open_found(file: &Memfd) -> Result<Gauges, GaugeError> {
        if ![LEN, LEN_EVENTS, LEN_CALL_SITES].contains(&usize::try_from(file.len()?).unwrap_or(0)) {
            return Err(GaugeError::Other);
        }
        Gauges::open(file)
    }

    fn open(file: &Memfd) -> Result<Gauges, GaugeError> {
        let statistics = Statistics::shared(file)?;
        let page = Mapping::shared(file, PAGE, PAGE, Protection::ReadWrite, Placement::Anywhere)?;
        let heat = Heat::open(file, HEAT)?;
        let len = file.len()?;
        let queue = |at: usize| (len > at as u64).then(|| SharedQueue::open(file, at)).transpose();
        let (events, call_sites) = (queue(LEN)?, queue(LEN_EVENTS)?);
        Ok(Gauges { page: Arc::new(page), statistics, heat, events, call_sites })
    }

    /// The counters.
    #[must_use]
    pub fn statistics(&self) -> &Statistics {
        &self.statistics
    }

    /// Which memory moved most.
    #[must_use]
    pub fn heat(&self) -> &Heat {
        &self.heat
    }

    /// Where the service tells its events, if the run is recorded.
    #[must_use]
    pub fn events(&self) -> Option<&SharedQueue> {
        self.events.as_ref()
    }

    /// Where threads of the program tell where they allocate, if that is recorded.
    #[must_use]
    pub fn call_sites(&self) -> Option<&SharedQueue> {
        self.call_sites.as_ref()
    }

    /// Says how large the memories are: the limit of system memory, if there is one, and each device.
    pub fn see_sizes(&self, ram: Option<u64>, devices: impl IntoIterator<Item = u64>) {
        self.set(RAM, ram.unwrap_or(0));
        for (number, size) in devices.into_iter().take(NODES_MAX).enumerate() {
            self.set(DEVICES + number * 16, size);
        }
    }

    /// Says how much of each device is used.
    pub fn see_used(&self, devices: impl IntoIterator<Item = u64>) {
        for (number, used) in devices.into_iter().take(NODES_MAX).enumerate() {
            self.set(DEVICES + number * 16 + 8, used);
        }
    }

    /// Says that a job of `bifolio demo` has this file.
    pub fn see_job(&self) {
        self.set(JOB, 1);
    }

    /// Says which policy decides.
    pub fn see_policy(&self, name: PolicyName) {
        self.set(POLICY, u64::from(name.number()) + 1);
    }

    fn device(&self, number: usize) -> DeviceGauge {
        let at = DEVICES + number * 16;
        DeviceGauge { size: self.get(at), used: self.get(at + 8) }
    }

    fn policy_at(&self, word: usize) -> Option<PolicyName> {
        let number = self.get(word).checked_sub(1)?;
        u8::try_from(number).ok().and_then(PolicyName::of_number)
    }

    /// Says how much is managed, resident and away, and raises the peak.
    pub fn see_managed(&self, resident: u64, away: u64) {
        self.set(RESIDENT, resident);
        self.set(AWAY, away);
        self.raise(MANAGED_PEAK, resident + away);
    }

    /// Raises the peaks of memory outside, given for each reason.
    pub(crate) fn see_outside(&self, bytes: &[u64; Outside::ALL.len()]) {
        self.raise(OUTSIDE_PEAK, bytes.iter().sum());
        for (reason, bytes) in Outside::ALL.into_iter().zip(bytes) {
            self.raise(BY_REASON + 8 * reason as usize, *bytes);
        }
    }

    /// Says which process serves.
    pub fn set_service(&self, pid: u32) {
        self.set(SERVICE, u64::from(pid));
    }

    /// The process that serves; `None` before it runs.
    #[must_use]
    pub fn service(&self) -> Option<u32> {
        u32::try_from(self.get(SERVICE)).ok().filter(|pid| *pid != 0)
    }

    /// Says which descriptor of this process, the service, is the program's userfaultfd.
    pub(crate) fn set_userfaultfd(&self, number: i32) {
        let number = u64::from(number.unsigned_abs());
        self.set(USERFAULTFD, u64::from(bifolio_sys::process::pid()) << 32 | number);
    }

    /// Says that this process, a service, is done: no descriptor need be kept for its sake.
    pub(crate) fn forget_userfaultfd(&self) {
        if self.userfaultfd_of(bifolio_sys::process::pid()).is_some() {
            self.set(USERFAULTFD, 0);
        }
    }

    /// Which descriptor of process `service` is the program's userfaultfd; `None` before it has one.
    #[must_use]
    pub fn userfaultfd_of(&self, service: u32) -> Option<i32> {
        let word = self.get(USERFAULTFD);
        (word >> 32 == u64::from(service)).then(|| i32::try_from(word & 0xffff_ffff).ok())?
    }

    /// Counts a fork.
    pub(crate) fn see_fork(&self) {
        self.set(FORKS, self.get(FORKS) + 1);
    }

    /// Says why the service failed.
    pub fn set_failure(&self, reason: &str) {
        let text = &reason.as_bytes()[..reason.len().min(REASON_MOST)];
        let room = self.page.bytes(REASON, text.len()).expect("within the page");
        room.write_from(text).expect("both have the same length");
        self.set(REASON_LEN, text.len() as u64);
    }

    /// Asks the service to bring everything home and leave it there, or to go on.
    pub fn ask_home(&self, home: bool) {
        let last = self.get(WANTED);
        let step = if (last % 2 == 1) == home { 2 } else { 1 };
        self.set(WANTED, last + step);
    }

    /// The wish that everything be at home, if there is one; for [`Gauges::say_home`].
    pub(crate) fn home_wanted(&self) -> Option<u64> {
        Some(self.get(WANTED)).filter(|wish| wish % 2 == 1)
    }

    /// Says that everything is at home now, as was wished.
    pub(crate) fn say_home(&self, wish: u64) {
        self.set(FULFILLED, wish);
    }

    /// Tells whether everything that was asked home is there.
    #[must_use]
    pub fn is_home(&self) -> bool {
        self.home_wanted() == Some(self.get(FULFILLED))
    }

    /// Reads the gauges.
    #[must_use]
    pub fn read(&self) -> GaugeReading {
        let len = usize::try_from(self.get(REASON_LEN)).unwrap_or(0).min(REASON_MOST);
        let mut text = vec![0; len];
        let failure = self.page.bytes(REASON, len).ok().and_then(|bytes| bytes.read_into(&mut text).ok());
        let failure = failure.filter(|()| len > 0).map(|()| String::from_utf8_lossy(&text).into_owned());
        GaugeReading {
            resident: self.get(RESIDENT),
            away: self.get(AWAY),
            ram: Some(self.get(RAM)).filter(|ram| *ram != 0),
            devices: (0..NODES_MAX)
                .map(|number| self.device(number))
                .take_while(|gauge| gauge.size > 0)
                .collect(),
            is_job: self.get(JOB) == 1,
            policy: self.policy_at(POLICY),
            managed_peak: self.get(MANAGED_PEAK),
            outside_peak: self.get(OUTSIDE_PEAK),
            outside: Outside::ALL.map(|reason| self.get(BY_REASON + 8 * reason as usize)),
            forks: self.get(FORKS),
            failure,
        }
    }

    fn raise(&self, word: usize, value: u64) {
        if value > self.get(word) {
            self.set(word, value);
        }
    }

    fn get(&self, word: usize) -> u64 {
        self.page.all().load_u64(word).expect("a word of the page")
    }

    fn set(&self, word: usize, value: u64) {
        self.page.all().store_u64(word, value).expect("a word of the page");
    }
}

/// Why the file cannot be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GaugeError {
    /// The kernel refused.
    #[error(transparent)]
    Kernel(#[from] SysError),
    /// It cannot be mapped.
    #[error(transparent)]
    Map(#[from] MapError),
    /// It is another file.
    #[error("counters of another program")]
    Other,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_see_the_same_peaks() {
        let (file, command) = Gauges::create(7, Queues::None).expect("memory");
        let service = Gauges::open_known(&file, 7).expect("the same file");
        service.see_managed(70, 30);
        service.see_managed(40, 10);
        service.see_outside(&[1, 2, 3, 0, 0]);
        service.see_outside(&[4, 0, 0, 0, 0]);
        service.see_sizes(Some(80), [500, 600]);
        service.see_used([30, 40]);
        service.see_policy("density+sieve".parse().expect("a name"));
        service.set_failure("no memory");
        let read = command.read();
        assert_eq!((read.resident, read.away), (40, 10));
        assert_eq!((read.managed_peak, read.outside_peak, read.outside), (100, 6, [4, 2, 3, 0, 0]));
        let devices = [DeviceGauge { size: 500, used: 30 }, DeviceGauge { size: 600, used: 40 }];
        assert_eq!((read.ram, &read.devices[..]), (Some(80), &devices[..]));
        assert_eq!(read.policy.map(|name| name.to_string()).as_deref(), Some("density+sieve"));
        assert_eq!(read.failure.as_deref(), Some("no memory"));
    }

    #[test]
    fn memory_is_at_home_once_the_last_wish_is_fulfilled() {
        let (_, gauges) = Gauges::create(7, Queues::None).expect("memory");
        assert_eq!((gauges.home_wanted(), gauges.is_home()), (None, false));
        gauges.ask_home(true);
        let first = gauges.home_wanted().expect("asked for");
        gauges.ask_home(true);
        gauges.say_home(first);
        assert!(!gauges.is_home(), "asked again since");
        gauges.say_home(gauges.home_wanted().expect("asked for"));
        assert!(gauges.is_home());
        gauges.ask_home(false);
        gauges.ask_home(false);
        assert_eq!((gauges.home_wanted(), gauges.is_home()), (None, false));
    }

    #[test]
    fn file_with_another_nonce_is_refused() {
        let (file, _) = Gauges::create(7, Queues::None).expect("memory");
        assert_eq!(Gauges::open_known(&file, 8).err(), Some(GaugeError::Other));
    }
}
