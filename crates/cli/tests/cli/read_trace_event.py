"""Reads a trace by Perfetto's own definitions, and prints what it found as JSON. The package is `perfetto`, of PyPI."""

import json
import sys
from collections import Counter

from perfetto.protos.perfetto.trace import perfetto_trace_pb2

trace = perfetto_trace_pb2.Trace()
with open(sys.argv[1], "rb") as file:
    trace.ParseFromString(file.read())
names, tracks, slices, instants, flows, depths = {}, {}, Counter(), Counter(), Counter(), {}
counters, unbalanced = Counter(), 0
for packet in trace.packet:
    for name in packet.interned_data.event_names:
        names[name.iid] = name.name
    if packet.HasField("track_descriptor"):
        track = packet.track_descriptor
        tracks[track.uuid] = track.name or track.process.process_name
    if packet.HasField("track_event"):
        event = packet.track_event
        assert event.track_uuid in tracks, "a track is described before it is used"
        if event.type == event.TYPE_SLICE_BEGIN:
            slices[names[event.name_iid]] += 1
            depths[event.track_uuid] = depths.get(event.track_uuid, 0) + 1
        elif event.type == event.TYPE_SLICE_END:
            depths[event.track_uuid] -= 1
        elif event.type == event.TYPE_INSTANT:
            instants[names[event.name_iid]] += 1
        elif event.type == event.TYPE_COUNTER:
            counters[tracks[event.track_uuid]] += 1
        flows.update(event.flow_ids)
print(json.dumps({
    "tracks": sorted(tracks.values()), "slices": slices, "instants": instants, "counters": counters,
    "flows": len(flows), "loose_flows": sum(count == 1 for count in flows.values()),
    "open_slices": sum(depths.values()),
}))
