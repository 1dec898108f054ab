//! # What goes into the guest
//!
//! busybox, the command with its shared libraries and interpreters, this
//! program, and what the user adds. A file has the same path in the guest as
//! on the host. Programs are found in this order: those carried in, those
//! in the usual folders, busybox.
//!
//! Reads the host; starts only dynamic loaders, to ask them for libraries.

use std::{
    collections::BTreeMap,
    env,
    ffi::{OsStr, OsString},
    fs::{self, File},
    io::Read as _,
    os::unix::{
        ffi::{OsStrExt as _, OsStringExt as _},
        fs::PermissionsExt as _,
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::{
    Error,
    elf::Elf,
    host,
    initramfs::{Content, Node},
    kernel::Module,
};

/// First on the guest's PATH: one link per program carried in.
const BIN: &str = "/odio/bin";
/// Last on the guest's PATH: one link per tool of busybox.
const BUSYBOX: &str = "/odio/busybox";
const INIT: &str = include_str!("guest-init.sh");

/// A root folder in the making.
pub(crate) struct Tree {
    nodes: BTreeMap<PathBuf, Node>,
    /// The programs that busybox stands in for.
    applets: Vec<String>,
}

impl Tree {
    /// What every guest has.
    pub(crate) fn new() -> anyhow::Result<Self> {
        let mut tree = Self::empty();
        for (folder, target) in MERGED {
            tree.nodes
                .insert(Path::new("/").join(folder), Node::Link(target.into()));
        }
        for folder in ["dev", "proc", "sys", "run", "tmp", "mnt", "root", "etc"] {
            tree.folder(&Path::new("/").join(folder));
        }
        let console = Node::Device { major: 5, minor: 1 };
        tree.nodes.insert("/dev/console".into(), console);
        tree.text("/etc/passwd", "root:x:0:0:root:/root:/bin/sh\n");
        tree.text("/etc/group", "root:x:0:\n");
        tree.text("/etc/hosts", "127.0.0.1 localhost\n");

        let busybox = host::tool("busybox")?;
        let list = Command::new(&busybox).arg("--list").output()?;
        let list = String::from_utf8_lossy(&list.stdout).into_owned();
        // It lists itself, too.
        let applets = list.lines().filter(|name| *name != "busybox");
        tree.applets = applets.map(str::to_owned).collect();
        tree.executable(&busybox, &Path::new(BUSYBOX).join("busybox"))?;
        for applet in tree.applets.clone() {
            tree.link(&Path::new(BUSYBOX).join(applet), Path::new("busybox"));
        }
        // Scripts name these by path.
        for (path, applet) in [("/usr/bin/sh", "sh"), ("/usr/bin/env", "env")] {
            tree.link(Path::new(path), &Path::new(BUSYBOX).join(applet));
        }

        tree.itself()?;
        Ok(tree)
    }

    pub(crate) fn empty() -> Self {
        Self {
            nodes: BTreeMap::new(),
            applets: Vec::new(),
        }
    }

    /// The command: its program, and the programs it is told to run, which by
    /// custom stand behind `--`.
    pub(crate) fn command(&mut self, command: &[OsString]) -> anyhow::Result<()> {
        let mut words = Vec::new();
        let mut is_program = true;
        for word in command {
            let mut word = word.clone();
            if is_program {
                if let Some(path) = self.lookup(&word)? {
                    word = path.into_os_string();
                } else if words.is_empty() {
                    if !self.is_applet(&word) {
                        let program = word.display().to_string();
                        return Err(Error::CommandNotFound { program }.into());
                    }
                    word = Path::new(BUSYBOX).join(word).into_os_string();
                }
            }
            is_program = word == "--";
            words.push(word);
        }

        let mut script = b"exec".to_vec();
        for word in &words {
            script.push(b' ');
            script.extend(quoted(word));
        }
        script.push(b'\n');
        self.put(Path::new("/odio/command"), 0o644, Content::Bytes(script));

        let mut environment = Vec::new();
        // Where the loader looks has decided which libraries were carried.
        for name in ["TERM", "LD_LIBRARY_PATH"] {
            if let Some(value) = env::var_os(name) {
                environment.extend(format!("export {name}=").bytes());
                environment.extend(quoted(&value));
                environment.push(b'\n');
            }
        }
        self.put(
            Path::new("/odio/environment"),
            0o644,
            Content::Bytes(environment),
        );
        Ok(())
    }

    /// Carries the program that `word` names, if the host has it. The result
    /// replaces the word: the guest's working directory is another one, so a
    /// relative path would lead nowhere.
    fn lookup(&mut self, word: &OsStr) -> anyhow::Result<Option<PathBuf>> {
        if word == "odio-trace" {
            return Ok(Some(Path::new(BIN).join("odio-trace")));
        }
        if word.as_bytes().contains(&b'/') {
            let path = std::path::absolute(word)?;
            if !host::is_executable(&path) {
                return Ok(None);
            }
            self.program(&path)?;
            return Ok(Some(path));
        }
        // The shell that starts it is busybox's, and takes a bare name for a
        // tool of busybox before it looks at the PATH.
        match host::program(word) {
            Some(path) => {
                self.program(&path)?;
                Ok(Some(Path::new(BIN).join(word)))
            }
            None => Ok(None),
        }
    }

    fn is_applet(&self, word: &OsStr) -> bool {
        self.applets.iter().any(|applet| word == applet.as_str())
    }

    /// A file, program or folder that the user names.
    pub(crate) fn add(&mut self, path: &Path) -> anyhow::Result<()> {
        let path = std::path::absolute(path)?;
        let refused = |why: String| Error::Carry {
            path: path.clone(),
            why,
        };
        let meta = fs::metadata(&path).map_err(|error| refused(error.to_string()))?;
        Self::visible(&path)?;
        if meta.is_dir() {
            self.everything_in(&path)
                .map_err(|error| refused(error.to_string()))?;
        } else if host::is_executable(&path) {
            self.program(&path)?;
        } else if meta.is_file() {
            let mode = meta.permissions().mode() & 0o777;
            self.put(&path, mode, Content::Host(path.clone()));
        } else {
            return Err(refused("it is neither a file nor a folder".to_owned()).into());
        }
        Ok(())
    }

    fn everything_in(&mut self, folder: &Path) -> std::io::Result<()> {
        self.folder(folder);
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let path = entry.path();
            let kind = entry.file_type()?;
            if kind.is_dir() {
                self.everything_in(&path)?;
            } else if kind.is_symlink() {
                self.link(&path, &fs::read_link(&path)?);
            } else if kind.is_file() {
                let mode = entry.metadata()?.permissions().mode() & 0o777;
                self.put(&path, mode, Content::Host(path.clone()));
            }
        }
        Ok(())
    }

    /// Refuses what the guest's own mounts would hide.
    fn visible(path: &Path) -> Result<(), Error> {
        for hidden in ["/dev", "/proc", "/sys", "/mnt"] {
            if path.starts_with(hidden) {
                return Err(Error::Carry {
                    path: path.to_owned(),
                    why: format!("the guest has a {hidden} of its own"),
                });
            }
        }
        Ok(())
    }

    /// A program, with a link in the first folder of the guest's PATH.
    fn program(&mut self, path: &Path) -> anyhow::Result<()> {
        Self::visible(path)?;
        self.executable(path, path)?;
        if let Some(name) = path.file_name() {
            let link = Path::new(BIN).join(name);
            if !self.nodes.contains_key(&link) {
                self.link(&link, path);
            }
        }
        Ok(())
    }

    /// A program and what it takes to start it.
    fn executable(&mut self, host: &Path, guest: &Path) -> anyhow::Result<()> {
        self.put(guest, 0o755, Content::Host(host.to_owned()));
        self.needs(host)
    }

    /// This program, which is on the guest's PATH under its own name.
    fn itself(&mut self) -> anyhow::Result<()> {
        let path = env::current_exe()?;
        let guest = Path::new(BIN).join("odio-trace");
        self.put(&guest, 0o755, Content::Trimmed(path.clone()));
        self.needs(&path)
    }

    fn needs(&mut self, program: &Path) -> anyhow::Result<()> {
        let refused = |why: String| Error::Carry {
            path: program.to_owned(),
            why,
        };
        let mut start = Vec::new();
        File::open(program)
            .and_then(|file| file.take(1 << 20).read_to_end(&mut start))
            .map_err(|error| refused(error.to_string()))?;

        if let Some(line) = start.strip_prefix(b"#!") {
            return self.interpreter(line);
        }
        if !start.starts_with(b"\x7fELF") {
            return Ok(());
        }
        let whole = fs::read(program).map_err(|error| refused(error.to_string()))?;
        let elf = Elf::parse(&whole).ok_or_else(|| refused("a damaged program".to_owned()))?;
        let Some(interpreter) = elf.interpreter else {
            return Ok(());
        };
        let listed = Command::new(&interpreter)
            .arg("--list")
            .arg(program)
            .stdin(Stdio::null())
            .output()
            .map_err(|error| refused(format!("its loader {interpreter}: {error}")))?;
        if !listed.status.success() {
            let message = String::from_utf8_lossy(&listed.stderr).trim().to_owned();
            return Err(refused(format!("its libraries: {message}")).into());
        }
        let loader = PathBuf::from(interpreter);
        self.put(&loader, 0o755, Content::Host(loader.clone()));
        for library in libraries(&listed.stdout).map_err(&refused)? {
            self.put(&library, 0o755, Content::Host(library.clone()));
        }
        Ok(())
    }

    /// Carries what the first line of a script names.
    fn interpreter(&mut self, line: &[u8]) -> anyhow::Result<()> {
        let line = line.split(|&b| b == b'\n').next().unwrap_or_default();
        let mut words = line
            .split(|b| b.is_ascii_whitespace())
            .filter(|word| !word.is_empty())
            .map(|word| Path::new(OsStr::from_bytes(word)));
        let Some(interpreter) = words.next() else {
            return Ok(());
        };
        if interpreter.ends_with("env") {
            let name = words.find(|word| !word.as_os_str().as_bytes().starts_with(b"-"));
            if let Some(path) = name.and_then(|name| host::program(name.as_os_str())) {
                self.program(&path)?;
            }
        }
        if host::is_executable(interpreter) {
            self.program(interpreter)?;
        }
        Ok(())
    }

    /// Modules, to be loaded in this order.
    pub(crate) fn modules(&mut self, modules: &[Module]) {
        for (index, module) in modules.iter().enumerate() {
            let path = &module.path;
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let name = name.split_once(".ko").map_or(&*name, |(name, _)| name);
            self.put(
                &PathBuf::from(format!("/odio/modules/{index:02}-{name}.ko")),
                0o644,
                Content::Module(path.clone()),
            );
            let parameters = module.parameters.join(" ") + "\n";
            self.text(
                &format!("/odio/modules/{index:02}-{name}.parameters"),
                &parameters,
            );
        }
    }

    /// The program that the kernel starts, and what it is told.
    pub(crate) fn init(&mut self, settings: &str) {
        let script = Content::Bytes(INIT.as_bytes().to_vec());
        self.put(Path::new("/init"), 0o755, script);
        self.text("/odio/settings", settings);
    }

    fn text(&mut self, path: &str, text: &str) {
        self.put(Path::new(path), 0o644, Content::Bytes(text.into()));
    }

    pub(crate) fn put(&mut self, path: &Path, mode: u32, content: Content) {
        self.insert(path, Node::File { mode, content });
    }

    pub(crate) fn link(&mut self, path: &Path, target: &Path) {
        self.insert(path, Node::Link(target.to_owned()));
    }

    fn folder(&mut self, path: &Path) {
        let path = merged(path);
        for folder in path.ancestors() {
            self.nodes.entry(folder.to_owned()).or_insert(Node::Folder);
        }
    }

    fn insert(&mut self, path: &Path, node: Node) {
        let path = merged(path);
        if let Some(parent) = path.parent() {
            self.folder(parent);
        }
        self.nodes.insert(path, node);
    }

    /// Folders come before what is in them.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = (&Path, &Node)> {
        self.nodes
            .iter()
            .filter(|(path, _)| path.parent().is_some())
            .map(|(path, node)| (path.strip_prefix("/").unwrap_or(path), node))
    }

    /// About how large the archive will be.
    pub(crate) fn size(&self) -> u64 {
        self.nodes
            .values()
            .map(|node| match node {
                Node::File { content, .. } => match content {
                    Content::Bytes(bytes) => bytes.len() as u64,
                    Content::Host(path) | Content::Trimmed(path) | Content::Module(path) => {
                        fs::metadata(path).map_or(0, |meta| meta.len())
                    }
                },
                _ => 0,
            })
            .sum()
    }
}

/// The guest has a merged /usr, so that a file has one place whichever way
/// its path was written.
const MERGED: [(&str, &str); 4] = [
    ("bin", "usr/bin"),
    ("sbin", "usr/sbin"),
    ("lib", "usr/lib"),
    ("lib64", "usr/lib64"),
];

fn merged(path: &Path) -> PathBuf {
    for (folder, target) in MERGED {
        if let Ok(rest) = path.strip_prefix(Path::new("/").join(folder))
            && !rest.as_os_str().is_empty()
        {
            return Path::new("/").join(target).join(rest);
        }
    }
    path.to_owned()
}

/// The files in the answer of `ld.so --list`.
fn libraries(listed: &[u8]) -> Result<Vec<PathBuf>, String> {
    let mut found = Vec::new();
    for line in listed.split(|&b| b == b'\n') {
        let line = String::from_utf8_lossy(line);
        let line = line.trim();
        let path = line.split_once(" => ").map_or(line, |(_, path)| path);
        if path.starts_with("not found") {
            return Err(format!("a library is missing: {line}"));
        }
        let path = path.split_once(" (0x").map_or(path, |(path, _)| path);
        if path.starts_with('/') {
            found.push(PathBuf::from(path));
        }
    }
    Ok(found)
}

/// A word that a shell takes for exactly these bytes.
fn quoted(word: &OsStr) -> Vec<u8> {
    let mut quoted = b"'".to_vec();
    for &byte in word.to_os_string().into_vec().iter() {
        match byte {
            b'\'' => quoted.extend(br"'\''"),
            _ => quoted.push(byte),
        }
    }
    quoted.push(b'\'');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(words: &[&str]) -> (Tree, anyhow::Result<()>) {
        let mut tree = Tree::empty();
        tree.applets = vec!["an-applet".to_owned()];
        let words: Vec<OsString> = words.iter().map(Into::into).collect();
        let result = tree.command(&words);
        (tree, result)
    }

    fn script(tree: &Tree) -> &str {
        match &tree.nodes[Path::new("/odio/command")] {
            Node::File {
                content: Content::Bytes(bytes),
                ..
            } => std::str::from_utf8(bytes).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_program_comes_with_its_loader_and_libraries() {
        let (tree, result) = command(&["sh", "-c", "true"]);
        result.unwrap();
        let has = |end: &str| {
            tree.nodes()
                .any(|(path, _)| path.to_string_lossy().ends_with(end))
        };
        assert!(has("odio/bin/sh"));
        assert!(has("libc.so.6"));
        assert!(has("ld-linux-x86-64.so.2"));
    }

    #[test]
    fn a_program_behind_two_dashes_is_carried_too() {
        let (tree, result) = command(&["odio-trace", "run", "--", "cat", "x"]);
        result.unwrap();
        assert!(tree.nodes.contains_key(Path::new("/odio/bin/cat")));
        assert!(!tree.nodes.contains_key(Path::new("/odio/bin/x")));
    }

    #[test]
    fn a_relative_program_is_named_by_its_whole_path() {
        let here = env::current_dir().unwrap();
        let up: PathBuf = here.components().skip(1).map(|_| "..").collect();
        let sh = up.join("bin/sh");
        let (tree, result) = command(&[sh.to_str().unwrap()]);
        result.unwrap();
        assert!(script(&tree).starts_with("exec '/"), "{}", script(&tree));
    }

    #[test]
    fn only_a_command_that_nothing_has_is_not_found() {
        assert!(command(&["no-such-program-anywhere"]).1.is_err());
        assert!(command(&["/no/such/program"]).1.is_err());
        let (tree, result) = command(&["an-applet"]);
        result.unwrap();
        assert_eq!(script(&tree), "exec '/odio/busybox/an-applet'\n");
        assert!(command(&["sh", "--", "no-such-program-anywhere"]).1.is_ok());
    }

    #[test]
    fn words_reach_the_guest_unchanged() {
        let (tree, _) = command(&["sh", "-c", "echo 'a b' $HOME \"x\"\n\\"]);
        assert_eq!(
            script(&tree),
            "exec '/odio/bin/sh' '-c' 'echo '\\''a b'\\'' $HOME \"x\"\n\\'\n"
        );
    }

    #[test]
    fn every_file_has_one_place_and_a_folder() {
        let mut tree = Tree::empty();
        tree.put(Path::new("/lib/x/a.so"), 0o644, Content::Bytes(vec![1]));
        tree.put(Path::new("/usr/lib/x/a.so"), 0o644, Content::Bytes(vec![2]));
        let paths: Vec<&Path> = tree.nodes().map(|(path, _)| path).collect();
        assert_eq!(
            paths,
            ["usr", "usr/lib", "usr/lib/x", "usr/lib/x/a.so"].map(Path::new)
        );
    }

    #[test]
    fn a_missing_library_is_an_error_that_names_it() {
        let listed = b"\tlinux-vdso.so.1 (0x1)\n\tlibc.so.6 => /lib/libc.so.6 (0x2)\n";
        assert_eq!(
            libraries(listed).unwrap(),
            [PathBuf::from("/lib/libc.so.6")]
        );
        let listed = b"\tlibx.so => not found\n";
        assert!(libraries(listed).unwrap_err().contains("libx.so"));
    }

    #[test]
    fn what_is_added_must_exist() {
        let mut tree = Tree::empty();
        let error = tree.add(Path::new("/no/such/file")).unwrap_err();
        assert!(error.to_string().contains("/no/such/file"), "{error}");
        let error = tree.add(Path::new("/proc/self/exe")).unwrap_err();
        assert!(error.to_string().contains("of its own"), "{error}");
        tree.add(Path::new("/etc/passwd")).unwrap();
        assert!(tree.nodes.contains_key(Path::new("/etc/passwd")));
    }
}
