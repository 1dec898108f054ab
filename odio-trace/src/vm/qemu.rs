//! # QEMU
//!
//! Its command line, its process and the end of both. The process ends with
//! the run, whatever ends the run.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    os::fd::AsRawFd as _,
    path::Path,
    process::Stdio,
    time::Duration,
};

use anyhow::Context as _;
use tokio::{
    io::{AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::UnixListener,
    process::{Child, Command},
    sync::mpsc,
    time::timeout,
};

use super::{
    Error, Filesystem, Spec, console,
    guest::{Port, Stage},
    host,
    kernel::Kernel,
    progress::Progress,
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
    let mut machine = host::Running(start(qemu, spec, kernel, room)?);

    let (tell, mut told) = mpsc::unbounded_channel();
    let ports = async {
        tokio::try_join!(
            relay(out, Port::new(mark), outputs.0, tell.clone()),
            relay(err, Port::new(mark), outputs.1, tell.clone()),
        )
    };
    let mut phase = "the guest was still booting";
    let watched = async {
        tokio::pin!(ports);
        loop {
            tokio::select! {
                ended = &mut ports => return ended.map(|(status, _)| Some(status)),
                Some(()) = told.recv() => {
                    phase = "the command was still running";
                    progress.clear();
                }
                status = machine.0.wait() => {
                    status?;
                    // The last bytes may still be on their way.
                    let ended = timeout(Duration::from_secs(5), &mut ports).await;
                    return Ok(match ended {
                        Ok(Ok((status, _))) => Some(status),
                        _ => None,
                    });
                }
            }
        }
    };
    let ended = timeout(spec.timeout, watched).await;
    progress.clear();
    let exited = machine.0.try_wait().ok().flatten();
    drop(machine);

    let console = room.join(CONSOLE);
    match ended {
        Ok(Ok(Some(status))) => Ok(status),
        Ok(Ok(None)) => {
            let messages = fs::read_to_string(room.join(MESSAGES)).unwrap_or_default();
            let why = match (exited, messages.trim()) {
                (Some(status), "") => format!("QEMU ended ({status})"),
                (Some(status), said) => format!("QEMU ended ({status}) and said: {said}"),
                (None, said) => said.to_owned(),
            };
            Err(console::reason(&console::read(&console), spec.memory, &why).into())
        }
        Ok(Err(error)) => Err(error),
        Err(_) => Err(Error::Hang {
            seconds: spec.timeout.as_secs(),
            phase,
            console: console::tail(&console::read(&console)),
        }
        .into()),
    }
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
    for port in [OUT, ERR] {
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
) -> anyhow::Result<i32> {
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
            return Ok(status);
        }
        if bytes == 0 {
            // The end of QEMU says more about why.
            std::future::pending::<()>().await;
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
