//! # man(7) text
//!
//! Turns sentences of doc comments into roff: what must be escaped is, and names look as in other manual pages. Text in,
//! text out.

/// Escapes text that stands as it is.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\\' => out.push_str("\\e"),
            '-' => out.push_str("\\-"),
            '\'' => out.push_str("\\(aq"),
            '"' => out.push_str("\\(dq"),
            '^' => out.push_str("\\(ha"),
            '~' => out.push_str("\\(ti"),
            '`' => out.push_str("\\(ga"),
            other => out.push(other),
        }
    }
    out
}

pub(crate) fn bold(text: &str) -> String {
    format!("\\fB{}\\fP", escape(text))
}

pub(crate) fn italic(text: &str) -> String {
    format!("\\fI{}\\fP", escape(text))
}

/// A paragraph of a comment, a sentence on each line. `here` is the function that the page is of, which does not refer
/// to itself.
pub(crate) fn prose(text: &str, here: &str) -> String {
    sentences(text)
        .iter()
        .map(|sentence| guarded(&inline(sentence, here)) + "\n")
        .collect()
}

/// Lines that stand as they are, in a monospaced font where there is one.
pub(crate) fn literal(text: &str) -> String {
    let lines: String = text
        .lines()
        .map(|line| guarded(&escape(line)) + "\n")
        .collect();
    format!(".PP\n.in +4n\n.EX\n{lines}.EE\n.in\n")
}

/// A line that roff does not take for a request.
fn guarded(line: &str) -> String {
    if line.starts_with(['.', '\'']) {
        format!("\\&{line}")
    } else {
        line.to_owned()
    }
}

/// Splits text where a sentence ends and another begins.
pub(crate) fn sentences(text: &str) -> Vec<String> {
    let mut all = vec![String::new()];
    let mut rest = text.chars().peekable();
    while let Some(character) = rest.next() {
        let sentence = all.last_mut().expect("never empty");
        if character == ' ' && (sentence.ends_with('.') || sentence.ends_with(".)")) {
            let begins = rest.peek().is_some_and(|&next| {
                next.is_uppercase() || next.is_ascii_digit() || "`-\"(".contains(next)
            });
            if begins {
                all.push(String::new());
                continue;
            }
        }
        sentence.push(character);
    }
    all.retain(|sentence| !sentence.is_empty());
    all
}

/// Marks up the names in a sentence: functions and constants bold, arguments (which stand in backticks), members and
/// types italic.
fn inline(text: &str, here: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if let Some((code, after)) = rest.strip_prefix('`').and_then(|code| code.split_once('`')) {
            out.push_str(&italic(code));
            rest = after;
            continue;
        }
        // A negative errno is a word; any other dash is not part of one.
        let dash = usize::from(is_errno(rest));
        let length = dash + word(&rest[dash..]);
        if length == 0 {
            out.push_str(&escape(&first.to_string()));
            rest = &rest[first.len_utf8()..];
            continue;
        }
        let (name, after) = rest.split_at(length);
        rest = after;
        if let Some(after) = after.strip_prefix("()") {
            out.push_str(&bold(name));
            if name.starts_with("odio_") && name != here {
                out.push_str("(3)");
            } else {
                out.push_str("()");
            }
            rest = after;
        } else if is_page(after) || dash == 1 || is_constant(name) {
            out.push_str(&bold(name));
        } else if name.starts_with("odio_") {
            out.push_str(&italic(name));
        } else {
            out.push_str(&escape(name));
        }
    }
    out
}

/// How long the name is that `text` begins with; a star or a member may follow it.
fn word(text: &str) -> usize {
    let is_part = |character: char| character.is_ascii_alphanumeric() || character == '_';
    let mut length = text.find(|next| !is_part(next)).unwrap_or(text.len());
    if length > 0 && text[length..].starts_with('*') && text[..length].ends_with('_') {
        length += 1;
    }
    if text.starts_with("odio_") && text[length..].starts_with('.') {
        let member = &text[length + 1..];
        let member = member.find(|next| !is_part(next)).unwrap_or(member.len());
        if member > 0 {
            length += 1 + member;
        }
    }
    length
}

/// Whether a name is that of a manual page, for what comes after it: "(2)".
fn is_page(after: &str) -> bool {
    let mut after = after.strip_prefix('(').unwrap_or_default().chars();
    after
        .next()
        .is_some_and(|digit| ('1'..='8').contains(&digit))
        && after.next() == Some(')')
}

/// Whether `text` begins with a negative errno.
pub(crate) fn is_errno(text: &str) -> bool {
    let mut name = text.strip_prefix("-E").unwrap_or_default().chars();
    name.next()
        .is_some_and(|next| next.is_ascii_uppercase() || next.is_ascii_digit())
}

fn is_constant(name: &str) -> bool {
    name.contains('_')
        && name.starts_with(|first: char| first.is_ascii_uppercase())
        && name.chars().all(|next| {
            next.is_ascii_uppercase() || next.is_ascii_digit() || next == '_' || next == '*'
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_marked_up_and_nothing_is_lost() {
        for (text, expected) in [
            (
                "-EINVAL where `min` is wrong, see odio_queue_wait().",
                r"\fB\-EINVAL\fP where \fImin\fP is wrong, see \fBodio_queue_wait\fP(3).",
            ),
            ("odio_here() does so.", r"\fBodio_here\fP() does so."),
            (
                "ODIO_OPEN_* bits, open(2), odio_limits.length_align.",
                r"\fBODIO_OPEN_*\fP bits, \fBopen\fP(2), \fIodio_limits.length_align\fP.",
            ),
            ("A well-known \\ 'x'", r"A well\-known \e \(aqx\(aq"),
        ] {
            assert_eq!(inline(text, "odio_here"), expected);
        }
    }

    #[test]
    fn a_line_is_no_request() {
        assert_eq!(prose(".so odio", ""), "\\&.so odio\n");
    }

    #[test]
    fn sentences_end_where_another_begins() {
        assert_eq!(
            sentences("Linux 6.1. -EPERM: no. Of i.e. this. `x` is. 0 is not"),
            [
                "Linux 6.1.",
                "-EPERM: no.",
                "Of i.e. this.",
                "`x` is.",
                "0 is not"
            ]
        );
    }
}
