//! Keys: those that may sign policies for this node, and the one that a pusher signs with.
//!
//! Public keys are PEM blocks as `openssl pkey -pubout` and `cosign public-key` write them, private ones as
//! `openssl genpkey` does. ECDSA with P-256 and SHA-256, as cosign's own, or Ed25519.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, ED25519, EcdsaKeyPair, Ed25519KeyPair,
    UnparsedPublicKey, VerificationAlgorithm,
};

use super::error::{Demand, Error};
use crate::state::{self, State};

/// Everything before the key itself in a SubjectPublicKeyInfo of a P-256 key (RFC 5480), whose point is not
/// compressed.
const P256: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
    0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// The same for Ed25519 (RFC 8410).
const EDWARDS: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// Bytes of a file of keys, at most.
const FILE_BYTES: u64 = 1 << 20;

/// What signs and verifies here.
const KINDS: &str = "podwire takes ECDSA keys of the curve P-256, and Ed25519 keys";

/// The keys of a node. Where there are any, nothing is installed that none of them signed.
#[derive(Debug)]
pub struct Keys {
    path: PathBuf,
    keys: Vec<Key>,
}

#[derive(Debug)]
struct Key {
    name: String,
    key: UnparsedPublicKey<Vec<u8>>,
}

impl Keys {
    /// Those of `policy.keys`; none if there is no such file.
    pub fn of(state: &State) -> Result<Option<Self>, Error> {
        let path = state.policy_keys();
        match state::trusted(&path) {
            // A link to nothing is no decision to demand nothing.
            Err(error) if error.is_absent() && !path.is_symlink() => return Ok(None),
            trusted => trusted?,
        }
        let keys = parse(&read(&path)?).map_err(|reason| Error::Key { path: path.clone(), reason })?;
        Ok(Some(Self { path, keys }))
    }

    /// The name of the key that made the signature of the message.
    pub(super) fn signer(&self, message: &[u8], signature: &[u8]) -> Option<&str> {
        self.keys.iter().find(|key| key.key.verify(message, signature).is_ok()).map(|key| key.name.as_str())
    }

    pub(super) fn demand(&self) -> Demand {
        let names = self.keys.iter().map(|key| key.name.as_str()).collect::<Vec<_>>().join(" or ");
        Demand { keys: self.path.clone(), names }
    }
}

fn parse(text: &str) -> Result<Vec<Key>, String> {
    let keys: Vec<Key> = blocks(text)?.iter().enumerate().map(public).collect::<Result<_, _>>()?;
    if keys.is_empty() {
        let reason = "it holds no key, so nothing can be installed: put `-----BEGIN PUBLIC KEY-----` blocks into it, \
                      or remove it to demand no signatures";
        return Err(reason.to_owned());
    }
    Ok(keys)
}

fn public((index, block): (usize, &Block)) -> Result<Key, String> {
    let name = if block.note.is_empty() { format!("key {}", index + 1) } else { block.note.clone() };
    if block.label != "PUBLIC KEY" {
        return Err(format!("{name} is a {:?}, and only public keys belong here: {KINDS}", block.label));
    }
    let (algorithm, key): (&'static dyn VerificationAlgorithm, _) = match block.bytes.as_slice() {
        bytes if bytes.len() == P256.len() + 65 && bytes.starts_with(&P256) => {
            (&ECDSA_P256_SHA256_ASN1, &bytes[P256.len()..])
        }
        bytes if bytes.len() == EDWARDS.len() + 32 && bytes.starts_with(&EDWARDS) => {
            (&ED25519, &bytes[EDWARDS.len()..])
        }
        _ => return Err(format!("{name} is a public key of another kind: {KINDS}")),
    };
    Ok(Key { name, key: UnparsedPublicKey::new(algorithm, key.to_vec()) })
}

/// A key that signs.
pub enum PrivateKey {
    /// ECDSA, P-256.
    P256(EcdsaKeyPair),
    /// Ed25519.
    Edwards(Ed25519KeyPair),
}

impl PrivateKey {
    /// An unencrypted PKCS#8 key in PEM.
    pub fn read(path: &Path) -> Result<Self, Error> {
        private(&read(path)?).map_err(|reason| Error::Key { path: path.to_owned(), reason })
    }

    pub(super) fn sign(&self, message: &[u8]) -> Vec<u8> {
        match self {
            // Fails only without the kernel's random numbers.
            Self::P256(key) => key
                .sign(&SystemRandom::new(), message)
                .expect("the kernel has random numbers")
                .as_ref()
                .to_vec(),
            Self::Edwards(key) => key.sign(message).as_ref().to_vec(),
        }
    }
}

fn private(text: &str) -> Result<PrivateKey, String> {
    let remedy =
        "`openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256` makes one that can be used";
    let blocks = blocks(text)?;
    let [block] = blocks.as_slice() else {
        return Err(format!("it holds {} keys, and one signs: {remedy}", blocks.len()));
    };
    match block.label.as_str() {
        "PRIVATE KEY" => {}
        encrypted if encrypted.starts_with("ENCRYPTED") => {
            return Err(format!("the key is encrypted, and podwire asks for no passphrase: {remedy}"));
        }
        other => return Err(format!("it holds a {other:?}, not a \"PRIVATE KEY\": {remedy}")),
    }
    let p256 = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &block.bytes, &SystemRandom::new());
    let edwards = || Ed25519KeyPair::from_pkcs8_maybe_unchecked(&block.bytes).map(PrivateKey::Edwards);
    p256.map(PrivateKey::P256).or_else(|_| edwards()).map_err(|_| format!("{KINDS}: {remedy}"))
}

fn read(path: &Path) -> Result<String, Error> {
    use std::io::Read as _;
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(state::Error::io(path, "open"))?;
    file.take(FILE_BYTES).read_to_string(&mut text).map_err(state::Error::io(path, "read"))?;
    Ok(text)
}

/// A block of PEM (RFC 7468).
struct Block {
    label: String,
    /// The last line of text before it, which names it.
    note: String,
    bytes: Vec<u8>,
}

fn blocks(text: &str) -> Result<Vec<Block>, String> {
    let (mut blocks, mut note) = (Vec::new(), "");
    let mut lines = text.lines().map(str::trim);
    while let Some(line) = lines.next() {
        let begun = line.strip_prefix("-----BEGIN ").and_then(|rest| rest.strip_suffix("-----"));
        let Some(label) = begun else {
            note = if line.is_empty() { note } else { line.trim_start_matches('#').trim() };
            continue;
        };
        let end = format!("-----END {label}-----");
        let body: Vec<&str> = lines.by_ref().take_while(|line| *line != end).collect();
        let bytes = BASE64_STANDARD.decode(body.concat());
        let bytes = bytes.map_err(|_| format!("the block that begins with {line:?} is not PEM"))?;
        blocks.push(Block { label: label.to_owned(), note: std::mem::take(&mut note).to_owned(), bytes });
    }
    Ok(blocks)
}

#[cfg(test)]
pub(super) mod tests {
    use ring::signature::KeyPair as _;

    use super::*;

    /// A key of a test's own.
    pub(in crate::oci) struct Pair {
        pub(in crate::oci) private: String,
        pub(in crate::oci) public: String,
    }

    impl Pair {
        pub(in crate::oci) fn p256() -> Self {
            let random = SystemRandom::new();
            let private = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random).unwrap();
            let pair =
                EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, private.as_ref(), &random).unwrap();
            Self::new(private.as_ref(), &[&P256, pair.public_key().as_ref()].concat())
        }

        pub(in crate::oci) fn edwards() -> Self {
            let private = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
            let pair = Ed25519KeyPair::from_pkcs8(private.as_ref()).unwrap();
            Self::new(private.as_ref(), &[&EDWARDS, pair.public_key().as_ref()].concat())
        }

        fn new(private: &[u8], public: &[u8]) -> Self {
            Self { private: pem("PRIVATE KEY", private), public: pem("PUBLIC KEY", public) }
        }

        pub(in crate::oci) fn sign(&self, message: &[u8]) -> Vec<u8> {
            super::private(&self.private).ok().unwrap().sign(message)
        }
    }

    fn pem(label: &str, bytes: &[u8]) -> String {
        format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", BASE64_STANDARD.encode(bytes))
    }

    /// The keys of a file with this text.
    pub(in crate::oci) fn keys(text: &str) -> Keys {
        Keys { path: "/etc/podwire/policy.keys".into(), keys: parse(text).unwrap() }
    }

    fn refused(text: &str) -> String {
        parse(text).unwrap_err()
    }

    #[test]
    fn what_one_key_signs_only_that_key_verifies() {
        let (p256, edwards) = (Pair::p256(), Pair::edwards());
        for (ours, other) in [(&p256, &edwards), (&edwards, &p256), (&p256, &Pair::p256())] {
            let signature = ours.sign(b"message");
            let both = keys(&format!("# other team\n{}\n\n# our team\n\n{}", other.public, ours.public));
            assert_eq!(both.signer(b"message", &signature), Some("our team"));
            assert_eq!(both.signer(b"massage", &signature), None);
            assert_eq!(keys(&other.public).signer(b"message", &signature), None);
        }
    }

    #[test]
    fn keys_without_a_name_are_counted() {
        let text = format!("{}\nfriends\n{}", Pair::p256().public, Pair::edwards().public);
        assert_eq!(keys(&text).demand().names, "key 1 or friends");
    }

    #[test]
    fn what_is_no_public_key_is_refused() {
        assert!(refused("").contains("holds no key"));
        assert!(refused("# only a name\n").contains("holds no key"));
        assert!(refused(&Pair::edwards().private).contains("only public keys"));
        // RSA, or a compressed point.
        assert!(refused(&pem("PUBLIC KEY", &[0x30; 91])).contains("of another kind"));
        assert!(refused(&Pair::p256().public.replace("MFkw", "MF!w")).contains("not PEM"));
    }

    #[test]
    fn what_cannot_sign_is_refused_with_what_can() {
        let Pair { private, public } = Pair::p256();
        for (text, reason) in [
            (public, "\"PUBLIC KEY\""),
            (String::new(), "0 keys"),
            (format!("{private}{}", Pair::edwards().private), "2 keys"),
            (private.replace("PRIVATE", "ENCRYPTED SIGSTORE PRIVATE"), "no passphrase"),
            (private.replace("PRIVATE", "EC PRIVATE"), "\"EC PRIVATE KEY\""),
            (pem("PRIVATE KEY", b"something else"), "P-256"),
        ] {
            let error = super::private(&text).err().unwrap();
            assert!(error.contains(reason) && error.contains("openssl genpkey"), "{error}");
        }
    }
}
