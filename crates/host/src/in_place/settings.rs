//! What `bifolio run` tells the library that it loads into a program: one environment variable.

use std::path::PathBuf;
use std::str::FromStr;
use std::{fmt, fs, io};

use bifolio_folio::Reset;
use bifolio_policy::PolicyName;
use bifolio_pool::PoolName;

use crate::gauges::is_gauges;

/// The environment variable.
pub const VARIABLE: &str = "BIFOLIO_HEAP";

/// What the heap of a program is to be like. Sizes are in bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// System memory that the heap may use at once.
    pub ram: usize,
    /// Device memory.
    pub vram: usize,
    /// Who hands out device memory.
    pub pool: PoolName,
    /// What decides how much comes at a fault, and what leaves.
    pub policy: PolicyName,
    /// When the words of folios that ended are made clean.
    pub reset: Reset,
    /// Whether the rules are checked after every transaction.
    pub checked: bool,
    /// Process that the program is a direct child of. The variable is inherited by all descendants, but only the
    /// child itself has a heap; it keeps one when it replaces itself by `exec`.
    pub parent: u32,
    /// Descriptor of the counters, a memfd: that of the parent, inherited by the program.
    pub counters: i32,
    /// A number that is in the counters as well, so that no other file is taken for them.
    pub nonce: u64,
}

/// A value of [`VARIABLE`] that `bifolio run` did not write.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not settings of a heap")]
pub struct NotSettings;

impl Settings {
    /// Reads the settings of this process; `None` if `bifolio run` gave none, or gave them to an ancestor.
    #[must_use]
    pub fn from_env() -> Option<Settings> {
        let settings: Settings = std::env::var(VARIABLE).ok()?.parse().ok()?;
        (std::os::unix::process::parent_id() == settings.parent).then_some(settings)
    }

    /// The counters among the descriptors of the parent, for a program that replaced itself.
    ///
    /// # Errors
    /// If they are not there.
    pub fn counters_of_parent(&self) -> io::Result<PathBuf> {
        // Numbers of processes as `/proc` sees them, which may belong to another namespace than ours.
        let status = fs::read_to_string("/proc/self/status")?;
        let parent = status.lines().find_map(|line| line.strip_prefix("PPid:")).map(str::trim);
        let path = PathBuf::from(format!("/proc/{}/fd/{}", parent.unwrap_or_default(), self.counters));
        if is_gauges(&path)? { Ok(path) } else { Err(io::ErrorKind::NotFound.into()) }
    }
}

impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Settings { ram, vram, pool, policy, reset, checked, parent, counters, nonce } = self;
        let checked = u8::from(*checked);
        write!(f, "{ram},{vram},{pool},{policy},{reset},{checked},{parent},{counters},{nonce}")
    }
}

impl FromStr for Settings {
    type Err = NotSettings;

    fn from_str(text: &str) -> Result<Settings, NotSettings> {
        let mut fields = text.splitn(9, ',');
        let mut next = || fields.next().ok_or(NotSettings);
        let number = |text: &str| text.parse().map_err(|_| NotSettings);
        Ok(Settings {
            ram: number(next()?)?,
            vram: number(next()?)?,
            pool: next()?.parse().map_err(|_| NotSettings)?,
            policy: next()?.parse().map_err(|_| NotSettings)?,
            reset: next()?.parse().map_err(|_| NotSettings)?,
            checked: next()? == "1",
            parent: next()?.parse().map_err(|_| NotSettings)?,
            counters: next()?.parse().map_err(|_| NotSettings)?,
            nonce: next()?.parse().map_err(|_| NotSettings)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_survive_the_environment() {
        let settings = Settings {
            ram: 1 << 26,
            vram: 1 << 33,
            pool: PoolName::Buddy,
            policy: "stride+sieve+throttle".parse().expect("a name"),
            reset: Reset::OnForm,
            checked: true,
            parent: 4711,
            counters: 9,
            nonce: 1 << 60,
        };
        assert_eq!(settings.to_string().parse(), Ok(settings));
        assert_eq!("1,2,3".parse::<Settings>(), Err(NotSettings));
    }
}
