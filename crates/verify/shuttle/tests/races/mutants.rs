//! Deliberate faults are found, each by the test of the scenario that is named here.

use bifolio_folio::MemoryKind::{Coherent, Private};
use bifolio_shuttle::mutant::Mutant;
use bifolio_shuttle::runner::finds;
use bifolio_shuttle::simulation::machine::Setup;

use crate::{buffers, eviction, exclusive, faults, peers, pinning, reshaping, teardown, unmapping};

macro_rules! mutants {
    ($($test:ident: $mutant:ident by $scenario:path, $kind:ident;)*) => {$(
        #[test]
        fn $test() {
            assert!(finds(Mutant::$mutant, || $scenario(Setup::new($kind))));
        }
    )*};
}

mutants! {
    finds_try_lock_waits: TryLockWaits by eviction::two_blocks_from_each_other, Private;
    finds_takes_out_after_copy: IsolatesAfterCopy by faults::two_threads_and_a_unit, Private;
    finds_shows_without_waking: MapsWithoutWaking by faults::two_threads_and_a_unit, Private;
    finds_poisons_without_waking: PoisonsWithoutWaking by unmapping::middle_of_a_folio, Private;
    finds_unmapped_stays_in_view: UnmappedStaysMapped by unmapping::middle_of_a_folio, Private;
    finds_device_keeps_translations: DeviceKeepsTranslations by faults::two_threads_and_a_unit, Private;
    finds_coherent_stays_mapped: CoherentStaysMapped by exclusive::touched, Coherent;
    finds_exclusive_translations_kept: DeviceKeepsTranslations by exclusive::touched, Private;
    finds_device_forgets_copies: DeviceForgetsCopies by faults::two_threads_and_a_unit, Coherent;
    finds_device_does_not_clear: DeviceDoesNotClear by eviction::victim_in_use, Private;
    finds_split_takes_no_reference: SplitTakesNoReference by unmapping::middle_of_a_folio, Private;
    finds_gives_nothing_back: GivesNothingBack by teardown::formed_meanwhile, Private;
    finds_pin_ends_at_once: PinEndsAtOnce by pinning::against_faults, Private;
    finds_pin_forgets_last_page: PinForgetsLastPage by pinning::against_unmapping, Private;
    finds_collapse_keeps_references: CollapseKeepsReferences by reshaping::in_use, Private;
    finds_device_remaps_to_head: DeviceRemapsToHead by reshaping::in_use, Private;
    finds_translations_kept_from_a_peer: DeviceKeepsTranslations by peers::two_devices, Private;
    finds_pin_of_an_object_ends_at_once: PinEndsAtOnce by buffers::one_buffer, Private;
    finds_releases_nothing: ReleasesNothing by buffers::against_folios, Private;
    finds_object_is_not_cleared: DeviceDoesNotClear by buffers::freed_while_victims, Private;
    finds_object_is_not_copied: DeviceForgetsCopies by buffers::one_buffer, Private;
    finds_object_gives_nothing_back: GivesNothingBack by buffers::two_for_one_place, Private;
}
