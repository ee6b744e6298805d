//! Pools by name.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use bifolio_folio::{MemoryKind, Pfn};

use crate::{BuddyPool, CoherentPool, DevicePool, FreeListPool, MirrorPool, NewError, OffsetPool};

/// The pools that can be chosen.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[non_exhaustive]
pub enum PoolName {
    /// [`BuddyPool`].
    #[default]
    Buddy,
    /// [`FreeListPool`].
    FreeList,
    /// [`CoherentPool`].
    Coherent,
    /// [`MirrorPool`].
    Mirror,
}

/// A name that no pool has.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("no pool is called {0:?}; there are {names}", names = PoolName::list())]
pub struct UnknownPool(pub String);

impl PoolName {
    /// All of them.
    pub const ALL: &[PoolName] = &[PoolName::Buddy, PoolName::FreeList, PoolName::Coherent, PoolName::Mirror];

    /// Returns the name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            PoolName::Buddy => "buddy",
            PoolName::FreeList => "freelist",
            PoolName::Coherent => "coherent",
            PoolName::Mirror => "mirror",
        }
    }

    /// Says in a few words what the pool is like.
    #[must_use]
    pub const fn about(self) -> &'static str {
        match self {
            PoolName::Buddy => {
                "Objects over a buddy allocator, as Xe; memory is free again with an object's last folio"
            }
            PoolName::FreeList => {
                "Lists of free folios, as Nouveau but repaired; memory is free again with each folio"
            }
            PoolName::Coherent => {
                "Objects of up to 2 MiB that neighbouring folios share, as KFD on coherent memory"
            }
            PoolName::Mirror => "Free lists that keep all they ever had, as the kernel's HMM test device",
        }
    }

    /// Returns the kind of memory that the pool is made for. Each of them serves the other kind too.
    #[must_use]
    pub const fn memory(self) -> MemoryKind {
        match self {
            PoolName::Coherent => MemoryKind::Coherent,
            PoolName::Buddy | PoolName::FreeList | PoolName::Mirror => MemoryKind::Private,
        }
    }

    /// Makes the pool, of `pages` free pages from page 0.
    ///
    /// # Errors
    /// If there are too many pages, or none.
    pub fn make(self, pages: u64) -> Result<Arc<dyn DevicePool>, NewError> {
        Ok(match self {
            PoolName::Buddy => Arc::new(BuddyPool::new(pages)?),
            PoolName::FreeList => Arc::new(FreeListPool::new(pages)?),
            PoolName::Coherent => Arc::new(CoherentPool::new(pages)?),
            PoolName::Mirror => Arc::new(MirrorPool::new(pages)?),
        })
    }

    /// Makes the pool, of `pages` free pages from page `first` on.
    ///
    /// # Errors
    /// As [`PoolName::make`], or if `first` is not aligned to the largest order.
    pub fn make_at(self, first: Pfn, pages: u64) -> Result<Arc<dyn DevicePool>, NewError> {
        if first == Pfn::ZERO {
            return self.make(pages);
        }
        Ok(match self {
            PoolName::Buddy => Arc::new(OffsetPool::new(BuddyPool::new(pages)?, first)?),
            PoolName::FreeList => Arc::new(OffsetPool::new(FreeListPool::new(pages)?, first)?),
            PoolName::Coherent => Arc::new(OffsetPool::new(CoherentPool::new(pages)?, first)?),
            PoolName::Mirror => Arc::new(OffsetPool::new(MirrorPool::new(pages)?, first)?),
        })
    }

    fn list() -> String {
        let names: Vec<&str> = PoolName::ALL.iter().map(|name| name.as_str()).collect();
        names.join(", ")
    }
}

impl fmt::Display for PoolName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for PoolName {
    type Err = UnknownPool;

    fn from_str(name: &str) -> Result<PoolName, UnknownPool> {
        let known = PoolName::ALL.iter().find(|known| known.as_str() == name);
        known.copied().ok_or_else(|| UnknownPool(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_to_pools_and_back() {
        for &name in PoolName::ALL {
            assert_eq!(name.to_string().parse(), Ok(name));
            assert_eq!(name.make(512).expect("a small pool").free_pages(), 512);
        }
        let unknown = "budy".parse::<PoolName>().expect_err("misspelt");
        assert!(unknown.to_string().contains("there are buddy"));
    }
}
