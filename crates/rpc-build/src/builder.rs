//! What a build script calls.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

use prost_build::Config;

use crate::{
    embedded,
    error::Error,
    frame_field,
    generator::{Generator, Stubs},
    location::Locator,
    service, source,
};

/// Where the messages of `.session.v1` are in Rust, for files that use them.
const SESSION_RUST_PATH: &str = "::rpc_proto::pb::session::v1";

/// Compiles `protos`, which lie in `includes`, with all defaults of [`Builder`].
///
/// Paths are relative to the manifest of the crate that is being built.
///
/// # Errors
///
/// See [`Builder::compile`].
pub fn compile(protos: &[impl AsRef<Path>], includes: &[impl AsRef<Path>]) -> Result<(), Error> {
    configure().compile(protos, includes)
}

/// A [`Builder`] with all defaults.
pub fn configure() -> Builder {
    Builder {
        out_dir: None,
        client: true,
        server: true,
        transport: false,
        policy_path: "::rpc_core::policy".to_owned(),
        codec_path: None,
        extern_paths: Vec::new(),
        file_descriptor_set_path: None,
        rerun_if_changed: env::var_os("CARGO").is_some(),
    }
}

/// How code is generated. Made by [`configure`].
#[derive(Debug, Clone)]
#[must_use = "nothing is generated until `compile` is called"]
pub struct Builder {
    out_dir: Option<PathBuf>,
    client: bool,
    server: bool,
    transport: bool,
    policy_path: String,
    codec_path: Option<String>,
    extern_paths: Vec<(String, String)>,
    file_descriptor_set_path: Option<PathBuf>,
    rerun_if_changed: bool,
}

impl Builder {
    /// Where the code goes. Default: the variable `OUT_DIR`, where `tonic::include_proto!` looks for it.
    pub fn out_dir(self, directory: impl Into<PathBuf>) -> Self {
        Self { out_dir: Some(directory.into()), ..self }
    }

    /// Whether clients are generated. Default: yes.
    pub fn build_client(self, build: bool) -> Self {
        Self { client: build, ..self }
    }

    /// Whether servers are generated. Default: yes.
    pub fn build_server(self, build: bool) -> Self {
        Self { server: build, ..self }
    }

    /// Whether clients get `connect`, which needs tonic's feature `transport`. Default: no, since a session is the
    /// channel.
    pub fn build_transport(self, build: bool) -> Self {
        Self { transport: build, ..self }
    }

    /// Path by which generated code reaches the policy types. Default: `::rpc_core::policy`; crates that do not depend
    /// on `rpc-core` say `::rpc_client::policy` or `::rpc_server::policy`.
    pub fn policy_path(self, path: impl Into<String>) -> Self {
        Self { policy_path: path.into(), ..self }
    }

    /// Path of the type that encodes and decodes messages: a [`Codec`] of any two of them, with a `Default`. Default:
    /// that of tonic-prost, whose two buffers have 8 KiB each, for as long as a stream is open.
    ///
    /// [`Codec`]: https://docs.rs/tonic/0.14/tonic/codec/trait.Codec.html
    pub fn codec_path(self, path: impl Into<String>) -> Self {
        Self { codec_path: Some(path.into()), ..self }
    }

    /// Takes the messages of a protobuf package or the message `proto` (with a leading dot) from the Rust path `rust`
    /// instead of generating them. `.session.v1` is taken from `::rpc_proto::pb::session::v1` unless named here.
    pub fn extern_path(mut self, proto: impl Into<String>, rust: impl Into<String>) -> Self {
        self.extern_paths.push((proto.into(), rust.into()));
        self
    }

    /// Where the encoded descriptor set goes. Default: `session_descriptor.bin` in the output directory, which
    /// `tonic::include_file_descriptor_set!("session_descriptor")` includes.
    ///
    /// A build script that compiles more than once names a file for each, or the last one stays.
    pub fn file_descriptor_set_path(self, path: impl Into<PathBuf>) -> Self {
        Self { file_descriptor_set_path: Some(path.into()), ..self }
    }

    /// Whether cargo is told to run the build script again when one of the files changes, imports included.
    /// Default: yes under cargo.
    pub fn emit_rerun_if_changed(self, emit: bool) -> Self {
        Self { rerun_if_changed: emit, ..self }
    }

    /// Compiles `protos`, which lie in `includes`: one Rust file for each package, and the descriptor set.
    ///
    /// # Errors
    ///
    /// - [`Error::Proto`]: a file is missing or wrong, or names an option that does not exist; the first such mistake.
    /// - [`Error::Options`]: session options contradict each other, all of them. Nothing was written.
    /// - [`Error::NoOutDir`], [`Error::Write`], [`Error::Generate`]: there is no place to write to, or an extern path
    ///   is not a path.
    pub fn compile(&self, protos: &[impl AsRef<Path>], includes: &[impl AsRef<Path>]) -> Result<(), Error> {
        self.compile_with_config(Config::new(), protos, includes)
    }

    /// Like [`compile`](Self::compile), with more to say about messages: `bytes`, attributes, boxed fields. The service
    /// generator and the output directory of `config` are replaced.
    ///
    /// # Errors
    ///
    /// Those of [`compile`](Self::compile).
    pub fn compile_with_config(
        &self,
        mut config: Config,
        protos: &[impl AsRef<Path>],
        includes: &[impl AsRef<Path>],
    ) -> Result<(), Error> {
        let out_dir = self.output_directory()?;
        let protos: Vec<_> = protos.iter().map(AsRef::as_ref).collect();
        let includes: Vec<_> = includes.iter().map(AsRef::as_ref).collect();

        let sources = source::read(&protos, &includes)?;
        if self.rerun_if_changed {
            tell_cargo(sources.paths.values());
        }
        let locator = Locator::new(sources.paths);
        let mut problems = frame_field::check(&sources.pool, &locator);
        let tables = service::resolve(&sources.pool, &locator).unwrap_or_else(|more| {
            problems.extend(more);
            Vec::new()
        });
        if !problems.is_empty() {
            return Err(Error::Options(problems));
        }

        let set =
            self.file_descriptor_set_path.clone().unwrap_or_else(|| out_dir.join("session_descriptor.bin"));
        write_if_changed(&set, &sources.encoded).map_err(|source| Error::Write { path: set, source })?;
        self.extern_paths_for(sources.session_itself).into_iter().for_each(|(proto, rust)| {
            config.extern_path(proto, rust);
        });
        config.out_dir(&out_dir).service_generator(Box::new(Generator::new(self.stubs(), tables)));
        config.compile_fds(sources.files).map_err(|source| Error::Generate { path: out_dir, source })
    }

    fn output_directory(&self) -> Result<PathBuf, Error> {
        let from_cargo = || env::var_os("OUT_DIR").map(PathBuf::from);
        self.out_dir.clone().or_else(from_cargo).ok_or(Error::NoOutDir)
    }

    fn stubs(&self) -> Stubs {
        Stubs {
            client: self.client,
            server: self.server,
            transport: self.transport,
            policy_path: self.policy_path.clone(),
            codec_path: self.codec_path.clone(),
        }
    }

    fn extern_paths_for(&self, session_itself: bool) -> Vec<(String, String)> {
        let session = format!(".{}", embedded::PACKAGE);
        let mut paths = self.extern_paths.clone();
        if !session_itself && paths.iter().all(|(proto, _)| *proto != session) {
            paths.push((session, SESSION_RUST_PATH.to_owned()));
        }
        paths
    }
}

/// A build script speaks to cargo through its standard output.
#[expect(clippy::print_stdout, reason = "this is cargo's interface to build scripts")]
fn tell_cargo<'a>(paths: impl Iterator<Item = &'a PathBuf>) {
    for path in paths {
        println!("cargo:rerun-if-changed={}", path.display());
    }
}

/// Leaves the file alone if it is the same, so that what includes it is not compiled again.
fn write_if_changed(path: &Path, content: &[u8]) -> io::Result<()> {
    if fs::read(path).is_ok_and(|old| old == content) {
        return Ok(());
    }
    fs::write(path, content)
}
