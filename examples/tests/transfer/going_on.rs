//! Programs that end in the middle, and those that go on where they were.

use std::fs;

use super::support::{Done, Home, LEG, Server, Stalling, Way, assert_same, memory_of, signal};

/// The network stalls when more than a window has passed, so by then some point was secured.
const BYTES: usize = 12 * LEG + 12_345;
const STALL: u64 = 8 * LEG as u64;

/// Starts to send `big`, and ends it by this signal in the middle.
async fn send_until(home: &Home, server: &Server, name: &str) -> Done {
    let mut network = Stalling::new(server.address, Way::ToServer, STALL).await;
    let sending = home.transfer(&["send", "big", "--to", &network.uri]).spawn().unwrap();
    network.stalled().await;
    signal(&sending, name).await;
    Done::of(sending).await
}

async fn get_until(home: &Home, server: &Server, name: &str) -> Done {
    let mut network = Stalling::new(server.address, Way::ToClient, STALL).await;
    let getting = home.transfer(&["get", "big", "-o", "copy", "--from", &network.uri]).spawn().unwrap();
    network.stalled().await;
    signal(&getting, name).await;
    Done::of(getting).await
}

#[tokio::test]
async fn after_ctrl_c_the_same_send_goes_on_where_it_was() {
    let home = Home::new();
    let (file, server) = (home.file("big", BYTES), Server::start(&home).await);
    let ended = send_until(&home, &server, "INT").await;
    ended.badly(130, "interrupted: the same command goes on where it was");
    assert!(!home.in_archive("big").exists());

    let said = home.run(&["send", "big", "--to", &server.uri]).await.well();
    assert!(said.contains("; went on at "), "{said}");
    assert_same(&file, &home.in_archive("big"));
    assert!(!home.in_archive("big.part").exists());
}

#[tokio::test]
async fn after_a_kill_the_same_send_goes_on_where_it_was() {
    let home = Home::new();
    let (file, server) = (home.file("big", BYTES), Server::start(&home).await);
    send_until(&home, &server, "KILL").await;
    let said = home.run(&["send", "big", "--to", &server.uri]).await.well();
    assert!(said.contains("; went on at "), "{said}");
    assert_same(&file, &home.in_archive("big"));
}

#[tokio::test]
async fn after_ctrl_c_the_same_get_goes_on_where_it_was() {
    let home = Home::new();
    let (file, server) = (home.file("big", BYTES), Server::start(&home).await);
    home.run(&["send", "big", "--to", &server.uri]).await.well();
    let ended = get_until(&home, &server, "INT").await;
    ended.badly(130, "interrupted: the same command goes on where it was");
    assert!(!home.path("copy").exists());

    let said = home.run(&["get", "big", "-o", "copy", "--from", &server.uri]).await.well();
    assert!(said.contains("; went on at "), "{said}");
    assert_same(&file, &home.path("copy"));
    let left = fs::read_dir(home.path("")).unwrap().map(|entry| entry.unwrap().file_name());
    assert_eq!(left.filter(|name| name.to_string_lossy().ends_with(".part")).count(), 0);
}

#[tokio::test]
async fn after_a_kill_the_same_get_goes_on_where_it_was() {
    let home = Home::new();
    let (file, server) = (home.file("big", BYTES), Server::start(&home).await);
    home.run(&["send", "big", "--to", &server.uri]).await.well();
    get_until(&home, &server, "KILL").await;
    let said = home.run(&["get", "big", "-o", "copy", "--from", &server.uri]).await.well();
    assert!(said.contains("; went on at "), "{said}");
    assert_same(&file, &home.path("copy"));
}

#[tokio::test]
async fn a_file_that_has_changed_is_not_patched_together() {
    let home = Home::new();
    let (file, server) = (home.file("big", BYTES), Server::start(&home).await);
    send_until(&home, &server, "KILL").await;
    let mut bytes = fs::read(&file).unwrap();
    bytes[17] ^= 1;
    fs::write(&file, bytes).unwrap();

    let refused = home.run(&["send", "big", "--to", &server.uri]).await;
    refused.badly(1, "big: the file has changed since its first part was sent; --restart begins anew");
    let said = home.run(&["send", "big", "--restart", "--to", &server.uri]).await.well();
    assert!(!said.contains("went on"), "{said}");
    assert_same(&file, &home.in_archive("big"));
}

#[tokio::test]
async fn a_file_that_changes_while_it_is_sent_does_not_arrive() {
    let home = Home::new();
    let (file, server) = (home.file("big", 2 * BYTES), Server::start(&home).await);
    let mut network = Stalling::new(server.address, Way::ToServer, STALL).await;
    let sending = home.transfer(&["send", "big", "--to", &network.uri]).spawn().unwrap();
    network.stalled().await;
    fs::OpenOptions::new().write(true).open(&file).unwrap().set_len(2 * BYTES as u64 - 1).unwrap();
    network.goes_on();
    let done = Done::of(sending).await;
    assert_eq!(done.status.code(), Some(1), "{done:?}");
    let why = "transfer: big: the file has changed since its first part was sent; --restart begins anew";
    assert_eq!(done.stderr.lines().last(), Some(why));
    assert!(!home.in_archive("big").exists());
}

#[tokio::test]
async fn a_part_that_was_damaged_is_not_completed() {
    let home = Home::new();
    let (file, server) = (home.file("big", BYTES), Server::start(&home).await);
    send_until(&home, &server, "KILL").await;
    let part = home.in_archive("big.part");
    let mut bytes = fs::read(&part).unwrap();
    bytes[17] ^= 1;
    fs::write(&part, bytes).unwrap();

    let refused = home.run(&["send", "big", "--to", &server.uri]).await;
    refused.badly(
        1,
        "big: the archive says: the part that was received before is gone or damaged; --restart begins anew",
    );
    home.run(&["send", "big", "--restart", "--to", &server.uri]).await.well();
    assert_same(&file, &home.in_archive("big"));
}

#[tokio::test]
async fn a_get_whose_part_is_gone_begins_anew() {
    let home = Home::new();
    let (file, server) = (home.file("big", BYTES), Server::start(&home).await);
    home.run(&["send", "big", "--to", &server.uri]).await.well();
    get_until(&home, &server, "KILL").await;
    for entry in fs::read_dir(home.path("")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|end| end == "part") {
            fs::write(path, "something else").unwrap();
        }
    }
    let said = home.run(&["get", "big", "-o", "copy", "--from", &server.uri]).await.well();
    assert!(!said.contains("went on"), "{said}");
    assert_same(&file, &home.path("copy"));
}

#[tokio::test]
async fn a_get_of_a_file_that_was_replaced_is_not_patched_together() {
    let home = Home::new();
    let server = Server::start(&home).await;
    home.file("big", BYTES);
    home.run(&["send", "big", "--to", &server.uri]).await.well();
    get_until(&home, &server, "KILL").await;
    let other = home.file("other", BYTES);
    home.run(&["send", "other", "--as", "big", "--replace", "--to", &server.uri]).await.well();

    let refused = home.run(&["get", "big", "-o", "copy", "--from", &server.uri]).await;
    refused.badly(
        1,
        "big: the archive says: the file has changed since its first part was sent; --restart begins anew",
    );
    home.run(&["get", "big", "-o", "copy", "--restart", "--from", &server.uri]).await.well();
    assert_same(&other, &home.path("copy"));
}

#[tokio::test]
async fn a_file_of_many_gib_waits_on_the_disk_and_not_in_memory() {
    let home = Home::new();
    let server = Server::start(&home).await;
    fs::File::create(home.path("big")).unwrap().set_len(64 << 30).unwrap();
    let mut network = Stalling::new(server.address, Way::ToServer, STALL).await;
    let mut sending = home.transfer(&["send", "big", "--to", &network.uri]).spawn().unwrap();
    network.stalled().await;
    for process in [&sending, &server.process] {
        let bytes = memory_of(process).unwrap_or_default();
        assert!(bytes < 100 << 20, "{bytes} bytes");
    }
    sending.kill().await.unwrap();
}

#[tokio::test]
async fn whoever_sends_the_same_file_takes_over() {
    let home = Home::new();
    let (file, server) = (home.file("big", BYTES), Server::start(&home).await);
    let mut network = Stalling::new(server.address, Way::ToServer, STALL).await;
    let first = home.transfer(&["send", "big", "--to", &network.uri]).spawn().unwrap();
    network.stalled().await;
    let said = home.run(&["send", "big", "--to", &server.uri]).await.well();
    assert!(said.contains("; went on at "), "{said}");
    network.goes_on();
    let done = Done::of(first).await;
    assert_eq!(done.status.code(), Some(1), "{done:?}");
    let why = "transfer: big: another program has taken over this transfer";
    assert_eq!(done.stderr.lines().last(), Some(why));
    assert_same(&file, &home.in_archive("big"));
}

#[tokio::test]
async fn a_file_that_was_sent_is_not_sent_again() {
    let home = Home::new();
    let server = Server::start(&home).await;
    home.file("small", 100);
    home.run(&["send", "small", "--to", &server.uri]).await.well();
    let said = home.run(&["send", "small", "--to", &server.uri]).await.well();
    assert!(said.starts_with("small: was sent before, 100 B, BLAKE3 "), "{said}");
    home.file("small", 99);
    let refused = home.run(&["send", "small", "--to", &server.uri]).await;
    refused.badly(1, "small: the archive says: a file of that name is there already; --replace replaces it");
}

#[tokio::test]
async fn files_of_all_sizes_come_back_as_they_were() {
    let home = Home::new();
    let server = Server::start(&home).await;
    let page = 32 << 10;
    let sizes = [0, 1, page - 1, page, page + 1, LEG - 1, LEG, LEG + 1, 3 * LEG];
    let names: Vec<String> = sizes.iter().map(|bytes| format!("of {bytes}")).collect();
    for (name, bytes) in names.iter().zip(sizes) {
        home.file(name, bytes);
    }
    let mut arguments = vec!["send", "--to", &*server.uri];
    arguments.extend(names.iter().map(|name| &**name));
    let said = home.run(&arguments).await.well();
    assert_eq!(said.lines().count(), sizes.len(), "{said}");

    fs::create_dir(home.path("copies")).unwrap();
    for name in &names {
        home.run(&["get", name, "-o", "copies", "--from", &server.uri]).await.well();
        assert_same(&home.path(name), &home.path("copies").join(name));
    }
    let listed = home.run(&["ls", "--from", &server.uri]).await.well();
    let mut expected: Vec<String> = sizes.iter().map(|bytes| format!("{bytes:>12}  of {bytes}")).collect();
    expected.sort_by_key(|line| line.trim_start().split_once("  ").map(|(_, name)| name.to_owned()));
    assert_eq!(listed.lines().collect::<Vec<_>>(), expected);
}
