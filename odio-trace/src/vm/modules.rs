//! # Kernel modules
//!
//! The package has no modules.dep (depmod makes it when a kernel is
//! installed), so dependencies are read from the modules themselves.

use std::{
    collections::HashMap,
    fs::{self, File},
    io::Read as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, bail};
use flate2::read::GzDecoder;

use super::{Error, host};

/// The modules to load for `wanted`, each after those it depends on. What the
/// kernel has built in is left out. What a module asks for by an alias, as for
/// a cipher, is not looked for.
pub(crate) fn closure(
    root: &Path,
    files: &[PathBuf],
    wanted: &[&str],
) -> anyhow::Result<Vec<PathBuf>> {
    let modules: HashMap<String, &PathBuf> = files
        .iter()
        .filter_map(|path| Some((module_name(path)?, path)))
        .collect();
    let builtin = files
        .iter()
        .find(|path| path.ends_with("modules.builtin"))
        .context("the kernel package has no modules.builtin")?;
    let builtin: Vec<String> = fs::read_to_string(root.join(builtin))?
        .lines()
        .filter_map(|line| module_name(Path::new(line)))
        .collect();

    let mut order = Vec::new();
    for name in wanted {
        visit(name, &mut order, &mut |name| {
            if builtin.iter().any(|other| other == name) {
                return Ok(None);
            }
            let path = modules.get(name).ok_or_else(|| Error::NoModule {
                name: name.to_owned(),
            })?;
            let image = read(&root.join(path))?;
            Ok(Some(((*path).clone(), dependencies(&image))))
        })?;
    }
    Ok(order)
}

/// Where a module lies and what it depends on; `None` for a built-in one.
type Found = Option<(PathBuf, Vec<String>)>;

fn visit(
    name: &str,
    order: &mut Vec<PathBuf>,
    find: &mut dyn FnMut(&str) -> anyhow::Result<Found>,
) -> anyhow::Result<()> {
    let Some((path, dependencies)) = find(name)? else {
        return Ok(());
    };
    if order.contains(&path) {
        return Ok(());
    }
    for dependency in dependencies {
        visit(&dependency, order, find)?;
    }
    order.push(path);
    Ok(())
}

/// A module, uncompressed.
pub(crate) fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    match path.extension().and_then(|e| e.to_str()) {
        Some("ko") => Ok(fs::read(path)?),
        Some(kind @ ("xz" | "zst")) => {
            let tool = if kind == "xz" { "xz" } else { "zstd" };
            let output = Command::new(host::tool(tool)?)
                .arg("-dc")
                .arg(path)
                .output()?;
            if !output.status.success() {
                bail!("{tool} cannot read {}", path.display());
            }
            Ok(output.stdout)
        }
        Some("gz") => {
            let mut module = Vec::new();
            GzDecoder::new(File::open(path)?).read_to_end(&mut module)?;
            Ok(module)
        }
        _ => bail!("{} is compressed in an unknown way", path.display()),
    }
}

/// `kernel/drivers/nvme-core.ko.xz` is `nvme_core`.
pub(crate) fn module_name(path: &Path) -> Option<String> {
    let file = path.file_name()?.to_str()?;
    let (name, _) = file.split_once(".ko")?;
    Some(name.replace('-', "_"))
}

/// What a module says of itself.
fn tag(module: &[u8], name: &str) -> Option<String> {
    module
        .split(|&byte| byte == 0)
        .find_map(|string| string.strip_prefix(name.as_bytes())?.strip_prefix(b"="))
        .map(|text| String::from_utf8_lossy(text).into_owned())
}

/// The kernel that a module was built with.
pub(crate) fn release(module: &[u8]) -> Option<String> {
    let vermagic = tag(module, "vermagic")?;
    vermagic.split(' ').next().map(str::to_owned)
}

pub(crate) fn dependencies(module: &[u8]) -> Vec<String> {
    tag(module, "depends")
        .unwrap_or_default()
        .split(',')
        .filter(|name| !name.is_empty())
        .map(|name| name.replace('-', "_"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(modules: &[(&str, &str)], builtin: &str) -> (tempfile::TempDir, Vec<PathBuf>) {
        let root = tempfile::tempdir().unwrap();
        let mut files = vec![PathBuf::from("modules.builtin")];
        fs::write(root.path().join("modules.builtin"), builtin).unwrap();
        for (name, depends) in modules {
            let content = format!("ELF\0license=GPL\0depends={depends}\0name=x\0");
            fs::write(root.path().join(name), content).unwrap();
            files.push(name.into());
        }
        (root, files)
    }

    #[test]
    fn dependencies_come_first_and_once() {
        let (root, files) = package(
            &[
                ("virtio_console.ko", "virtio,virtio_ring"),
                ("virtio-pci.ko", "virtio_ring,virtio"),
                ("virtio_ring.ko", "virtio"),
                ("virtio.ko", ""),
            ],
            "",
        );
        let order = closure(root.path(), &files, &["virtio_pci", "virtio_console"]).unwrap();
        assert_eq!(
            order,
            [
                "virtio.ko",
                "virtio_ring.ko",
                "virtio-pci.ko",
                "virtio_console.ko"
            ]
            .map(PathBuf::from)
        );
    }

    #[test]
    fn what_is_built_in_needs_no_file() {
        let (root, files) = package(&[("a.ko", "ext4")], "kernel/fs/ext4/ext4.ko\n");
        assert_eq!(
            closure(root.path(), &files, &["ext4", "a"]).unwrap(),
            [PathBuf::from("a.ko")]
        );
    }

    #[test]
    fn a_module_that_is_nowhere_is_named() {
        let (root, files) = package(&[("a.ko", "b")], "");
        let error = closure(root.path(), &files, &["a"]).unwrap_err();
        assert!(error.to_string().contains("no module b"), "{error}");
    }
}
