//! Writes the generated files that are checked in, or with `--check` says which of them are stale.
//!
//! ```text
//! cargo run -p rpc-build --bin generate-proto             # after a change in proto/session
//! cargo run -p rpc-build --bin generate-proto -- --check  # exit status 1 if that was forgotten
//! ```
//!
//! All come from `proto/session/v1/*.proto`, the only source: the code and the descriptor set of `rpc-proto`, the Rust
//! types of the options for `rpc-build`, and the copies of the files that `rpc-build` serves from memory.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program that speaks to people")]

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process::ExitCode,
};

const FILES: [&str; 5] = [
    "session/v1/options.proto",
    "session/v1/session.proto",
    "session/v1/error.proto",
    "session/v1/frame.proto",
    "session/v1/admin.proto",
];

/// Messages whose `Debug` is written by hand in `rpc-proto`, since they hold tickets or what users sent.
const HAND_WRITTEN_DEBUG: [&str; 10] = [
    ".session.v1.OpenResponse",
    ".session.v1.RenewResponse",
    ".session.v1.Reply",
    ".session.v1.ControlFrame.Head.Entry",
    ".session.v1.ControlFrame.Sync",
    ".session.v1.ControlFrame.SyncAck",
    ".session.v1.ControlFrame.Dialog",
    ".session.v1.ControlFrame.Exception",
    ".session.v1.ControlFrame.Resync",
    ".session.v1.ControlFrame.ResyncAck",
];

/// A file of the repository, by its path from the root, and what it must hold.
struct Generated {
    path: String,
    content: Vec<u8>,
}

fn main() -> ExitCode {
    let check = match env::args().nth(1).as_deref() {
        None => false,
        Some("--check") => true,
        Some(other) => {
            eprintln!("unknown argument {other}; the only one is --check");
            return ExitCode::from(2);
        }
    };
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let scratch = env::temp_dir().join(format!("generate-proto-{}", std::process::id()));
    let generated = generate(&root, &scratch);
    // Nothing is lost if the scratch directory stays.
    let _ = fs::remove_dir_all(&scratch);
    let result = generated.and_then(|files| if check { stale(&root, &files) } else { write(&root, &files) });
    match result {
        Ok(stale) if stale.is_empty() => ExitCode::SUCCESS,
        Ok(stale) => {
            for path in stale {
                eprintln!(
                    "{path} is stale: run `cargo run -p rpc-build --bin generate-proto` and commit the result"
                );
            }
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// All files, in memory.
fn generate(root: &Path, scratch: &Path) -> Result<Vec<Generated>, Box<dyn std::error::Error>> {
    let proto = root.join("proto");
    let paths: Vec<PathBuf> = FILES.iter().map(|file| proto.join(file)).collect();

    let messages = scratch.join("messages");
    fs::create_dir_all(&messages)?;
    let mut config = rpc_build::Config::new();
    config.bytes(["."]).skip_debug(HAND_WRITTEN_DEBUG);
    let quiet = rpc_build::configure().emit_rerun_if_changed(false);
    let code = quiet.clone().out_dir(&messages).codec_path("crate::codec::SmallCodec");
    code.compile_with_config(config, &paths, &[&proto])?;

    let options = scratch.join("options");
    fs::create_dir_all(&options)?;
    quiet.out_dir(&options).compile(&paths[..1], &[&proto])?;

    let mut generated = vec![
        rust_file("proto/src/gen/session.v1.rs", &messages.join("session.v1.rs"))?,
        Generated {
            path: "proto/src/gen/session_v1_descriptor.bin".to_owned(),
            content: fs::read(messages.join("session_descriptor.bin"))?,
        },
        rust_file("crates/rpc-build/src/gen/session.v1.rs", &options.join("session.v1.rs"))?,
    ];
    for file in FILES {
        let path = format!("crates/rpc-build/src/embedded/{file}");
        generated.push(Generated { path, content: fs::read(proto.join(file))? });
    }
    Ok(generated)
}

/// Generated Rust, without the lines of doc comments that speak to buf.
fn rust_file(path: &str, from: &Path) -> io::Result<Generated> {
    let code = fs::read_to_string(from)?;
    let content: String = code.split_inclusive('\n').filter(|line| !line.contains("buf:lint:")).collect();
    Ok(Generated { path: path.to_owned(), content: content.into_bytes() })
}

/// The paths of the files that are not what they must be.
fn stale(root: &Path, files: &[Generated]) -> Result<Vec<String>, Box<dyn std::error::Error>> {
    let fresh =
        |file: &&Generated| fs::read(root.join(&file.path)).is_ok_and(|content| content == file.content);
    Ok(files.iter().filter(|file| !fresh(file)).map(|file| file.path.clone()).collect())
}

/// Writes all files; nothing is stale afterwards.
fn write(root: &Path, files: &[Generated]) -> Result<Vec<String>, Box<dyn std::error::Error>> {
    for file in files {
        let path = root.join(&file.path);
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        fs::write(path, &file.content)?;
        println!("wrote {}", file.path);
    }
    Ok(Vec::new())
}
