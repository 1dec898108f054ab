//! # QEMU
//!
//! Its command line, its process and the end of both. The process ends with
//! the run, whatever ends the run.

use std::{
    cell::Cell,
    ffi::OsString,
    fs::{self, File, OpenOptions},
    future::pending,
    os::fd::AsRawFd as _,
    path::Path,
    process::Stdio,
    time::Duration,
};

use anyhow::Context as _;
use tokio::{
    io::{AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{UnixListener, UnixStream},
    process::{Child, Command},
    sync::{Notify, mpsc},
    time::{sleep, timeout},
};

use super::{
    Error, Filesystem, Spec, console,
    guest::{Port, Stage},
    host,
    kernel::Kernel,
    progress::Progress,
    terminal,
};

/// The size of the disk; the image takes only what is written to it.
pub(crate) const DISK_BYTES: u64 = 1 << 30;
/// By this the guest tells its disk.
pub(crate) const DISK_SERIAL: &str = "odio-disk";

/// Files in the folder of a run.
pub(crate) const INITRAMFS: &str = "initramfs";
const DISK: &str = "disk";
const CONSOLE: &str = "console";
const MESSAGES: &str = "messages";
const OUT: &str = "out";
const ERR: &str = "err";
const CONTROL: &str = "control";
const FILES: &str = "files";
const TERMINAL: &str = "terminal";
/// What the command left, once all of it is here.
pub(crate) const ARCHIVE: &str = "archive";

/// What the guest calls the other end of [`TERMINAL`].
pub(crate) const GUEST_TERMINAL: &str = "/dev/hvc0";

/// How long the last bytes may take once QEMU has ended; where it never connected, none come. They are in the sockets by
/// then, but a disk that is busy takes them when it can.
const LAST: Duration = Duration::from_secs(30);

/// How long a command that was stopped may take to leave its files.
const GRACE: Duration = Duration::from_secs(15);

/// A panic ends the VM at once (`panic=-1` with -no-reboot), and so does
/// memory that is full: killing some process instead would leave a run that
/// looks like a result. Mitigations cost time and are not what is looked at.
/// Whether the timer works is not checked, because on a busy host an emulated
/// one misses the ten ticks that the kernel waits for (`timer_irq_works`).
const COMMAND_LINE: &str = "console=ttyS0 loglevel=5 panic=-1 oops=panic mitigations=off \
     random.trust_cpu=on sysctl.vm.panic_on_oom=1 no_timer_check";

pub(crate) async fn make_disk(room: &Path, fs: Filesystem) -> anyhow::Result<()> {
    let disk = room.join(DISK);
    File::create(&disk)
        .and_then(|file| file.set_len(DISK_BYTES))
        .with_context(|| format!("cannot make {}", disk.display()))?;
    if let Some([program, options @ ..]) = fs.make().as_deref() {
        let arguments = options.iter().chain([&DISK]);
        host::output(program, arguments, room).await?;
    }
    Ok(())
}

/// Boots, passes the command's output on, and returns its exit status.
pub(crate) async fn run(
    qemu: &Path,
    spec: &Spec,
    kernel: &Kernel,
    room: &Path,
    mark: &str,
    progress: &Progress,
    outputs: (impl AsyncWrite + Unpin, impl AsyncWrite + Unpin),
) -> anyhow::Result<i32> {
    let out = listen(room, OUT)?;
    let err = listen(room, ERR)?;
    let control = listen(room, CONTROL)?;
    let files = spec.out.as_ref().map(|_| listen(room, FILES)).transpose()?;
    let terminal = spec.shell.then(|| listen(room, TERMINAL)).transpose()?;
    let mut machine = host::Running(start(qemu, spec, kernel, room)?);

    let (tell, mut told) = mpsc::unbounded_channel();
    let ports = async {
        tokio::try_join!(
            relay(out, Port::new(mark), outputs.0, tell.clone()),
            relay(err, Port::new(mark), outputs.1, tell.clone()),
            keep(files, Port::new(mark), room, tell.clone()),
        )
    };
    let (running, late) = (Cell::new(false), Cell::new(false));
    let started = Notify::new();
    let shell = async {
        let Some(terminal) = &terminal else {
            return pending().await;
        };
        started.notified().await;
        let (guest, _) = terminal.accept().await?;
        let (control, _) = control.accept().await?;
        terminal::talk(guest, control).await
    };
    let watched = async {
        tokio::pin!(ports, shell);
        loop {
            tokio::select! {
                ended = &mut ports => {
                    let Some(status) = whole(ended?) else {
                        // The end of QEMU says more about why.
                        machine.0.wait().await?;
                        return Ok(None);
                    };
                    if spec.shell {
                        // The last that the shell said is on its way; its end comes with QEMU's.
                        machine.0.start_kill()?;
                        let _ = timeout(LAST, &mut shell).await;
                    }
                    return Ok(Some(status));
                }
                Some(()) = told.recv() => {
                    progress.clear();
                    running.set(true);
                    started.notify_one();
                }
                ended = &mut shell => {
                    ended?;
                    // The end of QEMU says more about why.
                    machine.0.wait().await?;
                    return Ok(None);
                }
                status = machine.0.wait() => {
                    status?;
                    let ended = timeout(LAST, &mut ports).await;
                    return Ok(ended.ok().and_then(Result::ok).and_then(whole));
                }
            }
        }
    };
    let limit = async {
        sleep(spec.timeout).await;
        if spec.shell && running.get() {
            return pending().await;
        }
        late.set(true);
        if spec.out.is_some() && running.get() {
            // Open until the end: what the guest has not read goes with a connection that is closed.
            let _open = stop(&control).await?;
            sleep(GRACE).await;
        }
        anyhow::Ok(())
    };
    let ended = tokio::select! {
        ended = watched => match late.get() {
            true => None,
            false => Some(ended),
        },
        _ = limit => None,
    };
    progress.clear();
    let exited = machine.0.try_wait().ok().flatten();
    drop(machine);

    let console = room.join(CONSOLE);
    match ended {
        Some(Ok(Some(status))) => Ok(status),
        Some(Ok(None)) => {
            let messages = fs::read_to_string(room.join(MESSAGES)).unwrap_or_default();
            let why = match (exited, messages.trim()) {
                (Some(status), "") => format!("QEMU ended ({status})"),
                (Some(status), said) => format!("QEMU ended ({status}) and said: {said}"),
                (None, said) => said.to_owned(),
            };
            Err(console::reason(&console::read(&console), spec.memory, &why).into())
        }
        Some(Err(error)) => Err(error),
        None => Err(Error::Hang {
            seconds: spec.timeout.as_secs(),
            phase: match running.get() {
                true => "the command was still running",
                false => "the guest was still booting",
            },
            console: console::tail(&console::read(&console)),
        }
        .into()),
    }
}

/// Asks the guest to end its command and to send what that has left.
async fn stop(control: &UnixListener) -> anyhow::Result<UnixStream> {
    let (mut control, _) = control.accept().await?;
    control.write_all(b"stop\n").await?;
    Ok(control)
}

/// Keeps the archive of the files that the command left, where any were asked for. It has its name once it is whole.
/// The status of the command, where both of its outputs came to their ends.
fn whole((out, err, ()): (Option<i32>, Option<i32>, ())) -> Option<i32> {
    out.filter(|_| err.is_some())
}

async fn keep(
    listener: Option<UnixListener>,
    port: Port,
    room: &Path,
    tell: mpsc::UnboundedSender<()>,
) -> anyhow::Result<()> {
    let Some(listener) = listener else {
        return Ok(());
    };
    let arriving = room.join("arriving");
    let file = tokio::fs::File::create(&arriving).await?;
    if relay(listener, port, file, tell).await? == Some(0) {
        fs::rename(arriving, room.join(ARCHIVE))?;
    }
    Ok(())
}

/// A socket in the folder of the run. Its path goes through the folder's
/// descriptor: a socket's path may have 107 bytes, and TMPDIR may be long.
fn listen(room: &Path, name: &str) -> anyhow::Result<UnixListener> {
    let folder = File::open(room)?;
    let path = format!("/proc/self/fd/{}/{name}", folder.as_raw_fd());
    UnixListener::bind(path).context("cannot make a socket")
}

fn start(qemu: &Path, spec: &Spec, kernel: &Kernel, room: &Path) -> anyhow::Result<Child> {
    let arguments = arguments(spec, kernel, kvm_works());
    // A process that is killed cannot stop its children; the kernel can.
    let mut command = match host::tool("setpriv") {
        Ok(setpriv) => {
            let mut command = Command::new(setpriv);
            command.args(["--pdeathsig", "KILL"]).arg(qemu);
            command
        }
        Err(_) => Command::new(qemu),
    };
    command
        .args(arguments)
        .current_dir(room)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(File::create(room.join(MESSAGES))?)
        // A Ctrl-C at the terminal is this program's to handle.
        .process_group(0)
        .spawn()
        .context("cannot start QEMU")
}

fn arguments(spec: &Spec, kernel: &Kernel, kvm: bool) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = Vec::new();
    let mut add = |words: &[&str]| arguments.extend(words.iter().map(Into::into));

    add(&["-nodefaults", "-no-user-config", "-no-reboot"]);
    add(&["-display", "none", "-machine", "q35", "-cpu", "max"]);
    if kvm && !spec.icount {
        add(&["-accel", "kvm"]);
    }
    // With a thread per CPU, QEMU 7.2 makes some kernels panic in one of five
    // boots.
    add(&["-accel", "tcg,thread=single"]);
    if spec.icount {
        // An instruction is 2^0 ns of the guest's time; an idle guest skips to
        // its next timer instead of waiting for it.
        add(&["-icount", "shift=0,sleep=off"]);
    }
    let cpus = if spec.icount { 1 } else { spec.cpus };
    add(&["-smp", &cpus.to_string()]);
    add(&["-m", &spec.memory.to_string()]);
    let mut command_line = vec![COMMAND_LINE];
    command_line.extend(kernel.parameters.iter().map(String::as_str));
    add(&["-initrd", INITRAMFS, "-append", &command_line.join(" ")]);
    add(&["-serial", &format!("file:{CONSOLE}")]);
    // Whatever cache the guest sees, the host need not flush: the image is gone
    // before a power cut could matter to it.
    add(&[
        "-drive",
        &format!("file={DISK},format=raw,if=none,id=disk,cache=unsafe"),
        "-device",
        &format!("{},drive=disk,serial={DISK_SERIAL}", spec.device.qemu()),
    ]);
    add(&["-device", "virtio-serial-pci"]);
    if spec.shell {
        add(&[
            "-chardev",
            &format!("socket,id={TERMINAL},path={TERMINAL}"),
            "-device",
            &format!("virtconsole,chardev={TERMINAL}"),
        ]);
    }
    let files = spec.out.as_ref().map(|_| FILES);
    for port in [OUT, ERR, CONTROL].into_iter().chain(files) {
        add(&[
            "-chardev",
            &format!("socket,id={port},path={port}"),
            "-device",
            &format!("virtserialport,chardev={port},name=odio.{port}"),
        ]);
    }
    arguments.push("-kernel".into());
    arguments.push(kernel.image.clone().into());
    arguments
}

/// Some hosts offer /dev/kvm without a CPU that virtualises, for guests of a
/// special kind; a common guest never gets anywhere there.
fn kvm_works() -> bool {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    virtualises(&cpuinfo)
        && OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/kvm")
            .is_ok()
}

fn virtualises(cpuinfo: &str) -> bool {
    cpuinfo
        .lines()
        .find(|line| line.starts_with("flags"))
        .is_some_and(|line| line.split(' ').any(|flag| flag == "vmx" || flag == "svm"))
}

/// Copies one output of the command until it ends; the result is the exit
/// status. Tells when the command starts.
async fn relay(
    listener: UnixListener,
    mut port: Port,
    mut to: impl AsyncWrite + Unpin,
    tell: mpsc::UnboundedSender<()>,
) -> anyhow::Result<Option<i32>> {
    let (mut stream, _) = listener.accept().await?;
    let mut buffer = vec![0; 64 << 10];
    let mut output = Vec::new();
    loop {
        let bytes = stream.read(&mut buffer).await?;
        let before = port.stage();
        port.take(&buffer[..bytes], &mut output);
        if before == Stage::Booting && port.stage() != Stage::Booting {
            let _ = tell.send(());
        }
        if !output.is_empty() {
            to.write_all(&output)
                .await
                .context("cannot pass output on")?;
            to.flush().await.context("cannot pass output on")?;
            output.clear();
        }
        if let Stage::Ended(status) = port.stage() {
            return Ok(Some(status));
        }
        if bytes == 0 {
            return Ok(None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kvm_is_used_only_on_a_cpu_that_virtualises() {
        assert!(virtualises("processor : 0\nflags\t\t: fpu vmx sse\n"));
        assert!(virtualises("flags\t\t: fpu svm\n"));
        assert!(!virtualises("flags\t\t: fpu hypervisor\nbugs : svm vmx\n"));
    }

    #[test]
    fn two_cpus_never_get_two_threads() {
        let kernel = Kernel {
            name: String::new(),
            image: "/k".into(),
            modules: Vec::new(),
            parameters: vec!["a.b=1".to_owned()],
        };
        let words = arguments(&Spec::default(), &kernel, false);
        let words: Vec<&str> = words.iter().filter_map(|word| word.to_str()).collect();
        let after = |word: &str| words[words.iter().position(|w| *w == word).unwrap() + 1];
        assert!(after("-append").ends_with(" a.b=1"));
        assert!(!words.contains(&"-icount"));
        assert_eq!(after("-smp"), "2");
        assert_eq!(after("-accel"), "tcg,thread=single");
        assert_eq!(after("-m"), "1024");
        assert_eq!(after("-kernel"), "/k");
    }

    #[test]
    fn instructions_are_counted_on_one_emulated_cpu() {
        let kernel = Kernel {
            name: String::new(),
            image: "/k".into(),
            modules: Vec::new(),
            parameters: Vec::new(),
        };
        let spec = Spec {
            icount: true,
            ..Spec::default()
        };
        let words = arguments(&spec, &kernel, true);
        let words: Vec<&str> = words.iter().filter_map(|word| word.to_str()).collect();
        let after = |word: &str| words[words.iter().position(|w| *w == word).unwrap() + 1];
        assert_eq!(after("-icount"), "shift=0,sleep=off");
        assert_eq!(after("-smp"), "1");
        assert!(!words.contains(&"kvm"));
    }
}
