//! # A throwaway VM with a chosen kernel and filesystem
//!
//! Boots a kernel in QEMU with a fresh filesystem on an NVMe disk, runs one
//! command in there and hands back its output and exit status.
//!
//! It may start processes (apt, mke2fs, QEMU) and write to the cache folder
//! and to one temporary folder, which is gone when [`run`] returns. It needs
//! no root and changes nothing else on the host.

mod apt;
mod carry;
mod console;
mod device;
mod elf;
mod error;
mod guest;
mod host;
mod initramfs;
mod interrupt;
mod kernel;
mod modules;
mod progress;
mod qemu;
mod spec;

use std::{fs::File, io::BufWriter};

use anyhow::Context as _;

use self::{carry::Tree, progress::Progress};
pub(crate) use self::{
    device::Device,
    error::{Error, exit_status},
    spec::{Filesystem, Kernel, Module, Spec},
};

/// Runs the command of `spec` in a VM of its own.
///
/// The result is the exit status of the command, 128 + N when it died of
/// signal N. An error means that there is no such status; [`exit_status`] says
/// which one to end with.
pub(crate) async fn run(spec: &Spec) -> anyhow::Result<i32> {
    tokio::select! {
        result = boot_and_run(spec) => result,
        signal = interrupt::wait() => Err(Error::Interrupted { signal: signal? }.into()),
    }
}

async fn boot_and_run(spec: &Spec) -> anyhow::Result<i32> {
    if !cfg!(target_arch = "x86_64") {
        return Err(Error::Architecture.into());
    }
    let progress = Progress::new();

    // Everything that may be refused is looked at before anything is
    // downloaded or started.
    let qemu = host::tool("qemu-system-x86_64")?;
    let mut tree = Tree::new()?;
    tree.command(&spec.command)?;
    for path in &spec.add {
        tree.add(path)?;
    }

    let kernel = tokio::time::timeout(spec.timeout, kernel::get(spec, &progress))
        .await
        .map_err(|_| Error::SlowKernel {
            seconds: spec.timeout.as_secs(),
        })??;
    tree.modules(&kernel.modules);

    let room = tempfile::Builder::new()
        .prefix("odio-vm-")
        .tempdir()
        .context("cannot make a temporary folder (TMPDIR says where)")?;
    host::require_space(room.path(), tree.size() + qemu::DISK_BYTES)?;
    let mark = guest::mark()?;
    tree.init(&format!(
        "MARK={mark} DISK={} DISK_SERIALS='{}' FS={} FS_OPTIONS={}\n",
        qemu::DISK_SERIAL,
        spec.device.serials(),
        spec.fs.kind(),
        spec.fs.mount_options()
    ));
    let file = File::create(room.path().join(qemu::INITRAMFS))?;
    initramfs::write(&tree, BufWriter::new(file)).context("cannot write the initramfs")?;
    qemu::make_disk(room.path(), spec.fs).await?;

    progress.say(&format!("booting Linux {} ...", kernel.name));
    qemu::run(&qemu, spec, &kernel, room.path(), &mark, &progress).await
}
