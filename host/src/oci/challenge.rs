//! What a registry wants to know about who asks: the header `WWW-Authenticate` (RFC 9110, section 11.6.1).

/// A scheme that podwire can answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Challenge {
    /// User and password, with every request.
    Basic,
    /// A token, which the realm gives out.
    Bearer {
        /// A URL.
        realm: String,
        /// Whom the token is for.
        service: Option<String>,
    },
}

impl Challenge {
    /// The best of those that a registry offers.
    pub(super) fn of<'a>(headers: impl Iterator<Item = &'a str>) -> Option<Self> {
        let known = headers.filter_map(Self::parse);
        known.max_by_key(|challenge| matches!(challenge, Self::Bearer { .. }))
    }

    fn parse(header: &str) -> Option<Self> {
        let (scheme, rest) = header.trim().split_once(' ').unwrap_or((header, ""));
        match scheme.to_ascii_lowercase().as_str() {
            "basic" => Some(Self::Basic),
            "bearer" => {
                let service = parameter(rest, "service");
                Some(Self::Bearer { realm: parameter(rest, "realm")?, service })
            }
            _ => None,
        }
    }
}

/// A parameter's value: a word, or a string in quotes.
fn parameter(mut rest: &str, wanted: &str) -> Option<String> {
    loop {
        let (name, after) = rest.split_once('=')?;
        let (value, after) = match after.trim_start().strip_prefix('"') {
            Some(quoted) => unquote(quoted)?,
            None => {
                let (value, after) = after.split_once(',').unwrap_or((after, ""));
                (value.trim().to_owned(), after)
            }
        };
        if name.trim_matches([' ', ',']).eq_ignore_ascii_case(wanted) {
            return Some(value);
        }
        rest = after;
    }
}

/// A string up to its closing quote, and what follows.
fn unquote(quoted: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &quoted[at + 1..])),
            '\\' => value.push(chars.next()?.1),
            c => value.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearer(realm: &str, service: Option<&str>) -> Option<Challenge> {
        Some(Challenge::Bearer { realm: realm.to_owned(), service: service.map(str::to_owned) })
    }

    #[test]
    fn challenges_are_read_as_registries_write_them() {
        for (header, expected) in [
            (r#"Basic realm="Registry Realm""#, Some(Challenge::Basic)),
            (
                r#"Bearer realm="https://auth.test/token",service="r.test",scope="repository:a:pull,push""#,
                bearer("https://auth.test/token", Some("r.test")),
            ),
            (r#"bearer scope="a,realm=\"x\"" , realm=https://a/t"#, bearer("https://a/t", None)),
            (r#"Bearer service="r.test""#, None),
            (r#"Bearer realm="cut"#, None),
            ("Negotiate", None),
            ("Basic", Some(Challenge::Basic)),
        ] {
            assert_eq!(Challenge::parse(header), expected, "{header}");
        }
    }

    #[test]
    fn a_token_is_preferred_to_a_password() {
        let offers = ["Negotiate", r#"Bearer realm="https://a/t""#, "Basic"];
        assert_eq!(Challenge::of(offers.into_iter()), bearer("https://a/t", None));
        assert_eq!(Challenge::of(["Negotiate"].into_iter()), None);
    }
}
