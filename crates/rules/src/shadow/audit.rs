//! Counters and structures that were compared with a walk over them.

use alloc::borrow::ToOwned;
use alloc::format;

use super::Sink;
use crate::judge;
use crate::{AuditEvent, Counter, Structure};

pub(super) fn audit_event(event: AuditEvent<'_>, sink: &mut Sink<'_>) {
    match event {
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
            sink.note(verdict, || format!("{structure:?}: {}", fault.unwrap_or_default().to_owned()));
        }
    }
}
