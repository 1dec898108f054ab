//! # odio-man: the manual pages of libodio
//!
//! `odio-man REPOSITORY DIRECTORY` writes one page for each function and type of include/odio.h, and libodio(7). The
//! header's comments are the text, so that the two cannot differ; man/libodio.txt has what no comment says.

mod comment;
mod header;
mod page;
mod roff;

use std::path::Path;
use std::{env, fs};

use anyhow::{Context, Result, bail};

use header::Header;
use page::Sources;

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [repository, directory] = arguments.as_slice() else {
        bail!("usage: odio-man REPOSITORY DIRECTORY");
    };
    let (repository, directory) = (Path::new(repository), Path::new(directory));
    let read = |path: &str| {
        let path = repository.join(path);
        fs::read_to_string(&path).with_context(|| path.display().to_string())
    };

    let mut examples = Vec::new();
    for entry in fs::read_dir(repository.join("examples-c"))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.ends_with(".c") {
            examples.push((name, fs::read_to_string(entry.path())?));
        }
    }
    examples.sort();
    let sources = Sources {
        header: Header::read(&read("include/odio.h")?)?,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        versions: versions(&read("odio-ffi/odio.map")?),
        examples,
        overview: read("man/libodio.txt")?,
    };

    // Pages of what is gone must not stay.
    if directory.exists() {
        fs::remove_dir_all(directory).with_context(|| directory.display().to_string())?;
    }
    fs::create_dir_all(directory)?;
    for (name, page) in sources.pages() {
        fs::write(directory.join(name), page)?;
    }
    Ok(())
}

/// The symbol versions of a linker's version script, without "ODIO_", and what each exports.
fn versions(script: &str) -> Vec<(String, Vec<String>)> {
    let nodes = script.split('}');
    nodes
        .filter_map(|node| {
            let (before, inside) = node.split_once('{')?;
            let name = before.split_whitespace().last()?.strip_prefix("ODIO_")?;
            let exported = inside.split_once("global:")?.1;
            let exported = exported.split("local:").next()?;
            let patterns = exported
                .split(';')
                .map(|pattern| pattern.trim().to_owned())
                .filter(|pattern| !pattern.is_empty());
            Some((name.to_owned(), patterns.collect()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_script_says_what_is_new() {
        let script = "/* x */\nODIO_0.1 {\n global: odio_*;\n local: *;\n};\nODIO_0.2 { global: odio_a; odio_b; } ODIO_0.1;\n";
        assert_eq!(
            versions(script),
            [
                ("0.1".to_owned(), vec!["odio_*".to_owned()]),
                (
                    "0.2".to_owned(),
                    vec!["odio_a".to_owned(), "odio_b".to_owned()]
                )
            ]
        );
    }
}
