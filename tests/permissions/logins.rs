//! The ways to log in: every mechanism over both protocols, and how refusals look.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::{Bytes, BytesMut};
use hmac::{Hmac, KeyInit, Mac};
use rialto_protocol::native::{Command, PREFACE, decode_frame};
use sha2::{Digest, Sha256};

use crate::amqp::methods::*;
use crate::amqp::*;
use crate::support::peer::{login, name};
use crate::world::{PASSWORD, World};

/// What SASL needs of a connection, whichever protocol it speaks.
trait Sasl {
    fn begin(&mut self, mechanism: &'static str, response: &[u8]) -> Next;
    fn respond(&mut self, response: &[u8]) -> Next;
}

#[derive(Debug, PartialEq)]
enum Next {
    Challenge(Vec<u8>),
    In,
    Refused(u16, String),
}

struct OverAmqp(Client);

impl OverAmqp {
    fn next(&mut self) -> Next {
        match self.0.handshake() {
            Ok(Method::ConnectionSecure(secure)) => Next::Challenge(secure.challenge.to_vec()),
            Ok(Method::ConnectionTune(_)) => Next::In,
            Err(Some(closed)) => Next::Refused(closed.code, closed.text),
            other => panic!("{other:?}"),
        }
    }
}

impl Sasl for OverAmqp {
    fn begin(&mut self, mechanism: &'static str, response: &[u8]) -> Next {
        let response = Bytes::copy_from_slice(response);
        self.0.start_ok(&Options { mechanism, response, ..Options::default() });
        self.next()
    }

    fn respond(&mut self, response: &[u8]) -> Next {
        let response = Bytes::copy_from_slice(response);
        self.0.send(0, Method::ConnectionSecureOk(ConnectionSecureOk { response }));
        self.next()
    }
}

struct OverNative {
    stream: TcpStream,
    input: BytesMut,
}

impl OverNative {
    fn connect(address: SocketAddr) -> Self {
        let mut stream = TcpStream::connect(address).expect("the broker listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.write_all(&PREFACE).expect("room to write");
        OverNative { stream, input: BytesMut::new() }
    }

    fn say(&mut self, command: &Command) -> Next {
        let mut out = BytesMut::new();
        command.encode(0, &mut out);
        self.stream.write_all(&out).expect("room to write");
        loop {
            if let Some(frame) = decode_frame(&mut self.input, 1 << 20).expect("a good frame") {
                return match frame.command().expect("a good frame") {
                    Some(Command::Challenge(challenge)) => Next::Challenge(challenge.to_vec()),
                    Some(Command::Welcome(_)) => Next::In,
                    Some(Command::Close(closing)) => Next::Refused(closing.code, closing.text.to_string()),
                    other => panic!("{other:?}"),
                };
            }
            let mut bytes = [0; 4096];
            let read = self.stream.read(&mut bytes).expect("an answer");
            assert!(read > 0, "the broker hung up");
            self.input.extend_from_slice(&bytes[..read]);
        }
    }
}

impl Sasl for OverNative {
    fn begin(&mut self, mechanism: &'static str, response: &[u8]) -> Next {
        let (mechanism, response) = (name(mechanism), Bytes::copy_from_slice(response));
        self.say(&Command::Login(rialto_protocol::native::Login { mechanism, response, ..login(0) }))
    }

    fn respond(&mut self, response: &[u8]) -> Next {
        self.say(&Command::ChallengeResponse(Bytes::copy_from_slice(response).into()))
    }
}

/// A new connection of each protocol.
fn both(world: &World) -> [Box<dyn Sasl>; 2] {
    let address = world.embedded.address();
    [Box::new(OverAmqp(Client::greet(address))), Box::new(OverNative::connect(address))]
}

fn mac(key: &[u8], text: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any length will do");
    mac.update(text);
    mac.finalize().into_bytes().to_vec()
}

/// RFC 5802 as a client does it; whether the broker has shown that it knows the password too.
fn scram(sasl: &mut dyn Sasl, user: &str, password: &str) -> Result<bool, (u16, String)> {
    let first_bare = format!("n={user},r=fyko+d2lbbFgONRv9qkxdawL");
    let first = match sasl.begin("SCRAM-SHA-256", format!("n,,{first_bare}").as_bytes()) {
        Next::Challenge(first) => String::from_utf8(first).expect("text"),
        other => panic!("{other:?}"),
    };
    let part =
        |name: &str| first.split(',').find_map(|part| part.strip_prefix(name)).expect("a part").to_owned();
    let (nonce, salt, rounds) = (part("r="), BASE64.decode(part("s=")).expect("base64"), part("i="));
    let rounds: u32 = rounds.parse().expect("a number");
    let salted = pbkdf2::pbkdf2_hmac_array::<Sha256, 32>(password.as_bytes(), &salt, rounds);
    let client_key = mac(&salted, b"Client Key");
    let last_bare = format!("c=biws,r={nonce}");
    let said = format!("{first_bare},{first},{last_bare}");
    let signature = mac(&Sha256::digest(&client_key), said.as_bytes());
    let proof: Vec<u8> = client_key.iter().zip(&signature).map(|(one, other)| one ^ other).collect();
    let expected = format!("v={}", BASE64.encode(mac(&mac(&salted, b"Server Key"), said.as_bytes())));
    match sasl.respond(format!("{last_bare},p={}", BASE64.encode(proof)).as_bytes()) {
        Next::Challenge(last) => {
            assert_eq!(sasl.respond(b""), Next::In);
            Ok(last == expected.as_bytes())
        }
        Next::Refused(code, text) => Err((code, text)),
        Next::In => panic!("without a word"),
    }
}

#[test]
fn name_and_password_are_checked_by_hashes_that_are_slow_and_by_others() {
    let world = World::start();
    for user in ["worker", "slow"] {
        // The second time the password is remembered.
        for _ in 0..2 {
            for mut sasl in both(&world) {
                let response = format!("\0{user}\0{PASSWORD}");
                assert_eq!(sasl.begin("PLAIN", response.as_bytes()), Next::In, "{user}");
            }
        }
    }
    for mut sasl in both(&world) {
        let Next::Refused(code, text) = sasl.begin("PLAIN", b"\0slow\0wrong") else { panic!("let in") };
        assert_eq!(code, 403, "{text}");
        assert!(!text.contains("slow") && !text.contains("wrong"), "{text}");
    }
}

#[test]
fn name_and_password_may_come_in_a_table() {
    let world = World::start();
    let table = FieldTable::new().with("LOGIN", "slow").with("PASSWORD", PASSWORD);
    for mut sasl in both(&world) {
        assert_eq!(sasl.begin("AMQPLAIN", &table.encoded()[4..]), Next::In);
    }
}

#[test]
fn scram_shows_both_sides_that_the_other_knows_the_password() {
    let world = World::start();
    for mut sasl in both(&world) {
        assert_eq!(scram(&mut *sasl, "slow", PASSWORD), Ok(true));
    }
    for (user, password) in [("slow", "wrong"), ("nobody", PASSWORD)] {
        for mut sasl in both(&world) {
            let (code, text) = scram(&mut *sasl, user, password).expect_err("refused");
            assert_eq!(code, 403, "{text}");
        }
    }
}

#[test]
fn a_certificate_is_asked_for_only_where_there_is_one() {
    let world = World::start();
    for (mut sasl, code) in both(&world).into_iter().zip([503, 540]) {
        let Next::Refused(refused, text) = sasl.begin("EXTERNAL", b"worker") else { panic!("let in") };
        assert_eq!(refused, code, "{text}");
        assert!(text.contains("PLAIN") && !text.contains("use one of EXTERNAL"), "{text}");
    }
}

#[test]
fn what_a_client_says_behind_its_login_waits_until_that_is_checked() {
    let world = World::start();
    let mut out = BytesMut::from(&PREFACE[..]);
    let login =
        rialto_protocol::native::Login { response: Bytes::from(format!("\0slow\0{PASSWORD}")), ..login(0) };
    Command::Login(login).encode(0, &mut out);
    Command::OpenChannel { correlation: 7 }.encode(1, &mut out);
    let mut stream = TcpStream::connect(world.embedded.address()).expect("the broker listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream.write_all(&out).expect("room to write");
    let (mut input, mut heard) = (BytesMut::new(), Vec::new());
    while heard.len() < 2 {
        let mut bytes = [0; 4096];
        let read = stream.read(&mut bytes).expect("an answer");
        assert!(read > 0, "the broker hung up after {heard:?}");
        input.extend_from_slice(&bytes[..read]);
        while let Some(frame) = decode_frame(&mut input, 1 << 20).expect("a good frame") {
            heard.extend(frame.command().expect("a good frame"));
        }
    }
    assert!(
        matches!(heard[..], [Command::Welcome(_), Command::Response { correlation: 7, .. }]),
        "{heard:?}"
    );
}

#[test]
fn a_password_is_not_shown_with_the_frame_that_carries_it() {
    let response = || Bytes::from_static(b"\0worker\0secret-1");
    let start_ok = ConnectionStartOk { response: response(), ..Default::default() };
    let secure_ok = ConnectionSecureOk { response: response() };
    let native = rialto_protocol::native::Login { response: response(), ..login(0) };
    let update = ConnectionUpdateSecret { new_secret: response(), reason: short("") };
    for shown in [
        format!("{:?}", Method::ConnectionStartOk(start_ok)),
        format!("{:?}", Method::ConnectionSecureOk(secure_ok)),
        format!("{:?}", Method::ConnectionUpdateSecret(update)),
        format!("{:?}", Command::Login(native)),
        format!("{:?}", Command::ChallengeResponse(response().into())),
    ] {
        assert!(shown.contains("(secret)") && !shown.contains("secret-1"), "{shown}");
    }
}
