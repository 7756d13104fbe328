//! Bodies of the connection's commands: login, limits, closing.

use bytes::{BufMut, BytesMut};

use super::super::command::{Closing, Login, Welcome};
use super::super::limits::{LOGIN_FRAME_MAX, TABLE_BYTES_MAX};
use super::fields::{long, octet, put_bytes, put_text, short, small_bytes, table, text};
use super::whole;
use crate::types::{Parsed, ShortStr, WireResult};

pub(super) fn login(body: &[u8]) -> WireResult<Login> {
    whole("Login", parse_login(body))
}

fn parse_login(input: &[u8]) -> Parsed<'_, Login> {
    let (input, mechanism) = text("mechanism", input)?;
    let (input, response) = small_bytes("SASL response", LOGIN_FRAME_MAX as usize, input)?;
    let (input, vhost) = text("vhost", input)?;
    let (input, frame_max) = long("frame_max", input)?;
    let (input, heartbeat_ms) = long("heartbeat_ms", input)?;
    let (input, properties) = table("client properties", TABLE_BYTES_MAX, input)?;
    Ok((input, Login { mechanism, response, vhost, frame_max, heartbeat_ms, properties }))
}

pub(super) fn put_login(login: &Login, out: &mut BytesMut) {
    put_text(&login.mechanism, out);
    put_bytes(&login.response, out);
    put_text(&login.vhost, out);
    out.put_u32(login.frame_max);
    out.put_u32(login.heartbeat_ms);
    login.properties.encode(out);
}

pub(super) fn welcome(body: &[u8]) -> WireResult<Welcome> {
    whole("Welcome", parse_welcome(body))
}

fn parse_welcome(input: &[u8]) -> Parsed<'_, Welcome> {
    let (input, frame_max) = long("frame_max", input)?;
    let (input, channel_max) = short("channel_max", input)?;
    let (input, route_max) = long("route_max", input)?;
    let (input, heartbeat_ms) = long("heartbeat_ms", input)?;
    let (input, publish_window) = long("publish_window", input)?;
    let (input, message_size_max) = long("message_size_max", input)?;
    let (input, properties) = table("server properties", TABLE_BYTES_MAX, input)?;
    let welcome = Welcome {
        frame_max,
        channel_max,
        route_max,
        heartbeat_ms,
        publish_window,
        message_size_max,
        properties,
    };
    Ok((input, welcome))
}

pub(super) fn put_welcome(welcome: &Welcome, out: &mut BytesMut) {
    out.put_u32(welcome.frame_max);
    out.put_u16(welcome.channel_max);
    out.put_u32(welcome.route_max);
    out.put_u32(welcome.heartbeat_ms);
    out.put_u32(welcome.publish_window);
    out.put_u32(welcome.message_size_max);
    welcome.properties.encode(out);
}

pub(super) fn closing(body: &[u8]) -> WireResult<Closing> {
    whole("closing", parse_closing(body))
}

fn parse_closing(input: &[u8]) -> Parsed<'_, Closing> {
    let (input, code) = short("reply code", input)?;
    let (input, kind) = octet("kind at fault", input)?;
    let (input, correlation) = long("correlation at fault", input)?;
    let (input, text) = text("reply text", input)?;
    Ok((input, Closing { code, text, kind, correlation }))
}

pub(super) fn put_closing(closing: &Closing, out: &mut BytesMut) {
    out.put_u16(closing.code);
    out.put_u8(closing.kind);
    out.put_u32(closing.correlation);
    put_text(&closing.text, out);
}

/// A body that is one number.
pub(super) fn number(what: &'static str, body: &[u8]) -> WireResult<u32> {
    whole(what, long(what, body))
}

/// A body that is one text.
pub(super) fn reason(body: &[u8]) -> WireResult<ShortStr> {
    whole("reason", text("reason", body))
}
