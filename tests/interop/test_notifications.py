"""Notifications (RFC 5277) with ncclient, as an orchestrator listens."""

import datetime

from harness.config import cloud, config
from harness.wait import DEADLINE
from lxml import etree

NOTICES = "urn:ietf:params:xml:ns:yang:ietf-netconf-notifications"
COMPLETE = "urn:ietf:params:xml:ns:netmod:notification"


def interval(seconds):
    return config(cloud(f"<keepalive-interval>{seconds}</keepalive-interval>"))


def next_of(session, namespace, name):
    """The next notification of that name."""
    while True:
        told = session.take_notification(block=True, timeout=DEADLINE)
        assert told is not None, f"no {name} came"
        found = told.notification_ele.find(f"{{{namespace}}}{name}")
        if found is not None:
            return found


def test_a_subscriber_hears_of_a_commit_while_it_goes_on_working(connect):
    listener, manager = connect(), connect()
    listener.create_subscription()
    manager.edit_config(target="candidate", config=interval(60))
    manager.commit()
    change = next_of(listener, NOTICES, "netconf-config-change")
    assert change.findtext(f".//{{{NOTICES}}}username") == "admin"
    assert change.findtext(f".//{{{NOTICES}}}session-id") == manager.session_id
    assert change.findtext(f".//{{{NOTICES}}}source-host") == "127.0.0.1"
    target = change.find(f".//{{{NOTICES}}}target")
    prefix = target.text.split(":")[0].lstrip("/")
    assert target.nsmap[prefix] == "urn:tether:yang:cloud-management"
    assert target.text.endswith(":keepalive-interval")
    assert listener.get_config("running").data_ele is not None


def test_a_filter_and_a_replay(connect):
    begun = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(seconds=60)
    manager = connect()
    manager.edit_config(target="running", config=interval(61))
    connect().close_session()
    listener = connect()
    wanted = etree.Element(f"{{{NOTICES}}}netconf-session-end", nsmap={None: NOTICES})
    listener.create_subscription(filter=("subtree", etree.tostring(wanted).decode()), start_time=begun.isoformat())
    end = next_of(listener, NOTICES, "netconf-session-end")
    assert end.findtext(f"{{{NOTICES}}}termination-reason") == "closed"
    next_of(listener, COMPLETE, "replayComplete")


def test_the_end_of_a_subscription_is_said(connect):
    listener = connect()
    now = datetime.datetime.now(datetime.timezone.utc)
    hour = datetime.timedelta(hours=1)
    listener.create_subscription(start_time=(now - hour).isoformat(), stop_time=(now - hour / 2).isoformat())
    next_of(listener, COMPLETE, "notificationComplete")
    assert listener.get_config("running").data_ele is not None
