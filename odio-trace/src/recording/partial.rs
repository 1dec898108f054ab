//! A file that is there whole, or under another name.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

/// A file being written beside the one it will be.
pub(crate) struct Partial {
    path: PathBuf,
    partial: PathBuf,
    file: File,
    /// What is there of it goes away with this.
    removed: bool,
}

impl Partial {
    /// Creates `path.partial`. One that is there belongs to another writer, or is what a killed one left: an error.
    ///
    /// It goes away again, should it never be finished, unless it is to be kept.
    pub(crate) fn create(path: &Path) -> Result<Self> {
        let mut name = OsString::from(
            path.file_name()
                .with_context(|| format!("{} names no file", path.display()))?,
        );
        name.push(".partial");
        let partial = path.with_file_name(name);
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&partial)
            .map_err(|error| match error.kind() {
                io::ErrorKind::AlreadyExists => anyhow::anyhow!(
                    "{} exists: it is being written, or was cut off; remove it, or choose another name",
                    partial.display()
                ),
                _ => anyhow::Error::new(error).context(partial.display().to_string()),
            })?;
        Ok(Self {
            path: path.to_owned(),
            partial,
            file,
            removed: true,
        })
    }

    /// What is written stays where it is, finished or not.
    pub(crate) fn keep(&mut self) {
        self.removed = false;
    }

    /// Makes it durable and gives it its name, in place of what had that.
    pub(crate) fn finish(mut self) -> Result<()> {
        let finish = || -> io::Result<()> {
            self.file.sync_all()?;
            fs::rename(&self.partial, &self.path)?;
            let dir = match self.path.parent() {
                Some(dir) if !dir.as_os_str().is_empty() => dir,
                _ => Path::new("."),
            };
            File::open(dir)?.sync_all()
        };
        finish().with_context(|| self.path.display().to_string())?;
        self.removed = false;
        Ok(())
    }
}

impl io::Write for Partial {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if self.removed {
            // It was for nobody to see; that it stays harms nobody.
            let _ = fs::remove_file(&self.partial);
        }
    }
}
