"""Runs every scenario in a world of its own."""

from . import suite
from . import (  # noqa: F401  (importing registers the scenarios)
    connections,
    channels,
    exchanges,
    queues,
    publishing,
    properties,
    confirms,
    consuming,
    settling,
    expiry,
    dead_letters,
    transactions,
    reply_to,
    quorum,
    extras,
)
from .world import World

for function in suite.select():
    world = World()
    for step in (lambda: function(world), world.close):
        try:
            step()
        except Exception as error:  # the next scenario must still run
            suite.crashed(error)
suite.finish()
