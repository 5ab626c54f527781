//! `--yang`: modules that the agent does not bring are held, validated and served like its own.

use crate::support::{Plain, example};

#[tokio::test]
async fn data_of_a_further_module_outlives_a_restart() {
    let mut device = Plain::start().await;
    let config = [
        example(
            "all",
            "<entry><name>a</name><value>1</value><note>first</note></entry>",
        ),
        example("sub", "<value>3</value>"),
        example("featured", "<value>on</value>"),
    ]
    .concat();
    device.commit(&config).await;
    let before = device.session.get_config("running", None).await.unwrap();
    let mut device = device.restart().await;
    let after = device.open().await.get_config("running", None).await;
    assert_eq!(before, after.unwrap());
    for (root, part) in [
        ("all", "<note>first</note>"),
        ("sub", "<value>3</value>"),
        ("featured", "<value>on</value>"),
    ] {
        let shown = device.running(root).await;
        assert!(shown.contains(part), "{part} in {shown}");
    }
}
