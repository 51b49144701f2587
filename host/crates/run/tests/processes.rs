//! Real processes, started by the small program of this crate: freezing, thawing, who dies when, exit codes, signals and the terminal. Each
//! test runs in a control group, where one may be made, and as a tree of processes.
#![cfg(target_os = "linux")]

#[cfg(test)]
#[path = "processes/stage.rs"]
mod stage;
#[cfg(test)]
#[path = "processes/terminal.rs"]
mod terminal;

use stage::{Run, eventually, places, rounds};

#[test]
fn the_command_ends_as_it_would_alone() {
    for place in places() {
        let table: [(&[&str], i32); 6] = [
            (&["true"], 0),
            (&["sh", "-c", "exit 3"], 3),
            (&["sh", "-c", "kill -9 $$"], 137),
            (&["sh", "-c", "kill -TERM $$"], 143),
            (&["/no/such/command"], 127),
            (&["/etc/passwd"], 126),
        ];
        for (command, code) in table {
            let mut run = Run::start(place, command);
            assert_eq!(run.code(), code, "{place}: {command:?}");
        }
    }
}

#[test]
fn it_runs_at_the_lowest_class_and_reads_its_stdin() {
    for place in places() {
        let script = "read line; echo \"$line\" > $0.out; cat /proc/self/oom_score_adj >> $0.out; cut -d' ' -f19,41 /proc/self/stat >> $0.out";
        let mut run = Run::start_with(place, "hello\n", &["sh", "-c", script, "$DIR/x"]);
        assert_eq!(run.code(), 0);
        // Nice 19, and SCHED_IDLE is 5 (sched.h).
        assert_eq!(run.read("x.out"), "hello\n500\n19 5\n", "{place}");
    }
}

/// Processes that fork without end, one in a session of its own, and one whose parent is gone. All end when the file `stop` is there,
/// or the folder is gone: they run only when nobody else does, and must not outlive the test.
const RESTLESS: &str = "echo $$ > $0/pid
(setsid sh -c 'while [ -d $0 -a ! -e $0/stop ]; do :; done' $0 &)
(sh -c 'while [ -d $0 -a ! -e $0/stop ]; do sh -c :; done' $0 &)
while [ -d $0 -a ! -e $0/stop ]; do sh -c : & wait $!; done
echo 5 > $0/code; exit 5";

fn restless(place: &str) -> Run {
    let run = Run::start(place, &["sh", "-c", RESTLESS, "$DIR"]);
    eventually("the command runs", || run.read("pid").ends_with('\n').then_some(()));
    run
}

#[test]
fn frozen_it_uses_nothing_and_thawed_it_goes_on() {
    for place in places() {
        let mut run = restless(place);
        for _ in 0..3 {
            run.say("freeze", "frozen");
            run.wait_until_still();
            let before = run.ticks();
            std::thread::park_timeout(std::time::Duration::from_millis(200));
            assert_eq!(run.ticks(), before, "{place}: it used the processor although it stood still");
            run.say("thaw", "thawed");
            eventually("it runs", || (run.ticks() != before).then_some(()));
        }
        run.end();
        assert_eq!(run.code(), 5);
    }
}

#[test]
fn whoever_is_killed_it_does_not_stay_frozen() {
    for place in places() {
        for _ in 0..rounds() {
            for killed in ["w", "i", "o", "wi", "wo", "io"] {
                let mut run = restless(place);
                run.say("freeze", "frozen");
                run.wait_until_still();
                run.kill(killed);
                let took = run.wait_until_thawed();
                println!("{place}: {killed} killed, thawed after {} ms", took.as_millis());
                run.end();
                eventually("the command ended", || (run.read("code") == "5\n").then_some(()));
                if killed.contains('w') {
                    // Whoever is left keeps the lease to the end.
                    let notes = || run.read("socket.notes");
                    eventually("the lease is given back", || notes().ends_with("ended 5\n").then_some(()));
                    assert!(notes().starts_with("beat\n"), "{place}: {killed}");
                } else {
                    assert_eq!(run.code(), 5, "{place}: {killed}");
                }
                run.wait_until_gone();
            }
        }
    }
}

#[test]
fn without_a_guard_it_is_not_frozen_any_more() {
    for place in places() {
        let mut run = restless(place);
        run.kill("i");
        run.hear("lost");
        run.say("freeze", "refused");
        run.end();
        assert_eq!(run.code(), 5);
    }
}

#[test]
fn what_the_user_stopped_stays_so_after_a_thaw() {
    let mut run = restless("tree");
    let pid = run.read("pid").trim().to_owned();
    stage::signal(&pid, "STOP");
    eventually("it is stopped", || (stage::state(&pid) == Some('T')).then_some(()));
    run.say("freeze", "frozen");
    run.wait_until_still();
    run.say("thaw", "thawed");
    assert_eq!(stage::state(&pid), Some('T'));
    stage::signal(&pid, "CONT");
    run.end();
    assert_eq!(run.code(), 5);
}

#[test]
fn signals_reach_the_command_also_while_it_stands_still() {
    for place in places() {
        for (signal, number) in [("TERM", 15), ("INT", 2), ("HUP", 1), ("QUIT", 3)] {
            let mut run = Run::start(
                place,
                &[
                    "sh",
                    "-c",
                    "trap 'echo heard > $0/heard; exit 7' $1; echo > $0/pid; while [ -d $0 ]; do sh -c :; done",
                    "$DIR",
                    signal,
                ],
            );
            eventually("the command runs", || run.read("pid").ends_with('\n').then_some(()));
            run.say("freeze", "frozen");
            run.wait_until_still();
            run.signal_front(signal);
            run.hear(&format!("signal {number}"));
            assert_eq!(run.code(), 7, "{place}: {signal}");
            assert_eq!(run.read("heard"), "heard\n");
        }
        let mut run = Run::start(
            place,
            &[
                "sh",
                "-c",
                "trap 'echo heard > $0/heard' USR1; echo > $0/pid; while [ -d $0 -a ! -e $0/stop ]; do sh -c :; done",
                "$DIR",
            ],
        );
        eventually("the command runs", || run.read("pid").ends_with('\n').then_some(()));
        run.signal_front("USR1");
        eventually("it heard the signal", || run.has("heard").then_some(()));
        run.end();
        assert_eq!(run.code(), 0);
    }
}

#[test]
fn all_of_it_can_be_ended() {
    for place in places() {
        for (word, answer, code) in [("end", "ending", 143), ("kill", "killed", 137)] {
            let mut run = restless(place);
            eventually("all of it runs", || (run.below().len() > 2).then_some(()));
            run.say("freeze", "frozen");
            run.wait_until_still();
            run.say(word, answer);
            assert_eq!(run.code(), code, "{place}: {word}");
            // What forks can be between two names when it is asked; killed is killed.
            if word == "kill" {
                eventually("nothing is left", || run.nothing_left().then_some(()));
            }
        }
    }
}
