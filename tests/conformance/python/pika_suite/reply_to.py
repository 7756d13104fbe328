"""Direct reply-to."""

import pika

from . import check, scenario

REPLY = "amq.rabbitmq.reply-to"


@scenario
def a_request_is_answered_without_a_queue(w):
    requests = w.queue()
    client = w.connection.channel()
    replies = w.consume(REPLY, channel=client, auto_ack=True)
    client.basic_publish("", requests, b"ping", pika.BasicProperties(reply_to=REPLY, correlation_id="7"))
    server = w.connect().channel()
    _, properties, body = w.get(requests, channel=server)
    check("the address is rewritten", properties.reply_to.startswith(REPLY + ".") and len(properties.reply_to) > len(REPLY) + 10)
    server.basic_publish("", properties.reply_to, body + b" pong", pika.BasicProperties(correlation_id=properties.correlation_id))
    method, properties, body = replies.wait(1)[0]
    check("reply", (body, properties.correlation_id), (b"ping pong", "7"))
    check("by the default exchange", method.exchange, "")
    check("consumer tag", method.consumer_tag, replies.tag)


@scenario
def the_requester_can_be_looked_for(w):
    requests = w.queue()
    client = w.connection.channel()
    w.consume(REPLY, channel=client, auto_ack=True)
    client.basic_publish("", requests, b"", pika.BasicProperties(reply_to=REPLY))
    address = w.get(requests)[1].reply_to
    server = w.connect().channel()
    server.queue_declare(address, passive=True)
    check("alive", server.is_open)
    client.close()
    code, _ = w.channel_error(lambda c: c.queue_declare(address, passive=True), server)
    check("gone", code, 404)


@scenario
def replies_to_nobody_are_returned(w):
    returned = []
    channel = w.connection.channel()
    channel.add_on_return_callback(lambda *_: returned.append(1))
    requests = w.queue()
    client = w.connection.channel()
    w.consume(REPLY, channel=client, auto_ack=True)
    client.basic_publish("", requests, b"", pika.BasicProperties(reply_to=REPLY))
    address = w.get(requests)[1].reply_to
    client.close()
    channel.basic_publish("", address, b"late", mandatory=True)
    w.until(lambda: returned, "the return")
    check("returned", returned, [1])


@scenario
def the_rules_of_the_reply_consumer(w):
    w.refused("with acks", 406, "PRECONDITION_FAILED - reply consumer cannot acknowledge", lambda c: c.basic_consume(REPLY, lambda *_: None))

    def twice(channel):
        channel.basic_consume(REPLY, lambda *_: None, auto_ack=True)
        channel.basic_consume(REPLY, lambda *_: None, auto_ack=True)

    w.refused("two on a channel", 406, "PRECONDITION_FAILED - reply consumer already set", twice)
    w.refused(
        "request without a reply consumer",
        406,
        "PRECONDITION_FAILED - fast reply consumer does not exist",
        lambda c: c.basic_publish("", "x", b"", pika.BasicProperties(reply_to=REPLY)),
    )
    check("passive declare of the bare name", w.channel.queue_declare(REPLY, passive=True).method.queue, REPLY)


@scenario
def many_requests_over_one_reply_consumer(w):
    requests = w.queue()
    client = w.connection.channel()
    replies = w.consume(REPLY, channel=client, auto_ack=True)
    server = w.connect().channel()

    def answer(method, properties, body):
        server.basic_publish("", properties.reply_to, body, pika.BasicProperties(correlation_id=properties.correlation_id))

    served = w.consume(requests, channel=server, auto_ack=True, on_message=answer)
    for number in range(100):
        client.basic_publish("", requests, str(number), pika.BasicProperties(reply_to=REPLY, correlation_id=str(number)))
    served.wait(100)
    replies.wait(100)
    check("each answered once, in order", [(p.correlation_id, b.decode()) for _, p, b in replies], [(str(n), str(n)) for n in range(100)])
