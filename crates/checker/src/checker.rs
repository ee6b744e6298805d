//! [`Checker`]: an observer of an engine that has a shadow of it.

use std::fmt;
use std::sync::{Arc, PoisonError};

use bifolio_engine::event::{Event, EventKind, Observer};
use bifolio_engine::{Counter, Statistics};
use bifolio_folio::{Order, Pfn};
use bifolio_migrate::NodeId;
use bifolio_rules::{AuditEvent, FolioEvent, Judgement, PageRange, Shadow, Violation};

use crate::sync::{Mutex, MutexGuard};

/// Violations that are kept with their text; all are counted.
pub const KEPT: usize = 64;

/// Judges what an engine does, and keeps what broke a rule.
///
/// [`Observed`](crate::Observed) makes it an observer of the engine and puts it before every device and pool.
pub struct Checker {
    /// Where judgements and violations are counted.
    statistics: Statistics,
    shadow: Mutex<Shadow>,
    violations: Mutex<Vec<Violation>>,
}

impl fmt::Debug for Checker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checker").field("violations", &*self.kept()).finish_non_exhaustive()
    }
}

impl Checker {
    /// Makes a checker of an engine of no node yet, which counts in `statistics`.
    pub(crate) fn new(statistics: Statistics) -> Arc<Checker> {
        Arc::new(Checker { statistics, shadow: Mutex::default(), violations: Mutex::default() })
    }

    /// The first violations, with their text; [`Counter::Violations`] counts all.
    #[must_use]
    pub fn violations(&self) -> Vec<Violation> {
        self.kept().clone()
    }

    /// The first violations of transitions, and after them those that an audit found and that are not among them.
    #[must_use]
    pub fn violations_and(&self, found: Vec<Violation>) -> Vec<Violation> {
        let mut violations = self.violations();
        let new: Vec<_> = found.into_iter().filter(|found| !violations.contains(found)).collect();
        violations.extend(new);
        violations
    }

    /// Tells the shadow what happened, and keeps what it judges.
    pub(crate) fn tell(&self, event: &bifolio_rules::Event<'_>) {
        self.tell_shadow(&mut self.shadow(), event);
    }

    /// The same for a caller that holds the shadow.
    pub(crate) fn tell_shadow(&self, shadow: &mut Shadow, event: &bifolio_rules::Event<'_>) {
        shadow.observe(event, &mut |judgement| {
            if judgement.broken.is_some() {
                self.statistics.add(Counter::Violations, 1);
            }
            self.keep(judgement);
        });
    }

    /// Tells the shadow what an audit saw. The statistics count what breaks a rule, whether the engine is checked or not.
    fn tell_audit(&self, event: AuditEvent<'_>) {
        self.shadow().observe(&bifolio_rules::Event::Audit(event), &mut |judgement| self.keep(judgement));
    }

    /// What is known of the engine. Nothing else is told meanwhile.
    pub(crate) fn shadow(&self) -> MutexGuard<'_, Shadow> {
        // A panic of a checked engine ends the check; what others see then does not matter.
        self.shadow.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, judgement: Judgement) {
        self.statistics.add_judged(judgement.rule, 1);
        let Some(violation) = judgement.violation() else { return };
        let mut kept = self.kept();
        if kept.len() < KEPT {
            kept.push(violation);
        }
    }

    fn kept(&self) -> MutexGuard<'_, Vec<Violation>> {
        // Violations are pushed whole.
        self.violations.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observer for Checker {
    fn observe(&self, event: &Event<'_>) {
        match event.kind {
            EventKind::Begin { context, .. } => self.begin(context),
            EventKind::Step { step, context } => self.before(step, context),
            EventKind::Done { step, outcome, context } => self.after(step, outcome, context),
            EventKind::End { result, context, .. } => self.end(result, context),
            EventKind::Waiting { block } => self.waiting(block),
            EventKind::Forming { node, range, .. } => self.forming(node, range),
            EventKind::Formed { node, folio, data, .. } => self.formed(node, folio, data),
            EventKind::FormRefused { node, range, page } => self.form_refused(node, range, page),
            EventKind::Victim { node, wanted, found } => {
                let (wanted, found) = (wanted.get(), found.map(Pfn::get));
                self.tell(&of_folio(node, FolioEvent::Rechecked { wanted, found }));
            }
            EventKind::Killed { node } => self.tell(&of_folio(node, FolioEvent::Killed)),
            EventKind::Audit(event) => self.tell_audit(*event),
            _ => {}
        }
    }

    fn checks_every_page(&self) -> bool {
        true
    }
}

/// An event of the folios of a node.
pub(crate) fn of_folio(node: NodeId, event: FolioEvent) -> bifolio_rules::Event<'static> {
    bifolio_rules::Event::Folio { node: node.0, event }
}

/// The pages of a range of device memory.
pub(crate) fn range_of(head: Pfn, order: Order) -> PageRange {
    PageRange::of_order(head.get(), order.get())
}
