//! THE table of methods: AMQP 0-9-1's `amqp0-9-1.xml` with RabbitMQ's extensions.
//!
//! A line is a method: its number, the name of its struct, the name of its constant in [`MethodId`], its name in
//! texts, `+ content` if header and body follow, and its fields in the order of the wire. Fields have the types of
//! the specification (`bit octet short long longlong shortstr longstr table`) and its names in snake case
//! (`type` is `kind`). A `secret` is a `longstr` that `Debug` does not show. `_` is a reserved field: written as zero or empty, read and ignored.
//! Not here: which peer may send what, and when (the broker's `session`).

use bytes::{Bytes, BytesMut};

use super::define::{field_shown, field_type, field_value, methods};
use super::fields::{FieldReader, FieldWriter};
use super::{FieldSpec, FieldType, MethodId};
use crate::amqp::MethodError;
use crate::amqp::frame::{FrameKind, put_frame};
use crate::types::{FieldTable, ShortStr, WireResult};

methods! {
    class 10 {
        /// Who the server is and how one can log in.
        10 ConnectionStart CONNECTION_START "connection.start" {
            version_major: octet = "0.";
            version_minor: octet = "9.";
            server_properties: table = "Product, version, `capabilities`.";
            mechanisms: longstr = "SASL mechanisms, separated by spaces.";
            locales: longstr = "Locales, separated by spaces.";
        }
        /// Who the client is, and its first SASL response.
        11 ConnectionStartOk CONNECTION_START_OK "connection.start_ok" {
            client_properties: table = "Product, version, `connection_name`, `capabilities`.";
            mechanism: shortstr = "The SASL mechanism.";
            response: secret = "The SASL response.";
            locale: shortstr = "One of the offered locales.";
        }
        /// The SASL mechanism wants more.
        20 ConnectionSecure CONNECTION_SECURE "connection.secure" {
            challenge: longstr = "The SASL challenge.";
        }
        /// The answer to a challenge.
        21 ConnectionSecureOk CONNECTION_SECURE_OK "connection.secure_ok" {
            response: secret = "The SASL response.";
        }
        /// Logged in; the server proposes these limits.
        30 ConnectionTune CONNECTION_TUNE "connection.tune" {
            channel_max: short = "Most channels at a time; 0 is no limit.";
            frame_max: long = "Longest frame in bytes, with header and end; 0 is no limit.";
            heartbeat: short = "Seconds between signs of life; 0 is none.";
        }
        /// The client takes these limits, none of them above the server's.
        31 ConnectionTuneOk CONNECTION_TUNE_OK "connection.tune_ok" {
            channel_max: short = "Most channels at a time; 0 is no limit.";
            frame_max: long = "Longest frame in bytes, with header and end; 0 is no limit.";
            heartbeat: short = "Seconds between signs of life; 0 is none.";
        }
        /// Enter a virtual host.
        40 ConnectionOpen CONNECTION_OPEN "connection.open" {
            virtual_host: shortstr = "Its name.";
            _: shortstr;
            _: bit;
        }
        /// The connection is ready.
        41 ConnectionOpenOk CONNECTION_OPEN_OK "connection.open_ok" {
            _: shortstr;
        }
        /// The connection ends, for this reason.
        50 ConnectionClose CONNECTION_CLOSE "connection.close" {
            reply_code: short = "Why, as a [`crate::ReplyCode`].";
            reply_text: shortstr = "Why, for people.";
            class_id: short = "Class of the offending method; 0 if none.";
            method_id: short = "The offending method; 0 if none.";
        }
        /// The answer to `connection.close`.
        51 ConnectionCloseOk CONNECTION_CLOSE_OK "connection.close_ok" {}
        /// Publishes are not read for now (RabbitMQ).
        60 ConnectionBlocked CONNECTION_BLOCKED "connection.blocked" {
            reason: shortstr = "Why, for people.";
        }
        /// Publishes are read again (RabbitMQ).
        61 ConnectionUnblocked CONNECTION_UNBLOCKED "connection.unblocked" {}
        /// Credentials that follow the ones that will expire (RabbitMQ).
        70 ConnectionUpdateSecret CONNECTION_UPDATE_SECRET "connection.update_secret" {
            new_secret: secret = "The new secret, a token.";
            reason: shortstr = "Why, for people.";
        }
        /// The new secret holds (RabbitMQ).
        71 ConnectionUpdateSecretOk CONNECTION_UPDATE_SECRET_OK "connection.update_secret_ok" {}
    }

    class 20 {
        /// Open the channel of this frame.
        10 ChannelOpen CHANNEL_OPEN "channel.open" {
            _: shortstr;
        }
        /// The channel is open.
        11 ChannelOpenOk CHANNEL_OPEN_OK "channel.open_ok" {
            _: longstr;
        }
        /// Stop or resume sending content.
        20 ChannelFlow CHANNEL_FLOW "channel.flow" {
            active: bit = "Whether content may be sent.";
        }
        /// The flow is as asked for.
        21 ChannelFlowOk CHANNEL_FLOW_OK "channel.flow_ok" {
            active: bit = "Whether content will be sent.";
        }
        /// The channel ends, for this reason.
        40 ChannelClose CHANNEL_CLOSE "channel.close" {
            reply_code: short = "Why, as a [`crate::ReplyCode`].";
            reply_text: shortstr = "Why, for people.";
            class_id: short = "Class of the offending method; 0 if none.";
            method_id: short = "The offending method; 0 if none.";
        }
        /// The answer to `channel.close`.
        41 ChannelCloseOk CHANNEL_CLOSE_OK "channel.close_ok" {}
    }

    class 30 {
        /// Ask for a ticket: gone from AMQP since 0-9, still sent by old clients.
        10 AccessRequest ACCESS_REQUEST "access.request" {
            realm: shortstr = "The realm.";
            exclusive: bit = "Be the only one.";
            passive: bit = "Look.";
            active: bit = "Define.";
            write: bit = "Publish.";
            read: bit = "Consume.";
        }
        /// A ticket, which means nothing.
        11 AccessRequestOk ACCESS_REQUEST_OK "access.request_ok" {
            ticket: short = "Its number.";
        }
    }

    class 40 {
        /// There shall be an exchange.
        10 ExchangeDeclare EXCHANGE_DECLARE "exchange.declare" {
            _: short;
            exchange: shortstr = "Its name.";
            kind: shortstr = "Its type (`type` on the wire): `direct`, `fanout`, `topic`, `headers`, and more.";
            passive: bit = "Do not create it, only tell whether it is there.";
            durable: bit = "It survives a restart.";
            auto_delete: bit = "It goes with its last binding.";
            internal: bit = "Clients may not publish to it.";
            no_wait: bit = "Do not answer.";
            arguments: table = "`alternate-exchange` and the type's own.";
        }
        /// The exchange is there.
        11 ExchangeDeclareOk EXCHANGE_DECLARE_OK "exchange.declare_ok" {}
        /// Delete an exchange.
        20 ExchangeDelete EXCHANGE_DELETE "exchange.delete" {
            _: short;
            exchange: shortstr = "Its name.";
            if_unused: bit = "Only if it has no bindings.";
            no_wait: bit = "Do not answer.";
        }
        /// The exchange is not there any more.
        21 ExchangeDeleteOk EXCHANGE_DELETE_OK "exchange.delete_ok" {}
        /// Messages go from one exchange to another, too (RabbitMQ).
        30 ExchangeBind EXCHANGE_BIND "exchange.bind" {
            _: short;
            destination: shortstr = "The exchange that receives.";
            source: shortstr = "The exchange that routes.";
            routing_key: shortstr = "What the source's type makes of it.";
            no_wait: bit = "Do not answer.";
            arguments: table = "What the source's type makes of them.";
        }
        /// The binding is there (RabbitMQ).
        31 ExchangeBindOk EXCHANGE_BIND_OK "exchange.bind_ok" {}
        /// Delete a binding between exchanges (RabbitMQ).
        40 ExchangeUnbind EXCHANGE_UNBIND "exchange.unbind" {
            _: short;
            destination: shortstr = "The exchange that receives.";
            source: shortstr = "The exchange that routes.";
            routing_key: shortstr = "The binding's.";
            no_wait: bit = "Do not answer.";
            arguments: table = "The binding's.";
        }
        /// The binding is not there any more (RabbitMQ; its number is 51, not 41).
        51 ExchangeUnbindOk EXCHANGE_UNBIND_OK "exchange.unbind_ok" {}
    }

    class 50 {
        /// There shall be a queue.
        10 QueueDeclare QUEUE_DECLARE "queue.declare" {
            _: short;
            queue: shortstr = "Its name; empty: the server makes one.";
            passive: bit = "Do not create it, only tell whether it is there.";
            durable: bit = "It survives a restart.";
            exclusive: bit = "It is this connection's, and goes with it.";
            auto_delete: bit = "It goes with its last consumer.";
            no_wait: bit = "Do not answer.";
            arguments: table = "`x-message-ttl` and so on.";
        }
        /// The queue is there.
        11 QueueDeclareOk QUEUE_DECLARE_OK "queue.declare_ok" {
            queue: shortstr = "Its name.";
            message_count: long = "Ready messages.";
            consumer_count: long = "Consumers.";
        }
        /// An exchange shall route to a queue.
        20 QueueBind QUEUE_BIND "queue.bind" {
            _: short;
            queue: shortstr = "The queue; empty: the channel's last declared one.";
            exchange: shortstr = "The exchange.";
            routing_key: shortstr = "What the exchange's type makes of it.";
            no_wait: bit = "Do not answer.";
            arguments: table = "What the exchange's type makes of them.";
        }
        /// The binding is there.
        21 QueueBindOk QUEUE_BIND_OK "queue.bind_ok" {}
        /// Remove the ready messages.
        30 QueuePurge QUEUE_PURGE "queue.purge" {
            _: short;
            queue: shortstr = "The queue; empty: the channel's last declared one.";
            no_wait: bit = "Do not answer.";
        }
        /// They are gone.
        31 QueuePurgeOk QUEUE_PURGE_OK "queue.purge_ok" {
            message_count: long = "How many there were.";
        }
        /// Delete a queue.
        40 QueueDelete QUEUE_DELETE "queue.delete" {
            _: short;
            queue: shortstr = "The queue; empty: the channel's last declared one.";
            if_unused: bit = "Only if it has no consumers.";
            if_empty: bit = "Only if it has no messages.";
            no_wait: bit = "Do not answer.";
        }
        /// The queue is not there any more.
        41 QueueDeleteOk QUEUE_DELETE_OK "queue.delete_ok" {
            message_count: long = "How many messages went with it.";
        }
        /// Delete a binding. It has no `no_wait`.
        50 QueueUnbind QUEUE_UNBIND "queue.unbind" {
            _: short;
            queue: shortstr = "The queue; empty: the channel's last declared one.";
            exchange: shortstr = "The exchange.";
            routing_key: shortstr = "The binding's.";
            arguments: table = "The binding's.";
        }
        /// The binding is not there any more.
        51 QueueUnbindOk QUEUE_UNBIND_OK "queue.unbind_ok" {}
    }

    class 60 {
        /// How much may be unacknowledged.
        10 BasicQos BASIC_QOS "basic.qos" {
            prefetch_size: long = "Bytes; 0 is no limit.";
            prefetch_count: short = "Messages; 0 is no limit.";
            global: bit = "For the channel as a whole; else for each consumer to come (RabbitMQ).";
        }
        /// It holds.
        11 BasicQosOk BASIC_QOS_OK "basic.qos_ok" {}
        /// Send me the messages of a queue.
        20 BasicConsume BASIC_CONSUME "basic.consume" {
            _: short;
            queue: shortstr = "The queue; empty: the channel's last declared one.";
            consumer_tag: shortstr = "The consumer's name; empty: the server makes one.";
            no_local: bit = "Not what this connection published; RabbitMQ ignores it.";
            no_ack: bit = "What is sent counts as acknowledged.";
            exclusive: bit = "Be the queue's only consumer.";
            no_wait: bit = "Do not answer.";
            arguments: table = "`x-priority` and so on.";
        }
        /// The consumer is there.
        21 BasicConsumeOk BASIC_CONSUME_OK "basic.consume_ok" {
            consumer_tag: shortstr = "Its name.";
        }
        /// The consumer ends. RabbitMQ sends it, too, when the queue is gone.
        30 BasicCancel BASIC_CANCEL "basic.cancel" {
            consumer_tag: shortstr = "The consumer.";
            no_wait: bit = "Do not answer.";
        }
        /// The consumer has ended.
        31 BasicCancelOk BASIC_CANCEL_OK "basic.cancel_ok" {
            consumer_tag: shortstr = "The consumer.";
        }
        /// A message for an exchange.
        40 BasicPublish BASIC_PUBLISH "basic.publish" + content {
            _: short;
            exchange: shortstr = "The exchange; empty: straight to the queue that the routing key names.";
            routing_key: shortstr = "What exchanges route it by.";
            mandatory: bit = "Return it if it reaches no queue.";
            immediate: bit = "Return it if no consumer takes it at once; RabbitMQ refuses.";
        }
        /// A message that was not routed.
        50 BasicReturn BASIC_RETURN "basic.return" + content {
            reply_code: short = "Why, as a [`crate::ReplyCode`].";
            reply_text: shortstr = "Why, for people.";
            exchange: shortstr = "Where it was published to.";
            routing_key: shortstr = "The routing key that it was published with.";
        }
        /// A message for a consumer.
        60 BasicDeliver BASIC_DELIVER "basic.deliver" + content {
            consumer_tag: shortstr = "The consumer.";
            delivery_tag: longlong = "Its number on the channel.";
            redelivered: bit = "Whether it was delivered before.";
            exchange: shortstr = "Where it was published to.";
            routing_key: shortstr = "The routing key that it was published with.";
        }
        /// Give me one message of a queue.
        70 BasicGet BASIC_GET "basic.get" {
            _: short;
            queue: shortstr = "The queue; empty: the channel's last declared one.";
            no_ack: bit = "It counts as acknowledged.";
        }
        /// Here it is.
        71 BasicGetOk BASIC_GET_OK "basic.get_ok" + content {
            delivery_tag: longlong = "Its number on the channel.";
            redelivered: bit = "Whether it was delivered before.";
            exchange: shortstr = "Where it was published to.";
            routing_key: shortstr = "The routing key that it was published with.";
            message_count: long = "Ready messages that are left.";
        }
        /// There is none.
        72 BasicGetEmpty BASIC_GET_EMPTY "basic.get_empty" {
            _: shortstr;
        }
        /// Done with it. From a server: publishes are confirmed (RabbitMQ).
        80 BasicAck BASIC_ACK "basic.ack" {
            delivery_tag: longlong = "Which; 0 with `multiple`: all.";
            multiple: bit = "All up to it, too.";
        }
        /// Not done with it.
        90 BasicReject BASIC_REJECT "basic.reject" {
            delivery_tag: longlong = "Which.";
            requeue: bit = "Back to the queue; else it is dead.";
        }
        /// Unacknowledged messages go back, without an answer. Deprecated.
        100 BasicRecoverAsync BASIC_RECOVER_ASYNC "basic.recover_async" {
            requeue: bit = "To any consumer; else to the same one, which RabbitMQ refuses.";
        }
        /// Unacknowledged messages go back.
        110 BasicRecover BASIC_RECOVER "basic.recover" {
            requeue: bit = "To any consumer; else to the same one, which RabbitMQ refuses.";
        }
        /// They are back.
        111 BasicRecoverOk BASIC_RECOVER_OK "basic.recover_ok" {}
        /// Not done with them (RabbitMQ). From a server: publishes were not taken.
        120 BasicNack BASIC_NACK "basic.nack" {
            delivery_tag: longlong = "Which; 0 with `multiple`: all.";
            multiple: bit = "All up to it, too.";
            requeue: bit = "Back to the queue; else they are dead.";
        }
    }

    class 85 {
        /// Confirm what is published on this channel (RabbitMQ).
        10 ConfirmSelect CONFIRM_SELECT "confirm.select" {
            no_wait: bit = "Do not answer.";
        }
        /// Publishes will be confirmed (RabbitMQ).
        11 ConfirmSelectOk CONFIRM_SELECT_OK "confirm.select_ok" {}
    }

    class 90 {
        /// Publishes and acknowledgements wait for a commit.
        10 TxSelect TX_SELECT "tx.select" {}
        /// They will.
        11 TxSelectOk TX_SELECT_OK "tx.select_ok" {}
        /// Do what has waited.
        20 TxCommit TX_COMMIT "tx.commit" {}
        /// Done.
        21 TxCommitOk TX_COMMIT_OK "tx.commit_ok" {}
        /// Forget what has waited.
        30 TxRollback TX_ROLLBACK "tx.rollback" {}
        /// Forgotten.
        31 TxRollbackOk TX_ROLLBACK_OK "tx.rollback_ok" {}
    }
}

impl Method {
    /// Reads the payload of a method frame; all of it must be used.
    ///
    /// ```
    /// use rialto_protocol::amqp::{BasicAck, Method};
    /// let method = Method::decode(&[0, 60, 0, 80, 0, 0, 0, 0, 0, 0, 0, 7, 1]).unwrap();
    /// assert_eq!(method, BasicAck { delivery_tag: 7, multiple: true }.into());
    /// ```
    pub fn decode(payload: &[u8]) -> Result<Method, MethodError> {
        let id = MethodId::of(payload).ok_or(MethodError::NoId)?;
        let mut fields = FieldReader::new(&payload[4..]);
        let read = Method::read(id, &mut fields).ok_or(MethodError::Unknown(id))?;
        read.and_then(|method| fields.end().map(|()| method))
            .map_err(|error| MethodError::Fields { id, error })
    }

    /// Whether a content header and a body follow.
    pub const fn has_content(&self) -> bool {
        self.id().has_content()
    }

    /// Appends the method frame that carries this on `channel`.
    pub fn encode(&self, channel: u16, out: &mut BytesMut) {
        use bytes::BufMut;
        let id = self.id();
        put_frame(FrameKind::Method, channel, out, |out| {
            out.put_u16(id.class);
            out.put_u16(id.method);
            self.write(&mut FieldWriter::new(out));
        });
    }
}
