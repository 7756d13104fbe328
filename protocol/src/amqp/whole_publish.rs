//! A message that is published in one piece: method, header and one body, whole and next to each other in the input.
//!
//! The ordinary message of every client, read without a [`super::ContentAssembler`]. Invariant: what is read here,
//! frame by frame reading would read as well, and with the same result; whatever is out of the ordinary or wrong is
//! left to that, which knows what to say of it. Not here: whether a publish may come now (the caller's question).

use super::content::ContentHeader;
use super::frame::{FRAME_END, FRAME_HEADER_LEN, Frame, FrameKind, split_frame};
use super::limits::FRAME_OVERHEAD;
use super::method::MethodId;

/// The frames of one `basic.publish`, borrowed from the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WholePublish<'a> {
    /// The channel of all of its frames.
    pub channel: u16,
    /// The payload of the method frame: a `basic.publish` by its id, not looked at beyond that.
    pub method: &'a [u8],
    /// The content header, checked.
    pub header: ContentHeader<'a>,
    /// The body: as long as the header says.
    pub body: &'a [u8],
    /// All that stands in front of the body, the head of its frame included.
    head: &'a [u8],
}

impl<'a> WholePublish<'a> {
    /// The message that `input` begins with. `None`: what comes there is to be read frame by frame.
    ///
    /// `frame_max` is the one of [`split_frame`].
    #[inline]
    pub fn read(input: &'a [u8], frame_max: u32) -> Option<Self> {
        let (method, method_len) = split_frame(input, frame_max).ok()??;
        let channel = method.channel;
        if method.kind != FrameKind::Method || MethodId::of(method.payload) != Some(MethodId::BASIC_PUBLISH) {
            return None;
        }
        let next = |at: usize, kind| match split_frame(&input[at..], frame_max) {
            Ok(Some((frame, len))) if frame.kind == kind && frame.channel == channel => {
                Some((frame, at + len))
            }
            _ => None,
        };
        let (Frame { payload: header, .. }, body_at) = next(method_len, FrameKind::Header)?;
        let (Frame { payload: body, .. }, _) = next(body_at, FrameKind::Body)?;
        let header = ContentHeader::decode(header).ok()?;
        let is_ordinary = header.class == MethodId::BASIC_PUBLISH.class
            && header.weight == 0
            && header.body_size != 0
            && header.body_size == body.len() as u64;
        let head = &input[..body_at + FRAME_HEADER_LEN];
        is_ordinary.then_some(Self { channel, method: method.payload, header, body, head })
    }

    /// The message that `input` begins with, if it differs from this one in nothing but what its body says: mostly so
    /// when a publisher goes on with the same route, and much cheaper to find out than to read it.
    #[inline]
    pub fn again(&self, input: &'a [u8]) -> Option<Self> {
        let (head, rest) = input.split_at_checked(self.head.len())?;
        let (body, rest) = rest.split_at_checked(self.body.len())?;
        let is_like_this = head == self.head && rest.first() == Some(&FRAME_END);
        is_like_this.then_some(Self { body, ..*self })
    }

    /// The bodies of the messages that `input` begins with, as far as they go on [again](Self::again).
    #[inline]
    pub fn repeated(self, input: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        input.chunks_exact(self.wire_len()).map_while(move |input| self.again(input)).map(|again| again.body)
    }

    /// The message that `input` begins with, if it differs from this one in nothing but its method and what its body says:
    /// mostly so when a publisher goes on with another route. What was found out about the header is true of it, too.
    #[inline]
    pub fn with_other_method(&self, input: &'a [u8], frame_max: u32) -> Option<Self> {
        let (method, method_len) = split_frame(input, frame_max).ok()??;
        let is_publish = method.kind == FrameKind::Method
            && method.channel == self.channel
            && MethodId::of(method.payload) == Some(MethodId::BASIC_PUBLISH);
        let behind_method = &self.head[self.method.len() + FRAME_OVERHEAD..];
        let rest = input[method_len..].strip_prefix(behind_method)?;
        let (body, rest) = rest.split_at_checked(self.body.len())?;
        let is_like_this = is_publish && rest.first() == Some(&FRAME_END);
        let head = &input[..method_len + behind_method.len()];
        is_like_this.then_some(Self { method: method.payload, body, head, ..*self })
    }

    /// Bytes that its frames take of the input.
    #[inline]
    pub fn wire_len(&self) -> usize {
        self.head.len() + self.body.len() + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::amqp::{Assembled, BasicPublish, ContentAssembler, Method, put_body, put_content_header};
    use crate::types::{Properties, ShortStr};
    use bytes::BytesMut;

    const FRAME_MAX: u32 = 4096;

    fn published(body: &[u8], announced: usize, in_frames_of: u32) -> Vec<u8> {
        published_to("q", body, announced, in_frames_of)
    }

    fn published_to(routing_key: &str, body: &[u8], announced: usize, in_frames_of: u32) -> Vec<u8> {
        let properties = Properties { delivery_mode: Some(2), ..Properties::default() };
        let mut out = BytesMut::new();
        let publish = BasicPublish { routing_key: ShortStr::truncated(routing_key), ..Default::default() };
        Method::from(publish).encode(7, &mut out);
        put_content_header(7, announced as u64, &properties.encoded(), &mut out);
        put_body(7, body, in_frames_of, &mut out);
        out.to_vec()
    }

    /// What frame by frame reading makes of it, if that is a message and nothing else.
    fn assembled(mut input: &[u8]) -> Option<(Vec<u8>, Vec<u8>, Vec<u8>)> {
        let mut assembler = ContentAssembler::default();
        while let Ok(Some((frame, len))) = split_frame(input, FRAME_MAX) {
            input = &input[len..];
            let whole = match frame.kind {
                FrameKind::Method if assembler.is_idle() => {
                    assembler.begin(frame.payload);
                    None
                }
                FrameKind::Header => assembler.header(&ContentHeader::decode(frame.payload).ok()?).ok()?,
                FrameKind::Body => assembler.body(frame.payload).ok()?,
                FrameKind::Method | FrameKind::Heartbeat => return None,
            };
            if let Some(Assembled { method, properties, body }) = whole {
                return Some((method.to_vec(), properties.to_vec(), body.to_vec()));
            }
        }
        None
    }

    #[test]
    fn a_message_in_one_piece_is_read_as_frame_by_frame() {
        let mut input = published(b"body", 4, FRAME_MAX);
        let len = input.len();
        input.extend_from_slice(b"what follows");
        let publish = WholePublish::read(&input, FRAME_MAX).unwrap();
        let read = (publish.method.to_vec(), publish.header.property_bytes.to_vec(), publish.body.to_vec());
        assert_eq!(Some(read), assembled(&input));
        assert_eq!((publish.channel, publish.body, publish.wire_len()), (7, &b"body"[..], len));
    }

    #[test]
    fn what_is_not_all_there_or_comes_in_other_pieces_is_left() {
        let whole = published(b"body", 4, FRAME_MAX);
        for end in 0..whole.len() {
            assert_eq!(WholePublish::read(&whole[..end], FRAME_MAX), None, "cut at {end}");
        }
        for (what, input) in [
            ("no body", published(b"", 0, FRAME_MAX)),
            ("two bodies", published(b"body", 4, 8 + 2)),
            ("too much body", published(b"body", 3, FRAME_MAX)),
            ("too long a frame", published(&[b'x'; 5000], 5000, 0)),
            ("another method", {
                let mut out = BytesMut::new();
                Method::BasicAck(Default::default()).encode(7, &mut out);
                [&out[..], &whole].concat()
            }),
        ] {
            assert_eq!(WholePublish::read(&input, FRAME_MAX), None, "{what}");
        }
    }

    #[test]
    fn a_changed_octet_is_read_as_frame_by_frame_or_left() {
        let whole = published(b"body", 4, FRAME_MAX);
        for at in 0..whole.len() {
            for octet in 0..=255 {
                let mut input = whole.clone();
                input[at] = octet;
                let Some(publish) = WholePublish::read(&input, FRAME_MAX) else { continue };
                let read =
                    (publish.method.to_vec(), publish.header.property_bytes.to_vec(), publish.body.to_vec());
                assert_eq!(Some(read), assembled(&input), "octet {at} is {octet}");
            }
        }
    }

    #[test]
    fn one_is_again_another_if_reading_it_would_give_the_same_but_for_the_body() {
        let first = published(b"body", 4, FRAME_MAX);
        let like = WholePublish::read(&first, FRAME_MAX).unwrap();
        let mut next = published(b"next", 4, FRAME_MAX);
        next.extend_from_slice(b"what follows");
        let again = like.again(&next).unwrap();
        assert_eq!((Some(again), again.body), (WholePublish::read(&next, FRAME_MAX), &b"next"[..]));
        let len = again.wire_len();
        for end in 0..len {
            assert_eq!(like.again(&next[..end]), None, "cut at {end}");
        }
        for at in 0..len {
            for octet in 0..=255 {
                let mut input = next.clone();
                input[at] = octet;
                let Some(again) = like.again(&input) else { continue };
                assert_eq!(Some(again), WholePublish::read(&input, FRAME_MAX), "octet {at} is {octet}");
            }
        }
    }

    #[test]
    fn those_that_follow_are_repeated_up_to_the_first_that_differs() {
        let first = published(b"body", 4, FRAME_MAX);
        let like = WholePublish::read(&first, FRAME_MAX).unwrap();
        let [one, two] = [b"1111", b"2222"].map(|body| published(body, 4, FRAME_MAX));
        let other = published_to("r", b"3333", 4, FRAME_MAX);
        let bodies = |parts: &[&[u8]]| -> Vec<Vec<u8>> {
            let input = parts.concat();
            like.repeated(&input).map(<[u8]>::to_vec).collect()
        };
        assert_eq!(bodies(&[&one, &two]), [b"1111", b"2222"]);
        assert_eq!(bodies(&[&one, &other, &two]), [b"1111"]);
        assert_eq!(bodies(&[&one, &two[..two.len() - 1]]), [b"1111"]);
        assert!(bodies(&[&other, &two]).is_empty() && bodies(&[]).is_empty());
    }

    #[test]
    fn one_differs_from_another_in_its_method_if_reading_it_would_find_nothing_else() {
        let first = published(b"body", 4, FRAME_MAX);
        let like = WholePublish::read(&first, FRAME_MAX).unwrap();
        for key in ["", "r", "another"] {
            let mut next = published_to(key, b"next", 4, FRAME_MAX);
            let len = next.len();
            next.extend_from_slice(b"what follows");
            let other = like.with_other_method(&next, FRAME_MAX);
            assert!(other.is_some() && other == WholePublish::read(&next, FRAME_MAX), "{key}: {other:?}");
            for end in 0..len {
                assert_eq!(like.with_other_method(&next[..end], FRAME_MAX), None, "{key} cut at {end}");
            }
            for at in 0..len {
                for octet in 0..=255 {
                    let mut input = next.clone();
                    input[at] = octet;
                    let Some(other) = like.with_other_method(&input, FRAME_MAX) else { continue };
                    assert_eq!(Some(other), WholePublish::read(&input, FRAME_MAX), "{key}: {at} is {octet}");
                }
            }
        }
        let long = published_to(&"k".repeat(255), b"next", 4, FRAME_MAX);
        assert_eq!(like.with_other_method(&long, 64), None, "its frame is too long");
    }
}
