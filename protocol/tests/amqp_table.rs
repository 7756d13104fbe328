//! The table of methods is the specification's, field by field.

use rialto_protocol::amqp::MethodId;

/// `amqp0-9-1.xml` with RabbitMQ's extensions: class, method, name, then the types of all fields in order,
/// `*` if content follows. Written down apart from the table under test.
const SPECIFICATION: &str = "
    10 10 connection.start octet octet table longstr longstr
    10 11 connection.start_ok table shortstr longstr shortstr
    10 20 connection.secure longstr
    10 21 connection.secure_ok longstr
    10 30 connection.tune short long short
    10 31 connection.tune_ok short long short
    10 40 connection.open shortstr shortstr bit
    10 41 connection.open_ok shortstr
    10 50 connection.close short shortstr short short
    10 51 connection.close_ok
    10 60 connection.blocked shortstr
    10 61 connection.unblocked
    10 70 connection.update_secret longstr shortstr
    10 71 connection.update_secret_ok
    20 10 channel.open shortstr
    20 11 channel.open_ok longstr
    20 20 channel.flow bit
    20 21 channel.flow_ok bit
    20 40 channel.close short shortstr short short
    20 41 channel.close_ok
    30 10 access.request shortstr bit bit bit bit bit
    30 11 access.request_ok short
    40 10 exchange.declare short shortstr shortstr bit bit bit bit bit table
    40 11 exchange.declare_ok
    40 20 exchange.delete short shortstr bit bit
    40 21 exchange.delete_ok
    40 30 exchange.bind short shortstr shortstr shortstr bit table
    40 31 exchange.bind_ok
    40 40 exchange.unbind short shortstr shortstr shortstr bit table
    40 51 exchange.unbind_ok
    50 10 queue.declare short shortstr bit bit bit bit bit table
    50 11 queue.declare_ok shortstr long long
    50 20 queue.bind short shortstr shortstr shortstr bit table
    50 21 queue.bind_ok
    50 30 queue.purge short shortstr bit
    50 31 queue.purge_ok long
    50 40 queue.delete short shortstr bit bit bit
    50 41 queue.delete_ok long
    50 50 queue.unbind short shortstr shortstr shortstr table
    50 51 queue.unbind_ok
    60 10 basic.qos long short bit
    60 11 basic.qos_ok
    60 20 basic.consume short shortstr shortstr bit bit bit bit table
    60 21 basic.consume_ok shortstr
    60 30 basic.cancel shortstr bit
    60 31 basic.cancel_ok shortstr
    60 40 basic.publish short shortstr shortstr bit bit *
    60 50 basic.return short shortstr shortstr shortstr *
    60 60 basic.deliver shortstr longlong bit shortstr shortstr *
    60 70 basic.get short shortstr bit
    60 71 basic.get_ok longlong bit shortstr shortstr long *
    60 72 basic.get_empty shortstr
    60 80 basic.ack longlong bit
    60 90 basic.reject longlong bit
    60 100 basic.recover_async bit
    60 110 basic.recover bit
    60 111 basic.recover_ok
    60 120 basic.nack longlong bit bit
    85 10 confirm.select bit
    85 11 confirm.select_ok
    90 10 tx.select
    90 11 tx.select_ok
    90 20 tx.commit
    90 21 tx.commit_ok
    90 30 tx.rollback
    90 31 tx.rollback_ok
";

#[test]
fn the_table_is_the_specification() {
    let mut known = MethodId::ALL.iter();
    for line in SPECIFICATION.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let mut words = line.split(' ');
        let mut number = || words.next().unwrap().parse().unwrap();
        let id = MethodId { class: number(), method: number() };
        assert_eq!(known.next(), Some(&id), "{line}");
        assert_eq!(id.name(), words.next().unwrap());
        let fields = id.fields().unwrap();
        let types: Vec<_> = fields.iter().map(|field| format!("{:?}", field.kind).to_lowercase()).collect();
        let expected: Vec<_> = words.clone().filter(|&word| word != "*").collect();
        assert_eq!(types, expected, "{line}");
        assert_eq!(id.has_content(), line.ends_with('*'), "{line}");
    }
    assert_eq!(known.next(), None);
    let unknown = MethodId { class: 60, method: 200 };
    assert_eq!((unknown.name(), unknown.fields(), unknown.has_content()), ("none", None, false));
}

#[test]
fn fields_have_the_names_of_the_specification() {
    let names = |id: MethodId| -> Vec<_> { id.fields().unwrap().iter().map(|field| field.name).collect() };
    assert_eq!(
        names(MethodId::EXCHANGE_DECLARE),
        ["", "exchange", "kind", "passive", "durable", "auto_delete", "internal", "no_wait", "arguments"]
    );
    assert_eq!(names(MethodId::BASIC_NACK), ["delivery_tag", "multiple", "requeue"]);
}
