#!/usr/bin/env python3
"""A commit that cannot cut the device off: an orchestrator pushes a password that the cloud refuses, the device comes
back by itself, and the orchestrator reads why.

    TETHER_ADMIN_PASSWORD=... .venv/bin/python examples/guarded.py --device 127.0.0.1:8830

The tunnel of the device has to stand (examples/configure.py). What is pushed is taken back by the device after
`--timeout` seconds; nothing is left of it but two commits in the history. It shows who is told what: the notifications
commit-rolled-back and netconf-config-change (by the server), and state/commit-guard for those who come later.
"""

import argparse
import os
import sys
import time

import configure
from ncclient.operations import RPCError
from ncclient.transport import TransportError

NOTICES = "urn:ietf:params:xml:ns:yang:ietf-netconf-notifications"
# Seconds beyond the timeout of the guard within which the device is back.
BACK = 30


def guarded(password, timeout):
    """The edit: from this commit on commits are guarded, and this one has another password."""
    cloud = f"<commit-guard><timeout>{timeout}</timeout></commit-guard>"
    cloud += f"<server>{configure.leaf('password', f'$0${password}')}</server>"
    return (f'<config xmlns="{configure.NETCONF}"><cloud-management xmlns="{configure.CLOUD}">{cloud}</cloud-management>'
            "</config>")


def wait_for(listener, name, seconds, fits=lambda _: True):
    """The next notification of this name that fits, as an element."""
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        heard = listener.take_notification(timeout=left)
        found = heard is not None and heard.notification_ele.find(name)
        if found is not False and found is not None and fits(found):
            return found
    raise configure.NotReached(f"the device did not tell {name.partition('}')[2]} within {seconds} s")


def text(notification, leaf):
    return notification.findtext(f"{{{configure.CLOUD}}}{leaf}")


def run(device, listener, arguments):
    configure.wait_until(device, arguments.wait, "an established tunnel", configure.is_established)
    listener.create_subscription()
    configure.commit(device, guarded(arguments.password, arguments.timeout), lambda _: None)
    print("committed a password that the cloud does not know")
    armed = configure.state(device)
    if "commit-guard/deadline" not in armed:
        raise configure.NotReached("no commit guard is armed: does the cloud know this password after all?")
    print(f"the device goes back at {armed['commit-guard/deadline']} unless its tunnel stands again")

    seconds = arguments.timeout + BACK
    wait_for(listener, f"{{{NOTICES}}}netconf-config-change", seconds,
             lambda change: change.find(f"{{{NOTICES}}}changed-by/{{{NOTICES}}}server") is not None)
    told = wait_for(listener, f"{{{configure.CLOUD}}}commit-rolled-back", BACK)
    print(f"told: commit {text(told, 'rolled-back-commit-id')} was taken back by commit {text(told, 'commit-id')}, "
          f"{text(told, 'server-domain')} says {text(told, 'failure-reason')}")
    now = configure.wait_until(device, BACK, "an established tunnel", configure.is_established)
    print(f"established with {now['server-domain']} again; last down: {now['last-down/reason']}")
    print(f"whoever asks later: last rollback at {now['commit-guard/last-rollback/at']}, "
          f"{now['commit-guard/last-rollback/failure-reason']}")


def main():
    arguments = parse()
    who = (arguments.device, arguments.user, os.environ.get("TETHER_ADMIN_PASSWORD"), arguments.host_key)
    try:
        with configure.connect(*who) as device, configure.connect(*who) as listener:
            run(device, listener, arguments)
    except (configure.NotReached, RPCError, TransportError) as error:
        sys.exit(f"guarded: {error}")


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="127.0.0.1:8830", metavar="ADDRESS:PORT", help="NETCONF over SSH")
    parser.add_argument("--host-key", metavar="BASE64", help="the device's public key, as ssh-keyscan prints it")
    parser.add_argument("--user", default="admin", help="who logs in at the device")
    parser.add_argument("--password", default="mistyped", help="what the cloud does not know")
    parser.add_argument("--timeout", type=int, default=10, metavar="SECONDS", help="of the commit guard, 10 at least")
    parser.add_argument("--wait", type=int, default=30, metavar="SECONDS", help="for the tunnel to stand at first")
    return parser.parse_args()


if __name__ == "__main__":
    main()
