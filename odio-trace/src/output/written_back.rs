//! The table of what was written back of each file from the page cache.

use super::text::{self, FILES, bytes, printable};
use crate::writeback::Writeback;

/// The header of [`row`].
pub(crate) const COLUMNS: [&str; 5] = ["written back", "bios", "bytes", "FUA", "sent by ops"];

/// One file.
pub(crate) fn row(file: &Writeback) -> [String; 5] {
    let names: Vec<String> = file.names.iter().map(|n| printable(&n.file)).collect();
    let name = match (names.is_empty(), file.ino) {
        (false, _) => names.join(", "),
        (true, Some(ino)) => format!("inode {ino} of {}", file.dev),
        (true, None) => format!("block device {}", file.dev),
    };
    [
        name,
        file.bios.to_string(),
        bytes(file.bytes),
        file.fua.to_string(),
        file.bios_in_ops.to_string(),
    ]
}

/// As text: those with most bytes, and how many others there are. Empty where nothing was written back.
pub(crate) fn table(files: &[Writeback]) -> String {
    if files.is_empty() {
        return String::new();
    }
    let mut most: Vec<&Writeback> = files.iter().collect();
    most.sort_by_key(|file| std::cmp::Reverse(file.bytes));
    let others = most.split_off(most.len().min(FILES));
    let mut table = text::table(&COLUMNS);
    for file in most {
        table.add_row(row(file));
    }
    if !others.is_empty() {
        let sum = |of: fn(&Writeback) -> u64| others.iter().map(|file| of(file)).sum::<u64>();
        table.add_row([
            format!("{} other files", others.len()),
            sum(|file| file.bios).to_string(),
            bytes(sum(|file| file.bytes)),
            sum(|file| file.fua).to_string(),
            sum(|file| file.bios_in_ops).to_string(),
        ]);
    }
    table.trim_fmt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::Dev;

    fn file(json: &str) -> Writeback {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn files_are_told_by_name_or_else_by_number_and_the_largest_first() {
        let dev = serde_json::to_string(&Dev { major: 8, minor: 1 }).unwrap();
        let of = |ino: &str, names: &str, bytes: u64| {
            file(&format!(
                r#"{{"type":"writeback","dev":{dev},"ino":{ino},"names":{names},"bios":3,"bytes":{bytes},"fua":1,"bios_in_ops":2,"ns":5}}"#
            ))
        };
        let mut files = vec![
            of("7", r#"[{"file":"/a"},{"file":"/b\n"}]"#, 8192),
            of("9", "[]", 4096),
            of("null", "[]", 1 << 20),
        ];
        let told = table(&files);
        let lines: Vec<&str> = told.lines().skip(2).map(str::trim).collect();
        assert!(lines[0].starts_with("block device 8:1"), "{told}");
        assert!(lines[1].starts_with(r"/a, /b\n"), "{told}");
        assert!(lines[1].contains("8.00KiB"), "{told}");
        assert!(lines[2].starts_with("inode 9 of 8:1"), "{told}");

        assert_eq!(table(&[]), "");
        files.resize(FILES + 2, files[1].clone());
        assert!(table(&files).contains("2 other files"));
    }
}
