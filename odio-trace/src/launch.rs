//! # Starting the workload, but not before the probes are in place
//!
//! The workload's process is made first, so that the tracer knows its id; it waits for the tracer's word on a
//! socket and then becomes the command. Nothing of the command runs untraced.
//!
//! Nothing that the tracer may do goes over to the command. Under sudo it runs as the user who called sudo, with that
//! user's groups; the environment stays what sudo made of it, HOME and USER included, for what the user had before is
//! not known. A command of another user than root has no capabilities, also where the tracer has some without being
//! root. The signals that are blocked are those that were blocked for the tracer; every descriptor of the tracer is
//! close-on-exec, and those that it was given go on to the command.

use std::{
    ffi::OsString,
    fmt, fs,
    io::{self, Read},
    os::{
        linux::net::SocketAddrExt,
        unix::{net, process::CommandExt},
    },
    process,
    str::FromStr,
};

use anyhow::{Context, Result, bail};
use rustix::{
    process::{Gid, Uid, geteuid},
    thread::{
        CapabilitySet, capabilities, clear_ambient_capability_set, set_capabilities,
        set_thread_res_gid, set_thread_res_uid,
    },
};
use tokio::{
    io::AsyncWriteExt,
    net::{UnixListener, UnixStream},
    process::{Child, Command},
};

use crate::{cli, sys};

/// A command that is to be traced, and as whom it runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Launch<'a> {
    command: &'a [OsString],
    as_the_caller: bool,
}

impl<'a> Launch<'a> {
    /// As the user that the tracer runs as.
    pub(crate) fn as_it_is(command: &'a [OsString]) -> Self {
        Self {
            command,
            as_the_caller: false,
        }
    }

    /// As the user who called the tracer, under sudo another than it runs as; with `as_root` as it is.
    pub(crate) fn as_the_caller(command: &'a [OsString], as_root: bool) -> Self {
        Self {
            command,
            as_the_caller: !as_root,
        }
    }
}

/// A process that waits to become the workload.
pub(crate) struct Waiting {
    child: Child,
    word: UnixStream,
    pid: u32,
}

impl Waiting {
    /// Starts the process; it waits.
    pub(crate) async fn start(launch: &Launch<'_>) -> Result<Self> {
        let name = format!("odio-trace-{}-{}", process::id(), unique());
        let address = net::SocketAddr::from_abstract_name(&name)?;
        let listener = net::UnixListener::bind_addr(&address)
            .context("cannot make a socket for the workload")?;
        listener.set_nonblocking(true)?;
        let listener = UnixListener::from_std(listener)?;

        let mut program = Command::new("/proc/self/exe");
        program.arg("launch").arg("--blocked").arg(blocked()?);
        if launch.as_the_caller
            && let Some(caller) =
                Caller::of_sudo(geteuid().is_root(), |name| std::env::var_os(name))?
        {
            program.arg("--user").arg(caller.to_string());
        }
        let mut child = program
            .arg(&name)
            .arg("--")
            .args(launch.command)
            .kill_on_drop(true)
            .spawn()
            .context("cannot start a process for the workload")?;
        let pid = child.id().context("the workload's process is gone")?;
        let word = tokio::select! {
            word = accept(&listener, pid) => word?,
            status = child.wait() => bail!("the workload's process ended before it was told to start: {}", status?),
        };
        Ok(Self { child, word, pid })
    }

    /// Process id, of the waiting process and of the workload it becomes.
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// Lets the process become the workload.
    pub(crate) async fn go(mut self) -> Result<Child> {
        self.word
            .write_all(b"!")
            .await
            .context("the workload's process is gone")?;
        Ok(self.child)
    }
}

/// Any local process can connect to an abstract socket; only the one that was started counts.
async fn accept(listener: &UnixListener, pid: u32) -> Result<UnixStream> {
    loop {
        let (stream, _) = listener.accept().await?;
        if stream.peer_cred()?.pid() == i32::try_from(pid).ok() {
            return Ok(stream);
        }
    }
}

fn unique() -> u128 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |t| t.as_nanos())
}

/// The waiting process itself: waits for the word, then becomes the command. Returns only on failure.
pub(crate) fn become_workload(launch: &cli::Launch) -> Result<u8> {
    // Before the word, so that what this reads of users and groups is not the command's.
    if let Some(caller) = launch.user {
        caller.become_it().with_context(|| {
            format!("cannot become user {caller}; --as-root runs the command as root")
        })?;
    }
    if !geteuid().is_root() {
        drop_capabilities().context("cannot drop the capabilities")?;
    }
    let blocked = u64::from_str_radix(&launch.blocked, 16).context("--blocked")?;
    let address = net::SocketAddr::from_abstract_name(&launch.socket)?;
    let mut word = [0];
    net::UnixStream::connect_addr(&address)?
        .read_exact(&mut word)
        .context("the tracer ended before the workload started")?;
    let (program, arguments) = launch.command.split_first().context("no command")?;
    let mut command = process::Command::new(program);
    let error = sys::with_blocked(command.args(arguments), blocked).exec();
    eprintln!("odio-trace: cannot run {}: {error}", program.display());
    Ok(if error.kind() == io::ErrorKind::NotFound {
        127
    } else {
        126
    })
}

/// The signals that are blocked for this thread, as hexadecimal digits.
fn blocked() -> Result<String> {
    const STATUS: &str = "/proc/thread-self/status";
    let status = fs::read_to_string(STATUS).context(STATUS)?;
    let line = status.lines().find_map(|line| line.strip_prefix("SigBlk:"));
    Ok(line
        .context("/proc/thread-self/status has no line SigBlk")?
        .trim()
        .into())
}

/// What a command of another user than root would inherit. What is left goes with the exec.
fn drop_capabilities() -> io::Result<()> {
    clear_ambient_capability_set()?;
    let mut sets = capabilities(None)?;
    sets.inheritable = CapabilitySet::empty();
    Ok(set_capabilities(None, sets)?)
}

/// The user who called sudo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Caller {
    uid: u32,
    gid: u32,
}

impl Caller {
    /// `None` where this is not root by sudo, or root called it.
    fn of_sudo(root: bool, variable: impl Fn(&str) -> Option<OsString>) -> Result<Option<Self>> {
        let number = |name: &str| -> Result<Option<u32>> {
            let Some(text) = variable(name) else {
                return Ok(None);
            };
            let number = text.to_str().and_then(|text| text.parse().ok());
            Ok(Some(number.with_context(|| {
                format!("{name} is no number, so as whom to run the command is not known; --as-root runs it as root")
            })?))
        };
        if !root {
            return Ok(None);
        }
        match (number("SUDO_UID")?, number("SUDO_GID")?) {
            (Some(uid), Some(gid)) => Ok((uid != 0).then_some(Self { uid, gid })),
            _ => Ok(None),
        }
    }

    /// For a process of one thread.
    fn become_it(self) -> io::Result<()> {
        let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
        sys::take_groups(self.uid, self.gid)?;
        set_thread_res_gid(gid, gid, gid)?;
        Ok(set_thread_res_uid(uid, uid, uid)?)
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.uid, self.gid)
    }
}

impl FromStr for Caller {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.split_once(':')
            .and_then(|(uid, gid)| {
                Some(Self {
                    uid: uid.parse().ok()?,
                    gid: gid.parse().ok()?,
                })
            })
            .ok_or_else(|| format!("{text:?} is not UID:GID"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_sudo(root: bool, variables: &[(&str, &str)]) -> Result<Option<Caller>> {
        Caller::of_sudo(root, |name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| value.into())
        })
    }

    #[test]
    fn only_root_by_sudo_becomes_another() {
        let both = [("SUDO_UID", "1000"), ("SUDO_GID", "100")];
        let caller = of_sudo(true, &both).unwrap().unwrap();
        assert_eq!(caller.to_string(), "1000:100");
        assert_eq!("1000:100".parse(), Ok(caller));
        assert_eq!(of_sudo(false, &both).unwrap(), None);
        assert_eq!(of_sudo(true, &[]).unwrap(), None);
        assert_eq!(of_sudo(true, &both[..1]).unwrap(), None);
        let by_root = [("SUDO_UID", "0"), ("SUDO_GID", "0")];
        assert_eq!(of_sudo(true, &by_root).unwrap(), None);
        let garbled = [("SUDO_UID", "me"), ("SUDO_GID", "0")];
        let error = of_sudo(true, &garbled).unwrap_err().to_string();
        assert!(error.contains("SUDO_UID") && error.contains("--as-root"));
    }
}
