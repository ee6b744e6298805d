//! The features of the kernel that Bifolio uses, one [`Grant`] each: is it here, what does its lack cost, what lifts that.

use bifolio_sys::host::Host;
use bifolio_sys::probe::{Grants, Trial};
use bifolio_sys::{Access, Attempt, DEVICE_NODE, Errno, Features, Way};
use serde::Serialize;

/// What Bifolio is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// The explorer.
    Check,
    /// A device whose memory the CPU cannot map.
    Private,
    /// A device whose memory the CPU maps.
    Coherent,
    /// Unmodified programs.
    Run,
    /// Folios of 2 MiB that are one page of the CPU.
    HugePages,
    /// System calls that are handed memory which is on the device.
    SystemCalls,
    /// SIGBUS for a page whose bytes are lost.
    Errors,
    /// Large spaces and heaps.
    Large,
}

impl Use {
    /// All of them, as they are listed.
    pub const ALL: [Use; 8] = [
        Use::Check,
        Use::Private,
        Use::Coherent,
        Use::Run,
        Use::HugePages,
        Use::SystemCalls,
        Use::Errors,
        Use::Large,
    ];

    /// As a user names it.
    pub fn name(self) -> &'static str {
        match self {
            Use::Check => "check",
            Use::Private => "demo, private memory",
            Use::Coherent => "demo, coherent memory",
            Use::Run => "run (unmodified programs)",
            Use::HugePages => "2 MiB folios as one page",
            Use::SystemCalls => "system calls on device data",
            Use::Errors => "SIGBUS for lost pages",
            Use::Large => "large spaces and heaps",
        }
    }

    /// Tells whether it is worth a line where it works.
    pub fn is_always_shown(self) -> bool {
        !matches!(self, Use::Errors | Use::Large)
    }
}

/// Something that the machine grants or not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Grant {
    /// What it is.
    pub name: &'static str,
    /// Whether it is here.
    pub granted: bool,
    /// What was found.
    pub found: String,
    /// What its lack costs, if anything so far.
    pub cost: Option<&'static str>,
    /// What lifts its lack, where that costs something: a command, or a kernel.
    pub remedy: Option<&'static str>,
    /// What a user cannot do without it.
    #[serde(skip)]
    pub needed_for: Option<Use>,
}

impl Grant {
    fn new(
        name: &'static str,
        granted: bool,
        found: impl Into<String>,
        need: Option<(Use, &'static str)>,
        remedy: &'static str,
    ) -> Self {
        let remedy = (!granted && need.is_some()).then_some(remedy);
        let (needed_for, cost) = need.unzip();
        Self { name, granted, found: found.into(), cost, remedy, needed_for }
    }

    /// Tells whether its lack costs something.
    pub fn is_missed(&self) -> bool {
        !self.granted && self.needed_for.is_some()
    }
}

/// Lists everything that was asked, the most important first.
pub fn list(grants: &Grants) -> Vec<Grant> {
    let mut faults = vec![full_mode(grants)];
    faults.extend(operations(grants));
    if grants.granted.is_empty() {
        // Nothing could be tried, so nothing is known about what would lack then.
        faults.iter_mut().for_each(|grant| grant.remedy = None);
    }
    [userfaultfd(grants)].into_iter().chain(faults).chain(settings(&grants.host)).collect()
}

const NOTHING_WORKS: Option<(Use, &str)> = Some((Use::Private, "no device works"));

fn userfaultfd(grants: &Grants) -> Grant {
    let granted: Vec<String> = grants.granted.iter().map(ToString::to_string).collect();
    let refused = grants.refused.iter().map(|attempt| format!("{}: {}", attempt.way, attempt.errno));
    let missing = granted.is_empty();
    let found = if missing { refused.collect() } else { granted };
    let remedy = userfaultfd_remedy(&grants.refused);
    Grant::new("userfaultfd", !missing, found.join(", "), NOTHING_WORKS, remedy)
}

fn userfaultfd_remedy(refused: &[Attempt]) -> &'static str {
    match refused.iter().find(|attempt| attempt.way == Way::UserModeOnly).map(|attempt| attempt.errno) {
        Some(Errno::NOSYS) => "a kernel with CONFIG_USERFAULTFD=y",
        Some(Errno::INVAL) => "Linux 5.11 or newer",
        // Nothing but a filter of system calls, as containers have, refuses faults of user mode.
        _ => "docker run --security-opt seccomp=unconfined ...",
    }
}

fn full_mode(grants: &Grants) -> Grant {
    let found = match grants.access() {
        Some(Access::Full(_)) => "yes",
        Some(Access::UserModeOnly) => "user-mode-only",
        None => "no",
    };
    let node_is_there = std::path::Path::new(DEVICE_NODE).exists();
    let remedy = match node_is_there {
        true => "sudo chown \"$USER\" /dev/userfaultfd",
        false => "sudo sysctl vm.unprivileged_userfaultfd=1",
    };
    let granted = matches!(grants.access(), Some(Access::Full(_)));
    let cost = "read(2) into it fails with EFAULT";
    Grant::new("faults inside system calls", granted, found, Some((Use::SystemCalls, cost)), remedy)
}

fn operations(grants: &Grants) -> Vec<Grant> {
    let run = Some((Use::Run, "memory of programs cannot be moved"));
    let poison = Some((Use::Errors, "a thread whose page is lost hangs"));
    vec![
        tried("CONTINUE on a memfd", grants.continue_, NOTHING_WORKS, "Linux 5.14 or newer"),
        tried("COLLAPSE of a memfd", grants.collapse, BY_PAGE, LINUX_6_1),
        tried("COLLAPSE over armed faults", grants.collapse_back, BY_PAGE, LINUX_6_1),
        tried("MOVE of 4 KiB", grants.move_small, run, LINUX_6_8),
        tried("MOVE of 2 MiB", grants.move_huge, HEAPS_BY_PAGE, LINUX_6_8),
        tried("POISON", grants.poison, poison, "Linux 6.6 or newer"),
        tried("COPY", grants.copy, None, "Linux 4.3 or newer"),
        tried("write protection", grants.write_protect, None, "Linux 5.7 or newer"),
        remap_events(grants.features),
        tried("events of fork", grants.event_fork, None, "sudo"),
        access_tracking(grants.features),
    ]
}

const LINUX_6_1: &str = "Linux 6.1 or newer";
const LINUX_6_8: &str = "Linux 6.8 or newer";
const BY_PAGE: Option<(Use, &str)> = Some((Use::HugePages, "they are mapped as 512 pages"));
const HEAPS_BY_PAGE: Option<(Use, &str)> = Some((Use::HugePages, "those of programs move as 512 pages"));

/// A mechanism that was tried.
fn tried(name: &'static str, trial: Trial, need: Option<(Use, &'static str)>, remedy: &'static str) -> Grant {
    let found = match trial {
        Trial::Works => "works".to_owned(),
        Trial::Fails { step, errno: Some(errno) } => format!("{step}: {errno}"),
        Trial::Fails { step, errno: None } => format!("{step} had no effect"),
    };
    Grant::new(name, trial.works(), found, need, remedy)
}

fn remap_events(features: Features) -> Grant {
    let granted = features.contains(Features::EVENT_REMAP);
    let found = if granted { "known" } else { "not known" };
    let need = Some((Use::Coherent, "its mappings cannot be followed"));
    Grant::new("events of remap", granted, found, need, "Linux 4.11 or newer")
}

/// No policy uses it: none of the kernels that Bifolio was tested on has it.
fn access_tracking(features: Features) -> Grant {
    let granted = features.contains(Features::ACCESS_TRACKING | Features::ACCESS_TRACKING_ASYNC);
    let found = if granted { "known, not used yet" } else { "not known" };
    Grant::new("access tracking (RWP)", granted, found, None, "Linux 7.3 or newer")
}

/// Mappings that a process has by default; fewer would be too few for coherent folios.
const MAPPINGS_LEAST: u64 = 65_530;

fn settings(host: &Host) -> Vec<Grant> {
    let mappings = host.max_map_count.map(|count| count.to_string());
    let shmem = host.thp_shmem.as_deref().map(|set| match set {
        "never" => "never, but COLLAPSE makes them".to_owned(),
        set => set.to_owned(),
    });
    let overcommit = host.overcommit_memory.map(|mode| mode.to_string());
    vec![
        set(
            "2 MiB pages of heaps",
            host.thp_enabled.as_deref(),
            |set| set != "never",
            HEAPS_BY_PAGE,
            "echo madvise | sudo tee /sys/kernel/mm/transparent_hugepage/enabled",
        ),
        set(
            "64 KiB pages of heaps",
            host.mthp_64k_enabled.as_deref(),
            |set| set != "never",
            None,
            "echo madvise | sudo tee /sys/kernel/mm/transparent_hugepage/hugepages-64kB/enabled",
        ),
        set(
            "2 MiB pages of memfds",
            shmem.as_deref(),
            |set| set != "deny",
            BY_PAGE,
            "echo advise | sudo tee /sys/kernel/mm/transparent_hugepage/shmem_enabled",
        ),
        set(
            "64 KiB pages of memfds",
            host.mthp_64k_shmem.as_deref(),
            |set| set != "never",
            None,
            "echo advise | sudo tee /sys/kernel/mm/transparent_hugepage/hugepages-64kB/shmem_enabled",
        ),
        set(
            "mappings of a process",
            mappings.as_deref(),
            |set| set.parse().is_ok_and(|count: u64| count >= MAPPINGS_LEAST),
            Some((Use::Coherent, "too few mappings: a folio takes up to two")),
            "sudo sysctl vm.max_map_count=262144",
        ),
        set(
            "overcommit of memory",
            overcommit.as_deref(),
            |set| set != "2",
            Some((Use::Large, "memory that is not used yet counts too")),
            "sudo sysctl vm.overcommit_memory=0",
        ),
    ]
}

/// A setting that was read; one that this kernel does not show counts as missing.
fn set(
    name: &'static str,
    value: Option<&str>,
    good: impl Fn(&str) -> bool,
    need: Option<(Use, &'static str)>,
    remedy: &'static str,
) -> Grant {
    Grant::new(name, value.is_some_and(good), value.unwrap_or("not shown"), need, remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_lack_that_costs_something_has_a_remedy() {
        let has_remedy =
            |granted, need| Grant::new("name", granted, "found", need, "remedy").remedy.is_some();
        assert!(has_remedy(false, NOTHING_WORKS));
        assert!(!has_remedy(false, None));
        assert!(!has_remedy(true, NOTHING_WORKS));
    }

    #[test]
    fn without_userfaultfd_only_that_is_to_be_had() {
        let grants = Grants { granted: Vec::new(), poison: FAILS, move_small: FAILS, ..Grants::probe() };
        let granted = list(&grants);
        let (userfaultfd, others) = granted.split_first().expect("it is asked first");
        assert!(userfaultfd.remedy.is_some());
        assert!(others.iter().all(|grant| grant.remedy.is_none_or(|remedy| !remedy.starts_with("Linux"))));
    }

    const FAILS: Trial = Trial::Fails { step: "userfaultfd", errno: Some(Errno::PERM) };

    #[test]
    fn failed_trial_tells_step_and_reason() {
        let trial = Trial::Fails { step: "UFFDIO_MOVE", errno: Some(Errno::INVAL) };
        let grant = tried("MOVE", trial, NOTHING_WORKS, "a kernel");
        assert_eq!((grant.granted, grant.remedy), (false, Some("a kernel")));
        assert!(grant.found.starts_with("UFFDIO_MOVE: Invalid argument"), "{}", grant.found);
    }

    #[test]
    fn access_tracking_is_known_by_both_of_its_features() {
        let (one, other) = (Features::ACCESS_TRACKING, Features::ACCESS_TRACKING_ASYNC);
        assert!(access_tracking(one | other | Features::MOVE).granted);
        let lacking = access_tracking(Features::from_bits_retain(0x1ffff) | one);
        assert!(!lacking.granted && lacking.cost.is_none() && lacking.remedy.is_none());
    }

    #[test]
    fn refusal_of_user_mode_faults_is_blamed_on_a_filter() {
        let refused = |errno| userfaultfd_remedy(&[Attempt { way: Way::UserModeOnly, errno }]);
        assert!(refused(Errno::PERM).contains("seccomp"));
        assert!(refused(Errno::NOSYS).contains("CONFIG_USERFAULTFD"));
    }

    #[test]
    fn pages_that_are_never_made_by_themselves_are_made_by_collapse() {
        let host = Host { thp_shmem: Some("never".to_owned()), ..Host::read() };
        let grant = settings(&host).into_iter().find(|grant| grant.name == "2 MiB pages of memfds");
        let grant = grant.expect("it is asked for");
        assert_eq!((grant.granted, grant.found.as_str()), (true, "never, but COLLAPSE makes them"));
    }

    #[test]
    fn setting_that_is_not_shown_is_missing() {
        let grant = set("pages", None, |_| true, None, "a command");
        assert_eq!((grant.granted, grant.found.as_str()), (false, "not shown"));
    }
}
