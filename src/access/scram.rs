//! SCRAM-SHA-256 (RFC 5802, RFC 7677): a login in which the password never crosses the wire, and which shows the client
//! that the broker knows it too.
//!
//! ```text
//! -> n,,n=user,r=NONCE   <- r=NONCEnonce,s=SALT,i=ROUNDS   -> c=biws,r=NONCEnonce,p=PROOF   <- v=SIGNATURE
//! ```
//!
//! Without channel binding, and names and passwords are taken as they are, without SASLprep. Invariant: whoever does
//! not know the password cannot tell whether there is such a user. Not here: which user it is (`login`).

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::password::mac;

/// Longest nonce of a client, in bytes: the broker sends it back and keeps it for the time of the login.
const NONCE_LEN_MAX: usize = 256;

/// What a server keeps instead of a password.
#[derive(Clone, PartialEq, Eq)]
pub struct ScramKeys {
    salt: [u8; 16],
    rounds: u32,
    stored_key: [u8; 32],
    server_key: [u8; 32],
}

impl ScramKeys {
    /// Makes them from a password. As slow as there are rounds.
    pub(super) fn new(password: &str, salt: [u8; 16], rounds: u32) -> Self {
        let salted: [u8; 32] =
            pbkdf2::pbkdf2_hmac_array::<Sha256, 32>(password.as_bytes(), &salt, rounds.max(1));
        let client_key = mac(&salted, &[b"Client Key"]);
        let stored_key = Sha256::digest(client_key).into();
        ScramKeys { salt, rounds, stored_key, server_key: mac(&salted, &[b"Server Key"]) }
    }

    /// Keys that fit no password, for a user that does not exist: the same each time it is asked for.
    pub(super) fn of_nobody(secret: &[u8; 32], user: &str, rounds: u32) -> Self {
        let bytes = mac(secret, &[b"SCRAM salt of ", user.as_bytes()]);
        let mut salt = [0; 16];
        salt.copy_from_slice(&bytes[..16]);
        let stored_key = mac(secret, &[b"SCRAM key of ", user.as_bytes()]);
        ScramKeys { salt, rounds, stored_key, server_key: stored_key }
    }

    /// As the catalog keeps them.
    pub fn to_row(&self) -> String {
        let keys = [&self.salt[..], &self.stored_key, &self.server_key].concat();
        format!("{}:{}", self.rounds, BASE64.encode(keys))
    }

    /// From what the catalog keeps.
    pub fn from_row(row: &str) -> Option<Self> {
        let (rounds, keys) = row.split_once(':')?;
        let keys = BASE64.decode(keys).ok()?;
        let (salt, keys) = keys.split_first_chunk::<16>()?;
        let (stored_key, server_key) = keys.split_first_chunk::<32>()?;
        let (rounds, server_key) = (rounds.parse().ok()?, server_key.try_into().ok()?);
        Some(ScramKeys { salt: *salt, rounds, stored_key: *stored_key, server_key })
    }
}

impl fmt::Debug for ScramKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScramKeys").field("rounds", &self.rounds).finish_non_exhaustive()
    }
}

/// What a client says first.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ClientFirst {
    pub(super) user: String,
    /// The message without what is before the user.
    bare: String,
    nonce: String,
    /// What the client repeats at last: `n,,` in base64.
    binding: String,
}

impl ClientFirst {
    /// Reads it. None: it is malformed, or wants what there is not.
    pub(super) fn read(message: &[u8]) -> Option<Self> {
        let message = std::str::from_utf8(message).ok()?;
        // "n": no channel binding; "y": it could, but thinks that the server cannot, which is so.
        let (flag, rest) = message.split_once(',')?;
        let (identity, bare) = rest.split_once(',')?;
        if !matches!(flag, "n" | "y") {
            return None;
        }
        let mut attributes = bare.split(',');
        let user = unescaped(attributes.next()?.strip_prefix("n=")?)?;
        let nonce = attributes.next()?.strip_prefix("r=")?;
        // Nobody acts for somebody else.
        let acts_for = identity.strip_prefix("a=").map(unescaped);
        let is_self = identity.is_empty() || acts_for.flatten().as_deref() == Some(&user);
        let is_nonce = (1..=NONCE_LEN_MAX).contains(&nonce.len());
        if !is_self || !is_nonce || attributes.any(|attribute| attribute.starts_with("m=")) {
            return None;
        }
        let binding = BASE64.encode(format!("{flag},{identity},"));
        Some(ClientFirst { bare: bare.to_owned(), nonce: nonce.to_owned(), user, binding })
    }
}

/// `=2C` is a comma, `=3D` an equals sign, and nothing else may follow one.
fn unescaped(text: &str) -> Option<String> {
    let mut parts = text.split('=');
    let mut out = parts.next()?.to_owned();
    for part in parts {
        let (sign, rest) = match part.get(..2)? {
            "2C" => (',', &part[2..]),
            "3D" => ('=', &part[2..]),
            _ => return None,
        };
        out.push(sign);
        out.push_str(rest);
    }
    (!out.is_empty()).then_some(out)
}

/// A login that waits for the client's proof.
pub(super) struct Exchange {
    keys: ScramKeys,
    first: ClientFirst,
    /// Both nonces.
    nonce: String,
    server_first: String,
}

/// What a proof was.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Proof {
    /// Right: the server's own proof, to be sent.
    Right(Vec<u8>),
    Wrong,
    Malformed,
}

impl Exchange {
    /// Answers the first message, with a nonce of the server's.
    pub(super) fn begin(first: ClientFirst, keys: ScramKeys, nonce: &[u8; 18]) -> (Self, Vec<u8>) {
        let nonce = format!("{}{}", first.nonce, BASE64.encode(nonce));
        let server_first = format!("r={nonce},s={},i={}", BASE64.encode(keys.salt), keys.rounds);
        let answer = server_first.clone().into_bytes();
        (Exchange { keys, first, nonce, server_first }, answer)
    }

    pub(super) fn user(&self) -> &str {
        &self.first.user
    }

    /// Checks the client's last message.
    pub(super) fn finish(&self, message: &[u8]) -> Proof {
        self.check(message).unwrap_or(Proof::Malformed)
    }

    fn check(&self, message: &[u8]) -> Option<Proof> {
        let message = std::str::from_utf8(message).ok()?;
        let (without_proof, proof) = message.rsplit_once(",p=")?;
        let mut attributes = without_proof.split(',');
        let binding = attributes.next()?.strip_prefix("c=")?;
        let nonce = attributes.next()?.strip_prefix("r=")?;
        let proof: [u8; 32] = BASE64.decode(proof).ok()?.try_into().ok()?;
        let signed = format!("{},{},{without_proof}", self.first.bare, self.server_first);
        let signature = mac(&self.keys.stored_key, &[signed.as_bytes()]);
        let mut client_key = proof;
        client_key.iter_mut().zip(signature).for_each(|(byte, mask)| *byte ^= mask);
        let stored_key: [u8; 32] = Sha256::digest(client_key).into();
        let is_right = bool::from(stored_key.ct_eq(&self.keys.stored_key));
        if !is_right || nonce != self.nonce || binding != self.first.binding {
            return Some(Proof::Wrong);
        }
        let server = mac(&self.keys.server_key, &[signed.as_bytes()]);
        Some(Proof::Right(format!("v={}", BASE64.encode(server)).into_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 7677.
    const SALT: &str = "W22ZaJ0SNY7soEsUEjb6gQ==";
    const CLIENT_FIRST: &str = "n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
    const SERVER_FIRST: &str =
        "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
    const CLIENT_FINAL: &str = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                                p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
    const SERVER_FINAL: &str = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

    fn example() -> Exchange {
        let salt = BASE64.decode(SALT).unwrap().try_into().unwrap();
        let first = ClientFirst::read(CLIENT_FIRST.as_bytes()).unwrap();
        // The RFC's nonce is no base64, so it is put in by hand.
        let nonce = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0".to_owned();
        let keys = ScramKeys::new("pencil", salt, 4096);
        Exchange { keys, first, nonce, server_first: SERVER_FIRST.to_owned() }
    }

    #[test]
    fn the_example_of_rfc_7677_is_right() {
        let expected = Proof::Right(SERVER_FINAL.as_bytes().to_vec());
        assert_eq!(example().finish(CLIENT_FINAL.as_bytes()), expected);
    }

    #[test]
    fn any_other_proof_nonce_or_binding_is_wrong() {
        for (from, to) in [("p=dHzb", "p=dHzc"), ("NlF$k0", "NlF$k1"), ("c=biws", "c=eSws")] {
            assert_eq!(example().finish(CLIENT_FINAL.replace(from, to).as_bytes()), Proof::Wrong);
        }
        for malformed in
            ["", "c=biws", "c=biws,r=x", "c=biws,r=x,p=!", "c=biws,r=x,p=AAAA", "r=x,c=biws,p=AA=="]
        {
            assert_eq!(example().finish(malformed.as_bytes()), Proof::Malformed);
        }
    }

    #[test]
    fn names_may_hold_commas_and_equals_signs() {
        let read = |message: &str| ClientFirst::read(message.as_bytes());
        assert_eq!(read("n,,n=a=2Cb=3Dc,r=x").unwrap().user, "a,b=c");
        assert_eq!(read("y,a=u,n=u,r=x").unwrap().user, "u");
        for wrong in ["", "n", "n,,", "n,,n=,r=x", "n,,n=a=2,r=x", "n,,n=a,r=", "p=tls-unique,,n=a,r=x"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
        assert_eq!(read("n,a=other,n=u,r=x"), None);
        assert_eq!(read("n,,n=u,r=x,m=must"), None);
        assert_eq!(read(&format!("n,,n=u,r={}", "x".repeat(257))), None);
    }

    #[test]
    fn keys_come_back_from_the_catalog() {
        let keys = ScramKeys::new("p", [7; 16], 3);
        assert_eq!(ScramKeys::from_row(&keys.to_row()), Some(keys));
        assert_eq!(ScramKeys::from_row("3:AAAA"), None);
    }
}
