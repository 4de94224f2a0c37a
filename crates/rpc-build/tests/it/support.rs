//! A directory of `.proto` files for one test, and what the builder makes of it.

use std::{fs, path::PathBuf};

use rpc_build::{Builder, Error};

/// Files below `proto/`, code below `out/`.
pub(crate) struct Workspace {
    root: PathBuf,
    protos: Vec<PathBuf>,
}

impl Workspace {
    /// An empty workspace. `name` must be unique among all tests, since they run at the same time.
    pub(crate) fn new(name: &str) -> Self {
        let root = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("rpc-build-{name}"));
        // The directory of an earlier run is there or is not.
        let _ = fs::remove_dir_all(&root);
        fs::create_dir_all(root.join("proto")).unwrap();
        fs::create_dir_all(root.join("out")).unwrap();
        Self { root, protos: Vec::new() }
    }

    /// Adds a file that is compiled.
    pub(crate) fn proto(mut self, name: &str, text: &str) -> Self {
        self.write(name, text);
        self.protos.push(self.include().join(name));
        self
    }

    /// Adds a file that others import.
    pub(crate) fn import(self, name: &str, text: &str) -> Self {
        self.write(name, text);
        self
    }

    pub(crate) fn include(&self) -> PathBuf {
        self.root.join("proto")
    }

    pub(crate) fn out(&self) -> PathBuf {
        self.root.join("out")
    }

    pub(crate) fn protos(&self) -> &[PathBuf] {
        &self.protos
    }

    pub(crate) fn builder(&self) -> Builder {
        rpc_build::configure().out_dir(self.out()).emit_rerun_if_changed(false)
    }

    pub(crate) fn compile(&self) -> Result<(), Error> {
        self.builder().compile(&self.protos, &[self.include()])
    }

    /// Why it does not compile, without the path of this workspace.
    #[track_caller]
    pub(crate) fn error(&self) -> String {
        let error = self.compile().expect_err("this must not compile");
        let text = format!("{error:?}");
        assert!(!self.out().join("session_descriptor.bin").exists(), "nothing is written after an error");
        text.replace(&format!("{}/", self.include().display()), "")
    }

    /// A file of the output.
    #[track_caller]
    pub(crate) fn code(&self, file: &str) -> String {
        fs::read_to_string(self.out().join(file)).unwrap()
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.include().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}
