//! Links that are cut after every 20 kB, in whichever direction those have passed first.

use std::time::Duration;

use futures_util::StreamExt as _;
use rpc_client::StreamWatch;
use rpc_tests::pb::streams::v1::Request;
use rpc_tests::proxy::{End, Fault};
use tokio::time::timeout;

use super::{Scene, chunks, read, tally};

/// What a connection carries in one direction, with all that HTTP/2 and the session say on it.
const LINK_BYTES: u64 = 20_000;
/// Long messages, of which a link carries a few, and short ones, of which it carries hundreds: 1 MB each.
const TRANSFERS: [(u64, u32); 2] = [(250, 4_000), (20_000, 50)];
/// Fewer resumes than these could not have carried it.
const RESUMES_MIN: u32 = 45;

async fn scene(end: End) -> Scene {
    let scene = Scene::start().await;
    scene.proxy.plan(Fault::CutEither { after_bytes: LINK_BYTES, end });
    scene.proxy.cut(end);
    scene
}

async fn minute<F: Future>(what: &str, future: F) -> F::Output {
    timeout(Duration::from_secs(60), future).await.unwrap_or_else(|_| panic!("{what} hangs"))
}

//= test S-16
//= test I9
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_progresses_on_links_that_carry_twenty_kilobytes() {
    for (count, payload_bytes) in TRANSFERS {
        let scene = scene(End::Rst).await;
        let response =
            minute("the upload", scene.client().upload(chunks(count, payload_bytes))).await.unwrap();
        let resumes = response.extensions().get::<StreamWatch>().unwrap().resumes();
        assert!(resumes >= RESUMES_MIN, "{resumes} resumes: nothing was proved");
        assert_eq!(response.into_inner(), tally(count, payload_bytes).summary());
    }
}

//= test S-16
//= test I9
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_download_progresses_on_links_that_carry_twenty_kilobytes() {
    for (count, payload_bytes) in TRANSFERS {
        let scene = scene(End::Fin).await;
        let wanted = Request { chunks: count, payload_bytes, pause_ms: 0 };
        let response = minute("the head", scene.client().download(wanted)).await.unwrap();
        let watch = response.extensions().get::<StreamWatch>().unwrap().clone();
        let got = minute("the download", read(response.into_inner())).await.unwrap();
        assert_eq!(got, tally(count, payload_bytes));
        assert!(watch.resumes() >= RESUMES_MIN, "{} resumes: nothing was proved", watch.resumes());
    }
}

//= test S-16
//= test I9
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chat_progresses_on_links_that_carry_twenty_kilobytes() {
    for (count, payload_bytes) in TRANSFERS {
        let scene = scene(End::Rst).await;
        let response = minute("the head", scene.client().chat(chunks(count, payload_bytes))).await.unwrap();
        let watch = response.extensions().get::<StreamWatch>().unwrap().clone();
        let got = minute("the chat", read(response.into_inner().boxed())).await.unwrap();
        assert_eq!(got, tally(count, payload_bytes));
        assert!(watch.resumes() >= RESUMES_MIN, "{} resumes: nothing was proved", watch.resumes());
    }
}
