use std::time::Duration;

use tokio::{io::AsyncWriteExt as _, net::TcpStream, time};

use super::*;

fn arguments(address: &str, token_file: Option<PathBuf>) -> MetricsArgs {
    MetricsArgs {
        metrics: Some(address.parse().unwrap()),
        metrics_token_file: token_file,
    }
}

async fn refused(arguments: MetricsArgs) -> String {
    let bound = arguments.bind("1", &[]).await;
    bound.map(drop).unwrap_err().to_string()
}

#[tokio::test]
async fn address_off_the_loopback_without_a_token_is_refused_with_advice() {
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:9"] {
        let said = refused(arguments(address, None)).await;
        assert!(said.contains("TEMPER_METRICS_TOKEN_FILE"), "{said}");
    }
}

#[tokio::test]
async fn file_without_a_token_is_refused_and_not_shown() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    let absent = refused(arguments("127.0.0.1:0", Some(path.clone()))).await;
    assert!(absent.contains("cannot read"), "{absent}");
    for text in ["", "\n", "hunter2hunter2", "two words that are long"] {
        fs::write(&path, text).unwrap();
        let said = refused(arguments("127.0.0.1:0", Some(path.clone()))).await;
        assert!(said.contains("should hold"), "{text}: {said}");
        assert!(text.trim().is_empty() || !said.contains(text), "{said}");
    }
}

#[tokio::test]
async fn nothing_is_told_unless_an_address_is_named() {
    let bound = MetricsArgs::default().bind("1", &[]).await.unwrap();
    assert!(bound.is_none());
}

#[tokio::test(start_paused = true)]
async fn client_that_asks_on_and_never_reads_does_not_keep_its_seat() {
    let bound = arguments("127.0.0.1:0", None).bind("1", &[]).await;
    let metrics = bound.unwrap().unwrap();
    let mut stream = TcpStream::connect(metrics.address()).await.unwrap();
    tokio::spawn(metrics.serve());
    let mut asked = 0;
    while asked < 1000
        && stream
            .write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            .await
            .is_ok()
    {
        time::sleep(Duration::from_secs(1)).await;
        asked += 1;
    }
    // Five minutes, and what it takes to notice.
    assert!(asked < 400, "{asked}");
}
