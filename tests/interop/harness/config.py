"""Configuration as XML."""

from xml.sax.saxutils import escape

from .cloud import DOMAIN, PASSWORD

CLOUD = "urn:tether:yang:cloud-management"
MANAGEMENT = "urn:tether:yang:device-management"
SYSTEM = "urn:ietf:params:xml:ns:yang:ietf-system"
NACM = "urn:ietf:params:xml:ns:yang:ietf-netconf-acm"
HOSTS = "urn:tether:yang:device-hosts"
NETCONF = "urn:ietf:params:xml:ns:netconf:base:1.0"


def config(*parts):
    """A `<config>` as ncclient takes it."""
    return f'<config xmlns="{NETCONF}" xmlns:nc="{NETCONF}">{"".join(parts)}</config>'


def cloud(inside):
    return f'<cloud-management xmlns="{CLOUD}">{inside}</cloud-management>'


def server(inside):
    return cloud(f"<server>{inside}</server>")


def trust(anchor, name="lab"):
    """The certificate (PEM) of the authority that the cloud's must be from."""
    return cloud(f"<trust><trust-anchor><name>{name}</name><certificate>{anchor.strip()}</certificate></trust-anchor></trust>")


def resolver(inside):
    return f'<system xmlns="{SYSTEM}"><dns-resolver>{inside}</dns-resolver></system>'


def resolvers(*addresses, options="<timeout>1</timeout><attempts>1</attempts>", search=()):
    """Resolvers to ask, in this order."""
    searched = "".join(f"<search>{each}</search>" for each in search)
    servers = "".join(f"<server><name>r{number}</name><udp-and-tcp><address>{address}</address></udp-and-tcp></server>"
                      for number, address in enumerate(addresses))
    return resolver(f"{searched}{servers}<options>{options}</options>")


def static_host(name, *addresses):
    """What `ip host` is on the command line."""
    inside = "".join(f"<address>{address}</address>" for address in addresses)
    return resolver(f'<host xmlns="{HOSTS}"><name>{name}</name>{inside}</host>')


def known(domain=DOMAIN, inside=""):
    """A cloud by name or address, and its password."""
    return server(f"<domain>{domain}</domain><password>$0${PASSWORD}</password>{inside}")


def limits(**values):
    inside = "".join(f"<{name.replace('_', '-')}>{value}</{name.replace('_', '-')}>" for name, value in values.items())
    return f'<device-management xmlns="{MANAGEMENT}"><limits>{inside}</limits></device-management>'


def user(name, inside="", operation="merge"):
    return (f'<system xmlns="{SYSTEM}"><authentication><user nc:operation="{operation}" xmlns:nc="{NETCONF}">'
            f"<name>{name}</name>{inside}</user></authentication></system>")


def authorized_key(name, path):
    """A user with the public half of the key at `path`."""
    algorithm, data, *_ = path.with_name(path.name + ".pub").read_text().split()
    return user(name, f"<authorized-key><name>test</name><algorithm>{algorithm}</algorithm>"
                      f"<key-data>{data}</key-data></authorized-key>")


def member(group, name):
    """A user in a group of the access control."""
    return (f'<nacm xmlns="{NACM}"><groups><group><name>{group}</name><user-name>{escape(name)}</user-name>'
            "</group></groups></nacm>")
