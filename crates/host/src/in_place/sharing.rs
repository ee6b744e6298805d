//! Pages that are, or were, shared with forked children: which of them can be had back.

use std::collections::BTreeSet;

use bifolio_sys::{AddressRange, PAGE};

use crate::in_place::helper::Helper;
use crate::in_place::service::{Service, StartHelper};

/// What is known of sharing, and the helper, which is started when it is first needed.
pub(super) struct Sharing {
    helper: &'static Helper,
    start: StartHelper,
    started: bool,
    /// Pages of this round that a living child has as well.
    kept: u64,
    /// Pages that were refused before, although nothing else had them: they are pinned.
    tried: BTreeSet<usize>,
}

/// Pages that are remembered as pinned.
const TRIED_MOST: usize = 1024;

impl Sharing {
    pub(super) fn new((helper, start): (&'static Helper, StartHelper)) -> Sharing {
        helper.belongs_here();
        Sharing { helper, start, started: false, kept: 0, tried: BTreeSet::new() }
    }

    /// Lets the helper end.
    pub(super) fn end(&self) {
        if self.started {
            self.helper.dismiss();
        }
    }

    /// Takes the count of pages that living children share.
    pub(super) fn take_kept(&mut self) -> u64 {
        std::mem::take(&mut self.kept)
    }
}

impl Service {
    /// Starts the helper, unless it runs.
    pub(super) fn start_helper(&mut self) {
        if !std::mem::replace(&mut self.sharing.started, true) {
            // What it is to be must not be what the service is only for a while.
            self.same_cpu.release();
            self.exclusions.own.extend((self.sharing.start)().into_iter().flatten());
        }
    }

    /// The first page of `window` was refused as shared or in use. What no other process has any more is taken back by the
    /// helper; what a living child has stays, since nothing would become free. `false` if the page is pinned, so that those
    /// after it may go.
    pub(super) fn unshare(&mut self, window: AddressRange) -> bool {
        let (sharing, own) = (&mut self.sharing, self.pagemap.exclusive(window).ok());
        let Some(own) = own.filter(|_| !sharing.tried.contains(&window.start())) else { return false };
        let Some(first) = own.iter().position(|exclusive| *exclusive == Some(true)) else {
            sharing.kept += own.iter().filter(|exclusive| **exclusive == Some(false)).count() as u64;
            return true;
        };
        let run = own[first..].iter().take_while(|exclusive| **exclusive == Some(true)).count();
        self.start_helper();
        // Its faults wait for the service, so it cannot look after it.
        self.same_cpu.release();
        let sharing = &mut self.sharing;
        if sharing.helper.post(window.part(first * PAGE, run * PAGE).expect("within the window")) {
            if sharing.tried.len() >= TRIED_MOST {
                sharing.tried.clear();
            }
            sharing.tried.insert(window.start() + first * PAGE);
        }
        true
    }
}
