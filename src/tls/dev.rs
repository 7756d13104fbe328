//! Certificates for trying out: an authority of one's own, and what it vouches for. Not for the world.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, date_time_ymd,
};

use super::TlsError;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How long an authority made here holds.
const AUTHORITY_DAYS: u32 = 3650;

/// The organization in all that is made here, so that nobody takes it for something better.
const ORGANIZATION: &str = "Rialto development";

/// An authority that vouches for anybody.
#[derive(Debug)]
pub struct Authority {
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

/// Whom to make a certificate for.
#[derive(Clone, Copy, Debug)]
pub struct Leaf<'a> {
    /// The common name: for a client, its user.
    pub common_name: &'a str,
    /// Host names and addresses by which it is reached.
    pub names: &'a [&'a str],
    /// How long it holds. It begins an hour ago: clocks differ.
    pub days: u32,
    /// For a client, in place of a server.
    pub is_client: bool,
}

/// A certificate and its key, as PEM.
pub struct Issued {
    /// The certificate.
    pub certificate: String,
    /// The key, a secret.
    pub key: String,
}

impl Authority {
    /// Makes one.
    ///
    /// # Errors
    /// Randomness cannot be had.
    pub fn new(name: &str) -> Result<Self, rcgen::Error> {
        let mut params = params(name, AUTHORITY_DAYS);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?.pem();
        Ok(Authority { certificate, issuer: Issuer::new(params, key) })
    }

    /// The one whose files are in a folder (`ca.pem`, `ca.key`), or a new one, whose files are put there.
    ///
    /// # Errors
    /// The files cannot be read, written, or understood.
    pub fn of_folder(folder: &Path) -> Result<Self, TlsError> {
        let (path, key_path) = (folder.join("ca.pem"), folder.join("ca.key"));
        if !path.exists() {
            let authority =
                Self::new("Rialto development CA").map_err(|error| TlsError::new(&path, error))?;
            let key = authority.issuer.key().serialize_pem();
            write(&path, &authority.certificate, false)?;
            write(&key_path, &key, true)?;
            return Ok(authority);
        }
        let read = |path: &Path| fs::read_to_string(path).map_err(|error| TlsError::new(path, error));
        let certificate = read(&path)?;
        let key = KeyPair::from_pem(&read(&key_path)?).map_err(|error| TlsError::new(&key_path, error))?;
        let issuer =
            Issuer::from_ca_cert_pem(&certificate, key).map_err(|error| TlsError::new(&path, error))?;
        Ok(Authority { certificate, issuer })
    }

    /// Its certificate, for whoever shall trust it, as PEM.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// Vouches for somebody.
    ///
    /// # Errors
    /// A name is none that a certificate can carry.
    pub fn issue(&self, leaf: Leaf<'_>) -> Result<Issued, rcgen::Error> {
        let names: Vec<String> = leaf.names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = params(leaf.common_name, leaf.days);
        params.subject_alt_names = CertificateParams::new(names)?.subject_alt_names;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![match leaf.is_client {
            true => ExtendedKeyUsagePurpose::ClientAuth,
            false => ExtendedKeyUsagePurpose::ServerAuth,
        }];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?.pem();
        Ok(Issued { certificate, key: key.serialize_pem() })
    }
}

impl Issued {
    /// Puts it into a folder as `NAME.pem` and `NAME.key`, in place of what may be there. The two files' paths.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn write(&self, folder: &Path, name: &str) -> Result<(PathBuf, PathBuf), TlsError> {
        let (certificate, key) = (folder.join(format!("{name}.pem")), folder.join(format!("{name}.key")));
        write(&certificate, &self.certificate, false)?;
        write(&key, &self.key, true)?;
        Ok((certificate, key))
    }
}

impl std::fmt::Debug for Issued {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Issued").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

fn params(common_name: &str, days: u32) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, ORGANIZATION);
    params.distinguished_name.push(DnType::CommonName, common_name);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let epoch = date_time_ymd(1970, 1, 1);
    // With 0 days it has been over for a while, for tests of what then happens.
    params.not_before = epoch + now.saturating_sub(Duration::from_secs(3600));
    params.not_after = epoch
        + match days {
            0 => now.saturating_sub(Duration::from_secs(60)),
            days => now + DAY * days,
        };
    params
}

/// Writes a file; a secret one is for its owner alone, and is never there half.
fn write(path: &Path, text: &str, is_secret: bool) -> Result<(), TlsError> {
    let failed = |error: io::Error| TlsError::new(path, format!("it cannot be written: {error}"));
    let temporary = path.with_extension("new");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    if is_secret {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    let mut file = options.open(&temporary).map_err(failed)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
    fs::rename(&temporary, path).map_err(failed)
}
