//! Where in the program a range was allocated and touched, in words.

use std::ops::Range;

use bifolio_symbols::{CallSites, Name, Symbols};
use bifolio_trace::Trace;

/// Callers of an allocation that are shown: enough to tell a helper from who it helps.
const CALLERS: usize = 2;
/// Instructions that are shown: those that faulted most often.
const TOUCHES: usize = 2;

/// The call sites of a trace, with names.
pub(crate) struct Sites {
    sites: CallSites,
    symbols: Symbols,
}

impl Sites {
    /// `None` if call sites were not recorded.
    pub(crate) fn of(trace: &Trace) -> Option<Sites> {
        let sites = CallSites::of(trace);
        (!sites.is_empty()).then(|| Sites { sites, symbols: Symbols::of(trace) })
    }

    /// Who allocated most of a range: the innermost callers outside of the C library.
    pub(crate) fn allocated_by(&self, range: &Range<u64>) -> String {
        let names = self.sites.allocation_of(range).iter().map(|pc| self.name(*pc));
        let own = names.filter(|name| !name.as_ref().is_some_and(Name::is_of_c_library));
        let shown: Vec<String> = own.take(CALLERS).map(|name| told(name.as_ref())).collect();
        shown.join(" < ")
    }

    /// What faulted there, most often first.
    pub(crate) fn touched_by(&self, range: &Range<u64>) -> String {
        let mut counts: Vec<(String, u64)> = Vec::new();
        for (pc, count) in self.sites.faults_of(range) {
            let name = told(self.name(pc).as_ref());
            match counts.iter_mut().find(|(known, _)| *known == name) {
                Some((_, known)) => *known += count,
                None => counts.push((name, count)),
            }
        }
        counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let shown: Vec<String> = counts.into_iter().take(TOUCHES).map(|(name, _)| name).collect();
        shown.join(", ")
    }

    fn name(&self, pc: u64) -> Option<Name> {
        self.symbols.name(pc)
    }
}

fn told(name: Option<&Name>) -> String {
    name.map_or_else(|| "generated code".to_owned(), Name::to_string)
}
