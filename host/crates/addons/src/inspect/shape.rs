//! One pass over the bytes of a component: its bounds, the names at its surface and what made it. It validates nothing.

use super::InspectError;
use crate::limits::{FUNCTION_BYTES_MAX, FUNCTIONS_MAX, IMPORTS_MAX, MODULES_MAX};
use crate::manifest::printable;
use wasmparser::{
    Chunk, ComponentExternalKind, CustomSectionReader, Encoding, KnownCustom, Parser, Payload, SectionLimited,
};

/// Entries of `producers` that are kept: a component has a handful, and they are only shown.
const PRODUCERS_MAX: usize = 16;

/// Characters of one of them.
const PRODUCER_CHARS_MAX: usize = 48;

/// An import or export of the outermost component.
pub(super) struct Item {
    pub(super) name: String,
    pub(super) is_instance: bool,
}

/// What one pass finds.
#[derive(Default)]
pub(super) struct Shape {
    pub(super) imports: Vec<Item>,
    pub(super) exports: Vec<Item>,
    pub(super) functions: usize,
    modules: usize,
    components: usize,
    /// `producers`: field, name, version.
    producers: Vec<(String, String, String)>,
    /// Entries at the beginning of `producers` that the outermost component says of itself.
    own_producers: usize,
}

/// Walks over the component and all that is nested in it.
pub(super) fn walk(wasm: &[u8]) -> Result<Shape, InspectError> {
    const MAGIC: &[u8] = b"\0asm";
    let is_magic = wasm.iter().zip(MAGIC).all(|(byte, expected)| byte == expected);
    if wasm.is_empty() || !is_magic {
        return Err(InspectError::NotWasm(looks_like(wasm)));
    }
    let mut shape = Shape::default();
    // The parser of this level, and where the level ends; the file's end is that of the outermost.
    let mut parser = Parser::new(0);
    let mut end = wasm.len() as u64;
    let mut outer = Vec::new();
    let mut rest = wasm;
    loop {
        let at_end = rest.is_empty() && parser.offset() == end;
        let chunk = parser.parse(rest, at_end).map_err(|error| InspectError::invalid(&error))?;
        let Chunk::Parsed { consumed, payload } = chunk else {
            return Err(InspectError::Truncated { bytes: wasm.len() });
        };
        rest = rest.get(consumed..).unwrap_or_default();
        match payload {
            Payload::Version { encoding: Encoding::Module, .. } if outer.is_empty() => {
                return Err(InspectError::CoreModule);
            }
            Payload::ModuleSection { parser: inner, unchecked_range } => {
                shape.modules += 1;
                outer.push((std::mem::replace(&mut parser, inner), end));
                end = unchecked_range.end;
            }
            Payload::ComponentSection { parser: inner, unchecked_range } => {
                shape.components += 1;
                outer.push((std::mem::replace(&mut parser, inner), end));
                end = unchecked_range.end;
            }
            Payload::End(_) => match outer.pop() {
                Some(next) => (parser, end) = next,
                None => return Ok(shape),
            },
            payload => shape.add(payload, outer.is_empty())?,
        }
        // Both also bound how deep it can be nested.
        if shape.modules > MODULES_MAX || shape.components > MODULES_MAX {
            return Err(InspectError::TooManyModules);
        }
    }
}

impl Shape {
    fn add(&mut self, payload: Payload<'_>, outermost: bool) -> Result<(), InspectError> {
        match payload {
            Payload::CodeSectionStart { count, .. } => {
                self.functions = self.functions.saturating_add(count as usize);
                if self.functions > FUNCTIONS_MAX {
                    return Err(InspectError::TooManyFunctions { found: self.functions });
                }
            }
            Payload::CodeSectionEntry(body) => {
                let range = body.range();
                let bytes = usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(usize::MAX);
                if bytes > FUNCTION_BYTES_MAX {
                    return Err(InspectError::FunctionTooLarge { offset: range.start, bytes });
                }
            }
            Payload::ComponentImportSection(section) if outermost => {
                self.bound(section.count())?;
                let item = |import: wasmparser::ComponentImport<'_>| Item {
                    name: import.name.full_name().into_owned(),
                    is_instance: import.ty.kind() == ComponentExternalKind::Instance,
                };
                self.imports.extend(read(section, item)?);
            }
            Payload::ComponentExportSection(section) if outermost => {
                self.bound(section.count())?;
                let item = |export: wasmparser::ComponentExport<'_>| Item {
                    name: export.name.full_name().into_owned(),
                    is_instance: export.kind == ComponentExternalKind::Instance,
                };
                self.exports.extend(read(section, item)?);
            }
            Payload::CustomSection(section) => self.add_producers(&section, outermost),
            _ => {}
        }
        Ok(())
    }

    fn bound(&self, more: u32) -> Result<(), InspectError> {
        let found = (self.imports.len() + self.exports.len()).saturating_add(more as usize);
        if found > IMPORTS_MAX { Err(InspectError::TooManyImports { found }) } else { Ok(()) }
    }

    /// Keeps what can be read; a broken one is nobody's loss.
    fn add_producers(&mut self, section: &CustomSectionReader<'_>, outermost: bool) {
        let KnownCustom::Producers(fields) = section.as_known() else { return };
        for field in fields.into_iter().flatten() {
            for value in field.values.into_iter().flatten() {
                let entry = (field.name.to_owned(), short(value.name), short(value.version));
                if outermost && self.own_producers < PRODUCERS_MAX {
                    self.producers.insert(self.own_producers, entry);
                    self.own_producers += 1;
                } else if self.producers.len() < PRODUCERS_MAX && !self.producers.contains(&entry) {
                    self.producers.push(entry);
                }
            }
        }
    }

    /// The languages, in words. What the outermost component says goes before what its parts say: an interpreter is written in another
    /// language than the addon that it runs.
    pub(super) fn languages(&self) -> Vec<String> {
        let rustc = self.producers.iter().find(|(_, name, _)| name == "rustc");
        let is_language = |entry: &&(String, String, String)| entry.0 == "language";
        let own = self.producers.get(..self.own_producers).unwrap_or_default();
        let said = if own.iter().any(|entry| is_language(&entry)) { own } else { &self.producers };
        let mut found: Vec<String> = Vec::new();
        for (_, name, version) in said.iter().filter(is_language) {
            // Rust leaves the version of the language empty and says the compiler's.
            let version = match rustc {
                Some((_, _, rustc)) if name == "Rust" && version.is_empty() => rustc,
                _ => version,
            };
            let words: Vec<&str> =
                [Some(name.as_str()), version.split_whitespace().next()].into_iter().flatten().collect();
            let text = words.join(" ");
            if !found.contains(&text) {
                found.push(text);
            }
        }
        found
    }
}

fn short(text: &str) -> String {
    printable(&text.chars().take(PRODUCER_CHARS_MAX).collect::<String>())
}

fn read<'a, T: wasmparser::FromReader<'a>>(
    section: SectionLimited<'a, T>,
    item: impl Fn(T) -> Item,
) -> Result<Vec<Item>, InspectError> {
    section.into_iter().map(|entry| entry.map(&item).map_err(|error| InspectError::invalid(&error))).collect()
}

/// What a file that is not WebAssembly seems to be.
fn looks_like(bytes: &[u8]) -> &'static str {
    const KNOWN: [(&[u8], &str); 11] = [
        (b"\x7fELF", "an ELF file, such as a native program or a compiled .cwasm"),
        (b"PK\x03\x04", "a zip archive"),
        (b"\x1f\x8b", "a gzip archive"),
        (b"\x28\xb5\x2f\xfd", "a zstd archive"),
        (b"MZ", "a Windows program"),
        (b"#!", "a script"),
        (b"(module", "WebAssembly in text form, which `wasm-tools parse` translates"),
        (b"(component", "WebAssembly in text form, which `wasm-tools parse` translates"),
        (b"<", "HTML or XML, such as the error page of a download"),
        (b"{", "JSON"),
        (b"version https://git-lfs", "a pointer of git LFS instead of the file"),
    ];
    if bytes.is_empty() {
        return "empty";
    }
    let start = bytes.trim_ascii_start();
    if let Some((_, name)) = KNOWN.iter().find(|(prefix, _)| start.starts_with(prefix)) {
        return name;
    }
    let head = bytes.get(..512).unwrap_or(bytes);
    let is_text = head.iter().all(|byte| matches!(byte, b'\t' | b'\n' | b'\r' | 0x20..=0x7e | 0x80..));
    if is_text { "text" } else { "some other binary file" }
}
