//! # What a function or tracepoint is passed
//!
//! BTF lists the functions that fentry can attach to; one that is missing here was inlined, or had its arguments
//! changed by the compiler. Raw tracepoints are there as typedefs named `btf_trace_NAME`.

use super::raw::{Kind, Type};
use super::{Absent, Btf, agree};

/// How many types are looked at to write one name. Function types that take function types could otherwise grow
/// exponentially.
const MAX_PARTS: u32 = 256;

/// A function's signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Function {
    /// The type it returns, as in C.
    pub(crate) returns: String,
    /// Name and type of each parameter: `("bio", "struct bio *")`. Variable arguments are `("", "...")`.
    pub(crate) params: Vec<(String, String)>,
}

impl Btf {
    /// A function's signature.
    pub(crate) fn function(&self, name: &str) -> Result<Function, Absent> {
        agree(
            name,
            Absent::no_such("function", name),
            self.named(name, &[Kind::Func])
                .into_iter()
                .map(|(_, ty)| self.signature(ty.size_or_type, name)),
        )
    }

    /// The types of the arguments of a tracepoint, as a raw tracepoint program gets them.
    pub(crate) fn tracepoint_args(&self, name: &str) -> Result<Vec<String>, Absent> {
        let typedef = format!("btf_trace_{name}");
        let malformed = || Absent::Malformed(format!("{typedef} is no pointer to a function"));
        agree(
            name,
            Absent::no_such("tracepoint", name),
            self.named(&typedef, &[Kind::Typedef])
                .into_iter()
                .map(|(_, ty)| {
                    let pointer = match self.resolve(ty.size_or_type)? {
                        Some((_, ty)) if ty.kind == Kind::Ptr => ty,
                        _ => return Err(malformed()),
                    };
                    let mut params = self.signature(pointer.size_or_type, &typedef)?.params;
                    // The first is the kernel's own `void *__data`.
                    if params.is_empty() {
                        return Err(malformed());
                    }
                    params.remove(0);
                    Ok(params.into_iter().map(|(_, ty)| ty).collect())
                }),
        )
    }

    /// Whether there is a raw tracepoint of this name.
    pub(crate) fn has_tracepoint(&self, name: &str) -> bool {
        !self
            .named(&format!("btf_trace_{name}"), &[Kind::Typedef])
            .is_empty()
    }

    fn signature(&self, id: u32, of: &str) -> Result<Function, Absent> {
        let proto = match self.resolve(id)? {
            Some((_, ty)) if ty.kind == Kind::FuncProto => ty,
            _ => {
                return Err(Absent::Malformed(format!("{of} has no function type")));
            }
        };
        Ok(Function {
            returns: self.type_name(proto.size_or_type),
            params: self
                .params(proto)
                .map(|(name_off, id)| match id {
                    0 => (String::new(), "...".to_owned()),
                    id => (self.text(name_off), self.type_name(id)),
                })
                .collect(),
        })
    }

    fn params<'a>(&self, proto: Type<'a>) -> impl Iterator<Item = (u32, u32)> + use<'a> {
        proto.rows().map(|[name_off, id]| (name_off, id))
    }

    /// A type as C writes it without a variable.
    pub(super) fn type_name(&self, id: u32) -> String {
        self.write(id, "", &mut MAX_PARTS.clone())
    }

    /// Writes a type around what stands for the variable: `inner` is what has been wrapped around it so far.
    fn write(&self, id: u32, inner: &str, budget: &mut u32) -> String {
        let Some(left) = budget.checked_sub(1) else {
            return "?".to_owned();
        };
        *budget = left;
        let around = |word: String| match inner {
            "" => word,
            inner if inner.starts_with('[') => word + inner,
            inner => word + " " + inner,
        };
        if id == 0 {
            return around("void".to_owned());
        }
        let Some(ty) = self.get(id) else {
            return around("?".to_owned());
        };
        let tag = |tag: &str| match self.text(ty.name_off) {
            name if name.is_empty() => format!("{tag} (anonymous)"),
            name => format!("{tag} {name}"),
        };
        let next = ty.size_or_type;
        match ty.kind {
            Kind::Struct => around(tag("struct")),
            Kind::Union => around(tag("union")),
            Kind::Enum | Kind::Enum64 => around(tag("enum")),
            Kind::Fwd if ty.flag => around(tag("union")),
            Kind::Fwd => around(tag("struct")),
            Kind::Ptr => {
                let inner = format!("*{inner}");
                // An array or a function binds closer than the star.
                match self.get(next).map(|to| to.kind) {
                    Some(Kind::FuncProto | Kind::Array) => {
                        self.write(next, &format!("({inner})"), budget)
                    }
                    _ => self.write(next, &inner, budget),
                }
            }
            Kind::Const => self.qualified("const", next, inner, budget),
            Kind::Volatile => self.qualified("volatile", next, inner, budget),
            Kind::Restrict => self.qualified("restrict", next, inner, budget),
            Kind::TypeTag => self.write(next, inner, budget),
            Kind::Array => {
                let [element, _, length] = ty.rows().next().unwrap_or_default();
                self.write(element, &format!("{inner}[{length}]"), budget)
            }
            Kind::FuncProto => {
                let mut params = Vec::new();
                for (_, id) in self.params(ty) {
                    if *budget == 0 {
                        params.push("?".to_owned());
                        break;
                    }
                    params.push(match id {
                        0 => "...".to_owned(),
                        id => self.write(id, "", budget),
                    });
                }
                let params = match params.is_empty() {
                    true => "void".to_owned(),
                    false => params.join(", "),
                };
                self.write(next, &format!("{inner}({params})"), budget)
            }
            Kind::Int
            | Kind::Typedef
            | Kind::Float
            | Kind::Func
            | Kind::Var
            | Kind::Datasec
            | Kind::DeclTag => around(self.text(ty.name_off)),
        }
    }

    /// `const struct bio *` for a pointee, `struct bio *const` for a pointer.
    fn qualified(&self, word: &str, id: u32, inner: &str, budget: &mut u32) -> String {
        match self.get(id).map(|ty| ty.kind) {
            Some(Kind::Ptr) => {
                let inner = match inner {
                    "" => word.to_owned(),
                    inner => format!("{word} {inner}"),
                };
                self.write(id, &inner, budget)
            }
            _ => format!("{word} {}", self.write(id, inner, budget)),
        }
    }
}
