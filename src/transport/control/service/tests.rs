//! The agent's side with a pipe for a subconnection, and a program that is the test.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

use super::frame::{LONGEST, read, write};
use super::*;

struct Rig {
    program: DuplexStream,
    offers: mpsc::Sender<DuplexStream>,
    attending: tokio::task::JoinHandle<()>,
}

fn rig() -> Rig {
    let (program, stream) = duplex(1 << 10);
    let (offers, offered) = mpsc::channel(1);
    Rig {
        program,
        offers,
        attending: tokio::spawn(attend(Box::new(stream), offered)),
    }
}

impl Rig {
    /// A subconnection that stands: the end which the cloud speaks at.
    async fn connect(&mut self) -> DuplexStream {
        let (near, far) = duplex(1 << 10);
        self.offers.send(far).await.unwrap();
        assert_eq!(read(&mut self.program).await.unwrap(), Frame::Opened);
        near
    }
}

#[tokio::test]
async fn octets_pass_both_ways_and_the_end_of_the_subconnection_is_told() {
    let mut rig = rig();
    let mut cloud = rig.connect().await;
    cloud.write_all(b"down").await.unwrap();
    let data = Frame::Data(b"down".to_vec());
    assert_eq!(read(&mut rig.program).await.unwrap(), data);
    write(&mut rig.program, &Frame::Data(b"up".to_vec()))
        .await
        .unwrap();
    let mut up = [0; 2];
    cloud.read_exact(&mut up).await.unwrap();
    assert_eq!(&up, b"up");
    drop(cloud);
    assert_eq!(read(&mut rig.program).await.unwrap(), Frame::Closed);
}

#[tokio::test]
async fn the_next_connection_waits_until_the_program_is_done_with_the_last() {
    let mut rig = rig();
    drop(rig.connect().await);
    assert_eq!(read(&mut rig.program).await.unwrap(), Frame::Closed);
    let (_near, far) = duplex(1 << 10);
    rig.offers.send(far).await.unwrap();
    // What is still said of the last one reaches nobody.
    let late = Frame::Data(b"late".to_vec());
    write(&mut rig.program, &late).await.unwrap();
    write(&mut rig.program, &Frame::Closed).await.unwrap();
    assert_eq!(read(&mut rig.program).await.unwrap(), Frame::Opened);
}

#[tokio::test]
async fn a_program_that_is_done_ends_the_subconnection_after_its_last_word() {
    let mut rig = rig();
    let mut cloud = rig.connect().await;
    let last = Frame::Data(b"last".to_vec());
    write(&mut rig.program, &last).await.unwrap();
    write(&mut rig.program, &Frame::Closed).await.unwrap();
    let mut said = String::new();
    cloud.read_to_string(&mut said).await.unwrap();
    assert_eq!(said, "last");
    assert_eq!(read(&mut rig.program).await.unwrap(), Frame::Closed);
}

#[tokio::test]
async fn a_program_that_goes_ends_the_attendance_with_and_without_a_connection() {
    for connected in [false, true] {
        let mut rig = rig();
        let cloud = match connected {
            true => Some(rig.connect().await),
            false => None,
        };
        drop(rig.program);
        rig.attending.await.unwrap();
        if let Some(mut cloud) = cloud {
            assert_eq!(cloud.read(&mut [0]).await.unwrap(), 0);
        }
    }
}

#[tokio::test]
async fn a_program_that_breaks_the_frames_is_left() {
    let too_long = u32::try_from(LONGEST + 1).unwrap().to_be_bytes();
    let broken: [&[u8]; 3] = [
        &[7, 0, 0, 0, 0],
        &[0, 0, 0, 0, 0],
        &[&[1][..], &too_long].concat(),
    ];
    for octets in broken {
        let mut rig = rig();
        let _cloud = rig.connect().await;
        rig.program.write_all(octets).await.unwrap();
        rig.attending.await.unwrap();
    }
}

#[tokio::test]
async fn a_program_that_reads_nothing_holds_its_own_subconnection_and_no_memory() {
    let mut rig = rig();
    let mut cloud = rig.connect().await;
    let mut taken = 0;
    let second = std::time::Duration::from_millis(300);
    while let Ok(Ok(length)) = tokio::time::timeout(second, cloud.write(&[0; 1 << 10])).await {
        taken += length;
        assert!(taken < 1 << 20, "{taken}");
    }
}
