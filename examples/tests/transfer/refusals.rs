//! What does not work ends in one sentence.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;

use super::support::{Done, Home, LEG, Server, Stalling, Way, assert_same};

#[tokio::test]
async fn what_is_no_file_is_not_sent() {
    let home = Home::new();
    let server = Server::start(&home).await;
    fs::create_dir(home.path("folder")).unwrap();
    let send = async |file| home.run(&["send", file, "--to", &server.uri]).await;
    send("nothing").await.badly(1, "nothing: no such file");
    send("folder").await.badly(1, "folder: not a regular file");
    send("/dev/zero").await.badly(1, "/dev/zero: not a regular file");
    send("..").await.badly(1, "..: not a name for the archive: the path does not end with one");
    home.file(".hidden", 1);
    send(".hidden").await.badly(1, ".hidden: not a name for the archive: it begins with a dot");
    home.file("x.part", 1);
    let sentence =
        "x.part: not a name for the archive: it ends with .part, as files do that are on their way";
    send("x.part").await.badly(1, sentence);
}

#[tokio::test]
async fn no_server_is_waited_for_in_vain_for_ever() {
    let home = Home::new();
    home.file("small", 1);
    drop(Server::start(&home).await); // makes the key
    let refused = home.run(&["send", "small", "--to", "http://127.0.0.1:1", "--wait", "1"]).await;
    refused.badly(1, "http://127.0.0.1:1: no server answers: 127.0.0.1:1: Connection refused (os error 111)");
}

#[tokio::test]
async fn a_server_that_goes_away_in_the_middle_is_not_waited_for_for_ever() {
    let home = Home::new();
    let server = Server::start(&home).await;
    home.file("big", 10 * LEG);
    let mut network = Stalling::new(server.address, Way::ToServer, 5 * LEG as u64).await;
    let sending = home.transfer(&["send", "big", "--wait", "1", "--to", &network.uri]).spawn().unwrap();
    network.stalled().await;
    drop((server, network));
    let done = Done::of(sending).await;
    assert_eq!(done.status.code(), Some(1));
    let why = "transfer: big: the server has gone away; the same command goes on where it was";
    assert_eq!(done.stderr.lines().collect::<Vec<_>>(), ["the connection is lost; making another", why]);
}

#[tokio::test]
async fn a_server_that_has_forgotten_everything_is_not_believed_to_have_anything() {
    let home = Home::new();
    let (file, server) = (home.file("big", 10 * LEG), Server::start(&home).await);
    let mut network = Stalling::new(server.address, Way::ToServer, 5 * LEG as u64).await;
    let sending = home.transfer(&["send", "big", "--wait", "20", "--to", &network.uri]).spawn().unwrap();
    network.stalled().await;
    let address = server.killed().await;
    fs::remove_dir_all(home.path("archive.store")).unwrap();
    let server = Server::start_at(&home, address).await;
    network.goes_on();
    let done = Done::of(sending).await;
    assert_eq!(done.status.code(), Some(1), "{done:?}");
    let why = "transfer: big: the server has forgotten the session; the same command opens another";
    assert_eq!(done.stderr.lines().last(), Some(why));
    let said = home.run(&["send", "big", "--to", &server.uri]).await.well();
    assert!(!said.contains("went on"), "{said}");
    assert_same(&file, &home.in_archive("big"));
}

#[tokio::test]
async fn what_is_waited_for_is_said() {
    let home = Home::new();
    drop(Server::start(&home).await);
    let done = home.run(&["ls", "--from", "http://127.0.0.1:1", "--wait", "3"]).await;
    let mut lines = done.stderr.lines();
    assert_eq!(lines.next(), Some("waiting for a server at http://127.0.0.1:1, up to 3 s"));
    assert!(
        lines.next().is_some_and(|line| line.starts_with("transfer: http://127.0.0.1:1: no server answers"))
    );
}

#[tokio::test]
async fn another_key_opens_nothing() {
    let (home, other) = (Home::new(), Home::new());
    let (server, _other_server) = (Server::start(&home).await, Server::start(&other).await);
    let refused = other.run(&["ls", "--from", &server.uri]).await;
    let sentence = format!("{}: the server does not accept this token; is the key the server's?", server.uri);
    refused.badly(1, &sentence);
}

#[tokio::test]
async fn a_key_is_made_for_its_owner_alone_and_used_only_so() {
    let home = Home::new();
    let key = home.path("key");
    let shown = key.display();
    let refused = home.run(&["ls"]).await;
    refused.badly(1, &format!("{shown}: no key there; the server makes one when it starts"));

    let server = Server::start(&home).await;
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    home.run(&["ls", "--from", &server.uri]).await.well();

    fs::set_permissions(&key, Permissions::from_mode(0o640)).unwrap();
    let refused = home.run(&["ls", "--from", &server.uri]).await;
    refused
        .badly(1, &format!("{shown}: others than its owner may read this key; chmod 600 it, or remove it"));

    fs::set_permissions(&key, Permissions::from_mode(0o600)).unwrap();
    fs::write(&key, "short").unwrap();
    let refused = home.run(&["ls", "--from", &server.uri]).await;
    refused.badly(1, &format!("{shown}: not a key of 32 bytes"));
}

#[tokio::test]
async fn tokens_do_not_travel_where_everybody_reads_them() {
    let home = Home::new();
    drop(Server::start(&home).await);
    let refused = home.run(&["ls", "--from", "http://192.0.2.1:50051"]).await;
    let why = "192.0.2.1 is another machine, and http would show the token to everybody on the way";
    refused.badly(1, &format!("http://192.0.2.1:50051: {why}"));
}

#[tokio::test]
async fn nothing_is_overwritten_unless_somebody_says_so() {
    let home = Home::new();
    let server = Server::start(&home).await;
    let (one, two) = (home.file("one", 100), home.file("two", 200));
    home.run(&["send", "one", "--as", "x", "--to", &server.uri]).await.well();
    let refused = home.run(&["send", "two", "--as", "x", "--to", &server.uri]).await;
    refused.badly(1, "x: the archive says: a file of that name is there already; --replace replaces it");
    assert_same(&one, &home.in_archive("x"));
    home.run(&["send", "two", "--as", "x", "--replace", "--to", &server.uri]).await.well();
    assert_same(&two, &home.in_archive("x"));

    let refused = home.run(&["get", "x", "-o", "one", "--from", &server.uri]).await;
    refused.badly(1, "one: a file of that name is there already; --replace replaces it");
    home.run(&["get", "x", "-o", "one", "--replace", "--from", &server.uri]).await.well();
    assert_same(&one, &two);
}

#[tokio::test]
async fn what_is_not_there_cannot_be_fetched() {
    let home = Home::new();
    let server = Server::start(&home).await;
    let get = async |name| home.run(&["get", name, "--from", &server.uri]).await;
    get("nothing").await.badly(1, "nothing: the archive says: no such file");
    get("../key").await.badly(1, "../key: not a name for the archive: it begins with a dot");
    let sentence =
        "a/b: not a name for the archive: it has a slash, a backslash or a control character in it";
    get("a/b").await.badly(1, sentence);
    fs::write(home.in_archive("half.part"), "half").unwrap();
    let sentence =
        "half.part: not a name for the archive: it ends with .part, as files do that are on their way";
    get("half.part").await.badly(1, sentence);
    assert_eq!(home.run(&["ls", "--from", &server.uri]).await.well(), "");
}

#[tokio::test]
async fn a_full_disk_of_the_archive_is_said_to_be_full() {
    let home = Home::new();
    // The store has the room that it asks for at its beginning, which is more.
    Server::start(&home).await.killed().await;
    let server = Server::start_within(&home, 3_000).await;
    home.file("big", 5 * LEG);
    let refused = home.run(&["send", "big", "--to", &server.uri]).await;
    let sentence =
        "big: the archive says: no space left on the disk; the same command goes on when there is some";
    refused.badly(1, sentence);
    home.file("small", LEG);
    home.run(&["send", "small", "--to", &server.uri]).await.well();
}

#[tokio::test]
async fn a_get_goes_on_when_the_disk_has_space_again() {
    let home = Home::new();
    let server = Server::start(&home).await;
    let file = home.file("big", 5 * LEG);
    home.run(&["send", "big", "--to", &server.uri]).await.well();
    let get = ["get", "big", "-o", "copy", "--from", &server.uri];
    let refused = Done::of(home.transfer_within(Some(3_000), &get).spawn().unwrap()).await;
    refused.badly(1, "copy: no space left on the disk; the same command goes on when there is some");
    let said = home.run(&get).await.well();
    assert!(said.contains("; went on at "), "{said}");
    assert_same(&file, &home.path("copy"));
}

#[tokio::test]
async fn one_name_is_for_one_file() {
    let home = Home::new();
    drop(Server::start(&home).await);
    let refused = home.run(&["send", "a", "b", "--as", "c"]).await;
    refused.badly(1, "--as names one file, and there are several");
}

#[tokio::test]
async fn one_server_at_a_time_keeps_an_archive() {
    let home = Home::new();
    let _server = Server::start(&home).await;
    std::os::unix::fs::symlink(home.path("archive"), home.path("alias")).unwrap();
    for dir in ["archive", "./archive", "alias"] {
        let refused = home.run(&["serve", "--listen", "127.0.0.1:0", "--dir", dir]).await;
        refused.badly(1, &format!("{dir}: another server keeps this archive"));
    }
}

#[tokio::test]
async fn what_lies_at_the_place_of_the_store_is_left_alone() {
    let home = Home::new();
    fs::create_dir(home.path("archive.store")).unwrap();
    fs::write(home.path("archive.store").join("diary"), "mine").unwrap();
    let refused = home.run(&["serve", "--listen", "127.0.0.1:0"]).await;
    let path = home.path("archive.store").canonicalize().unwrap();
    let what = "this is where the archive's store belongs, and it is something else";
    refused.badly(1, &format!("{}: {what}", path.display()));
    assert_eq!(fs::read(path.join("diary")).unwrap(), b"mine");
    home.run(&["serve", "--dir", "/"]).await.badly(1, "/: it has no place beside it for the store");
}

#[tokio::test]
async fn one_get_at_a_time_receives_a_file() {
    let home = Home::new();
    let server = Server::start(&home).await;
    let file = home.file("big", 12 * LEG);
    home.run(&["send", "big", "--to", &server.uri]).await.well();
    let mut network = Stalling::new(server.address, Way::ToClient, 8 * LEG as u64).await;
    let first = home.transfer(&["get", "big", "-o", "copy", "--from", &network.uri]).spawn().unwrap();
    network.stalled().await;
    let get = ["get", "big", "-o", "copy", "--from", &server.uri];
    home.run(&get).await.badly(1, "copy: a file of that name is being received already");
    network.goes_on();
    Done::of(first).await.well();
    assert_same(&file, &home.path("copy"));
}

#[tokio::test]
async fn gets_that_begin_together_do_not_mix() {
    let home = Home::new();
    let server = Server::start(&home).await;
    let file = home.file("big", 4 * LEG);
    home.run(&["send", "big", "--to", &server.uri]).await.well();
    let get = ["get", "big", "-o", "copy", "--from", &server.uri];
    let gets = [(); 4].map(|()| home.transfer(&get).spawn().unwrap());
    let mut received = 0;
    for get in gets {
        let done = Done::of(get).await;
        if done.status.success() {
            received += 1;
        } else {
            let why = ["is being received already", "is there already; --replace replaces it"];
            assert!(why.iter().any(|why| done.stderr.trim_end().ends_with(why)), "{done:?}");
        }
    }
    // All of them may have stepped back for each other.
    assert!(received <= 1, "{received} of them");
    if received == 0 {
        home.run(&get).await.well();
    }
    assert_same(&file, &home.path("copy"));
    let left = fs::read_dir(home.path("")).unwrap().map(|entry| entry.unwrap().file_name());
    assert_eq!(left.filter(|name| name.to_string_lossy().ends_with(".part")).count(), 0);
}

#[tokio::test]
async fn a_get_of_nothing_leaves_nothing() {
    let home = Home::new();
    let server = Server::start(&home).await;
    let refused = home.run(&["get", "nothing", "-o", "copy", "--from", &server.uri]).await;
    refused.badly(1, "nothing: the archive says: no such file");
    let mut left = fs::read_dir(home.path("")).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(!left.any(|name| name.to_string_lossy().starts_with("copy")));
}

#[tokio::test]
async fn the_archive_says_to_its_owner_alone_what_is_wrong_with_its_disk() {
    let home = Home::new();
    let server = Server::start_logging(&home, "log").await;
    std::os::unix::fs::symlink(home.in_archive("loop"), home.in_archive("loop")).unwrap();
    let refused = home.run(&["get", "loop", "--from", &server.uri]).await;
    refused.badly(1, "loop: the archive says: the disk failed");
    server.killed().await;
    let log = fs::read_to_string(home.path("log")).unwrap();
    assert!(log.contains("the disk of the archive failed") && log.contains("os error 40"), "{log}");
}
