"""Exchanges: declaring, deleting, binding, and where each type routes to."""

from pika import spec

from . import check, ours, scenario
from .raw import Raw


@scenario
def predeclared_exchanges_are_there(w):
    for name, kind in [
        ("amq.direct", "direct"),
        ("amq.fanout", "fanout"),
        ("amq.topic", "topic"),
        ("amq.headers", "headers"),
        ("amq.match", "headers"),
    ]:
        w.channel.exchange_declare(name, kind, durable=True)
        check(name, w.channel.is_open)
    w.channel.exchange_declare("amq.rabbitmq.trace", passive=True)
    check("amq.rabbitmq.trace", w.channel.is_open)


@scenario
def equal_declares_agree_and_others_are_told_what_differs(w):
    name = w.exchange("direct", arguments={"alternate-exchange": "a"})
    w.channel.exchange_declare(name, "direct", arguments={"alternate-exchange": "a"})
    check("declared again", w.channel.is_open)
    head = "PRECONDITION_FAILED - inequivalent arg"
    w.refused("type", 406, f"{head} 'type' for exchange '{name}' in vhost '/': received 'topic' but current is 'direct'", lambda c: c.exchange_declare(name, "topic"))
    w.refused("durable", 406, f"{head} 'durable' for exchange '{name}' in vhost '/': received 'true' but current is 'false'", lambda c: c.exchange_declare(name, "direct", durable=True))
    w.refused("auto_delete", 406, f"{head} 'auto_delete' for exchange '{name}' in vhost '/': received 'true' but current is 'false'", lambda c: c.exchange_declare(name, "direct", auto_delete=True))
    w.refused("internal", 406, f"{head} 'internal' for exchange '{name}' in vhost '/': received 'true' but current is 'false'", lambda c: c.exchange_declare(name, "direct", internal=True))
    w.refused(
        "alternate exchange",
        406,
        f"{head} 'alternate-exchange' for exchange '{name}' in vhost '/': received 'b' but current is 'a'",
        lambda c: c.exchange_declare(name, "direct", arguments={"alternate-exchange": "b"}),
    )
    w.refused("no alternate exchange", 406, f"{head} 'alternate-exchange' for exchange '{name}' in vhost '/': received none but current is the value 'a' of type 'longstr'", lambda c: c.exchange_declare(name, "direct"))


@scenario
def passive_declare_looks_only(w):
    name = w.exchange("topic")
    w.channel.exchange_declare(name, "fanout", passive=True)
    check("the type is not compared", w.channel.is_open)
    missing = w.name("missing")
    w.refused("missing", 404, f"NOT_FOUND - no exchange '{missing}' in vhost '/'", lambda c: c.exchange_declare(missing, passive=True))


@ours
def an_unknown_type_is_a_channel_error(w):
    w.refused("type", 406, "PRECONDITION_FAILED - ", lambda c: c.exchange_declare(w.name(), "no-such-type"))


@scenario
def reserved_names_are_refused(w):
    w.refused("declare", 403, "ACCESS_REFUSED - exchange name 'amq.conformance' contains reserved prefix 'amq.*'", lambda c: c.exchange_declare("amq.conformance", "direct"))
    w.refused("delete a predeclared exchange", 403, "ACCESS_REFUSED - deletion of system exchange 'amq.topic' in vhost '/' not allowed", lambda c: c.exchange_delete("amq.topic"))
    w.refused("delete the default exchange", 403, "ACCESS_REFUSED - operation not permitted on the default exchange", lambda c: c.exchange_delete(""))
    w.refused("bind to the default exchange", 403, "ACCESS_REFUSED - operation not permitted on the default exchange", lambda c: c.exchange_bind("amq.fanout", "", "x"))


@scenario
def deleting(w):
    name = w.exchange("fanout")
    w.bound(name)
    w.refused("if unused", 406, f"PRECONDITION_FAILED - exchange '{name}' in vhost '/' in use", lambda c: c.exchange_delete(name, if_unused=True))
    w.channel.exchange_delete(name)
    w.refused("gone", 404, "NOT_FOUND - no exchange", lambda c: c.exchange_declare(name, passive=True))
    w.channel.exchange_delete(name)
    check("deleting what is not there succeeds", w.channel.is_open)


@scenario
def auto_delete_goes_with_the_last_binding(w):
    name = w.exchange("fanout", auto_delete=True)
    first, second = w.bound(name), w.bound(name)
    w.channel.queue_unbind(first, name, "")
    w.channel.exchange_declare(name, passive=True)
    check("one binding left: still there", w.channel.is_open)
    w.channel.queue_delete(second)
    w.refused("gone", 404, "NOT_FOUND - no exchange", lambda c: c.exchange_declare(name, passive=True))


@scenario
def direct_routes_by_equal_key(w):
    name = w.exchange("direct")
    queue = w.bound(name, "a")
    w.bound(name, "b", queue=queue)
    other = w.bound(name, "a")
    for key in ["a", "b", "c", ""]:
        w.publish(name, key, key)
    w.until_ready(queue, 2)
    check("both keys", w.drain(queue), ["a", "b"])
    check("one key", w.drain(other), ["a"])


@scenario
def fanout_ignores_the_key(w):
    name = w.exchange("fanout")
    queues = [w.bound(name, "x"), w.bound(name)]
    w.publish(name, "anything", "1")
    check("all queues", [w.body(queue) for queue in queues], ["1", "1"])


@scenario
def several_matching_bindings_give_one_message(w):
    name = w.exchange("topic")
    queue = w.bound(name, "#")
    w.bound(name, "a.*", queue=queue)
    w.bound(name, "*.b", queue=queue)
    w.publish(name, "a.b", "1")
    check("once", w.all(queue), ["1"])


@scenario
def topic_patterns(w):
    cases = {
        "*": ["a"],
        "#": ["a", "", "a.b", "a.b.c", "..", "a..b", "a."],
        "a.*": ["a.b", "a."],
        "a.#": ["a", "a.b", "a.b.c", "a..b", "a."],
        "#.c": ["a.b.c"],
        "*.*": ["a.b", "a."],
        "#.b.#": ["a.b", "a.b.c", "a..b"],
        "a.*.b": ["a..b"],
        "a.b": ["a.b"],
        "*.*.*": ["a.b.c", "..", "a..b"],
        "": [""],
    }
    keys = ["a", "", "a.b", "a.b.c", "..", "a..b", "a."]
    name = w.exchange("topic")
    for pattern, want in cases.items():
        queue = w.bound(name, pattern)
        for key in keys:
            w.publish(name, key, key)
        check(f"pattern {pattern!r}", sorted(w.all(queue)), sorted(want))
        w.channel.queue_delete(queue)


@scenario
def headers_match(w):
    cases = [
        ("all", {"x-match": "all", "a": 1, "b": "two"}, {"a": 1, "b": "two", "c": 3}, True),
        ("all, one missing", {"x-match": "all", "a": 1, "b": "two"}, {"a": 1}, False),
        ("all, one different", {"x-match": "all", "a": 1, "b": "two"}, {"a": 1, "b": "three"}, False),
        ("any", {"x-match": "any", "a": 1, "b": "two"}, {"b": "two"}, True),
        ("any, none", {"x-match": "any", "a": 1, "b": "two"}, {"c": 1}, False),
        ("no x-match means all", {"a": 1, "b": 2}, {"a": 1}, False),
        ("no x-match, all there", {"a": 1, "b": 2}, {"a": 1, "b": 2}, True),
        ("absent value asks for presence", {"x-match": "all", "a": None}, {"a": "anything"}, True),
        ("absent value, header missing", {"x-match": "all", "a": None}, {"b": 1}, False),
        ("types are compared", {"x-match": "all", "a": 1}, {"a": "1"}, False),
        ("x- keys do not count", {"x-match": "all", "x-foo": 1, "a": 1}, {"a": 1}, True),
        ("only x- keys match everything", {"x-match": "all", "x-foo": 1}, {}, True),
        ("any-with-x counts them", {"x-match": "any-with-x", "x-foo": 1}, {"x-foo": 1}, True),
        ("all-with-x counts them", {"x-match": "all-with-x", "x-foo": 1, "a": 1}, {"a": 1}, False),
        ("nothing asked, all", {"x-match": "all"}, {"a": 1}, True),
        ("nothing asked, any", {"x-match": "any"}, {"a": 1}, False),
    ]
    for what, arguments, headers, matches in cases:
        name = w.exchange("headers")
        queue = w.bound(name, arguments=arguments)
        w.publish(name, "", "hit", headers=headers)
        check(what, "hit" in w.all(queue), matches)


@scenario
def an_unknown_x_match_is_refused(w):
    name = w.exchange("headers")
    queue = w.queue()
    w.refused("x-match", 406, "PRECONDITION_FAILED - ", lambda c: c.queue_bind(queue, name, "", {"x-match": "some"}))


@scenario
def exchanges_bind_to_exchanges(w):
    source, target = w.exchange("topic"), w.exchange("direct")
    queue = w.bound(target, "a.b")
    w.channel.exchange_bind(target, source, "a.*")
    w.publish(source, "a.b", "through")
    w.publish(source, "a.c", "lost at the target")
    check("through", w.body(queue), "through")
    w.channel.exchange_unbind(target, source, "a.*")
    w.publish(source, "a.b", "not bound any more")
    w.publish(target, "a.b", "direct")
    check("unbound", w.body(queue), "direct")
    w.refused("missing source", 404, "NOT_FOUND - no exchange 'conformance.none' in vhost '/'", lambda c: c.exchange_bind(target, "conformance.none"))
    w.refused("missing destination", 404, "NOT_FOUND - no exchange 'conformance.none' in vhost '/'", lambda c: c.exchange_bind("conformance.none", source))


@scenario
def a_cycle_of_exchanges_delivers_once(w):
    first, second = w.exchange("fanout"), w.exchange("fanout")
    w.channel.exchange_bind(first, second)
    w.channel.exchange_bind(second, first)
    queue = w.bound(second)
    w.bound(first, queue=queue)
    w.publish(first, "", "1")
    check("once", w.all(queue), ["1"])


@scenario
def an_internal_exchange_cannot_be_published_to(w):
    inner = w.exchange("fanout", internal=True)
    outer = w.exchange("fanout")
    w.channel.exchange_bind(inner, outer)
    queue = w.bound(inner)
    w.publish(outer, "", "by binding")
    check("reached by a binding", w.body(queue), "by binding")
    w.refused("publish", 403, f"ACCESS_REFUSED - cannot publish to internal exchange '{inner}' in vhost '/'", lambda c: c.basic_publish(inner, "", b""))


@scenario
def an_alternate_exchange_takes_what_was_not_routed(w):
    fallback = w.exchange("fanout")
    name = w.exchange("direct", arguments={"alternate-exchange": fallback})
    queue, rest = w.bound(name, "known"), w.bound(fallback)
    w.publish(name, "known", "1")
    w.publish(name, "unknown", "2")
    check("routed", w.body(queue), "1")
    method, _, body = w.get(rest)
    check("the rest", body, b"2")
    check("with its own exchange and key", (method.exchange, method.routing_key), (name, "unknown"))
    check("nothing twice", w.ready(rest), 0)


@scenario
def a_missing_alternate_exchange_is_passed_over(w):
    name = w.exchange("direct", arguments={"alternate-exchange": "conformance.none"})
    w.publish(name, "unknown", "lost")
    w.channel.queue_declare("", exclusive=True)
    check("the channel is open", w.channel.is_open)


@scenario
def binding_is_idempotent_and_unbinding_exact(w):
    name = w.exchange("direct")
    queue = w.bound(name, "a")
    w.bound(name, "a", queue=queue)
    w.publish(name, "a", "1")
    check("bound twice, delivered once", w.all(queue), ["1"])
    w.channel.queue_unbind(queue, name, "b")
    check("unbinding what was never bound succeeds", w.channel.is_open)
    w.channel.queue_unbind(queue, name, "a")
    w.publish(name, "a", "2")
    w.fill(queue, "end")
    check("unbound", w.body(queue), "end")


@scenario
def bindings_of_what_is_missing_are_refused(w):
    queue = w.queue()
    w.refused("exchange", 404, "NOT_FOUND - no exchange 'conformance.none' in vhost '/'", lambda c: c.queue_bind(queue, "conformance.none", "x"))
    w.refused("queue", 404, "NOT_FOUND - no queue 'conformance.none' in vhost '/'", lambda c: c.queue_bind("conformance.none", "amq.direct", "x"))
    w.refused("the default exchange", 403, "ACCESS_REFUSED - operation not permitted on the default exchange", lambda c: c.queue_bind(queue, "", "x"))
    w.refused("unbind from the default exchange", 403, "ACCESS_REFUSED - operation not permitted on the default exchange", lambda c: c.queue_unbind(queue, "", queue))


@scenario
def line_ends_are_removed_from_names(w):
    name = w.name("lines")
    with Raw() as raw:
        raw.open()
        raw.send(spec.Exchange.Declare(exchange=name + "\r\n", type="fanout"), 1)
        raw.method(spec.Exchange.DeclareOk)
        got = raw.queue(name[:4] + "\n" + name[4:], exclusive=True)
        check("queue", got, name)
        w.channel.exchange_declare(name, passive=True)
        check("exchange", w.channel.is_open)
    w.exchanges.append(name)


@ours
def consistent_hash_spreads_by_weight_and_keeps_keys_together(w):
    name = w.exchange("x-consistent-hash")
    light, heavy = w.bound(name, "1"), w.bound(name, "3")
    for number in range(800):
        w.publish(name, f"key-{number}", str(number))
    w.until(lambda: w.ready(light) + w.ready(heavy) == 800, "all routed")
    check("each to one queue, more to the heavier", 0 < w.ready(light) < w.ready(heavy))
    first = set(w.drain(light))
    w.channel.queue_purge(heavy)
    for number in range(800):
        w.publish(name, f"key-{number}", str(number))
    w.until(lambda: w.ready(light) + w.ready(heavy) == 800, "all routed again")
    check("the same key to the same queue", set(w.drain(light)) == first)
    w.refused("a weight that is no number", 406, "PRECONDITION_FAILED", lambda c: c.queue_bind(light, name, "heavy"))
