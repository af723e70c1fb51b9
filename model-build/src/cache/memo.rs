//! What was found out about a file, for as long as the file is the same. Kept in the stat index.

use std::path::Path;

use super::stat::settle;
use super::store::Store;
use crate::error::Result;
use crate::fsx;

/// No text that is remembered is longer.
const LONGEST: usize = 200;
/// Stands for a space: words of the index have none.
const SPACE: &str = "\u{1f}";

impl Store {
    /// What `find` says of the file at an absolute path, remembered until the file's length, times
    /// or inode change. `about` tells apart what is asked of one file. A store that cannot be
    /// written, or has lost the answer, asks again.
    ///
    /// # Errors
    /// The file is missing, or those of `find`.
    pub fn remembered(
        &self,
        about: &str,
        path: &Path,
        find: impl FnOnce() -> Result<String>,
    ) -> Result<String> {
        let subject = [about.as_bytes(), b":", path.as_os_str().as_encoded_bytes()].concat();
        let before = fsx::stat(path)?;
        let index = self.stat_index();
        if let Some(word) = index.get_word(&subject, &before) {
            return Ok(word.replace(SPACE, " "));
        }
        let text = find()?;
        let fits = text.len() <= LONGEST && !text.contains(SPACE);
        if fits && settle(&before) && fsx::stat(path)? == before {
            index.put_word(&subject, &before, &text.replace(' ', SPACE));
        }
        Ok(text)
    }
}

#[cfg(test)]
#[cfg(unix)]
#[allow(clippy::disallowed_methods)] // the tests change files behind the store's back
mod tests {
    use super::*;

    #[test]
    fn a_file_is_asked_about_once_until_it_changes() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("store")).unwrap();
        let file = dir.path().join("library");
        std::fs::write(&file, "one").unwrap();
        let mut asked = 0;
        let mut ask = |about: &str, answer: &str| {
            let find = || {
                asked += 1;
                Ok(answer.to_owned())
            };
            let text = store.remembered(about, &file, find).unwrap();
            (text, asked)
        };
        assert_eq!(ask("version", "some 1.2"), ("some 1.2".to_owned(), 1));
        assert_eq!(ask("version", "no"), ("some 1.2".to_owned(), 1));
        assert_eq!(ask("name", ""), (String::new(), 2));
        assert_eq!(ask("name", "no"), (String::new(), 2));
        std::fs::write(&file, "two").unwrap();
        assert_eq!(ask("version", "1.3"), ("1.3".to_owned(), 3));
        let endless = "x".repeat(1000);
        assert_eq!(ask("endless", &endless), (endless.clone(), 4));
        assert_eq!(ask("endless", &endless), (endless.clone(), 5), "too long to be kept");
        std::fs::remove_file(&file).unwrap();
        assert!(store.remembered("version", &file, || Ok(String::new())).is_err());
    }
}
