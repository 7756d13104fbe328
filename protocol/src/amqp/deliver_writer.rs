//! Writing what a consumer is sent per message: `basic.deliver` and the content header.
//!
//! Invariant: nothing is allocated per message but room in the buffer. Not here: the body
//! ([`super::put_body`], or slices behind [`super::put_body_frame_head`]).

use bytes::{BufMut, BytesMut};

use super::content::put_content_header;
use super::frame::{FRAME_END, FRAME_HEADER_LEN, FrameKind, put_frame_header};
use super::limits::FRAME_OVERHEAD;
use super::method::MethodId;
use crate::types::{ShortStr, put_short_str};

/// Writes the deliveries of one consumer; what is the same for all of them is made once.
#[derive(Clone, Debug)]
pub struct DeliverWriter {
    channel: u16,
    /// Frame header (its length is filled in), class, method, consumer tag.
    prefix: Box<[u8]>,
}

impl DeliverWriter {
    /// A writer for the consumer with this tag on this channel.
    ///
    /// # Panics
    /// If the tag is longer than 255 bytes: tags come from short strings.
    pub fn new(channel: u16, consumer_tag: &str) -> Self {
        assert!(consumer_tag.len() <= ShortStr::MAX, "a tag comes from a short string");
        let mut prefix = BytesMut::with_capacity(FRAME_HEADER_LEN + 5 + consumer_tag.len());
        put_frame_header(FrameKind::Method, channel, 0, &mut prefix);
        prefix.put_u16(MethodId::BASIC_DELIVER.class);
        prefix.put_u16(MethodId::BASIC_DELIVER.method);
        put_short_str(consumer_tag, &mut prefix);
        Self { channel, prefix: prefix[..].into() }
    }

    /// The channel it writes for.
    pub fn channel(&self) -> u16 {
        self.channel
    }

    /// Writes the method and header frames of one delivery; its body follows.
    ///
    /// `property_bytes` are flags and fields, or empty for none.
    ///
    /// # Panics
    /// If a name is longer than 255 bytes: names come from short strings.
    #[expect(clippy::too_many_arguments, reason = "the fields of basic.deliver and of the content header")]
    #[inline]
    pub fn put_head(
        &self,
        delivery_tag: u64,
        redelivered: bool,
        exchange: &str,
        routing_key: &str,
        body_size: usize,
        property_bytes: &[u8],
        out: &mut BytesMut,
    ) {
        assert!(
            exchange.len() <= ShortStr::MAX && routing_key.len() <= ShortStr::MAX,
            "names come from short strings, so they have at most 255 bytes"
        );
        let names = 2 + exchange.len() + routing_key.len();
        let len = self.prefix.len() - FRAME_HEADER_LEN + 9 + names;
        let start = out.len();
        out.reserve(len + FRAME_OVERHEAD);
        out.put_slice(&self.prefix);
        out[start + 3..start + FRAME_HEADER_LEN].copy_from_slice(&(len as u32).to_be_bytes());
        out.put_u64(delivery_tag);
        out.put_u8(redelivered.into());
        put_short_str(exchange, out);
        put_short_str(routing_key, out);
        out.put_u8(FRAME_END);
        put_content_header(self.channel, body_size as u64, property_bytes, out);
    }

    /// Writes another delivery tag into what [`DeliverWriter::put_head`] of this writer has written: messages that
    /// follow each other often differ in nothing else.
    ///
    /// # Panics
    /// If `head` is anything shorter.
    #[inline]
    pub fn set_tag(&self, delivery_tag: u64, head: &mut [u8]) {
        head[self.prefix.len()..][..8].copy_from_slice(&delivery_tag.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_with_another_tag_set_is_the_head_that_would_be_written_for_it() {
        for consumer_tag in ["", "c", "a longer consumer tag"] {
            let writer = DeliverWriter::new(3, consumer_tag);
            let head = |tag| {
                let mut out = BytesMut::new();
                writer.put_head(tag, true, "exchange", "key", 5, &[0x10, 0, 2], &mut out);
                out
            };
            let mut again = head(1);
            writer.set_tag(u64::MAX - 7, &mut again);
            assert_eq!(again, head(u64::MAX - 7));
        }
    }
}
