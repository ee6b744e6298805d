//! A world of two nodes that is known from its events only.

use bifolio_rules::{
    AuditEvent, BytesEvent, DeviceEvent, Event, FolioEvent, NewFolio, PageRange, PoolEvent, Purpose, RuleSet,
    Shadow, TransactionEvent, Words,
};

/// Device pages 0..64.
pub const NEAR: u8 = 0;
/// Device pages 64..128.
pub const FAR: u8 = 1;
/// Address of a block.
pub const BLOCK: u64 = 0x20_0000;

#[derive(Default)]
pub struct World {
    pub shadow: Shadow,
    judged: RuleSet,
    broken: RuleSet,
}

/// Pages of a range.
pub const fn pages(first: u64, pages: u64) -> PageRange {
    PageRange { first, pages }
}

/// A folio as it should be found.
pub const fn folio(head: u64, order: u8, data: u32) -> NewFolio {
    let place = Some((head, order));
    NewFolio {
        head,
        order,
        data,
        pagemap: Some(NEAR),
        words: Words { first: place, last: place, data },
        locked: true,
        references: 1,
    }
}

impl World {
    pub fn new() -> World {
        let mut world = World::default();
        world.observe(&Event::NodeAdded { node: NEAR, pagemap: pages(0, 64) });
        world.observe(&Event::NodeAdded { node: FAR, pagemap: pages(64, 64) });
        world
    }

    pub fn observe(&mut self, event: &Event<'_>) {
        let World { shadow, judged, broken } = self;
        shadow.observe(event, &mut |judgement| {
            judged.require(false, judgement.rule.number());
            broken.require(judgement.broken.is_none(), judgement.rule.number());
        });
    }

    pub fn pool(&mut self, event: PoolEvent) -> &mut World {
        self.observe(&Event::Pool { node: NEAR, event });
        self
    }

    pub fn folio(&mut self, event: FolioEvent) -> &mut World {
        self.observe(&Event::Folio { node: NEAR, event });
        self
    }

    pub fn device(&mut self, event: DeviceEvent) -> &mut World {
        self.observe(&Event::Device { node: NEAR, event });
        self
    }

    pub fn transaction(&mut self, event: TransactionEvent) -> &mut World {
        self.observe(&Event::Transaction { block: BLOCK, event });
        self
    }

    pub fn bytes(&mut self, event: BytesEvent<'_>) -> &mut World {
        self.observe(&Event::Bytes(event));
        self
    }

    pub fn audit(&mut self, event: AuditEvent<'_>) -> &mut World {
        self.observe(&Event::Audit(event));
        self
    }

    pub fn allocated(&mut self, head: u64, order: u8, data: u32) -> &mut World {
        self.pool(PoolEvent::Allocated {
            head,
            order,
            wanted: order,
            data,
            purpose: Purpose::Folio,
            cleared: false,
        })
    }

    /// A range that the pool says is clear.
    pub fn said_clear(&mut self, head: u64, order: u8, data: u32) -> &mut World {
        let purpose = Purpose::Folio;
        self.pool(PoolEvent::Allocated { head, order, wanted: order, data, purpose, cleared: true })
    }

    /// A folio that was allocated, formed and filled.
    pub fn formed(&mut self, head: u64, order: u8, data: u32) -> &mut World {
        self.allocated(head, order, data)
            .folio(FolioEvent::Forming { head })
            .folio(FolioEvent::Formed(folio(head, order, data)))
            .device(DeviceEvent::Written { pages: PageRange::of_order(head, order) })
    }

    pub fn freed(&mut self, head: u64, order: u8, data: u32) -> &mut World {
        self.pool(PoolEvent::Freed { head, order, data })
    }

    /// Nothing was broken, and the rules were judged since the last look.
    #[track_caller]
    pub fn keeps(&mut self, rules: &[u8]) -> &mut World {
        assert_eq!(self.broken, RuleSet::NONE);
        let rules = RuleSet::of(rules);
        assert_eq!(rules.without(self.judged), RuleSet::NONE, "never judged");
        self.judged = RuleSet::NONE;
        self
    }

    /// These rules were broken, and no others.
    #[track_caller]
    pub fn breaks(&mut self, rules: &[u8]) {
        assert_eq!(self.broken, RuleSet::of(rules));
    }
}
