//! Reads `.proto` files and everything that they import.

use std::path::{Path, PathBuf};

use miette::Diagnostic;
use prost_reflect::DescriptorPool;
use prost_types::{FileDescriptorProto, FileDescriptorSet};
use protox::file::{ChainFileResolver, GoogleFileResolver, IncludeFileResolver};

use crate::{
    embedded::{self, Embedded},
    error::{Error, Problem},
    location::Paths,
};

const OPTIONS: &str = "session/v1/options.proto";

/// The files of one compilation.
pub(crate) struct Sources {
    /// Everything, custom options included.
    pub(crate) pool: DescriptorPool,
    /// What prost-build generates from: with comments; custom options are lost in these types.
    pub(crate) files: FileDescriptorSet,
    /// For reflection and tools: with custom options and imports, without comments and places, which would triple it.
    pub(crate) encoded: Vec<u8>,
    /// Where the files lie that are not embedded.
    pub(crate) paths: Paths,
    /// The session's own package is to be generated here, instead of being taken from `rpc-proto`.
    pub(crate) session_itself: bool,
}

/// Reads `protos`, looking for imports in `includes`, then among the session's own files and protobuf's.
pub(crate) fn read(protos: &[&Path], includes: &[&Path]) -> Result<Sources, Error> {
    let mut resolver = ChainFileResolver::new();
    for include in includes {
        resolver.add(IncludeFileResolver::new(include.to_path_buf()));
    }
    resolver.add(Embedded);
    resolver.add(GoogleFileResolver::new());

    let mut compiler = protox::Compiler::with_file_resolver(resolver);
    compiler.include_imports(true).include_source_info(true);
    for proto in protos {
        compiler.open_file(proto).map_err(|error| Error::Proto(problem(&error, includes)))?;
    }

    let pool = compiler.descriptor_pool();
    let session_itself =
        compiler.files().any(|file| !file.is_import() && in_session_package(&pool, file.name()));
    let paths = compiler
        .files()
        .filter_map(|file| Some((file.name().to_owned(), file.path()?.to_path_buf())))
        .collect::<Paths>();
    if !session_itself {
        check_options_version(&pool, &paths)?;
    }
    let mut files = compiler.file_descriptor_set();
    if !session_itself {
        // Their messages come from `rpc-proto`; a second set of stubs beside them would only confuse.
        files
            .file
            .iter_mut()
            .filter(|file| file.package() == embedded::PACKAGE)
            .for_each(|file| file.service.clear());
    }
    let encoded = compiler.include_source_info(false).encode_file_descriptor_set();
    Ok(Sources { pool, files, encoded, paths, session_itself })
}

fn in_session_package(pool: &DescriptorPool, file: &str) -> bool {
    pool.get_file_by_name(file).is_some_and(|file| file.package_name() == embedded::PACKAGE)
}

/// A copy of the options file in an include directory must say the same as the embedded one: an option that this
/// version does not know would be dropped without a word.
fn check_options_version(pool: &DescriptorPool, paths: &Paths) -> Result<(), Error> {
    let (Some(found), Some(path)) = (pool.get_file_by_name(OPTIONS), paths.get(OPTIONS)) else {
        return Ok(());
    };
    let mut resolver = ChainFileResolver::new();
    resolver.add(Embedded);
    resolver.add(GoogleFileResolver::new());
    let mut compiler = protox::Compiler::with_file_resolver(resolver);
    compiler.open_file(OPTIONS).map_err(|error| Error::Proto(problem(&error, &[])))?;
    let known = compiler.include_source_info(false).file_descriptor_set();

    // Without places and comments, which a copy may have in its own way.
    let found = FileDescriptorProto { source_code_info: None, ..found.file_descriptor_proto().clone() };
    if known.file.contains(&found) {
        return Ok(());
    }
    Err(Error::Proto(Problem {
        file: path.display().to_string(),
        position: None,
        message: "this copy differs from the file that this version of rpc-build knows; \
                  remove it, the file is served from memory"
            .to_owned(),
    }))
}

/// What the parser or the linker says, with the place that it knows.
fn problem(error: &protox::Error, includes: &[&Path]) -> Problem {
    let file = error.file().unwrap_or_default();
    // Only `Debug` tells line and column: `bank.proto:3:5: name 'Bar' is not defined`.
    let text = format!("{error:?}");
    let position = text.strip_prefix(file).and_then(|rest| rest.strip_prefix(':')).and_then(leading_position);
    let mut message = error.to_string();
    // The reason why an option's value does not fit its type is a diagnostic, not a `source`.
    if let Some(reason) = error.diagnostic_source() {
        message = format!("{message}: {reason}");
    }
    Problem { file: on_disk(file, includes), position, message }
}

/// `3:5: …` → (3, 5)
fn leading_position(text: &str) -> Option<(usize, usize)> {
    let (line, rest) = text.split_once(':')?;
    let (column, _) = rest.split_once(':')?;
    Some((line.parse().ok()?, column.parse().ok()?))
}

/// The path of an import name; the name itself if no include directory has it.
fn on_disk(name: &str, includes: &[&Path]) -> String {
    let path: Option<PathBuf> = includes.iter().map(|include| include.join(name)).find(|path| path.is_file());
    path.map_or_else(|| name.to_owned(), |path| path.display().to_string())
}
