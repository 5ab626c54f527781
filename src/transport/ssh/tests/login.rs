//! Who gets in, and what the others get.

use russh::client::AuthResult;
use russh::keys::ssh_key::private::RsaKeypair;
use russh::keys::{Algorithm, EcdsaCurve, HashAlg, PrivateKey, PrivateKeyWithHashAlg};
use tokio::time::Instant;

use super::*;

fn stage_with_key(key: &PrivateKey) -> Stage {
    let alice = UserEntry {
        password: None,
        authorized_keys: vec![(
            key.algorithm().to_string(),
            key.public_key().to_bytes().unwrap(),
        )],
        ..user("alice")
    };
    Stage::with(introduce(), Limits::default(), &[alice, user("bob")])
}

async fn try_key(stage: &Stage, user: &str, key: &PrivateKey, hash: Option<HashAlg>) -> bool {
    let (mut client, _serving) = stage.connect().await;
    let key = PrivateKeyWithHashAlg::new(Arc::new(key.clone()), hash);
    let tried = client.authenticate_publickey(user, key).await;
    tried.unwrap().success()
}

fn random(algorithm: Algorithm) -> PrivateKey {
    PrivateKey::random(&mut rand::rng(), algorithm).unwrap()
}

#[tokio::test]
async fn the_right_password_opens_a_session_as_that_user() {
    let stage = Stage::new(introduce());
    let (client, _serving) = stage.login().await;
    let (mut channel, granted) = subsystem(&client, "netconf").await;
    assert!(granted);
    let (text, status) = soon(read_to_end(&mut channel)).await;
    assert_eq!(text, "alice@192.0.2.7");
    assert_eq!(status, Some(0));
    assert_eq!(stage.server.counters().logins(), 1);
    assert_eq!(stage.server.counters().sessions(), 1);
}

#[tokio::test]
async fn keys_of_every_accepted_kind_log_in() {
    let curves = [
        EcdsaCurve::NistP256,
        EcdsaCurve::NistP384,
        EcdsaCurve::NistP521,
    ];
    let ecdsa = curves.map(|curve| Algorithm::Ecdsa { curve });
    for algorithm in [Algorithm::Ed25519].into_iter().chain(ecdsa) {
        let key = random(algorithm.clone());
        let stage = stage_with_key(&key);
        assert!(try_key(&stage, "alice", &key, None).await, "{algorithm}");
        assert!(!try_key(&stage, "bob", &key, None).await, "{algorithm}");
        assert!(!try_key(&stage, "nobody", &key, None).await, "{algorithm}");
    }
}

#[tokio::test]
async fn rsa_keys_log_in_with_sha2_and_not_with_sha1() {
    let pair = RsaKeypair::random(&mut rand::rng(), 2048).unwrap();
    let key = PrivateKey::from(pair);
    let stage = stage_with_key(&key);
    assert!(try_key(&stage, "alice", &key, Some(HashAlg::Sha256)).await);
    assert!(try_key(&stage, "alice", &key, Some(HashAlg::Sha512)).await);
    assert!(!try_key(&stage, "alice", &key, None).await);
}

#[tokio::test]
async fn a_short_rsa_key_does_not_count() {
    let pair = RsaKeypair::random(&mut rand::rng(), 1024).unwrap();
    let key = PrivateKey::from(pair);
    let stage = stage_with_key(&key);
    assert!(!try_key(&stage, "alice", &key, Some(HashAlg::Sha512)).await);
}

#[tokio::test]
async fn after_wrong_keys_the_password_still_works() {
    let stage = Stage::new(introduce());
    let (mut client, _serving) = stage.connect().await;
    for _ in 0..5 {
        let key = PrivateKeyWithHashAlg::new(Arc::new(random(Algorithm::Ed25519)), None);
        let tried = client.authenticate_publickey("alice", key).await.unwrap();
        assert!(!tried.success());
    }
    assert!(log_in(&mut client).await);
    assert_eq!(stage.server.counters().failed_logins(), 0);
}

#[tokio::test]
async fn a_connection_that_had_but_wrong_keys_counts_as_one_failed_login() {
    let stage = stage_with_key(&random(Algorithm::Ed25519));
    let (mut client, serving) = stage.connect().await;
    for _ in 0..3 {
        let key = PrivateKeyWithHashAlg::new(Arc::new(random(Algorithm::Ed25519)), None);
        let tried = client.authenticate_publickey("alice", key).await.unwrap();
        assert!(!tried.success());
    }
    assert_eq!(stage.server.counters().failed_logins(), 0);
    drop(client);
    soon(serving).await.unwrap();
    assert_eq!(stage.server.counters().failed_logins(), 1);
    // Nor is one that only asks which methods there are an attempt.
    let (mut client, serving) = stage.connect().await;
    client.authenticate_none("alice").await.unwrap();
    drop(client);
    soon(serving).await.unwrap();
    assert_eq!(stage.server.counters().failed_logins(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_wrong_password_and_an_unknown_user_are_refused_alike() {
    let stage = Stage::new(introduce());
    let mut answers = Vec::new();
    for name in ["alice", "nobody"] {
        let (mut client, _serving) = stage.connect().await;
        client.authenticate_none(name).await.unwrap();
        let begun = Instant::now();
        let tried = client.authenticate_password(name, "wrong").await.unwrap();
        assert!(!tried.success());
        answers.push((tried, begun.elapsed().as_millis()));
    }
    assert_eq!(answers[0], answers[1]);
    assert!(answers[0].1 >= 300);
    assert_eq!(stage.server.counters().failed_logins(), 2);
}

#[tokio::test]
async fn an_empty_and_an_overlong_password_are_wrong() {
    let stage = Stage::new(introduce());
    for password in [String::new(), "x".repeat(100_000)] {
        let (mut client, _serving) = stage.connect().await;
        let tried = client.authenticate_password("alice", password).await;
        assert!(!tried.unwrap().success());
    }
}

#[tokio::test]
async fn an_md5_hash_lets_nobody_in() {
    let alice = UserEntry {
        password: Some("$1$salt$qJH7.N4xYta3aEG/dfqo/0".into()),
        ..user("alice")
    };
    let stage = Stage::with(introduce(), Limits::default(), &[alice]);
    let (mut client, _serving) = stage.connect().await;
    let tried = client.authenticate_password("alice", "password").await;
    assert!(!tried.unwrap().success());
}

#[tokio::test]
async fn the_third_wrong_password_is_the_last() {
    let stage = Stage::new(introduce());
    let (mut client, serving) = stage.connect().await;
    for attempt in 1..=3 {
        let tried = client.authenticate_password("alice", "wrong").await;
        let AuthResult::Failure {
            remaining_methods, ..
        } = tried.unwrap()
        else {
            panic!("logged in");
        };
        assert_eq!(remaining_methods.is_empty(), attempt == 3);
    }
    // Even the right one.
    let tried = client.authenticate_password("alice", "secret").await;
    assert!(!tried.is_ok_and(|result| result.success()));
    soon(serving).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_source_that_keeps_guessing_is_answered_later_and_later() {
    let stage = Stage::new(introduce());
    let mut waits = Vec::new();
    for _ in 0..2 {
        let (mut client, _serving) = stage.connect().await;
        for _ in 0..3 {
            let begun = Instant::now();
            let tried = client.authenticate_password("alice", "wrong").await;
            assert!(!tried.unwrap().success());
            waits.push(begun.elapsed().as_millis());
        }
    }
    assert!(waits[5] > waits[4] && waits[4] > waits[3], "{waits:?}");
    assert!(waits[5] >= 2000, "{waits:?}");
}

#[tokio::test]
async fn other_methods_are_not_offered() {
    let stage = Stage::new(introduce());
    let (mut client, _serving) = stage.connect().await;
    let AuthResult::Failure {
        remaining_methods, ..
    } = client.authenticate_none("alice").await.unwrap()
    else {
        panic!("logged in with nothing");
    };
    assert_eq!(remaining_methods, super::super::handler::methods());
}
