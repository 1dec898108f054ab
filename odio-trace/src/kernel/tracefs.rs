//! # Tracepoints, as tracefs shows them
//!
//! Finds where tracefs is mounted and which events it lists. It mounts nothing: that is for whoever runs odio-trace.

use std::path::{Path, PathBuf};

use super::mounts::Mounts;
use super::root::{Root, Seen, Unseen, Why};

/// Where the kernel's own documentation mounts it.
const USUAL: &str = "/sys/kernel/tracing";

/// A mounted tracefs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tracefs {
    root: Root,
    /// Its mount point.
    pub(crate) point: PathBuf,
}

/// One event of tracefs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    /// What perf_event_open(2) wants in `config`.
    pub(crate) id: u64,
    /// Whether the layout of its record can be read.
    pub(crate) has_format: bool,
}

impl Tracefs {
    /// Looks for tracefs among the mounts: the usual place first, then any other, then below debugfs, which mounts it
    /// by itself when looked at.
    pub(crate) fn find(root: &Root, mounts: &Seen<Mounts>) -> Seen<Self> {
        let mounts = mounts.as_ref().map_err(Clone::clone)?;
        let own = || mounts.of_fs("tracefs").map(|m| m.point.clone());
        let usual = own().find(|point| point == Path::new(USUAL));
        let below_debugfs = || {
            mounts
                .of_fs("debugfs")
                .map(|m| m.point.join("tracing"))
                .find(|point| root.exists(point.join("events")) == Ok(true))
        };
        usual
            .or_else(|| own().next())
            .or_else(below_debugfs)
            .map(|point| Self {
                root: root.clone(),
                point,
            })
            .ok_or_else(|| Unseen::new(USUAL, Why::NotMounted("tracefs")))
    }

    /// The path of a file in it.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.point.join(name)
    }

    /// The event `group:name`: `None` if this kernel has none (yet: the events of a module come with the module).
    pub(crate) fn event(&self, group: &str, name: &str) -> Seen<Option<Event>> {
        let dir = self.point.join("events").join(group).join(name);
        match self.root.value(dir.join("id")) {
            Ok(id) => Ok(Some(Event {
                id,
                has_format: self.root.exists(dir.join("format"))?,
            })),
            // An event without an id is one of ftrace's own, which nothing can attach to.
            Err(Unseen {
                why: Why::Absent, ..
            }) => Ok(None),
            Err(unseen) => Err(unseen),
        }
    }
}

/// Where debugfs is mounted.
pub(crate) fn debugfs(mounts: &Seen<Mounts>) -> Seen<PathBuf> {
    mounts
        .as_ref()
        .map_err(Clone::clone)?
        .of_fs("debugfs")
        .last()
        .map(|m| m.point.clone())
        .ok_or_else(|| Unseen::new("/sys/kernel/debug", Why::NotMounted("debugfs")))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::canned;
    use super::*;

    fn tree(mountinfo: &str) -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("proc/self")).unwrap();
        fs::write(dir.path().join("proc/self/mountinfo"), mountinfo).unwrap();
        let root = Root::at(dir.path());
        (dir, root)
    }

    fn find(root: &Root) -> Seen<Tracefs> {
        Tracefs::find(root, &Mounts::read(root))
    }

    #[test]
    fn events_differ_by_kernel() {
        let has = |kernel: &str, group: &str, name: &str| {
            find(&canned(kernel))
                .unwrap()
                .event(group, name)
                .unwrap()
                .is_some()
        };
        for kernel in ["5.10", "6.1", "6.12", "7.2"] {
            assert!(has(kernel, "block", "block_bio_queue"), "{kernel}");
        }
        assert!(!has("6.1", "iomap", "iomap_dio_rw_queued"));
        assert!(has("6.12", "iomap", "iomap_dio_rw_queued"));
        let tracefs = find(&canned("6.12")).unwrap();
        let event = tracefs.event("block", "block_bio_queue").unwrap().unwrap();
        let text = canned("6.12")
            .text("/sys/kernel/tracing/events/block/block_bio_queue/id")
            .unwrap();
        assert_eq!(event.id.to_string(), text.trim());
        assert!(event.has_format);
    }

    #[test]
    fn not_mounted_is_said_so() {
        let (_dir, root) = tree("1 0 8:1 / / rw - ext4 a rw\n");
        let error = find(&root).unwrap_err();
        assert_eq!(error.why, Why::NotMounted("tracefs"));
        assert_eq!(
            error.to_string(),
            "/sys/kernel/tracing: tracefs is not mounted there"
        );
        let error = debugfs(&Mounts::read(&root)).unwrap_err();
        assert_eq!(error.why, Why::NotMounted("debugfs"));
    }

    #[test]
    fn the_usual_place_wins_and_debugfs_comes_last() {
        let (_dir, root) = tree(
            "1 0 0:7 / /sys/kernel/debug rw - debugfs d rw\n\
             2 0 0:8 / /odd rw - tracefs t rw\n\
             3 0 0:8 / /sys/kernel/tracing rw - tracefs t rw\n",
        );
        assert_eq!(find(&root).unwrap().point, Path::new(USUAL));
        let (_dir, root) = tree("2 0 0:8 / /odd rw - tracefs t rw\n");
        assert_eq!(find(&root).unwrap().point, Path::new("/odd"));

        let (dir, root) = tree("1 0 0:7 / /sys/kernel/debug rw - debugfs d rw\n");
        assert!(find(&root).is_err());
        fs::create_dir_all(dir.path().join("sys/kernel/debug/tracing/events")).unwrap();
        assert_eq!(
            find(&root).unwrap().point,
            Path::new("/sys/kernel/debug/tracing")
        );
    }

    #[test]
    fn an_id_that_is_no_number_is_not_an_absent_event() {
        let (dir, root) = tree("3 0 0:8 / /sys/kernel/tracing rw - tracefs t rw\n");
        let event = dir.path().join("sys/kernel/tracing/events/g/e");
        fs::create_dir_all(&event).unwrap();
        let tracefs = find(&root).unwrap();
        assert_eq!(tracefs.event("g", "e"), Ok(None));
        fs::write(event.join("id"), "12\n").unwrap();
        let found = tracefs.event("g", "e").unwrap().unwrap();
        assert_eq!((found.id, found.has_format), (12, false));
        fs::write(event.join("id"), "").unwrap();
        assert!(tracefs.event("g", "e").is_err());
    }
}
