//! Counters and structures that were compared with a walk over them.

use alloc::format;

use super::{Judgement, Shadow, Sink};
use crate::judge::{self, Teardown};
use crate::{AuditEvent, Counter, Structure};

impl AuditEvent<'_> {
    /// Judges what was seen. Nothing else needs to be known for that.
    #[must_use]
    pub fn judgement(&self) -> Judgement {
        let mut judgement = None;
        self.judge(&mut Sink(&mut |judged| judgement = Some(judged)));
        judgement.expect("each event of an audit is judged by one rule")
    }

    fn judge(&self, sink: &mut Sink<'_>) {
        match *self {
            AuditEvent::Counted { counter, counted, found } => {
                let verdict = match counter {
                    Counter::ObjectReferences | Counter::PoolPages => judge::i7_references(counted, found, 0),
                    Counter::LivePages => judge::i8_counted(counted, found),
                    Counter::ResidentPages => {
                        judge::i13_pages(i64::try_from(counted).unwrap_or(i64::MAX), found, 0)
                    }
                };
                sink.note(verdict, || format!("{counter:?}: {counted} are counted, {found} found"));
            }
            AuditEvent::Walked { structure, fault } => {
                let verdict = match structure {
                    Structure::Pagemap => judge::i2_words(fault, None),
                    Structure::Pool => judge::i7_consistent(fault),
                    Structure::Block => judge::i12_consistent(fault),
                };
                sink.note(verdict, || format!("{structure:?}: {}", fault.unwrap_or_default()));
            }
            AuditEvent::Refusals { node, refusals } => {
                sink.note(judge::i4_accepted(refusals), || {
                    format!("node {node}: the pool refused {refusals} frees, splits or collapses")
                });
            }
            AuditEvent::Teardown { node, ends, live_pages } => {
                sink.note(judge::i16_ended(ends, live_pages), || {
                    format!("node {node}: teardown ends: {ends}; {live_pages} live pages were found")
                });
            }
        }
    }
}

impl Shadow {
    /// Judges a walk. That teardown ends is judged once more by what is known of the node.
    pub(super) fn audit_event(&mut self, event: AuditEvent<'_>, sink: &mut Sink<'_>) {
        event.judge(sink);
        let AuditEvent::Teardown { node: number, ends: true, .. } = event else { return };
        self.of_node(number, sink, |node, sink| {
            node.teardown = Teardown::Ended;
            let live = node.ranges.live();
            sink.note(judge::i16_ended(true, live), || {
                format!("node {number}: teardown ends, but {live} live pages are known")
            });
        });
    }
}
