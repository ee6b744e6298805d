"""Shared virtual memory between a Python program and a model of a device: Bifolio's C library by ctypes.

    import bifolio
    with bifolio.Space(64 << 20) as space:
        device = space.attach(vram=1 << 20)
        port = device.port()
        array = space.array(100_000, "u8")     # a numpy array in shared memory, no copy
        array[:] = 7
        port.load(array.ctypes.data, "u8")     # the model reads the same bytes at the same address

Nothing calls back into Python: faults of the program are answered by threads of the library, and everything else is polled.
"""

import ctypes
import os
from ctypes import POINTER, Structure, byref, c_char_p, c_int, c_int32, c_size_t, c_uint32, c_uint64, c_void_p

__all__ = ["READ", "WRITE", "Error", "Space", "Device", "Port"]

READ, WRITE = 1, 2
OK, FAULT, EMPTY = 0, 1, 2
CHECKED, VIRTUAL_TIME = 2, 4
PAGE = 4096


class _Handle(Structure):
    _fields_ = [("id", c_uint64)]


def _sized(name, fields):
    kind = type(name, (Structure,), {"_fields_": [("size", c_uint32), *fields]})
    return lambda **values: kind(size=ctypes.sizeof(kind), **values)


_u32, _u64 = c_uint32, c_uint64
_SpaceConfig = _sized("bf_space_config", [("flags", _u32), ("bytes", _u64), ("ram_limit", _u64)])
_DeviceConfig = _sized(
    "bf_device_config",
    [("kind", _u32), ("vram", _u64), ("smallest_order", _u32), ("access", _u32), ("link_latency_ps", _u64),
     ("link_ps_per_kib", _u64), ("ack_limit_ns", _u64), ("ops", c_void_p), ("user", c_void_p)],
)
_PortConfig = _sized("bf_port_config", [("flags", _u32), ("unit", _u32), ("queue", _u32)])
_Fault = _sized("bf_fault", [("access", _u32), ("va", _u64), ("bytes", _u64), ("tag", _u64), ("pasid", _u64)])
_Event = _sized(
    "bf_event",
    [("kind", _u32), ("tag", _u64), ("seq", _u64), ("va", _u64), ("bytes", _u64), ("due_ps", _u64),
     ("moved_in", _u64), ("moved_out", _u64), ("result", c_int32), ("forced", _u32)],
)
_Where = _sized(
    "bf_where",
    [("order", _u32), ("va", _u64), ("bytes", _u64), ("device", _u64), ("dirty", _u32), ("pins", _u32)],
)
_COUNTS = ("cpu_faults device_faults to_device_bytes to_ram_bytes evictions splits fallbacks busy failures violations "
           "invalidations late_acks").split()
_Stats = _sized("bf_stats", [("_0", _u32), *((name, _u64) for name in _COUNTS)])


def _load():
    library = ctypes.CDLL(os.environ.get("BIFOLIO_LIBRARY", "libbifolio.so.0"))
    library.bf_last_error.restype = c_size_t
    library.bf_last_error.argtypes = [c_char_p, c_size_t]
    calls = {
        "space_open": [c_void_p, POINTER(_Handle)], "space_close": [_Handle, _u64],
        "alloc": [_Handle, c_size_t, c_size_t, POINTER(c_void_p)], "free": [_Handle, c_void_p],
        "prefetch": [_Handle, c_void_p, c_size_t, _Handle], "query": [_Handle, c_void_p, c_void_p],
        "space_stats": [_Handle, c_void_p], "advance": [_Handle, _u64],
        "device_attach": [_Handle, c_void_p, POINTER(_Handle)], "device_detach": [_Handle, _u64],
        "port_open": [_Handle, c_void_p, POINTER(_Handle)], "port_close": [_Handle],
        "read": [_Handle, _u64, c_void_p, c_size_t],
        "write": [_Handle, _u64, c_void_p, c_size_t, c_void_p],
        "atomic": [_Handle, _u64, c_int, c_int, _u64, _u64, POINTER(_u64)],
        "fault_resolve": [_Handle, c_void_p], "fault_took": [_Handle, c_void_p],
        "fault_post": [_Handle, c_void_p], "event_next": [_Handle, c_void_p],
    }
    for name, arguments in calls.items():
        call = getattr(library, "bf_" + name)
        call.argtypes, call.restype = arguments, c_int32
    return library


_library = _load()


class Error(Exception):
    """A call that failed. `code` is the status of bifolio.h."""

    def __init__(self, code):
        text = ctypes.create_string_buffer(1024)
        _library.bf_last_error(text, len(text))
        super().__init__(text.value.decode())
        self.code = code


def _check(status):
    if status < 0:
        raise Error(status)
    return status


class Space:
    """Memory that this program shares with devices."""

    def __init__(self, size, *, ram_limit=0, checked=False, virtual_time=False):
        self._handle = _Handle()
        flags = (CHECKED if checked else 0) | (VIRTUAL_TIME if virtual_time else 0)
        config = _SpaceConfig(flags=flags, bytes=size, ram_limit=ram_limit)
        _check(_library.bf_space_open(byref(config), byref(self._handle)))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self, patience=1.0):
        """Ends the space. Arrays in it must not be used afterwards."""
        if self._handle.id:
            _check(_library.bf_space_close(self._handle, int(patience * 1e9)))
            self._handle = _Handle()

    def allocate(self, size, align=0):
        """The address of `size` bytes of zeros."""
        block = c_void_p()
        _check(_library.bf_alloc(self._handle, size, align, byref(block)))
        return block.value

    def free(self, address):
        _check(_library.bf_free(self._handle, address))

    def array(self, shape, dtype="u8"):
        """A numpy array of zeros in shared memory: a view, not a copy. It lives until `free` or `close`."""
        import numpy

        dtype = numpy.dtype(dtype)
        count = int(numpy.prod(shape))
        address = self.allocate(max(count * dtype.itemsize, 1), 64)
        memory = (ctypes.c_ubyte * (count * dtype.itemsize)).from_address(address)
        return numpy.frombuffer(memory, dtype=dtype, count=count).reshape(shape)

    def attach(self, vram, *, link_latency_ps=0, link_ps_per_kib=0):
        """A device of `vram` bytes of memory."""
        config = _DeviceConfig(vram=vram, link_latency_ps=link_latency_ps, link_ps_per_kib=link_ps_per_kib)
        handle = _Handle()
        _check(_library.bf_device_attach(self._handle, byref(config), byref(handle)))
        return Device(handle)

    def prefetch(self, address, size, device=None):
        """Brings pages to a device, or home."""
        _check(_library.bf_prefetch(self._handle, address, size, device._handle if device else _Handle()))

    def advance(self, now_ps):
        """Sets model time, of a space with virtual time."""
        _check(_library.bf_advance(self._handle, now_ps))

    def stats(self):
        """The counters, as a dict."""
        stats = _Stats()
        _check(_library.bf_space_stats(self._handle, byref(stats)))
        return {name: getattr(stats, name) for name in _COUNTS}

    def residency(self, address, size):
        """Where each page is: a numpy array of booleans, true for pages on a device."""
        import numpy

        start = address // PAGE * PAGE
        pages = numpy.zeros((address + size - start + PAGE - 1) // PAGE, dtype=bool)
        at = start
        while at < address + size:
            where = _Where()
            _check(_library.bf_query(self._handle, at, byref(where)))
            end = where.va + where.bytes
            if where.device:
                pages[(at - start) // PAGE : (end - start) // PAGE] = True
            at = end
        return pages


class Device:
    """A device of a space."""

    def __init__(self, handle):
        self._handle = handle

    def port(self, unit=0):
        """A way into its memory, for one unit of it; used by one thread at a time."""
        config, handle = _PortConfig(unit=unit), _Handle()
        _check(_library.bf_port_open(self._handle, byref(config), byref(handle)))
        return Port(handle)

    def detach(self, patience=1.0):
        _check(_library.bf_device_detach(self._handle, int(patience * 1e9)))


class Port:
    """Accesses of a model by virtual addresses."""

    def __init__(self, handle):
        self._handle = handle

    def try_read(self, address, size):
        """`size` bytes, or `None` if a page is missing."""
        bytes_ = ctypes.create_string_buffer(size)
        status = _check(_library.bf_read(self._handle, address, bytes_, size))
        return None if status == FAULT else bytes_.raw

    def try_write(self, address, data):
        """Whether the bytes were written: all, or none if a page is missing."""
        return _check(_library.bf_write(self._handle, address, bytes(data), len(data), None)) == OK

    def resolve(self, address, size=1, access=READ):
        """Brings pages while model time stands still."""
        fault = _Fault(va=address, bytes=size, access=access)
        _check(_library.bf_fault_resolve(self._handle, byref(fault)))

    def post(self, address, size=1, access=READ, tag=0):
        """Asks for pages; an event tells when they are there."""
        fault = _Fault(va=address, bytes=size, access=access, tag=tag)
        _check(_library.bf_fault_post(self._handle, byref(fault)))

    def next_event(self):
        """The next event as a dict, or `None`."""
        event = _Event()
        if _check(_library.bf_event_next(self._handle, byref(event))) == EMPTY:
            return None
        return {name: getattr(event, name) for name, _ in event._fields_ if name != "size"}

    def read(self, address, size):
        """`size` bytes, whatever it takes."""
        while (data := self.try_read(address, size)) is None:
            self.resolve(address, size)
        return data

    def write(self, address, data):
        """Writes bytes, whatever it takes."""
        while not self.try_write(address, data):
            self.resolve(address, len(data), READ | WRITE)

    def load(self, address, dtype="u8"):
        """A number."""
        import numpy

        dtype = numpy.dtype(dtype)
        return numpy.frombuffer(self.read(address, dtype.itemsize), dtype)[0]

    def store(self, address, value, dtype="u8"):
        import numpy

        self.write(address, numpy.asarray(value, dtype).tobytes())

    def close(self):
        _check(_library.bf_port_close(self._handle))
