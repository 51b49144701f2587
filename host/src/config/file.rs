//! One configuration file: reading it within bounds, and walking its TOML against the table of keys. Yields settings with
//! their places, and every mistake with its own; it never stops at the first and never merges.

use super::error::{ConfigError, ErrorKind, Mistake, Origin, Position};
use super::keys::{ANY_ID, Table, addon_table};
use super::value::{Found, from_toml, nearest, quoted, setting_from_toml};
use super::{ERRORS_MAX, FILE_BYTES_MAX, SETTING_NAME_BYTES_MAX, SETTINGS_MAX};
use lowtide_addons::id::AddonId;
use serde_json::Value;
use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

/// A value for a key, and where it was written.
#[derive(Clone, Debug)]
pub(super) struct Setting {
    pub(super) key: String,
    pub(super) value: Value,
    pub(super) origin: Origin,
}

/// Reads a file. `Ok(None)` when there is none.
pub(super) fn read(path: &Path) -> Result<Option<String>, ConfigError> {
    let refuse = |message: String| Err(whole_file(path, ErrorKind::Unreadable, message));
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return refuse(unreadable(&error)),
    };
    let kind = metadata.file_type();
    if kind.is_dir() {
        return refuse("is a directory, name the file in it".to_owned());
    }
    // Opening a pipe waits for its writer, perhaps for ever. Character devices stay: `/dev/null` is an empty file.
    if kind.is_fifo() || kind.is_socket() || kind.is_block_device() {
        return refuse("is not a regular file, copy its text into one".to_owned());
    }
    let mut bytes = Vec::new();
    let limit = FILE_BYTES_MAX as u64 + 1;
    if let Err(error) = File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes)) {
        return refuse(unreadable(&error));
    }
    if bytes.len() > FILE_BYTES_MAX {
        return refuse(format!("is larger than {FILE_BYTES_MAX} bytes, is it the right file"));
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Some(text)),
        Err(error) => {
            let at = error.utf8_error().valid_up_to();
            let valid = String::from_utf8_lossy(error.as_bytes().get(..at).unwrap_or_default()).into_owned();
            let origin = Origin::File { path: path.to_owned(), position: Some(position(&valid, at)) };
            let message = "is not utf-8 from here on, save the file as utf-8".to_owned();
            Err(ConfigError { kind: ErrorKind::Unreadable, origin, key: None, message, allowed: None })
        }
    }
}

fn unreadable(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "cannot be read: permission denied, make it readable for the user that runs lowtide".to_owned()
        }
        _ => format!("cannot be read: {}", error.to_string().to_lowercase()),
    }
}

pub(super) fn whole_file(path: &Path, kind: ErrorKind, message: String) -> ConfigError {
    let origin = Origin::File { path: path.to_owned(), position: None };
    ConfigError { kind, origin, key: None, message, allowed: None }
}

/// Walks the text of a file.
pub(super) fn walk(path: &Path, text: &str, table: &Table) -> (Vec<Setting>, Vec<ConfigError>) {
    let mut walk = Walk { path, text, table, settings: Vec::new(), errors: Vec::new() };
    let (document, faults) = DeTable::parse_recoverable(text);
    if faults.is_empty() {
        walk.section(table, "", "", document.get_ref());
    }
    // With a broken syntax the rest is guesswork: a missing quote would make a dozen keys wrong.
    for fault in faults.iter().take(ERRORS_MAX) {
        let span = fault.span().unwrap_or_default();
        let mistake = Mistake::new(ErrorKind::Syntax, format!("not valid toml: {}", fault.message()));
        walk.errors.push(ConfigError { key: None, ..mistake.at(walk.origin(span), "") });
    }
    (walk.settings, walk.errors)
}

struct Walk<'a> {
    path: &'a Path,
    text: &'a str,
    table: &'a Table,
    settings: Vec<Setting>,
    errors: Vec<ConfigError>,
}

impl Walk<'_> {
    /// A section of the file. `section` is its name in the file, `place` its name in the table, which differs for single addons.
    fn section(&mut self, table: &Table, place: &str, section: &str, fields: &DeTable<'_>) {
        for (name, value) in in_order(fields) {
            if self.errors.len() >= ERRORS_MAX {
                return;
            }
            let (place_below, full) = (join(place, name.get_ref()), join(section, name.get_ref()));
            // A name with a dot in quotes would look like a key of a deeper section.
            let plain = !name.get_ref().contains('.');
            if let Some(key) = table.key(&place_below).filter(|_| plain) {
                match from_toml(key, value) {
                    Ok(value_read) => {
                        let origin = self.origin(value.span());
                        self.settings.push(Setting { key: full, value: value_read, origin });
                    }
                    Err(found) => found.into_iter().for_each(|found| self.found(&full, found)),
                }
            } else if table.is_section(&place_below) && plain {
                let Some(fields) = self.fields(&full, value) else { continue };
                if full == "addon" {
                    self.addons(fields);
                } else if place_below == format!("addon.{ANY_ID}.settings") {
                    self.addon_settings(&full, fields);
                } else {
                    self.section(table, &place_below, &full, fields);
                }
            } else {
                let mistake = match value.get_ref() {
                    // One letter more or less makes the other section.
                    DeValue::Table(_)
                        if full.starts_with("addons.") && AddonId::new(name.get_ref()).is_ok() =>
                    {
                        let meant = format!("unknown key (did you mean [addon.{}])", name.get_ref());
                        Mistake::new(ErrorKind::UnknownKey, meant)
                    }
                    _ => unknown_key(table, place, section, name.get_ref()),
                };
                self.errors.push(mistake.at(self.origin(name.span()), shown_key(section, name.get_ref())));
            }
        }
    }

    /// The sections of single addons.
    fn addons(&mut self, addons: &DeTable<'_>) {
        for (id, value) in in_order(addons) {
            if self.errors.len() >= ERRORS_MAX {
                return;
            }
            let shown = shown_key("addon", id.get_ref());
            match (AddonId::new(id.get_ref()), value.get_ref()) {
                (Ok(_), DeValue::Table(fields)) => {
                    self.section(addon_table(), &join("addon", ANY_ID), &join("addon", id.get_ref()), fields);
                }
                (Err(error), DeValue::Table(_)) => {
                    let mistake = Mistake::new(ErrorKind::NotAllowed, error.to_string());
                    self.errors.push(mistake.at(self.origin(id.span()), shown));
                }
                _ => {
                    let addons = join("addons", id.get_ref());
                    let meant = self.table.key(&addons).map(|_| format!(" (did you mean {addons})"));
                    let message = format!("unknown key{}", meant.unwrap_or_default());
                    let mistake = Mistake::new(ErrorKind::UnknownKey, message)
                        .allowed("in [addon]: a section for each addon");
                    self.errors.push(mistake.at(self.origin(id.span()), shown));
                }
            }
        }
    }

    /// The settings of one addon. It alone knows which there are.
    fn addon_settings(&mut self, section: &str, fields: &DeTable<'_>) {
        let sound = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
        for (number, (name, value)) in in_order(fields).into_iter().enumerate() {
            if self.errors.len() >= ERRORS_MAX {
                return;
            }
            let shown = shown_key(section, name.get_ref());
            let text = name.get_ref();
            let mistake = if number >= SETTINGS_MAX {
                let message = format!("more than {SETTINGS_MAX} settings");
                Some((Mistake::new(ErrorKind::OutOfRange, message), true))
            } else if text.is_empty() || text.len() > SETTING_NAME_BYTES_MAX || !text.chars().all(sound) {
                let allowed =
                    format!("1 to {SETTING_NAME_BYTES_MAX} letters, digits, underscores and hyphens");
                let message = format!("{} cannot be the name of a setting", quoted(text));
                Some((Mistake::new(ErrorKind::NotAllowed, message).allowed(allowed), false))
            } else {
                None
            };
            if let Some((mistake, last)) = mistake {
                self.errors.push(mistake.at(self.origin(name.span()), shown));
                if last {
                    return;
                }
                continue;
            }
            match setting_from_toml(value) {
                Ok(read) => {
                    let origin = self.origin(value.span());
                    self.settings.push(Setting { key: join(section, text), value: read, origin });
                }
                Err(found) => self.found(&shown, found),
            }
        }
    }

    /// Keeps a mistake in the value of a key.
    fn found(&mut self, key: &str, (mistake, index, span): Found) {
        let name = index.map_or_else(|| key.to_owned(), |index| format!("{key}[{index}]"));
        self.errors.push(mistake.at(self.origin(span), name));
    }

    /// The fields of a section, or a mistake when it is none.
    fn fields<'v, 'i>(&mut self, name: &str, value: &'v Spanned<DeValue<'i>>) -> Option<&'v DeTable<'i>> {
        if let DeValue::Table(fields) = value.get_ref() {
            return Some(fields);
        }
        let message = format!("is a section, write [{name}] on a line of its own and its keys below");
        self.errors.push(Mistake::new(ErrorKind::WrongType, message).at(self.origin(value.span()), name));
        None
    }

    fn origin(&self, span: Range<usize>) -> Origin {
        Origin::File { path: self.path.to_owned(), position: Some(position(self.text, span.start)) }
    }
}

/// Fields as people read them, from the top; the parser sorts by name.
fn in_order<'v, 'i>(fields: &'v DeTable<'i>) -> Vec<(&'v Spanned<DeString<'i>>, &'v Spanned<DeValue<'i>>)> {
    let mut fields: Vec<_> = fields.iter().collect();
    fields.sort_by_key(|(name, _)| name.span().start);
    fields
}

fn join(section: &str, name: &str) -> String {
    if section.is_empty() { name.to_owned() } else { format!("{section}.{name}") }
}

/// The mistake of naming a key that a section does not have, with the one that was probably meant. `place` is the section's name in
/// the table.
pub(super) fn unknown_key(table: &Table, place: &str, section: &str, name: &str) -> Mistake {
    let children = table.children(place);
    let near = nearest(name, children.iter().copied()).map(str::to_owned);
    // The right name in the wrong section is the other common slip.
    let elsewhere = || {
        let key = table.keys.iter().find(|key| key.leaf() == name)?;
        // Within a single addon's sections the name has the id of that addon.
        let id = section.strip_prefix("addon.").and_then(|rest| rest.split('.').next());
        let any = format!("addon.{ANY_ID}.");
        Some(match (id, key.name.strip_prefix(&any)) {
            (Some(id), Some(rest)) => format!("addon.{id}.{rest}"),
            _ => key.name.clone(),
        })
    };
    let hint = near.or_else(elsewhere).map(|name| format!(" (did you mean {name})")).unwrap_or_default();
    let place = if section.is_empty() { "at the top level".to_owned() } else { format!("in [{section}]") };
    Mistake::new(ErrorKind::UnknownKey, format!("unknown key{hint}"))
        .allowed(format!("{place}: {}", children.join(", ")))
}

fn shown_key(section: &str, name: &str) -> String {
    let bare = !name.is_empty()
        && name.len() <= 80
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c));
    join(section, &if bare { name.to_owned() } else { quoted(name) })
}

/// Line and column of a byte in a text.
fn position(text: &str, at: usize) -> Position {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    let before = text.get(..at).unwrap_or_default();
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let line = before.matches('\n').count() + 1;
    let column = before.get(line_start..).unwrap_or_default().chars().count() + 1;
    let number = |count| u32::try_from(count).unwrap_or(u32::MAX);
    Position { line: number(line), column: number(column) }
}
