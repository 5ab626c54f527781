"""A wire between two hosts that delays, loses and cuts: `tc netem` where the kernel has it, else a relay of our own."""

import ctypes
import fcntl
import heapq
import itertools
import os
import random
import select
import struct
import threading
import time

TUNSETIFF = 0x400454CA
IFF_TAP, IFF_NO_PI = 0x0002, 0x1000
CLONE_NEWNET = 0x40000000
# The longest frame of a link with the usual MTU, and some more.
FRAME = 4096
# Frames on their way at most, as netem has it: what is more is lost.
LIMIT = 1000


def wire(one, link, other, other_link, seed):
    one.ip(f"link add {link} type veth peer name {other_link} netns {other.pid}")
    ends = (one, link), (other, other_link)
    try:
        return Netem(ends)
    except AssertionError:
        one.ip(f"link delete {link}")
        return Relay(ends, seed)


class Netem:
    """A veth pair with `tc netem` at both ends."""

    def __init__(self, ends):
        self._ends = ends
        self._delay, self._loss = 0, 0
        self._set()

    def behave(self, delay=0, loss=0):
        """Each frame takes `delay` seconds in each direction, and the share `loss` of them is lost."""
        self._delay, self._loss = delay, loss
        self._set()

    def cut(self):
        """Nothing passes any more, and nobody is told: the links stay up."""
        self._set("loss", "100%")

    def mend(self):
        self._set()

    def end(self):
        """It goes with the hosts."""

    def _set(self, *cut):
        usual = ("delay", f"{self._delay * 1000:g}ms", "loss", f"{self._loss * 100:g}%")
        for host, link in self._ends:
            host.run("tc", "qdisc", "replace", "dev", link, "root", "netem", *(cut or usual))


class Relay:
    """A tap device at each end and a thread that carries the frames."""

    def __init__(self, ends, seed):
        self._delay, self._loss, self._whole = 0, 0, True
        self._chance = random.Random(seed)
        self._taps = [tap(host, link) for host, link in ends]
        self._over, self._end = os.pipe()
        self._thread = threading.Thread(target=self._carry, daemon=True)
        self._thread.start()

    def behave(self, delay=0, loss=0):
        """Each frame takes `delay` seconds in each direction, and the share `loss` of them is lost."""
        self._delay, self._loss = delay, loss

    def cut(self):
        """Nothing passes any more, and nobody is told: the links stay up."""
        self._whole = False

    def mend(self):
        self._whole = True

    def end(self):
        os.close(self._end)
        self._thread.join()
        for each in (*self._taps, self._over):
            os.close(each)

    def _carry(self):
        under_way, order = [], itertools.count()
        while True:
            wait = max(0, under_way[0][0] - time.monotonic()) if under_way else None
            ready, _, _ = select.select([self._over, *self._taps], [], [], wait)
            if self._over in ready:
                return
            for each in ready:
                self._take(each, under_way, order)
            while under_way and under_way[0][0] <= time.monotonic():
                _, _, target, frame = heapq.heappop(under_way)
                put(target, frame)

    def _take(self, source, under_way, order):
        try:
            frame = os.read(source, FRAME)
        except OSError:
            return
        lost = self._chance.random() < self._loss or len(under_way) >= LIMIT
        if self._whole and not lost:
            target = self._taps[1 - self._taps.index(source)]
            heapq.heappush(under_way, (time.monotonic() + self._delay, next(order), target, frame))


def put(target, frame):
    try:
        os.write(target, frame)
    except OSError:
        # A link that is down takes nothing: the frame is lost, as on any other wire.
        pass


def tap(host, link):
    """A tap device inside the host; it lives as long as its descriptor."""
    made = []

    def make():
        # Only this thread moves.
        libc = ctypes.CDLL(None, use_errno=True)
        namespace = os.open(host.namespace, os.O_RDONLY)
        try:
            if libc.setns(namespace, CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns")
            device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
            fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22x", link.encode(), IFF_TAP | IFF_NO_PI))
            made.append(device)
        except OSError as error:
            made.append(error)
        finally:
            os.close(namespace)
    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    assert isinstance(made[0], int), f"{host.name}: no tap device: {made[0]}"
    return made[0]
