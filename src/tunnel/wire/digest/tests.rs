//! RFC 7616, section 3.9.1, and clouds that err.

use proptest::prelude::*;

use super::*;

const CNONCE: &str = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ";
const CHALLENGE: &str = r#"Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm=SHA-256, nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS""#;

fn credentials(password: &str) -> Credentials {
    Credentials {
        host: Host::new("cloud.example"),
        port: 443,
        user: "Mufasa".into(),
        password: Secret::new(password),
    }
}

fn begin() -> Authentication {
    Nonces::default().begin(credentials("Circle of Life"))
}

fn challenged() -> Authentication {
    let mut authentication = begin();
    authentication.challenged([CHALLENGE]).unwrap();
    authentication
}

fn sent() -> Authentication {
    let mut authentication = challenged();
    authentication.authorization("/t", CNONCE).unwrap().unwrap();
    authentication
}

/// What an authentic cloud answers to the request just sent.
fn rspauth(authentication: &Authentication) -> String {
    authentication.sent.as_ref().unwrap().rspauth.clone()
}

#[test]
fn the_example_of_rfc_7616_is_computed() {
    // The RFC's request is a GET, ours are POSTs, so the formula is checked by its parts.
    let secret = hex("Mufasa:http-auth@example.org:Circle of Life");
    let nonce = "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v";
    let a2 = hex("GET:/dir/index.html");
    assert_eq!(
        hex(&format!("{secret}:{nonce}:00000001:{CNONCE}:auth:{a2}")),
        "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"
    );
}

#[test]
fn the_request_carries_all_that_the_challenge_asked_for() {
    let header = challenged()
        .authorization("/dir/index.html", CNONCE)
        .unwrap()
        .unwrap();
    let secret = hex("Mufasa:http-auth@example.org:Circle of Life");
    let nonce = "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v";
    let a2 = hex("POST:/dir/index.html");
    let response = hex(&format!("{secret}:{nonce}:00000001:{CNONCE}:auth:{a2}"));
    assert_eq!(
        header,
        format!(
            r#"Digest username="Mufasa", realm="http-auth@example.org", uri="/dir/index.html", algorithm=SHA-256, nonce="{nonce}", nc=00000001, cnonce="{CNONCE}", qop=auth, response="{response}", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS""#
        )
    );
}

#[test]
fn the_first_request_goes_without_credentials() {
    assert_eq!(begin().authorization("/t", CNONCE), Ok(None));
}

#[test]
fn a_kept_nonce_raises_its_count() {
    let mut nonces = Nonces::default();
    nonces.keep(sent());
    let mut again = nonces.begin(credentials("Circle of Life"));
    let header = again.authorization("/t", CNONCE).unwrap().unwrap();
    assert!(header.contains("nc=00000002"));
}

#[test]
fn a_nonce_is_not_used_for_another_password() {
    let mut nonces = Nonces::default();
    nonces.keep(sent());
    let mut other = nonces.begin(credentials("Hakuna Matata"));
    assert_eq!(other.authorization("/t", CNONCE), Ok(None));
}

#[test]
fn the_nonce_used_longest_ago_is_forgotten() {
    let mut nonces = Nonces::default();
    for port in 0..=NONCES_KEPT {
        let mut authentication = sent();
        authentication.credentials.port = u16::try_from(port).unwrap();
        nonces.keep(authentication);
    }
    assert_eq!(nonces.0.len(), NONCES_KEPT);
    assert!(
        nonces
            .0
            .iter()
            .all(|(credentials, _)| credentials.port != 0)
    );
}

#[test]
fn sha_256_is_taken_out_of_several_challenges() {
    let offered = [
        r#"Digest realm="a", qop="auth", algorithm=MD5, nonce="md5", Basic realm="b""#,
        CHALLENGE,
    ];
    assert_eq!(
        Challenge::choose(offered).unwrap().realm,
        "http-auth@example.org"
    );
}

#[test]
fn nothing_is_sent_where_sha_256_is_not_offered() {
    for offered in [
        r#"Digest realm="a", qop="auth", algorithm=MD5, nonce="n""#,
        r#"Digest realm="a", qop="auth", nonce="n""#,
        r#"Digest realm="a", qop="auth-int", algorithm=SHA-256, nonce="n""#,
        r#"Digest realm="a", algorithm=SHA-256, nonce="n""#,
        r#"Digest realm="a", qop="auth", algorithm=SHA-256"#,
        r#"Basic realm="a""#,
        "Digest \"",
        "",
    ] {
        assert_eq!(
            begin().challenged([offered]),
            Err(DigestError::NoUsableChallenge),
            "{offered}"
        );
    }
}

#[test]
fn a_stale_nonce_costs_one_more_request_and_not_two() {
    let stale = format!("{CHALLENGE}, stale=TRUE");
    let mut authentication = sent();
    assert_eq!(authentication.challenged([stale.as_str()]), Ok(()));
    authentication.authorization("/t", CNONCE).unwrap();
    assert_eq!(
        authentication.challenged([stale.as_str()]),
        Err(DigestError::StaleTwice)
    );
}

#[test]
fn a_challenge_after_credentials_refuses_the_password() {
    let mut nonces = Nonces::default();
    let mut authentication = sent();
    assert_eq!(
        authentication.challenged([CHALLENGE]),
        Err(DigestError::Refused)
    );
    nonces.keep(authentication);
    assert!(nonces.0.is_empty());
    assert_eq!(sent().challenged([]), Err(DigestError::Refused));
}

#[test]
fn a_nonce_that_was_accepted_and_is_unknown_now_is_replaced_once() {
    let mut authentication = sent();
    let info = format!(r#"rspauth="{}""#, rspauth(&authentication));
    authentication.confirmed(Some(&info)).unwrap();
    authentication.authorization("/t", CNONCE).unwrap();
    // Another server has taken the name over: it neither knows the nonce nor that it ever was good.
    assert_eq!(authentication.challenged([CHALLENGE]), Ok(()));
    authentication.authorization("/t", CNONCE).unwrap();
    assert_eq!(
        authentication.challenged([CHALLENGE]),
        Err(DigestError::Refused)
    );
}

#[test]
fn a_challenge_of_another_realm_is_answered() {
    let other = CHALLENGE.replace("http-auth@", "other@");
    assert_eq!(sent().challenged([other.as_str()]), Ok(()));
}

#[test]
fn the_cloud_must_prove_the_password() {
    let mut authentication = sent();
    let right = rspauth(&authentication);
    let info = format!(r#"qop=auth, rspauth="{right}", cnonce="{CNONCE}", nc=00000001"#);
    assert_eq!(authentication.confirmed(Some(&info)), Ok(()));

    let wrong = "0".repeat(64);
    for info in [
        None,
        Some(String::new()),
        Some(format!(r#"rspauth="{wrong}""#)),
        Some(format!(r#"rspauth="{right}", cnonce="replayed""#)),
        Some(format!(r#"rspauth="{right}", nc=00000002"#)),
        Some(format!(r#"rspauth="{right}", qop=auth-int"#)),
    ] {
        assert_eq!(
            sent().confirmed(info.as_deref()),
            Err(DigestError::NotAuthentic),
            "{info:?}"
        );
    }
}

#[test]
fn a_cloud_that_never_asked_is_not_authentic() {
    let mut authentication = begin();
    authentication.authorization("/t", CNONCE).unwrap();
    assert_eq!(
        authentication.confirmed(None),
        Err(DigestError::NotAuthentic)
    );
}

#[test]
fn the_next_nonce_is_honoured_once_the_cloud_is_proven() {
    let mut authentication = sent();
    let info = format!(r#"rspauth="{}", nextnonce="n2""#, rspauth(&authentication));
    authentication.confirmed(Some(&info)).unwrap();
    let header = authentication.authorization("/t", CNONCE).unwrap().unwrap();
    assert!(header.contains(r#"nonce="n2", nc=00000001"#));

    let mut unproven = sent();
    unproven.refused(Some(r#"rspauth="0", nextnonce="n2""#));
    let header = unproven.authorization("/t", CNONCE).unwrap().unwrap();
    assert!(header.contains("nc=00000002"));
}

#[test]
fn quotation_marks_and_other_letters_are_carried_safely() {
    let mut authentication = challenged();
    authentication.credentials.user = r#"a"b\c"#.into();
    let header = authentication.authorization("/t", "c").unwrap().unwrap();
    assert!(header.starts_with(r#"Digest username="a\"b\\c", "#));

    let mut authentication = challenged();
    authentication.credentials.user = "Zürich 1".into();
    let header = authentication.authorization("/t", "c").unwrap().unwrap();
    assert!(header.starts_with("Digest username*=UTF-8''Z%C3%BCrich%201, "));

    let mut authentication = challenged();
    authentication.credentials.user = "a\r\nX: y".into();
    assert_eq!(
        authentication.authorization("/t", "c"),
        Err(DigestError::Unprintable)
    );
}

proptest! {
    #[test]
    fn no_answer_makes_the_client_panic(challenge in "\\PC{0,80}", info in "\\PC{0,80}") {
        let _ = begin().challenged([challenge.as_str()]);
        let digest = format!("Digest {challenge}");
        let _ = begin().challenged([digest.as_str()]);
        let _ = sent().confirmed(Some(&info));
    }
}
