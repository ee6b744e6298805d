//! Mappings: where they lie, what replaces them, when they go.

use bifolio_sys::smaps::vma_at;
use bifolio_sys::{
    AddressRange, Errno, HUGE_PAGE, MapError, Mapping, Memfd, PAGE, Placement, Protection, SysError,
};

use crate::limits::limited;
use crate::serving::{doubled, numbered, private};

fn permissions(span: AddressRange) -> Option<String> {
    vma_at(span.start()).expect("proc is mounted").map(|vma| vma.permissions)
}

#[test]
fn aligned_mapping_lies_where_it_should_and_nothing_else_stays() {
    limited("aligned_mapping_lies_where_it_should_and_nothing_else_stays", || {
        for len in [PAGE, HUGE_PAGE, HUGE_PAGE + PAGE] {
            let mapping = Mapping::anonymous(len, Protection::ReadWrite, Placement::Aligned(HUGE_PAGE))
                .expect("memory is left");
            assert_eq!((mapping.span().start() % HUGE_PAGE, mapping.span().len()), (0, len));
            mapping.all().store_u64(len - 8, 1).expect("inside");
            assert_eq!(permissions(mapping.span()).as_deref(), Some("rw-p"));
        }
        Ok(())
    });
}

#[test]
fn impossible_shapes_are_refused() {
    limited("impossible_shapes_are_refused", || {
        let anonymous = |len, place| Mapping::anonymous(len, Protection::Read, place).map(|_| ());
        assert!(matches!(anonymous(0, Placement::Anywhere), Err(MapError::Shape(_))));
        assert!(matches!(anonymous(5, Placement::Anywhere), Err(MapError::Shape(_))));
        assert!(matches!(
            anonymous(usize::MAX & !(PAGE - 1), Placement::Aligned(HUGE_PAGE)),
            Err(MapError::Shape(_))
        ));
        assert_eq!(anonymous(PAGE, Placement::Aligned(3 * PAGE)), Err(MapError::Alignment(3 * PAGE)));
        assert_eq!(anonymous(PAGE, Placement::Aligned(8)), Err(MapError::Alignment(8)));
        assert!(matches!(anonymous(1 << 60, Placement::Anywhere), Err(MapError::Refused(_))));
        Ok(())
    });
}

#[test]
fn taken_address_is_refused() {
    limited("taken_address_is_refused", || {
        let first = private(PAGE);
        let refused = Mapping::reserve(PAGE, Placement::Exactly(first.span().start())).expect_err("taken");
        assert_eq!(refused, MapError::Refused(SysError { call: "mmap", errno: Errno::EXIST }));
        assert_eq!(permissions(first.span()).as_deref(), Some("rw-p"), "the first is untouched");
        Ok(())
    });
}

#[test]
fn dropping_unmaps_only_what_is_owned() {
    limited("dropping_unmaps_only_what_is_owned", || {
        // Shared, as nothing else in this process is: what is mapped at these addresses next is not taken for it.
        let memfd = Memfd::create("bifolio-test", 3 * PAGE).expect("descriptors are left");
        let wide = Mapping::shared(&memfd, 0, 3 * PAGE, Protection::Read, Placement::Anywhere)
            .expect("memory is left");
        let middle = wide.span().part(PAGE, PAGE).expect("inside");
        // SAFETY: the middle page of a mapping that outlives the view and is never accessed.
        drop(unsafe { Mapping::adopt(middle) });
        assert_eq!(permissions(middle).as_deref(), Some("r--s"));
        drop(wide);
        assert_ne!(permissions(middle).as_deref(), Some("r--s"));
        Ok(())
    });
}

#[test]
fn replaced_part_shows_the_file() {
    limited("replaced_part_shows_the_file", || {
        let whole = Mapping::reserve(4 * PAGE, Placement::Anywhere).expect("addresses are left");
        let (memfd, alias, _view) = doubled(2 * PAGE);
        alias.all().store_u64(PAGE, 7).expect("inside");
        let part = whole.span().part(2 * PAGE, PAGE).expect("inside");
        whole.replace_shared(part, &memfd, PAGE, Protection::ReadWrite).expect("own memory");
        assert_eq!(whole.all().load_u64(2 * PAGE), Ok(7));
        whole.replace_anonymous(part, Protection::Read).expect("own memory");
        assert_eq!(whole.all().load_u64(2 * PAGE), Ok(0));
        assert_eq!(permissions(part).as_deref(), Some("r--p"));
        assert_eq!(alias.all().load_u64(PAGE), Ok(7));
        Ok(())
    });
}

#[test]
fn replacing_beyond_the_mapping_is_refused() {
    limited("replacing_beyond_the_mapping_is_refused", || {
        let (mapping, other) = (private(PAGE), private(PAGE));
        let refused = mapping.replace_anonymous(other.span(), Protection::None);
        assert!(matches!(refused, Err(MapError::Outside(_))));
        assert!(matches!(mapping.protect(other.span(), Protection::None), Err(MapError::Outside(_))));
        assert_eq!(permissions(other.span()).as_deref(), Some("rw-p"));
        Ok(())
    });
}

#[test]
fn failed_move_gives_the_mapping_back() {
    limited("failed_move_gives_the_mapping_back", || {
        let place = Mapping::reserve(4 * PAGE, Placement::Anywhere).expect("addresses are left");
        let memory = numbered(2 * PAGE);
        let from = memory.span();
        let part = place.span().part(0, PAGE).expect("inside");
        let failed = memory.remap_into(&place, part).expect_err("lengths differ");
        assert_eq!(failed.error, MapError::NotMovable { mapping: 2 * PAGE, part: PAGE });
        assert_eq!(failed.mapping.span(), from);
        assert_eq!(failed.mapping.all().load_u64(PAGE), Ok(2));
        Ok(())
    });
}

#[test]
fn memfd_knows_its_size_and_what_it_holds() {
    limited("memfd_knows_its_size_and_what_it_holds", || {
        let memfd = Memfd::create("bifolio-test", 0).expect("descriptors are left");
        assert_eq!((memfd.is_empty(), memfd.allocated_bytes()), (Ok(true), Ok(0)));
        memfd.set_len(3 * PAGE).expect("small");
        let map = Mapping::shared(&memfd, PAGE, PAGE, Protection::ReadWrite, Placement::Anywhere)
            .expect("memory is left");
        map.all().store_u64(0, 1).expect("inside");
        assert_eq!((memfd.len(), memfd.allocated_bytes()), (Ok(3 * PAGE as u64), Ok(PAGE as u64)));
        assert!(Mapping::shared(&memfd, 1, PAGE, Protection::Read, Placement::Anywhere).is_err());
        Ok(())
    });
}
