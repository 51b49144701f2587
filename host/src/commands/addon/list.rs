//! `lowtide addon list`.

use super::{bytes, encoded, number, paragraph, text};
use crate::cli::ClientArgs;
use crate::client::{self, ClientError};
use crate::commands::output::{out, pretty};
use crate::commands::status::fail;
use crate::exit::Exit;
use serde_json::{Value, json};
use std::fmt::Write as _;

/// Pages that are asked for: each has up to 2000 addons, so what has more never ends.
const PAGES_MAX: usize = 100;

/// The columns.
const HEADS: [&str; 7] = ["ID", "VERSION", "STATE", "CPU", "MEMORY", "SERIES", "CRASHES"];

pub(super) fn run(args: &ClientArgs) -> Exit {
    match fetch(args.daemon()) {
        Ok(list) if args.json => {
            out(&pretty(&list));
            Exit::Ok
        }
        Ok(list) => {
            out(&describe(&list));
            Exit::Ok
        }
        Err(error) => fail(&error, args.json),
    }
}

/// All addons, each with its share of a core: the list does not have that, the overview for dashboards does.
fn fetch(daemon: &client::Daemon) -> Result<Value, ClientError> {
    let mut addons = Vec::new();
    let mut path = "/api/addons".to_owned();
    let (mut summary, mut folder_problem) = (Value::Null, Value::Null);
    for _ in 0..PAGES_MAX {
        let mut page = client::get(daemon, &path)?;
        let Some(rows) = page.get_mut("addons").and_then(Value::as_array_mut) else {
            let why = "its answer has no addons".to_owned();
            return Err(ClientError::NotLowtide { url: daemon.url().to_owned(), why });
        };
        addons.append(rows);
        summary = page.get_mut("summary").map(Value::take).unwrap_or_default();
        folder_problem = page.get_mut("folder_problem").map(Value::take).unwrap_or_default();
        match page.get("next").and_then(Value::as_str) {
            Some(next) => path = format!("/api/addons?after={}", encoded(next)),
            None => break,
        }
    }
    // Before the first tick there is none, and then it is not known what they take.
    let overview = client::get(daemon, "/api/system-stats/addons").unwrap_or_default();
    for row in &mut addons {
        let of_row = row.get("id").and_then(Value::as_str).and_then(|id| overview.get("addons")?.get(id));
        let cpu = of_row.and_then(|row| row.get("cpu_usage_ratio")).cloned().unwrap_or_default();
        if let Some(row) = row.as_object_mut() {
            row.insert("cpu_usage_ratio".to_owned(), cpu);
        }
    }
    Ok(json!({ "summary": summary, "folder_problem": folder_problem, "addons": addons }))
}

fn describe(list: &Value) -> String {
    let addons = list.get("addons").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let folder = text(list, "/folder_problem/text").map(|why| format!("{why}\n")).unwrap_or_default();
    if addons.is_empty() && folder.is_empty() {
        return "no addons; put one into the addons folder, which `lowtide doctor` names\n".to_owned();
    }
    let rows: Vec<[String; 7]> = addons.iter().map(row).collect();
    let mut widths = HEADS.map(str::len);
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut printed = folder;
    // Writing to a String cannot fail.
    let mut line = |cells: &[String; 7], complaints: &[String]| {
        let cells = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        let _ = writeln!(printed, "{}", cells.collect::<Vec<_>>().join("  ").trim_end());
        for complaint in complaints {
            let _ = writeln!(printed, "  {complaint}");
        }
    };
    line(&HEADS.map(str::to_owned), &[]);
    for (row, addon) in rows.iter().zip(addons) {
        line(row, &complaints(addon));
    }
    printed
}

fn row(addon: &Value) -> [String; 7] {
    let none = || "-".to_owned();
    let runs = addon.get("state").and_then(Value::as_str) == Some("running");
    let figure = |pointer: &str| number(addon, pointer).map_or_else(none, |count| format!("{count:.0}"));
    [
        text(addon, "/id").unwrap_or_else(none),
        text(addon, "/version").unwrap_or_else(none),
        text(addon, "/state").unwrap_or_else(none),
        number(addon, "/cpu_usage_ratio").map_or_else(none, |ratio| format!("{:.2} %", ratio * 100.0)),
        number(addon, "/memory_bytes").filter(|_| runs).map_or_else(none, bytes),
        figure("/series"),
        figure("/crashes"),
    ]
}

/// What is wrong with an addon, each in a line.
fn complaints(addon: &Value) -> Vec<String> {
    let pending = paragraph(addon, "/pending/text").map(|why| format!("the newer file does not run: {why}"));
    paragraph(addon, "/problem/text").into_iter().chain(pending).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_the_problems_under_their_addons() {
        let list = json!({ "addons": [
            { "id": "demo", "version": "1.2.0", "state": "running", "cpu_usage_ratio": 0.0012, "memory_bytes": 2_097_152,
              "series": 12, "crashes": 0, "problem": null },
            { "id": "torn\u{1b}[31m.wasm", "version": null, "state": "refused", "cpu_usage_ratio": null, "memory_bytes": 0,
              "series": 0, "crashes": 0, "problem": { "text": "it is no component\nbuild it again" } },
        ]});
        assert_eq!(
            describe(&list),
            "ID              VERSION  STATE    CPU     MEMORY   SERIES  CRASHES\n\
             demo            1.2.0    running  0.12 %  2.0 MiB  12      0\n\
             torn\u{fffd}[31m.wasm  -        refused  -       -        0       0\n  \
             it is no component\n    build it again\n"
        );
        assert!(describe(&json!({ "addons": [] })).starts_with("no addons"));
        let unread = json!({ "addons": [], "folder_problem": { "text": "everyone may write there" } });
        assert!(describe(&unread).starts_with("everyone may write there\n"), "{}", describe(&unread));
    }
}
