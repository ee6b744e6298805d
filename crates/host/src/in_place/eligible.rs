//! Which mappings of a program may be managed: its private data, whole mappings only.

use bifolio_sys::{AddressRange, Backing, MapsEntry};

use crate::gauges::Outside;

/// Data that belongs to a file's mapping (its `bss`) is managed from this size on: below it is the C library's and the
/// loader's own.
const BSS_LEAST: usize = 256 << 10;

/// What must not be managed.
#[derive(Debug, Default)]
pub(super) struct Exclusions {
    /// Memory of ours.
    pub(super) own: Vec<AddressRange>,
    /// Addresses whose whole mapping stays at home: thread pointers, which are in stacks.
    pub(super) addresses: Vec<usize>,
}

/// What private memory without a file is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Place {
    /// May be managed.
    Data,
    /// May not.
    Outside(Outside),
    /// Is no memory of the program.
    Own,
}

impl Exclusions {
    fn place(&self, entry: &MapsEntry, is_bss: bool) -> Option<Place> {
        if entry.shared || !matches!(entry.backing, Backing::Anonymous | Backing::Break | Backing::Stack) {
            return None;
        }
        let holds = |address: &usize| entry.range.contains(*address);
        Some(if self.own.iter().any(|own| own.overlaps(entry.range)) {
            Place::Own
        } else if entry.backing == Backing::Stack || self.addresses.iter().any(holds) {
            Place::Outside(Outside::Stacks)
        } else if entry.executable || !entry.readable || !entry.writable {
            Place::Outside(Outside::Protected)
        } else if is_bss && entry.range.len() < BSS_LEAST {
            Place::Outside(Outside::Variables)
        } else {
            Place::Data
        })
    }
}

/// Yields the mappings with what they are, if they are private memory without a file. `entries` are sorted by address.
pub(super) fn places(
    entries: impl Iterator<Item = MapsEntry>,
    exclusions: &Exclusions,
) -> impl Iterator<Item = (MapsEntry, Option<Place>)> {
    let mut file_end = 0;
    entries.map(move |entry| {
        let is_bss = entry.backing == Backing::Anonymous && entry.range.start() == file_end;
        if entry.backing == Backing::File {
            file_end = entry.range.end();
        }
        (entry, exclusions.place(&entry, is_bss))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(start: usize, len: usize, backing: Backing) -> MapsEntry {
        let range = AddressRange::new(start, len).expect("whole pages");
        MapsEntry { range, readable: true, writable: true, executable: false, shared: false, backing }
    }

    fn judged(entries: &[MapsEntry], exclusions: &Exclusions) -> Vec<Option<Place>> {
        places(entries.iter().copied(), exclusions).map(|(_, place)| place).collect()
    }

    const M: usize = 1 << 20;
    const STACKS: Option<Place> = Some(Place::Outside(Outside::Stacks));
    const PROTECTED: Option<Place> = Some(Place::Outside(Outside::Protected));
    const VARIABLES: Option<Place> = Some(Place::Outside(Outside::Variables));

    #[test]
    fn private_data_is_told_from_other_mappings() {
        let data = entry(M, M, Backing::Anonymous);
        let code = MapsEntry { executable: true, ..entry(3 * M, M, Backing::Anonymous) };
        let constant = MapsEntry { writable: false, ..entry(5 * M, M, Backing::Anonymous) };
        let shared = MapsEntry { shared: true, ..entry(7 * M, M, Backing::File) };
        let heap = entry(9 * M, M, Backing::Break);
        let stack = entry(11 * M, M, Backing::Stack);
        let found = judged(&[data, code, constant, shared, heap, stack], &Exclusions::default());
        assert_eq!(found, [Some(Place::Data), PROTECTED, PROTECTED, None, Some(Place::Data), STACKS]);
    }

    #[test]
    fn small_data_of_a_file_stays_and_large_is_found() {
        let file = |at: usize| entry(at, M, Backing::File);
        let small = entry(2 * M, BSS_LEAST - 4096, Backing::Anonymous);
        let large = entry(5 * M, BSS_LEAST, Backing::Anonymous);
        let apart = entry(8 * M, 4096, Backing::Anonymous);
        let found = judged(&[file(M), small, file(4 * M), large, file(6 * M), apart], &Exclusions::default());
        assert_eq!(found, [None, VARIABLES, None, Some(Place::Data), None, Some(Place::Data)]);
    }

    #[test]
    fn mapping_with_an_excluded_address_stays_whole() {
        let own = vec![AddressRange::new(5 * M, 4096).expect("a page")];
        let exclusions = Exclusions { own, addresses: vec![M + 100] };
        let entries = [1, 3, 5].map(|at| entry(at * M, M, Backing::Anonymous));
        assert_eq!(judged(&entries, &exclusions), [STACKS, Some(Place::Data), Some(Place::Own)]);
    }
}
