"""A subscriber to a datastore (RFC 8641): it keeps a copy of what it subscribed to, by the patches it gets (RFC 8072).

It knows no schema: of a list entry the keys come first, and the entries that the user orders are those that are ever
inserted or moved."""

from urllib.parse import unquote

from lxml import etree

from .config import CLOUD, HOSTS, SYSTEM
from .wait import DEADLINE

PUSH = "urn:ietf:params:xml:ns:yang:ietf-yang-push"
SUBSCRIBED = "urn:ietf:params:xml:ns:yang:ietf-subscribed-notifications"
DATASTORES = "urn:ietf:params:xml:ns:yang:ietf-datastores"
NAMESPACES = {"ietf-system": SYSTEM, "device-hosts": HOSTS, "cloud-management": CLOUD}


def establish(datastore, content):
    """The operation; `content` are the filter and the trigger."""
    return etree.fromstring(
        f'<establish-subscription xmlns="{SUBSCRIBED}" xmlns:yp="{PUSH}">'
        f'<yp:datastore xmlns:ds="{DATASTORES}">ds:{datastore}</yp:datastore>{content}</establish-subscription>')


def subtree(inside):
    return f"<yp:datastore-subtree-filter>{inside}</yp:datastore-subtree-filter>"


def on_change(inside=""):
    return f"<yp:on-change>{inside}</yp:on-change>"


class Subscriber:
    """A subscription of a session of ncclient, and the copy that it keeps."""

    def __init__(self, session, datastore, content):
        self.session = session
        reply = session.dispatch(establish(datastore, content))
        self.id = etree.fromstring(reply.xml.encode()).findtext(f".//{{{SUBSCRIBED}}}id")
        self.copy = etree.Element("data")
        self.changes = 0

    def take(self):
        """Takes the next message in; what it was."""
        told = self.session.take_notification(block=True, timeout=DEADLINE)
        assert told is not None, "nothing came"
        update = told.notification_ele[1]
        assert update.findtext(f"{{{PUSH}}}id") == self.id, etree.tostring(update)
        kind = etree.QName(update).localname
        if kind == "push-update":
            self.copy = etree.Element("data")
            self.copy.extend(update.find(f"{{{PUSH}}}datastore-contents"))
        else:
            assert kind == "push-change-update", etree.tostring(update)
            self.changes += 1
            edits = update.iterfind(f".//{{{PUSH}}}edit")
            for edit in edits:
                self.edit(*(edit.find(f"{{{PUSH}}}{name}") for name in ("operation", "target", "where", "point", "value")))
        return kind

    def edit(self, operation, target, where, point, value):
        above, step = self.parent(target.text)
        found = find(above, step)
        match operation.text:
            case "delete":
                remove(found)
            case "create" | "replace":
                # A create of what is there is no error: it went and came again.
                remove(found)
                above.append(value[0])
            case "insert" | "move":
                node = value[0] if operation.text == "insert" else found
                remove(found)
                if where.text == "first":
                    same = above.find(node.tag)
                    place = len(above) if same is None else above.index(same)
                else:
                    _, anchor = self.parent(point.text)
                    place = above.index(find(above, anchor)) + 1
                above.insert(place, node)
            case other:
                raise AssertionError(other)

    def parent(self, target):
        """The element that the last step of a target is in; containers on the way are made."""
        node, namespace = self.copy, None
        *way, last = target.lstrip("/").split("/")
        for part in way:
            step = name, keys, namespace = read(part, namespace)
            found = find(node, step)
            if found is None:
                assert not keys, f"an entry is missing on the way: {target}"
                found = etree.SubElement(node, name)
            node = found
        return node, read(last, namespace)


def read(part, namespace):
    """A step of a target: name, keys, and the namespace that goes on."""
    name, _, keys = part.partition("=")
    module, _, local = name.rpartition(":")
    namespace = NAMESPACES[module] if module else namespace
    return f"{{{namespace}}}{local}", [unquote(key) for key in keys.split(",")] if keys else [], namespace


def find(above, step):
    name, keys, _ = step
    for child in above.iterfind(name):
        texts = [child.text or ""] if len(child) == 0 else [key.text or "" for key in child[:len(keys)]]
        if not keys or texts == keys:
            return child
    return None


def remove(node):
    if node is not None:
        node.getparent().remove(node)


def canonical(element, ordered):
    """The data as text, whatever the order of what nobody orders; containers without anything in them are nothing."""
    children = [canonical(child, ordered) for child in element]
    children = [child for child in children if child]
    free = sorted(text for tag, text in children if tag not in ordered)
    kept = [text for tag in sorted(ordered) for own, text in children if own == tag]
    text = (element.text or "").strip()
    if not text and not children:
        return None
    return element.tag, f"<{element.tag}>{text}{''.join(free + kept)}</>"
