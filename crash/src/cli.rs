//! # The command line

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use odio_core::{
    contract::Situation,
    mode::{Engine, Mode},
};

use crate::{
    case::{MOST_FILES, SyncBy, Workload},
    filesystem::Filesystem,
    replay::StateName,
};

/// Cuts the power at every point of a workload, and looks whether what was acknowledged as durable is there
///
/// Wants root, and the modules brd (a RAM disk for the log), nbd and dm-log-writes: `odio-trace vm` has them all.
#[derive(Debug, Parser)]
#[command(
    version,
    after_long_help = "Ends with 0: every write was there. 1: one was not. 3: nothing could be said, and why.\n\n\
        Examples:\n  \
        odio-trace vm --kernel 6.1 --fs none --module 'brd rd_nr=1 rd_size=65536' --module 'nbd max_part=0' \
        --module dm-log-writes --add /usr/sbin/mkfs.ext4 -- odio-crash run\n  \
        odio-crash run --mode direct --situation append --expect durable\n  \
        odio-crash run --mode direct+dsync --engine io_uring --ignore-flushes\n  \
        odio-crash run --workload create,rename --mode direct,buffered --files 2\n  \
        odio-crash check --record DIR --point 41 --state 2\n  \
        odio-trace run --json --op write --op sync -- sh -c 'odio-crash run >cuts' >trace; \
        odio-crash cross --trace trace --cuts cuts"
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Write and check, for each combination
    Run(Run),
    /// Run one workload and keep the disk before it, the log of its writes and what was acknowledged
    Write(Write),
    /// Look at the disks that a power cut during a recorded workload could leave
    Check(Check),
    /// Hold what odio-trace said of each write against what cuts left
    Cross(Cross),
    /// Show what `cross` told as tables, in Markdown
    Page(Page),
    /// Show the entries of a log of dm-log-writes
    Log(Log),
}

#[derive(Debug, Args)]
pub(crate) struct Run {
    /// Filesystem (ext4, ext4-no-extents, ext4-data-journal, ext4-no-journal, xfs, btrfs, btrfs-nodatacow, f2fs, vfat, or
    /// block: the disk itself)
    #[arg(long, value_name = "FS", default_value = "ext4", value_delimiter = ',')]
    pub(crate) fs: Vec<Filesystem>,
    #[arg(long, default_value = "direct+dsync", value_delimiter = ',')]
    pub(crate) mode: Vec<Mode>,
    #[arg(long, default_value = "psync,libaio,io_uring", value_delimiter = ',')]
    pub(crate) engine: Vec<Engine>,
    #[arg(long, value_enum, default_value = "write", value_delimiter = ',')]
    pub(crate) workload: Vec<Workload>,
    /// What the writes land on; new files of create and rename are appended to
    #[arg(long, default_value = "overwrite,append", value_delimiter = ',')]
    pub(crate) situation: Vec<Situation>,
    #[command(flatten)]
    pub(crate) written: Written,
    #[command(flatten)]
    pub(crate) checked: Checked,
    /// Keep the record of the first case that failed in this folder
    #[arg(long, value_name = "DIR", env = "ODIO_VM_OUT")]
    pub(crate) keep: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Write {
    #[arg(long, value_name = "FS", default_value = "ext4")]
    pub(crate) fs: Filesystem,
    #[arg(long, default_value = "direct+dsync")]
    pub(crate) mode: Mode,
    #[arg(long, default_value = "psync")]
    pub(crate) engine: Engine,
    #[arg(long, value_enum, default_value = "write")]
    pub(crate) workload: Workload,
    #[arg(long, default_value = "overwrite")]
    pub(crate) situation: Situation,
    #[command(flatten)]
    pub(crate) written: Written,
    /// Folder for the record
    #[arg(long, value_name = "DIR")]
    pub(crate) record: PathBuf,
}

/// What is common to all that write.
#[derive(Debug, Args)]
pub(crate) struct Written {
    /// How many files the writes go to in turn; create makes its own
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=i64::from(MOST_FILES)))]
    pub(crate) files: u32,
    /// How many writes, or new files
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) writes: u32,
    /// How many writes are in flight at most
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(crate) depth: u32,
    /// Sync the file that was written last after this many writes, and not only each file after the last
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) sync_every: u32,
    /// What syncs
    #[arg(long, value_enum, value_name = "WHAT", default_value = "queue-data")]
    pub(crate) sync_by: SyncBy,
    /// Without libodio: what a program gets that makes the system calls itself. Writes go by io_submit(2) alone, want the
    /// engine libaio, and all of --depth go in one call, during which the disk holds everything back. The other
    /// workloads want psync: unaligned writes hold no range and pad the file's end, and no file, folder or name is
    /// synced but for --sync-every, which for rename is a sync of the folder
    #[arg(long)]
    pub(crate) raw: bool,
    /// Disk that is written to; all that is on it is lost. A RAM disk completes each request within the call that
    /// submits it, so on one the kernel takes the paths of synchronous writes alone, but for --raw
    #[arg(long, value_name = "DISK", env = "ODIO_VM_DISK")]
    pub(crate) disk: PathBuf,
    /// Disk for the log; all that is on it is lost
    #[arg(long, value_name = "DISK", default_value = "/dev/ram0")]
    pub(crate) log: PathBuf,
    /// What the writes, their contents and the disks follow from
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
}

#[derive(Debug, Args)]
pub(crate) struct Check {
    /// Folder of the record
    #[arg(long, value_name = "DIR")]
    pub(crate) record: PathBuf,
    #[command(flatten)]
    pub(crate) checked: Checked,
    /// What the random disks follow from; the record's own unless set
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// Only the cut behind this many entries of the log
    #[arg(long)]
    pub(crate) point: Option<usize>,
    /// Only this disk of each point: none or all of what is pending, or the number of a random one
    #[arg(long)]
    pub(crate) state: Option<StateName>,
}

/// What is common to all that check.
#[derive(Debug, Args)]
pub(crate) struct Checked {
    /// Network block device that each disk is served as
    #[arg(long, value_name = "DEVICE", default_value = "/dev/nbd0")]
    pub(crate) nbd: PathBuf,
    /// Random disks at each point where something is pending
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub(crate) random: u32,
    /// Bytes that the device writes whole or not at all
    #[arg(long, value_name = "BYTES", default_value_t = 512)]
    pub(crate) tear: u32,
    /// When a write must be there. Nothing else may ever be in its place
    #[arg(long, value_enum, default_value_t = Expected::Promise)]
    pub(crate) expect: Expected,
    /// A device that acknowledges flushes and FUA, and does neither from the first write on
    #[arg(long)]
    pub(crate) ignore_flushes: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Expected {
    /// When the mode promises it
    Promise,
    /// Once it was acknowledged, whatever the mode promises
    Durable,
    /// Once a sync of its file was acknowledged after it, whatever the mode promises
    Synced,
    /// Once a sync of any file was acknowledged after it, which nothing promises
    AnySynced,
}

#[derive(Debug, Args)]
pub(crate) struct Log {
    /// The log's disk, or a file with it
    pub(crate) log: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct Cross {
    /// What `odio-trace run --json --op write --op sync -- odio-crash run` told of the requests
    #[arg(long, value_name = "FILE")]
    pub(crate) trace: PathBuf,
    /// What `odio-crash run` told in it
    #[arg(long, value_name = "FILE")]
    pub(crate) cuts: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct Page {
    /// What `cross` told, a file for each kernel
    #[arg(required = true)]
    pub(crate) rows: Vec<PathBuf>,
}
