//! Shared memory: 2 MiB entries made, dropped and put back; holes punched.

use bifolio_sys::advise::{self, Collapse};
use bifolio_sys::pagemap::Pagemap;
use bifolio_sys::smaps;
use bifolio_sys::{Errno, Features, HUGE_PAGE, Mapping, Memfd, Modes, PAGE};

use crate::limits::{Skip, limited, uffd};
use crate::serving::doubled;

const SHMEM: Features = Features::MISSING_SHMEM.union(Features::MINOR_SHMEM);

/// Collapses a memfd under both its mappings; or skips.
fn collapsed() -> Result<(Memfd, Mapping, Mapping), Skip> {
    let (memfd, alias, view) = doubled(HUGE_PAGE);
    advise::populate_write(alias.all()).expect("memory is left");
    alias.all().store_u64(100 * PAGE, 7).expect("inside");
    match collapse(&alias) {
        Collapse::Collapsed => Ok((memfd, alias, view)),
        other => Err(Skip::because(format!("memfd does not collapse: {other:?}"))),
    }
}

/// Collapses all of a mapping. Pages in passing use, such as those just populated, which sit in lists of a processor, get
/// more tries.
fn collapse(mapping: &Mapping) -> Collapse {
    let mut outcomes = (0..100).map(|_| advise::collapse(mapping.all()));
    outcomes.find(|&outcome| outcome != Collapse::Again).unwrap_or(Collapse::Again)
}

fn shmem_huge_bytes(mapping: &Mapping) -> usize {
    let vma = smaps::vma_at(mapping.span().start()).expect("proc is mounted");
    vma.expect("mapped").shmem_huge_bytes
}

fn present_pages(mapping: &Mapping) -> usize {
    let pages = Pagemap::open().expect("proc is mounted");
    pages.present_pages(mapping.span()).expect("own memory")
}

#[test]
fn memfd_collapses_and_keeps_its_bytes() {
    limited("memfd_collapses_and_keeps_its_bytes", || {
        let (memfd, alias, view) = collapsed()?;
        assert_eq!(shmem_huge_bytes(&alias), HUGE_PAGE);
        assert_eq!(alias.all().load_u64(100 * PAGE), Ok(7));
        assert_eq!(view.all().load_u64(100 * PAGE), Ok(7));
        assert_eq!(memfd.allocated_bytes(), Ok(HUGE_PAGE as u64));
        Ok(())
    });
}

#[test]
fn dropped_huge_mapping_is_put_back_whole_where_faults_are_armed() {
    limited("dropped_huge_mapping_is_put_back_whole_where_faults_are_armed", || {
        let uffd = uffd(SHMEM)?;
        let (_memfd, alias, view) = collapsed()?;
        uffd.register(view.all(), Modes::MISSING | Modes::MINOR).expect("shared memory");
        for round in 0..3 {
            advise::dontneed(view.all()).expect("own memory");
            assert_eq!(present_pages(&view), 0);
            alias.all().store_u64(0, round).expect("inside");
            assert_eq!(collapse(&view), Collapse::Collapsed);
            assert_eq!(shmem_huge_bytes(&view), HUGE_PAGE);
            assert_eq!(view.all().load_u64(0), Ok(round));
        }
        Ok(())
    });
}

#[test]
fn collapse_is_refused_where_write_protection_is_armed() {
    limited("collapse_is_refused_where_write_protection_is_armed", || {
        let uffd = uffd(SHMEM | Features::WRITE_PROTECT_SHMEM)?;
        let (_memfd, _alias, view) = collapsed()?;
        let modes = Modes::MISSING | Modes::MINOR | Modes::WRITE_PROTECT;
        uffd.register(view.all(), modes).expect("shared memory");
        advise::dontneed(view.all()).expect("own memory");
        assert_eq!(collapse(&view), Collapse::Refused(Errno::INVAL));
        Ok(())
    });
}

#[test]
fn dropping_a_piece_of_a_huge_mapping_unmaps_all_of_it() {
    limited("dropping_a_piece_of_a_huge_mapping_unmaps_all_of_it", || {
        let (_memfd, alias, _view) = collapsed()?;
        assert_eq!(present_pages(&alias), 512);
        advise::dontneed(alias.bytes(0, 16 * PAGE).expect("inside")).expect("own memory");
        assert_eq!(present_pages(&alias), 0);
        assert_eq!(alias.all().load_u64(100 * PAGE), Ok(7));
        Ok(())
    });
}

#[test]
fn punched_pages_are_gone_everywhere() {
    limited("punched_pages_are_gone_everywhere", || {
        let (memfd, alias, view) = doubled(16 * PAGE);
        for page in 0..16 {
            alias.all().store_u64(page * PAGE, 9).expect("inside");
        }
        assert_eq!(view.all().load_u64(5 * PAGE), Ok(9));
        memfd.punch_hole(4 * PAGE, 8 * PAGE).expect("inside");
        assert_eq!(memfd.allocated_bytes(), Ok(8 * PAGE as u64));
        assert_eq!(view.all().load_u64(5 * PAGE), Ok(0));
        assert_eq!(view.all().load_u64(12 * PAGE), Ok(9));
        assert_eq!(memfd.len(), Ok(16 * PAGE as u64));
        assert!(memfd.punch_hole(0, 0).is_err());
        Ok(())
    });
}
