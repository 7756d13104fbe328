//! How users prove who they are: hashes of passwords, and what SCRAM keeps.
//!
//! New passwords are hashed by argon2id. Users of a RabbitMQ bring their hashes along and keep them: they can be
//! exported again. Invariants: no password and no hash is shown by `Debug`; every comparison takes the same time
//! whatever is right; a hash that was read does not cost more than the named limits. Not here: who may try (`throttle`).

use std::fmt;

use argon2::password_hash::phc;
use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use md5::Md5;
use sha2::{Digest, Sha256, Sha512};
use subtle::ConstantTimeEq;
use thiserror::Error;

use super::scram::ScramKeys;

/// Longest password, in bytes. A longer one is never right.
pub const PASSWORD_LEN_MAX: usize = 1024;

/// Most memory that checking a hash from elsewhere may take, in KiB.
const ARGON2_MEMORY_KIB_MAX: u32 = 256 << 10;

/// Most passes over that memory.
const ARGON2_PASSES_MAX: u32 = 16;

/// Bytes of a salt that RabbitMQ puts in front of its hashes.
const RABBITMQ_SALT_LEN: usize = 4;

/// What hashing a new password costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashCost {
    /// Memory of argon2id, in KiB.
    pub memory_kib: u32,
    /// Its passes over that memory.
    pub passes: u32,
    /// Rounds of PBKDF2 for SCRAM-SHA-256. 0: new users cannot log in by SCRAM.
    pub scram_rounds: u32,
}

impl Default for HashCost {
    /// What OWASP recommends for argon2id, and what RFC 7677 and present practice lead to for SCRAM.
    fn default() -> Self {
        HashCost { memory_kib: 19 << 10, passes: 2, scram_rounds: 100_000 }
    }
}

/// How RabbitMQ hashes: the salt, then the digest of salt and password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RabbitHashing {
    /// Since 3.6.
    Sha256,
    /// If it was chosen.
    Sha512,
    /// Before 3.6.
    Md5,
}

impl RabbitHashing {
    const ALL: [RabbitHashing; 3] = [RabbitHashing::Sha256, RabbitHashing::Sha512, RabbitHashing::Md5];

    /// Its name in definitions.
    pub const fn name(self) -> &'static str {
        match self {
            RabbitHashing::Sha256 => "rabbit_password_hashing_sha256",
            RabbitHashing::Sha512 => "rabbit_password_hashing_sha512",
            RabbitHashing::Md5 => "rabbit_password_hashing_md5",
        }
    }

    /// The algorithm with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|hashing| hashing.name() == name)
    }

    const fn digest_len(self) -> usize {
        match self {
            RabbitHashing::Sha256 => 32,
            RabbitHashing::Sha512 => 64,
            RabbitHashing::Md5 => 16,
        }
    }

    fn digest(self, salt: &[u8], password: &str) -> Vec<u8> {
        match self {
            RabbitHashing::Sha256 => Sha256::new_with_prefix(salt).chain_update(password).finalize().to_vec(),
            RabbitHashing::Sha512 => Sha512::new_with_prefix(salt).chain_update(password).finalize().to_vec(),
            RabbitHashing::Md5 => Md5::new_with_prefix(salt).chain_update(password).finalize().to_vec(),
        }
    }
}

/// The name of our own hashes in definitions.
pub const ARGON2ID: &str = "rialto_password_hashing_argon2id";

/// How an argon2id hash begins as a PHC string.
const PHC_START: &str = "$argon2id$";

/// A hash that cannot be taken over.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum HashError {
    /// Nobody knows how it was made.
    #[error(
        "unknown hashing_algorithm '{0}'; known are rabbit_password_hashing_sha256, rabbit_password_hashing_sha512, \
         rabbit_password_hashing_md5 and rialto_password_hashing_argon2id"
    )]
    UnknownAlgorithm(String),
    /// It is not what its algorithm makes.
    #[error("the password_hash is no {algorithm} hash: {problem}")]
    Malformed {
        /// The algorithm.
        algorithm: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// The password is too long.
    #[error("a password has at most {PASSWORD_LEN_MAX} bytes")]
    TooLong,
}

#[derive(Clone, PartialEq, Eq)]
enum Hash {
    /// No password is right.
    None,
    /// Of the file, where it stands in clear text anyway.
    Plain(String),
    /// argon2id, as a PHC string.
    Argon2id(String),
    /// Of a RabbitMQ.
    Rabbit { hashing: RabbitHashing, salt: Vec<u8>, digest: Vec<u8> },
}

/// What a user's password is checked against.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    hash: Hash,
    scram: Option<ScramKeys>,
}

impl Credentials {
    /// No password is right: the user logs in by a certificate, or not at all.
    pub fn none() -> Self {
        Credentials { hash: Hash::None, scram: None }
    }

    /// A password in clear text, for users of the file.
    pub fn plain(password: &str) -> Self {
        Credentials { hash: Hash::Plain(password.to_owned()), scram: None }
    }

    /// Hashes a new password. Slow on purpose: not on a thread that serves others. An empty password is never right.
    ///
    /// # Errors
    /// It is too long.
    pub fn new(password: &str, cost: &HashCost) -> Result<Self, HashError> {
        if password.len() > PASSWORD_LEN_MAX {
            return Err(HashError::TooLong);
        }
        if password.is_empty() {
            return Ok(Self::none());
        }
        let params = Params::new(cost.memory_kib.max(Params::MIN_M_COST), cost.passes.max(1), 1, None);
        let params = params.map_err(|error| malformed("argon2id", error))?;
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let hash: phc::PasswordHash = argon2
            .hash_password_with_salt(password.as_bytes(), &random::<16>())
            .map_err(|error| malformed("argon2id", error))?;
        let scram = (cost.scram_rounds > 0).then(|| ScramKeys::new(password, random(), cost.scram_rounds));
        Ok(Credentials { hash: Hash::Argon2id(hash.to_string()), scram })
    }

    /// Hashes a password as RabbitMQ does. Fast, so only for a password that everybody knows, and for RabbitMQ.
    pub fn new_rabbitmq(password: &str, hashing: RabbitHashing) -> Self {
        let salt = random::<RABBITMQ_SALT_LEN>().to_vec();
        let digest = hashing.digest(&salt, password);
        Credentials { hash: Hash::Rabbit { hashing, salt, digest }, scram: None }
    }

    /// A hash of definitions: as `password_hash` and `hashing_algorithm` have it. An empty one means no password.
    ///
    /// # Errors
    /// See [`HashError`].
    pub fn from_definition(password_hash: &str, hashing_algorithm: &str) -> Result<Self, HashError> {
        if password_hash.is_empty() {
            return Ok(Self::none());
        }
        let hashing = RabbitHashing::from_name(hashing_algorithm);
        if hashing.is_none() && hashing_algorithm != ARGON2ID {
            return Err(HashError::UnknownAlgorithm(hashing_algorithm.to_owned()));
        }
        if password_hash.starts_with(PHC_START) {
            return Self::from_phc(password_hash);
        }
        let bytes = BASE64.decode(password_hash);
        // One of ours is known by its beginning: who sets a user with such a hash need not name the algorithm.
        if let Some(text) = bytes.as_ref().ok().and_then(|bytes| std::str::from_utf8(bytes).ok())
            && text.starts_with(PHC_START)
        {
            return Self::from_phc(text);
        }
        let Some(hashing) = hashing else { return Self::from_phc(password_hash) };
        let bytes = bytes.map_err(|error| malformed(hashing.name(), error))?;
        let expected = RABBITMQ_SALT_LEN + hashing.digest_len();
        if bytes.len() != expected {
            let problem = format!("it has {} bytes, not {expected}", bytes.len());
            return Err(malformed(hashing.name(), problem));
        }
        let (salt, digest) = bytes.split_at(RABBITMQ_SALT_LEN);
        let (salt, digest) = (salt.to_vec(), digest.to_vec());
        Ok(Credentials { hash: Hash::Rabbit { hashing, salt, digest }, scram: None })
    }

    fn from_phc(text: &str) -> Result<Self, HashError> {
        let hash = phc::PasswordHash::new(text).map_err(|error| malformed("argon2id", error))?;
        let params = Params::try_from(&hash).map_err(|error| malformed("argon2id", error))?;
        let problem = if hash.algorithm.as_str() != "argon2id" {
            "it is of another algorithm"
        } else if params.m_cost() > ARGON2_MEMORY_KIB_MAX || params.t_cost() > ARGON2_PASSES_MAX {
            "to check it would cost more than 256 MiB or 16 passes"
        } else if params.p_cost() > 4 || hash.hash.is_none() || hash.salt.is_none() {
            "it has no salt, no hash or too many lanes"
        } else {
            return Ok(Credentials { hash: Hash::Argon2id(text.to_owned()), scram: None });
        };
        Err(malformed("argon2id", problem))
    }

    /// `password_hash` and `hashing_algorithm` of definitions. Both are empty if no password is right, or it stands in
    /// the file.
    pub fn to_definition(&self) -> (String, &'static str) {
        match &self.hash {
            Hash::None | Hash::Plain(_) => (String::new(), RabbitHashing::Sha256.name()),
            // RabbitMQ takes no document with a hash that is not base64, whatever it makes of the algorithm.
            Hash::Argon2id(text) => (BASE64.encode(text), ARGON2ID),
            Hash::Rabbit { hashing, salt, digest } => {
                (BASE64.encode([&salt[..], &digest[..]].concat()), hashing.name())
            }
        }
    }

    /// As the catalog keeps it: the algorithm, a colon, the hash. A password in clear text is not kept.
    pub fn to_row(&self) -> String {
        match &self.hash {
            Hash::None | Hash::Plain(_) => String::new(),
            Hash::Argon2id(text) => format!("{ARGON2ID}:{text}"),
            Hash::Rabbit { .. } => {
                let (hash, algorithm) = self.to_definition();
                format!("{algorithm}:{hash}")
            }
        }
    }

    /// From what the catalog keeps.
    ///
    /// # Errors
    /// See [`HashError`].
    pub fn from_row(row: &str) -> Result<Self, HashError> {
        match row.split_once(':') {
            None if row.is_empty() => Ok(Self::none()),
            None => Err(HashError::UnknownAlgorithm(row.to_owned())),
            Some((algorithm, hash)) => Self::from_definition(hash, algorithm),
        }
    }

    /// What SCRAM keeps of the password, if it was told the password.
    pub fn scram(&self) -> Option<&ScramKeys> {
        self.scram.as_ref()
    }

    /// The same, with what SCRAM keeps.
    #[must_use]
    pub fn with_scram(mut self, keys: Option<ScramKeys>) -> Self {
        self.scram = keys;
        self
    }

    /// Whether there is a password at all.
    pub fn has_password(&self) -> bool {
        !matches!(&self.hash, Hash::None)
    }

    /// The password, if it is kept in clear text.
    pub(super) fn plain_password(&self) -> Option<&str> {
        match &self.hash {
            Hash::Plain(password) => Some(password),
            _ => None,
        }
    }

    /// Whether checking takes so long that a thread of its own must do it.
    pub(super) fn is_slow(&self) -> bool {
        matches!(self.hash, Hash::Argon2id(_))
    }

    /// Whether the password is right. An empty one never is, as in RabbitMQ.
    pub(super) fn check(&self, password: &str) -> bool {
        if password.is_empty() || password.len() > PASSWORD_LEN_MAX {
            return false;
        }
        match &self.hash {
            Hash::None => false,
            Hash::Plain(expected) => same(expected.as_bytes(), password.as_bytes()),
            Hash::Argon2id(text) => phc::PasswordHash::new(text)
                .is_ok_and(|hash| Argon2::default().verify_password(password.as_bytes(), &hash).is_ok()),
            Hash::Rabbit { hashing, salt, digest } => same(&hashing.digest(salt, password), digest),
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match &self.hash {
            Hash::None => "none",
            Hash::Plain(_) => "plain",
            Hash::Argon2id(_) => ARGON2ID,
            Hash::Rabbit { hashing, .. } => hashing.name(),
        };
        f.debug_struct("Credentials").field("hash", &kind).field("scram", &self.scram.is_some()).finish()
    }
}

fn malformed(algorithm: &'static str, problem: impl ToString) -> HashError {
    HashError::Malformed { algorithm, problem: problem.to_string() }
}

/// Compares digests of both: the time tells neither where nor by how much they differ in length.
pub(super) fn same(one: &[u8], other: &[u8]) -> bool {
    Sha256::digest(one).ct_eq(&Sha256::digest(other)).into()
}

/// A fast hash under a key.
pub(super) fn mac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of every length");
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

/// Bytes that nobody may guess.
pub(super) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the system has randomness, or nothing is safe");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Cheap, for the tests are not built to be fast.
    pub(crate) const CHEAP: HashCost = HashCost { memory_kib: 8, passes: 1, scram_rounds: 1 };

    #[test]
    fn a_new_password_is_right_and_no_other() {
        let credentials = Credentials::new("wonder", &CHEAP).unwrap();
        assert!(credentials.is_slow() && credentials.scram().is_some());
        assert!(credentials.check("wonder") && !credentials.check("wonder ") && !credentials.check(""));
        let row = credentials.to_row();
        assert!(row.starts_with("rialto_password_hashing_argon2id:$argon2id$v=19$m=8,t=1,p=1$"), "{row}");
        assert!(Credentials::from_row(&row).unwrap().check("wonder"));
        assert!(!format!("{credentials:?}").contains("$v="));
    }

    #[test]
    fn definitions_have_our_hashes_in_base64_and_are_taken_with_or_without_it() {
        let credentials = Credentials::new("wonder", &CHEAP).unwrap();
        let (hash, algorithm) = credentials.to_definition();
        let text = String::from_utf8(BASE64.decode(&hash).unwrap()).unwrap();
        assert!(text.starts_with("$argon2id$v=19$") && algorithm == ARGON2ID, "{text}");
        for hash in [&hash, &text] {
            for algorithm in [ARGON2ID, RabbitHashing::Sha256.name()] {
                assert!(Credentials::from_definition(hash, algorithm).unwrap().check("wonder"));
            }
            assert!(Credentials::from_definition(hash, "rot13").is_err());
        }
    }

    #[test]
    fn an_empty_password_is_never_right() {
        assert!(!Credentials::new("", &CHEAP).unwrap().check(""));
        assert!(!Credentials::plain("").check(""));
        assert!(!Credentials::new_rabbitmq("", RabbitHashing::Sha256).check(""));
        assert_eq!(Credentials::from_row("").unwrap(), Credentials::none());
    }

    #[test]
    fn hashes_of_rabbitmq_are_right_for_their_passwords_and_come_out_as_they_went_in() {
        // Those of RabbitMQ's own documentation and of a 3.10 node: salt 908D C60A, password "test12".
        let documented = ("kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR", "test12");
        let sha256 = Credentials::from_definition(documented.0, "rabbit_password_hashing_sha256").unwrap();
        assert!(sha256.check(documented.1) && !sha256.check("test13"));
        assert_eq!(sha256.to_definition(), (documented.0.to_owned(), "rabbit_password_hashing_sha256"));
        for hashing in RabbitHashing::ALL {
            let made = Credentials::new_rabbitmq("pässword", hashing);
            let (hash, name) = made.to_definition();
            let again = Credentials::from_definition(&hash, name).unwrap();
            assert!(again.check("pässword") && !again.check("password"));
            assert_eq!(Credentials::from_row(&again.to_row()).unwrap(), made);
        }
    }

    #[test]
    fn a_hash_that_is_none_is_refused_with_what_is_wrong() {
        let refused = |hash: &str, algorithm: &str| {
            Credentials::from_definition(hash, algorithm).unwrap_err().to_string()
        };
        assert!(refused("x", "rabbit_password_hashing_sha1").contains("unknown hashing_algorithm"));
        assert!(refused("!", "rabbit_password_hashing_sha256").contains("no rabbit_password_hashing_sha256"));
        assert!(refused("AAAA", "rabbit_password_hashing_md5").contains("it has 3 bytes, not 20"));
        let dear = "$argon2id$v=19$m=4194304,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$\
                    c29tZWhhc2hzb21laGFzaHNvbWVoYXNoc29tZWhhc2g";
        assert!(refused(dear, ARGON2ID).contains("256 MiB"), "{}", refused(dear, ARGON2ID));
        assert!(refused("$5$x", ARGON2ID).contains("argon2id"));
    }
}
