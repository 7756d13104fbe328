//! A message that is published in one piece: method, header and one body, whole and next to each other in the input.
//!
//! The ordinary message of every client, read without a [`super::ContentAssembler`]. Invariant: what is read here,
//! frame by frame reading would read as well, and with the same result; whatever is out of the ordinary or wrong is
//! left to that, which knows what to say of it. Not here: whether a publish may come now (the caller's question).

use super::content::ContentHeader;
use super::frame::{Frame, FrameKind, split_frame};
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
}

impl<'a> WholePublish<'a> {
    /// Cuts a message off the beginning of `input`: its frames, and how many bytes they take of `input`. `None`: what
    /// comes there is to be read frame by frame.
    ///
    /// `frame_max` is the one of [`split_frame`].
    #[inline]
    pub fn split(input: &'a [u8], frame_max: u32) -> Option<(Self, usize)> {
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
        let (Frame { payload: body, .. }, len) = next(body_at, FrameKind::Body)?;
        let header = ContentHeader::decode(header).ok()?;
        let is_ordinary = header.class == MethodId::BASIC_PUBLISH.class
            && header.weight == 0
            && header.body_size != 0
            && header.body_size == body.len() as u64;
        is_ordinary.then_some((Self { channel, method: method.payload, header, body }, len))
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
        let properties = Properties { delivery_mode: Some(2), ..Properties::default() };
        let mut out = BytesMut::new();
        let publish = BasicPublish { routing_key: ShortStr::truncated("q"), ..Default::default() };
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
        let (publish, taken) = WholePublish::split(&input, FRAME_MAX).unwrap();
        let read = (publish.method.to_vec(), publish.header.property_bytes.to_vec(), publish.body.to_vec());
        assert_eq!(Some(read), assembled(&input));
        assert_eq!((publish.channel, publish.body, taken), (7, &b"body"[..], len));
    }

    #[test]
    fn what_is_not_all_there_or_comes_in_other_pieces_is_left() {
        let whole = published(b"body", 4, FRAME_MAX);
        for end in 0..whole.len() {
            assert_eq!(WholePublish::split(&whole[..end], FRAME_MAX), None, "cut at {end}");
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
            assert_eq!(WholePublish::split(&input, FRAME_MAX), None, "{what}");
        }
    }

    #[test]
    fn a_changed_octet_is_read_as_frame_by_frame_or_left() {
        let whole = published(b"body", 4, FRAME_MAX);
        for at in 0..whole.len() {
            for octet in 0..=255 {
                let mut input = whole.clone();
                input[at] = octet;
                let Some((publish, _)) = WholePublish::split(&input, FRAME_MAX) else { continue };
                let read =
                    (publish.method.to_vec(), publish.header.property_bytes.to_vec(), publish.body.to_vec());
                assert_eq!(Some(read), assembled(&input), "octet {at} is {octet}");
            }
        }
    }
}
