"""Which rows --peers means; tests/export/formats/test_peer.py has what makes them."""

from lc2fer.benchmarks import command

from lc2fer.targets import PEERS, STOCK


def test_peers_are_asked_for_by_name():
    def targets(*named):
        return command._parse(["--peers", *named]).peers

    assert command._parse([]).peers == []
    installed = targets()
    assert installed == targets("stock") == list(STOCK)
    assert targets("mnn") == list(PEERS["mnn"])
    edge = [name for its in PEERS.values() for name in its]
    assert targets("edge") == edge
    assert targets("edge", "stock", "mnn") == [*STOCK, *edge]
