//! Digests of the bytes that a step is about to copy, give up or show, and of those that it copied (I27).

use bifolio_engine::event::StepContext;
use bifolio_folio::PageRun;
use bifolio_migrate::{DevicePage, Step};
use bifolio_rules::digest::digest;
use bifolio_rules::{BytesEvent, Event, Place};
use bifolio_sys::{PAGE, SharedBytes};

use super::checker::Checker;

impl Checker {
    /// Looks at bytes that are about to be copied, given up or shown again. Nothing can write them.
    pub(crate) fn look_before(&self, step: &Step, context: &dyn StepContext) {
        match *step {
            Step::CopyToDevice { run, .. } => self.see_ram(run, context),
            Step::CopyToRam { run, from } => self.see_device(from, run.pages().into(), context),
            Step::ReleaseRam { .. } | Step::Remap { .. } if context.is_staged() => {
                let known = self.shadow().known_runs(context.base() as u64);
                let runs = known.into_iter().filter_map(|(first, pages)| PageRun::new(first, pages));
                runs.for_each(|run| self.see_ram(run, context));
            }
            Step::ReleaseFolio { folio } if self.shadow().knows_bytes(place(folio.page())) => {
                self.see_device(folio.page(), folio.order.pages(), context);
            }
            _ => {}
        }
    }

    /// Looks at bytes that a step copied or cleared.
    pub(crate) fn look_after(&self, step: &Step, context: &dyn StepContext) {
        let block = context.base() as u64;
        match *step {
            Step::CopyToDevice { run, to } => {
                let pages = u64::from(run.pages());
                let arrived = context.device_bytes(to.node, to.pfn, pages).map(digests);
                let (from, to) = (Place::Ram { block, first: run.first() }, place(to));
                self.tell_bytes(BytesEvent::Copied { from, to, pages, arrived: arrived.as_deref() });
            }
            Step::ClearDevice { run, to } => self.see_device(to, run.pages().into(), context),
            Step::CopyToRam { run, from } => {
                let arrived = context.ram_bytes(run.into()).map(digests);
                let (from, to) = (place(from), Place::Ram { block, first: run.first() });
                let pages = u64::from(run.pages());
                self.tell_bytes(BytesEvent::Copied { from, to, pages, arrived: arrived.as_deref() });
            }
            Step::ReleaseRam { .. } | Step::Remap { .. } | Step::Install { .. } => {
                self.tell_bytes(BytesEvent::InView { block });
            }
            _ => {}
        }
    }

    /// Tells what pages of system memory hold that are out of view.
    fn see_ram(&self, run: PageRun, context: &dyn StepContext) {
        let place = Place::Ram { block: context.base() as u64, first: run.first() };
        if let Some(bytes) = context.ram_bytes(run) {
            self.tell_bytes(BytesEvent::Seen { place, digests: &digests(bytes) });
        }
    }

    /// Tells what device pages hold, if they can be looked at.
    fn see_device(&self, first: DevicePage, pages: u64, context: &dyn StepContext) {
        if let Some(bytes) = context.device_bytes(first.node, first.pfn, pages) {
            self.tell_bytes(BytesEvent::Seen { place: place(first), digests: &digests(bytes) });
        }
    }

    fn tell_bytes(&self, event: BytesEvent<'_>) {
        self.tell(&Event::Bytes(event));
    }
}

fn place(page: DevicePage) -> Place {
    Place::Device { node: page.node.0, first: page.pfn.get() }
}

/// Digests of the pages of `bytes`.
fn digests(bytes: SharedBytes<'_>) -> Vec<u64> {
    let mut page = [0; PAGE];
    (0..bytes.len() / PAGE)
        .map(|number| {
            let window = bytes.part(number * PAGE, PAGE).expect("whole pages of the window");
            window.read_into(&mut page).expect("the window is a page");
            digest(&page)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use bifolio_rules::digest::OF_ZEROS;
    use bifolio_sys::{Mapping, Placement, Protection};

    use super::*;

    #[test]
    fn one_bit_anywhere_changes_the_digest_of_its_page_only() {
        let memory =
            Mapping::anonymous(2 * PAGE, Protection::ReadWrite, Placement::Anywhere).expect("two pages");
        for at in (0..PAGE).step_by(509) {
            memory.all().fill_zero();
            memory.all().write(at, 1_u8).expect("inside");
            let [changed, zeros] = digests(memory.all())[..] else { panic!("two pages") };
            assert!(changed != zeros && zeros == OF_ZEROS, "byte {at}");
        }
    }
}
