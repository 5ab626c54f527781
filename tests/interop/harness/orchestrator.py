"""Who configures a device and watches its tunnel, over NETCONF."""

from ncclient.xml_ import to_ele

from .cloud import DOMAIN, PASSWORD
from .config import CLOUD, config, server, static_host, trust
from .config import cloud as settings
from .wait import DEADLINE, wait_until


class Orchestrator:
    """A session with the agent, and what it looks for."""

    def __init__(self, session, agent=None):
        self.session, self.agent = session, agent

    def commit(self, *parts):
        """One commit of these edits."""
        with self.session.locked("candidate"):
            for part in parts:
                self.session.edit_config(target="candidate", config=config(part))
            self.session.commit()

    def point_at(self, the_cloud, password=PASSWORD):
        """Everything about a cloud on this machine in one commit."""
        inside = f"<domain>{DOMAIN}</domain><port>{the_cloud.ports[0]}</port><password>$0${password}</password>"
        self.commit(server(inside), trust(the_cloud.ca), static_host(DOMAIN, "127.0.0.1"))

    def act(self, action):
        self.session.dispatch(to_ele(f'<action xmlns="urn:ietf:params:xml:ns:yang:1">{settings(action)}</action>'))

    def state(self):
        data = self.session.get(filter=("subtree", settings("<state/>"))).data_ele
        state = data.find(f".//{{{CLOUD}}}state")
        return {leaf.getroottree().getelementpath(leaf).split(f"{{{CLOUD}}}state/")[1].replace(f"{{{CLOUD}}}", ""):
                leaf.text for leaf in state.iter() if len(leaf) == 0}

    def sees(self, seconds=DEADLINE, **wanted):
        """Waits until each leaf has its value (`_` for `-`, `__` for `/`); the state then."""
        wanted = {name.replace("__", "/").replace("_", "-"): value for name, value in wanted.items()}
        seen = {}

        def look():
            seen.clear()
            seen.update(self.state())
            return wanted.items() <= seen.items()
        try:
            wait_until(f"{wanted}", look, seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}; seen {seen}") from None
        return seen

    def sees_established(self):
        return self.sees(connection_state="established", device_state="request-success")
