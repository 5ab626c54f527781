"""NETCONF by hand: the octets are the test's business."""

import os
import select
import subprocess
import time
from dataclasses import dataclass

from lxml import etree

from .wait import DEADLINE

NETCONF = "urn:ietf:params:xml:ns:netconf:base:1.0"
BASE_1_0 = "urn:ietf:params:netconf:base:1.0"
BASE_1_1 = "urn:ietf:params:netconf:base:1.1"
END_OF_MESSAGE = b"]]>]]>"


class Ended(Exception):
    """The other side has ended the session."""


@dataclass
class Refusal:
    """One rpc-error."""

    kind: str
    tag: str
    path: str | None
    app_tag: str | None
    message: str
    info: dict

    @classmethod
    def read(cls, element):
        def text(name):
            return element.findtext(f"{{{NETCONF}}}error-{name}")
        info = element.find(f"{{{NETCONF}}}error-info")
        children = {etree.QName(child).localname: child.text for child in (info if info is not None else [])}
        return cls(text("type"), text("tag"), text("path"), text("app-tag"), text("message"), children)


class Reply:
    """An rpc-reply."""

    def __init__(self, message):
        self.element = etree.fromstring(message)
        self.text = message.decode()
        self.id = self.element.get("message-id")
        self.errors = [Refusal.read(error) for error in self.element.iterfind(f"{{{NETCONF}}}rpc-error")]

    @property
    def is_ok(self):
        return self.element.find(f"{{{NETCONF}}}ok") is not None


class Session:
    """A session on two file descriptors. Nothing blocks: every wait has a deadline."""

    def __init__(self, reader, writer, close):
        self._reader, self._writer, self._close = reader, writer, close
        os.set_blocking(reader, False)
        os.set_blocking(writer, False)
        self._received = bytearray()
        self._chunked = False
        self._last_id = 0

    @classmethod
    def on_socket(cls, stream):
        return cls(stream.fileno(), stream.fileno(), stream.close)

    def hello(self, *bases):
        """Both hellos; the server's is returned."""
        capabilities = "".join(f"<capability>{base}</capability>" for base in bases or (BASE_1_0, BASE_1_1))
        self.write(f'<hello xmlns="{NETCONF}"><capabilities>{capabilities}</capabilities></hello>'.encode()
                   + END_OF_MESSAGE)
        theirs = self.receive()
        self._chunked = not bases or BASE_1_1 in bases
        return theirs

    def rpc(self, operation, seconds=DEADLINE):
        """Sends an operation and waits for its reply."""
        self.send(operation)
        reply = Reply(self.receive(seconds))
        assert reply.id == str(self._last_id), reply.text
        return reply

    def send(self, operation):
        """Sends an operation; the message-id counts from 1."""
        self._last_id += 1
        self.send_message(f'<rpc xmlns="{NETCONF}" message-id="{self._last_id}">{operation}</rpc>'.encode())

    def send_message(self, message, read=True, seconds=DEADLINE):
        framed = message + END_OF_MESSAGE
        if self._chunked:
            framed = b"\n#%d\n%b\n##\n" % (len(message), message)
        self.write(framed, read, seconds)

    def write(self, octets, read=True, seconds=DEADLINE):
        """Writes octets as they are; `read` says whether what comes meanwhile is taken in."""
        deadline, left = time.monotonic() + seconds, memoryview(octets)
        while left:
            readers = [self._reader] if read else []
            readable, writable, _ = select.select(readers, [self._writer], [], max(0, deadline - time.monotonic()))
            assert readable or writable, f"{len(left)} octets could not be written within {seconds} s"
            if readable and not self._take():
                raise Ended
            if writable:
                try:
                    left = left[os.write(self._writer, left[:1 << 20]):]
                except (BrokenPipeError, ConnectionResetError) as error:
                    raise Ended from error

    def receive(self, seconds=DEADLINE):
        """One message, without its framing."""
        deadline = time.monotonic() + seconds
        while (message := self._cut()) is None:
            readable, _, _ = select.select([self._reader], [], [], max(0, deadline - time.monotonic()))
            assert readable, f"no message within {seconds} s; got {bytes(self._received[:2000])!r}"
            if not self._take():
                raise Ended(bytes(self._received[:2000]))
        return message

    def receive_end(self, seconds=DEADLINE):
        """Waits for the end of the session; what came before it."""
        try:
            self.receive(seconds)
        except Ended:
            return bytes(self._received)
        raise AssertionError("a message came, not the end")

    def close(self):
        self._close()

    def _take(self):
        try:
            octets = os.read(self._reader, 1 << 20)
        except ConnectionResetError:
            return False
        self._received += octets
        return bool(octets)

    def _cut(self):
        if not self._chunked:
            end = self._received.find(END_OF_MESSAGE)
            if end < 0:
                return None
            message = bytes(self._received[:end])
            del self._received[:end + len(END_OF_MESSAGE)]
            return message
        message, at = bytearray(), 0
        while (line := self._received.find(b"\n", at + 2)) >= 0:
            assert self._received[at:at + 2] == b"\n#", bytes(self._received[at:at + 40])
            size = bytes(self._received[at + 2:line])
            at = line + 1
            if size == b"#":
                del self._received[:at]
                return bytes(message)
            message += self._received[at:at + int(size)]
            at += int(size)
        return None


def generate_key(path, kind="ed25519", bits=None):
    """A key pair without a passphrase."""
    subprocess.run(["ssh-keygen", "-q", "-t", kind, *(["-b", str(bits)] if bits else []), "-N", "", "-f", path], check=True,
                   timeout=60)


def over_ssh(port, user, key, log, host=None, options=()):
    """`ssh -s … netconf` with this private key, these options and nothing of the machine's own configuration, perhaps from a
    host."""
    within = host.within if host else list
    with log.open("ab") as complaints:
        process = subprocess.Popen(
            within(["ssh", "-F", "none", "-p", str(port), "-i", str(key), "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes",
             "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR",
             *(part for option in options for part in ("-o", option)),
             "-s", f"{user}@127.0.0.1", "netconf"]),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=complaints, start_new_session=True)

    def close():
        process.stdin.close()
        process.kill()
        process.wait()
        process.stdout.close()
    return Session(process.stdout.fileno(), process.stdin.fileno(), close)
