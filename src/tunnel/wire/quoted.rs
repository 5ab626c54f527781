//! Challenges and parameters of HTTP authentication (RFC 9110, sections 5.6.2 to 5.6.4 and 11.2 to 11.6).

/// One challenge of `WWW-Authenticate`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RawChallenge {
    /// The scheme as written, e.g. `Digest`.
    pub(super) scheme: String,
    /// The parameters, names in lower case; empty for a challenge in token68 form.
    pub(super) params: Params,
}

/// Parameters with quoted strings resolved; no name stands twice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Params(Vec<(String, String)>);

impl Params {
    /// The value of a parameter, by its name in lower case.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(other, _)| other == name);
        found.map(|(_, value)| value.as_str())
    }

    fn add(&mut self, name: &str, value: String) -> Option<()> {
        let name = name.to_ascii_lowercase();
        // RFC 9110, section 11.2: a parameter occurs once in a challenge.
        if self.get(&name).is_some() {
            return None;
        }
        self.0.push((name, value));
        Some(())
    }
}

/// Reads a list of challenges; `None` when it is not well-formed.
///
/// The comma separates both challenges and their parameters: a token that no `=` follows begins a challenge.
pub(super) fn parse_challenges(header: &str) -> Option<Vec<RawChallenge>> {
    let mut input = Scanner(header);
    let mut challenges: Vec<RawChallenge> = Vec::new();
    while input.skip_separators() {
        let word = input.token()?;
        let after_word = input.0;
        input.skip_space();
        match (challenges.last_mut(), input.take('=')) {
            (Some(challenge), true) => {
                input.skip_space();
                challenge.params.add(word, input.value()?)?;
                input.end_of_element()?;
            }
            (None, true) => return None,
            (_, false) => {
                input.0 = after_word;
                challenges.push(RawChallenge {
                    scheme: word.to_owned(),
                    params: Params::default(),
                });
                input.first_of_challenge(challenges.last_mut()?)?;
            }
        }
    }
    Some(challenges)
}

/// Reads a list of parameters such as `Authentication-Info`; `None` when it is not well-formed.
pub(super) fn parse_params(header: &str) -> Option<Params> {
    let mut input = Scanner(header);
    let mut params = Params::default();
    while input.skip_separators() {
        let name = input.token()?;
        input.skip_space();
        if !input.take('=') {
            return None;
        }
        input.skip_space();
        params.add(name, input.value()?)?;
        input.end_of_element()?;
    }
    Some(params)
}

/// A quoted-string; `None` when the text has a character that none can hold.
pub(super) fn quote(text: &str) -> Option<String> {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        if c.is_control() {
            return None;
        }
        if matches!(c, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted.push('"');
    Some(quoted)
}

struct Scanner<'a>(&'a str);

impl<'a> Scanner<'a> {
    fn skip_space(&mut self) {
        self.0 = self.0.trim_start_matches([' ', '\t']);
    }

    /// Skips commas and space between elements (empty ones are allowed); tells whether anything is left.
    fn skip_separators(&mut self) -> bool {
        self.0 = self.0.trim_start_matches([' ', '\t', ',']);
        !self.0.is_empty()
    }

    fn take(&mut self, c: char) -> bool {
        match self.0.strip_prefix(c) {
            Some(rest) => {
                self.0 = rest;
                true
            }
            None => false,
        }
    }

    fn take_while(&mut self, allowed: impl Fn(char) -> bool) -> &'a str {
        let end = self.0.find(|c| !allowed(c)).unwrap_or(self.0.len());
        let (taken, rest) = self.0.split_at(end);
        self.0 = rest;
        taken
    }

    fn token(&mut self) -> Option<&'a str> {
        let token = self.take_while(is_token_char);
        (!token.is_empty()).then_some(token)
    }

    /// A token or a quoted-string, whose backslashes are resolved.
    fn value(&mut self) -> Option<String> {
        if !self.take('"') {
            return self.token().map(str::to_owned);
        }
        let mut value = String::new();
        let mut chars = self.0.chars();
        while let Some(c) = chars.next() {
            match c {
                '"' => {
                    self.0 = chars.as_str();
                    return Some(value);
                }
                '\\' => value.push(chars.next().filter(|c| !c.is_control())?),
                c if c.is_control() && c != '\t' => return None,
                c => value.push(c),
            }
        }
        None
    }

    /// What may follow a scheme: nothing, a token68, or the first parameter.
    fn first_of_challenge(&mut self, challenge: &mut RawChallenge) -> Option<()> {
        let spaced = self.0.starts_with([' ', '\t']);
        self.skip_space();
        if self.0.is_empty() || self.0.starts_with(',') {
            return Some(());
        }
        if !spaced {
            return None;
        }
        let start = self.0;
        if let Some(name) = self.token() {
            self.skip_space();
            if self.take('=') {
                self.skip_space();
                if let Some(value) = self.value() {
                    challenge.params.add(name, value)?;
                    return self.end_of_element();
                }
            }
        }
        self.0 = start;
        self.take_while(|c| c.is_ascii_alphanumeric() || "-._~+/=".contains(c));
        self.end_of_element()
    }

    fn end_of_element(&mut self) -> Option<()> {
        self.skip_space();
        (self.0.is_empty() || self.0.starts_with(',')).then_some(())
    }
}

fn is_token_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn several_challenges_in_one_line_are_told_apart() {
        let header = r#"Basic realm="a, b=c", Negotiate, NTLM aGVsbG8=, Digest realm = "x\"y\\z" ,, qop="auth,auth-int",nonce=abc"#;
        let challenges = parse_challenges(header).unwrap();
        let schemes: Vec<_> = challenges.iter().map(|c| c.scheme.as_str()).collect();
        assert_eq!(schemes, ["Basic", "Negotiate", "NTLM", "Digest"]);
        assert_eq!(challenges[0].params.get("realm"), Some("a, b=c"));
        assert_eq!(challenges[2].params, Params::default());
        assert_eq!(challenges[3].params.get("realm"), Some(r#"x"y\z"#));
        assert_eq!(challenges[3].params.get("qop"), Some("auth,auth-int"));
        assert_eq!(challenges[3].params.get("nonce"), Some("abc"));
    }

    #[test]
    fn what_is_not_well_formed_is_refused() {
        for header in [
            r#"Digest realm="open"#,
            r#"Digest realm="a" nonce="b""#,
            r#"Digest realm="a", REALM="b""#,
            "realm=a",
            "Digest\"x\"",
            "Digest realm=\"a\u{1}\"",
            "Digest realm=\"a\\",
            "Digest realm=\"a\\\n\"",
        ] {
            assert_eq!(parse_challenges(header), None, "{header:?}");
        }
        assert_eq!(parse_params("rspauth"), None);
    }

    #[test]
    fn quoting_and_reading_are_inverse() {
        let quoted = quote(r#"a"b\c"#).unwrap();
        assert_eq!(quoted, r#""a\"b\\c""#);
        assert_eq!(Scanner(&quoted).value().as_deref(), Some(r#"a"b\c"#));
        assert_eq!(quote("a\r\nb"), None);
    }

    proptest! {
        #[test]
        fn no_header_makes_the_reader_panic(header in r#"([a-z"=,\\ \t]|\PC){0,60}"#) {
            let _ = parse_challenges(&header);
            let _ = parse_params(&header);
        }

        #[test]
        fn any_quotable_value_survives(value in "\\PC{0,40}") {
            let quoted = quote(&value).unwrap();
            let header = format!("Digest realm={quoted}, qop=auth");
            let challenges = parse_challenges(&header).unwrap();
            prop_assert_eq!(challenges[0].params.get("realm"), Some(value.as_str()));
            prop_assert_eq!(challenges[0].params.get("qop"), Some("auth"));
        }
    }
}
