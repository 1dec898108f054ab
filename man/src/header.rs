//! # The header, read
//!
//! Takes odio.h apart: the prologue, and every documented item with its comment. It knows the C that cbindgen writes
//! for odio-ffi and no other. Reads text and touches nothing.

use anyhow::{Context, Result, bail};

/// A header.
#[derive(Debug)]
pub(crate) struct Header {
    /// The paragraphs of the comment at the top, each with the word it begins with: "Errors", "Threads".
    pub(crate) prologue: Vec<(String, String)>,
    /// In the order of the header.
    pub(crate) items: Vec<Item>,
}

/// A documented item.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    pub(crate) name: String,
    /// The paragraphs of its comment.
    pub(crate) comment: Vec<String>,
    pub(crate) kind: Kind,
}

#[derive(Debug, Clone)]
pub(crate) enum Kind {
    /// A macro and its value.
    Define(String),
    /// An enum and its members.
    Enum(Vec<Member>),
    /// A struct and its members.
    Struct(Vec<Member>),
    /// A struct that C does not see into.
    Opaque,
    /// A function type, as it is declared.
    Callback(String),
    Function(Prototype),
}

/// A member of a struct or an enum.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    /// "uint32_t direct" or "ODIO_DIRECT_OFF = 2".
    pub(crate) declaration: String,
    pub(crate) comment: String,
}

/// A function's declaration.
#[derive(Debug, Clone)]
pub(crate) struct Prototype {
    /// With its stars: "const char *".
    pub(crate) result: String,
    /// "const char *path", or "void" alone.
    pub(crate) parameters: Vec<String>,
}

impl Header {
    pub(crate) fn read(text: &str) -> Result<Header> {
        let prologue = text
            .split_once("/*")
            .and_then(|(_, rest)| rest.split_once("*/"))
            .context("the header begins with no comment")?
            .0;
        let prologue = paragraphs(prologue)
            .into_iter()
            .filter_map(|paragraph| {
                let (title, _) = paragraph.split_once(". ")?;
                let one_word = title.chars().all(char::is_alphanumeric);
                one_word.then(|| (title.to_owned(), paragraph.clone()))
            })
            .collect();

        let mut items = Vec::new();
        let mut rest = text;
        while let Some((_, after)) = rest.split_once("/**") {
            let (comment, after) = after.split_once("*/").context("a comment has no end")?;
            let (item, after) = Item::read(paragraphs(comment), after.trim_start())?;
            items.push(item);
            rest = after;
        }
        if items.is_empty() {
            bail!("the header documents nothing");
        }
        Ok(Header { prologue, items })
    }

    pub(crate) fn item(&self, name: &str) -> Option<&Item> {
        self.items.iter().find(|item| item.name == name)
    }
}

impl Item {
    /// The item at the beginning of `text`, and what comes after it.
    fn read(comment: Vec<String>, text: &str) -> Result<(Item, &str)> {
        let (name, kind, after) = if let Some(define) = text.strip_prefix("#define ") {
            let (line, after) = define.split_once('\n').unwrap_or((define, ""));
            let (name, value) = line.split_once(' ').unwrap_or((line, ""));
            (name, Kind::Define(value.trim().to_owned()), after)
        } else if let Some((what, inside, after)) = body(text) {
            let (name, after) = after.split_once(';').context("a type has no end")?;
            let members = members(inside, if what == "enum" { ',' } else { ';' })?;
            let kind = if what == "enum" {
                Kind::Enum(members)
            } else {
                Kind::Struct(members)
            };
            (name.trim(), kind, after)
        } else {
            let (declaration, after) = text
                .split_once(';')
                .with_context(|| format!("no declaration after a comment: {comment:?}"))?;
            let declaration = one_line(declaration);
            let (name, kind) = declared(&declaration)?;
            return Ok((
                Item {
                    name,
                    comment,
                    kind,
                },
                after,
            ));
        };
        let name = name.to_owned();
        Ok((
            Item {
                name,
                comment,
                kind,
            },
            after,
        ))
    }
}

/// "enum" or "struct", what is between its braces, and what comes after.
fn body(text: &str) -> Option<(&str, &str, &str)> {
    let text = text.strip_prefix("typedef ")?;
    let brace = text.find(['{', ';'])?;
    let (before, rest) = text.split_at(brace);
    let (inside, after) = rest.strip_prefix('{')?.split_once("\n}")?;
    Some((before.split(' ').next()?, inside, after))
}

fn declared(declaration: &str) -> Result<(String, Kind)> {
    if let Some(typedef) = declaration.strip_prefix("typedef ") {
        if let Some((_, rest)) = typedef.split_once("(*") {
            let name = rest.split(')').next().unwrap_or_default();
            return Ok((name.to_owned(), Kind::Callback(format!("{declaration};"))));
        }
        let name = typedef.rsplit(' ').next().unwrap_or_default();
        return Ok((name.to_owned(), Kind::Opaque));
    }
    let (before, parameters) = declaration
        .split_once('(')
        .with_context(|| format!("neither a type nor a function: {declaration}"))?;
    let at = before.rfind([' ', '*']).context("a function has a type")? + 1;
    let (result, name) = before.split_at(at);
    let parameters = parameters.strip_suffix(')').context("a function ends")?;
    let prototype = Prototype {
        result: result.to_owned(),
        parameters: parameters.split(", ").map(str::to_owned).collect(),
    };
    Ok((name.to_owned(), Kind::Function(prototype)))
}

fn members(inside: &str, end: char) -> Result<Vec<Member>> {
    let mut members = Vec::new();
    let mut rest = inside;
    while let Some((_, after)) = rest.split_once("/**") {
        let (comment, after) = after.split_once("*/").context("a comment has no end")?;
        let (declaration, after) = after.split_once(end).context("a member has no end")?;
        members.push(Member {
            declaration: one_line(declaration),
            comment: paragraphs(comment).join(" "),
        });
        rest = after;
    }
    Ok(members)
}

/// The paragraphs of a comment, each on one line, without stars.
fn paragraphs(comment: &str) -> Vec<String> {
    let lines: Vec<&str> = comment
        .lines()
        .map(|line| {
            let line = line.trim();
            line.strip_prefix('*').unwrap_or(line).trim()
        })
        .collect();
    lines
        .split(|line| line.is_empty())
        .filter(|lines| !lines.is_empty())
        .map(|lines| lines.join(" "))
        .collect()
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
