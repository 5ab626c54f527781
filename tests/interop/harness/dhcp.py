"""Real DHCP servers and clients, on hosts of harness/net.py."""

import json

from .servers import Server, find

DOMAIN_OPTION, PASSWORD_OPTION = 253, 252
# Where the addresses of the tests are leased from.
NETWORK, POOL = "10.9.0.0/24", ("10.9.0.100", "10.9.0.150")


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

    def __init__(self, directory, host, link, lease=120, **offer):
        self._config, self._link, self._lease = directory / "kea.json", link, lease
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
        data = [{"name": f"cloud-{code}", "data": value.replace(",", "\\,")} for code, value in coded(offer).items()]
        self._config.write_text(json.dumps({"Dhcp4": {
            "interfaces-config": {"interfaces": [self._link], "dhcp-socket-type": "raw",
                                  "service-sockets-max-retries": 100, "service-sockets-retry-wait-time": 50},
            "lease-database": {"type": "memfile", "persist": False},
            "valid-lifetime": self._lease, "renew-timer": self._lease // 2, "rebind-timer": self._lease * 3 // 4,
            "option-def": definitions,
            "subnet4": [{"subnet": NETWORK, "pools": [{"pool": "-".join(POOL)}], "option-data": data}],
            "loggers": [{"name": "kea-dhcp4", "severity": "DEBUG", "debuglevel": 45, "output_options": [{"output": "stdout"}]}],
        }}))


def coded(offer):
    """{"domain": …, "password": …} by the numbers of the options."""
    numbers = {"domain": DOMAIN_OPTION, "password": PASSWORD_OPTION}
    return {numbers[name]: value for name, value in offer.items()}


class Dhclient(Server):
    """dhclient of the ISC."""

    programs = ("dhclient", "dhclient-script")

    def __init__(self, directory, host, link):
        config = directory / "dhclient.conf"
        config.write_text("")
        super().__init__(["dhclient", "-4", "-d", "-cf", config, "-lf", directory / "leases", "-pf", directory / "pid",
                          "-sf", find("dhclient-script"), link], directory, host)


class Udhcpc(Server):
    """udhcpc of BusyBox."""

    programs = ("busybox",)

    def __init__(self, directory, host, link):
        script = directory / "script"
        script.write_text(UDHCPC_SCRIPT)
        script.chmod(0o755)
        super().__init__(["busybox", "udhcpc", "--foreground", "--interface", link, "--script", script, "--retries", "20"],
                         directory, host)


class Dhcpcd(Server):
    """dhcpcd."""

    programs = ("dhcpcd",)

    def __init__(self, directory, host, link):
        config = directory / "dhcpcd.conf"
        config.write_text("noarp\n")
        super().__init__(["dhcpcd", "--nobackground", "--debug", "--ipv4only", "--config", config, "--script", "/bin/true", link],
                         directory, host)


class Networkd(Server):
    """systemd-networkd by itself: without D-Bus, and without udev, which it does not expect where /sys is read-only."""

    programs = ("/lib/systemd/systemd-networkd",)

    def __init__(self, directory, host, link):
        state = "/run/systemd/netif"
        host.run("mkdir", "-p", "/run/systemd/network", *(f"{state}/{each}" for each in ("leases", "links", "lldp")))
        host.run("chown", "-R", "systemd-network:", state)
        unit = directory / "lan.network"
        unit.write_text(f"[Match]\nName={link}\n[Network]\nDHCP=ipv4\n[DHCPv4]\nUseHostname=no\nUseDNS=no\n")
        host.run("cp", unit, "/run/systemd/network/")
        super().__init__(self.programs, directory, host, {"SYSTEMD_LOG_TARGET": "console"})


UDHCPC_SCRIPT = """#!/bin/sh
case $1 in
deconfig) ip address flush dev "$interface" scope global;;
bound | renew) ip address replace "$ip/$mask" dev "$interface";;
esac
"""
