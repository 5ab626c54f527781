"""Configuration as XML."""

from xml.sax.saxutils import escape

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
