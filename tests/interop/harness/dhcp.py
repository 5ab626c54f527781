"""Real DHCP servers and clients, on hosts of harness/net.py."""

import json

from . import program
from .servers import UNPACKED, Server, find

DOMAIN_OPTION, PASSWORD_OPTION = 253, 252
# Where the addresses of the tests are leased from.
NETWORK, POOL = "10.9.0.0/24", ("10.9.0.100", "10.9.0.150")
HOOKS = program.ROOT / "examples" / "hooks"
# How the hooks quote what belongs into a configuration.
QUOTED = "#     "


class Dnsmasq(Server):
    """dnsmasq as a DHCP server on a link; it hands out what `offer` said last."""

    program = "dnsmasq"

    def __init__(self, directory, host, link, **offer):
        self._options = directory / "options"
        self._write(offer)
        super().__init__(
            ["dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--port=0", "--log-facility=-", "--log-dhcp",
             "--pid-file=", "--user=root", f"--interface={link}", "--bind-interfaces", f"--dhcp-optsfile={self._options}",
             f"--dhcp-range={','.join(POOL)},2m", f"--dhcp-leasefile={directory / 'leases'}", "--no-ping"],
            directory, host)
        self.sees(rf"read {self._options}")

    def offer(self, **offer):
        self._write(offer)
        self.process.send_signal(1)
        self.sees(rf"read {self._options}")

    def sees_inform(self):
        self.sees("DHCPINFORM")

    def _write(self, offer):
        self._options.write_text("".join(f"{code},{value}\n" for code, value in coded(offer).items()))


class Kea(Server):
    """Kea as a DHCP server on a link; it hands out what `offer` said last, on leases of `lease` seconds."""

    program = "kea-dhcp4"

    def __init__(self, directory, host, link, lease=120, network=NETWORK, **offer):
        self._config, self._link, self._lease, self._network = directory / "kea.json", link, lease, network
        self._write(offer)
        places = {"KEA_PIDFILE_DIR": str(directory), "KEA_LOCKFILE_DIR": str(directory)}
        super().__init__(["kea-dhcp4", "-c", self._config], directory, host, places)
        self.sees("DHCP4_STARTED")

    def offer(self, **offer):
        self._write(offer)
        self.process.send_signal(1)
        self.sees("DHCP4_DYNAMIC_RECONFIGURATION_SUCCESS|DHCP4_CONFIG_COMPLETE")

    def sees_inform(self):
        self.sees("DHCPINFORM")

    def sees_renewal(self, seconds):
        """Waits until a client has extended its lease."""
        self.sees("ALLOC_ENGINE_V4_REQUEST_EXTEND_LEASE", seconds)

    def _write(self, offer):
        definitions = [{"name": f"cloud-{code}", "code": code, "type": "string"} for code in (PASSWORD_OPTION, DOMAIN_OPTION)]
        # In hexadecimal, so that nothing in a value means anything to Kea.
        data = [{"name": f"cloud-{code}", "csv-format": False, "data": value.encode().hex()}
                for code, value in coded(offer).items()]
        pools = [{"pool": "-".join(POOL)}] if self._network == NETWORK else []
        self._config.write_text(json.dumps({"Dhcp4": {
            "interfaces-config": {"interfaces": [self._link], "dhcp-socket-type": "raw",
                                  "service-sockets-max-retries": 100, "service-sockets-retry-wait-time": 50},
            "lease-database": {"type": "memfile", "persist": False},
            "valid-lifetime": self._lease, "renew-timer": self._lease // 2, "rebind-timer": self._lease * 3 // 4,
            "option-def": definitions,
            "subnet4": [{"subnet": self._network, "pools": pools, "option-data": data}],
            "loggers": [{"name": "kea-dhcp4", "severity": "DEBUG", "debuglevel": 45, "output_options": [{"output": "stdout"}]}],
        }}))


def coded(offer):
    """{"domain": …, "password": …} by the numbers of the options."""
    numbers = {"domain": DOMAIN_OPTION, "password": PASSWORD_OPTION}
    return {numbers[name]: value for name, value in offer.items()}


class Client(Server):
    """A DHCP client on a link, with the hook of examples/hooks if it is given the agent's control socket."""

    # What it consists of, the hook's file, and where the hook is put.
    programs, hook, place = (), "", None

    def __init__(self, command, directory, host, control, env=None):
        self.host = host
        if control:
            install(host, directory, control)
        if control and self.place:
            host.run("install", "-D", HOOKS / self.hook, self.place)
        super().__init__(command, directory, host, env)

    @classmethod
    def settings(cls, control):
        """What its hook says belongs into its configuration."""
        lines = (HOOKS / cls.hook).read_text().splitlines() if control else []
        return "".join(line.removeprefix(QUOTED) + "\n" for line in lines if line.startswith(QUOTED))

    def tell(self):
        """Does what a client without hooks does not do."""


class Dhclient(Client):
    """dhclient of the ISC."""

    programs = ("dhclient", "dhclient-script")
    hook, place = "dhclient", "/etc/dhcp/dhclient-exit-hooks.d/tether"

    def __init__(self, directory, host, link, control=None):
        config = directory / "dhclient.conf"
        config.write_text(self.settings(control))
        super().__init__(["dhclient", "-4", "-d", "-cf", config, "-lf", directory / "leases", "-pf", directory / "pid",
                          "-sf", find("dhclient-script"), link], directory, host, control)


class Udhcpc(Client):
    """udhcpc of BusyBox."""

    programs = ("busybox",)
    hook = "udhcpc"

    def __init__(self, directory, host, link, control=None):
        script = directory / "script"
        script.write_text(UDHCPC_SCRIPT)
        script.chmod(0o755)
        options = ["-O", "252", "-O", "253", "-s", HOOKS / self.hook] if control else ["-s", script]
        super().__init__(["busybox", "udhcpc", "-f", "-i", link, "-t", "20", *options], directory, host, control,
                         {"UDHCPC_SCRIPT": str(script)})


class Dhcpcd(Client):
    """dhcpcd."""

    programs = ("dhcpcd",)
    hook, place = "dhcpcd", "/lib/dhcpcd/dhcpcd-hooks/90-tether"

    def __init__(self, directory, host, link, control=None):
        config = directory / "dhcpcd.conf"
        config.write_text("noarp\n" + self.settings(control))
        host.hide("/usr/lib")
        if (UNPACKED / "usr/lib/dhcpcd").exists():
            host.run("cp", "-r", UNPACKED / "usr/lib/dhcpcd", "/usr/lib/")
        super().__init__(["dhcpcd", "--nobackground", "--debug", "--ipv4only", "--config", config, link], directory, host,
                         control)


class Networkd(Client):
    """systemd-networkd by itself: without D-Bus, and without udev, which it does not expect where /sys is read-only."""

    programs = ("/lib/systemd/systemd-networkd",)
    hook = "networkd"

    def __init__(self, directory, host, link, control=None):
        state = "/run/systemd/netif"
        host.run("mkdir", "-p", "/run/systemd/network", *(f"{state}/{each}" for each in ("leases", "links", "lldp")))
        host.run("chown", "-R", "systemd-network:", state)
        unit, self._link = directory / "lan.network", link
        unit.write_text(f"[Match]\nName={link}\n[Network]\nDHCP=ipv4\n[DHCPv4]\nUseHostname=no\nUseDNS=no\n"
                        + self.settings(control))
        host.run("cp", unit, "/run/systemd/network/")
        super().__init__(self.programs, directory, host, control, {"SYSTEMD_LOG_TARGET": "console"})

    def tell(self):
        self.host.run(HOOKS / self.hook, self._link)


def install(host, directory, control):
    """Puts the command `tether` where hooks look for it; it asks the agent behind this socket."""
    command = directory / "tether"
    command.write_text(f'#!/bin/sh\nexec {program.TETHER} "$@" --control {control}\n')
    host.hide("/usr/bin")
    host.run("install", command, "/usr/bin/tether")


UDHCPC_SCRIPT = """#!/bin/sh
case $1 in
deconfig) ip address flush dev "$interface" scope global;;
bound | renew) ip address replace "$ip/$mask" dev "$interface";;
esac
"""
