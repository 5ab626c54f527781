use proptest::prelude::*;

use super::*;
use crate::dhcp::options::Reason;
use crate::model::settings::Secret;

const QUESTION: Question = Question {
    xid: 0x0102_0304,
    hardware_address: [2, 0, 0, 0, 0, 7],
    address: Ipv4Addr::new(192, 0, 2, 7),
    seconds: 4,
};
const OWN_PORT: u16 = 40_000;
const ACK: &[u8] = &[53, 1, 5];
const SERVER: &[u8] = &[54, 4, 192, 0, 2, 1];

/// An answer to the question with these options.
fn message(question: &Question, options: &[&[u8]]) -> Vec<u8> {
    let mut message = vec![0; 240];
    message[..3].copy_from_slice(&[2, 1, 6]);
    message[4..8].copy_from_slice(&question.xid.to_be_bytes());
    message[28..34].copy_from_slice(&question.hardware_address);
    message[COOKIE].copy_from_slice(&v4::MAGIC);
    message.extend(options.concat());
    message.push(255);
    message
}

fn option(code: u8, value: &[u8]) -> Vec<u8> {
    [&[code, u8::try_from(value.len()).unwrap()], value].concat()
}

/// The packet of a message to a port.
fn packet(message: &[u8], port: u16) -> Vec<u8> {
    let length = |octets: usize| u16::try_from(octets).unwrap().to_be_bytes();
    let mut packet = vec![0x45, 0];
    packet.extend(length(28 + message.len()));
    packet.extend([0, 0, 0x40, 0, 64, 17, 0, 0, 192, 0, 2, 1, 192, 0, 2, 7]);
    packet.extend([0, 67]);
    packet.extend(port.to_be_bytes());
    packet.extend(length(8 + message.len()));
    packet.extend([0, 0]);
    packet.extend(message);
    packet
}

/// A good answer.
fn acknowledgement(question: &Question, domain: &str, password: &str) -> Vec<u8> {
    let (domain, password) = (domain.as_bytes(), password.as_bytes());
    let options = [option(DOMAIN, domain), option(PASSWORD, password)];
    message(question, &[ACK, SERVER, &options.concat()])
}

fn answer(options: &[&[u8]]) -> Result<Answer, NoAnswer> {
    read(
        &packet(&message(&QUESTION, options), CLIENT_PORT),
        &QUESTION,
        OWN_PORT,
    )
}

#[test]
fn a_question_names_its_address_and_asks_for_no_other_one() {
    let octets = QUESTION.to_octets().unwrap();
    assert_eq!(octets.len(), v4::MIN_PACKET_SIZE);
    let message = borrowed::Message::new(&octets).unwrap();
    assert_eq!(message.opcode(), v4::Opcode::BootRequest);
    assert_eq!((message.xid(), message.secs()), (QUESTION.xid, 4));
    assert_eq!(message.ciaddr(), QUESTION.address);
    assert_eq!(message.chaddr(), QUESTION.hardware_address);
    let options = options(&message, &octets);
    assert_eq!(options.keys().copied().collect::<Vec<_>>(), [53, 55, 57]);
    assert_eq!(options[&53], [8]);
    assert_eq!(options[&55], [252, 253]);
}

#[test]
fn an_answer_has_both_values() {
    let read = |port| {
        read(
            &packet(&acknowledgement(&QUESTION, "cloud.example", "secret"), port),
            &QUESTION,
            OWN_PORT,
        )
    };
    let answer = read(CLIENT_PORT).unwrap();
    assert_eq!(answer.server, Ipv4Addr::new(192, 0, 2, 1));
    assert_eq!(answer.discovered.domain.as_deref(), Some("cloud.example"));
    assert_eq!(answer.discovered.password, Some(Secret::new("secret")));
    assert_eq!(answer.refused, []);
    assert_eq!(read(OWN_PORT), Ok(answer));
    assert_eq!(read(OWN_PORT + 1), Err(NoAnswer::OtherPort));
}

#[test]
fn options_in_pieces_are_put_together() {
    let first = option(DOMAIN, b"cloud.");
    let second = option(DOMAIN, b"example");
    for options in [
        &[ACK, SERVER, &first, &second][..],
        &[&first, ACK, &second, SERVER],
    ] {
        let domain = answer(options).unwrap().discovered.domain;
        assert_eq!(domain.as_deref(), Some("cloud.example"));
    }
}

#[test]
fn options_are_found_in_the_fields_of_file_and_server_name() {
    let mut message = message(
        &QUESTION,
        &[&option(52, &[3]), ACK, &option(DOMAIN, b"cloud.")],
    );
    let file = [option(DOMAIN, b"exam"), SERVER.to_vec(), vec![255]].concat();
    message[FILE][..file.len()].copy_from_slice(&file);
    let name = [option(DOMAIN, b"ple"), vec![255]].concat();
    message[SERVER_NAME][..name.len()].copy_from_slice(&name);
    let answer = read(&packet(&message, CLIENT_PORT), &QUESTION, OWN_PORT).unwrap();
    assert_eq!(answer.discovered.domain.as_deref(), Some("cloud.example"));
}

#[test]
fn a_value_that_does_not_count_leaves_the_rest() {
    let url = option(PASSWORD, b"http://wpad/wpad.dat");
    let answer = answer(&[ACK, SERVER, &option(DOMAIN, b"cloud.example"), &url]).unwrap();
    assert_eq!(answer.discovered.domain.as_deref(), Some("cloud.example"));
    assert_eq!(answer.discovered.password, None);
    let expected = Refused {
        option: PASSWORD,
        reason: Reason::Url,
    };
    assert_eq!(answer.refused, [expected]);
}

#[test]
fn what_is_not_an_answer_to_the_question_is_none() {
    assert_eq!(
        answer(&[&[53, 1, 2], SERVER]),
        Err(NoAnswer::NoAcknowledgement)
    );
    assert_eq!(answer(&[SERVER]), Err(NoAnswer::NoAcknowledgement));
    assert_eq!(answer(&[ACK]), Err(NoAnswer::NoServer));
    let changes: [(usize, u8, NoAnswer); 5] = [
        (0, 1, NoAnswer::NoReply),
        (2, 255, NoAnswer::OtherTransaction),
        (7, 9, NoAnswer::OtherTransaction),
        (33, 9, NoAnswer::OtherTransaction),
        (236, 9, NoAnswer::NoMessage),
    ];
    for (at, octet, expected) in changes {
        let mut message = message(&QUESTION, &[ACK, SERVER]);
        message[at] = octet;
        let read = read(&packet(&message, CLIENT_PORT), &QUESTION, OWN_PORT);
        assert_eq!(read, Err(expected), "octet {at}");
    }
}

#[test]
fn a_packet_that_is_not_whole_is_no_datagram() {
    let whole = packet(&message(&QUESTION, &[ACK, SERVER]), CLIENT_PORT);
    for length in 0..whole.len() {
        let read = read(&whole[..length], &QUESTION, OWN_PORT);
        assert_eq!(read, Err(NoAnswer::NoDatagram), "{length} octets");
    }
    // Version 6, a fragment, TCP, a UDP length beyond the packet.
    for (at, octet) in [(0, 0x65), (6, 0x20), (9, 6), (24, 0xff)] {
        let mut packet = whole.clone();
        packet[at] = octet;
        let read = read(&packet, &QUESTION, OWN_PORT);
        assert_eq!(read, Err(NoAnswer::NoDatagram), "octet {at}");
    }
}

proptest! {
    #[test]
    fn any_octets_are_survived(octets: Vec<u8>) {
        let _ = read(&octets, &QUESTION, OWN_PORT);
        let _ = read(&packet(&octets, CLIENT_PORT), &QUESTION, OWN_PORT);
        let _ = answer(&[ACK, SERVER, &octets]);
    }

    #[test]
    fn a_damaged_answer_is_survived(damage: Vec<(prop::sample::Index, u8)>, cut: prop::sample::Index) {
        let mut packet = packet(&acknowledgement(&QUESTION, "cloud.example", "secret"), CLIENT_PORT);
        for (at, octet) in damage {
            let at = at.index(packet.len());
            packet[at] = octet;
        }
        let _ = read(&packet, &QUESTION, OWN_PORT);
        let _ = read(&packet[..cut.index(packet.len())], &QUESTION, OWN_PORT);
    }
}
