//! The devices or interfaces of a file with one line each, remembered from one reading to the next, so that a warm tick finds
//! each by one comparison and allocates nothing. It knows nothing of what it keeps; the disk and network collectors call it.

use std::str;

/// One thing with a name and what is remembered of it.
#[derive(Debug)]
pub(crate) struct Seat<T> {
    /// Its name, as label value.
    pub(crate) name: Box<str>,
    /// What its owner remembers.
    pub(crate) state: T,
}

/// All of them, in the order of the file.
#[derive(Debug)]
pub(crate) struct Roster<T> {
    seats: Vec<Seat<T>>,
    next: usize,
}

impl<T> Roster<T> {
    /// Nobody yet.
    pub(crate) fn new() -> Self {
        Self { seats: Vec::new(), next: 0 }
    }

    /// Begins a reading of the file.
    pub(crate) fn begin(&mut self) {
        self.next = 0;
    }

    /// The state for the next name in the file; `make` begins that of one which was not there before. Who stood between the
    /// last name and this one is gone, and forgotten.
    ///
    /// # Errors
    /// In words, when a name is not UTF-8 or stands in the file twice.
    pub(crate) fn seat(&mut self, name: &[u8], make: impl FnOnce(&str) -> T) -> Result<&mut T, &'static str> {
        let waiting = self.seats.get(self.next..).unwrap_or_default();
        match waiting.iter().position(|seat| seat.name.as_bytes() == name) {
            Some(0) => {}
            Some(gone) => drop(self.seats.drain(self.next..self.next + gone)),
            None => {
                let seated = self.seats.get(..self.next).unwrap_or_default();
                if seated.iter().any(|seat| seat.name.as_bytes() == name) {
                    return Err("a name stands there twice");
                }
                let name = str::from_utf8(name).map_err(|_| "a name that is not UTF-8")?;
                self.seats.insert(self.next, Seat { name: name.into(), state: make(name) });
            }
        }
        self.next += 1;
        self.seats.get_mut(self.next - 1).map(|seat| &mut seat.state).ok_or("a place for every name")
    }

    /// Ends a reading of the file: who was not named is gone.
    pub(crate) fn end(&mut self) {
        self.seats.truncate(self.next);
    }

    /// All that are there, in the order of the file.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Seat<T>> {
        self.seats.iter()
    }

    /// Forgets everyone.
    pub(crate) fn clear(&mut self) {
        self.seats.clear();
        self.next = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(roster: &mut Roster<u32>, names: &[&str], new: u32) -> Vec<(String, u32)> {
        roster.begin();
        for name in names {
            roster.seat(name.as_bytes(), |_| new).unwrap();
        }
        roster.end();
        roster.iter().map(|seat| (seat.name.to_string(), seat.state)).collect()
    }

    #[test]
    fn those_who_stay_keep_their_state_when_others_come_and_go() {
        let mut roster = Roster::new();
        read(&mut roster, &["sda", "sdb", "sdc"], 1);
        let seats = read(&mut roster, &["nvme0n1", "sda", "sdc", "sdd"], 2);
        let expected = [("nvme0n1", 2), ("sda", 1), ("sdc", 1), ("sdd", 2)];
        assert_eq!(seats, expected.map(|(name, state)| (name.to_owned(), state)));
        assert_eq!(read(&mut roster, &["sdd"], 3), [("sdd".to_owned(), 2)]);
    }

    #[test]
    fn names_that_cannot_be_labels_are_refused() {
        let mut roster = Roster::new();
        roster.begin();
        assert!(roster.seat(b"eth0", |_| 1).is_ok());
        assert!(roster.seat(b"eth0", |_| 1).is_err());
        assert!(roster.seat(b"\xff", |_| 1).is_err());
    }
}
