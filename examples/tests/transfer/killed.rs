//! Servers that are killed while files are on their way, and callers that are killed as well.

use std::fs;
use std::path::Path;
use std::time::Duration;

use tokio::process::Child;
use tokio::task::yield_now;
use tokio::time::sleep;

use super::support::{Done, Home, LEG, Server, assert_same, soon};

const BYTES: usize = 48 * LEG + 12_345;

/// After so many bytes of the file on its way somebody is killed.
const KILLS: [usize; 2] = [BYTES / 3, 2 * BYTES / 3];

/// Waits until so much of a file is in its part, in this directory.
async fn received(directory: &Path, name: &str, bytes: usize) {
    let is_part = |found: &str| found.starts_with(name) && found.ends_with(".part");
    let length = || {
        let mut entries = fs::read_dir(directory).unwrap().map(Result::unwrap);
        let part = entries.find(|entry| is_part(&entry.file_name().to_string_lossy()));
        // It may come to its place in between.
        part.and_then(|part| part.metadata().ok()).map_or(0, |found| found.len())
    };
    let arrived = async {
        while length() < bytes as u64 {
            sleep(Duration::from_millis(2)).await;
        }
    };
    soon("so much of the file", arrived).await;
}

/// It went on by itself, twice, and said so.
fn assert_went_on(done: Done) {
    let lost = done.stderr.lines().filter(|said| *said == "the connection is lost; making another");
    assert!(lost.count() >= KILLS.len(), "{done:?}");
    let said = done.well();
    assert!(said.contains(", 2 resumes, ") && !said.contains("went on at"), "{said}");
}

fn start(home: &Home, arguments: &[&str]) -> Child {
    home.transfer(arguments).spawn().unwrap()
}

#[tokio::test]
async fn a_send_goes_on_by_itself_when_the_server_is_killed_twice() {
    let home = Home::new();
    let (file, mut server) = (home.file("big", BYTES), Server::start(&home).await);
    let sending = start(&home, &["send", "big", "--to", &server.uri]);
    for bytes in KILLS {
        received(&home.path("archive"), "big", bytes).await;
        server = server.killed_and_started(&home).await;
    }
    assert_went_on(Done::of(sending).await);
    assert_same(&file, &home.in_archive("big"));
    assert!(!home.in_archive("big.part").exists());
}

#[tokio::test]
async fn a_get_goes_on_by_itself_when_the_server_is_killed_twice() {
    let home = Home::new();
    let (file, mut server) = (home.file("big", BYTES), Server::start(&home).await);
    home.run(&["send", "big", "--to", &server.uri]).await.well();
    let getting = start(&home, &["get", "big", "-o", "copy", "--from", &server.uri]);
    for bytes in KILLS {
        received(&home.path(""), "copy", bytes).await;
        server = server.killed_and_started(&home).await;
    }
    assert_went_on(Done::of(getting).await);
    assert_same(&file, &home.path("copy"));
}

#[tokio::test]
async fn when_server_and_caller_are_killed_twice_the_same_send_goes_on_where_it_was() {
    let home = Home::new();
    let (file, mut server) = (home.file("big", BYTES), Server::start(&home).await);
    let uri = server.uri.clone();
    let send = ["send", "big", "--to", &uri];
    for (bytes, server_first) in KILLS.into_iter().zip([true, false]) {
        let mut sending = start(&home, &send);
        received(&home.path("archive"), "big", bytes).await;
        if server_first {
            let address = server.killed().await;
            sending.kill().await.unwrap();
            server = Server::start_at(&home, address).await;
        } else {
            sending.kill().await.unwrap();
            server = server.killed_and_started(&home).await;
        }
    }
    let said = home.run(&send).await.well();
    assert!(said.contains("; went on at "), "{said}");
    assert_same(&file, &home.in_archive("big"));
}

#[tokio::test]
async fn when_server_and_caller_are_killed_twice_the_same_get_goes_on_where_it_was() {
    let home = Home::new();
    let (file, mut server) = (home.file("big", BYTES), Server::start(&home).await);
    home.run(&["send", "big", "--to", &server.uri]).await.well();
    let uri = server.uri.clone();
    let get = ["get", "big", "-o", "copy", "--from", &uri];
    for bytes in KILLS {
        let mut getting = start(&home, &get);
        received(&home.path(""), "copy", bytes).await;
        let address = server.killed().await;
        getting.kill().await.unwrap();
        server = Server::start_at(&home, address).await;
    }
    let said = home.run(&get).await.well();
    assert!(said.contains("; went on at "), "{said}");
    assert_same(&file, &home.path("copy"));
}

#[tokio::test]
async fn a_file_that_came_to_its_place_before_the_server_was_killed_is_confirmed_by_the_next() {
    let home = Home::new();
    let (file, mut server) = (home.file("big", LEG), Server::start(&home).await);
    for round in 0..8 {
        let name = format!("copy {round}");
        let sending = start(&home, &["send", "big", "--as", &name, "--to", &server.uri]);
        let placed = async {
            while !home.in_archive(&name).exists() {
                yield_now().await;
            }
        };
        soon("the file at its place", placed).await;
        server = server.killed_and_started(&home).await;
        Done::of(sending).await.well();
        assert_same(&file, &home.in_archive(&name));
    }
}
