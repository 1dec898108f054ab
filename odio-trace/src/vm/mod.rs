//! # A throwaway VM with a chosen kernel and filesystem
//!
//! Boots a kernel in QEMU with a fresh filesystem on an NVMe disk, runs one
//! command in there and hands back its output and exit status.
//!
//! It may start processes (apt, mke2fs, QEMU) and write to the cache folder
//! and to one temporary folder, which is gone when [`run`] returns. It needs
//! no root and changes nothing else on the host.

pub(crate) mod apt;
mod carry;
pub(crate) mod console;
mod device;
pub(crate) mod elf;
mod error;
mod files;
pub(crate) mod guest;
mod host;
mod initramfs;
mod interrupt;
pub(crate) mod kernel;
pub(crate) mod modules;
mod progress;
mod qemu;
mod several;
mod spec;
mod terminal;

use std::{fs::File, io::BufWriter, path::Path};

use anyhow::Context as _;
use tokio::{
    io::{AsyncWrite, stderr, stdout},
    task::spawn_blocking,
};

use self::{carry::Tree, progress::Progress};
pub(crate) use self::{
    device::Device,
    error::{Error, exit_status, is_interrupted},
    files::OUT_FOLDER,
    several::Ended,
    spec::{Filesystem, Kernel, Module, Spec},
    terminal::has_terminal,
};

/// Runs the command of each spec in a VM of its own; there is at least one spec.
///
/// The result is the exit status of the command, 128 + N when it died of
/// signal N; of several the first that is not 0. An error means that there is
/// no such status; [`exit_status`] says which one to end with.
pub(crate) async fn run(specs: &[Spec]) -> anyhow::Result<i32> {
    let all = async {
        match specs {
            [spec] => one(spec, &Progress::new(), stdout(), stderr()).await,
            specs => several::run(specs).await,
        }
    };
    interruptible(all).await
}

/// Runs the command of each spec; `take` is told of each in their order, with all that it printed.
pub(crate) async fn each(
    specs: &[Spec],
    take: impl FnMut(&Spec, Ended) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    interruptible(several::each(specs, take)).await
}

async fn interruptible<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::select! {
        result = work => result,
        signal = interrupt::wait() => Err(Error::Interrupted { signal: signal? }.into()),
    }
}

async fn fetch(spec: &Spec, progress: &Progress) -> anyhow::Result<kernel::Kernel> {
    tokio::time::timeout(spec.timeout, kernel::get(spec, progress))
        .await
        .map_err(|_| Error::SlowKernel {
            seconds: spec.timeout.as_secs(),
        })?
}

async fn one(
    spec: &Spec,
    progress: &Progress,
    out: impl AsyncWrite + Unpin,
    err: impl AsyncWrite + Unpin,
) -> anyhow::Result<i32> {
    if !cfg!(target_arch = "x86_64") {
        return Err(Error::Architecture.into());
    }

    // Everything that may be refused is looked at before anything is
    // downloaded or started.
    let qemu = host::tool("qemu-system-x86_64")?;
    let mut tree = Tree::new()?;
    tree.command(&spec.command)?;
    for path in &spec.add {
        tree.add(path)?;
    }
    if let Some(folder) = &spec.out {
        files::prepare(folder)?;
    }

    let kernel = fetch(spec, progress).await?;
    tree.modules(&kernel.modules);

    let room = tempfile::Builder::new()
        .prefix("odio-vm-")
        .tempdir()
        .context("cannot make a temporary folder (TMPDIR says where)")?;
    host::require_space(room.path(), "TMPDIR", tree.size() + qemu::DISK_BYTES)?;
    let mark = guest::mark()?;
    tree.init(&format!(
        "MARK={mark} DISK={} DISK_SERIALS='{}' FS={} FS_OPTIONS={} OUT={} TERMINAL={}\n",
        qemu::DISK_SERIAL,
        spec.device.serials(),
        spec.fs.kind(),
        spec.fs.mount_options(),
        spec.out.as_ref().map_or("", |_| OUT_FOLDER),
        if spec.shell { qemu::GUEST_TERMINAL } else { "" },
    ));
    let file = File::create(room.path().join(qemu::INITRAMFS))?;
    initramfs::write(&tree, BufWriter::new(file)).context("cannot write the initramfs")?;
    qemu::make_disk(room.path(), spec.fs).await?;

    progress.say(&format!("booting Linux {} ...", kernel.name));
    let outputs = (out, err);
    let ended = qemu::run(&qemu, spec, &kernel, room.path(), &mark, progress, outputs).await;
    match &spec.out {
        Some(folder) => bring_back(folder, &room.path().join(qemu::ARCHIVE), ended).await,
        None => ended,
    }
}

/// Unpacks what the command left, if it got as far as this side.
async fn bring_back(
    folder: &Path,
    archive: &Path,
    ended: anyhow::Result<i32>,
) -> anyhow::Result<i32> {
    if archive.exists() {
        let (archive, folder) = (archive.to_owned(), folder.to_owned());
        let unpacked = spawn_blocking(move || files::unpack(&archive, &folder)).await?;
        match (unpacked, &ended) {
            (Ok(left_out), _) => {
                for name in left_out {
                    eprintln!(
                        "odio-trace: {name} was not brought back: it is no file, folder or link, or leads outside"
                    );
                }
            }
            (Err(error), Ok(_)) => return Err(error),
            (Err(error), Err(_)) => eprintln!("odio-trace: {error:#}"),
        }
        return ended;
    }
    match ended {
        Ok(status) => Err(Error::Files { status }.into()),
        Err(error) => Err(error),
    }
}
