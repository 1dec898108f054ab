//! # Subcommands and arguments
//!
//! Only what is asked for; no decision is made here.

use std::{ffi::OsString, path::PathBuf, time::Duration};

use crate::{
    filter::{Filters, duration},
    launch::Caller,
    plan, vm,
};
use clap::{ArgAction, ArgGroup, Args, Parser, Subcommand, ValueEnum};
use odio_core::mode::{Engine, Mode};

/// Exit status of what is asked for wrongly, as clap has it.
pub(crate) const USAGE: u8 = 2;

/// Shows which kernel path each I/O really took, and where the data was when it was acknowledged.
#[derive(Debug, Parser)]
#[command(
    name = "odio-trace",
    version,
    propagate_version = true,
    max_term_width = 100
)]
pub(crate) struct Cli {
    /// Tell more on standard error; twice for what the eBPF programs themselves say
    #[arg(short, long, action = ArgAction::Count, global = true)]
    pub(crate) verbose: u8,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Say what can be proven on this kernel, by which probe, and what is missing
    #[command(
        after_help = "Examples:\n  odio-trace doctor\n  odio-trace doctor --json | jq .hooks"
    )]
    Doctor(Doctor),
    /// Run a command and show the path of each of its requests
    #[command(after_help = "Examples:\n  \
        odio-trace run -- dd if=/dev/zero of=f bs=4k count=23 oflag=direct\n  \
        odio-trace run --json -- fio --name=w --rw=write --direct=1 --ioengine=libaio --size=1m --bs=4k\n  \
        odio-trace run --paths --histogram --record db.odio -- ./my-database\n  \
        odio-trace run --file '*.db' --op sync --min-latency 5ms -- ./my-database\n  \
        odio-trace run --steps -- dd if=/dev/zero of=f bs=4k count=1 oflag=direct,dsync\n\n\
        Under sudo the command runs as the user who called sudo, with the environment that sudo made.\n\
        Ends with the command's own exit status.")]
    Run(Run),
    /// Show the path of each request of what runs already, its threads and children
    #[command(after_help = "Examples:\n  \
        odio-trace attach --pid 4711 --duration 10s\n  \
        odio-trace attach --comm mysqld --file '*.ibd' --min-latency 5ms --json\n  \
        odio-trace attach --cgroup /sys/fs/cgroup/system.slice/postgresql.service --op sync\n\n\
        Ends with Ctrl-C, after --duration, or when every --pid has ended; a second Ctrl-C waits for no open request.\n\
        A sync that may have begun before the tracing is left out, and counted.\n\n\
        Exit status: 0, or 4 where nothing can be traced.")]
    Attach(Attach),
    /// Try every mode, engine and situation in a folder and hold each against its contract
    #[command(after_help = "Examples:\n  odio-trace matrix --dir /mnt/data\n  \
        odio-trace matrix --mode direct+dsync --engine libaio --json\n  \
        odio-trace matrix --kernel 6.1,6.12 --fs ext4,xfs --json >known.json\n  \
        odio-trace matrix --kernel 6.1,6.12 --fs ext4,xfs --compare known.json\n  \
        odio-trace matrix --all              # every kernel, filesystem and disk\n\n\
        In VMs it needs no privilege on this machine.\n\n\
        Exit status: 0 PASS, 1 FAIL, 2 usage, 3 INCONCLUSIVE, 4 nothing can be traced here.")]
    Matrix(Matrix),
    /// Hold the requests of a command, or of a recording, against a policy
    #[command(after_help = "Examples:\n  \
        odio-trace verify --policy wal.toml -- ./my-database --selftest\n  \
        odio-trace verify --policy wal.toml --junit wal.xml --recording db.odio\n  \
        odio-trace verify --policy wal.toml --github --sarif wal.sarif -- ./my-database --selftest\n  \
        odio-trace vm --kernel 6.12 --add wal.toml -- odio-trace verify --policy \"$PWD/wal.toml\" -- ./my-database\n\n\
        A policy, of one rule:\n  \
        [[rule]]\n  \
        name = \"the log is direct and durable\"\n  \
        file = \"*.wal\"              # as --file of run; or a list\n  \
        op = \"write\"                # read, write, sync; or a list\n  \
        at_least = 100              # fewer prove nothing\n  \
        cache = \"direct\"\n  \
        durable_before_ack = true\n  \
        latency = { p99 = \"5ms\" }\n\n\
        Exit status: 0 PASS, 1 FAIL, 2 usage, 3 INCONCLUSIVE, 4 nothing can be traced here.")]
    Verify(Verify),
    /// Run a command in a throwaway virtual machine with a kernel that can be traced
    #[command(after_help = "Examples:\n  odio-trace vm -- odio-trace matrix\n  \
        odio-trace vm --kernel 6.1 --add /usr/bin/fio -- odio-trace run -- fio job.fio\n  \
        odio-trace vm --kernel 5.10,6.1,6.12,7.2 --fs ext4,xfs -- odio-trace matrix\n\n\
        odio-trace is on PATH in there, and the fresh filesystem is the working directory.")]
    Vm(Vm),
    /// Show a recording: as text, as JSON or as an HTML file; needs no root and not the same machine
    #[command(
        after_help = "Examples:\n  odio-trace run --record db.odio -- ./my-database\n  \
        odio-trace report db.odio --paths --histogram\n  odio-trace report db.odio --steps\n  odio-trace report db.odio -o db.html\n  \
        odio-trace report db.odio --json | jq 'select(.durability == \"uncommitted\")'\n\n\
        Exit status: 0, 1 no recording or a damaged one, 3 INCONCLUSIVE: the recording was cut off."
    )]
    Report(Report),
    /// Print the JSON Schema of every line that --json prints
    Schema,
    /// Wait for the tracer, then become the command (what `run` starts)
    #[command(hide = true)]
    Launch(Launch),
    /// Make the requests of `matrix` (what `matrix` starts)
    #[command(hide = true)]
    Requests(Requests),
}

#[derive(Debug, Args)]
pub(crate) struct Doctor {
    /// One JSON object
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) choice: plan::Choice,
}

#[derive(Debug, Args)]
pub(crate) struct Run {
    #[command(flatten)]
    pub(crate) output: Output,
    /// Under sudo, run the command as root too
    #[arg(long)]
    pub(crate) as_root: bool,
    #[command(flatten)]
    pub(crate) filters: Filters,
    #[command(flatten)]
    pub(crate) choice: plan::Choice,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "CMD")]
    pub(crate) command: Vec<OsString>,
}

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("what").required(true)))]
pub(crate) struct Attach {
    /// This process, with its children (may be given again)
    #[arg(long, value_name = "PID", group = "what", value_delimiter = ',')]
    pub(crate) pid: Vec<u32>,
    /// Processes with a thread of this name, now or later, and their children; 15 bytes count (may be given again)
    #[arg(long, value_name = "NAME", group = "what")]
    pub(crate) comm: Vec<OsString>,
    /// Processes in this cgroup or below: a folder under /sys/fs/cgroup
    #[arg(long, value_name = "PATH", group = "what")]
    pub(crate) cgroup: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) filters: Filters,
    #[command(flatten)]
    pub(crate) choice: plan::Choice,
    /// End after this time: 10s, 500ms, 2m
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) duration: Option<Duration>,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Debug, Args)]
pub(crate) struct Report {
    /// What `run --record` wrote
    pub(crate) recording: PathBuf,
    /// Write an HTML file that needs nothing else
    #[arg(short, long, value_name = "FILE", conflicts_with = "json")]
    pub(crate) output: Option<PathBuf>,
    /// One JSON object a line: the header, every device and op, and the summary
    #[arg(long, conflicts_with_all = ["paths", "histogram"])]
    pub(crate) json: bool,
    /// Also each distinct path that ops took, with its reason (always in HTML)
    #[arg(long)]
    pub(crate) paths: bool,
    /// Also how many ops took how long, a line for every power of two (always in HTML)
    #[arg(long)]
    pub(crate) histogram: bool,
    /// Also every op with its steps, where they were recorded (`run --steps --record`)
    #[arg(long, conflicts_with_all = ["json", "output"])]
    pub(crate) steps: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// Rules, in TOML
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: PathBuf,
    /// Judge this recording; needs no root and not the same machine
    #[arg(long, value_name = "FILE", conflicts_with_all = ["command", "as_root", "probes"], required_unless_present = "command")]
    pub(crate) recording: Option<PathBuf>,
    /// Also write the verdicts as a JUnit file; - is standard output, and the text goes to standard error then
    #[arg(long, value_name = "FILE")]
    pub(crate) junit: Option<PathBuf>,
    /// Also write the verdicts as a SARIF 2.1.0 file, each at its rule in the policy; - as for --junit
    #[arg(long, value_name = "FILE")]
    pub(crate) sarif: Option<PathBuf>,
    /// After the text, also print workflow commands for GitHub Actions
    #[arg(long)]
    pub(crate) github: bool,
    /// Under sudo, run the command as root too
    #[arg(long)]
    pub(crate) as_root: bool,
    #[command(flatten)]
    pub(crate) choice: plan::Choice,
    /// The command and its arguments
    #[arg(last = true, value_name = "CMD")]
    pub(crate) command: Vec<OsString>,
}

/// What is said of the ops of a run.
#[derive(Debug, Args)]
pub(crate) struct Output {
    /// One JSON object a line: every op, then a summary
    #[arg(long, conflicts_with_all = ["paths", "histogram"])]
    pub(crate) json: bool,
    /// Keep the run in this file, for `report` (FILE.partial until it is whole)
    #[arg(long, value_name = "FILE")]
    pub(crate) record: Option<PathBuf>,
    /// Also each distinct path that ops took, with its reason
    #[arg(long)]
    pub(crate) paths: bool,
    /// Also how many ops took how long, a line for every power of two
    #[arg(long)]
    pub(crate) histogram: bool,
    /// Also every op as it is acknowledged, with each step that a hook saw of it: when, where and by whom
    #[arg(long)]
    pub(crate) steps: bool,
    /// As --steps, with the kernel's calls that led to each step; costs far more
    #[arg(long)]
    pub(crate) stacks: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Matrix {
    /// Folder on the filesystem to try; its files are removed afterwards
    #[arg(long, default_value = ".")]
    pub(crate) dir: PathBuf,
    /// Try a block device itself: what is on it is overwritten
    #[arg(long, value_name = "DEVICE", conflicts_with_all = ["dir", "reflinked"])]
    pub(crate) overwrite_disk: Option<PathBuf>,
    /// Share the blocks of each file with a copy before its requests (FICLONE: XFS, btrfs)
    #[arg(long)]
    pub(crate) reflinked: bool,
    #[command(flatten)]
    pub(crate) guests: Guests,
    /// Tell the rows that changed since this earlier output of --json (may be given again); the verdict is of that
    #[arg(long, value_name = "FILE")]
    pub(crate) compare: Vec<PathBuf>,
    /// One JSON object a line: every row, then a summary
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) choice: plan::Choice,
    /// Only these modes (direct, direct+dsync, direct+sync, buffered, buffered+dsync, buffered+sync)
    #[arg(long, value_delimiter = ',')]
    pub(crate) mode: Vec<Mode>,
    /// Only these engines (psync, libaio, io_uring)
    #[arg(long, value_delimiter = ',')]
    pub(crate) engine: Vec<Engine>,
    /// Only these situations (overwrite, unwritten, append, hole, read)
    #[arg(long, value_delimiter = ',')]
    pub(crate) situation: Vec<odio_core::contract::Situation>,
    /// Requests a row; a prime number shows a stray one
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) requests: u32,
}

impl Matrix {
    /// Whether a row of this mode, engine and situation is among those that are asked for.
    pub(crate) fn asks_for(&self, [mode, engine, situation]: &[String; 3]) -> bool {
        let among = |names: Vec<&str>, name: &str| names.is_empty() || names.contains(&name);
        among(self.mode.iter().map(|m| m.name()).collect(), mode)
            && among(self.engine.iter().map(|e| e.name()).collect(), engine)
            && among(self.situation.iter().map(|s| s.name()).collect(), situation)
    }
}

/// Throwaway VMs, one for each combination of the lists.
#[derive(Debug, Args)]
#[command(next_help_heading = "In throwaway VMs, one for each combination")]
pub(crate) struct Guests {
    /// Kernel series from Debian, or paths of bzImages
    #[arg(long, value_delimiter = ',', conflicts_with_all = ["dir", "overwrite_disk", "reflinked"])]
    pub(crate) kernel: Vec<vm::Kernel>,
    /// Filesystems; block is the disk itself
    #[arg(long, value_delimiter = ',', conflicts_with_all = ["dir", "overwrite_disk", "reflinked"])]
    pub(crate) fs: Vec<vm::Filesystem>,
    /// Disks
    #[arg(long, value_delimiter = ',', conflicts_with_all = ["dir", "overwrite_disk", "reflinked"])]
    pub(crate) device: Vec<vm::Device>,
    /// Of each list that is not given, everything there is
    #[arg(long, conflicts_with_all = ["dir", "overwrite_disk", "reflinked"])]
    pub(crate) all: bool,
    /// End each VM after so many seconds
    #[arg(long, default_value_t = 300)]
    pub(crate) timeout: u64,
}

impl Guests {
    /// Whether it is about VMs at all.
    pub(crate) fn are_wanted(&self) -> bool {
        self.all || !(self.kernel.is_empty() && self.fs.is_empty() && self.device.is_empty())
    }

    /// Every combination, kernel by kernel. A filesystem in memory is not tried on several disks.
    pub(crate) fn places(&self) -> Vec<(vm::Kernel, vm::Filesystem, vm::Device)> {
        fn listed<T: Clone>(given: &[T], every: Vec<T>, all: bool, usual: T) -> Vec<T> {
            match (given, all) {
                ([], true) => every,
                ([], false) => vec![usual],
                (given, _) => given.to_vec(),
            }
        }
        let usual = vm::Spec::default();
        let kernels = listed(&self.kernel, vm::Kernel::all(), self.all, usual.kernel);
        let filesystems = listed(&self.fs, vm::Filesystem::all(), self.all, usual.fs);
        let devices = vm::Device::value_variants().to_vec();
        let devices = listed(&self.device, devices, self.all, usual.device);
        let mut places = Vec::new();
        for kernel in &kernels {
            for &fs in &filesystems {
                let disks = if fs.is_in_memory() { 1 } else { devices.len() };
                for &device in &devices[..disks] {
                    places.push((kernel.clone(), fs, device));
                }
            }
        }
        places
    }
}

#[derive(Debug, Args)]
pub(crate) struct Vm {
    /// Kernel series from Debian (6.1), or the path of a bzImage; several of these three make a VM for each combination
    #[arg(long, default_value = "6.1", value_delimiter = ',')]
    pub(crate) kernel: Vec<vm::Kernel>,
    /// Filesystem of the working directory; ODIO_VM_DISK is the disk
    #[arg(long, default_value = "ext4", value_delimiter = ',')]
    pub(crate) fs: Vec<vm::Filesystem>,
    /// The disk
    #[arg(long, default_value = "nvme", value_delimiter = ',')]
    pub(crate) device: Vec<vm::Device>,
    /// Memory of the guest, in MiB
    #[arg(long, default_value_t = 1024)]
    pub(crate) memory: u32,
    /// Processors of the guest
    #[arg(long, default_value_t = 2)]
    pub(crate) cpus: u32,
    /// End the run after so many seconds
    #[arg(long, default_value_t = 300)]
    pub(crate) timeout: u64,
    /// Take this file or program, with its shared libraries, into the guest (may be given again)
    #[arg(long)]
    pub(crate) add: Vec<PathBuf>,
    /// Load this kernel module, and what it depends on: 'null_blk nr_devices=1' (may be given again)
    #[arg(long, value_name = "NAME [PARAMETER=VALUE]...")]
    pub(crate) module: Vec<vm::Module>,
    /// Where the modules of a bzImage lie, as /lib/modules/RELEASE; of several, one for each bzImage in their order
    #[arg(long, value_name = "DIR", value_delimiter = ',')]
    pub(crate) modules: Vec<PathBuf>,
    /// Bring back into this folder what the command leaves in /out (ODIO_VM_OUT); of several VMs each gets a folder in it
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// A shell in the guest, on this terminal, in place of a command; Ctrl-] ends the VM
    #[arg(long, conflicts_with = "command")]
    pub(crate) shell: bool,
    /// Let the guest's clock count its instructions, one a nanosecond; one processor, emulated
    #[arg(long, conflicts_with = "cpus")]
    pub(crate) icount: bool,
    /// The command and its arguments
    #[arg(last = true, required_unless_present = "shell", value_name = "CMD")]
    pub(crate) command: Vec<OsString>,
}

#[derive(Debug, Args)]
pub(crate) struct Launch {
    /// Become this user, UID:GID
    #[arg(long)]
    pub(crate) user: Option<Caller>,
    /// Block these signals, as /proc/PID/status writes SigBlk
    #[arg(long)]
    pub(crate) blocked: String,
    /// Abstract socket on which the tracer gives the word
    pub(crate) socket: String,
    #[arg(last = true, required = true)]
    pub(crate) command: Vec<OsString>,
}

#[derive(Debug, Args)]
pub(crate) struct Requests {
    /// The cases, as JSON
    pub(crate) cases: PathBuf,
}
