//! # Where a Rust source says `unsafe`
//!
//! Reads tokens, not syntax: so what stands inside a macro is found as well, and nothing in a comment or a string is.
//! Comments are no tokens; the reasons are looked for in the lines above.

use proc_macro2::{Delimiter, Group, Spacing, TokenStream, TokenTree};

/// What an `unsafe` makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Does what the compiler does not check.
    Block,
    /// May be called only by who keeps its promise.
    Function,
    /// Promises something of a type.
    Impl,
    /// Asks a promise of who implements it.
    Trait,
    /// `#[unsafe(...)]`: a name or section of the linker.
    Attribute,
    /// Declares functions of another language.
    Foreign,
    /// The type of a pointer to such a function, which promises nothing.
    Type,
}

/// One `unsafe`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Use {
    /// Counted from 1.
    pub line: usize,
    /// The function, type or static around it, or itself.
    pub item: String,
    /// What it makes.
    pub kind: Kind,
    /// Its SAFETY comment, or a function's `# Safety`.
    pub reason: Option<String>,
    /// Whether only tests are built with it.
    pub is_test: bool,
}

/// All of a source.
///
/// # Panics
///
/// Where the source is no Rust.
#[must_use]
pub fn uses(source: &str) -> Vec<Use> {
    let tokens: TokenStream = source.parse().expect("Rust");
    let mut reader = Reader {
        lines: source.lines().map(str::trim).collect(),
        found: Vec::new(),
    };
    let place = Place {
        path: String::new(),
        starts: Vec::new(),
        is_test: false,
    };
    reader.read(tokens, &place);
    reader.found
}

/// Where in the source the reader is.
#[derive(Clone)]
struct Place {
    path: String,
    /// Where the statements around it begin, up to the next brace.
    starts: Vec<usize>,
    is_test: bool,
}

impl Place {
    fn inside(&self, name: &str) -> String {
        match self.path.is_empty() {
            true => name.to_owned(),
            false => format!("{}::{name}", self.path),
        }
    }
}

struct Reader<'a> {
    lines: Vec<&'a str>,
    found: Vec<Use>,
}

impl Reader<'_> {
    fn read(&mut self, tokens: TokenStream, place: &Place) {
        let trees: Vec<TokenTree> = tokens.into_iter().collect();
        let mut start = None;
        // What the next brace belongs to, and the constant that the next semicolon ends.
        let mut name: Option<String> = None;
        let mut constant: Option<String> = None;
        let mut is_test = false;
        for (at, tree) in trees.iter().enumerate() {
            let line = tree.span().start().line;
            let begun = *start.get_or_insert(line);
            let next = |ahead: usize| trees.get(at + ahead);
            let mut here = place.clone();
            here.starts.push(begun);
            here.is_test |= is_test;
            match tree {
                TokenTree::Punct(punct) if [';', ','].contains(&punct.as_char()) => {
                    start = None;
                    if punct.as_char() == ';' {
                        (name, constant, is_test) = (None, None, false);
                    }
                }
                TokenTree::Group(group) if is_attribute(&trees, at) => {
                    let text = group.stream().to_string();
                    is_test |= text == "cfg (test)";
                    if text.starts_with("unsafe") {
                        self.add(line, &here, "", Kind::Attribute);
                    }
                }
                TokenTree::Group(group) if is_brace(group) => {
                    if let Some(name) = name.take() {
                        here.path = here.inside(&name);
                        here.starts.clear();
                    } else if let Some(constant) = &constant {
                        here.path = here.inside(constant);
                    } else {
                        here.starts.clear();
                    }
                    self.read(group.stream(), &here);
                    // A match or a struct's value goes on behind its brace; a statement begins there.
                    start = None;
                    is_test = false;
                }
                TokenTree::Group(group) => self.read(group.stream(), &here),
                TokenTree::Ident(word) if word == "unsafe" => {
                    let (kind, own) = kind(&trees[at + 1..]);
                    // An implementation is named by what comes behind it.
                    let own = match kind {
                        Kind::Impl => implemented(&trees[at + 2..]),
                        _ => own.or_else(|| constant.clone()).unwrap_or_default(),
                    };
                    self.add(line, &here, &own, kind);
                }
                TokenTree::Ident(word) if name.is_none() => {
                    let word = word.to_string();
                    match (word.as_str(), next(1)) {
                        ("impl", _) => name = Some(type_name(&trees[at + 1..])),
                        // Only what stands where the code is read, not its tests.
                        ("mod", Some(TokenTree::Ident(own))) if own == "tests" => {
                            name = Some("tests".to_owned());
                        }
                        ("fn" | "mod" | "trait" | "struct" | "union" | "enum", Some(own)) => {
                            if matches!(own, TokenTree::Ident(_)) {
                                name = Some(own.to_string());
                            }
                        }
                        ("macro_rules", _) => name = next(2).map(|own| format!("{own}!")),
                        ("const" | "static", Some(TokenTree::Ident(own)))
                            if is_constant(&trees, at) =>
                        {
                            constant = Some(own.to_string());
                        }
                        _ => {}
                    }
                }
                _ => {}
            }
        }
    }

    fn add(&mut self, line: usize, place: &Place, own: &str, kind: Kind) {
        let reason = match kind {
            Kind::Function | Kind::Trait => self.safety_section(line),
            _ => std::iter::once(line)
                .chain(place.starts.iter().rev().copied())
                .find_map(|line| self.safety_comment(line)),
        };
        let item = match (own.is_empty(), place.path.is_empty()) {
            (true, true) => "the file".to_owned(),
            (true, false) => place.path.clone(),
            _ => place.inside(own),
        };
        self.found.push(Use {
            line,
            item,
            kind,
            reason,
            is_test: place.is_test,
        });
    }

    /// The lines above this one that begin with `mark`, past attributes.
    fn above(&self, line: usize, mark: &str) -> Vec<&str> {
        let mut found: Vec<&str> = self.lines[..line - 1]
            .iter()
            .rev()
            .skip_while(|line| line.starts_with("#["))
            .map_while(|line| line.strip_prefix(mark))
            .map(str::trim)
            .collect();
        found.reverse();
        found
    }

    fn safety_comment(&self, line: usize) -> Option<String> {
        let text = self.above(line, "//").join(" ");
        let (_, reason) = text.split_once("SAFETY:")?;
        Some(reason.trim().to_owned()).filter(|reason| !reason.is_empty())
    }

    fn safety_section(&self, line: usize) -> Option<String> {
        let section: Vec<&str> = self
            .above(line, "///")
            .into_iter()
            .skip_while(|line| *line != "# Safety")
            .skip(1)
            .take_while(|line| !line.starts_with("# "))
            .collect();
        let reason = section.join(" ").trim().to_owned();
        (!reason.is_empty()).then_some(reason)
    }
}

fn is_attribute(trees: &[TokenTree], at: usize) -> bool {
    let sign = |back: usize, sign| {
        matches!(at.checked_sub(back).and_then(|at| trees.get(at)),
            Some(TokenTree::Punct(punct)) if punct.as_char() == sign)
    };
    matches!(&trees[at], TokenTree::Group(group) if group.delimiter() == Delimiter::Bracket)
        && (sign(1, '#') || (sign(1, '!') && sign(2, '#')))
}

/// Whether this `const` or `static` is one with a value, and not part of a pointer's type.
fn is_constant(trees: &[TokenTree], at: usize) -> bool {
    matches!(trees.get(at + 2), Some(TokenTree::Punct(punct))
        if punct.as_char() == ':' && punct.spacing() == Spacing::Alone)
}

/// What comes of the tokens behind `unsafe`, and the name of a function or trait.
fn kind(trees: &[TokenTree]) -> (Kind, Option<String>) {
    let word = |at: usize| trees.get(at).map(ToString::to_string).unwrap_or_default();
    let abi = usize::from(matches!(trees.get(1), Some(TokenTree::Literal(_))));
    let function = match word(0).as_str() {
        "impl" => return (Kind::Impl, None),
        "trait" => return (Kind::Trait, Some(word(1))),
        "fn" => 0,
        "extern" if word(1 + abi) == "fn" => 1 + abi,
        "extern" => return (Kind::Foreign, None),
        _ => return (Kind::Block, None),
    };
    match trees.get(function + 1) {
        Some(TokenTree::Ident(own)) => (Kind::Function, Some(own.to_string())),
        // `$name` of a macro.
        Some(TokenTree::Punct(_)) => (Kind::Function, Some(word(function + 2))),
        _ => (Kind::Type, None),
    }
}

/// `Send for Slot`, of the tokens behind `unsafe impl`.
fn implemented(trees: &[TokenTree]) -> String {
    let words = past_generics(trees)
        .iter()
        .take_while(|tree| !matches!(tree, TokenTree::Group(group) if is_brace(group)))
        .cloned()
        .collect::<TokenStream>()
        .to_string();
    words
        .replace(" :: ", "::")
        .replace(" < ", "<")
        .replace(" >", ">")
}

/// The type that an `impl` is of.
fn type_name(trees: &[TokenTree]) -> String {
    let header: Vec<&TokenTree> = past_generics(trees)
        .iter()
        .take_while(|tree| !matches!(tree, TokenTree::Group(group) if is_brace(group)))
        .collect();
    let behind_for = header
        .iter()
        .position(|tree| tree.to_string() == "for")
        .map_or(0, |at| at + 1);
    let mut name = String::new();
    for tree in &header[behind_for..] {
        match tree {
            TokenTree::Ident(word) if word == "where" => break,
            // The last of a path.
            TokenTree::Ident(word) => name = word.to_string(),
            TokenTree::Punct(punct) if punct.as_char() == '<' => break,
            _ => {}
        }
    }
    name
}

fn is_brace(group: &Group) -> bool {
    group.delimiter() == Delimiter::Brace
}

/// The tokens behind `<...>`, where they begin with it.
fn past_generics(trees: &[TokenTree]) -> &[TokenTree] {
    let mut depth = 0usize;
    for (at, tree) in trees.iter().enumerate() {
        match tree {
            TokenTree::Punct(punct) if punct.as_char() == '<' => depth += 1,
            TokenTree::Punct(punct) if punct.as_char() == '>' && depth > 0 => depth -= 1,
            _ if depth == 0 => return &trees[at..],
            _ => {}
        }
    }
    trees
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(source: &str) -> Vec<(String, Kind, Option<String>)> {
        let found = uses(source).into_iter();
        found.map(|one| (one.item, one.kind, one.reason)).collect()
    }

    fn one(item: &str, kind: Kind, reason: &str) -> (String, Kind, Option<String>) {
        let reason = (!reason.is_empty()).then(|| reason.to_owned());
        (item.to_owned(), kind, reason)
    }

    #[test]
    fn each_kind_is_found_with_its_item_and_reason() {
        let source = r#"
            //! unsafe { in a comment }
            // SAFETY: an integer.
            unsafe impl<T: Copy> Pod for Holder<T> {}

            impl<'a> fmt::Display for Shape<'a> {
                /// What it does.
                ///
                /// # Safety
                ///
                /// `a` is
                /// readable.
                ///
                /// # Errors
                ///
                /// None.
                #[inline(always)]
                pub unsafe extern "C" fn read(a: *const u8, call: unsafe extern "C" fn(u8)) -> u8 {
                    // SAFETY: the caller
                    // says so.
                    let byte = check(|| unsafe { *a });
                    unsafe { byte }
                }
            }

            #[unsafe(no_mangle)]
            // SAFETY: zeros are valid.
            static BLANK: [u8; 4] = unsafe { zeroed() };
            macro_rules! each { ($a:expr) => { unsafe { $a } } }
            const WORDS: &str = "unsafe { in a string }";
            unsafe extern "C" { fn other(); }
        "#;
        let expected = [
            one("Pod for Holder<T>", Kind::Impl, "an integer."),
            one("Shape::read", Kind::Function, "`a` is readable."),
            one("Shape", Kind::Type, ""),
            one("Shape::read", Kind::Block, "the caller says so."),
            one("Shape::read", Kind::Block, ""),
            one("the file", Kind::Attribute, ""),
            one("BLANK", Kind::Block, "zeros are valid."),
            one("each!", Kind::Block, ""),
            one("the file", Kind::Foreign, ""),
        ];
        assert_eq!(told(source), expected);
    }

    #[test]
    fn what_only_tests_are_built_with_is_told_from_the_rest() {
        let source = "fn a() { unsafe { x } }
            #[cfg(test)]
            mod tests { fn b() { unsafe { x } } }
            fn c() { unsafe { x } }";
        let found: Vec<bool> = uses(source).iter().map(|one| one.is_test).collect();
        assert_eq!(found, [false, true, false]);
    }
}
