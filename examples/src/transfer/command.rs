//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use super::bar::{Audience, say};
use super::client::Way;
use super::demonstration;
use super::failure::Failure;
use super::get::{Getting, get};
use super::key::Key;
use super::list::list;
use super::send::{Sending, send};
use super::serve::{Serving, serve};

const URI: &str = "http://127.0.0.1:50051";

/// Sends files to an archive and fetches them, and goes on where it was whatever happens on the way.
///
/// Without a command: a demonstration, which needs nothing and leaves nothing behind.
#[derive(Debug, Parser)]
#[command(version)]
pub struct Command {
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Keeps an archive in a directory.
    Serve {
        /// Where the files are. What the server remembers of its callers is beside it, in DIR.store.
        #[arg(long, default_value = "archive")]
        dir: PathBuf,
        /// Where to listen; port 0 for any.
        #[arg(long, default_value = "127.0.0.1:50051")]
        listen: String,
        #[command(flatten)]
        key: KeyFile,
        /// End when standard input does.
        #[arg(long, hide = true)]
        until_stdin_closes: bool,
    },
    /// Sends files. After Ctrl-C, a crash or a lost server the same command goes on where it was.
    Send {
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// The archive.
        #[arg(long, env = "TRANSFER_SERVER", default_value = URI, value_name = "URI")]
        to: String,
        /// Its name in the archive, for one file.
        #[arg(long = "as", value_name = "NAME")]
        name: Option<String>,
        #[command(flatten)]
        how: How,
    },
    /// Fetches a file. After Ctrl-C, a crash or a lost server the same command goes on where it was.
    Get {
        name: String,
        /// The archive.
        #[arg(long, env = "TRANSFER_SERVER", default_value = URI, value_name = "URI")]
        from: String,
        /// A file or a directory; the current directory otherwise.
        #[arg(short, long, value_name = "PATH")]
        output: Option<PathBuf>,
        #[command(flatten)]
        how: How,
    },
    /// Names the files that are there.
    Ls {
        /// The archive.
        #[arg(long, env = "TRANSFER_SERVER", default_value = URI, value_name = "URI")]
        from: String,
        #[command(flatten)]
        reach: Reach,
    },
}

#[derive(Debug, Args)]
struct KeyFile {
    /// The file with the key [default: .transfer.key in the home directory]. The server makes one where there is none.
    #[arg(long, env = "TRANSFER_KEY", value_name = "FILE")]
    key: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct Reach {
    #[command(flatten)]
    key: KeyFile,
    /// How long a server is waited for that does not answer [default: 30 to begin with, 600 in the middle].
    #[arg(long, value_name = "SECONDS")]
    wait: Option<u64>,
}

#[derive(Debug, Args)]
struct How {
    /// Take the place of a file that has the name.
    #[arg(long)]
    replace: bool,
    /// Begin anew instead of going on.
    #[arg(long)]
    restart: bool,
    #[command(flatten)]
    reach: Reach,
}

impl Command {
    /// Does it.
    ///
    /// # Errors
    ///
    /// In one sentence.
    pub async fn run(self) -> Result<(), Failure> {
        match self.what {
            None => demonstration::run().await,
            Some(What::Serve { dir, listen, key, until_stdin_closes }) => {
                let path = key.path()?;
                let key = Key::read_or_make(&path)?;
                serve_here(Serving { directory: dir, address: listen, key, until_stdin_closes }, &path).await
            }
            Some(What::Send { files, to, name, how }) => {
                send_all(files, name, &how, &how.reach.way(to)?).await
            }
            Some(What::Get { name, from, output, how }) => {
                let getting = Getting {
                    name,
                    output,
                    replace: how.replace,
                    restart: how.restart,
                    audience: Audience::Stderr,
                };
                let got = how.reach.way(from)?.session(async |session| get(session, &getting).await).await?;
                say(&got);
                Ok(())
            }
            Some(What::Ls { from, reach }) => {
                let show = |file: &crate::archive::File| say(format!("{:>12}  {}", file.size, file.name));
                reach.way(from)?.session(async |session| list(session, show).await).await
            }
        }
    }
}

impl KeyFile {
    fn path(self) -> Result<PathBuf, Failure> {
        self.key.map_or_else(Key::default_path, Ok)
    }
}

impl Reach {
    fn way(&self, uri: String) -> Result<Way, Failure> {
        let path = self.key.key.clone().map_or_else(Key::default_path, Ok)?;
        Ok(Way { uri, key: Key::read(&path)?, wait: self.wait.map(Duration::from_secs) })
    }
}

async fn serve_here(serving: Serving, key: &std::path::Path) -> Result<(), Failure> {
    let directory = serving.directory.display().to_string();
    let report = serve(serving, |address| {
        say(format!("listening on {address}"));
        say(format!("files in {directory}, key in {}", key.display()));
    })
    .await?;
    say(format!("ended: {} connections served", report.served));
    Ok(())
}

async fn send_all(files: Vec<PathBuf>, name: Option<String>, how: &How, way: &Way) -> Result<(), Failure> {
    if files.len() > 1 && name.is_some() {
        return Err(Failure::new("--as names one file, and there are several"));
    }
    way.session(async |session| {
        for path in files {
            let (name, audience) = (name.clone(), Audience::Stderr);
            let sending = Sending { path, name, replace: how.replace, restart: how.restart, audience };
            say(send(session, &sending).await?);
        }
        Ok(())
    })
    .await
}
