//! Every machine and every collector against a checked-in text, through the real reading code. `UPDATE_GOLDEN=1` writes the texts
//! anew; read the difference before you commit it.

use super::machine::{self, Machine, Run};
use lowtide_core::metric::Part;
use std::fmt::Write as _;
use std::fs;

fn dump(text: &mut String, name: &str, run: &Run, proc_dir: &str) {
    match run {
        Err(error) => writeln!(text, "# {name}: {}", error.chain().replace(proc_dir, "/proc")).unwrap(),
        Ok(samples) => {
            writeln!(text, "# {name}").unwrap();
            for (series, value) in samples {
                write!(text, "{}{}", series.metric.name, series.part.suffix()).unwrap();
                let mut labels: Vec<String> =
                    series.label_pairs().map(|(key, value)| format!("{key}={value:?}")).collect();
                if let Part::Bucket(le) = &series.part {
                    labels.push(format!("le={le:?}"));
                }
                if !labels.is_empty() {
                    write!(text, "{{{}}}", labels.join(",")).unwrap();
                }
                writeln!(text, " {value}").unwrap();
            }
        }
    }
}

#[test]
fn every_collector_says_of_every_machine_what_is_written_down() {
    let mut wrong = Vec::new();
    for name in machine::names() {
        let mut machine = Machine::new(&name);
        let count = machine.entries.len();
        for index in 0..count {
            let _ = machine.run(index, 1_000);
        }
        machine.advance();
        let mut text = String::new();
        let proc_dir = machine.proc_dir().display().to_string();
        for index in 0..count {
            let run = machine.run(index, 1_002);
            dump(&mut text, &machine.entries[index].info.name, &run, &proc_dir);
        }
        let path = machine::fixtures().join(&name).join("golden.txt");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&path, &text).unwrap();
        }
        let expected = fs::read_to_string(&path).unwrap_or_default();
        for (number, pair) in
            text.lines().zip(expected.lines()).enumerate().filter(|(_, (have, want))| have != want)
        {
            wrong.push(format!("{name} line {}: have {:?}, want {:?}", number + 1, pair.0, pair.1));
        }
        if text.lines().count() != expected.lines().count() {
            wrong.push(format!("{name}: {} lines, want {}", text.lines().count(), expected.lines().count()));
        }
    }
    wrong.truncate(20);
    assert!(wrong.is_empty(), "{}\nUPDATE_GOLDEN=1 writes the files anew", wrong.join("\n"));
}
