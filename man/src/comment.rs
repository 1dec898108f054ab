//! # A function's comment, in parts
//!
//! The comments are written for one reader of one header: what it does, then "Returns ..." with the errors, the thread
//! rule last; and they refer to one another ("Otherwise as ..."). A manual page wants the parts apart and whole. Text
//! in, text out.

use crate::roff::{is_errno, sentences};

/// The parts.
#[derive(Debug, Default, Clone)]
pub(crate) struct Parts {
    /// The paragraphs that are none of the others.
    pub(crate) description: Vec<String>,
    /// What it returns, without the errors.
    pub(crate) returns: Vec<String>,
    /// Each errno, without its dash, and when it is returned; that may be empty.
    pub(crate) errors: Vec<(String, String)>,
    /// What else is said of errors.
    pub(crate) about_errors: Vec<String>,
    /// "Any thread."
    pub(crate) any_thread: bool,
    /// The function that this one is like.
    pub(crate) like: Option<Like>,
}

/// A reference to another function's comment.
#[derive(Debug, Clone)]
pub(crate) struct Like {
    pub(crate) name: String,
    /// Whether what it returns, and its errors, are this function's as well.
    pub(crate) whole: bool,
}

/// References that take over what the other function returns, and one that only compares.
const LIKE: [(&str, bool); 4] = [
    ("Otherwise as ", true),
    ("threads as for ", true),
    ("threads as of ", true),
    ("As ", false),
];

/// So that NAME and a list of functions stay short, in bytes.
const LONGEST_SUMMARY: usize = 90;

impl Parts {
    pub(crate) fn of(comment: &[String]) -> Parts {
        let mut parts = Parts::default();
        for paragraph in comment {
            let mut kept = Vec::new();
            for sentence in sentences(paragraph) {
                if sentence == "Any thread." {
                    parts.any_thread = true;
                    continue;
                }
                parts.note_like(&sentence);
                kept.push(sentence);
            }
            let returns = ["Returns ", "Never "]
                .iter()
                .any(|start| paragraph.starts_with(start));
            if returns {
                parts.take_returns(kept);
            } else if !kept.is_empty() {
                for sentence in &kept {
                    if let Some((_, also)) = sentence.split_once("; also -E") {
                        parts.take_errors(&format!("-E{also}"));
                    }
                }
                parts.description.push(kept.join(" "));
            }
        }
        parts
    }

    fn note_like(&mut self, sentence: &str) {
        for (words, whole) in LIKE {
            let after = if words == "As " {
                sentence.strip_prefix(words)
            } else {
                sentence.split_once(words).map(|(_, after)| after)
            };
            let Some((name, after)) = after.and_then(|after| after.split_once("()")) else {
                continue;
            };
            if name.starts_with("odio_") && self.like.is_none() {
                // "As X(), but ..." is X except for that.
                let whole = whole || after.starts_with(", but");
                self.like = Some(Like {
                    name: name.to_owned(),
                    whole,
                });
            }
        }
    }

    fn take_returns(&mut self, sentences: Vec<String>) {
        for (number, sentence) in sentences.into_iter().enumerate() {
            let Some(at) = first_errno(&sentence) else {
                self.returns.push(sentence);
                continue;
            };
            if number > 0 && at > 0 {
                // Not a list of errors, but a sentence about one.
                self.about_errors.push(sentence);
                continue;
            }
            let (before, list) = sentence.split_at(at);
            let before = without_ending(before);
            if !before.is_empty() {
                self.returns.push(format!("{before}."));
                if !before.contains("negative errno") {
                    self.returns
                        .push("On failure it is a negative errno.".to_owned());
                }
            }
            self.take_errors(list);
        }
    }

    /// Takes a list of errors apart that begins with one.
    fn take_errors(&mut self, list: &str) {
        let mut rest = list;
        while is_errno(rest) {
            let length = rest[1..]
                .find(|next: char| !next.is_ascii_alphanumeric())
                .map_or(rest.len(), |length| length + 1);
            let name = rest[1..length].to_owned();
            let after = &rest[length..];
            let end = first_errno(after).unwrap_or(after.len());
            let when = after[..end].trim_start_matches([',', ':', ' ']);
            let mut when = without_ending(when);
            for also in ["; also the errno", ", or the errno"] {
                if let Some((before, errno)) = when.split_once(also) {
                    self.about_errors.push(format!("Also the errno{errno}."));
                    when = before;
                }
            }
            self.errors.push((name, capital(when)));
            rest = &after[end..];
        }
    }

    /// Adds what a function has that this one is like in everything else.
    pub(crate) fn complete(&mut self, other: &Parts) {
        if self.returns.is_empty() {
            self.returns.clone_from(&other.returns);
        }
        for error in &other.errors {
            if !self.errors.iter().any(|(name, _)| *name == error.0) {
                self.errors.push(error.clone());
            }
        }
        for sentence in &other.about_errors {
            if !self.about_errors.contains(sentence) {
                self.about_errors.push(sentence.clone());
            }
        }
        self.any_thread |= other.any_thread;
    }
}

fn first_errno(text: &str) -> Option<usize> {
    text.match_indices("-E")
        .map(|(at, _)| at)
        .find(|&at| is_errno(&text[at..]))
}

/// Without what joins a part of a sentence to the next one.
fn without_ending(text: &str) -> &str {
    let mut text = text.trim();
    loop {
        let shorter = ["and", "or", "also", "among them"]
            .iter()
            .filter_map(|word| text.strip_suffix(word))
            .find(|rest| rest.is_empty() || rest.ends_with([' ', ',', ';', '.']))
            .unwrap_or(text)
            .trim_end_matches([',', ';', ':', '.', ' ']);
        if shorter.len() == text.len() {
            return text;
        }
        text = shorter;
    }
}

/// The first sentence as what follows a name in a list: "reads a file".
pub(crate) fn summary(comment: &[String]) -> String {
    let first = comment
        .first()
        .and_then(|paragraph| sentences(paragraph).into_iter().next())
        .unwrap_or_default();
    let first = first.replace('`', "");
    let mut short = first.trim_end_matches('.');
    // A long sentence is cut at the end of a clause.
    if short.len() > LONGEST_SUMMARY {
        let ends = || {
            short
                .match_indices([',', ':', ';', '('])
                .map(|(at, _)| at)
                .filter(|&at| {
                    let before = &short[..at];
                    at <= LONGEST_SUMMARY
                        && !short[at..].starts_with("()")
                        && before.matches('(').count() == before.matches(')').count()
                })
        };
        // What follows a colon is a list of parts.
        let cut = ends()
            .find(|&at| short[at..].starts_with(": "))
            .or_else(|| ends().next_back());
        short = cut.map_or(short, |at| &short[..at]);
    }
    let short = short.trim();
    let mut characters = short.chars();
    let first = characters.next();
    // "RWF_DSYNC" stays as it is.
    if characters.next().is_some_and(char::is_lowercase) || short.starts_with("A ") {
        first.map(|first| first.to_lowercase().to_string() + &short[1..])
    } else {
        None
    }
    .unwrap_or_else(|| short.to_owned())
}

fn capital(text: &str) -> String {
    // A name stays as it is.
    if text
        .split(' ')
        .next()
        .is_some_and(|word| word.contains('_'))
    {
        return text.to_owned();
    }
    let mut characters = text.chars();
    characters
        .next()
        .map(|first| first.to_uppercase().to_string() + characters.as_str())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(paragraphs: &[&str]) -> Parts {
        Parts::of(
            &paragraphs
                .iter()
                .map(|&paragraph| paragraph.to_owned())
                .collect::<Vec<_>>(),
        )
    }

    fn errors(parts: &Parts) -> Vec<(&str, &str)> {
        parts
            .errors
            .iter()
            .map(|(name, when)| (name.as_str(), when.as_str()))
            .collect()
    }

    #[test]
    fn a_list_in_one_sentence_is_taken_apart() {
        let parts = parts(&[
            "Opens.",
            "Returns 0 or a negative errno of open(2); also -EISDIR for any directory, and -EINVAL where it cannot be \
             had, for options, and for more. Any thread.",
        ]);
        assert_eq!(parts.returns, ["Returns 0 or a negative errno of open(2)."]);
        assert_eq!(
            errors(&parts),
            [
                ("EISDIR", "For any directory"),
                (
                    "EINVAL",
                    "Where it cannot be had, for options, and for more"
                )
            ]
        );
        assert!(parts.any_thread);
        assert_eq!(parts.description, ["Opens."]);
    }

    #[test]
    fn a_list_of_sentences_is_taken_apart_and_the_rest_is_kept() {
        let parts = parts(&[
            "Returns 0 or a negative errno, with the cause. -EPERM: seccomp. -ENOSPC. After -ENOSPC some is there. \
             No call is made.",
        ]);
        assert_eq!(
            parts.returns,
            [
                "Returns 0 or a negative errno, with the cause.",
                "No call is made."
            ]
        );
        assert_eq!(errors(&parts), [("EPERM", "Seccomp"), ("ENOSPC", "")]);
        assert_eq!(parts.about_errors, ["After -ENOSPC some is there."]);
    }

    #[test]
    fn what_another_comment_says_is_found() {
        let like = |text: &str| {
            let like = parts(&[text]).like.expect("a reference");
            (like.name, like.whole)
        };
        let name = "odio_x".to_owned();
        assert_eq!(like("Writes. Otherwise as odio_x()."), (name.clone(), true));
        assert_eq!(
            like("Ranges, errors and threads as for odio_x()."),
            (name.clone(), true)
        );
        assert_eq!(like("As odio_x(), but more."), (name.clone(), true));
        assert_eq!(like("As odio_x() with none."), (name, false));
        let also =
            parts(&["Writes. Otherwise as odio_x(); also -EBADF on a file opened for reading."]);
        assert_eq!(errors(&also), [("EBADF", "On a file opened for reading")]);
    }

    #[test]
    fn a_summary_is_the_main_clause() {
        let of = |text: &str| summary(&[text.to_owned()]);
        assert_eq!(of("Takes in an fsync. More."), "takes in an fsync");
        assert_eq!(
            of(
                "Opens a regular file or a block device and finds out what it can do, which may include one read."
            ),
            "opens a regular file or a block device and finds out what it can do"
        );
    }
}
