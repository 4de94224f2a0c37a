//! Names of files in the archive.

use std::fmt;
use std::path::Path;

use super::trouble::Trouble;

/// Longest name, in bytes: with `upload/` before it, it fits the name of an activity.
pub const NAME_BYTES_MAX: usize = 120;

/// The end of a name while its file is on its way.
pub const PART: &str = ".part";

/// A name under which the archive keeps a file: one component of a path, which leads nowhere else.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name(String);

impl Name {
    /// Takes a name.
    ///
    /// # Errors
    ///
    /// [`Trouble::Name`] for one that is empty or longer than [`NAME_BYTES_MAX`], begins with a dot, ends with
    /// `.part`, or has a slash, a backslash or a control character in it.
    pub fn new(name: &str) -> Result<Self, Trouble> {
        let refused = if name.is_empty() {
            "it is empty"
        } else if name.len() > NAME_BYTES_MAX {
            "it is longer than 120 bytes"
        } else if name.starts_with('.') {
            "it begins with a dot"
        } else if name.ends_with(PART) {
            "it ends with .part, as files do that are on their way"
        } else if name.contains(|c: char| matches!(c, '/' | '\\') || c.is_control()) {
            "it has a slash, a backslash or a control character in it"
        } else {
            return Ok(Self(name.to_owned()));
        };
        Err(Trouble::Name(refused))
    }

    /// The last component of a path.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn of(path: &Path) -> Result<Self, Trouble> {
        let last = path.file_name().ok_or(Trouble::Name("the path does not end with one"))?;
        Self::new(last.to_str().ok_or(Trouble::Name("it is not UTF-8"))?)
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name of the file while it is on its way.
    pub fn part(&self) -> String {
        format!("{}{PART}", self.0)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_names_are_taken() {
        for name in
            ["a", "big.iso", "two words.txt", "Übersicht 2026.pdf", "-rf", "a..b", "part", "x.part.gz"]
        {
            assert_eq!(Name::new(name).unwrap().as_str(), name);
        }
        assert_eq!(Name::of(Path::new("/tmp/../etc/x.txt")).unwrap().as_str(), "x.txt");
        assert!(Name::new(&"x".repeat(NAME_BYTES_MAX)).is_ok());
    }

    #[test]
    fn no_name_leads_out_of_the_directory_or_to_a_file_on_its_way() {
        for name in ["", ".", "..", ".hidden", "a/b", "../x", "/etc/passwd", "a\\b", "a\0b", "a\nb", "x.part"]
        {
            assert!(matches!(Name::new(name), Err(Trouble::Name(_))), "{name:?}");
        }
        assert!(Name::new(&"x".repeat(NAME_BYTES_MAX + 1)).is_err());
        assert!(Name::of(Path::new("..")).is_err());
    }
}
