//! What unmapping 4 KiB in the middle of 2 MiB on the device costs: by splitting the folio in place, and by destroying
//! the range, as GPU SVM does. Both are carried out, and the bytes are compared afterwards. In the end the space is
//! closed while a folio is held. `cargo run --release -p bifolio-host --example partial_unmap`

use std::error::Error;
use std::fmt::Write;
use std::num::NonZeroUsize;
use std::time::Duration;

use bifolio_builtin::{Kernel, Unit};
use bifolio_engine::device::DeviceFault;
use bifolio_folio::Order;
use bifolio_host::{Counter, Residence, Side, Space, SpaceConfig};
use bifolio_migrate::Failure;
use bifolio_policy::FixedOrders;
use bifolio_sys::{AddressRange, PAGE};

const BYTES: usize = 2 << 20;
const PAGES: usize = BYTES / PAGE;
/// The page that goes.
const GONE: usize = 300;
const PATIENCE: Duration = Duration::from_millis(20);

/// Reads a word of every page but the one that goes.
struct Read {
    address: usize,
}

impl Kernel for Read {
    fn run(&self, memory: &mut Unit<'_>, unit: usize, units: usize) -> Result<(), DeviceFault> {
        let mut pages = (0..PAGES).filter(|page| *page != GONE).skip(unit).step_by(units);
        pages.try_for_each(|page| memory.load(self.address + page * PAGE).map(drop))
    }
}

/// What was counted so far.
#[derive(Clone, Copy)]
struct Counts {
    to_ram: u64,
    to_device: u64,
    faults: u64,
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut out = std::io::stdout();
    std::io::Write::write_all(&mut out, tell()?.as_bytes())?;
    Ok(())
}

/// Does it all, and tells what happened.
pub fn tell() -> Result<String, Box<dyn Error>> {
    let mut text = String::new();
    unmap_by(&mut text, "split in place", Space::unmap)?;
    unmap_by(&mut text, "destroy the range", |space, page| {
        space.prefetch(space.addresses().part(0, BYTES).expect("the allocation"), Side::Ram)?;
        space.unmap(page)
    })?;
    close_with_a_holder(&mut text)?;
    Ok(text)
}

fn unmap_by(
    text: &mut String,
    name: &str,
    unmap: impl FnOnce(&Space, AddressRange) -> Result<(), Failure>,
) -> Result<(), Box<dyn Error>> {
    let (space, span) = one_folio()?;
    let before = counts(&space);
    writeln!(text, "{name}")?;
    writeln!(text, "  before          {}", on_device(&space))?;
    let page = span.part(GONE * PAGE, PAGE)?;
    unmap(&space, page).map_err(|why| format!("{page:?} cannot be unmapped: {why:?}"))?;
    writeln!(text, "  after           {}", on_device(&space))?;
    space.launch(&Read { address: span.start() })?;
    let after = counts(&space);
    writeln!(text, "  used again      {}", on_device(&space))?;
    let (home, back) = (after.to_ram - before.to_ram, after.to_device - before.to_device);
    writeln!(text, "  bytes moved     {home} home, {back} back")?;
    writeln!(text, "  device faults   {}", after.faults - before.faults)?;
    check(&space, span)?;
    space.close()?;
    Ok(())
}

/// Closes a space while a folio is held, and again.
fn close_with_a_holder(text: &mut String) -> Result<(), Box<dyn Error>> {
    let (space, span) = one_folio()?;
    let pagemap = space.engine().nodes()[0].pagemap();
    let first = pagemap.folios().next().ok_or("a folio on the device")?.head;
    let held = pagemap.try_get(first)?;
    writeln!(text, "close while a folio is held")?;
    match space.engine().detach(PATIENCE) {
        Ok(()) => return Err("a folio is held".into()),
        Err(refused) => writeln!(text, "  refused         {refused}")?,
    }
    check(&space, span)?;
    writeln!(text, "  bytes           all in system memory")?;
    drop(held);
    space.close()?;
    writeln!(text, "  once let go     closed, {} pages of the device are live", pagemap.live_pages())?;
    Ok(())
}

/// A space with 2 MiB on the device, in one folio, in the device's page table.
fn one_folio() -> Result<(Space, AddressRange), Box<dyn Error>> {
    let mut config = SpaceConfig::new(BYTES, 4 * BYTES);
    let largest = Order::PMD;
    config.policy = Some(Box::new(FixedOrders { largest, smallest: Order::ZERO, populate: largest }));
    // One unit, so that no two fault on the same page.
    config.units = NonZeroUsize::MIN;
    config.checked = true;
    let space = Space::new(config)?;
    let span = AddressRange::new(space.allocate(BYTES)?, BYTES)?;
    let window = space.window(span);
    (0..PAGES).try_for_each(|page| window.store_u64(page * PAGE, page as u64 + 1))?;
    space.launch(&Read { address: span.start() })?;
    Ok((space, span))
}

/// Orders of the folios on the device, largest first, and what keeps their memory.
fn on_device(space: &Space) -> String {
    let mut orders: Vec<Order> =
        space.engine().nodes()[0].pagemap().folios().map(|folio| folio.order).collect();
    orders.sort_unstable();
    let listed: Vec<String> = orders.iter().rev().map(ToString::to_string).collect();
    let usage = space.engine().nodes()[0].pagemap().pool().usage();
    match listed.is_empty() {
        true => "nothing on the device".to_owned(),
        false => format!(
            "folios of order {} (objects: {}, references: {})",
            listed.join(" "),
            usage.objects,
            usage.references
        ),
    }
}

fn counts(space: &Space) -> Counts {
    let statistics = space.statistics();
    let (to_ram, to_device) = (statistics.get(Counter::BytesToRam), statistics.get(Counter::BytesToDevice));
    Counts { to_ram, to_device, faults: statistics.get(Counter::DeviceFaults) }
}

/// Reads every page that is left through the CPU, and checks the rules.
fn check(space: &Space, span: AddressRange) -> Result<(), Box<dyn Error>> {
    let window = space.window(span);
    let live = |page: &usize| space.engine().residence(span.start() + page * PAGE) != Residence::NotMapped;
    for page in (0..PAGES).filter(live) {
        if window.load_u64(page * PAGE)? != page as u64 + 1 {
            return Err(format!("page {page} has lost its bytes").into());
        }
    }
    match space.statistics().get(Counter::Violations) {
        0 => Ok(()),
        broken => Err(format!("{broken} rules were broken").into()),
    }
}
