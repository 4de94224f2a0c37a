//! `vault DIRECTORY ADDRESS`: serves the vault from the embedded store in that directory until it is killed. Says
//! `serving` when it does.

use std::env;
use std::error::Error;
use std::io::Write as _;
use std::path::PathBuf;

use rpc_crash::pb::vault_server::VaultServer;
use rpc_crash::trust::{AUDIENCE, ISSUER, SECRET};
use rpc_crash::vault::Vault;
use rpc_server::Server;
use rpc_server::auth::{JwtAuthenticator, Key, TrustedIssuer};
use rpc_store::EmbeddedStore;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args_os().skip(1);
    let (Some(directory), Some(address)) = (arguments.next(), arguments.next()) else {
        return Err("usage: vault DIRECTORY ADDRESS".into());
    };
    let directory = PathBuf::from(directory);
    let address = address.into_string().map_err(|_| "the address is no text")?;
    let issuer = TrustedIssuer::new(ISSUER, AUDIENCE).key(Key::hs256(SECRET)?);
    let server = Server::builder()
        .authenticate(JwtAuthenticator::new(issuer)?)
        .store(EmbeddedStore::open(directory.join("store"))?)
        .service(VaultServer::new(Vault::open(&directory.join("notes"))?))
        .bind(address)
        .await?;
    let mut out = std::io::stdout();
    writeln!(out, "serving")?;
    out.flush()?;
    server.serve().await?;
    Ok(())
}
