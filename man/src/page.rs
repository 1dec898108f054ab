//! # Pages
//!
//! One manual page for each function, type and group of constants of the header, and the overview. Text in, text out.

use std::fmt::Write;

use crate::comment::{Parts, summary};
use crate::header::{Header, Item, Kind, Member, Prototype};
use crate::roff::{bold, escape, italic, literal, prose};

/// What the pages are made of.
pub(crate) struct Sources {
    pub(crate) header: Header,
    /// The version of the package.
    pub(crate) version: String,
    /// Each symbol version, without its prefix, and the patterns it exports; oldest first.
    pub(crate) versions: Vec<(String, Vec<String>)>,
    /// Example programs: file name and text.
    pub(crate) examples: Vec<(String, String)>,
    /// The text of libodio(7), in the form that [`Sources::overview`] takes.
    pub(crate) overview: String,
}

/// The page that shows each example program; pages of other functions that it calls refer to that one.
const EXAMPLES: [(&str, &str); 6] = [
    ("direct_read.c", "odio_file_read"),
    ("write_modes.c", "odio_queue_wait"),
    ("async_queue.c", "odio_queue_dispatch"),
    ("log.c", "odio_queue_writev"),
    ("pool.c", "odio_pool_new"),
    ("event_loop.c", "odio_queue_eventfd"),
];

/// The standard texts of errors that comments name without a word.
const ERRORS: [(&str, &str); 4] = [
    ("ENOMEM", "There is not enough memory."),
    ("ENOSPC", "The device or the filesystem is full."),
    ("EIO", "The device failed."),
    ("EBADF", "The file is not open for this."),
];

impl Sources {
    /// Every page with its file name.
    pub(crate) fn pages(&self) -> Vec<(String, String)> {
        let mut pages = vec![("libodio.7".to_owned(), self.overview())];
        for item in &self.header.items {
            let page = match &item.kind {
                Kind::Function(prototype) => self.function(item, prototype),
                Kind::Define(_) => continue,
                _ => self.of_type(item),
            };
            pages.push((format!("{}.3", item.name), page));
        }
        pages
    }

    fn start(&self, name: &str, section: u8, summary: &str) -> String {
        format!(
            ".\\\" Made from odio.h. Do not edit.\n.TH {name} {section} \"\" \"libodio {}\" \"libodio manual\"\n\
             .SH NAME\n{name} \\- {}\n.SH LIBRARY\nDirect I/O library\n.RI ( libodio ,\\~ \\-lodio )\n",
            self.version,
            escape(summary)
        )
    }

    fn function(&self, item: &Item, prototype: &Prototype) -> String {
        let name = &item.name;
        let parts = self.parts(item, 0);
        let mut page = self.start(name, 3, &summary(&item.comment));
        page += &synopsis(&declaration(name, prototype));
        page += &section("DESCRIPTION", &paragraphs(&parts.description, name));
        for group in self.mentioned_groups(&item.comment.join(" ")) {
            page += &self.group(&group, name);
        }
        page += &section("RETURN VALUE", &prose(&parts.returns.join(" "), name));
        page += &self.errors(&parts, name);
        page += &section("THREADS", &prose(&threads(&parts, prototype), name));
        page += &self.history(name);
        page += &self.example(name);
        let mut also: Vec<String> = self.types_of(prototype);
        also.extend(self.neighbours(item));
        page + &see_also(also)
    }

    /// The parts of a function's comment, completed from the one it refers to.
    fn parts(&self, item: &Item, depth: u8) -> Parts {
        let mut parts = Parts::of(&item.comment);
        let like = parts.like.clone();
        let other = like
            .as_ref()
            .and_then(|like| self.header.item(&like.name))
            // Comments that refer to each other in a circle would be a mistake; they end here.
            .filter(|_| depth < 4);
        if let (Some(like), Some(other)) = (like, other) {
            let other = self.parts(other, depth + 1);
            if like.whole {
                parts.complete(&other);
            } else {
                if parts.returns.is_empty() {
                    parts.returns.clone_from(&other.returns);
                }
                parts.any_thread |= other.any_thread;
                parts
                    .about_errors
                    .push(format!("For its errors see {}().", like.name));
            }
        }
        parts
    }

    fn errors(&self, parts: &Parts, here: &str) -> String {
        let mut text = String::new();
        for (name, when) in &parts.errors {
            let standard = ERRORS.iter().find(|(known, _)| known == name);
            let when = match (when.as_str(), standard) {
                ("", Some((_, standard))) => (*standard).to_owned(),
                ("", None) => "See errno(3).".to_owned(),
                (when, _) => format!("{when}."),
            };
            let _ = write!(
                text,
                ".TP\n{}\n{}",
                bold(&format!("-{name}")),
                prose(&when, here)
            );
        }
        for sentence in &parts.about_errors {
            let _ = write!(text, ".PP\n{}", prose(sentence, here));
        }
        section("ERRORS", &text)
    }

    /// In which version a function appeared, as the version script says.
    fn history(&self, name: &str) -> String {
        let exports = |pattern: &String| {
            pattern
                .strip_suffix('*')
                .map_or(pattern == name, |start| name.starts_with(start))
        };
        let exact = self
            .versions
            .iter()
            .find(|(_, patterns)| patterns.iter().any(|pattern| pattern == name));
        let version = exact.or_else(|| {
            self.versions
                .iter()
                .find(|(_, patterns)| patterns.iter().any(exports))
        });
        let text = version.map_or_else(String::new, |(version, _)| {
            format!("libodio {}.\n", escape(version))
        });
        section("HISTORY", &text)
    }

    fn example(&self, name: &str) -> String {
        let calls = |text: &str| text.contains(&format!("{name}("));
        let shown = EXAMPLES.iter().find(|(_, home)| *home == name);
        let text = if let Some((file, _)) = shown {
            self.examples
                .iter()
                .find(|(known, _)| known == file)
                .map_or_else(String::new, |(_, text)| literal(text))
        } else {
            EXAMPLES
                .iter()
                .find(|(file, _)| {
                    self.examples
                        .iter()
                        .any(|(known, text)| known == file && calls(text))
                })
                .map_or_else(String::new, |(_, home)| {
                    prose(&format!("See the program in {home}()."), name)
                })
        };
        section("EXAMPLES", &text)
    }

    /// The page of a type: what it is, its members, and what their values may be.
    fn of_type(&self, item: &Item) -> String {
        let name = &item.name;
        let mut page = self.start(name, 3, &summary(&item.comment));
        let mut mentions = item.comment.join(" ");
        let (declared, members) = match &item.kind {
            Kind::Enum(members) => (body("enum", name, members, ","), members.as_slice()),
            Kind::Struct(members) => (body("struct", name, members, ";"), members.as_slice()),
            Kind::Callback(declared) => (declared.clone(), [].as_slice()),
            _ => (format!("typedef struct {name} {name};"), [].as_slice()),
        };
        page += &synopsis(
            &declared
                .lines()
                .map(|line| format!("\\fB{}\\fP", escape(line)))
                .collect::<Vec<_>>()
                .join("\n"),
        );
        let mut text = paragraphs(&item.comment, name);
        for member in members {
            text += &described(member, name);
            mentions += " ";
            mentions += &member.comment;
        }
        page += &section("DESCRIPTION", &text);
        for other in &self.header.items {
            let Kind::Enum(members) = &other.kind else {
                continue;
            };
            if other.name != *name && mentions_name(&mentions, &other.name) {
                let _ = writeln!(page, ".SS {}", other.name);
                page += &paragraphs(&other.comment, name);
                for member in members {
                    page += &described(member, name);
                }
            }
        }
        for group in self.mentioned_groups(&mentions) {
            page += &self.group(&group, name);
        }
        let users = self.header.items.iter().filter(|other| match &other.kind {
            Kind::Function(prototype) => prototype
                .parameters
                .iter()
                .any(|parameter| mentions_name(parameter, name)),
            Kind::Struct(members) => members
                .iter()
                .any(|member| mentions_name(&member.comment, name)),
            _ => false,
        });
        let users = users.map(|user| user.name.clone());
        page + &see_also(users.filter(|user| user != name).collect())
    }

    /// The groups of constants that a text names like "ODIO_OPEN_*".
    fn mentioned_groups(&self, text: &str) -> Vec<String> {
        let mut groups = self.groups();
        groups.retain(|group| text.contains(&format!("{group}_*")));
        groups
    }

    /// The first two words of each constant's name, once each.
    fn groups(&self) -> Vec<String> {
        let mut groups: Vec<String> = Vec::new();
        for item in &self.header.items {
            let group: Vec<&str> = item.name.split('_').take(2).collect();
            let group = group.join("_");
            if matches!(item.kind, Kind::Define(_)) && !groups.contains(&group) {
                groups.push(group);
            }
        }
        groups
    }

    fn group(&self, group: &str, here: &str) -> String {
        let mut text = format!(".SS {group}_*\n");
        for item in &self.header.items {
            let Kind::Define(value) = &item.kind else {
                continue;
            };
            if item.name == group || item.name.starts_with(&format!("{group}_")) {
                let value = if value.starts_with('(') {
                    String::new()
                } else {
                    format!(" = {}", escape(value))
                };
                let _ = write!(
                    text,
                    ".TP\n{}{value}\n{}",
                    bold(&item.name),
                    prose(&item.comment.join(" "), here)
                );
            }
        }
        text
    }

    fn types_of(&self, prototype: &Prototype) -> Vec<String> {
        let types = self.header.items.iter().filter(|item| {
            !matches!(item.kind, Kind::Function(_) | Kind::Define(_))
                && prototype
                    .parameters
                    .iter()
                    .any(|parameter| mentions_name(parameter, &item.name))
        });
        types.map(|item| item.name.clone()).collect()
    }

    /// The functions that a comment names.
    fn neighbours(&self, item: &Item) -> Vec<String> {
        let text = item.comment.join(" ");
        let named = self.header.items.iter().filter(|other| {
            other.name != item.name
                && matches!(other.kind, Kind::Function(_))
                && text.contains(&format!("{}()", other.name))
        });
        named.map(|other| other.name.clone()).collect()
    }

    /// libodio(7). Its source is text with a little markup: "# TITLE", "## Title"; paragraphs; "- name: text"; lines
    /// that are indented by four spaces stand as they are; and "{...}" for what the header says: a word of its
    /// prologue, a type, "functions", or "constants", which are those that no other page shows.
    fn overview(&self) -> String {
        let mut page = self.start("libodio", 7, "direct I/O that says what it did");
        page += ".SH SYNOPSIS\n.nf\n.B #include <odio.h>\n.fi\n";
        for block in self.overview.split("\n\n") {
            let block = block.trim_matches('\n');
            let text = || block.split_whitespace().collect::<Vec<_>>().join(" ");
            if block.starts_with("    ") {
                let lines: Vec<&str> = block
                    .lines()
                    .map(|line| line.get(4..).unwrap_or(""))
                    .collect();
                page += &literal(&lines.join("\n"));
            } else if let Some(title) = block.strip_prefix("# ") {
                let _ = writeln!(page, ".SH {}", escape(title));
            } else if let Some(title) = block.strip_prefix("## ") {
                let _ = writeln!(page, ".SS {}", escape(title));
            } else if let Some((name, rest)) = block
                .strip_prefix("- ")
                .and_then(|item| item.split_once(": "))
            {
                let rest = rest.split_whitespace().collect::<Vec<_>>().join(" ");
                let _ = write!(page, ".TP\n{}\n{}", bold(name), prose(&rest, ""));
            } else if let Some(name) = block
                .strip_prefix('{')
                .and_then(|rest| rest.strip_suffix('}'))
            {
                page += &self.included(name);
            } else if !block.is_empty() {
                let _ = write!(page, ".PP\n{}", prose(&text(), ""));
            }
        }
        let types = self
            .header
            .items
            .iter()
            .filter(|item| !matches!(item.kind, Kind::Function(_) | Kind::Define(_)));
        page + &see_also(types.map(|item| item.name.clone()).collect())
    }

    fn included(&self, name: &str) -> String {
        if name == "functions" {
            let mut text = String::new();
            for item in &self.header.items {
                if matches!(item.kind, Kind::Function(_)) {
                    let _ = write!(
                        text,
                        ".TP\n.BR {} (3)\n{}\n",
                        item.name,
                        escape(&summary(&item.comment))
                    );
                }
            }
            return text;
        }
        if name == "constants" {
            let shown: String = self
                .header
                .items
                .iter()
                .map(|item| match &item.kind {
                    Kind::Struct(members) => {
                        item.comment.join(" ")
                            + &members
                                .iter()
                                .map(|member| member.comment.as_str())
                                .collect::<String>()
                    }
                    _ => item.comment.join(" "),
                })
                .collect();
            let elsewhere = self.mentioned_groups(&shown);
            let groups = self
                .groups()
                .into_iter()
                .filter(|group| !elsewhere.contains(group));
            return groups.map(|group| self.group(&group, "")).collect();
        }
        let prologue = self.header.prologue.iter().find(|(title, _)| title == name);
        if let Some((title, paragraph)) = prologue {
            return format!(".PP\n{}", prose(paragraph[title.len() + 1..].trim(), ""));
        }
        let Some(item) = self.header.item(name) else {
            panic!("libodio.txt names {{{name}}}, which the header does not have");
        };
        let mut text = paragraphs(&item.comment, "");
        if let Kind::Enum(members) | Kind::Struct(members) = &item.kind {
            for member in members {
                text += &described(member, "");
            }
        }
        text
    }
}

/// The rule for threads, from the comment or else from the handle.
fn threads(parts: &Parts, prototype: &Prototype) -> String {
    if parts.any_thread {
        return "Any thread may call this.".to_owned();
    }
    let handle = prototype
        .parameters
        .iter()
        .filter_map(|parameter| {
            parameter
                .split([' ', '*'])
                .find(|word| word.starts_with("odio_"))
        })
        .next();
    match handle {
        Some("odio_queue") => "One thread at a time for each queue; see odio_queue(3).".to_owned(),
        Some(handle) => format!("See {handle}(3)."),
        None => "The answer is the calling thread's own.".to_owned(),
    }
}

fn section(title: &str, text: &str) -> String {
    if text.trim().is_empty() {
        return String::new();
    }
    // A heading and a paragraph macro after it would be one too many.
    let text = text.strip_prefix(".PP\n").unwrap_or(text);
    format!(".SH {title}\n{text}")
}

fn paragraphs(all: &[String], here: &str) -> String {
    all.iter()
        .map(|paragraph| format!(".PP\n{}", prose(paragraph, here)))
        .collect()
}

fn synopsis(declared: &str) -> String {
    format!(".SH SYNOPSIS\n.nf\n.B #include <odio.h>\n.PP\n{declared}\n.fi\n")
}

/// A prototype with the parameters' names in italics, in lines of 78 characters at most.
fn declaration(name: &str, prototype: &Prototype) -> String {
    let begin = format!("{}{name}(", prototype.result);
    let mut out = format!("\\fB{}", escape(&begin));
    let mut column = begin.len();
    let last = prototype.parameters.len() - 1;
    for (number, parameter) in prototype.parameters.iter().enumerate() {
        let end = if number == last { ");" } else { "," };
        let at = parameter.rfind([' ', '*']).map_or(0, |at| at + 1);
        let (of_type, name) = parameter.split_at(at);
        let length = parameter.len() + end.len();
        if number > 0 && column + 1 + length > 78 {
            out += "\n        ";
            column = 8 + length;
        } else if number > 0 {
            out.push(' ');
            column += 1 + length;
        } else {
            column += length;
        }
        if of_type.is_empty() {
            out += &escape(name);
        } else {
            let _ = write!(
                out,
                "{}{}\\fB",
                escape(of_type),
                italic(name).trim_end_matches("\\fP")
            );
        }
        out += &escape(end);
    }
    out + "\\fP"
}

fn body(what: &str, name: &str, members: &[Member], end: &str) -> String {
    let mut out = format!("typedef {what} {name} {{\n");
    for member in members {
        let _ = writeln!(out, "    {}{end}", member.declaration);
    }
    out + &format!("}} {name};")
}

/// A member with its comment.
fn described(member: &Member, here: &str) -> String {
    // Of a struct's member the name, of an enum's the value as well.
    let (name, value) = match member.declaration.split_once(" = ") {
        Some((name, value)) => (name, format!(" = {value}")),
        None => {
            let name = member.declaration.rsplit([' ', '*']).next();
            (name.unwrap_or(&member.declaration), String::new())
        }
    };
    let name = if value.is_empty() {
        italic(name)
    } else {
        bold(name) + &escape(&value)
    };
    format!(".TP\n{name}\n{}", prose(&member.comment, here))
}

/// Whether a text names a type, as a word of its own.
fn mentions_name(text: &str, name: &str) -> bool {
    text.match_indices(name).any(|(at, _)| {
        let is_part = |next: char| next.is_ascii_alphanumeric() || next == '_';
        !text[..at].ends_with(is_part) && !text[at + name.len()..].starts_with(is_part)
    })
}

fn see_also(mut names: Vec<String>) -> String {
    names.sort();
    names.dedup();
    let mut lines: Vec<String> = names.iter().map(|name| format!(".BR {name} (3)")).collect();
    lines.push(".BR libodio (7)".to_owned());
    format!(".SH SEE ALSO\n{}\n", lines.join(" ,\n"))
}
