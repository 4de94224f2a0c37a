//! `rpcctl store … --server`: a real server at work, and the program as scripts run it.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test says by panicking that something went wrong")]

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rpc_core::store::Store as _;
use rpc_crash::caller::{self, Client};
use rpc_crash::pb::Entry;
use rpc_crash::pb::vault_server::VaultServer;
use rpc_crash::trust::{AUDIENCE, ISSUER, SECRET};
use rpc_crash::vault::Vault;
use rpc_server::auth::{JwtAuthenticator, JwtIssuer, Key, TrustedIssuer};
use rpc_server::{Handle, Server, net};
use rpc_store::{Backups, EmbeddedStore};
use serde_json::Value;
use tokio::process::Command;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

const SESSIONS: u64 = 3;

/// A server, the directory it works in, and an operator's token.
struct Scene {
    home: PathBuf,
    address: SocketAddr,
    handle: Handle,
    serving: JoinHandle<()>,
}

impl Scene {
    async fn start(operators: bool, tls: Option<net::Tls>) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let home = std::env::temp_dir().join(format!("rpcctl-server-{}-{count}", std::process::id()));
        fs::create_dir(&home).unwrap();
        let store = Arc::new(EmbeddedStore::open(home.join("store")).unwrap());
        let issuer = TrustedIssuer::new(ISSUER, AUDIENCE).key(Key::hs256(SECRET).unwrap());
        let mut builder = Server::builder()
            .authenticate(JwtAuthenticator::new(issuer).unwrap())
            .store(Arc::clone(&store))
            .service(VaultServer::new(Vault::open(&home.join("notes")).unwrap()));
        if operators {
            builder = builder.operations(Backups::new(store, home.join("backups")).unwrap());
        }
        if let Some(tls) = tls {
            builder = builder.tls(tls);
        }
        let server = builder.bind("127.0.0.1:0").await.unwrap();
        let (address, handle) = (server.local_addr(), server.handle());
        let serving = tokio::spawn(async move {
            server.serve().await.unwrap();
        });
        let scene = Self { home, address, handle, serving };
        scene.write_token("token", &["session.admin"], 0o600);
        scene
    }

    fn write_token(&self, file: &str, scopes: &[&str], mode: u32) -> String {
        let issuer = JwtIssuer::hs256(SECRET, ISSUER, AUDIENCE).unwrap();
        let token = issuer.token("olga", scopes, Duration::from_secs(600)).unwrap();
        let path = self.home.join(file);
        fs::write(&path, format!("{token}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        token
    }

    fn token(&self) -> String {
        fs::read_to_string(self.home.join("token")).unwrap().trim().to_owned()
    }

    /// Runs `rpcctl store COMMAND --server URL --token-file FILE …`, in the directory of the scene.
    async fn at(&self, url: &str, file: &str, command: &str, more: &[&str]) -> Output {
        let output = Command::new(env!("CARGO_BIN_EXE_rpcctl"))
            .args(["store", command, "--server", url, "--token-file", file])
            .args(more)
            .current_dir(&self.home)
            .output();
        let output = timeout(Duration::from_secs(60), output).await.expect("it ends").unwrap();
        let printed = format!("{}{}", text(&output.stdout), text(&output.stderr));
        assert!(!printed.contains(&self.token()), "it prints the token");
        output
    }

    async fn ask(&self, command: &str, more: &[&str]) -> Output {
        self.at(&format!("http://{}", self.address), "token", command, more).await
    }

    async fn stop(self) {
        self.handle.drain(Duration::from_secs(10));
        timeout(Duration::from_secs(30), self.serving).await.expect("it drains").unwrap();
        fs::remove_dir_all(&self.home).unwrap();
    }
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[track_caller]
fn succeeds(output: &Output) -> &str {
    assert_eq!(output.status.code(), Some(0), "{}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

/// The command was run with `--json`.
#[track_caller]
fn fails(output: &Output, code: i32, kind: &str, reason: Option<&str>) {
    assert_eq!(output.status.code(), Some(code), "{}", text(&output.stderr));
    let object: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(object["error"]["kind"], kind, "{object}");
    assert_eq!(object["error"]["reason"].as_str(), reason, "{object}");
    assert_eq!(text(&output.stderr).lines().count(), 1, "{}", text(&output.stderr));
}

//= test A-27
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_at_work_is_copied_and_counted() {
    let scene = Scene::start(true, None).await;
    let (stop, stopped) = watch::channel(false);
    let (answered, mut answers) = watch::channel(0);
    let mut tasks = JoinSet::new();
    let mut sessions = Vec::new();
    for index in 0..SESSIONS {
        let session = caller::open(scene.address, &format!("caller-{index}")).await.unwrap();
        let name = format!("{index}");
        tasks.spawn(caller::call_until(stopped.clone(), answered.clone(), session.clone(), name, index));
        sessions.push(session);
    }
    let before = Entry { id: "before".into(), ..Entry::default() };
    Client::new(sessions[0].clone()).book(before).await.unwrap();
    answers.wait_for(|answers| *answers >= 20).await.unwrap();

    let made = scene.ask("backup", &["monday", "--json"]).await;
    let made: Value = serde_json::from_str(succeeds(&made)).unwrap();
    assert_eq!((&made["to"], &made["contents"]["sessions_live"]), (&"monday".into(), &SESSIONS.into()));
    let already = *answers.borrow_and_update();
    timeout(Duration::from_secs(30), answers.wait_for(|answers| *answers >= already + 20))
        .await
        .unwrap()
        .unwrap();

    let counted = scene.ask("stats", &[]).await;
    let counted = succeeds(&counted);
    for expected in [
        "server       http://127.0.0.1:",
        "sessions     3 live",
        "syncs        ",
        "batches      ",
        "state        open\n",
    ] {
        assert!(counted.contains(expected), "{counted}");
    }
    let counted = scene.ask("stats", &["--json"]).await;
    let counted: Value = serde_json::from_str(succeeds(&counted)).unwrap();
    assert!(counted["since_open"]["syncs"].as_u64() > Some(20), "{counted}");
    let again = scene.ask("backup", &["monday", "--json"]).await;
    fails(&again, 4, "exists", Some("BACKUP_EXISTS"));

    stop.send_replace(true);
    tasks.join_all().await;
    for session in sessions {
        session.release().await.unwrap();
    }
    let copy = scene.home.join("backups/monday");
    let checked = Command::new(env!("CARGO_BIN_EXE_rpcctl"))
        .args(["store", "check", "--json"])
        .arg(&copy)
        .output()
        .await
        .unwrap();
    let checked: Value = serde_json::from_str(succeeds(&checked)).unwrap();
    assert_eq!((&checked["sound"], &checked["store"]), (&true.into(), &made["store"]));
    assert_eq!(checked["contents"], made["contents"]);
    let copy = EmbeddedStore::open_existing(&copy).unwrap();
    assert_eq!(copy.scan(None, usize::MAX).unwrap().len() as u64, SESSIONS);
    assert_eq!(copy.get(b"id/before").unwrap().unwrap().value[..], 1_u64.to_be_bytes());
    drop(copy);
    scene.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_refused_is_explained() {
    let scene = Scene::start(true, None).await;
    let url = format!("http://{}", scene.address);
    scene.write_token("clerk", &["ledger.write"], 0o600);
    scene.write_token("open", &["session.admin"], 0o644);
    fs::write(scene.home.join("empty"), "\n").unwrap();
    fs::set_permissions(scene.home.join("empty"), fs::Permissions::from_mode(0o400)).unwrap();
    for command in [&["stats", "--json"][..], &["backup", "a", "--json"]] {
        let (command, more) = command.split_first().unwrap();
        let refused = scene.at(&url, "clerk", command, more).await;
        fails(&refused, 7, "refused", Some("SCOPE_MISSING"));
        for file in ["open", "empty", "missing"] {
            fails(&scene.at(&url, file, command, more).await, 2, "token-file", None);
        }
        let far = scene.at("http://ledger.example:1", "token", command, more).await;
        fails(&far, 2, "arguments", None);
        let closed = scene.at("http://127.0.0.1:1", "token", command, more).await;
        fails(&closed, 7, "unreachable", None);
    }
    for name in ["../x", "..", ".x", "a/b", "/tmp/x"] {
        fails(&scene.ask("backup", &[name, "--json"]).await, 2, "arguments", None);
    }
    let made: Vec<_> = fs::read_dir(scene.home.join("backups")).unwrap().collect();
    assert!(made.is_empty(), "{made:?}");
    // Two places for the store, or none, are mistakes.
    for more in [&["a", "b"][..], &[]] {
        assert_eq!(scene.ask("backup", more).await.status.code(), Some(2));
    }
    assert_eq!(scene.ask("stats", &["a"]).await.status.code(), Some(2));
    scene.stop().await;

    let off = Scene::start(false, None).await;
    fails(&off.ask("stats", &["--json"]).await, 7, "refused", Some("METHOD_UNKNOWN"));
    off.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_is_known_by_its_certificate() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let tls = net::Tls::from_pem(certificate.as_bytes(), key.as_bytes(), &net::ClientCertificates::NotAsked)
        .unwrap();
    let scene = Scene::start(true, Some(tls)).await;
    fs::write(scene.home.join("ca.pem"), &certificate).unwrap();
    let url = format!("localhost:{}", scene.address.port());
    let counted = scene.at(&url, "token", "stats", &["--ca-file", "ca.pem"]).await;
    assert!(succeeds(&counted).contains("sessions     0 live"));
    let stranger = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap().cert.pem();
    fs::write(scene.home.join("other.pem"), stranger).unwrap();
    let refused = scene.at(&url, "token", "stats", &["--ca-file", "other.pem", "--json"]).await;
    fails(&refused, 7, "unreachable", None);
    assert!(text(&refused.stderr).contains("TLS"), "{}", text(&refused.stderr));
    let nothing = scene.at(&url, "token", "stats", &["--ca-file", "token", "--json"]).await;
    fails(&nothing, 2, "tls", None);
    scene.stop().await;
}
