//! # How this kernel was configured
//!
//! Reads the options asked for from `/proc/config.gz`, or from where distributions install the configuration. It says
//! how the kernel was built, not what it lets happen now: where there is live evidence, that comes first.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::PathBuf;

use flate2::read::GzDecoder;

use super::root::{Root, Seen, Unseen, Why};

const PROC: &str = "/proc/config.gz";

/// A configuration is some 200 KiB; what inflates to more than this is none.
const MAX_INFLATED: u64 = 16 << 20;

/// The options that bear on tracing.
pub(crate) const KEYS: &[&str] = &["DEBUG_INFO_BTF", "KPROBE_EVENTS"];

/// The options asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Config {
    /// The file they were read from.
    pub(crate) source: PathBuf,
    options: BTreeMap<String, Setting>,
}

/// What an option is set to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Setting {
    BuiltIn,
    Module,
    /// The configuration says `is not set`.
    Off,
    /// A number or a quoted text, as written.
    Value(String),
}

impl Config {
    /// Reads the first configuration there is for `release`; `keys` are without `CONFIG_`.
    pub(crate) fn read(root: &Root, release: Option<&str>, keys: &[&str]) -> Seen<Self> {
        let installed = release.into_iter().flat_map(|release| {
            [
                format!("/boot/config-{release}"),
                format!("/lib/modules/{release}/config"),
                format!("/usr/lib/modules/{release}/config"),
            ]
        });
        let mut first = match root.bytes(PROC).and_then(|bytes| inflate(&bytes)) {
            Ok(text) => return Ok(Self::parse(PROC.into(), &text, keys)),
            Err(unseen) => unseen,
        };
        for path in installed {
            match root.text(&path) {
                Ok(text) => return Ok(Self::parse(path.into(), &text, keys)),
                // A file that is there and cannot be read tells more than the ones that are not.
                Err(unseen) if first.why == Why::Absent => first = unseen,
                Err(_) => {}
            }
        }
        Err(first)
    }

    pub(crate) fn parse(source: PathBuf, text: &str, keys: &[&str]) -> Self {
        let options = text
            .lines()
            .filter_map(setting)
            .filter(|(key, _)| keys.contains(key))
            .map(|(key, setting)| (key.to_owned(), setting))
            .collect();
        Self { source, options }
    }

    /// What an option is set to; `None` where this kernel does not know it, or it was not asked for.
    pub(crate) fn get(&self, key: &str) -> Option<&Setting> {
        self.options.get(key)
    }

    /// Whether an option is built in or a module.
    pub(crate) fn on(&self, key: &str) -> bool {
        matches!(self.get(key), Some(Setting::BuiltIn | Setting::Module))
    }
}

/// `CONFIG_X=y` or `# CONFIG_X is not set`.
fn setting(line: &str) -> Option<(&str, Setting)> {
    if let Some(rest) = line.strip_prefix("# CONFIG_") {
        return Some((rest.strip_suffix(" is not set")?, Setting::Off));
    }
    let (key, value) = line.strip_prefix("CONFIG_")?.split_once('=')?;
    let setting = match value {
        "y" => Setting::BuiltIn,
        "m" => Setting::Module,
        // Kconfig does not write it, but some hand-made configurations do.
        "n" => Setting::Off,
        value => Setting::Value(value.to_owned()),
    };
    Some((key, setting))
}

pub(crate) fn inflate(bytes: &[u8]) -> Seen<String> {
    let mut text = Vec::new();
    let read = GzDecoder::new(bytes)
        .take(MAX_INFLATED)
        .read_to_end(&mut text)
        .map_err(|error| Unseen::garbled(PROC, error.to_string()))?;
    if read as u64 == MAX_INFLATED {
        return Err(Unseen::garbled(PROC, "it inflates to more than 16 MiB"));
    }
    Ok(String::from_utf8_lossy(&text).into_owned())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;
    use std::path::Path;

    use flate2::{Compression, write::GzEncoder};

    use super::super::canned;
    use super::*;

    fn gz(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn an_installed_configuration() {
        let release = "6.1.0-50-cloud-amd64";
        let keys = ["KPROBES", "FPROBE", "XFS_FS", "LSM", "NEVER_HEARD_OF"];
        let config = Config::read(&canned("6.1"), Some(release), &keys).unwrap();
        assert_eq!(
            config.source,
            Path::new("/boot/config-6.1.0-50-cloud-amd64")
        );
        assert_eq!(config.get("KPROBES"), Some(&Setting::BuiltIn));
        assert_eq!(config.get("XFS_FS"), Some(&Setting::Module));
        assert_eq!(config.get("FPROBE"), Some(&Setting::Off));
        assert!(matches!(config.get("LSM"), Some(Setting::Value(v)) if v.contains("lockdown")));
        assert_eq!(config.get("NEVER_HEARD_OF"), None);
        assert_eq!(config.get("BPF_JIT"), None, "not asked for");
        assert!(config.on("KPROBES") && config.on("XFS_FS") && !config.on("FPROBE"));
        let later = Config::read(&canned("6.12"), Some("6.12.107+deb12-cloud-amd64"), &keys);
        assert!(later.unwrap().on("FPROBE"));
    }

    #[test]
    fn the_running_kernels_own_comes_first() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::at(dir.path());
        for sub in ["proc", "boot", "usr/lib/modules/r"] {
            fs::create_dir_all(dir.path().join(sub)).unwrap();
        }
        fs::write(
            dir.path().join("usr/lib/modules/r/config"),
            "CONFIG_FPROBE=m\n",
        )
        .unwrap();
        let read = || Config::read(&root, Some("r"), &["FPROBE"]);
        assert_eq!(read().unwrap().get("FPROBE"), Some(&Setting::Module));
        fs::write(dir.path().join("boot/config-r"), "CONFIG_FPROBE=n\n").unwrap();
        assert_eq!(read().unwrap().get("FPROBE"), Some(&Setting::Off));
        fs::write(dir.path().join("proc/config.gz"), gz(b"CONFIG_FPROBE=y\n")).unwrap();
        assert_eq!(read().unwrap().get("FPROBE"), Some(&Setting::BuiltIn));
        assert_eq!(read().unwrap().source, Path::new(PROC));
        // A broken one is passed over for the next.
        fs::write(dir.path().join("proc/config.gz"), b"junk").unwrap();
        assert_eq!(read().unwrap().get("FPROBE"), Some(&Setting::Off));
    }

    #[test]
    fn what_is_broken_is_told_before_what_is_absent() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::at(dir.path());
        let why = |root: &Root| Config::read(root, Some("r"), KEYS).unwrap_err().why;
        assert_eq!(why(&root), Why::Absent);
        assert_eq!(
            Config::read(&root, None, KEYS).unwrap_err().what,
            Path::new(PROC)
        );
        // A directory cannot be read, and that is told rather than that another file is not there.
        fs::create_dir_all(dir.path().join("boot/config-r")).unwrap();
        let error = Config::read(&root, Some("r"), KEYS).unwrap_err();
        assert_eq!(error.what, Path::new("/boot/config-r"));
        assert!(matches!(error.why, Why::Io(_)));
        fs::create_dir_all(dir.path().join("proc")).unwrap();
        let whole = gz(b"CONFIG_FPROBE=y\n");
        fs::write(dir.path().join("proc/config.gz"), &whole[..whole.len() - 9]).unwrap();
        assert!(matches!(why(&root), Why::Garbled(_)));
        fs::write(
            dir.path().join("proc/config.gz"),
            gz(&vec![b'#'; MAX_INFLATED as usize + 1]),
        )
        .unwrap();
        assert!(matches!(why(&root), Why::Garbled(how) if how.contains("16 MiB")));
    }

    #[test]
    fn a_line_is_matched_whole() {
        assert_eq!(setting("CONFIG_A=y"), Some(("A", Setting::BuiltIn)));
        assert_eq!(
            setting("CONFIG_HZ=250"),
            Some(("HZ", Setting::Value("250".into())))
        );
        assert_eq!(setting("# CONFIG_A is not set"), Some(("A", Setting::Off)));
        for line in ["", "#", "# CONFIG_A", "# A is not set", "CONFIG_A", "A=y"] {
            assert_eq!(setting(line), None, "{line:?}");
        }
    }
}
