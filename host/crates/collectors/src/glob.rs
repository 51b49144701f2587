//! Name patterns with `*` and `?`, for the exclusion lists. No character classes, no escapes: device and interface names
//! need none. Collectors call it once for each new name, never on a warm tick.

/// True when the whole of `name` fits one of the patterns.
pub(crate) fn matches_any(patterns: &[String], name: &str) -> bool {
    patterns.iter().any(|pattern| matches(pattern, name))
}

/// True when the whole of `name` fits `pattern`. `*` stands for any text, also none, `?` for one character.
pub(crate) fn matches(pattern: &str, name: &str) -> bool {
    let (mut pattern, mut name) = (pattern.chars(), name.chars());
    // Where to go back to when a guess about the last `*` fails: what follows it, and where its text may next end. Only
    // the last one matters, so the time is at most the product of the two lengths.
    let mut retry = None;
    loop {
        let name_rest = name.clone();
        match (pattern.next(), name.next()) {
            (None, None) => return true,
            (Some('*'), _) => {
                name = name_rest;
                retry = Some((pattern.clone(), name.clone()));
            }
            (Some('?'), Some(_)) => {}
            (Some(want), Some(have)) if want == have => {}
            _ => {
                let Some((after_star, mut longer)) = retry.take() else { return false };
                if longer.next().is_none() {
                    return false;
                }
                pattern = after_star.clone();
                name = longer.clone();
                retry = Some((after_star, longer));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_names() {
        for (pattern, name, expected) in [
            ("veth*", "veth12ab", true),
            ("veth*", "veth", true),
            ("veth*", "eth0", false),
            ("sd?", "sda", true),
            ("sd?", "sdaa", false),
            ("*0*n1", "nvme0n1", true),
            ("*a*b", "xaxaxb", true),
            ("*a*b", "xaxaxbc", false),
            ("", "", true),
            ("*", "", true),
            ("/mnt/*", "/mnt/usb", true),
            ("ä?", "äö", true),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }
}
