//! Tokens from the file to the verdict, on a clock of the test.

use super::*;
use lowtide_core::units::{MonoTime, WallTime};
use std::fs;
use std::path::Path;

struct Door {
    dir: tempfile::TempDir,
    access: Access,
    seconds: u64,
}

impl Door {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let access = Access::open(vec![dir.path().join(TOKENS_FILE)], 50).unwrap();
        Self { dir, access, seconds: 0 }
    }

    fn add(&self, name: &str, expires_second: Option<i64>) -> Secret {
        let secret = Secret::draw().unwrap();
        let token = Token {
            id: secret.id(),
            name: name.to_owned(),
            hash: secret.hash(),
            scopes: Scopes::from_iter([Scope::Read]),
            created: WallTime(0),
            expires: expires_second.map(|second| WallTime(second * 1_000)),
            units_max: None,
            requests_per_second: None,
        };
        edit(self.dir.path(), |tokens| tokens.push(token));
        secret
    }

    fn now(&self) -> Now {
        let at = Duration::from_secs(self.seconds);
        Now { mono: MonoTime(at), wall: WallTime(at.as_millis() as i64) }
    }

    /// Asks after the time in which a change is noticed.
    fn ask(&mut self, header: Option<&str>) -> Result<Caller, Denied> {
        self.seconds += 1;
        self.access.identify(header.map(str::as_bytes), self.now())
    }

    fn show(&mut self, secret: &Secret) -> Result<Caller, Denied> {
        self.ask(Some(&format!("Bearer {}", secret.reveal())))
    }
}

fn edit(dir: &Path, edit: impl FnOnce(&mut Vec<Token>)) {
    let edited: Result<(), FileError> = change(dir, |tokens| {
        edit(tokens);
        Ok(())
    });
    edited.unwrap();
}

#[test]
fn without_tokens_anyone_may_and_with_the_first_one_nobody_else() {
    let mut door = Door::new();
    assert!(matches!(door.ask(None), Ok(Caller::Anyone)));
    assert!(matches!(door.ask(Some("Bearer nonsense")), Ok(Caller::Anyone)));
    let secret = door.add("a", None);
    assert_eq!(door.ask(None).unwrap_err(), Denied::NoToken);
    let caller = door.show(&secret).unwrap();
    assert_eq!(caller.token().unwrap().name, "a");
    assert!(caller.may(Scope::Read) && !caller.may(Scope::Lease));
}

#[test]
fn only_the_very_token_is_one() {
    let mut door = Door::new();
    let secret = door.add("a", None);
    let text = secret.reveal().to_owned();
    let last = if text.ends_with('0') { '1' } else { '0' };
    let near = format!("{}{last}", &text[..text.len() - 1]);
    let other = Secret::draw().unwrap();
    for header in [
        format!("Bearer {near}"),
        format!("Bearer {}", other.reveal()),
        format!("Basic {text}"),
        text.clone(),
        format!("Bearer {text} {text}"),
        "Bearer".to_owned(),
        String::new(),
    ] {
        assert_eq!(door.ask(Some(&header)).unwrap_err(), Denied::Unknown, "{header}");
    }
    assert!(door.ask(Some(&format!("bearer   {text}"))).is_ok());
}

#[test]
fn an_expired_token_is_told_so_and_a_revoked_one_is_not_known() {
    let mut door = Door::new();
    let brief = door.add("brief", Some(10));
    let gone = door.add("gone", None);
    let caller = door.show(&gone).unwrap();
    assert!(door.show(&brief).is_ok());
    edit(door.dir.path(), |tokens| tokens.retain(|token| token.name != "gone"));
    assert_eq!(door.show(&gone).unwrap_err(), Denied::Unknown);
    assert!(!door.access.still(&caller, door.now()));
    door.seconds = 10;
    assert_eq!(door.show(&brief).unwrap_err(), Denied::Expired { name: "brief".to_owned() });
}

#[test]
fn a_file_that_is_lost_or_broken_opens_nothing() {
    let mut door = Door::new();
    let secret = door.add("a", None);
    assert!(door.show(&secret).is_ok());
    let path = door.dir.path().join(TOKENS_FILE);
    fs::write(&path, "{").unwrap();
    assert!(door.show(&secret).is_ok(), "those known before stay");
    assert_eq!(door.ask(None).unwrap_err(), Denied::NoToken);
    fs::remove_file(&path).unwrap();
    assert_eq!(door.show(&secret).unwrap_err(), Denied::Unknown);
    assert_eq!(door.ask(None).unwrap_err(), Denied::NoToken);
    fs::write(&path, "{").unwrap();
    assert!(Access::open(vec![path], 50).is_err());
}

#[test]
fn who_asks_too_fast_is_told_when_to_come_back() {
    let mut door = Door::new();
    let secret = door.add("a", None);
    let other = door.add("b", None);
    door.show(&secret).unwrap();
    let header = format!("Bearer {}", secret.reveal());
    let now = door.now();
    let ask = || door.access.identify(Some(header.as_bytes()), now);
    let denied = (0..200).find_map(|_| ask().err()).unwrap();
    let Denied::TooFast { name, per_second: 50, retry_after } = denied else { panic!("{denied:?}") };
    assert_eq!((name.as_str(), retry_after), ("a", Duration::from_millis(20)));
    assert!(door.show(&other).is_ok());
}

/// in a time that does not depend on them, and the hash of what was shown tells nothing of the one that is kept.
#[test]
fn a_wrong_token_is_compared_as_long_as_the_right_one() {
    let kept = Secret::draw().unwrap().hash();
    let near = TokenHash::parse(&kept.to_string()).unwrap();
    assert_eq!(kept, near);
    assert_ne!(kept, TokenHash::of_nothing());
}
