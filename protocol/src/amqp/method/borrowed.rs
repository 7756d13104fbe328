//! The methods that come with every message, read without allocating.

use super::MethodId;
use super::fields::FieldReader;
use crate::amqp::MethodError;
use crate::types::{WireError, WireResult};

/// `basic.publish`, borrowed from its frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BasicPublishRef<'a> {
    /// Where it is published to.
    pub exchange: &'a str,
    /// What exchanges route it by.
    pub routing_key: &'a str,
    /// Return it if it reaches no queue.
    pub mandatory: bool,
    /// Return it if no consumer takes it at once.
    pub immediate: bool,
}

impl<'a> BasicPublishRef<'a> {
    /// Reads the payload of a method frame that holds `basic.publish`; any other method is an error.
    pub fn decode(payload: &'a [u8]) -> Result<Self, MethodError> {
        decode(MethodId::BASIC_PUBLISH, payload, |fields| {
            fields.short("a reserved field")?;
            Ok(Self {
                exchange: fields.borrowed_shortstr("exchange")?,
                routing_key: fields.borrowed_shortstr("routing_key")?,
                mandatory: fields.bit("mandatory")?,
                immediate: fields.bit("immediate")?,
            })
        })
    }
}

/// Exchange and routing key of a `basic.publish` as the bytes that they are: enough to find a route that is known, whose
/// names were texts when they were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UncheckedPublish<'a> {
    /// Where it is published to.
    pub exchange: &'a [u8],
    /// What exchanges route it by.
    pub routing_key: &'a [u8],
    /// Return it if no consumer takes it at once.
    pub immediate: bool,
}

impl<'a> UncheckedPublish<'a> {
    /// Reads the payload of a method frame that holds `basic.publish`. `None`: [`BasicPublishRef::decode`] knows what is
    /// wrong with it.
    #[inline]
    pub fn read(payload: &'a [u8]) -> Option<Self> {
        let (id, rest) = payload.split_first_chunk::<4>()?;
        let (_reserved, rest) = rest.split_first_chunk::<2>()?;
        let (exchange, rest) = split_short(rest)?;
        let (routing_key, rest) = split_short(rest)?;
        let [bits] = *rest else { return None };
        let is_publish = MethodId::of(id) == Some(MethodId::BASIC_PUBLISH);
        is_publish.then_some(Self { exchange, routing_key, immediate: bits & 0b10 != 0 })
    }
}

#[inline]
fn split_short(input: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&len, rest) = input.split_first()?;
    rest.split_at_checked(len.into())
}

/// `basic.deliver`, borrowed from its frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BasicDeliverRef<'a> {
    /// The consumer that it is for.
    pub consumer_tag: &'a str,
    /// Its number on the channel.
    pub delivery_tag: u64,
    /// Whether it was delivered before.
    pub redelivered: bool,
    /// Where it was published to.
    pub exchange: &'a str,
    /// The routing key that it was published with.
    pub routing_key: &'a str,
}

impl<'a> BasicDeliverRef<'a> {
    /// Reads the payload of a method frame that holds `basic.deliver`; any other method is an error.
    pub fn decode(payload: &'a [u8]) -> Result<Self, MethodError> {
        decode(MethodId::BASIC_DELIVER, payload, |fields| {
            Ok(Self {
                consumer_tag: fields.borrowed_shortstr("consumer_tag")?,
                delivery_tag: fields.longlong("delivery_tag")?,
                redelivered: fields.bit("redelivered")?,
                exchange: fields.borrowed_shortstr("exchange")?,
                routing_key: fields.borrowed_shortstr("routing_key")?,
            })
        })
    }
}

#[inline]
fn decode<'a, T>(
    expected: MethodId,
    payload: &'a [u8],
    read: impl FnOnce(&mut FieldReader<'a>) -> WireResult<T>,
) -> Result<T, MethodError> {
    let id = MethodId::of(payload).ok_or(MethodError::NoId)?;
    if id != expected {
        let error = WireError::BadValue { what: "method id", value: id.method.into() };
        return Err(MethodError::Fields { id, error });
    }
    let mut fields = FieldReader::new(&payload[4..]);
    let value = read(&mut fields).and_then(|value| fields.end().map(|()| value));
    value.map_err(|error| MethodError::Fields { id, error })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::amqp::{BasicPublish, FRAME_HEADER_LEN, Method};
    use crate::types::ShortStr;

    #[test]
    fn what_is_not_checked_is_read_as_what_is() {
        let publish = BasicPublish {
            exchange: ShortStr::truncated("events"),
            routing_key: ShortStr::truncated("a.b"),
            mandatory: true,
            immediate: false,
        };
        let mut frame = bytes::BytesMut::new();
        Method::from(publish).encode(1, &mut frame);
        let payload = &frame[FRAME_HEADER_LEN..frame.len() - 1];
        assert!(UncheckedPublish::read(payload).is_some());
        for end in 0..payload.len() {
            assert_eq!(UncheckedPublish::read(&payload[..end]), None, "cut at {end}");
        }
        for at in 0..payload.len() {
            for octet in 0..=255 {
                let mut payload = payload.to_vec();
                payload[at] = octet;
                let checked = BasicPublishRef::decode(&payload);
                let unchecked = UncheckedPublish::read(&payload).and_then(|read| {
                    let (exchange, routing_key) = (read.exchange, read.routing_key);
                    Some((str::from_utf8(exchange).ok()?, str::from_utf8(routing_key).ok()?, read.immediate))
                });
                let checked = checked.ok().map(|read| (read.exchange, read.routing_key, read.immediate));
                assert_eq!(checked, unchecked, "octet {at} is {octet}");
            }
        }
    }
}
