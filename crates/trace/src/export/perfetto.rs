//! Perfetto's TrackEvent, for its viewer at <https://ui.perfetto.dev> (which works on the file in the browser).
//!
//! ```text
//!   Bifolio
//!     device 0, unit 1        |=== device fault ===|        |== device fault ==|
//!     device 0, unit 1: copies   |= to device =|               |= ... =|
//!     CPU faults, thread 3    |== CPU fault ==|
//!     to device 0, to RAM                   * folio, with a flow from the fault that it answers
//!     evictions, device 0         *
//!     used in place by device 0          * pages of system memory, with a flow from the fault
//!     batches, thread 3       * messages that were read at once
//!     resident on device 0    bytes over time, as in system memory
//! ```
//!
//! Source of the fields: `protos/perfetto/trace/perfetto_trace.proto` of the Perfetto project.

use std::collections::HashMap;
use std::io::{self, Write};

use bifolio_folio::PAGE_SIZE;

use crate::event::{Answer, Event, Kind};
use crate::export::protobuf::Message;
use crate::reader::Trace;
use crate::residency::{Place, Residency};

/// The sequence that all packets belong to.
const SEQUENCE: u64 = 1;
/// Flags of a packet: it begins the sequence anew, or it uses names that were told in it.
const INCREMENTAL_STATE_CLEARED: u64 = 1;
const NEEDS_INCREMENTAL_STATE: u64 = 2;

/// Fields of a TracePacket.
mod packet {
    pub(super) const PACKET: u32 = 1;
    pub(super) const TIMESTAMP: u32 = 8;
    pub(super) const SEQUENCE_ID: u32 = 10;
    pub(super) const TRACK_EVENT: u32 = 11;
    pub(super) const INTERNED_DATA: u32 = 12;
    pub(super) const SEQUENCE_FLAGS: u32 = 13;
    pub(super) const TRACK_DESCRIPTOR: u32 = 60;
}

/// Types of a TrackEvent.
#[derive(Clone, Copy)]
enum Type {
    Begin = 1,
    End = 2,
    Instant = 3,
    Counter = 4,
}

/// Names that are written once and then named by their numbers, from 1.
const NAMES: [&str; 11] = [
    "CPU fault",
    "first touch",
    "device fault",
    "fault without a move",
    "failed fault",
    "copy to device",
    "copy to system memory",
    "folio",
    "eviction",
    "used in place",
    "batch",
];
/// Names of the details of an event.
const DETAILS: [&str; 7] = ["address", "order", "bytes", "trigger", "device page", "uses", "messages"];

/// What faults, or has things moved.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Source {
    /// A unit of a device.
    Unit { node: u8, unit: u32 },
    /// The CPU, whose faults are answered by a thread.
    Cpu { thread: u32 },
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Track {
    Faults(Source),
    Copies(Source),
    ToDevice { node: u8 },
    ToRam,
    Evictions { node: u8 },
    InPlace { node: u8 },
    Batches { thread: u32 },
    OnDevice { node: u8 },
    InRam,
}

/// Writes a trace.
///
/// # Errors
/// If writing fails.
pub fn write(trace: &Trace, out: &mut impl Write) -> io::Result<()> {
    let mut writer = Writer { out, tracks: HashMap::new(), waiting: HashMap::new(), flows: 0 };
    writer.begin(trace.note("command").unwrap_or("bifolio"))?;
    let (mut residency, mut told) = (Residency::new(), Levels::default());
    for event in trace.events() {
        writer.event(&event)?;
        residency.apply(&event.kind);
        if told.is_due(&event) {
            writer.levels(&event, &residency)?;
        }
    }
    writer.finish()
}

/// How often counters are told: at most once in so many nanoseconds.
const LEVEL_NS: u64 = 1_000_000;

#[derive(Default)]
struct Levels {
    next_ns: u64,
}

impl Levels {
    fn is_due(&mut self, event: &Event) -> bool {
        let moves = matches!(
            event.kind,
            Kind::ToDevice { .. } | Kind::ToRam { .. } | Kind::Populated { .. } | Kind::Unmapped { .. }
        );
        let due = moves && event.time_ns >= self.next_ns;
        if due {
            self.next_ns = event.time_ns + LEVEL_NS;
        }
        due
    }
}

struct Writer<'o, W> {
    out: &'o mut W,
    /// The number of each track that was described.
    tracks: HashMap<Track, u64>,
    /// Folios that moved and copies that were made on a thread since its last fault: for which fault is told later.
    waiting: HashMap<u32, Vec<Event>>,
    /// Flows so far: each leads from a fault to the folios that it brought.
    flows: u64,
}

impl<W: Write> Writer<'_, W> {
    /// The process, and the names.
    fn begin(&mut self, command: &str) -> io::Result<()> {
        let process = Message::new().number(1, 1).text(6, command);
        let descriptor = Message::new().number(1, PROCESS).message(3, &process);
        let mut interned = Message::new();
        for (number, name) in (1..).zip(NAMES) {
            interned = interned.message(2, &Message::new().number(1, number).text(2, name));
        }
        for (number, name) in (1..).zip(DETAILS) {
            interned = interned.message(3, &Message::new().number(1, number).text(2, name));
        }
        let first = Message::new()
            .number(packet::SEQUENCE_ID, SEQUENCE)
            .number(packet::SEQUENCE_FLAGS, INCREMENTAL_STATE_CLEARED)
            .message(packet::INTERNED_DATA, &interned)
            .message(packet::TRACK_DESCRIPTOR, &descriptor);
        self.packet(&first)
    }

    fn event(&mut self, event: &Event) -> io::Result<()> {
        match event.kind {
            Kind::CpuFault { answer, wait_ns, .. } => {
                let name = match answer {
                    Answer::Populated => "first touch",
                    other => fault_name(other, "CPU fault"),
                };
                self.fault(event, Source::Cpu { thread: event.thread }, name, wait_ns)
            }
            Kind::DeviceFault { answer, wait_ns, node, unit, .. } => {
                self.fault(event, Source::Unit { node, unit }, fault_name(answer, "device fault"), wait_ns)
            }
            Kind::Copied { .. } | Kind::ToDevice { .. } | Kind::ToRam { .. } | Kind::Remote { .. } => {
                self.waiting.entry(event.thread).or_default().push(*event);
                Ok(())
            }
            Kind::Evicted { address, node } => {
                let body = body(Type::Instant, self.track(Track::Evictions { node })?);
                self.track_event(event.time_ns, &named(body, "eviction", &[("address", address)]))
            }
            Kind::Batch { messages } => {
                let body = body(Type::Instant, self.track(Track::Batches { thread: event.thread })?);
                self.track_event(event.time_ns, &named(body, "batch", &[("messages", messages.into())]))
            }
            _ => Ok(()),
        }
    }

    /// A fault as a slice, and what was copied and moved for it.
    fn fault(&mut self, event: &Event, source: Source, name: &str, wait_ns: u64) -> io::Result<()> {
        let begin_ns = event.time_ns.saturating_sub(wait_ns);
        self.flows += 1;
        let (flow, mut leads_on) = (self.flows, false);
        for done in self.waiting.remove(&event.thread).unwrap_or_default() {
            let within = done.time_ns >= begin_ns;
            leads_on |= within && !matches!(done.kind, Kind::Copied { .. });
            self.done(&done, source, within.then_some(flow))?;
        }
        let address = event.kind.address().unwrap_or(0);
        let flow = leads_on.then_some(flow);
        self.slice(Track::Faults(source), event.time_ns, wait_ns, name, &[("address", address)], flow)
    }

    /// A copy or a folio that moved.
    fn done(&mut self, event: &Event, source: Source, flow: Option<u64>) -> io::Result<()> {
        let Kind::Copied { to_device, bytes, time_ns, .. } = event.kind else {
            return self.folio(event, flow);
        };
        let name = if to_device { "copy to device" } else { "copy to system memory" };
        self.slice(Track::Copies(source), event.time_ns, time_ns, name, &[("bytes", bytes)], None)
    }

    fn folio(&mut self, event: &Event, flow: Option<u64>) -> io::Result<()> {
        let (track, name, details) = match event.kind {
            Kind::ToDevice { address, order, node, pfn, .. } => {
                let details = vec![("address", address), ("order", order.into()), ("device page", pfn)];
                (Track::ToDevice { node }, "folio", details)
            }
            Kind::ToRam { address, order, .. } => {
                (Track::ToRam, "folio", vec![("address", address), ("order", order.into())])
            }
            Kind::Remote { address, order, node, uses } => {
                let details = vec![("address", address), ("order", order.into()), ("uses", uses.into())];
                (Track::InPlace { node }, "used in place", details)
            }
            _ => return Ok(()),
        };
        let body = named(body(Type::Instant, self.track(track)?), name, &details);
        self.track_event(event.time_ns, &with_flow(body, flow))
    }

    fn slice(
        &mut self,
        track: Track,
        end_ns: u64,
        length_ns: u64,
        name: &str,
        details: &[(&str, u64)],
        flow: Option<u64>,
    ) -> io::Result<()> {
        let track = self.track(track)?;
        let begin = with_flow(named(body(Type::Begin, track), name, details), flow);
        self.track_event(end_ns.saturating_sub(length_ns), &begin)?;
        self.track_event(end_ns, &body(Type::End, track))
    }

    /// Writes what was done for no fault: for prefetches, for example.
    fn finish(&mut self) -> io::Result<()> {
        let waiting = std::mem::take(&mut self.waiting);
        waiting.into_values().flatten().try_for_each(|done| {
            let source = Source::Cpu { thread: done.thread };
            self.done(&done, source, None)
        })
    }

    /// Tells how much is where.
    fn levels(&mut self, event: &Event, residency: &Residency) -> io::Result<()> {
        let mut bytes: HashMap<Track, u64> = HashMap::new();
        for (_, order, place) in residency.folios() {
            let track = match place {
                Place::Ram => Track::InRam,
                Place::Device { node, .. } => Track::OnDevice { node },
            };
            *bytes.entry(track).or_default() += PAGE_SIZE << order;
        }
        let known = self.tracks.keys().filter(|track| matches!(track, Track::InRam | Track::OnDevice { .. }));
        let emptied: Vec<Track> = known.filter(|track| !bytes.contains_key(track)).copied().collect();
        bytes.extend(emptied.into_iter().map(|track| (track, 0)));
        for (track, bytes) in bytes {
            let body = body(Type::Counter, self.track(track)?).number(30, bytes);
            self.track_event(event.time_ns, &body)?;
        }
        Ok(())
    }

    /// The number of a track, which is described if it is new.
    fn track(&mut self, track: Track) -> io::Result<u64> {
        if let Some(&number) = self.tracks.get(&track) {
            return Ok(number);
        }
        let number = PROCESS + 1 + self.tracks.len() as u64;
        self.tracks.insert(track, number);
        let mut descriptor = Message::new().number(1, number).number(5, PROCESS).text(2, &name_of(track));
        if matches!(track, Track::OnDevice { .. } | Track::InRam) {
            const UNIT_SIZE_BYTES: u64 = 3;
            descriptor = descriptor.message(8, &Message::new().number(3, UNIT_SIZE_BYTES));
        }
        self.packet(
            &Message::new()
                .number(packet::SEQUENCE_ID, SEQUENCE)
                .message(packet::TRACK_DESCRIPTOR, &descriptor),
        )?;
        Ok(number)
    }

    fn track_event(&mut self, time_ns: u64, body: &Message) -> io::Result<()> {
        self.packet(
            &Message::new()
                .number(packet::TIMESTAMP, time_ns)
                .number(packet::SEQUENCE_ID, SEQUENCE)
                .number(packet::SEQUENCE_FLAGS, NEEDS_INCREMENTAL_STATE)
                .message(packet::TRACK_EVENT, body),
        )
    }

    fn packet(&mut self, body: &Message) -> io::Result<()> {
        self.out.write_all(Message::new().message(packet::PACKET, body).as_bytes())
    }
}

/// The number of the track of the process.
const PROCESS: u64 = 1;

fn fault_name(answer: Answer, moved: &'static str) -> &'static str {
    match answer {
        Answer::Moved | Answer::Populated => moved,
        Answer::AlreadyThere => "fault without a move",
        Answer::Failed => "failed fault",
    }
}

fn name_of(track: Track) -> String {
    match track {
        Track::Faults(Source::Cpu { thread }) => format!("CPU faults, thread {thread}"),
        Track::Faults(Source::Unit { node, unit }) => format!("device {node}, unit {unit}"),
        Track::Copies(Source::Cpu { thread }) => format!("thread {thread}: copies"),
        Track::Copies(Source::Unit { node, unit }) => format!("device {node}, unit {unit}: copies"),
        Track::ToDevice { node } => format!("to device {node}"),
        Track::ToRam => "to system memory".to_owned(),
        Track::Evictions { node } => format!("evictions, device {node}"),
        Track::InPlace { node } => format!("used in place by device {node}"),
        Track::Batches { thread } => format!("batches, thread {thread}"),
        Track::OnDevice { node } => format!("resident on device {node}"),
        Track::InRam => "resident in system memory".to_owned(),
    }
}

fn body(kind: Type, track: u64) -> Message {
    Message::new().number(9, kind as u64).number(11, track)
}

fn named(body: Message, name: &str, details: &[(&str, u64)]) -> Message {
    let number_in = |names: &[&str], name: &str| {
        1 + names.iter().position(|known| *known == name).expect("all names are in the list") as u64
    };
    let mut body = body.number(10, number_in(&NAMES, name));
    for (detail, value) in details {
        // Addresses are shown as pointers.
        let field = if *detail == "address" { 7 } else { 3 };
        body = body.message(4, &Message::new().number(1, number_in(&DETAILS, detail)).number(field, *value));
    }
    body
}

fn with_flow(body: Message, flow: Option<u64>) -> Message {
    match flow {
        Some(flow) => body.fixed64(47, flow),
        None => body,
    }
}
