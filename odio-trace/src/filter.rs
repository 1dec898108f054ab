//! # Which ops are shown
//!
//! Filters look at whole ops, after they were traced: they hide nothing from the account, and what they leave out is
//! counted. What a filter cannot tell of an op (its name was lost, its end was not seen) it does not hold against it.

use std::{ffi::OsString, path::Path, time::Duration};

use anyhow::{Context, Result, bail};
use clap::{
    Args, ValueEnum,
    builder::{OsStringValueParser, TypedValueParser},
};

use serde::Deserialize;

use crate::{
    glob::Glob,
    kernel::{Dev, Kernel},
    op::Op,
};

/// What an op may be asked to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    Read,
    Write,
    Sync,
}

/// The filters of the command line. Of one option given several times one value must fit, of several options each.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Filters")]
pub(crate) struct Filters {
    /// Only ops on files with such a path: * ? ** [a-z]; without a slash, with such a name (may be given again)
    #[arg(long, value_name = "GLOB", value_parser = OsStringValueParser::new().try_map(glob))]
    pub(crate) file: Vec<Glob>,
    /// Only ops on this device, or on a filesystem on it: MAJ:MIN or /dev/NAME (may be given again)
    #[arg(long, value_name = "DEV")]
    pub(crate) dev: Vec<String>,
    /// Only ops of this kind (may be given again)
    #[arg(long, value_name = "KIND", value_delimiter = ',')]
    pub(crate) op: Vec<Kind>,
    /// Only ops that took at least so long: 5ms, 100us, 1s
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) min_latency: Option<Duration>,
}

fn glob(text: OsString) -> Result<Glob> {
    use std::os::unix::ffi::OsStrExt;
    Glob::new(text.as_bytes())
}

/// What the op is.
pub(crate) fn kind(op: &Op) -> Kind {
    match op.op {
        "read" => Kind::Read,
        "write" => Kind::Write,
        _ => Kind::Sync,
    }
}

/// The bytes of its file's path, where it is known.
pub(crate) fn name(op: &Op) -> Option<&[u8]> {
    op.file_bytes
        .as_deref()
        .or(op.file.as_deref().map(str::as_bytes))
}

/// Whether a path, which may have no beginning, fits one of some patterns; `None` where that cannot be told.
pub(crate) fn fits(globs: &[Glob], path: &[u8]) -> Option<bool> {
    let mut told = Some(false);
    for glob in globs {
        match glob.fits_seen(path) {
            Some(true) => return Some(true),
            Some(false) => {}
            None => told = None,
        }
    }
    told
}

/// Filters with the devices looked up.
#[derive(Debug)]
pub(crate) struct Filter<'a> {
    asked: &'a Filters,
    devs: Vec<Dev>,
}

impl<'a> Filter<'a> {
    /// Looks up the devices.
    pub(crate) fn new(asked: &'a Filters, kernel: &Kernel) -> Result<Self> {
        let mut devs = Vec::new();
        for dev in &asked.dev {
            devs.extend(devices(dev, kernel)?);
        }
        Ok(Self { asked, devs })
    }

    /// Whether the op is to be shown.
    pub(crate) fn passes(&self, op: &Op) -> bool {
        let asked = self.asked;
        let file = |name| fits(&asked.file, name).unwrap_or(true);
        let fast =
            |at_least: Duration| op.acknowledged && u128::from(op.latency_ns) < at_least.as_nanos();
        (asked.file.is_empty() || name(op).is_none_or(file))
            && (self.devs.is_empty() || self.devs.contains(&op.dev))
            && (asked.op.is_empty() || asked.op.contains(&kind(op)))
            && !asked.min_latency.is_some_and(fast)
    }
}

/// The device of that number or node, and the filesystems that are mounted from it under a number of their own.
fn devices(text: &str, kernel: &Kernel) -> Result<Vec<Dev>> {
    use std::os::unix::fs::{FileTypeExt, MetadataExt};
    if let Ok(dev) = text.parse() {
        return Ok(vec![dev]);
    }
    if !text.starts_with('/') {
        bail!("--dev {text}: neither MAJ:MIN nor the path of a device");
    }
    let node = std::fs::metadata(text).with_context(|| format!("--dev {text}"))?;
    if !node.file_type().is_block_device() {
        bail!("--dev {text}: this is no block device");
    }
    let mut found = vec![Dev::from_stat(node.rdev())];
    // btrfs gives its filesystems numbers of their own.
    if let Ok(mounts) = &kernel.mounts {
        let real = std::fs::canonicalize(text).ok();
        let same = |source: &Path| source == Path::new(text) || Some(source) == real.as_deref();
        found.extend(mounts.of_source(same).map(|mount| mount.dev));
    }
    Ok(found)
}

/// A time with its unit: `5ms`, `1.5s`, `100us`.
pub(crate) fn duration(text: &str) -> Result<Duration> {
    const UNITS: [(&str, f64); 6] = [
        ("ns", 1e-9),
        ("us", 1e-6),
        ("ms", 1e-3),
        ("s", 1.0),
        ("m", 60.0),
        ("h", 3600.0),
    ];
    let digits = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let (_, seconds) = UNITS
        .iter()
        .find(|(name, _)| *name == unit)
        .context("a time is a number and its unit: ns, us, ms, s, m or h, as in 5ms")?;
    let number: f64 = number.parse().context("no number before the unit")?;
    Duration::try_from_secs_f64(number * seconds).context("longer than can be waited for")
}

#[cfg(test)]
mod tests {
    use bytemuck::Zeroable;
    use odio_trace_common::{OpFlags, OpKind, OpRecord};

    use super::*;
    use crate::{kernel::canned, plan::Watched, verdict::Place};

    /// A write to a file that took so many nanoseconds.
    fn op(file: Option<&str>, latency: u64) -> Op {
        let record = OpRecord {
            op: OpKind::Write as u32,
            dev: 259 << 20 | 2,
            begin_ns: 1,
            end_ns: 1 + latency,
            flags: OpFlags::ACKED,
            ..OpRecord::zeroed()
        };
        Op::new(
            &record,
            file.map(Into::into),
            Place::default(),
            Watched::all_but(&[]),
        )
    }

    fn passes(asked: &Filters, op: &Op) -> bool {
        let kernel = Kernel::survey(&canned("6.1"), &[]);
        Filter::new(asked, &kernel).unwrap().passes(op)
    }

    #[test]
    fn one_value_of_each_option_must_fit() {
        let glob = |text: &str| Glob::new(text.as_bytes()).unwrap();
        let asked = Filters {
            file: vec![glob("*.ibd"), glob("/var/log/**")],
            op: vec![Kind::Write, Kind::Sync],
            ..Filters::default()
        };
        assert!(passes(&Filters::default(), &op(Some("/x"), 1)));
        assert!(passes(&asked, &op(Some("/data/t.ibd"), 1)));
        assert!(passes(&asked, &op(Some("/var/log/a/b"), 1)));
        assert!(!passes(&asked, &op(Some("/data/t.frm"), 1)));
        let mut read = op(Some("/data/t.ibd"), 1);
        read.op = "read";
        assert!(!passes(&asked, &read));
        read.op = "sync";
        assert!(passes(&asked, &read));
    }

    #[test]
    fn what_cannot_be_told_is_shown() {
        let asked = Filters {
            file: vec![Glob::new(b"/none").unwrap()],
            ..Filters::default()
        };
        assert!(passes(&asked, &op(None, 1)));
        let asked = Filters {
            min_latency: Some(Duration::from_micros(1)),
            ..Filters::default()
        };
        let mut op = op(None, 999);
        assert!(!passes(&asked, &op));
        op.latency_ns = 1000;
        assert!(passes(&asked, &op));
        op.latency_ns = 0;
        op.acknowledged = false;
        assert!(passes(&asked, &op));
    }

    #[test]
    fn a_name_that_is_no_text_is_matched_by_its_bytes() {
        let asked = Filters {
            file: vec![Glob::new(b"a\xffb").unwrap()],
            ..Filters::default()
        };
        let mut op = op(Some("/a\u{fffd}b"), 1);
        assert!(!passes(&asked, &op));
        op.file_bytes = Some(b"/a\xffb".to_vec());
        assert!(passes(&asked, &op));
    }

    #[test]
    fn devices_by_number_and_by_node() {
        let by = |dev: &str| Filters {
            dev: vec![dev.into()],
            ..Filters::default()
        };
        assert!(passes(&by("259:2"), &op(None, 1)));
        assert!(!passes(&by("259:1"), &op(None, 1)));
        let kernel = Kernel::survey(&canned("6.1"), &[]);
        for (wrong, why) in [
            ("sda", "neither"),
            ("/dev/null", "no block device"),
            ("/dev/no such device", "No such file"),
        ] {
            let asked = by(wrong);
            let error = format!("{:#}", Filter::new(&asked, &kernel).unwrap_err());
            assert!(error.contains(why), "{wrong}: {error}");
        }
    }

    #[test]
    fn times_have_units() {
        for (text, nanoseconds) in [
            ("5ms", 5_000_000),
            ("1.5s", 1_500_000_000),
            ("100us", 100_000),
            ("7ns", 7),
            ("2m", 120_000_000_000),
            ("0s", 0),
        ] {
            assert_eq!(duration(text).unwrap().as_nanos(), nanoseconds, "{text}");
        }
        for text in [
            "",
            "5",
            "ms",
            "-1s",
            "1.2.3s",
            "5 ms",
            "1e3s",
            "9999999999999999999999h",
        ] {
            assert!(duration(text).is_err(), "{text:?}");
        }
    }
}
