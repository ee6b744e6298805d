//! What must be true of every state.

use bifolio_rules::{RuleSet, judge};

use crate::linux::migration::state::{Bytes, Entry, Kind, PAGES, State, members};

/// Judges a state.
pub(super) fn state(state: &State, broken: &mut RuleSet) {
    bytes(state, broken);
    mappings(state, broken);
    let jobs = || state.actors.iter().flatten();
    let making = jobs().filter(|job| job.kind == Kind::ToDevice && job.folios != 0).count();
    broken.note(judge::i7_references(state.object.into(), state.heads().count() as u64, making as u64));
    let evictions = jobs().filter(|job| job.kind == Kind::Evict).count() as u64;
    let taken = &state.taken;
    broken.note(judge::i18_held(u64::from(taken.address_space) - evictions + u64::from(taken.table_lock)));
    broken.note(judge::i24_no_cycle(&state.waits_for()));
    let out_of_view = members(state.with_entry(Entry::Migrating))
        .filter(|page| !jobs().any(|job| job.pages >> page & 1 == 1))
        .count() as u64;
    broken.note(judge::i12_finalized(out_of_view, u64::from(taken.arrays) - jobs().count() as u64));
    let locked = state.heads().filter(|head| {
        state.folios[usize::from(*head)].locked && !jobs().any(|job| job.folios >> head & 1 == 1)
    });
    broken.note(judge::i18_held(locked.count() as u64));
}

/// What can be read is what was written last.
fn bytes(state: &State, broken: &mut RuleSet) {
    for page in &state.pages {
        let by_cpu = if page.entry == Entry::Ram { page.ram } else { Bytes::Latest };
        let by_device = if page.gpu { page.device } else { Bytes::Latest };
        broken.note(judge::i27_bytes(by_cpu, Bytes::Latest));
        broken.note(judge::i27_bytes(by_device, Bytes::Latest));
    }
}

/// Page tables lead to folios that live, and that have their memory.
fn mappings(state: &State, broken: &mut RuleSet) {
    for page in 0..PAGES as u8 {
        let folio = state.head_of(page);
        if state.pages[usize::from(page)].gpu {
            broken.note(judge::i20_live(folio));
        }
        if state.pages[usize::from(page)].entry == Entry::Device {
            let backed = folio.filter(|_| state.object > 0);
            broken.note(judge::i23_piece(backed.map(|_| ()), ()));
        }
    }
}
