"""Real servers beside the cloud, on hosts of harness/net.py, with nothing of the machine's own configuration."""

import os
import re
import shutil
import textwrap

from . import program
from .certificates import issue
from .wait import DEADLINE

# Where .ci/counterparts unpacks packages of the distribution.
UNPACKED = program.COUNTERPARTS / "debian"


def find(name):
    """The program's path, unpacked or installed; None when there is none."""
    places = [str(UNPACKED / folder) for folder in ("usr/sbin", "sbin", "usr/bin", "bin")]
    return shutil.which(name, path=os.pathsep.join([*places, "/usr/sbin", "/sbin", os.environ.get("PATH", "")]))


def libraries():
    """What an unpacked program needs in its environment to find the libraries that came with it."""
    return {"LD_LIBRARY_PATH": os.pathsep.join(map(str, sorted(UNPACKED.glob("usr/lib/*-linux-gnu*"))))}


class Server(program.Program):
    """A server whose log is its lines."""

    def __init__(self, command, directory, host, env=None):
        super().__init__([find(command[0]), *command[1:]], directory / f"{os.path.basename(command[0])}.log", libraries() | (env or {}), host,
                         join=True)
        self._read_up_to = 0

    def sees(self, pattern, seconds=DEADLINE):
        """Waits for a line that has this after the one that was waited for before; the match."""
        self._read_up_to = 1 + self.line(lambda line: re.search(pattern, line), self._read_up_to, seconds)
        return re.search(pattern, self.lines[self._read_up_to - 1])


class Dns(Server):
    """dnsmasq as a resolver that knows these names; `records` is {name: [address, …]}."""

    def __init__(self, directory, host, records, *options):
        directory.mkdir(exist_ok=True)
        self._hosts = directory / "hosts"
        self._write(records)
        super().__init__(
            ["dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--log-facility=-", "--log-queries", "--pid-file=",
             "--user=root", "--no-resolv", "--no-hosts", f"--addn-hosts={self._hosts}", *options], directory, host)
        self.sees(rf"read {self._hosts}")

    def know(self, records):
        """From now on it knows these names instead."""
        self._write(records)
        self.process.send_signal(1)
        self.sees(rf"read {self._hosts}")

    def _write(self, records):
        lines = (f"{address} {name}\n" for name, addresses in records.items() for address in addresses)
        self._hosts.write_text("".join(lines))


class Front(Server):
    """nginx that ends TLS under a name and hands everything on to a cloud, which it verifies by the cloud's own name.

    `its` and `theirs` are (name, address) of the front and of the cloud.
    """

    def __init__(self, directory, host, its, theirs, cloud_ca):
        self.ca = issue(directory, its[0])
        (directory / "cloud-ca.pem").write_text(cloud_ca)
        config = directory / "nginx.conf"
        config.write_text(textwrap.dedent(f"""\
            daemon off; master_process off; user root; pid {directory}/pid; error_log stderr info;
            events {{}}
            http {{
                access_log /dev/stdout; proxy_temp_path {directory}/p; client_body_temp_path {directory}/b;
                fastcgi_temp_path {directory}/f; uwsgi_temp_path {directory}/u; scgi_temp_path {directory}/s;
                map $http_upgrade $connection_upgrade {{ default upgrade; "" ""; }}
                server {{
                    listen {its[1]}:443 ssl;
                    ssl_certificate {directory}/server.pem; ssl_certificate_key {directory}/server.key;
                    location / {{
                        proxy_pass https://{theirs[1]}:443; proxy_http_version 1.1; proxy_read_timeout 700s;
                        proxy_ssl_verify on; proxy_ssl_trusted_certificate {directory}/cloud-ca.pem;
                        proxy_ssl_name {theirs[0]};
                        proxy_set_header Host $http_host;
                        proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $connection_upgrade;
                    }}
                }}
            }}
            """))
        super().__init__(["nginx", "-p", directory, "-e", "stderr", "-c", config], directory, host)
        self.sees("start worker|using the .* event method")
