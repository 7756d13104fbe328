"""pika: the broadest suite. One module for each family of behaviour; `python -m pika_suite` runs them all."""

from check import Suite

suite = Suite("pika")
scenario = suite.scenario
ours = suite.ours
check = suite.check
