"""tx: publishes and acks take effect at commit."""

from . import check, scenario


@scenario
def publishes_appear_at_commit(w):
    queue = w.queue()
    channel = w.connection.channel()
    channel.tx_select()
    channel.basic_publish("", queue, b"1")
    channel.basic_publish("", queue, b"2")
    channel.queue_declare(queue, passive=True)
    check("nothing before", w.ready(queue), 0)
    channel.tx_commit()
    w.until_ready(queue, 2)
    check("both after, in order", w.drain(queue), ["1", "2"])


@scenario
def rollback_drops_publishes(w):
    queue = w.queue()
    channel = w.connection.channel()
    channel.tx_select()
    channel.basic_publish("", queue, b"1")
    channel.tx_rollback()
    channel.basic_publish("", queue, b"2")
    channel.tx_commit()
    w.until_ready(queue, 1)
    check("the second only", w.drain(queue), ["2"])


@scenario
def acks_count_at_commit(w):
    queue = w.queue()
    w.fill(queue, "1", "2", "3")
    channel = w.connection.channel()
    channel.tx_select()
    tags = [w.get(queue, auto_ack=False, channel=channel)[0].delivery_tag for _ in range(3)]
    channel.basic_ack(tags[0])
    channel.tx_commit()
    channel.basic_ack(tags[1])
    channel.tx_rollback()
    check("a rolled-back ack does not requeue", w.ready(queue), 0)
    channel.basic_ack(tags[1])
    channel.tx_commit()
    channel.basic_ack(tags[2])
    channel.close()
    w.until_ready(queue, 1)
    check("an uncommitted ack is void", w.drain(queue), ["3"])


@scenario
def a_closed_channel_rolls_back(w):
    queue = w.queue()
    channel = w.connection.channel()
    channel.tx_select()
    channel.basic_publish("", queue, b"1")
    channel.close()
    check("none", w.all(queue), [])


@scenario
def nacks_in_a_transaction(w):
    queue = w.queue()
    w.fill(queue, "1")
    channel = w.connection.channel()
    channel.tx_select()
    method, _, _ = w.get(queue, auto_ack=False, channel=channel)
    channel.basic_nack(method.delivery_tag, requeue=True)
    channel.queue_declare(queue, passive=True)
    check("held until commit", w.ready(queue), 0)
    channel.tx_commit()
    w.until_ready(queue, 1)
    check("back", w.drain(queue), ["1"])


@scenario
def returns_come_at_commit(w):
    channel = w.connection.channel()
    returned = []
    channel.add_on_return_callback(lambda _c, method, _p, body: returned.append((method.reply_code, body)))
    channel.tx_select()
    channel.basic_publish("", "conformance.none", b"1", mandatory=True)
    channel.queue_declare("", exclusive=True)
    w.connection.process_data_events(0)
    check("not before", returned, [])
    channel.tx_commit()
    w.until(lambda: returned, "the return")
    check("at commit", returned, [(312, b"1")])


@scenario
def commit_needs_select(w):
    def raw_commit(channel):
        from pika import spec

        channel._impl._send_method(spec.Tx.Commit())

    def raw_rollback(channel):
        from pika import spec

        channel._impl._send_method(spec.Tx.Rollback())

    w.refused("commit", 406, "PRECONDITION_FAILED - channel is not transactional", raw_commit)
    w.refused("rollback", 406, "PRECONDITION_FAILED - channel is not transactional", raw_rollback)


@scenario
def select_twice_is_harmless(w):
    channel = w.connection.channel()
    channel.tx_select()
    channel.tx_select()
    channel.tx_commit()
    check("open", channel.is_open)


@scenario
def an_unknown_tag_in_a_transaction(w):
    def action(channel):
        channel.tx_select()
        channel.basic_ack(5)
        channel.tx_commit()

    w.refused("ack", 406, "PRECONDITION_FAILED - unknown delivery tag 5", action)
