//! # The kernel to boot
//!
//! Either an image that the user has, or Debian's cloud kernel of a series:
//! downloaded once, kept in the cache folder, and checked on every use.
//!
//! It writes to `$ODIO_CACHE/kernels` only, by default
//! `$XDG_CACHE_HOME/odio/kernels` or `~/.cache/odio/kernels`.

use std::{
    collections::HashSet,
    env,
    ffi::OsStr,
    fs::{self, File},
    io::Read as _,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, anyhow};
use rustix::fs::{FlockOperation, flock};
use tokio::time::sleep;

use super::{
    Error, Spec,
    apt::{self, Lists, Package},
    host,
    modules::{self, module_name},
    progress::Progress,
    spec,
};

/// Checksums of an unpacked package, made when it was unpacked.
const SUMS: &str = "SHA256SUMS";

pub(crate) struct Kernel {
    /// For people: a release, or the path they gave.
    pub(crate) name: String,
    pub(crate) image: PathBuf,
    /// Modules that must be loaded for the VM to work, in this order.
    pub(crate) modules: Vec<Module>,
    /// Words for its command line: parameters of what it has built in.
    pub(crate) parameters: Vec<String>,
}

/// A module of this kernel.
pub(crate) struct Module {
    pub(crate) path: PathBuf,
    pub(crate) parameters: Vec<String>,
}

pub(crate) async fn get(spec: &Spec, progress: &Progress) -> anyhow::Result<Kernel> {
    let mut needed = vec!["virtio_pci", "virtio_console"];
    needed.extend(spec.device.modules());
    needed.extend(spec.fs.modules());
    match &spec.kernel {
        spec::Kernel::Image(path) => {
            image(path, spec.module_folder.as_deref(), &needed, &spec.modules)
        }
        spec::Kernel::Series(series) => debian(series, &needed, &spec.modules, progress).await,
    }
}

/// An image without a package: without a folder of modules, what the VM needs must be built in.
fn image(
    path: &Path,
    folder: Option<&Path>,
    needed: &[&str],
    wanted: &[spec::Module],
) -> anyhow::Result<Kernel> {
    let image = std::path::absolute(path)?;
    let mut start = Vec::new();
    File::open(&image)
        .and_then(|file| file.take(0x10000).read_to_end(&mut start))
        .with_context(|| format!("cannot read the kernel {}", path.display()))?;
    // Documentation/arch/x86/boot.rst: the setup header's magic number.
    if start.get(0x202..0x206) != Some(b"HdrS") {
        return Err(Error::Image {
            path: path.to_owned(),
            why: "it has no boot header".to_owned(),
        }
        .into());
    }
    let modules = match folder {
        Some(folder) => own_modules(folder, release_in(&start), needed, wanted)?,
        None => Vec::new(),
    };
    let paths: Vec<PathBuf> = modules.iter().map(|module| module.path.clone()).collect();
    Ok(Kernel {
        name: path.display().to_string(),
        image,
        modules,
        parameters: command_line(wanted, &paths),
    })
}

/// The release that a bzImage says it is: the setup header's kernel_version, an offset from 0x200.
pub(crate) fn release_in(start: &[u8]) -> Option<String> {
    let offset = start.get(0x20e..0x210)?;
    let offset = usize::from(u16::from_le_bytes(offset.try_into().ok()?));
    let text = start.get(offset + 0x200..).filter(|_| offset != 0)?;
    let text = text.split(|&byte| byte == 0 || byte == b' ').next()?;
    Some(String::from_utf8_lossy(text).into_owned())
}

/// What is needed, from a folder as /lib/modules/RELEASE.
fn own_modules(
    folder: &Path,
    image: Option<String>,
    needed: &[&str],
    wanted: &[spec::Module],
) -> anyhow::Result<Vec<Module>> {
    let folder = std::path::absolute(folder)?;
    if !folder.join("modules.builtin").is_file() {
        return Err(Error::ModuleFolder { path: folder }.into());
    }
    let files = files(&folder, &[""])?;
    let names = names(needed, wanted);
    let modules = modules::closure(&folder, &files, &names)?;
    if let (Some(first), Some(image)) = (modules.first(), image)
        && let Some(modules) = modules::release(&modules::read(&folder.join(first))?)
        && modules != image
    {
        return Err(Error::OtherModules {
            folder,
            modules,
            image,
        }
        .into());
    }
    Ok(with_parameters(&folder, &modules, wanted))
}

fn names<'a>(needed: &[&'a str], wanted: &'a [spec::Module]) -> Vec<&'a str> {
    let wanted = wanted.iter().map(|module| module.name.as_str());
    needed.iter().copied().chain(wanted).collect()
}

fn with_parameters(root: &Path, modules: &[PathBuf], wanted: &[spec::Module]) -> Vec<Module> {
    modules
        .iter()
        .map(|path| Module {
            path: root.join(path),
            parameters: wanted
                .iter()
                .filter(|module| is_module(path, &module.name))
                .flat_map(|module| module.parameters.clone())
                .collect(),
        })
        .collect()
}

/// The parameters of those `wanted` that are not among the `carried`, as the
/// kernel's command line has them.
fn command_line(wanted: &[spec::Module], carried: &[PathBuf]) -> Vec<String> {
    wanted
        .iter()
        .filter(|module| !carried.iter().any(|path| is_module(path, &module.name)))
        .flat_map(|module| {
            let name = &module.name;
            module.parameters.iter().map(move |p| format!("{name}.{p}"))
        })
        .collect()
}

fn is_module(path: &Path, name: &str) -> bool {
    module_name(path).as_deref() == Some(name)
}

async fn debian(
    series: &str,
    needed: &[&str],
    wanted: &[spec::Module],
    progress: &Progress,
) -> anyhow::Result<Kernel> {
    let cache = cache()?;
    let release = newest(series, &cache, progress).await?;
    let package = &release.packages[0];
    let unpacked = cache.join(format!("{}_{}", package.name, package.version));

    let mut damaged = String::new();
    // A folder that is damaged is made anew, once.
    for _ in 0..2 {
        if !unpacked.join(SUMS).exists() {
            let mut debs = Vec::new();
            for package in &release.packages {
                debs.push(deb(&release, package, &cache, progress).await?);
            }
            unpack(&debs, &unpacked, progress).await?;
        }
        match look(&unpacked, needed, wanted).await {
            Ok(kernel) => return Ok(kernel),
            // The package never had it.
            Err(error) if matches!(error.downcast_ref(), Some(Error::NoModule { .. })) => {
                return Err(error);
            }
            Err(error) => {
                damaged = format!("{error:#}");
                fs::remove_dir_all(&unpacked)?;
            }
        }
    }
    Err(Error::NoKernel {
        series: series.to_owned(),
        why: format!(
            "{} {} holds no kernel that fits: {damaged}",
            package.name, package.version
        ),
    }
    .into())
}

/// The packages that a kernel comes in, and the lists that know them.
struct Release {
    lists: Lists,
    /// The image first; never empty.
    packages: Vec<Package>,
}

/// Between the packages of a kernel that is kept.
const NEXT: &str = "\n\n";
/// Marks those that the machine's own lists do not have.
const OTHER_SUITES: &str = "Suites: all\n";

/// The newest kernel of a series. apt takes seconds to answer that where it keeps no index, so the answer is kept until
/// the machine's lists change; an old answer is better than none, as on a machine whose lists were cleaned away.
async fn newest(series: &str, cache: &Path, progress: &Progress) -> anyhow::Result<Release> {
    let kept = cache.join(format!("{series}.newest"));
    let known = fs::read_to_string(&kept).unwrap_or_default();
    let stamp = apt::state_of_lists().map(|state| format!("Lists: {state}\n"));
    let packages: Vec<Package> = known.split(NEXT).filter_map(Package::parse).collect();
    let other = known.contains(OTHER_SUITES);
    let old = || {
        (!packages.is_empty()).then(|| Release {
            lists: if other { Lists::kept(cache) } else { None }.unwrap_or_else(Lists::system),
            packages: packages.clone(),
        })
    };
    if let (Some(release), Some(stamp)) = (old(), &stamp)
        && known.starts_with(stamp.as_str())
    {
        return Ok(release);
    }
    let (release, other) = match look_up(series, cache, progress).await {
        Ok(found) => found,
        Err(error) => return old().ok_or(error),
    };
    let described: Vec<String> = release.packages.iter().map(Package::describe).collect();
    let text =
        stamp.unwrap_or_default() + if other { OTHER_SUITES } else { "" } + &described.join("\n");
    fs::write(&kept, text).with_context(|| format!("cannot write {}", kept.display()))?;
    Ok(release)
}

/// The newest kernel of a series, and whether it is one of the other suites.
async fn look_up(
    series: &str,
    cache: &Path,
    progress: &Progress,
) -> anyhow::Result<(Release, bool)> {
    let lists = Lists::system();
    if let Ok(packages) = lists.newest_kernel(series).await {
        return Ok((Release { lists, packages }, false));
    }
    let kept = Lists::kept(cache);
    if let Some(lists) = &kept
        && let Ok(packages) = lists.newest_kernel(series).await
    {
        let lists = lists.clone();
        return Ok((Release { lists, packages }, true));
    }
    let lists = match kept {
        Some(lists) if lists.refused.is_empty() => lists,
        _ => Lists::fetch(cache, progress).await?,
    };
    match lists.newest_kernel(series).await {
        Ok(packages) => Ok((Release { lists, packages }, true)),
        Err(error) if lists.refused.is_empty() => Err(error),
        Err(error) => Err(error.context(lists.refused)),
    }
}

fn cache() -> anyhow::Result<PathBuf> {
    let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty());
    let dir = set("ODIO_CACHE")
        .map(PathBuf::from)
        .or_else(|| set("XDG_CACHE_HOME").map(|dir| Path::new(&dir).join("odio")))
        .or_else(|| set("HOME").map(|dir| Path::new(&dir).join(".cache/odio")))
        .ok_or_else(|| anyhow!("no folder for kernels: set ODIO_CACHE or HOME"))?;
    let dir = std::path::absolute(dir.join("kernels"))?;
    fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    Ok(dir)
}

/// The package file, downloaded unless it is there and intact.
async fn deb(
    release: &Release,
    package: &Package,
    cache: &Path,
    progress: &Progress,
) -> anyhow::Result<PathBuf> {
    let kept = cache.join(format!("{}_{}.deb", package.name, package.version));
    if kept.exists() {
        if sums([&kept], cache).await?.contains(&package.sha256) {
            return Ok(kept);
        }
        fs::remove_file(&kept)?;
    }

    // Unpacked it takes about four times its size.
    host::require_space(cache, "ODIO_CACHE", package.bytes.saturating_mul(6))?;
    let room = cache.join(format!("{}_{}.partial", package.name, package.version));
    let _lock = lock(&room, package, progress).await?;
    // Another run may have had it first.
    if !kept.exists() {
        let file = download(release, package, &room, progress).await?;
        fs::rename(&file, &kept)?;
        fs::remove_dir_all(&room)?;
    }
    Ok(kept)
}

/// Waits until the folder of a download is this run's alone; the result gives it free when it is dropped.
async fn lock(room: &Path, package: &Package, progress: &Progress) -> anyhow::Result<File> {
    loop {
        fs::create_dir_all(room).with_context(|| format!("cannot make {}", room.display()))?;
        let folder = File::open(room)?;
        match flock(&folder, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(folder),
            Err(rustix::io::Errno::WOULDBLOCK) => {
                progress.say(&format!("another run downloads {} ...", package.name));
                sleep(Duration::from_millis(200)).await;
            }
            Err(error) => return Err(error).context("cannot lock the download"),
        }
    }
}

/// Downloads into a folder that stays when it is interrupted, to be gone on with. What was there and turns out not to
/// be the start of the package is thrown away, once.
async fn download(
    release: &Release,
    package: &Package,
    room: &Path,
    progress: &Progress,
) -> anyhow::Result<PathBuf> {
    let began = partial(room).is_some();
    match fetch(release, package, room, progress).await {
        Err(error) if began && matches!(error, Error::Corrupt { .. }) => {
            clear(room)?;
            fetch(release, package, room, progress).await
        }
        other => other,
    }
    .map_err(anyhow::Error::from)
}

async fn fetch(
    release: &Release,
    package: &Package,
    room: &Path,
    progress: &Progress,
) -> Result<PathBuf, Error> {
    let name = &package.name;
    let no_kernel = |why: String| Error::NoKernel {
        series: name.clone(),
        why,
    };
    let bar = progress.bytes(&format!("downloading {name}"), package.bytes);
    let downloaded = release.lists.download(package, room);
    tokio::pin!(downloaded);
    let ended = loop {
        tokio::select! {
            ended = &mut downloaded => break ended,
            () = sleep(Duration::from_millis(100)) => {
                let file = partial(room).and_then(|file| fs::metadata(file).ok());
                bar.set_position(file.map_or(0, |file| file.len()));
            }
        }
    };
    progress.clear();
    if let Err(error) = ended {
        let why = format!("{error:#}");
        // What apt says of a file that is not the one of the lists.
        return Err(
            if why.contains("Hash Sum mismatch") || why.contains("unexpected size") {
                Error::Corrupt {
                    file: name.clone(),
                    why,
                }
            } else {
                no_kernel(format!(
                    "{why}. Lists that are out of date name files that are gone: `apt-get update`"
                ))
            },
        );
    }
    let file =
        partial(room).ok_or_else(|| no_kernel("apt-get download left no file".to_owned()))?;
    let found = sums([&file], room)
        .await
        .map_err(|error| no_kernel(format!("{error:#}")))?;
    if found.contains(&package.sha256) {
        return Ok(file);
    }
    clear(room).map_err(|error| no_kernel(error.to_string()))?;
    Err(Error::Corrupt {
        file: name.clone(),
        why: format!("SHA256 {} instead of {}", found.join(" "), package.sha256),
    })
}

/// The package file in the folder of a download, whole or not.
fn partial(room: &Path) -> Option<PathBuf> {
    fs::read_dir(room)
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension() == Some(OsStr::new("deb")))
}

fn clear(room: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(room)? {
        fs::remove_file(entry?.path())?;
    }
    Ok(())
}

/// Unpacks them into one folder that appears only when it is complete.
async fn unpack(debs: &[PathBuf], unpacked: &Path, progress: &Progress) -> anyhow::Result<()> {
    progress.say("unpacking the kernel ...");
    let cache = unpacked.parent().context("the cache folder has no name")?;
    let room = tempfile::tempdir_in(cache)?;
    for deb in debs {
        let args = [OsStr::new("-x"), deb.as_ref(), room.path().as_ref()];
        host::output("dpkg-deb", args, cache).await?;
    }

    // Newer packages have their modules in the last.
    let files = files(room.path(), &["boot", "lib/modules", "usr/lib/modules"])?;
    let args = files.iter().map(|path| path.as_path());
    let sums = host::output("sha256sum", args, room.path()).await?;
    fs::write(room.path().join(SUMS), sums)?;

    let room = room.keep();
    fs::rename(&room, unpacked).or_else(|error| {
        fs::remove_dir_all(&room)?;
        // Another run may have been faster.
        if unpacked.join(SUMS).exists() {
            Ok(())
        } else {
            Err(error)
        }
    })?;
    Ok(())
}

/// Finds what is needed in an unpacked package, and checks just that.
async fn look(unpacked: &Path, needed: &[&str], wanted: &[spec::Module]) -> anyhow::Result<Kernel> {
    let known = fs::read_to_string(unpacked.join(SUMS))?;
    let known: HashSet<&str> = known.lines().collect();
    // What the package had, which a damaged folder may have no more.
    let files: Vec<PathBuf> = known
        .iter()
        .filter_map(|line| Some(line.split_once("  ")?.1.into()))
        .collect();
    let (image, name) = files
        .iter()
        .find_map(|path| Some((path, release_of(path)?)))
        .context("no vmlinuz")?;
    let names = names(needed, wanted);
    let modules = modules::closure(unpacked, &files, &names)?;

    let used = [image].into_iter().chain(&modules);
    let now = host::output("sha256sum", used, unpacked).await?;
    for line in String::from_utf8(now)?.lines() {
        if !known.contains(line) {
            return Err(anyhow!("damaged: {line}"));
        }
    }

    Ok(Kernel {
        name: name.to_owned(),
        image: unpacked.join(image),
        parameters: command_line(wanted, &modules),
        modules: with_parameters(unpacked, &modules, wanted),
    })
}

/// The release whose image a file is: boot/vmlinuz-RELEASE, since 7.2 usr/lib/modules/RELEASE/vmlinuz.
fn release_of(path: &Path) -> Option<&str> {
    let name = path.file_name()?.to_str()?;
    if path.starts_with("boot") {
        name.strip_prefix("vmlinuz-")
    } else if name == "vmlinuz" {
        path.parent()?.file_name()?.to_str()
    } else {
        None
    }
}

/// The files in some folders of a root, relative to it.
fn files(root: &Path, folders: &[&str]) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = folders.iter().map(PathBuf::from).collect();
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(root.join(&folder)) else {
            continue;
        };
        for entry in entries {
            let entry = entry?;
            let path = folder.join(entry.file_name());
            let kind = entry.file_type()?;
            if kind.is_dir() {
                folders.push(path);
            } else if kind.is_file() {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

async fn sums<P: AsRef<OsStr>>(
    files: impl IntoIterator<Item = P>,
    dir: &Path,
) -> anyhow::Result<Vec<String>> {
    let text = host::output("sha256sum", files, dir).await?;
    Ok(String::from_utf8_lossy(&text)
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        // sha256sum marks lines whose file name it had to escape.
        .map(|sum| sum.trim_start_matches('\\').to_owned())
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_no_kernel_is_refused() {
        let error = image(Path::new("/bin/sh"), None, &[], &[])
            .err()
            .unwrap()
            .to_string();
        assert!(error.contains("is no bzImage"), "{error}");
        assert!(image(Path::new("/no/such/file"), None, &[], &[]).is_err());

        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("bzImage");
        let mut bytes = vec![0; 0x300];
        bytes[0x202..0x206].copy_from_slice(b"HdrS");
        fs::write(&path, bytes).unwrap();
        let wanted: spec::Module = "null_blk bs=4096 irqmode=0".parse().unwrap();
        let kernel = image(&path, None, &[], &[wanted]).unwrap();
        assert_eq!(kernel.image, path);
        assert_eq!(
            kernel.parameters,
            ["null_blk.bs=4096", "null_blk.irqmode=0"]
        );
    }
}
