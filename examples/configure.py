#!/usr/bin/env python3
"""What an orchestrator does: points a device at its cloud over NETCONF, and waits until the tunnel stands.

    TETHER_ADMIN_PASSWORD=... TETHER_CLOUD_PASSWORD=... .venv/bin/python examples/configure.py \\
        --device 127.0.0.1:8830 --cloud cloud.example:443 --address cloud.example=192.0.2.1 --trust-anchor ca.pem

TETHER_ADMIN_PASSWORD logs in at the device, TETHER_CLOUD_PASSWORD is what device and cloud share. Every parameter is
sent only if it is given, so `--keepalive-interval 60` alone changes the interval and nothing else.
"""

import argparse
import os
import sys
import time
from xml.sax.saxutils import escape

from ncclient import manager
from ncclient.operations import RPCError
from ncclient.transport import AuthenticationError, TransportError
from ncclient.xml_ import to_ele

CLOUD = "urn:tether:yang:cloud-management"
SYSTEM = "urn:ietf:params:xml:ns:yang:ietf-system"
HOSTS = "urn:tether:yang:device-hosts"
NETCONF = "urn:ietf:params:xml:ns:netconf:base:1.0"
YANG = "urn:ietf:params:xml:ns:yang:1"

# Seconds for one answer of the device, and between two looks at its state.
ANSWER = 30
GLANCE = 0.1


class NotReached(Exception):
    """The device did not get where it should within the time given."""


def connect(device, user, password, host_key=None):
    """A session with a device `ADDRESS:PORT`; `host_key` is its public key in base64, unchecked when absent."""
    address, _, port = device.rpartition(":")
    return manager.connect(
        host=address.strip("[]"), port=int(port), username=user, password=password, timeout=ANSWER,
        hostkey_verify=host_key is not None, hostkey_b64=host_key)


def configuration(domain=None, port=None, password=None, trust_anchor=None, keepalive_interval=None,
                  unbinding_code=None, addresses=None):
    """The `<config>` of an edit with the parameters that are given; `addresses` maps host names to addresses."""
    server = leaf("domain", domain) + leaf("port", port)
    # The device replaces the clear text by a ciphertext of its own.
    server += leaf("password", password and f"$0${password}")
    cloud = f"<server>{server}</server>" if server else ""
    cloud += leaf("keepalive-interval", keepalive_interval) + leaf("unbinding-code", unbinding_code)
    if trust_anchor is not None:
        anchor = leaf("name", "orchestrator") + leaf("certificate", trust_anchor.strip())
        cloud += f"<trust><trust-anchor>{anchor}</trust-anchor></trust>"
    parts = f'<cloud-management xmlns="{CLOUD}">{cloud}</cloud-management>' if cloud else ""
    hosts = "".join(f'<host xmlns="{HOSTS}">{leaf("name", name)}{leaf("address", address)}</host>'
                    for name, address in (addresses or {}).items())
    if hosts:
        parts += f'<system xmlns="{SYSTEM}"><dns-resolver>{hosts}</dns-resolver></system>'
    return f'<config xmlns="{NETCONF}">{parts}</config>'


def leaf(name, value):
    return "" if value is None else f"<{name}>{escape(str(value))}</{name}>"


def commit(device, config, tell):
    """Takes an edit all the way to running, or leaves nothing of it behind. Each step is told."""
    with device.locked("candidate"):
        tell("lock")
        try:
            device.edit_config(target="candidate", config=config)
            tell("edit-config")
            device.validate(source="candidate")
            tell("validate")
            device.commit()
            tell("commit")
        except RPCError:
            device.discard_changes()
            raise
    tell("unlock")


def act(device, action):
    """Does an action of cloud-management, such as `<reset-tunnel/>`."""
    device.dispatch(to_ele(f'<action xmlns="{YANG}"><cloud-management xmlns="{CLOUD}">{action}</cloud-management></action>'))


def state(device):
    """The state of the cloud connection: paths below `state`, such as `keepalives/sent`, with their values."""
    wanted = f'<cloud-management xmlns="{CLOUD}"><state/></cloud-management>'
    data = device.get(filter=("subtree", wanted)).data_ele
    found = {}
    for node in data.iterfind(f".//{{{CLOUD}}}state//*"):
        if len(node) == 0:
            above = [parent.tag.partition("}")[2] for parent in node.iterancestors()]
            names = [node.tag.partition("}")[2], *above[:above.index("state")]]
            found["/".join(reversed(names))] = node.text or ""
    return found


def wait_until(device, seconds, wanted, reached):
    """Looks at the state until `reached(state)`; gives that state."""
    deadline = time.monotonic() + seconds
    while True:
        now = state(device)
        if reached(now):
            return now
        if time.monotonic() > deadline:
            seen = ", ".join(f"{name} {value}" for name, value in now.items() if name in (
                "connection-state", "device-state", "failure-reason")) or "no state at all"
            raise NotReached(f"the device does not show {wanted} within {seconds} s; it shows {seen}")
        time.sleep(GLANCE)


def is_established(now):
    return now.get("connection-state") == "established" and now.get("device-state") == "request-success"


def main():
    arguments = parse()
    domain, port = None, None
    if arguments.cloud:
        domain, colon, port = arguments.cloud.rpartition(":")
        domain, port = (domain, port) if colon else (port, None)
    trust = arguments.trust_anchor and arguments.trust_anchor.read()
    config = configuration(
        domain=domain, port=port, password=os.environ.get("TETHER_CLOUD_PASSWORD"), trust_anchor=trust,
        keepalive_interval=arguments.keepalive_interval, unbinding_code=arguments.unbinding_code,
        addresses=dict(pair.split("=", 1) for pair in arguments.address))
    try:
        password = os.environ.get("TETHER_ADMIN_PASSWORD")
        with connect(arguments.device, arguments.user, password, arguments.host_key) as device:
            commit(device, config, print)
            if arguments.reset_tunnel:
                act(device, "<reset-tunnel/>")
                print("reset-tunnel")
            now = wait_until(device, arguments.wait, "an established tunnel", is_established)
    except AuthenticationError:
        sys.exit(f"configure: {arguments.device} does not let {arguments.user} in: is TETHER_ADMIN_PASSWORD its password?")
    except (NotReached, RPCError, TransportError) as error:
        sys.exit(f"configure: {error}")
    print(f"established with {now['server-domain']} ({now['server-address']}) port {now['server-port']}")


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="127.0.0.1:8830", metavar="ADDRESS:PORT", help="NETCONF over SSH")
    parser.add_argument("--host-key", metavar="BASE64", help="the device's public key, as ssh-keyscan prints it")
    parser.add_argument("--user", default="admin", help="who logs in at the device")
    parser.add_argument("--cloud", metavar="DOMAIN[:PORT]", help="the cloud server")
    parser.add_argument("--address", action="append", default=[], metavar="NAME=ADDRESS",
                        help="a static host of the device; may be repeated")
    parser.add_argument("--trust-anchor", type=argparse.FileType(), metavar="FILE",
                        help="the certificate (PEM) that the cloud's is verified against")
    parser.add_argument("--keepalive-interval", type=int, metavar="SECONDS")
    parser.add_argument("--unbinding-code", metavar="CODE")
    parser.add_argument("--reset-tunnel", action="store_true", help="do the action after the commit")
    parser.add_argument("--wait", type=int, default=30, metavar="SECONDS", help="for the tunnel to be established")
    return parser.parse_args()


if __name__ == "__main__":
    main()
